//! `GET /health/routes`: how healthy every route is, and since when. Nothing of it asks a backend: what
//! is shown was heard before, and says how old it is.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;

use super::{Api, Refusal};
use crate::health::Reading;
use crate::health::ladder::Status;
use crate::routes::Route;

#[derive(serde::Deserialize, Clone, Copy, Default)]
#[serde(rename_all = "lowercase")]
enum Detail {
    #[default]
    Full,
    Simple,
}

#[derive(serde::Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    detail: Detail,
}

/// What is answered; times are in whole seconds unless they say otherwise.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Healths {
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
struct Full {
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
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Healths>, Refusal> {
    let Query(Asked { detail }) = asked.map_err(|_| {
        let reason = "detail is neither full nor simple".to_owned();
        Refusal(StatusCode::BAD_REQUEST, reason)
    })?;
    let table = api.registry.table();
    let mut counts: BTreeMap<_, _> = Status::ALL.map(|status| (status.name(), 0)).into();
    let mut show = |route: &Route| {
        let reading = api.health.of_route(route, &api.servers, api.starters);
        let name = reading.status.name();
        *counts.entry(name).or_default() += 1;
        match detail {
            Detail::Full => Shown::Full(Full::of(&reading)),
            Detail::Simple => Shown::Simple(name),
        }
    };
    let routes = table
        .iter()
        .map(|(host, route)| (host.to_string(), show(route)))
        .collect();
    let default = table.default_route().map(|route| show(route));
    Ok(Json(Healths {
        interval_seconds: api.health.interval().as_secs_f64(),
        counts,
        routes,
        default,
    }))
}

impl Full {
    fn of(reading: &Reading) -> Self {
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
