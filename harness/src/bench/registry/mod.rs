//! `harness bench routes`: what the number of routes costs: first sync, memory, look-ups, changes, storms.

mod live;
mod lookup;
mod rows;
mod storm;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::stats::{Summary, millis};
use super::{plot, say};
use crate::postgres::Postgres;

/// What is measured, and with what.
#[derive(Debug, Clone)]
pub struct Options {
    /// The router's binary.
    pub router: PathBuf,
    /// Folder for `registry.json` and the drawings.
    pub out: PathBuf,
    /// Rows of the table, one run for each.
    pub sizes: Vec<usize>,
    /// Rows of the table in a storm; 0 for none.
    pub storm: usize,
}

/// Measures, prints, and writes it all.
///
/// # Errors
/// Something does not start, is not live in time, or is wrong in the end; or `out` cannot be written.
pub async fn run(options: &Options) -> Result<()> {
    std::fs::create_dir_all(&options.out)
        .with_context(|| format!("create {}", options.out.display()))?;
    let postgres = Postgres::shared().await?;
    let mut figures = Vec::new();
    let mut changes: Vec<(String, Vec<Duration>)> = Vec::new();
    let empty = live::resident_without_rows(postgres, &options.router).await?;
    for &rows in &options.sizes {
        say(&format!("{rows} routes"));
        let looked_up = tokio::task::spawn_blocking(move || lookup::measure(rows)).await??;
        say(&format!("  look-up                  {looked_up}"));
        let live = live::measure(postgres, &options.router, rows).await?;
        let change = Summary::of(&live.changes)?;
        let per_route = live.resident.saturating_sub(empty) / u64::try_from(rows)?.max(1);
        say(&format!(
            "  start to all routes live {:.0} ms",
            millis(live.first_sync)
        ));
        say(&format!(
            "  memory                   {} B a route in the registry; {per_route} B in the router, with states and \
             health ({:.1} MB in all)",
            looked_up.bytes_per_route,
            mega(live.resident)
        ));
        say(&format!("  commit to route live     {change}"));
        say(&format!(
            "  {} rows by one statement {:.0} ms",
            live.bulk_rows,
            millis(live.bulk)
        ));
        figures.push(json!({
            "rows": rows,
            "lookup": looked_up.json(),
            "first_sync_ms": millis(live.first_sync),
            "bytes_per_route": per_route,
            "resident_bytes": live.resident,
            "commit_to_route_live": change.json(),
            "bulk_rows": live.bulk_rows,
            "bulk_ms": millis(live.bulk),
        }));
        changes.push((format!("{rows} rows"), live.changes));
    }
    let sets: Vec<_> = changes
        .iter()
        .map(|(name, set)| (name.as_str(), set.as_slice()))
        .collect();
    if !sets.is_empty() {
        let title = "From a row's commit to its route";
        plot::distributions(&options.out.join("registry.svg"), title, &sets)?;
    }
    let storm = match options.storm {
        0 => Value::Null,
        rows => storm::run(postgres, options, rows).await?,
    };
    let file = options.out.join("registry.json");
    let figures = json!({ "sizes": figures, "storm": storm });
    std::fs::write(&file, format!("{figures:#}\n"))
        .with_context(|| format!("write {}", file.display()))?;
    say(&format!("\nwritten to {}", options.out.display()));
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
