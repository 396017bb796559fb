//! A router that follows a table of so many rows: how long until it has them, what they weigh, and how soon a
//! change is live.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hyper::Method;
use tokio_postgres::Client;

use super::{rows, say};
use crate::http::Connection;
use crate::postgres::{Database, Postgres};
use crate::router::{RouterProcess, Settings};
use crate::usage::settled;

/// Changes that are timed.
const CHANGES: usize = 200;
/// From one change to the next: those that come quicker wait for each other.
const PAUSE: Duration = Duration::from_millis(200);
/// Rows of the one statement that changes many, at most.
const BULK: usize = 10_000;
/// How often health is looked after: the default.
const HEALTH: &str = "30s";
/// Longest wait for anything.
const DEADLINE: Duration = Duration::from_secs(120);
/// From one look whether the router is ready to the next.
const LOOK: Duration = Duration::from_millis(1);

pub(super) struct Figures {
    pub(super) first_sync: Duration,
    pub(super) resident: u64,
    pub(super) changes: Vec<Duration>,
    pub(super) bulk_rows: usize,
    pub(super) bulk: Duration,
}

/// A router with a table of `rows` rows, which it has read.
pub(super) struct Running {
    pub(super) database: Database,
    pub(super) sql: Client,
    pub(super) router: RouterProcess,
    pub(super) first_sync: Duration,
}

pub(super) async fn start(postgres: &Postgres, program: &Path, rows: usize) -> Result<Running> {
    let database = postgres.database().await?;
    let sql = database.client().await?;
    rows::insert(&sql, rows).await?;
    let begin = Instant::now();
    let settings = Settings::new()
        .database(&database)
        .env("AUTOMC_HEALTH_INTERVAL", HEALTH);
    let router = RouterProcess::start_program(program, settings).await?;
    let mut api = Connection::open(&router.at.api.to_string()).await?;
    while api.request(Method::GET, "/readyz", &[], "").await?.status != 200 {
        ensure!(begin.elapsed() < DEADLINE, "{rows} rows are not read");
        tokio::time::sleep(LOOK).await;
    }
    let first_sync = begin.elapsed();
    Ok(Running {
        database,
        sql,
        router,
        first_sync,
    })
}

/// What a router holds that has a table without rows.
pub(super) async fn resident_without_rows(postgres: &Postgres, program: &Path) -> Result<u64> {
    let running = start(postgres, program, 0).await?;
    Ok(settled(&[running.router.process.pid()]).await?.0)
}

/// Waits until the route of row `number` leads to `backend`.
pub(super) async fn live(api: &mut Connection, number: usize, backend: &str) -> Result<()> {
    leads_to(api, &rows::domain(number), backend).await
}

/// Waits until the route of `host` leads to `backend`; it is asked for again and again over `api`.
pub(super) async fn leads_to(api: &mut Connection, host: &str, backend: &str) -> Result<()> {
    let path = format!("/routes/{host}");
    let wanted = format!("\"{backend}\"");
    let begin = Instant::now();
    loop {
        let answer = api.request(Method::GET, &path, &[], "").await?;
        if answer.body.contains(&wanted) {
            return Ok(());
        }
        ensure!(
            begin.elapsed() < DEADLINE,
            "{path} is not {backend}: {}",
            answer.body
        );
    }
}

pub(super) async fn measure(postgres: &Postgres, program: &Path, rows: usize) -> Result<Figures> {
    let running = start(postgres, program, rows).await?;
    let (resident, _) = settled(&[running.router.process.pid()]).await?;
    let mut api = Connection::open(&running.router.at.api.to_string()).await?;
    let mut changes = Vec::with_capacity(CHANGES);
    for change in 0..CHANGES {
        let number = (change * 7919) % rows;
        tokio::time::sleep(PAUSE).await;
        let backend = format!("changed:{}", 1 + change);
        let name = rows::name(number);
        let update = "UPDATE servers SET address = $1 WHERE name = $2";
        running.sql.execute(update, &[&backend, &name]).await?;
        let begin = Instant::now();
        live(&mut api, number, &backend).await?;
        changes.push(begin.elapsed());
        if (change + 1) % (CHANGES / 2) == 0 {
            say(&format!("  {} of {CHANGES} changes", change + 1));
        }
    }
    let bulk_rows = BULK.min(rows);
    let update = format!(
        "UPDATE servers SET address = 'bulk:1' WHERE name IN \
         (SELECT 'server-' || n FROM generate_series(0, {bulk_rows} - 1) n)"
    );
    running.sql.batch_execute(&update).await?;
    let begin = Instant::now();
    live(&mut api, bulk_rows - 1, "bulk:1").await?;
    let bulk = begin.elapsed();
    live(&mut api, 0, "bulk:1").await?;
    drop(running.database);
    Ok(Figures {
        first_sync: running.first_sync,
        resident,
        changes,
        bulk_rows,
        bulk,
    })
}
