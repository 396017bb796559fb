//! `GET /explain?host=`: why a host name leads where it does, or nowhere.

use axum::Json;
use axum::extract::{RawQuery, State};

use super::Api;
use super::Refusal;
use super::query::{Query, refused};
use crate::explain::found::Found;
use crate::explain::offline::known;
use crate::explain::words::Known;
use crate::explain::{ADDRESS_BYTES_MAX, Explanation, Step};
use crate::postgres::status::Snapshot;
use crate::routes::Route;
use crate::routes::offer::Provider;

pub(super) async fn show(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Json<Explanation>, Refusal> {
    let host = Query(query.as_deref().unwrap_or_default()).get("host")?;
    let host = host.ok_or_else(|| refused("say which: /explain?host=play.example.com"))?;
    if host.len() > ADDRESS_BYTES_MAX {
        return Err(refused(format!(
            "host is longer than {ADDRESS_BYTES_MAX} bytes, which is more than any client can send"
        )));
    }
    let found = api.registry.read(|pool| Found::look(pool, &host));
    let known = |route: &Route| {
        api.health.interest(route);
        Known {
            health: Some(api.health.of_route(route, &api.servers, api.starters)),
            ..known(&api.servers, api.starters, route)
        }
    };
    let mut explanation = Explanation::of(&found, api.admission.config(), known);
    explanation.steps.splice(1..1, behind(&api));
    Ok(Json(explanation))
}

/// Which sources may say something else by now than what is in force.
fn behind(api: &Api) -> Vec<Step> {
    let heard = Provider::ALL.map(|provider| (provider, api.registry.heard(provider)));
    let failed = heard.into_iter().filter_map(|(provider, heard)| {
        let (provider, error) = (provider.name(), heard.error?);
        Some(format!(
            "{provider} cannot be read, so what it said before stands: {error}"
        ))
    });
    let sync = api.sync.as_ref().map(|sync| sync.snapshot());
    let sync = sync.as_ref().and_then(table);
    let texts = failed.chain(sync);
    let steps = texts.map(|text| Step {
        step: "sources",
        text,
    });
    steps.collect()
}

/// What keeps the table from being followed.
fn table(sync: &Snapshot) -> Option<String> {
    if sync.held.is_some() {
        return Some("the table says otherwise by now, which is held back: see /sync".to_owned());
    }
    if sync.connected {
        return None;
    }
    let stands = match (sync.last_sync, sync.stale) {
        (Some(_), _) => "what its table said before stands",
        (None, Some(_)) => "what is remembered of its table stands",
        (None, None) => "its table was not read yet",
    };
    let error = sync.last_error.as_deref().unwrap_or("still connecting");
    Some(format!("postgres is not reached, so {stands}: {error}"))
}
