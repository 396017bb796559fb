//! `harness soak`: many idle players and many who come, talk and go, for a long time, and the proof
//! that no byte was lost, changed or moved, and that nothing was left behind.

mod draw;
mod sample;
mod verdict;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use automc_router::files::{places_within, raise_limit};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use crate::bench::say;
use crate::eventually::eventually;
use crate::load::job::{Job, Order, Report};
use crate::load::part::{Players, Server};
use crate::room::room;
use crate::router::{RouterProcess, Settings};
use crate::usage::{Files, settled};
use sample::{Phase, Sample};
use verdict::Check;

/// The host name players ask for.
const HOST: &str = "soak.example";
/// Longest wait for the router to forget players who have left.
const DEADLINE: Duration = Duration::from_secs(20);
/// How often there is a line of progress.
const PROGRESS: Duration = Duration::from_secs(10);
/// Files of the four pipes a worker of the router keeps once it has spliced.
const FILES_KEPT_BY_WORKER: u64 = 8;

/// Who plays for how long, through which router.
#[derive(Debug, Clone)]
pub struct Options {
    /// The router's binary.
    pub router: PathBuf,
    /// The `harness` binary, which makes the load.
    pub harness: PathBuf,
    /// Folder for `soak.json` and `soak.svg`.
    pub out: PathBuf,
    /// Players who log in and stay; as many of them as there are places for.
    pub idle: usize,
    /// Players who come, talk and go, over and over.
    pub active: usize,
    /// For how long.
    pub span: Span,
}

/// How long active players go on.
#[derive(Debug, Clone, Copy)]
pub enum Span {
    /// So long, at a player's pace.
    Time(Duration),
    /// So many visits of each, as fast as they go.
    Visits(u32),
}

impl Span {
    /// How long active players wait before a packet, on average.
    fn pause(self) -> Duration {
        match self {
            Self::Time(_) => Duration::from_millis(200),
            Self::Visits(_) => Duration::ZERO,
        }
    }

    /// How often samples are taken.
    fn every(self) -> Duration {
        match self {
            Self::Time(_) => Duration::from_secs(2),
            Self::Visits(_) => Duration::from_millis(50),
        }
    }

    fn visits(self) -> Option<u32> {
        match self {
            Self::Time(_) => None,
            Self::Visits(visits) => Some(visits),
        }
    }

    /// When active players are to be told to end.
    fn end(self) -> Option<Duration> {
        match self {
            Self::Time(time) => Some(time),
            Self::Visits(_) => None,
        }
    }
}

/// Soaks, prints progress and verdict, and writes JSON and a drawing to the folder.
///
/// # Errors
/// A byte was not what it should have been, something was left behind, memory grew, or the soak
/// could not be made.
pub async fn run(options: &Options) -> Result<()> {
    let out = &options.out;
    std::fs::create_dir_all(out).with_context(|| format!("create {}", out.display()))?;
    let (idle, places) = places(options)?;
    let asked = (options.idle, options.active);
    say(&format!(
        "asked for {} idle and {} active players; files allow {places}: {idle} idle, {} active",
        asked.0, asked.1, asked.1
    ));
    room().await?;
    let server = Server::start(&options.harness).await?;
    let settings = Settings::new()
        .flag(format!("--mapping={HOST}={}", server.at))
        .flag(format!("--max-connections={places}"));
    let router = RouterProcess::start_program(&options.router, settings).await?;
    router.at.ready(DEADLINE).await?;
    let mut soak = Soak {
        options,
        idle,
        router,
        begin: Instant::now(),
        samples: Vec::new(),
        checks: Vec::new(),
    };
    let soaked = soak.soak(server).await;
    soak.write(out)?;
    let log = || {
        format!(
            "the router's log ends with:\n{}",
            soak.router.process.tail(5)
        )
    };
    soaked.with_context(log)?;
    say("");
    for check in &soak.checks {
        say(&check.line());
    }
    say(&format!("\nwritten to {}", out.display()));
    let failed: Vec<_> = soak.checks.iter().filter(|check| !check.passed).collect();
    let lines: Vec<_> = failed.iter().map(|check| check.line()).collect();
    ensure!(
        failed.is_empty(),
        "the soak failed:\n{}\n{}",
        lines.join("\n"),
        log()
    );
    Ok(())
}

/// How many idle players there are places for, and the places of all.
fn places(options: &Options) -> Result<(usize, usize)> {
    // One who comes again may be there before the router has forgotten the last visit.
    let active = options.active + options.active.div_ceil(4);
    // The router has the same limit on files as this process.
    let places = places_within(raise_limit(), options.idle + active);
    ensure!(
        places > active,
        "there are only {places} places, too few for {} active players",
        options.active
    );
    Ok((options.idle.min(places - active), places))
}

struct Soak<'a> {
    options: &'a Options,
    idle: usize,
    router: RouterProcess,
    begin: Instant,
    samples: Vec<Sample>,
    checks: Vec<Check>,
}

