//! Accepts clients up to a limit, each in a task of its own, and lets them finish when told to stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, field::Empty, info, info_span, warn};

use crate::config::values::short;
use crate::connection::{Served, Services, serve};
use crate::error::ConnectionError;
use crate::socket;

/// Pause after an accept error that is nobody's fault in particular, such as a full file table.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Least time between two warnings about the same trouble.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// Something clients can be accepted from; a seam for tests of what errors do.
pub trait Accept {
    /// Waits for the next client.
    ///
    /// # Errors
    /// Whatever the system says; the listener goes on.
    fn accept(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send;
}

impl Accept for TcpListener {
    fn accept(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send {
        Self::accept(self)
    }
}

/// Accepts until the services' `stop` is cancelled, then closes the listener. Clients go on in
/// `clients` until they end, or `cut` is cancelled.
pub async fn run(
    listener: impl Accept,
    services: Arc<Services>,
    connections_max: usize,
    clients: TaskTracker,
    cut: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
    let mut warned: Option<Instant> = None;
    let mut trouble = |text: String| {
        if warned.is_none_or(|at| at.elapsed() >= WARNING_INTERVAL) {
            warn!("{text}");
            warned = Some(Instant::now());
        }
    };
    while let Some(accepted) = services.stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => match Arc::clone(&places).try_acquire_owned() {
                Ok(place) => {
                    let services = Arc::clone(&services);
                    let cut = cut.clone();
                    clients.spawn(async move {
                        let _place = place;
                        client(stream, peer, &services, &cut).await;
                    });
                }
                Err(_) => trouble(format!(
                    "{connections_max} connections are open, the limit (max_connections); closing new ones"
                )),
            },
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

/// One client in its span, with one closing line.
async fn client(
    mut stream: TcpStream,
    peer: SocketAddr,
    services: &Services,
    cut: &CancellationToken,
) {
    socket::tune(&stream);
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let span =
        info_span!("conn", %peer, host = Empty, server = Empty, player = Empty, backend = Empty);
    async {
        let begin = Instant::now();
        let outcome = cut.run_until_cancelled(serve(&mut stream, services)).await;
        let took = short(Duration::from_millis(
            u64::try_from(begin.elapsed().as_millis()).unwrap_or(0),
        ));
        closing_line(outcome, &took);
    }
    .instrument(span)
    .await;
}

/// Players' connections at info, pings and port scans at debug.
fn closing_line(outcome: Option<Result<Served, ConnectionError>>, took: &str) {
    match outcome {
        None => info!(end = "cut", took, "closed: the router stopped"),
        Some(Ok(Served::Joined(session))) => {
            let (up, down, end) = (session.up, session.down, session.end.kind());
            info!(end, up_bytes = up, down_bytes = down, took, "closed");
        }
        Some(Ok(Served::Pinged(Some(session)))) => {
            let (up, down, end) = (session.up, session.down, session.end.kind());
            debug!(
                end,
                up_bytes = up,
                down_bytes = down,
                took,
                "closed: ping relayed"
            );
        }
        Some(Ok(Served::Pinged(None))) => {
            debug!(end = "answered", took, "closed: ping answered here");
        }
        Some(Err(error)) => {
            let end = error.kind();
            match &error {
                ConnectionError::Greet(_) | ConnectionError::Io(_) => {
                    debug!(end, %error, took, "closed");
                }
                _ => info!(end, %error, took, "closed without a session"),
            }
        }
    }
}
