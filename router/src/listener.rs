//! Accepts clients up to a limit, each in a task of its own, and lets them finish when told to stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tracing::{debug, warn};

use crate::closing::Closing;
use crate::connection::{Services, refuse, serve};
use crate::socket;
use crate::workers::Workers;

/// Pause after an accept error that is nobody's fault in particular, such as a full file table.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Clients over the limit who are told so at once; more are closed without a word.
pub const REFUSALS_MAX: usize = 256;
/// Least time between two warnings about the same trouble.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// Accepts until the services' `stop` is cancelled, then closes the listener. Clients go on in
/// their workers.
pub async fn run(
    listener: TcpListener,
    services: Arc<Services>,
    connections_max: usize,
    workers: Arc<Workers>,
) {
    let places = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    let mut warned: Option<Instant> = None;
    let mut trouble = |text: String| {
        if warned.is_none_or(|at| at.elapsed() >= WARNING_INTERVAL) {
            warn!("{text}");
            warned = Some(Instant::now());
        }
    };
    let accept = async || {
        let (stream, peer) = listener.accept().await?;
        Ok::<_, io::Error>((stream.into_std()?, peer))
    };
    while let Some(accepted) = services.stop.run_until_cancelled(accept()).await {
        match accepted {
            Ok((stream, peer)) => {
                let place = Arc::clone(&places).try_acquire_owned();
                if place.is_err() {
                    trouble(format!(
                        "{connections_max} clients are connected, the limit (max_connections); turning others away"
                    ));
                }
                let full = place.is_err();
                let Ok(place) = place.or_else(|_| Arc::clone(&refusals).try_acquire_owned()) else {
                    continue;
                };
                let services = Arc::clone(&services);
                workers.spawn(async move {
                    let _place = place;
                    client(stream, peer, &services, full).await;
                });
            }
            Err(error) if is_one_clients_fault(&error) => debug!(%error, "accept"),
            Err(error) => {
                trouble(format!("cannot accept connections: {error}; trying on"));
                services
                    .stop
                    .run_until_cancelled(tokio::time::sleep(ACCEPT_PAUSE))
                    .await;
            }
        }
    }
}

/// Errors that concern the one connection that would have been accepted: accept(2), "Error handling".
fn is_one_clients_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// One client, from its first byte to its closing line.
async fn client(stream: std::net::TcpStream, peer: SocketAddr, services: &Services, full: bool) {
    let mut closing = Closing::new(peer);
    let outcome = match TcpStream::from_std(stream) {
        Ok(mut stream) => {
            socket::tune(&stream);
            if full {
                Box::pin(refuse(&mut stream, &mut closing)).await
            } else {
                serve(&mut stream, services, &mut closing).await
            }
        }
        Err(error) => Err(error.into()),
    };
    closing.finish(&outcome);
}
