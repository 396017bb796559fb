//! One run: server, target and players started, the work done, what it took.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::figures::{Figures, Metric, real};
use super::mode::{JOIN_BYTES, JOINS, Mode, Size};
use super::target::{Running, Target};
use super::{HOST, say};
use crate::load::job::{Job, Order, Report};
use crate::load::part::{Part, Players, Server};
use crate::room::room;
use crate::usage::{Usage, Used, held, settled};

/// Measures `target` once; `harness` makes the load.
pub(super) async fn measure(
    harness: &Path,
    target: &Target,
    mode: Mode,
    size: Size,
) -> Result<Figures> {
    let idle_players = size.idle_players.min(target.players_max()?);
    if mode == Mode::Idle && idle_players < size.idle_players {
        say(&format!("    {} takes {idle_players} players", target.name));
    }
    let size = Size {
        idle_players,
        ..size
    };
    room().await?;
    let server = Server::start(harness).await?;
    let running = target.start(server.at).await?;
    let bench = Bench {
        harness,
        server: &server,
        running: &running,
    };
    let figures = match mode {
        Mode::Idle => bench.idle(target, mode.job(size)).await,
        Mode::Mixed => bench.mixed(mode.job(size)).await,
        _ => bench.work(mode, mode.job(size)).await,
    };
    let figures = figures.with_context(|| {
        let log = running.log();
        let log = if log.is_empty() { "nothing" } else { &log };
        format!(
            "{} through {}, which logged {log}",
            mode.name(),
            target.name
        )
    })?;
    running.stop().await?;
    Ok(figures)
}

struct Bench<'a> {
    harness: &'a Path,
    server: &'a Server,
    running: &'a Running,
}

impl Bench<'_> {
    async fn players(&self, job: Job) -> Result<Players> {
        let order = Order {
            at: self.running.at,
            host: HOST.to_owned(),
            job,
        };
        Players::start(self.harness, &order).await
    }

    fn usage(&self, players: &[&Players]) -> Result<Usage> {
        let parts = players.iter().map(|players| &players.part);
        let load = parts.chain([&self.server.part]).filter_map(Part::pid);
        Usage::now(&self.running.pids, &load.collect::<Vec<_>>())
    }

    /// Has players work, and tells what they report and what was used.
    async fn watched(&self, mut players: Players) -> Result<(Report, Used)> {
        players.begin().await?;
        let before = self.usage(&[&players])?;
        players.measured().await?;
        let used = self.usage(&[&players])?.since(&before);
        Ok((players.report().await?, used))
    }

    async fn work(&self, mode: Mode, job: Job) -> Result<Figures> {
        if let Some(job) = mode.warm_up() {
            self.watched(self.players(job).await?).await?;
        }
        let bulk = matches!(job, Job::Transfer { .. });
        let players = self.players(job).await?;
        let (report, used) = self.watched(players).await?;
        let units = if bulk {
            real(report.bytes.0 + report.bytes.1) / 1e9
        } else {
            real(report.units)
        };
        ensure!(units > 0.0, "no {} was completed", mode.unit());
        let mut figures = latencies(&report);
        figures.extend(self.work_done(units, report.took, used));
        Ok(figures)
    }

    async fn mixed(&self, job: Job) -> Result<Figures> {
        let downloads = Job::Downloads {
            at_once: JOINS,
            bytes: JOIN_BYTES,
        };
        let mut joining = self.players(downloads).await?;
        let mut players = self.players(job).await?;
        joining.begin().await?;
        let before = self.usage(&[&players, &joining])?;
        players.begin().await?;
        players.measured().await?;
        joining.end().await?;
        joining.measured().await?;
        let used = self.usage(&[&players, &joining])?.since(&before);
        let mut figures = latencies(&players.report().await?);
        let joins = joining.report().await?;
        ensure!(joins.units > 0, "nobody joined");
        figures.extend(self.work_done(real(joins.units), joins.took, used));
        Ok(figures)
    }

    /// Work by the second, and what one unit of it took.
    fn work_done(&self, units: f64, took: Duration, used: Used) -> Figures {
        let mut figures = Figures::from([
            (Metric::Rate, units / took.as_secs_f64()),
            (Metric::MachineCpu, used.machine.as_secs_f64() / units),
            (
                Metric::Others,
                used.others.as_secs_f64() / used.took.as_secs_f64(),
            ),
        ]);
        if !self.running.pids.is_empty() {
            let cpu = used.target.as_secs_f64() / units;
            figures.insert(Metric::TargetCpu, cpu);
        }
        figures
    }

    async fn idle(&self, target: &Target, job: Job) -> Result<Figures> {
        let pids = &self.running.pids;
        let (base, base_files) = settled(pids).await?;
        let mut players = self.players(job).await?;
        if let Some(trouble) = &players.trouble {
            let (name, count) = (&target.name, players.count);
            say(&format!(
                "    {name} holds {count} players and no more: {trouble}"
            ));
        }
        ensure!(players.count > 0, "nobody got in");
        players.begin().await?;
        let (resident, _) = settled(pids).await?;
        let (_, files) = held(pids)?;
        // Everybody still there? They say something before they leave.
        players.end().await?;
        players.measured().await?;
        let report = players.report().await?;
        let count = real(report.units);
        let each = |before: u64, after: u64| real(after.saturating_sub(before)) / count;
        Ok([
            (Metric::Players, count),
            (Metric::Base, real(base)),
            (Metric::Resident, real(resident)),
            (Metric::PlayerBytes, each(base, resident)),
            (
                Metric::AtTenThousand,
                real(base) + 1e4 * each(base, resident),
            ),
            (Metric::PlayerFiles, each(base_files, files)),
        ]
        .into())
    }
}

fn latencies(report: &Report) -> Figures {
    let mut figures = Figures::new();
    if let Some(latency) = &report.latency {
        figures.insert(Metric::P50, latency.p50.as_secs_f64());
        figures.insert(Metric::P99, latency.p99.as_secs_f64());
        figures.insert(Metric::P999, latency.p999.as_secs_f64());
    }
    if let Some(late) = &report.late {
        figures.insert(Metric::Late, late.p99.as_secs_f64());
    }
    figures
}
