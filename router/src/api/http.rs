//! Serves an axum router over HTTP/1.1 with a bound on everything a client may take.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

/// Connections served at once; more wait to be accepted.
pub const CONNECTIONS_MAX: usize = 256;
/// Longest time a request's head may take, and an idle connection may stay.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest head of a request.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Longest time a connection may live, whatever it does.
const CONNECTION_LIFE_MAX: Duration = Duration::from_secs(3600);
/// Longest wait for requests under way when stopping.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` until `stop` is cancelled; requests under way may finish.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = TaskTracker::new();
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .half_close(false);
    let accepting = async {
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "API: cannot accept connections; trying on");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let service = TowerToHyperService::new(router.clone());
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            let stop = stop.clone();
            connections.spawn(async move {
                let _place = place;
                let mut connection = std::pin::pin!(connection);
                let life = tokio::time::sleep(CONNECTION_LIFE_MAX);
                let outcome = tokio::select! {
                    outcome = connection.as_mut() => outcome,
                    () = life => Ok(()),
                    () = stop.cancelled() => {
                        connection.as_mut().graceful_shutdown();
                        tokio::time::timeout(DRAIN_TIMEOUT, connection).await.unwrap_or(Ok(()))
                    }
                };
                if let Err(error) = outcome {
                    debug!(%error, "API connection");
                }
            });
        }
    };
    stop.run_until_cancelled(accepting).await;
    connections.close();
    drop(tokio::time::timeout(DRAIN_TIMEOUT * 2, connections.wait()).await);
}
