//! `harness bench`: start-up and footprint of the release build, printed and as JSON. Routes, the relay, the
//! server list and wakes have commands of their own.

mod footprint;
mod plot;
pub mod registry;
pub mod relay;
mod stats;
pub mod status;
pub mod wake;

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use crate::binaries;

/// Prints a line at once, so that long work shows how far it is.
pub(crate) fn say(text: &str) {
    let mut out = std::io::stdout();
    drop(writeln!(out, "{text}").and_then(|()| out.flush()));
}

/// Measures start-up and footprint; `out` gets `figures.json`.
///
/// # Errors
/// Something does not start, or `out` cannot be written.
pub async fn run(out: &Path) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("create {}", out.display()))?;
    say("building the release binary (minutes, the first time)");
    let program = binaries::release_router().await?;

    say("start-up and footprint");
    let footprint = footprint::measure(&program).await?;
    say("");
    say(&format!(
        "stripped binary          {:.2} MB",
        footprint.binary_bytes / 1e6
    ));
    say(&format!("start-up to listening    {}", footprint.startup));
    say(&format!(
        "idle memory (resident)   {:.1} MB",
        footprint.idle_bytes / 1e6
    ));
    let figures = json!({
        "binary_bytes": footprint.binary_bytes,
        "startup": footprint.startup.json(),
        "idle_resident_bytes": footprint.idle_bytes,
    });
    let file = out.join("figures.json");
    std::fs::write(&file, format!("{figures:#}\n"))
        .with_context(|| format!("write {}", file.display()))?;
    say(&format!("\nwritten to {}", out.display()));
    Ok(())
}
