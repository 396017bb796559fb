//! `GET /health/routes`: how healthy every route is, and since when. Nothing of it asks a backend: what
//! is shown was heard before, and says how old it is.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::{RawQuery, State};

use super::query::{Query, refused};
use super::{Api, Refusal};
use crate::health::Reading;
use crate::health::ladder::Status;
use crate::routes::Route;

/// What is answered; times are in whole seconds unless they say otherwise.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Healths {
    /// Who is asked.
    checks: &'static str,
    /// From one check of a backend to the next, if there are few enough; 0: nobody is asked.
    interval_seconds: f64,
    counts: BTreeMap<&'static str, u64>,
    routes: BTreeMap<String, Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<Shown>,
}

#[derive(serde::Serialize)]
#[serde(untagged)]
enum Shown {
    Simple(&'static str),
    Full(Full),
}

/// One route.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Full {
    status: &'static str,
    /// Why.
    detail: &'static str,
    /// How long it has been in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    uptime_seconds: Option<u64>,
    /// How long its backend took to answer the last status request.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_millis: Option<f64>,
    /// Since its backend was last heard to be well.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_seconds: Option<u64>,
    /// Since its backend was last heard of.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_heard_seconds: Option<u64>,
    /// Failed checks in a row.
    failures: u8,
}

pub(super) async fn routes(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Json<Healths>, Refusal> {
    let detail = Query(query.as_deref().unwrap_or_default()).get("detail")?;
    let simple = match detail.as_deref() {
        None | Some("full") => false,
        Some("simple") => true,
        Some(_) => return Err(refused("detail is neither full nor simple")),
    };
    let table = api.registry.table();
    let mut counts: BTreeMap<_, _> = Status::ALL.map(|status| (status.name(), 0)).into();
    let mut show = |route: &Route| {
        let reading = api.health.of_route(route, &api.servers, api.starters);
        let name = reading.status.name();
        *counts.entry(name).or_default() += 1;
        if simple {
            Shown::Simple(name)
        } else {
            Shown::Full(Full::of(&reading))
        }
    };
    let routes = table
        .iter()
        .map(|(host, route)| (host.to_string(), show(route)))
        .collect();
    let default = table.default_route().map(|route| show(route));
    Ok(Json(Healths {
        checks: api.health.checks().name(),
        interval_seconds: api.health.checks().interval().as_secs_f64(),
        counts,
        routes,
        default,
    }))
}

impl Full {
    pub(super) fn of(reading: &Reading) -> Self {
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs());
        Self {
            status: reading.status.name(),
            detail: reading.detail,
            uptime_seconds: seconds(reading.uptime),
            latency_millis: reading.latency.map(|time| time.as_secs_f64() * 1_000.0),
            last_seen_seconds: seconds(reading.seen),
            last_heard_seconds: seconds(reading.heard),
            failures: reading.failures,
        }
    }
}
