//! The REST API: routes in mc-router's shapes, health, readiness, metrics, and the
//! state of the sync. What it answers is written down in `openapi.json`, which it serves.

mod auth;
mod events;
mod explain;
mod health;
mod history;
pub mod http;
mod listing;
mod metrics;
mod query;
mod routes;
mod servers;
mod sync;
mod sync_metrics;
mod vars;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header::CONTENT_TYPE};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::admit::Admission;
use crate::config::secret::Secret;
use crate::config::values::short;
use crate::health::Health;
use crate::metrics::{Metrics, Reading};
use crate::postgres::status::SyncStatus;
use crate::relay::counters::{Counters, Totals};
use crate::routes::file_keeper::FixedRoutes;
use crate::routes::registry::Registry;
use crate::servers::{Servers, Starters};

/// Largest request body.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Longest time one request may take, body included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Every endpoint, request and answer (OpenAPI 3.1); tests hold it against the handlers.
const DOCUMENT: &str = include_str!("openapi.json");

/// What the API shows and changes.
#[derive(Debug, Clone)]
pub struct Api {
    /// Who was turned away.
    pub admission: Arc<Admission>,
    /// The routes.
    pub registry: Arc<Registry>,
    /// Makes the changes of routes.
    pub fixed: Arc<FixedRoutes>,
    /// The sync with Postgres, if there is one.
    pub sync: Option<Arc<SyncStatus>>,
    /// What sessions move.
    pub counters: Arc<Counters>,
    /// What connections come to.
    pub metrics: Arc<Metrics>,
    /// How healthy backends are.
    pub health: Arc<Health>,
    /// What is known of servers.
    pub servers: Arc<Servers>,
    /// What can start servers.
    pub starters: Starters,
    /// What requests must carry, if anything.
    pub token: Option<Secret>,
    /// Cancelled when the router begins to stop.
    pub stop: CancellationToken,
    /// Places for readers of events.
    pub readers: Readers,
}

/// Places for readers of events, bounded.
#[derive(Debug, Clone)]
pub struct Readers(Arc<Semaphore>);

impl Default for Readers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(events::READERS_MAX)))
    }
}

/// A refusal with its reason as JSON.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(serde_json::json!({ "error": self.1 }))).into_response()
    }
}

/// Every endpoint by its path.
fn endpoints() -> [(&'static str, MethodRouter<Api>); 17] {
    [
        ("/routes", get(routes::list).post(routes::add)),
        ("/routes/by-provider", get(listing::by_provider)),
        ("/routes/history", get(history::show)),
        ("/providers", get(listing::providers)),
        ("/events", get(events::show)),
        ("/routes/{host}", get(routes::show).delete(routes::remove)),
        (
            "/defaultRoute",
            get(routes::show_default)
                .post(routes::set_default)
                .delete(routes::remove_default),
        ),
        ("/explain", get(explain::show)),
        ("/servers", get(servers::list)),
        ("/health/routes", get(health::routes)),
        ("/sync", get(sync::show)),
        ("/sync/confirm", post(sync::confirm)),
        ("/metrics", get(metrics::show)),
        ("/vars", get(vars::show)),
        ("/healthz", get(healthz)),
        ("/readyz", get(readyz)),
        ("/openapi.json", get(document)),
    ]
}

/// The paths of all endpoints.
pub fn paths() -> impl Iterator<Item = &'static str> {
    endpoints().into_iter().map(|(path, _)| path)
}

impl Api {
    /// Every endpoint.
    pub fn router(self) -> axum::Router {
        let mut router = axum::Router::new();
        for (path, methods) in endpoints() {
            router = router.route(path, methods);
        }
        let token = self.token.clone();
        router
            .layer(from_fn(in_time))
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .layer(from_fn_with_state(token, auth::guard))
            .with_state(self)
    }

    /// What was counted until now.
    fn reading(&self, relayed: &Totals) -> Reading {
        Reading {
            rate_left: self.admission.rate_left(),
            ..self.metrics.reading(relayed)
        }
    }

    /// Why no players should be sent here, if they should not.
    fn unready(&self) -> Option<&'static str> {
        if self.stop.is_cancelled() {
            return Some("stopping");
        }
        let waiting = self.sync.as_ref().is_some_and(|sync| !sync.is_ready());
        waiting.then_some("the first read of the routes from Postgres is still to come; see /sync")
    }

    /// When the routes of Postgres were written down, if they have not been read since the start.
    fn stale(&self) -> Option<String> {
        let sync = self.sync.as_ref()?;
        sync.snapshot().stale.map(sync::time)
    }
}

async fn in_time(request: Request, next: Next) -> Response {
    tokio::time::timeout(REQUEST_TIMEOUT, next.run(request))
        .await
        .unwrap_or_else(|_| {
            let reason = format!("the request took over {}", short(REQUEST_TIMEOUT));
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
        None => Ok(Json(match api.stale() {
            None => serde_json::json!({ "status": "ready" }),
            Some(since) => serde_json::json!({ "status": "ready", "staleSince": since }),
        })),
        Some(reason) => Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, reason.to_owned())),
    }
}

async fn document() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT)
}
