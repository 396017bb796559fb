//! Follows the `servers` table: LISTEN, then SELECT, then again on every change.
//!
//! Notifications only say "look again". The connection's reader marks that down and never waits
//! for anything else, so a slow reader can neither lose a change nor hold up the server. Every
//! read is of the whole table and ends in one swap of the routes.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval_at, timeout};
use tokio_postgres::{AsyncMessage, Client};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

use super::connect::{ConnectError, Link, connect};
use super::pace::Pace;
use super::schema::{self, Facts, ROWS_MAX, Severity};
use super::status::SyncStatus;
use super::{CHANNEL, explain};
use crate::backoff::Backoff;
use crate::config::PostgresConfig;
use crate::config::values::short;
use crate::routes::diff::Change;
use crate::routes::offer::{Excluded, Provider, Reason};
use crate::routes::overrides::Policies;
use crate::routes::pool::Changes;
use crate::routes::registry::Registry;
use crate::routes::{Route, overrides, row};

/// How often the whole table is read without being asked to: triggers can be missing, disabled,
/// or silent about a change.
pub const RECONCILE_INTERVAL: Duration = Duration::from_secs(60);
/// How often an idle connection is asked for a sign of life.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// How long that sign may take. Together with the interval: a dead peer is noticed within 20 s, whatever else is going on.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time one read of the table may take.
pub const READ_TIMEOUT: Duration = Duration::from_secs(15);
/// Least time between two looks at the table's shape after a change of its rows.
const INSPECT_PAUSE: Duration = Duration::from_secs(1);
/// Most lines logged about the changes of one read.
const CHANGE_LINES_MAX: usize = 100;

