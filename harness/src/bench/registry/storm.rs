//! A thousand transactions a second, each of one row: what the router reads meanwhile, whether logins feel that, and
//! whether the routes are right in the end.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::live::{self, Running};
use super::{Options, rows, say};
use crate::backend::Backend;
use crate::bench::stats::{Summary, millis};
use crate::http::Connection;
use crate::player::Player;
use crate::postgres::{Database, Postgres};

/// Transactions a second, all connections together.
const RATE: usize = 1_000;
/// Connections that write.
const WRITERS: usize = 8;
/// From one login to the next.
const LOGIN_PAUSE: Duration = Duration::from_millis(10);
/// Logins and storms take turns so many times.
const ROUNDS: u32 = 5;
/// Routes that are compared with their rows in the end.
const COMPARED: usize = 2_000;
/// Where the players of the storm log in.
const HOST: &str = "login.example.com";

/// What one round of writing came to.
#[derive(Debug, Default, Clone, Copy)]
struct Written {
    transactions: u64,
    took: Duration,
}

pub(super) async fn run(postgres: &Postgres, options: &Options, rows: usize) -> Result<Value> {
    say(&format!(
        "{RATE} transactions/s on a table of {rows} rows that the router follows, in turns with one that nobody does"
    ));
    let running = live::start(postgres, &options.router, rows).await?;
    let other = postgres.database().await?;
    let other_sql = other.client().await?;
    rows::insert(&other_sql, rows).await?;
    let backend = Backend::start("storm").await?;
    let insert =
        "INSERT INTO servers (name, domain, address, state) VALUES ('login', $1, $2, 'running')";
    let address = backend.addr().to_string();
    running.sql.execute(insert, &[&HOST, &address]).await?;
    let mut api = Connection::open(&running.router.at.api.to_string()).await?;
    live::leads_to(&mut api, HOST, &address).await?;
    let login = || logins(&running, options.time / ROUNDS);
    // What a connection costs at first is nobody's figure.
    login().await?;
    let before = reads(&running).await?;
    let (mut calm, mut storm) = (Vec::new(), Vec::new());
    let (mut elsewhere, mut here) = (Written::default(), Written::default());
    for number in 1..=ROUNDS {
        let time = options.time / ROUNDS;
        let (samples, wrote) = tokio::try_join!(login(), write(&other, rows, time))?;
        calm.extend(samples);
        elsewhere.add(wrote);
        let (samples, wrote) = tokio::try_join!(login(), write(&running.database, rows, time))?;
        storm.extend(samples);
        here.add(wrote);
        say(&format!("  round {number} of {ROUNDS}"));
    }
    let begin = Instant::now();
    settle(&running, rows).await?;
    let settled = begin.elapsed();
    let selects = reads(&running).await? - before;
    let (calm, storm) = (Summary::of(&calm)?, Summary::of(&storm)?);
    let seconds = here.took.as_secs_f64();
    let per_second = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / seconds;
    let (rate, selects) = (per_second(here.transactions), per_second(selects));
    let ratio = storm.p99().as_secs_f64() / calm.p99().as_secs_f64();
    say(&format!(
        "  {rate:.0} transactions/s; the router's SELECTs: {selects:.1}/s"
    ));
    say(&format!("  logins, storm elsewhere  {calm}"));
    say(&format!(
        "  logins, storm here       {storm}; p99 × {ratio:.2}"
    ));
    say(&format!(
        "  all routes right within  {:.0} ms",
        millis(settled)
    ));
    drop(running.database);
    Ok(json!({
        "rows": rows,
        "transactions_per_second": rate,
        "selects_per_second": selects,
        "logins_storm_elsewhere": calm.json(),
        "logins_storm_here": storm.json(),
        "p99_ratio": ratio,
    }))
}

impl Written {
    fn add(&mut self, other: Self) {
        self.transactions += other.transactions;
        self.took += other.took;
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

/// Changes one row after the other for `time`, as often as [`RATE`] says if the machine can.
async fn write(database: &Database, rows: usize, time: Duration) -> Result<Written> {
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
            while begin.elapsed() < time {
                ticks.tick().await;
                let number = usize::try_from(made)? * WRITERS * 31 + writer * 7;
                let name = rows::name(number % rows);
                let backend = format!("w{writer}:{}", 1 + made % 60_000);
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
    Ok(Written {
        transactions,
        took: begin.elapsed(),
    })
}

/// How often the router has read rows so far, as it tells itself.
async fn reads(running: &Running) -> Result<u64> {
    let sync = running.router.at.sync().await?;
    sync.get("syncs")
        .and_then(Value::as_u64)
        .context("no syncs")
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
