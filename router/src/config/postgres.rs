//! The settings of the table in Postgres: where it is, which of its reads are believed, what is kept of it.

use std::path::PathBuf;
use std::time::Duration;

use super::settings::{Key, Kind, Settings};
use super::text;
use super::values::{duration, number};
use crate::postgres::dsn::Dsn;
use crate::postgres::facts::ROWS_MAX;
use crate::postgres::guard::Limits;

/// Longest time a read is held back.
const HOLD_MAX: Duration = Duration::from_secs(24 * 3600);

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "automc_dsn",
        kind: Kind::Secret,
        default: None,
        help: "Postgres with the servers table; unset turns the Postgres routes off",
    },
    text(
        "automc_reconnect_jitter",
        "0",
        "Share of each reconnect delay, 0 to 1, added at random on top",
    ),
    text(
        "automc_guard_routes",
        "100",
        "Routes of the table that may go at once, whatever their share",
    ),
    text(
        "automc_guard_percent",
        "50",
        "Share of the table's routes that may go at once, however many; 100 turns the guard off",
    ),
    text(
        "automc_guard_hold",
        "60s",
        "How long the table has to say so until more of them go",
    ),
    text(
        "automc_snapshot_file",
        "",
        "File that keeps the table's rows, for a start without Postgres",
    ),
];

/// Where routes come from.
#[derive(Debug, Clone)]
pub struct PostgresConfig {
    /// The database.
    pub dsn: Dsn,
    /// Share of each reconnect delay, 0 to 1, added at random on top.
    pub reconnect_jitter: f64,
    /// Which reads are held back.
    pub guard: Limits,
    /// What is served until the table was read, if anything.
    pub snapshot_file: Option<PathBuf>,
}

/// The database, if there is one.
pub(super) fn postgres(settings: &mut Settings) -> Option<PostgresConfig> {
    let jitter = |text: &str| match text.trim().parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err(format!("{text:?} is not a number from 0 to 1")),
    };
    let reconnect_jitter = settings
        .parse("automc_reconnect_jitter", jitter)
        .unwrap_or_default();
    let usual = Limits::default();
    let routes = settings.parse("automc_guard_routes", |text| number(text, 0, ROWS_MAX));
    let percent = settings.parse("automc_guard_percent", |text| number(text, 0, 100));
    let within = |text: &str| duration(text, Duration::ZERO, HOLD_MAX);
    let hold = settings.parse("automc_guard_hold", within);
    let snapshot_file = settings.parse("automc_snapshot_file", str::parse);
    let dsn = settings.parse("automc_dsn", Dsn::parse)?;
    Some(PostgresConfig {
        dsn,
        reconnect_jitter,
        guard: Limits {
            routes: routes.unwrap_or(usual.routes),
            percent: percent.unwrap_or(usual.percent),
            hold: hold.unwrap_or(usual.hold),
        },
        snapshot_file,
    })
}
