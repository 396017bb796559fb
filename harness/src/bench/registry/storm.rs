//! A thousand transactions a second, each of one row: what the router reads meanwhile, whether logins feel that, and
//! whether the routes are right in the end.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::live::{self, Running};
use super::{Options, plot, rows, say};
use crate::backend::Backend;
use crate::bench::stats::{Summary, millis};
use crate::http::Connection;
use crate::player::Player;
use crate::postgres::{Database, Postgres};
use crate::usage::Usage;

/// Transactions a second, all connections together.
const RATE: usize = 1_000;
/// Connections that write.
const WRITERS: usize = 8;
/// From one login to the next.
const LOGIN_PAUSE: Duration = Duration::from_millis(5);
/// Both storms take turns so many times, each of them for so long: the machine has its moods, and they last longer.
const ROUNDS: usize = 25;
const ROUND: Duration = Duration::from_secs(2);
/// Rounds whose 99th percentile is taken of all their logins together: one round has four beyond it.
const GROUP: usize = 5;
/// Routes that are compared with their rows in the end.
const COMPARED: usize = 2_000;
/// Where the players of the storm log in.
const HOST: &str = "login.example.com";

/// What came of all rounds of one storm.
#[derive(Debug, Default)]
struct Storm {
    transactions: u64,
    took: Duration,
    router: Duration,
    logins: Vec<Duration>,
    /// The same, by rounds.
    rounds: Vec<Vec<Duration>>,
}

pub(super) async fn run(postgres: &Postgres, options: &Options, rows: usize) -> Result<Value> {
    say(&format!(
        "{RATE} transactions/s on a table of {rows} rows that the router follows, in turns with one that nobody does"
    ));
    let running = live::start(postgres, &options.router, rows).await?;
    let other = postgres.database().await?;
    rows::insert(&other.client().await?, rows).await?;
    let backend = Backend::start("storm").await?;
    let insert =
        "INSERT INTO servers (name, domain, address, state) VALUES ('login', $1, $2, 'running')";
    let address = backend.addr().to_string();
    running.sql.execute(insert, &[&HOST, &address]).await?;
    let mut api = Connection::open(&running.router.at.api.to_string()).await?;
    live::leads_to(&mut api, HOST, &address).await?;
    // What a connection costs at first is nobody's figure.
    logins(&running, ROUND).await?;
    let before = Read::of(&running).await?;
    let (elsewhere, here) = storms(&running, &other, rows).await?;
    let begin = Instant::now();
    settle(&running, rows).await?;
    let settled = begin.elapsed();
    let after = Read::of(&running).await?;
    ensure!(
        after.revision - before.revision == here.transactions,
        "a transaction has changed nothing"
    );
    let selects = f64::from(u32::try_from(after.reads - before.reads)?) / here.took.as_secs_f64();
    say(&format!(
        "  {:.0} transactions/s; the router's SELECTs: {selects:.1}/s",
        here.rate()
    ));
    say(&format!(
        "  all routes right within  {:.0} ms",
        millis(settled)
    ));
    let logins = told(&elsewhere, &here, &options.out.join("storm.svg"))?;
    drop(running.database);
    Ok(json!({
        "rows": rows,
        "transactions_per_second": here.rate(),
        "selects_per_second": selects,
        "settled_ms": millis(settled),
        "logins": logins,
    }))
}

/// The storm over `other` and that over the router's own table, in turns.
async fn storms(running: &Running, other: &Database, rows: usize) -> Result<(Storm, Storm)> {
    let (mut elsewhere, mut here) = (Storm::default(), Storm::default());
    for round in 0..ROUNDS {
        // Who comes second finds what the first has left: each does in turn.
        for turn in 0..2 {
            match (round + turn) % 2 {
                0 => elsewhere.weather(running, other, rows).await?,
                _ => here.weather(running, &running.database, rows).await?,
            }
        }
        if (round + 1) % 5 == 0 {
            say(&format!("  round {} of {ROUNDS}", round + 1));
        }
    }
    Ok((elsewhere, here))
}

/// Says what logins felt of both, and draws it.
fn told(elsewhere: &Storm, here: &Storm, drawing: &Path) -> Result<Value> {
    let (mut sets, mut figures) = (Vec::new(), Vec::new());
    for (name, storm) in [("storm elsewhere", elsewhere), ("storm here", here)] {
        let (logins, share) = (Summary::of(&storm.logins)?, storm.processor());
        say(&format!(
            "  logins, {name:<17}{logins}; the router has {:.1} % of a processor",
            share * 100.0
        ));
        sets.push((name, storm.logins.as_slice()));
        figures.push(json!({ "name": name, "logins": logins.json(), "router_processors": share }));
    }
    let p99 = |storm: &Storm| anyhow::Ok(Summary::of(&storm.logins)?.p99().as_secs_f64());
    let ratio = p99(here)? / p99(elsewhere)?;
    let [low, median, high] = here.ratios(elsewhere);
    say(&format!(
        "  p99 here to elsewhere    × {ratio:.2}; by {GROUP} rounds each × {median:.2} ({low:.2}–{high:.2})"
    ));
    plot::distributions(drawing, "Logins while rows change", &sets)?;
    Ok(json!({
        "storms": figures,
        "p99_ratio": ratio,
        "p99_ratio_of_groups_min_median_max": [low, median, high],
    }))
}

