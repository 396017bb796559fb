//! The HTTP side: what is answered, and what every request needs for it.

mod answer;
mod api;

use std::sync::Arc;

use automc_router::api::http;
use automc_router::config::secret::Secret;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::journal::Journal;
use crate::manager::Manager;

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
    http::serve(listener, api::router(desk), stop).await;
}