/// Why a connection was given up.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// It was never there.
    #[error("{0}")]
    Connect(#[from] ConnectError),
    /// A query failed.
    #[error("{}", explain(.0))]
    Query(#[from] tokio_postgres::Error),
    /// No answer in time.
    #[error("{what} took over {limit:?}")]
    TimedOut {
        /// What took so long.
        what: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// The server ended the connection.
    #[error("the connection ended{0}")]
    Ended(String),
    /// The table cannot be used as it is.
    #[error("{0}")]
    Unusable(String),
    /// More rows than [`ROWS_MAX`].
    #[error("table servers has over {ROWS_MAX} rows, which is the limit")]
    TooManyRows,
}

/// Follows the table until `stop` is cancelled; `heard` gets what changed. Losing the connection keeps the routes.
pub async fn follow(
    config: PostgresConfig,
    registry: Arc<Registry>,
    status: Arc<SyncStatus>,
    heard: impl Fn(&Changes) + Send + Sync,
    stop: CancellationToken,
) {
    info!(database = %config.dsn, "automc: pg route sync started");
    let mut backoff = Backoff::reconnect(config.reconnect_jitter);
    let mut source = Source {
        policies: Policies::over(Arc::clone(registry.defaults())),
        config,
        registry,
        status,
        heard,
    };
    loop {
        let session = source.session(&mut backoff);
        let Some(Err(error)) = stop.run_until_cancelled(session).await else {
            return;
        };
        let delay = backoff.next_delay(random());
        let delay = Duration::from_millis(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
        warn!(%error, "automc pgsync disconnected; reconnecting in {}", short(delay));
        source.status.update(|status| {
            status.connected = false;
            status.reconnects += 1;
            status.last_error = Some(error.to_string());
        });
        if stop
            .run_until_cancelled(tokio::time::sleep(delay))
            .await
            .is_none()
        {
            return;
        }
    }
}

/// A number from 0 to 1, from the randomness of the standard library's hash maps.
fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(bits >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}

struct Source<H> {
    config: PostgresConfig,
    registry: Arc<Registry>,
    policies: Policies,
    status: Arc<SyncStatus>,
    heard: H,
}

impl<H: Fn(&Changes) + Send + Sync> Source<H> {
    /// One connection from its start to its end; ends only with an error.
    async fn session(&mut self, backoff: &mut Backoff) -> Result<(), SyncError> {
        let (client, link) = connect(&self.config.dsn).await?;
        let nudge = Arc::new(Notify::new());
        let mut driver = AbortOnDropHandle::new(tokio::spawn(drive(link, Arc::clone(&nudge))));
        let mut pace = Pace::default();
        let setup = async {
            // A read must not hang on somebody's lock for longer than it is waited for.
            let limit = READ_TIMEOUT.as_millis();
            client
                .batch_execute(&format!(
                    "SET statement_timeout = {limit}; LISTEN {CHANNEL}"
                ))
                .await
        };
        let mut facts = tokio::select! {
            ended = &mut driver => return Err(ended_by(ended)),
            facts = async {
                within("LISTEN", READ_TIMEOUT, setup).await?;
                let facts = self.inspect(&client, &Facts::default()).await?;
                self.read(&client, &facts, &mut pace).await?;
                Ok::<_, SyncError>(facts)
            } => facts?,
        };
        backoff.reset();
        self.status.update(|status| {
            status.connected = true;
            status.last_error = None;
        });
        let mut inspected = Instant::now();
        let mut reconcile = ticks(RECONCILE_INTERVAL);
        let mut check = ticks(CHECK_INTERVAL);
        loop {
            let work = async {
                tokio::select! {
                    () = nudge.notified() => {
                        tokio::time::sleep_until(pace.due(Instant::now()).into()).await;
                        self.read(&client, &facts, &mut pace).await?;
                        if inspected.elapsed() >= INSPECT_PAUSE {
                            // Whoever changes the table's shape often changes rows next.
                            let before = facts.query();
                            facts = self.inspect(&client, &facts).await?;
                            inspected = Instant::now();
                            if facts.query() != before {
                                self.read(&client, &facts, &mut pace).await?;
                            }
                        }
                    }
                    _ = reconcile.tick() => {
                        // A read may wait for somebody's lock, so by itself it is slow to notice
                        // that nobody is there any more.
                        sign_of_life(&client).await?;
                        facts = self.inspect(&client, &facts).await?;
                        inspected = Instant::now();
                        self.read(&client, &facts, &mut pace).await?;
                    }
                    _ = check.tick() => sign_of_life(&client).await?,
                }
                Ok::<_, SyncError>(())
            };
            tokio::select! {
                ended = &mut driver => return Err(ended_by(ended)),
                done = work => done?,
            }
        }
    }

    /// Looks at the table's shape; what is new about its flaws is logged.
    async fn inspect(&self, client: &Client, known: &Facts) -> Result<Facts, SyncError> {
        let facts = within(
            "reading the catalogue",
            READ_TIMEOUT,
            schema::inspect(client),
        )
        .await?;
        let findings = facts.findings();
        if let Some(error) = findings
            .iter()
            .find(|finding| finding.severity == Severity::Error)
        {
            return Err(SyncError::Unusable(error.text.clone()));
        }
        if facts != *known {
            let warnings = findings
                .into_iter()
                .filter(|finding| finding.severity == Severity::Warning);
            let warnings: Vec<_> = warnings.map(|finding| finding.text).collect();
            for text in &warnings {
                warn!("automc: {text}");
            }
            self.status.update(|status| status.warnings = warnings);
        }
        Ok(facts)
    }

    /// Reads the table and swaps the routes.
    async fn read(
        &mut self,
        client: &Client,
        facts: &Facts,
        pace: &mut Pace,
    ) -> Result<(), SyncError> {
        let begin = Instant::now();
        let sql = facts.query();
        let rows = within(
            "reading the table",
            READ_TIMEOUT,
            client.query_typed(&sql, &[]),
        )
        .await?;
        if rows.len() > ROWS_MAX {
            return Err(SyncError::TooManyRows);
        }
        let rows = rows
            .iter()
            .map(schema::row)
            .collect::<Result<Vec<_>, _>>()?;
        let count = rows.len();
        let names = self.registry.names();
        let offers = rows
            .into_iter()
            .map(|row| row::offer(row, &mut self.policies, names));
        let changes = self.registry.replace(Provider::Postgres, offers.collect());
        log_changes(&changes);
        (self.heard)(&changes);
        let end = Instant::now();
        pace.read(end, end - begin);
        debug!(rows = count, took = ?(end - begin), "automc: table read");
        self.status.update(|status| {
            status.last_sync = Some(SystemTime::now());
            status.syncs += 1;
        });
        Ok(())
    }
}

async fn sign_of_life(client: &Client) -> Result<(), SyncError> {
    within("a sign of life", CHECK_TIMEOUT, client.batch_execute("")).await
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = interval_at(tokio::time::Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn within<T>(
    what: &'static str,
    limit: Duration,
    query: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, SyncError> {
    match timeout(limit, query).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(SyncError::TimedOut { what, limit }),
    }
}

/// Moves the connection's bytes and marks every notification down; waits for nothing else.
async fn drive(mut link: Link, nudge: Arc<Notify>) -> Result<(), tokio_postgres::Error> {
    while let Some(message) = link.next().await {
        match message? {
            AsyncMessage::Notification(notification) if notification.channel() == CHANNEL => {
                nudge.notify_one();
            }
            AsyncMessage::Notice(notice) => debug!(%notice, "postgres notice"),
            _ => {}
        }
    }
    Ok(())
}

fn ended_by(ended: Result<Result<(), tokio_postgres::Error>, tokio::task::JoinError>) -> SyncError {
    match ended {
        Ok(Ok(())) => SyncError::Ended(String::new()),
        Ok(Err(error)) => SyncError::Ended(format!(": {}", explain(&error))),
        Err(error) => SyncError::Ended(format!(": {error}")),
    }
}

fn log_changes(changes: &Changes) {
    let hosts = &changes.hosts;
    for change in hosts.iter().take(CHANGE_LINES_MAX) {
        match change {
            Change::Add(host, route) => info!("automc route +: {host} → {}", arrow(route)),
            Change::Remove(host, route) => info!("automc route -: {host} → {}", arrow(route)),
            Change::Change(host, old, new) => {
                info!("automc route ~: {host} {}", what_changed(old, new));
            }
        }
    }
    if let Some(more @ 1..) = hosts.len().checked_sub(CHANGE_LINES_MAX) {
        info!("automc: and {more} more route changes");
    }
    for (name, setting) in changes.ignored.iter().take(CHANGE_LINES_MAX) {
        warn!("automc: row {name:?}: {setting}");
    }
    let on_purpose = |row: &&Arc<Excluded>| row.reason == Reason::Disabled;
    let excluded = changes.excluded.iter().filter(|row| !on_purpose(row));
    for row in excluded.take(CHANGE_LINES_MAX) {
        warn!("automc: row {:?} is not routed: {}", row.name, row.reason);
    }
    for shadowed in changes.shadowed.iter().take(CHANGE_LINES_MAX) {
        warn!(
            "automc: row {:?} is not routed: {shadowed}",
            shadowed.loser.name
        );
    }
}

fn arrow(route: &Route) -> String {
    let server = route.server.as_deref().unwrap_or_default();
    format!("{} ({server})", route.backend)
}

/// `→ 127.0.0.1:1 (a), has other settings: hold_max`: where it leads or else its state, and settings.
fn what_changed(old: &Route, new: &Route) -> String {
    let mut parts = Vec::new();
    if old.backend != new.backend || old.server != new.server {
        parts.push(format!("→ {}", arrow(new)));
    } else if old.state != new.state {
        parts.push(format!("is {:?}", new.state));
    }
    let settings = overrides::differences(&old.policy, &new.policy);
    if !settings.is_empty() {
        parts.push(format!("has other settings: {}", settings.join(", ")));
    }
    parts.join(", ")
}