impl Storm {
    /// Adds a round of writing to `database` while players log in.
    async fn weather(&mut self, running: &Running, database: &Database, rows: usize) -> Result<()> {
        let number = self.rounds.len();
        let router = [running.router.process.pid()];
        let before = Usage::now(&router, &[])?;
        let begin = Instant::now();
        let (logins, transactions) =
            tokio::try_join!(logins(running, ROUND), write(database, rows, number))?;
        self.took += begin.elapsed();
        self.router += Usage::now(&router, &[])?.since(&before).target;
        self.transactions += transactions;
        self.logins.extend(&logins);
        self.rounds.push(logins);
        Ok(())
    }

    /// The 99th percentile of this to that of `other`, of each [`GROUP`] of rounds: lowest, median, highest.
    fn ratios(&self, other: &Self) -> [f64; 3] {
        let group = |storm: &Self| -> Vec<f64> {
            let groups = storm.rounds.chunks(GROUP).map(<[_]>::concat);
            let p99 = groups.filter_map(|logins| Some(Summary::of(&logins).ok()?.p99()));
            p99.map(|p99| p99.as_secs_f64()).collect()
        };
        let mut ratios: Vec<_> = group(self)
            .iter()
            .zip(group(other))
            .map(|(one, other)| one / other)
            .collect();
        ratios.sort_by(f64::total_cmp);
        let at = |index: usize| ratios.get(index).copied().unwrap_or_default();
        [
            at(0),
            at(ratios.len() / 2),
            at(ratios.len().saturating_sub(1)),
        ]
    }

    /// Transactions a second.
    fn rate(&self) -> f64 {
        let transactions = u32::try_from(self.transactions).unwrap_or(u32::MAX);
        f64::from(transactions) / self.took.as_secs_f64()
    }

    /// How many processors the router was busy with.
    fn processor(&self) -> f64 {
        self.router.as_secs_f64() / self.took.as_secs_f64()
    }
}

/// Logs in one by one for `time`; how long each took to the backend's first answer.
async fn logins(running: &Running, time: Duration) -> Result<Vec<Duration>> {
    let player = Player::new(HOST);
    let mut samples = Vec::new();
    let mut ticks = interval(LOGIN_PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let end = Instant::now() + time;
    while Instant::now() < end {
        ticks.tick().await;
        let begin = Instant::now();
        player.join(running.router.at.players).await?;
        samples.push(begin.elapsed());
    }
    Ok(samples)
}

/// Changes one row after the other for a round, as often as [`RATE`] says if the machine can; how many came back.
/// Every update changes its row: what is there already would be no change, and nobody would hear of it.
async fn write(database: &Database, rows: usize, round: usize) -> Result<u64> {
    let begin = Instant::now();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let sql = database.client().await?;
        writers.spawn(async move {
            // What a disk takes to sync is not what is measured.
            sql.batch_execute("SET synchronous_commit = off").await?;
            let update = sql
                .prepare("UPDATE servers SET address = $1 WHERE name = $2")
                .await?;
            let mut ticks =
                interval(Duration::from_secs(1) * u32::try_from(WRITERS)? / u32::try_from(RATE)?);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut made = 0_u64;
            while begin.elapsed() < ROUND {
                ticks.tick().await;
                let number = usize::try_from(made)? * WRITERS * 31 + writer * 7;
                let name = rows::name(number % rows);
                let backend = format!("w{writer}.r{round}:{}", 1 + made % 60_000);
                sql.execute(&update, &[&backend, &name]).await?;
                made += 1;
            }
            anyhow::Ok(made)
        });
    }
    let mut transactions = 0;
    while let Some(made) = writers.join_next().await {
        transactions += made.context("a writer")??;
    }
    Ok(transactions)
}

/// What the router tells of its reading.
struct Read {
    /// How often it has read rows so far.
    reads: u64,
    /// The table's revision that it has applied.
    revision: u64,
}

impl Read {
    async fn of(running: &Running) -> Result<Self> {
        let sync = running.router.at.sync().await?;
        let figure = |name: &'static str| sync.get(name).and_then(Value::as_u64).context(name);
        Ok(Self {
            reads: figure("syncs")?,
            revision: figure("revision")?,
        })
    }
}

/// Waits until many routes are what their rows say.
async fn settle(running: &Running, rows: usize) -> Result<()> {
    let query = format!(
        "SELECT name, address FROM servers WHERE name <> 'login' ORDER BY md5(name) LIMIT {}",
        COMPARED.min(rows)
    );
    let wanted = running.sql.query(&query, &[]).await?;
    let mut api = Connection::open(&running.router.at.api.to_string()).await?;
    for row in wanted {
        let (name, address): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let number = name.trim_start_matches("server-").parse()?;
        live::live(&mut api, number, &address).await?;
    }
    let routes = running.router.at.sync().await?;
    let count = routes.get("routes").and_then(Value::as_u64);
    ensure!(
        count == Some(u64::try_from(rows)? + 1),
        "{count:?} routes of {rows} rows and one"
    );
    Ok(())
}
