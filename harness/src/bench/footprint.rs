//! How big the router is, on disk and idle, and how long until it listens.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::stats::Summary;
use crate::postgres::Postgres;
use crate::process::Process;
use crate::router::{RouterProcess, Settings};

/// Starts that are timed.
const STARTS: usize = 30;
/// Longest wait for anything.
const DEADLINE: Duration = Duration::from_secs(20);

pub(super) struct Footprint {
    pub(super) binary_bytes: f64,
    pub(super) idle_bytes: f64,
    /// From starting the process to the line that says it listens, as read here.
    pub(super) startup: Summary,
}

pub(super) async fn measure(program: &Path) -> Result<Footprint> {
    let mut startups = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        let begin = Instant::now();
        let process = Process::start(program, ["--port=0"], [])?;
        process
            .line_with(&["listening for players"], DEADLINE)
            .await?;
        startups.push(begin.elapsed());
    }
    let database = Postgres::shared().await?.database().await?;
    let settings = Settings::new()
        .database(&database)
        .env("AUTOMC_WAKER_URL", "http://127.0.0.1:9");
    let router = RouterProcess::start_program(program, settings).await?;
    router.at.ready(DEADLINE).await?;
    let size = std::fs::metadata(program)?.len();
    Ok(Footprint {
        binary_bytes: f64::from(u32::try_from(size)?),
        idle_bytes: resident(router.process.pid())?,
        startup: Summary::of(&startups)?,
    })
}

/// Resident memory of a process, in bytes: `VmRSS` of proc(5), which counts in kB of 1,024 bytes.
fn resident(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    let kilobytes: u32 = line
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .context("VmRSS")?;
    Ok(f64::from(kilobytes) * 1024.0)
}
