//! `harness bench status`: how many pings of the server list the router answers in a second, from
//! what it knows of a server that is up and of one that is away.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use automc_router::config::values::short;
use serde_json::json;
use tokio::task::JoinSet;

use super::say;
use super::stats::millis;
use crate::backend::Backend;
use crate::eventually::eventually;
use crate::load::job::{Job, Order, Report, Span};
use crate::load::part::Players;
use crate::player::Player;
use crate::router::{RouterProcess, Settings};
use crate::usage::Usage;

/// Longest wait for anything.
const DEADLINE: Duration = Duration::from_secs(20);
/// What does not count before each round.
const WARM_UP: Duration = Duration::from_secs(1);
/// Length of the icon, as base64: a common one.
const ICON_BYTES: usize = 6 * 1024;

/// What is measured with what.
#[derive(Debug, Clone)]
pub struct Options {
    /// The router's binary.
    pub router: PathBuf,
    /// The `harness` binary, which makes the load.
    pub harness: PathBuf,
    /// Folder for `status.json`.
    pub out: PathBuf,
    /// How many times everything is measured.
    pub rounds: usize,
    /// Pings under way at once.
    pub at_once: usize,
    /// For how long in one round.
    pub time: Duration,
}

/// What came of one round.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    per_second: f64,
    /// Processor time of the router for one ping.
    cpu: Duration,
    p50: Duration,
    p99: Duration,
    p999: Duration,
}

/// Measures in turns, prints the median round of each, and writes them all.
///
/// # Errors
/// Something does not start, a ping fails, or `out` cannot be written.
pub async fn run(options: &Options) -> Result<()> {
    std::fs::create_dir_all(&options.out)
        .with_context(|| format!("create {}", options.out.display()))?;
    let (mut live, mut away) = (Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        let backend = Backend::start("bench").await?;
        backend.shows(&status().to_string());
        let mapping = format!("--mapping=bench.test={}", backend.addr());
        let settings = Settings::new().flag(mapping);
        let router = RouterProcess::start_program(&options.router, settings).await?;
        let up = measure(options, &router).await?;
        say(&format!("round {round}: live  {up}"));
        live.push(up);
        let asked = backend.records().len();
        let most = 2 + (options.time + WARM_UP + DEADLINE).as_secs() / 5;
        ensure!(
            u64::try_from(asked)? <= most,
            "the server was asked {asked} times"
        );

        backend.stop();
        let player = Player::new("bench.test");
        eventually("the server to be away", DEADLINE, async || {
            let status = player.status(router.at.players).await?;
            ensure!(status.text().contains("not reachable"), "{status:?}");
            Ok(())
        })
        .await?;
        let down = measure(options, &router).await?;
        say(&format!("round {round}: away  {down}"));
        away.push(down);
    }
    let (up, down) = (median(&live)?, median(&away)?);
    say(&format!(
        "\nmedian of {} rounds of {}, {} at once",
        options.rounds,
        short(options.time),
        options.at_once
    ));
    say(&format!("status of a server that is up     {up}"));
    say(&format!("last known of one that is away    {down}"));
    let figures = json!({
        "at_once": options.at_once,
        "seconds": options.time.as_secs(),
        "live": { "median": up.json(), "rounds": live.iter().map(Round::json).collect::<Vec<_>>() },
        "away": { "median": down.json(), "rounds": away.iter().map(Round::json).collect::<Vec<_>>() },
    });
    let file = options.out.join("status.json");
    std::fs::write(&file, format!("{figures:#}\n"))
        .with_context(|| format!("write {}", file.display()))?;
    say(&format!("\nwritten to {}", file.display()));
    Ok(())
}

/// An icon, players, a text: what most servers show.
fn status() -> serde_json::Value {
    let player = |number: u32| json!({ "name": format!("Player{number}"), "id": "0-0" });
    json!({
        "version": { "name": "1.21.4", "protocol": 769 },
        "players": { "max": 100, "online": 12, "sample": (0..12).map(player).collect::<Vec<_>>() },
        "description": { "text": "A Minecraft server" },
        "favicon": format!("data:image/png;base64,{}", "A".repeat(ICON_BYTES)),
    })
}

async fn measure(options: &Options, router: &RouterProcess) -> Result<Round> {
    // One thread of load is busier than the router, and would be all that is measured.
    let parts = std::thread::available_parallelism()?.get();
    let order = Order {
        at: router.at.players,
        host: "bench.test".to_owned(),
        job: Job::Pings {
            at_once: options.at_once.div_ceil(parts),
            span: Span::Time(WARM_UP, options.time),
        },
    };
    let mut parted = Vec::new();
    for _ in 0..parts {
        parted.push(Players::start(&options.harness, &order).await?);
    }
    let begun = together(parted, |mut players| async move {
        players.begin().await?;
        Ok(players)
    });
    let begun = begun.await?;
    let pids = [router.process.pid()];
    let before = Usage::now(&pids, &[])?;
    let measured = together(begun, |mut players| async move {
        players.measured().await?;
        Ok(players)
    });
    let measured = measured.await?;
    let used = Usage::now(&pids, &[])?.since(&before);
    let reports = together(measured, Players::report).await?;
    Round::of(&reports, used.target)
}

/// Has all of `parts` do the same at the same time.
async fn together<T, F>(parts: Vec<Players>, act: impl Fn(Players) -> F) -> Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let mut acting = JoinSet::new();
    for part in parts {
        acting.spawn(act(part));
    }
    let acted = acting.join_all().await;
    acted.into_iter().collect()
}

fn median(rounds: &[Round]) -> Result<Round> {
    let mut sorted = rounds.to_vec();
    sorted.sort_by(|one, other| one.per_second.total_cmp(&other.per_second));
    sorted.get(rounds.len() / 2).copied().context("no rounds")
}

impl Round {
    /// What all parts of load have seen together; of their latencies, the worst.
    fn of(reports: &[Report], cpu: Duration) -> Result<Self> {
        let mut all = Self::default();
        let mut pings = 0;
        for report in reports {
            let latency = report.latency.context("no latency")?;
            pings += u32::try_from(report.units)?;
            all.per_second += f64::from(u32::try_from(report.units)?) / report.took.as_secs_f64();
            all.p50 = all.p50.max(latency.p50);
            all.p99 = all.p99.max(latency.p99);
            all.p999 = all.p999.max(latency.p999);
        }
        all.cpu = cpu.checked_div(pings).context("no pings")?;
        Ok(all)
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "pings_per_second": self.per_second,
            "router_cpu_us": self.cpu.as_secs_f64() * 1e6,
            "p50_ms": millis(self.p50),
            "p99_ms": millis(self.p99),
            "p999_ms": millis(self.p999),
        })
    }
}

impl fmt::Display for Round {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p99, p999) = (millis(self.p50), millis(self.p99), millis(self.p999));
        let (rate, cpu) = (self.per_second, self.cpu.as_secs_f64() * 1e6);
        write!(
            formatter,
            "{rate:.0} pings/s, router CPU {cpu:.0} µs each, p50 {p50:.2} ms, p99 {p99:.2} ms, p99.9 {p999:.2} ms"
        )
    }
}
