//! `harness bench`: the figures of the release build, printed, as JSON and drawn. The relay, the
//! server list and wakes have commands of their own.

mod footprint;
mod plot;
pub mod registry;
pub mod relay;
mod routes;
mod stats;
pub mod status;
pub mod wake;

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use crate::binaries;
use stats::Summary;

/// Prints a line at once, so that long work shows how far it is.
pub(crate) fn say(text: &str) {
    let mut out = std::io::stdout();
    drop(writeln!(out, "{text}").and_then(|()| out.flush()));
}

/// Runs every benchmark; `out` gets `figures.json` and the drawings.
///
/// # Errors
/// Something does not start, or `out` cannot be written.
pub async fn run(out: &Path) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("create {}", out.display()))?;
    say("building the release binary (minutes, the first time)");
    let program = binaries::release_router().await?;

    say("start-up and footprint");
    let footprint = footprint::measure(&program).await?;
    say("1,000 single-row changes, each awaited in GET /routes");
    let changes = routes::measure(&program).await?;

    let change = Summary::of(&changes)?;
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
    say(&format!("commit to route live     {change}"));

    plot::distributions(
        &out.join("routes.svg"),
        "From a row's commit to its route in GET /routes",
        &[("1,000 single-row changes", changes.as_slice())],
    )?;
    let figures = json!({
        "binary_bytes": footprint.binary_bytes,
        "startup": footprint.startup.json(),
        "idle_resident_bytes": footprint.idle_bytes,
        "commit_to_route_live": change.json(),
    });
    let file = out.join("figures.json");
    std::fs::write(&file, format!("{figures:#}\n"))
        .with_context(|| format!("write {}", file.display()))?;
    say(&format!("\nwritten to {}", out.display()));
    Ok(())
}
