//! Shows how the sync with Postgres stands, and lets through what it holds back.

use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::{Api, Refusal};
use crate::routes::offer::{Provider, Reason};

/// Most rows, and most settings, that are shown; their counts are exact all the same.
const SHOWN_MAX: usize = 1_000;

/// A row that is no route, and why.
#[derive(serde::Serialize)]
struct SetAside {
    name: String,
    reason: String,
}

/// A setting of a route that is left at its default, and why.
#[derive(serde::Serialize)]
struct IgnoredSetting {
    name: String,
    column: &'static str,
    reason: String,
}

/// A read that is held back.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Held {
    /// What it would do, in words.
    reason: String,
    /// Routes there are, and how many of them would go.
    routes: usize,
    lost: usize,
    /// RFC 3339, UTC: since when, and when it is applied if the table says the same all the while.
    since: String,
    until: String,
    confirmed: bool,
}

/// What `GET /sync` answers.
#[derive(serde::Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sync {
    /// Whether `AUTOMC_DSN` is set.
    enabled: bool,
    connected: bool,
    /// RFC 3339, UTC.
    last_sync: Option<String>,
    last_sync_age_seconds: Option<u64>,
    syncs: u64,
    /// Those of the reads that were of the whole table.
    full_syncs: u64,
    notifications: u64,
    /// Of the table's history, where changes are counted: which, what is applied, what was seen of it.
    epoch: Option<String>,
    revision: Option<u64>,
    revision_seen: Option<u64>,
    held: Option<Held>,
    /// RFC 3339, UTC: when the routes were written down that are served until the table was read.
    stale_since: Option<String>,
    rows: usize,
    routes: usize,
    set_aside_count: usize,
    set_aside: Vec<SetAside>,
    ignored_settings_count: usize,
    ignored_settings: Vec<IgnoredSetting>,
    /// What is wrong with the table and its triggers, and with the snapshot file.
    warnings: Vec<String>,
    reconnects: u64,
    last_error: Option<String>,
}

pub(super) async fn show(State(api): State<Api>) -> Json<Sync> {
    let Some(status) = &api.sync else {
        return Json(Sync::default());
    };
    let now = status.snapshot();
    let age = |at: SystemTime| at.elapsed().unwrap_or_default().as_secs();
    let shown = Shown::of(&api);
    Json(Sync {
        enabled: true,
        connected: now.connected,
        last_sync: now.last_sync.map(time),
        last_sync_age_seconds: now.last_sync.map(age),
        syncs: now.syncs,
        full_syncs: now.whole.values().sum(),
        notifications: now.notifications,
        epoch: now.applied.as_ref().map(|mark| mark.epoch.to_string()),
        revision: now.applied.map(|mark| mark.revision),
        revision_seen: now.seen.map(|mark| mark.revision),
        held: now.held.map(|held| Held {
            reason: held.effect.to_string(),
            routes: held.effect.routes,
            lost: held.effect.lost,
            since: time(held.since),
            until: time(held.until),
            confirmed: held.confirmed,
        }),
        stale_since: now.stale.map(time),
        rows: shown.rows,
        routes: shown.routes,
        set_aside_count: shown.set_aside.len(),
        set_aside: first(shown.set_aside),
        ignored_settings_count: shown.ignored.len(),
        ignored_settings: first(shown.ignored),
        warnings: now.warnings.into_iter().chain(now.unsaved).collect(),
        reconnects: now.reconnects,
        last_error: now.last_error,
    })
}

/// Has the read applied that is held back.
pub(super) async fn confirm(State(api): State<Api>) -> Result<StatusCode, Refusal> {
    let confirmed = api.sync.as_ref().is_some_and(|status| status.confirm());
    if confirmed {
        Ok(StatusCode::ACCEPTED)
    } else {
        let reason = "nothing is held back; see /sync";
        Err(Refusal(StatusCode::CONFLICT, reason.to_owned()))
    }
}

pub(super) fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}

/// What there is to say of the table's rows.
struct Shown {
    rows: usize,
    routes: usize,
    set_aside: Vec<SetAside>,
    ignored: Vec<IgnoredSetting>,
}

impl Shown {
    fn of(api: &Api) -> Self {
        api.registry.read(|pool| {
            let mut excluded: Vec<_> = pool.excluded(Provider::Postgres).collect();
            // Flaws before what was switched off on purpose, since only the first are shown.
            excluded.sort_by_key(|row| (row.reason == Reason::Disabled, &row.name));
            let excluded = excluded.into_iter().map(|row| SetAside {
                name: row.name.to_string(),
                reason: row.reason.to_string(),
            });
            let shadowed = pool.shadowed();
            let shadowed = shadowed.filter(|route| route.loser.provider == Provider::Postgres);
            let shadowed = shadowed.map(|route| SetAside {
                name: route.loser.name.to_string(),
                reason: route.to_string(),
            });
            let ignored = pool.ignored(Provider::Postgres);
            let ignored = ignored.map(|(name, setting)| IgnoredSetting {
                name: name.to_string(),
                column: setting.column,
                reason: setting.reason.clone(),
            });
            let counts = pool.counts(Provider::Postgres);
            Self {
                rows: counts.active + counts.shadowed + counts.excluded,
                routes: counts.active,
                set_aside: excluded.chain(shadowed).collect(),
                ignored: ignored.collect(),
            }
        })
    }
}

fn first<T>(mut all: Vec<T>) -> Vec<T> {
    all.truncate(SHOWN_MAX);
    all
}