impl Soak<'_> {
    async fn soak(&mut self, server: Server) -> Result<()> {
        let pids = [self.router.process.pid()];
        settled(&pids).await?;
        let at_start = Files::of(self.router.process.pid())?;
        self.sample(Phase::Start).await?;
        let mut idle = self.players(Job::Hold { players: self.idle }).await?;
        let trouble = idle.trouble.as_deref().unwrap_or_default();
        ensure!(
            idle.count == self.idle,
            "{} idle players got in, and then: {trouble}",
            idle.count
        );
        idle.begin().await?;
        self.open(self.idle).await?;
        settled(&pids).await?;
        let of_idle = Files::of(self.router.process.pid())?;
        self.sample(Phase::Idle).await?;

        let talked = match self.talk().await {
            Ok(report) => report,
            Err(error) => match server.end().await {
                Err(cause) => bail!("{error:#}; the server: {cause:#}"),
                Ok(_) => return Err(error),
            },
        };
        let left = self.left(self.idle, of_idle).await;
        self.check("files with only idle players left", left);
        self.sample(Phase::After).await?;

        let stayed = async {
            idle.end().await?;
            idle.measured().await?;
            let stayed = idle.report().await?.units;
            Ok(format!("{stayed} of {}, each with an echo", self.idle))
        };
        let stayed = stayed.await;
        self.check("idle players still there", stayed);
        let left = self.left(0, at_start).await;
        self.check("files with nobody left", left);
        self.sample(Phase::End).await?;

        let heard = server.end().await;
        self.checks.push(verdict::bytes(&talked, heard));
        self.checks.push(verdict::memory(&self.samples));
        self.checks.push(verdict::splices(&self.samples));
        Ok(())
    }

    async fn players(&self, job: Job) -> Result<Players> {
        let order = Order {
            at: self.router.at.players,
            host: HOST.to_owned(),
            job,
        };
        Players::start(&self.options.harness, &order).await
    }

    /// Has the active players talk until they are done, and watches the router meanwhile.
    async fn talk(&mut self) -> Result<Report> {
        let span = self.options.span;
        let mut active = self
            .players(Job::Visits {
                players: u32::try_from(self.options.active)?,
                pause: span.pause(),
                visits: span.visits(),
            })
            .await?;
        active.begin().await?;
        let begin = Instant::now();
        let mut ticks = interval(span.every());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut told, mut shown) = (false, begin);
        loop {
            tokio::select! {
                measured = active.measured() => {
                    measured?;
                    return active.report().await;
                }
                _ = ticks.tick() => {}
            }
            self.sample(Phase::Active).await?;
            self.all_idle_there()?;
            if shown.elapsed() >= PROGRESS {
                shown = Instant::now();
                self.progress();
            }
            if !told && span.end().is_some_and(|end| begin.elapsed() >= end) {
                active.end().await?;
                told = true;
            }
        }
    }

    async fn sample(&mut self, phase: Phase) -> Result<()> {
        let router = (&self.router.at, self.router.process.pid());
        let sample = Sample::take(router, phase, self.begin.elapsed()).await?;
        self.samples.push(sample);
        Ok(())
    }

    fn progress(&self) {
        if let Some(sample) = self.samples.last() {
            say(&sample.line());
        }
    }

    /// Nobody needs ten minutes to learn that idle players were lost; a few show in the end.
    fn all_idle_there(&self) -> Result<()> {
        let Some(last) = self.samples.last() else {
            return Ok(());
        };
        ensure!(
            last.sessions_open >= u64::try_from(self.idle)?,
            "{} sessions are left after {:.0} s, and there were {} idle players alone",
            last.sessions_open,
            last.seconds,
            self.idle
        );
        Ok(())
    }

    /// Waits until the router has just so many sessions.
    async fn open(&self, sessions: usize) -> Result<()> {
        let expected = u64::try_from(sessions)?;
        eventually(&format!("{sessions} sessions"), DEADLINE, async || {
            let open = self.router.at.metrics().await?.value(sample::OPEN)?;
            ensure!(open == expected, "there are {open}");
            Ok(())
        })
        .await
    }

    /// Waits until the router has just so many sessions, and no more files than `before` but for
    /// the pipes that workers keep.
    async fn left(&self, sessions: usize, before: Files) -> Result<String> {
        self.open(sessions).await?;
        let workers = u64::try_from(std::thread::available_parallelism()?.get())?;
        let pipes = before.pipes + workers * FILES_KEPT_BY_WORKER;
        let what = format!(
            "at most {} files, and {pipes} of pipes besides",
            before.others
        );
        let pid = self.router.process.pid();
        let files = eventually(&what, DEADLINE, async || {
            let files = Files::of(pid)?;
            let few = files.others <= before.others && files.pipes <= pipes;
            ensure!(few, "there are {files:?}");
            Ok(files)
        });
        let files = files.await?;
        Ok(format!(
            "{} files, {} before; {} of pipes besides, {} before, {pipes} allowed",
            files.others, before.others, files.pipes, before.pipes
        ))
    }

    fn check(&mut self, name: &'static str, outcome: Result<String>) {
        let passed = outcome.is_ok();
        let detail = outcome.unwrap_or_else(|error| format!("{error:#}"));
        self.checks.push(Check {
            name,
            passed,
            detail,
        });
    }

    fn write(&self, out: &Path) -> Result<()> {
        let samples: Vec<_> = self.samples.iter().map(Sample::json).collect();
        let checks: Vec<_> = self.checks.iter().map(Check::json).collect();
        let text = json!({
            "asked": { "idle": self.options.idle, "active": self.options.active },
            "players": { "idle": self.idle, "active": self.options.active },
            "checks": checks,
            "samples": samples,
        });
        let file = out.join("soak.json");
        std::fs::write(&file, format!("{text:#}\n"))
            .with_context(|| format!("write {}", file.display()))?;
        draw::draw(&out.join("soak.svg"), &self.samples)
    }
}
