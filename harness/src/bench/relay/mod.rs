//! `harness bench relay`: what the relay costs beside no relay, HAProxy, nginx, and routers with
//! mc-router's flags.

mod figures;
mod measure;
mod mode;
mod peers;
mod table;
mod target;
mod usage;

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use super::say;
use crate::binaries;
use figures::{Metric, Run, Runs};
use mode::{Mode, Size};
use table::{DIRECT, OURS, table};
use target::{Kind, Target, on_path};

/// The host name players ask for.
const HOST: &str = "bench.example";

/// What is to be measured.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder for `relay.json` and the drawings.
    pub out: PathBuf,
    /// How many times everything is measured.
    pub rounds: usize,
    /// Names of modes; none for all.
    pub modes: Vec<String>,
    /// Names of targets; none for all.
    pub targets: Vec<String>,
    /// Routers with mc-router's flags: name and path.
    pub peers: Vec<(String, PathBuf)>,
    /// Players who send at an even pace.
    pub paced_players: usize,
    /// Players who do nothing; as many as files allow if not said.
    pub idle_players: Option<usize>,
    /// Bytes that are moved in bulk in one run.
    pub bulk_bytes: u64,
}

/// Measures, prints tables as it goes, and writes the rest to the folder.
///
/// # Errors
/// A name is unknown, a target or the load fails in some run (the others are measured all the
/// same), or the folder cannot be written.
pub async fn run(options: &Options) -> Result<()> {
    if cfg!(debug_assertions) {
        say("this is a debug build: its load costs far more than the relays; use --release");
    }
    let out = &options.out;
    std::fs::create_dir_all(out).with_context(|| format!("create {}", out.display()))?;
    let modes = modes(&options.modes);
    let targets = targets(options).await?;
    let size = Size {
        paced_players: options.paced_players,
        idle_players: options.idle_players.map_or_else(idle_players, Ok)?,
        bulk_bytes: options.bulk_bytes,
    };
    let names: Vec<_> = targets.iter().map(|target| target.name.clone()).collect();
    let (mut runs, mut failed) = (Runs::default(), Vec::new());
    for mode in &modes {
        say(&format!("\n{}: {}", mode.name(), mode.about(size)));
        for round in 0..options.rounds {
            rounds(&targets, *mode, size, round, &mut runs, &mut failed).await?;
        }
        say("");
        for line in table(&runs, *mode, &names) {
            say(&line);
        }
        write_json(options, &runs)?;
    }
    say(&format!("\nwritten to {}", out.display()));
    ensure!(failed.is_empty(), "runs failed:\n{}", failed.join("\n"));
    Ok(())
}

/// One round of one mode: every target once, another one first each time.
async fn rounds(
    targets: &[Target],
    mode: Mode,
    size: Size,
    round: usize,
    runs: &mut Runs,
    failed: &mut Vec<String>,
) -> Result<()> {
    let harness = std::env::current_exe().context("where this program is")?;
    let first = round % targets.len().max(1);
    let order = targets.iter().cycle().skip(first).take(targets.len());
    for target in order {
        if mode == Mode::Idle && matches!(target.kind, Kind::Direct) {
            continue;
        }
        match measure::measure(&harness, target, mode, size).await {
            Ok(figures) => {
                let cells = [
                    Metric::Rate,
                    Metric::P99,
                    Metric::TargetCpu,
                    Metric::PlayerBytes,
                ]
                .into_iter()
                .filter_map(|metric| {
                    let value = figures.get(&metric)?;
                    Some(format!(
                        "{} {}",
                        metric.name(),
                        table::shown(mode, metric, *value)
                    ))
                });
                let cells: Vec<_> = cells.collect();
                say(&format!(
                    "  round {}  {:<16} {}",
                    round + 1,
                    target.name,
                    cells.join("  ")
                ));
                runs.0.push(Run {
                    mode,
                    target: target.name.clone(),
                    round,
                    figures,
                });
            }
            Err(error) => {
                let line = format!("round {}: {error:#}", round + 1);
                say(&format!("  FAILED {line}"));
                failed.push(line);
            }
        }
    }
    Ok(())
}

/// What `--mode` takes.
#[must_use]
pub fn mode_names() -> [&'static str; Mode::GROUPS.len()] {
    Mode::GROUPS.map(|(name, _)| name)
}

/// What `--peer` takes.
///
/// # Errors
/// It is not `name=path`.
pub fn peer(text: &str) -> Result<(String, PathBuf)> {
    let (name, path) = text.split_once('=').context("not name=path")?;
    ensure!(!name.is_empty() && !path.is_empty(), "not name=path");
    Ok((name.to_owned(), path.into()))
}

fn modes(names: &[String]) -> Vec<Mode> {
    let wanted = |group: &str| names.is_empty() || names.iter().any(|name| name == group);
    let groups = Mode::GROUPS.into_iter().filter(|(group, _)| wanted(group));
    groups
        .flat_map(|(_, modes)| modes.iter().copied())
        .collect()
}

/// All that are here, or those that were asked for.
async fn targets(options: &Options) -> Result<Vec<Target>> {
    let target = |name: &str, kind| Target {
        name: name.to_owned(),
        kind,
    };
    let wanted = |name: &str| {
        options.targets.is_empty() || options.targets.iter().any(|wanted| wanted == name)
    };
    let mut targets = vec![target(DIRECT, Kind::Direct)];
    if wanted(OURS) {
        say("building the release binary (minutes, the first time)");
        let program = binaries::release_router().await?;
        targets.push(target(OURS, Kind::Router(program)));
    }
    match on_path("haproxy") {
        Some(program) => {
            targets.push(target("haproxy", Kind::Haproxy(program.clone(), false)));
            targets.push(target("haproxy-splice", Kind::Haproxy(program, true)));
        }
        None => say("haproxy is not on the PATH, and skipped"),
    }
    match on_path("nginx") {
        Some(program) => targets.push(target("nginx", Kind::Nginx(program))),
        None => say("nginx is not on the PATH, and skipped"),
    }
    for (name, program) in &options.peers {
        if program.is_file() {
            targets.push(target(name, Kind::Router(program.clone())));
        } else {
            say(&format!(
                "{name} is not at {}, and skipped",
                program.display()
            ));
        }
    }
    targets.retain(|target| wanted(&target.name));
    if targets.is_empty() {
        bail!("no target of the names {:?}", options.targets);
    }
    Ok(targets)
}

/// As many as one relay has files for, two each, and 10,000 at most.
fn idle_players() -> Result<usize> {
    let files = usize::try_from(usage::files_max()?)?;
    Ok((files.saturating_sub(100) / 2).min(10_000))
}

fn write_json(options: &Options, runs: &Runs) -> Result<()> {
    let run = |run: &Run| {
        let figures = run.figures.iter();
        let figures = figures.map(|(metric, value)| (metric.name().to_owned(), json!(value)));
        json!({
            "mode": run.mode.name(),
            "target": run.target,
            "round": run.round + 1,
            "figures": figures.collect::<serde_json::Map<_, _>>(),
        })
    };
    let all: Vec<_> = runs.0.iter().map(run).collect();
    let file = options.out.join("relay.json");
    let text = format!("{:#}\n", json!({ "runs": all }));
    std::fs::write(&file, text).with_context(|| format!("write {}", file.display()))
}
