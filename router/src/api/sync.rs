//! Shows how the sync with Postgres stands.

use std::time::SystemTime;

use axum::Json;
use axum::extract::State;

use super::Api;
use crate::postgres::status::SET_ASIDE_SHOWN_MAX;

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
    let shadowed = api.registry.shadowed();
    let shadowed_count = shadowed.len();
    let rows = now.set_aside.into_iter().map(|row| SetAside {
        name: row.name,
        reason: row.reason,
    });
    let shadowed = shadowed.iter().map(|route| SetAside {
        name: route.server.as_deref().unwrap_or_default().to_owned(),
        reason: "its domain is routed by configuration or API, which come first".to_owned(),
    });
    let ignored = now.ignored.into_iter().map(|setting| IgnoredSetting {
        name: setting.name,
        column: setting.column,
        reason: setting.reason,
    });
    Json(Sync {
        enabled: true,
        connected: now.connected,
        last_sync: now
            .last_sync
            .map(|at| humantime::format_rfc3339_millis(at).to_string()),
        last_sync_age_seconds: now.last_sync.map(age),
        syncs: now.syncs,
        rows: now.rows,
        routes: now.routes,
        set_aside_count: now.set_aside_count + shadowed_count,
        set_aside: rows.chain(shadowed).take(SET_ASIDE_SHOWN_MAX).collect(),
        ignored_settings_count: now.ignored_count,
        ignored_settings: ignored.collect(),
        warnings: now.warnings,
        reconnects: now.reconnects,
        last_error: now.last_error,
    })
}
