//! `GET /servers`: how every server is, who waits for it and plays on it, and how long it should
//! stay up. For the server-manager, which decides when servers stop: nobody else knows who waits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;

use super::Api;
use crate::servers::{Snapshot, Target};

/// One server; times are in whole seconds.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shown {
    state: &'static str,
    /// How long it has been in this state.
    state_seconds: u64,
    /// Players who wait for it: they count as use.
    waiting: u32,
    /// Players' sessions with it.
    sessions: u32,
    /// Since somebody last waited for it or played there; 0 while somebody does.
    #[serde(skip_serializing_if = "Option::is_none")]
    unused_seconds: Option<u64>,
    /// How long it should not be stopped yet: `min_online`, counted from ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_seconds: Option<u64>,
    /// Until it will be ready, or what a start would take.
    #[serde(skip_serializing_if = "Option::is_none")]
    eta_seconds: Option<u64>,
    /// How far the start is, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<f64>,
    /// Starts that failed in a row.
    failed_starts: u32,
    /// Until the next start may be tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_seconds: Option<u64>,
    /// Seconds asleep since the router began: what scaling to zero has saved.
    asleep_seconds: u64,
}

pub(super) async fn list(State(api): State<Api>) -> Json<BTreeMap<String, Shown>> {
    let now = tokio::time::Instant::now().into_std();
    let table = api.registry.table();
    let shown = table.iter().map(|(_, route)| {
        let target = Target::of(route, api.starters);
        let seen = api.servers.snapshot(&target);
        let keep_until = seen.keep_until(route.policy.min_online);
        (target.server.to_owned(), show(&seen, keep_until, now))
    });
    Json(shown.collect())
}

fn show(seen: &Snapshot, keep_until: Option<Instant>, now: Instant) -> Shown {
    let since = |at: Instant| now.saturating_duration_since(at).as_secs();
    let keep = keep_until.map(|until| until.saturating_duration_since(now));
    Shown {
        state: seen.state.name(),
        state_seconds: since(seen.since),
        waiting: seen.waiting,
        sessions: seen.sessions,
        unused_seconds: seen.last_used.map(since),
        keep_seconds: keep.filter(|keep| !keep.is_zero()).map(up),
        eta_seconds: seen.eta.map(up),
        progress: seen.progress,
        failed_starts: seen.attempts,
        retry_seconds: seen.retry_in.map(up),
        asleep_seconds: seen.spent.asleep.as_secs(),
    }
}

/// Rounded up: what is still to come is not over before it is.
fn up(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
