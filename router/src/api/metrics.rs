//! `GET /metrics`: what the relay moves, live, in Prometheus' text format.

use axum::extract::State;
use axum::http::{StatusCode, header::CONTENT_TYPE};
use axum::response::IntoResponse;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry, TEXT_FORMAT, TextEncoder};

use super::{Api, Refusal};
use crate::relay::counters::Totals;

pub(super) async fn show(State(api): State<Api>) -> Result<impl IntoResponse, Refusal> {
    let text = encode(&api.counters.totals()).map_err(|error| {
        Refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("metrics: {error}"),
        )
    })?;
    Ok(([(CONTENT_TYPE, TEXT_FORMAT)], text))
}

/// Workers count for themselves, so the sums are made when they are asked for.
fn encode(totals: &Totals) -> prometheus::Result<String> {
    let registry = Registry::new();
    let bytes = IntCounterVec::new(
        Opts::new(
            "automc_relay_bytes_total",
            "Bytes relayed; up is from the client to the backend, greetings not counted",
        ),
        &["direction"],
    )?;
    bytes.with_label_values(&["up"]).inc_by(totals.up_bytes);
    bytes.with_label_values(&["down"]).inc_by(totals.down_bytes);
    registry.register(Box::new(bytes))?;
    for (name, help, value) in [
        (
            "automc_relay_spliced_bytes_total",
            "Those of the relayed bytes that were spliced, not copied",
            totals.spliced_bytes,
        ),
        (
            "automc_relay_splice_upgrades_total",
            "Times a busy direction went from copying to splicing",
            totals.splice_upgrades,
        ),
        (
            "automc_relay_splice_downgrades_total",
            "Times a direction cooled and went back to copying",
            totals.splice_downgrades,
        ),
        (
            "automc_relay_pipes_refused_total",
            "Times a busy direction went on copying because there was no pipe",
            totals.pipes_refused,
        ),
        (
            "automc_sessions_total",
            "Sessions begun, relayed pings included",
            totals.sessions,
        ),
    ] {
        let counter = IntCounter::new(name, help)?;
        counter.inc_by(value);
        registry.register(Box::new(counter))?;
    }
    let open = IntGauge::new(
        "automc_sessions_open",
        "Sessions going on, relayed pings included",
    )?;
    open.set(i64::try_from(totals.sessions_open).unwrap_or(i64::MAX));
    registry.register(Box::new(open))?;
    TextEncoder::new().encode_to_string(&registry.gather())
}
