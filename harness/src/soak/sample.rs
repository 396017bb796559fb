//! What the router holds and has done at a moment.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};

use crate::router::Address;
use crate::usage::held;

/// Sessions that go on, in `GET /metrics`.
pub(super) const OPEN: &str = "automc_sessions_open";

/// Who is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Phase {
    /// Nobody yet.
    Start,
    /// Idle players.
    Idle,
    /// Active ones, too.
    Active,
    /// Idle players again.
    After,
    /// Nobody any more.
    End,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Sample {
    pub(super) phase: Phase,
    pub(super) seconds: f64,
    /// Resident memory, in bytes.
    pub(super) resident: u64,
    pub(super) files: u64,
    pub(super) sessions_open: u64,
    pub(super) sessions: u64,
    pub(super) up_bytes: u64,
    pub(super) down_bytes: u64,
    pub(super) splice_upgrades: u64,
    pub(super) splice_downgrades: u64,
}

impl Sample {
    /// One of the router at an address with a process id.
    pub(super) async fn take(
        (at, pid): (&Address, u32),
        phase: Phase,
        time: Duration,
    ) -> Result<Self> {
        // Before the API is asked, which takes a file for a moment.
        let (resident, files) = held(&[pid])?;
        let metrics = at.metrics().await?;
        let bytes =
            |way| metrics.value(&format!("automc_relay_bytes_total{{direction=\"{way}\"}}"));
        Ok(Self {
            phase,
            seconds: time.as_secs_f64(),
            resident,
            files,
            sessions_open: metrics.value(OPEN)?,
            sessions: metrics.value("automc_sessions_total")?,
            up_bytes: bytes("up")?,
            down_bytes: bytes("down")?,
            splice_upgrades: metrics.value("automc_relay_splice_upgrades_total")?,
            splice_downgrades: metrics.value("automc_relay_splice_downgrades_total")?,
        })
    }

    /// For a line of progress.
    pub(super) fn line(&self) -> String {
        format!(
            "{:5.0} s  {:6.2} MiB  {:5} files  {:5} sessions, {:6} in all  \
             {:6} MB up  {:6} MB down  spliced {} times",
            self.seconds,
            mebibytes(self.resident),
            self.files,
            self.sessions_open,
            self.sessions,
            self.up_bytes / 1_000_000,
            self.down_bytes / 1_000_000,
            self.splice_upgrades,
        )
    }

    pub(super) fn json(&self) -> Value {
        json!(self)
    }
}

/// Bytes in MiB, to the KiB.
pub(super) fn mebibytes(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1024).unwrap_or(u32::MAX)) / 1024.0
}
