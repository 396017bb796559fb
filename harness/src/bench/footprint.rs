//! How big the router is, on disk and idle, and how long until it listens.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::stats::Summary;
use crate::postgres::Postgres;
use crate::process::Process;
use crate::router::{RouterProcess, Settings};
use crate::usage::held;

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
    let (resident, _) = held(&[router.process.pid()])?;
    Ok(Footprint {
        binary_bytes: f64::from(u32::try_from(size)?),
        idle_bytes: f64::from(u32::try_from(resident)?),
        startup: Summary::of(&startups)?,
    })
}
