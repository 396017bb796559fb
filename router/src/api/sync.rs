//! Shows how the sync with Postgres stands.

use std::time::SystemTime;

use axum::Json;
use axum::extract::State;

use super::Api;
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
    rows: usize,
    routes: usize,
    set_aside_count: usize,
    set_aside: Vec<SetAside>,
    ignored_settings_count: usize,
    ignored_settings: Vec<IgnoredSetting>,
    /// What is wrong with the table's triggers.
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
        last_sync: now
            .last_sync
            .map(|at| humantime::format_rfc3339_millis(at).to_string()),
        last_sync_age_seconds: now.last_sync.map(age),
        syncs: now.syncs,
        rows: shown.rows,
        routes: shown.routes,
        set_aside_count: shown.set_aside.len(),
        set_aside: first(shown.set_aside),
        ignored_settings_count: shown.ignored.len(),
        ignored_settings: first(shown.ignored),
        warnings: now.warnings,
        reconnects: now.reconnects,
        last_error: now.last_error,
    })
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
