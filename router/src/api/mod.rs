//! The REST API: routes in mc-router's shapes, health, readiness, metrics, and the
//! state of the sync.

pub mod http;
mod metrics;
mod routes;
mod servers;
mod sync;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use tokio_util::sync::CancellationToken;

use crate::postgres::status::SyncStatus;
use crate::relay::counters::Counters;
use crate::routes::file_keeper::FixedRoutes;
use crate::routes::registry::Registry;
use crate::servers::{Servers, Starters};

/// Largest request body.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Longest time one request may take, body included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// What the API shows and changes.
#[derive(Debug, Clone)]
pub struct Api {
    /// The routes.
    pub registry: Arc<Registry>,
    /// Makes the changes of routes.
    pub fixed: Arc<FixedRoutes>,
    /// The sync with Postgres, if there is one.
    pub sync: Option<Arc<SyncStatus>>,
    /// What sessions move.
    pub counters: Arc<Counters>,
    /// What is known of servers.
    pub servers: Arc<Servers>,
    /// What can start servers.
    pub starters: Starters,
    /// Cancelled when the router begins to stop.
    pub stop: CancellationToken,
}

/// A refusal with its reason as JSON.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(serde_json::json!({ "error": self.1 }))).into_response()
    }
}

impl Api {
    /// Every endpoint.
    pub fn router(self) -> axum::Router {
        axum::Router::new()
            .route("/routes", get(routes::list).post(routes::add))
            .route("/routes/{host}", delete(routes::remove))
            .route("/defaultRoute", post(routes::set_default))
            .route("/servers", get(servers::list))
            .route("/sync", get(sync::show))
            .route("/metrics", get(metrics::show))
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .layer(axum::middleware::from_fn(in_time))
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(self)
    }

    /// Why no players should be sent here, if they should not.
    fn unready(&self) -> Option<&'static str> {
        if self.stop.is_cancelled() {
            return Some("stopping");
        }
        let waiting = self.sync.as_ref().is_some_and(|sync| !sync.is_ready());
        waiting.then_some("the first read of the routes from Postgres is still to come; see /sync")
    }
}

async fn in_time(request: Request, next: Next) -> Response {
    tokio::time::timeout(REQUEST_TIMEOUT, next.run(request))
        .await
        .unwrap_or_else(|_| {
            let reason = format!("the request took over {REQUEST_TIMEOUT:?}");
            Refusal(StatusCode::REQUEST_TIMEOUT, reason).into_response()
        })
}

/// Alive: answers as long as the process does.
async fn healthz() -> Json<serde_json::Value> {
    Json(serde_json::json!({ "status": "ok" }))
}

/// Ready: routes are loaded, maybe stale, and the router is not stopping.
async fn readyz(State(api): State<Api>) -> Result<Json<serde_json::Value>, Refusal> {
    match api.unready() {
        None => Ok(Json(serde_json::json!({ "status": "ready" }))),
        Some(reason) => Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, reason.to_owned())),
    }
}
