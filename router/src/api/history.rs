//! `GET /routes/history`: what happened to routes lately; and how anything that happened is shown.

use axum::Json;
use axum::extract::{RawQuery, State};
use serde_json::{Value, json};

use super::query::Query;
use super::{Api, Refusal};
use crate::journal::ring::{Entry, ROUTE_CHANGES_MAX, What};
use crate::routes::history::RouteChange;

/// How many changes are shown unless asked otherwise.
const LIMIT_DEFAULT: usize = 100;

/// What `GET /routes/history` answers.
#[derive(serde::Serialize)]
pub(super) struct History {
    /// The oldest first.
    changes: Vec<Value>,
    /// The id of what happened last, to a route or anything else.
    newest: u64,
    /// Whether changes after the id that was asked for are forgotten.
    missed: bool,
}

pub(super) async fn show(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Json<History>, Refusal> {
    let query = Query(query.as_deref().unwrap_or_default());
    let after = query.number("after", 0, u64::MAX)?;
    let limit = query.limit(LIMIT_DEFAULT, ROUTE_CHANGES_MAX)?;
    let (page, newest) = api.registry.journal().of_routes(after, limit);
    let changes = page.entries.iter().map(|entry| shown(entry).1);
    Ok(Json(History {
        changes: changes.collect(),
        newest,
        missed: page.missed,
    }))
}

/// What an entry is called as an event, and everything it says.
pub(super) fn shown(entry: &Entry) -> (&'static str, Value) {
    let (id, at) = (
        entry.id,
        humantime::format_rfc3339_millis(entry.at).to_string(),
    );
    match &entry.what {
        What::Route(change) => ("route", route(id, &at, change)),
        What::Server { server, from, to } => (
            "server",
            json!({ "id": id, "at": at, "server": &**server, "from": from.name(), "to": to.name() }),
        ),
        What::Health(change) => (
            "health",
            json!({
                "id": id,
                "at": at,
                "backend": change.backend.as_str(),
                "server": &*change.route.key(),
                "from": change.from.name(),
                "to": change.to.name(),
                "detail": change.detail,
            }),
        ),
        What::Missed(count) => (
            "lagged",
            json!({ "id": id, "at": at, "text": format!("{count} events of servers were missed; look at /servers") }),
        ),
        What::Sync { connected } => (
            "sync",
            json!({ "id": id, "at": at, "provider": "postgres", "connected": connected }),
        ),
    }
}

fn route(id: u64, at: &str, change: &RouteChange) -> Value {
    json!({
        "id": id,
        "at": at,
        "kind": change.kind.name(),
        "provider": change.provider.name(),
        "name": &*change.name,
        "host": change.host.as_ref().map(ToString::to_string),
        "old": change.old.as_ref().map(|route| route.leads_to()),
        "new": change.new.as_ref().map(|route| route.leads_to()),
        "reason": change.why.as_ref().map(ToString::to_string),
    })
}
