//! `harness bench relay`: what the relay costs beside no relay, HAProxy, nginx, and routers with
//! mc-router's flags.

mod draw;
mod figures;
mod measure;
mod mode;
mod peers;
mod table;
mod target;
mod verdict;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::say;
use crate::{binaries, usage};
use figures::{Run, Runs};
use mode::{Mode, Size};
use table::{DIRECT, OURS, aligned, table};
use target::{Kind, Target, on_path};
use verdict::{Verdict, verdicts};

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

impl Options {
    fn wants(&self, target: &str) -> bool {
        self.targets.is_empty() || self.targets.iter().any(|name| name == target)
    }
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
    let mut session = Session {
        harness: std::env::current_exe().context("where this program is")?,
        targets,
        size,
        runs: Runs::default(),
        failed: Vec::new(),
    };
    for mode in &modes {
        say(&format!("\n{}: {}", mode.name(), mode.about(size)));
        for round in 0..options.rounds {
            session.round(*mode, round).await;
        }
        say("");
        session.print(*mode);
    }
    session.judge(options, &modes)?;
    let failed = session.failed;
    ensure!(failed.is_empty(), "runs failed:\n{}", failed.join("\n"));
    Ok(())
}

/// Everything measured so far, and with what.
struct Session {
    harness: PathBuf,
    targets: Vec<Target>,
    size: Size,
    runs: Runs,
    failed: Vec<String>,
}

impl Session {
    /// One round of one mode: every target once, another one first each time.
    async fn round(&mut self, mode: Mode, round: usize) {
        let first = round % self.targets.len().max(1);
        let order = self.targets.iter().cycle().skip(first);
        for target in order.take(self.targets.len()) {
            if mode == Mode::Idle && matches!(target.kind, Kind::Direct) {
                continue;
            }
            let outcome = measure::measure(&self.harness, target, mode, self.size).await;
            match outcome {
                Ok(figures) => {
                    let run = Run {
                        mode,
                        target: target.name.clone(),
                        round,
                        figures,
                    };
                    say(&table::progress(&run));
                    self.runs.0.push(run);
                }
                Err(error) => {
                    let line = format!("round {}: {error:#}", round + 1);
                    say(&format!("  FAILED {line}"));
                    self.failed.push(line);
                }
            }
        }
    }

    fn names(&self) -> Vec<String> {
        let names = self.targets.iter().map(|target| target.name.clone());
        names.collect()
    }

    fn print(&self, mode: Mode) {
        for line in table(&self.runs, mode, &self.names()) {
            say(&line);
        }
    }

    /// Prints how the goals stand, and writes and draws everything.
    fn judge(&self, options: &Options, modes: &[Mode]) -> Result<()> {
        let peers = options.peers.iter().map(|(name, _)| name.as_str());
        let peers: Vec<_> = peers.filter(|name| options.wants(name)).collect();
        let verdicts = verdicts(&self.runs, modes, &peers);
        if options.wants(OURS) {
            say("\ngoals");
            let cells: Vec<_> = verdicts.iter().map(Verdict::cells).collect();
            for line in aligned(&cells) {
                say(&line);
            }
        }
        let (out, names) = (&options.out, self.names());
        write_json(&out.join("relay.json"), &self.runs, &verdicts)?;
        draw::latency(&out.join("relay-latency.svg"), &self.runs, modes, &names)?;
        draw::cost(&out.join("relay-cost.svg"), &self.runs, modes, &names)?;
        say(&format!("\nwritten to {}", out.display()));
        Ok(())
    }
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
    let mut targets = vec![target(DIRECT, Kind::Direct)];
    if options.wants(OURS) {
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
    targets.retain(|target| options.wants(&target.name));
    for name in &options.targets {
        if !targets.iter().any(|target| target.name == *name) {
            say(&format!("there is no target of the name {name}"));
        }
    }
    ensure!(!targets.is_empty(), "nothing to measure");
    Ok(targets)
}

/// As many as one relay has files for, two each, and 10,000 at most.
fn idle_players() -> Result<usize> {
    let files = usize::try_from(usage::files_max()?)?;
    Ok((files.saturating_sub(100) / 2).min(10_000))
}

fn write_json(file: &Path, runs: &Runs, verdicts: &[Verdict]) -> Result<()> {
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
    let goals: Vec<_> = verdicts.iter().map(Verdict::json).collect();
    let text = format!("{:#}\n", json!({ "runs": all, "goals": goals }));
    std::fs::write(file, text).with_context(|| format!("write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_a_name_and_a_path() {
        let named = peer("mc-router=/opt/a=b").unwrap();
        assert_eq!(named, ("mc-router".to_owned(), "/opt/a=b".into()));
        for text in ["mc-router", "=/opt/a", "mc-router="] {
            assert!(peer(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_mode_may_stand_for_several_and_none_for_all() {
        assert_eq!(modes(&["paced".to_owned()]), [Mode::Paced10, Mode::Paced20]);
        assert_eq!(modes(&[]).len(), 9);
    }
}
