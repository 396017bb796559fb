//! HTTP connections: accepted, bounded, and ended in order.

mod answer;
mod api;

use std::sync::Arc;
use std::time::Duration;

use automc_router::config::secret::Secret;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::journal::Journal;
use crate::manager::Manager;

/// Connections served at once; more wait to be accepted.
pub const CONNECTIONS_MAX: usize = 1_024;
/// Longest time a request's head may take, idle time before it included.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long answers under way may take after the stop.
const STOP_GRACE: Duration = Duration::from_secs(1);
/// Pause after an accept that failed for a reason on this side, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What every request needs.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) manager: Arc<Manager>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) token: Option<Secret>,
    /// Ends what hangs.
    pub(crate) stop: CancellationToken,
}

/// Serves `listener` until `desk.stop`.
pub(crate) async fn serve(listener: TcpListener, desk: Arc<Desk>) {
    let stop = desk.stop.clone();
    let app = api::router(desk);
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let open = TaskTracker::new();
    let next = || async {
        let permit = Arc::clone(&room).acquire_owned().await;
        (permit, listener.accept().await)
    };
    while let Some((permit, accepted)) = stop.run_until_cancelled(next()).await {
        match accepted {
            Ok((stream, _)) => {
                let (app, stop) = (app.clone(), stop.clone());
                open.spawn(async move {
                    converse(stream, app, stop).await;
                    drop(permit);
                });
            }
            Err(error) => {
                warn!(%error, "accept failed; pausing");
                stop.run_until_cancelled(tokio::time::sleep(ACCEPT_PAUSE))
                    .await;
            }
        }
    }
    open.close();
    open.wait().await;
}

async fn converse(stream: TcpStream, app: axum::Router, stop: CancellationToken) {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .half_close(false);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    let mut connection = std::pin::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            timeout(STOP_GRACE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = outcome {
        debug!(%error, "an HTTP connection ended early");
    }
}
