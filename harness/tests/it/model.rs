//! Whatever happens to the table and to the connection, the routes end as the table says.

use std::cell::Cell;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::chaos::ChaosProxy;
use harness::eventually::eventually;
use harness::model::{
    Change, Step, Story, calm_stories, lossy_stories, make, rough_stories, routes, rows,
};
use harness::postgres::Database;
use harness::router::{RouterInside, Settings};
use proptest::prelude::Strategy;
use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::Client;

use crate::followed::own_server;

/// Routers at work at the same time, each with a database of its own: most of the time is waiting.
const LANES: u32 = 4;
/// For the routes to be right again; a reconnect takes a second of it. Without the announcements
/// it would be a minute.
const SETTLED: Duration = Duration::from_secs(20);
/// The same once a story has failed: the search for a shorter one need not be as patient.
const SETTLED_BRIEFLY: Duration = Duration::from_secs(3);
/// Longest search for a shorter story.
const SEARCH: Duration = Duration::from_secs(60);
/// Failing stories, to be told again first by every run. They belong into the repository.
const FAILED_BEFORE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/proptest-regressions/model.txt"
);

struct Lane {
    router: RouterInside,
    proxy: ChaosProxy,
    sql: Client,
    patience: Cell<Duration>,
    _database: Database,
}

impl Lane {
    /// On the private server, where replicas may be played. In every other lane, several rows may have one domain, as
    /// in older tables.
    async fn start(number: u32) -> Result<Self> {
        let server = own_server().await;
        let database = server.database().await?;
        if !number.is_multiple_of(2) {
            let any = "ALTER TABLE servers DROP CONSTRAINT automc_servers_domain";
            database.client().await?.batch_execute(any).await?;
        }
        let proxy = ChaosProxy::before_postgres(server.addr()).await?;
        let dsn = server.dsn_at(proxy.addr(), database.name());
        let router = RouterInside::start(Settings::new().env("AUTOMC_DSN", dsn))?;
        router.at.ready(SETTLED).await?;
        let sql = database.client().await?;
        Ok(Self {
            router,
            proxy,
            sql,
            patience: Cell::new(SETTLED),
            _database: database,
        })
    }

    async fn settle(&self) -> Result<()> {
        let wanted = routes(&rows(&self.sql).await?);
        let patience = self.patience.get();
        eventually("the routes to be right", patience, async || {
            let found = self.router.at.routes().await?;
            ensure!(found == wanted, "{found:?} instead of {wanted:?}");
            Ok(())
        })
        .await
    }

    /// Makes a change whose notification does not reach the router.
    async fn lose(&self, change: &Change) -> Result<()> {
        let losing = self.proxy.losing();
        losing.one_in(1);
        make(&self.sql, change, true).await?;
        // The change may tell nothing. What is told after it comes after it.
        let (before, end) = (losing.seen(), "NOTIFY automc_routes_changed, 'the end'");
        self.sql.batch_execute(end).await?;
        let passed = async || losing.seen() > before;
        let done = eventually("the end", SETTLED, passed).await;
        losing.one_in(0);
        done
    }

    async fn tell(&self, story: &Story) -> Result<()> {
        self.sql.batch_execute("TRUNCATE servers").await?;
        for (number, step) in story.0.iter().enumerate() {
            let done = match step {
                Step::Do(change) => make(&self.sql, change, true).await,
                Step::Undo(change) => make(&self.sql, change, false).await,
                Step::Replicate(change) => {
                    let role = |role: &str| format!("SET session_replication_role = {role}");
                    self.sql.batch_execute(&role("replica")).await?;
                    let made = make(&self.sql, change, true).await;
                    self.sql.batch_execute(&role("origin")).await?;
                    made
                }
                Step::Stall(change) => {
                    self.proxy.stall().await?;
                    let made = make(&self.sql, change, true).await;
                    self.proxy.pass().await?;
                    made
                }
                Step::Lose(change) => self.lose(change).await,
                Step::Settle => self.settle().await,
                Step::Cut => self.proxy.cut().await,
                Step::Terminate => {
                    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                        WHERE application_name = 'automc-router' AND datname = current_database()";
                    self.sql.batch_execute(end).await.map_err(Into::into)
                }
            };
            done.with_context(|| format!("step {}: {step:?}", number + 1))?;
        }
        self.settle().await.context("the end")
    }
}

/// Tells `cases` stories in each lane.
fn told<S: Strategy<Value = Story>>(stories: fn() -> S, cases: u32) {
    let runtime: Runtime = Builder::new_multi_thread().enable_all().build().unwrap();
    let config = Config {
        cases,
        max_shrink_time: u32::try_from(SEARCH.as_millis()).unwrap(),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(FAILED_BEFORE))),
        ..Config::default()
    };
    let lane = |number| {
        let lane = runtime.block_on(Lane::start(number)).unwrap();
        let outcome = TestRunner::new(config.clone()).run(&stories(), |story| {
            let told = runtime.block_on(lane.tell(&story));
            told.map_err(|error| {
                lane.patience.set(SETTLED_BRIEFLY);
                TestCaseError::fail(format!("{error:#}"))
            })
        });
        outcome.unwrap_or_else(|error| panic!("{error}"));
        // Its tasks belong to the runtime.
        let _inside = runtime.enter();
        drop(lane);
    };
    let lane = &lane;
    thread::scope(|scope| (0..LANES).for_each(|number| drop(scope.spawn(move || lane(number)))));
}

/// AMC-09, AMC-10, AMC-11.
#[test]
fn any_story_of_changes_ends_with_the_routes_of_the_table() {
    told(calm_stories, 24);
}

/// AMC-09, AMC-15, AMC-16.
#[test]
fn any_story_with_a_lost_connection_ends_with_the_routes_of_the_table() {
    told(rough_stories, 8);
}

/// AMC-09: what was not announced is noticed by a look at the revision, every 10 s.
#[test]
fn any_story_with_lost_notifications_ends_with_the_routes_of_the_table() {
    told(lossy_stories, 2);
}
