//! Follows the `servers` table: LISTEN, then SELECT, then again on every change.
//!
//! A notification is a hint which rows to read, or to read all of them. The connection's reader takes it down and never
//! waits for anything, so a slow reader can neither lose a change nor hold up the server. Every read is one statement and
//! ends in one change of the routes.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::time::{sleep_until, timeout};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

use super::CHANNEL;
use super::connect::connect;
use super::guard::{Guard, Verdict};
use super::hearing::Hearing;
use super::news::Teller;
use super::pace::Pace;
use super::reading::{self, Reading};
use super::revision::{Look, Mark, Revisions, Step, Why};
use super::schema::{self, Facts, Severity};
use super::snapshot_file::{self, Keeper};
use super::status::{Held, SyncStatus};
use super::trouble::{SyncError, ended_by, within};
use crate::backoff::Backoff;
use crate::config::PostgresConfig;
use crate::config::values::short;
use crate::routes::offer::Provider;
use crate::routes::overrides::Policies;
use crate::routes::pool::Changes;
use crate::routes::registry::Registry;
use crate::routes::row::Row;
use crate::start;

/// How often the whole table is read without being asked to: somebody may have switched triggers off for a while.
pub const RECONCILE_INTERVAL: Duration = Duration::from_secs(300);
/// The same where changes are not counted: triggers can be missing, disabled, or silent about a change.
pub const UNCOUNTED_INTERVAL: Duration = Duration::from_secs(60);
/// How often an idle connection is asked for the revision, which is its sign of life.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// How long that sign may take. Together with the interval: a dead peer is noticed within 20 s, whatever else is going on.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an announcement may take to follow the revision that it announces.
pub const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Longest time one read of the table may take.
pub const READ_TIMEOUT: Duration = Duration::from_secs(15);
/// By how much the server may be the first to give such a read up.
const CLOCKS_APART: Duration = Duration::from_secs(1);
/// How long the server may wait for us to take what it sends. It holds up the vacuum of every table meanwhile, which only a
/// process that was stopped, or a network that is gone, can make it do.
pub const UNTAKEN_MAX: Duration = Duration::from_secs(20);
/// What is told when every change has to be looked for.
const DEAF: &str = "changes are found within 10 s, but no notification of them arrives; LISTEN does not work through a pooler \
                    in transaction mode (PgBouncer), so point AUTOMC_DSN at Postgres itself";
/// Least time between two looks at the table's shape.
const INSPECT_PAUSE: Duration = Duration::from_secs(1);

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
    let keeper = config.snapshot_file.clone().map(Keeper::start);
    let (keeper, writing) = keeper.unzip();
    let mut source = Source {
        policies: Policies::over(Arc::clone(registry.defaults())),
        guard: Guard::new(config.guard),
        hearing: Arc::default(),
        teller: Teller::default(),
        keeper,
        config,
        registry,
        status,
        heard,
    };
    source.remember().await;
    loop {
        let session = source.session(&mut backoff);
        let Some(Err(error)) = stop.run_until_cancelled(session).await else {
            break;
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
            break;
        }
    }
    drop(source);
    if let Some(writing) = writing
        && let Err(error) = writing.await
    {
        warn!(%error, "automc: the snapshot file is not written to its end");
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
    guard: Guard,
    hearing: Arc<Hearing>,
    teller: Teller,
    keeper: Option<Keeper>,
    status: Arc<SyncStatus>,
    heard: H,
}

/// One connection, and what is due on it.
struct Session {
    client: Client,
    facts: Facts,
    /// How many rows the last read of everything had.
    rows: usize,
    /// Whether nothing is heard of what changes.
    deaf: bool,
    inspected: Instant,
    /// When to look at the table's shape again, because it was looked at just before something changed.
    inspect: Option<Instant>,
    pace: Pace,
    check: Instant,
    reconcile: Instant,
}

impl<H: Fn(&Changes) + Send + Sync> Source<H> {
    /// Serves what the snapshot file says until the table was read.
    async fn remember(&mut self) {
        let Some(path) = self.config.snapshot_file.clone() else {
            return;
        };
        let (mut policies, names) = (self.policies.clone(), self.registry.names());
        let load = move || snapshot_file::load(&path, &mut policies, names);
        let Ok(Some(loaded)) = tokio::task::spawn_blocking(load).await else {
            return;
        };
        let (rows, mark) = (loaded.offers.len(), loaded.mark);
        let offers = loaded.offers.into_iter();
        let offers = offers.map(|(name, offer)| (name, Some(offer)));
        let changes = self.registry.update(Provider::Postgres, offers);
        (self.heard)(&changes);
        info!("automc: {rows} rows of the snapshot file are served until the table is read");
        *self.hearing.revisions() = Revisions::new(mark.clone());
        self.status.update(|status| {
            status.stale = Some(loaded.written);
            status.applied = mark;
        });
    }

    /// One connection from its start to its end; ends only with an error.
    async fn session(&mut self, backoff: &mut Backoff) -> Result<(), SyncError> {
        let (client, link) = connect(&self.config.dsn).await?;
        let (hearing, status) = (Arc::clone(&self.hearing), Arc::clone(&self.status));
        let drive = async move { hearing.drive(link, &status).await };
        let mut driver = AbortOnDropHandle::new(tokio::spawn(drive));
        tokio::select! {
            ended = &mut driver => Err(ended_by(ended)),
            done = self.talk(client, backoff) => done,
        }
    }

    async fn talk(&mut self, client: Client, backoff: &mut Backoff) -> Result<(), SyncError> {
        let begun = Instant::now();
        // A read must not hang on somebody's lock for longer than it is waited for.
        let (limit, untaken) = (READ_TIMEOUT.as_millis(), UNTAKEN_MAX.as_millis());
        let setup = format!(
            "SET statement_timeout = {limit}; SET tcp_user_timeout = {untaken}; LISTEN {CHANNEL}"
        );
        let listens = within("LISTEN", READ_TIMEOUT, client.batch_execute(&setup)).await;
        // What is wrong with the server as such, such as being a standby, is better known there.
        let facts = self.inspect(&client, &Facts::default()).await?;
        listens?;
        let now = Instant::now();
        let mut session = Session {
            facts,
            rows: 0,
            deaf: false,
            client,
            inspected: now,
            inspect: None,
            pace: Pace::default(),
            check: now + CHECK_INTERVAL,
            reconcile: now,
        };
        self.owe(Why::Connected);
        self.catch_up(&mut session).await?;
        let (rows, took) = (session.rows, short(begun.elapsed()));
        info!(json.rows = rows, "automc: connected, {rows} rows in {took}");
        start::tell_if_none(&self.registry, "automc", "add rows to table servers");
        backoff.reset();
        self.status.update(|status| {
            status.connected = true;
            status.last_error = None;
        });
        loop {
            let rewrite = self.keeper.as_mut().and_then(Keeper::due);
            session.reconcile = rewrite.map_or(session.reconcile, |due| due.min(session.reconcile));
            let now = Instant::now();
            if now >= session.check {
                self.look(&mut session).await?;
            } else if now >= session.reconcile {
                // A read may wait for somebody's lock, so by itself it is slow to notice
                // that nobody is there any more.
                self.look(&mut session).await?;
                self.owe(Why::Reconcile);
            } else if self.guard.held().is_some_and(|held| now >= held.until) {
                self.owe(Why::Held);
            } else if session.inspect.is_some_and(|due| now >= due)
                && self.look_anew(&mut session).await?
            {
                self.owe(Why::Reconcile);
            }
            if self.hearing.revisions().is_owing() {
                sleep_until(session.pace.due(Instant::now()).into()).await;
                self.catch_up(&mut session).await?;
                continue;
            }
            let held_until = self.guard.held().map(|held| held.until);
            let next = session.check.min(session.reconcile);
            let next = [held_until, session.inspect]
                .into_iter()
                .flatten()
                .fold(next, Instant::min);
            tokio::select! {
                () = self.hearing.news() => {}
                () = self.status.confirmation() => {
                    if self.guard.confirm() {
                        self.owe(Why::Held);
                    }
                }
                () = sleep_until(next.into()) => {}
            }
        }
    }

    fn owe(&self, why: Why) {
        self.hearing.revisions().owe(why);
    }

    /// Reads what is owed, if anything is.
    async fn catch_up(&mut self, session: &mut Session) -> Result<(), SyncError> {
        let step = self.hearing.revisions().step();
        match step {
            None => Ok(()),
            Some(Step::Rows(names, mark)) => self.rows(session, &names, mark).await,
            Some(Step::All(why)) => self.all(session, why).await,
        }
    }

    /// Looks at the revision, where there is one, and whether the table is still the one that is known. That there is an
    /// answer is the sign of life.
    async fn look(&self, session: &mut Session) -> Result<(), SyncError> {
        let glance = schema::glance(&session.client, &session.facts);
        let found = within("a sign of life", CHECK_TIMEOUT, glance).await?;
        let mut pause = CHECK_INTERVAL;
        let deaf = {
            let mut revisions = self.hearing.revisions();
            if revisions.looked(found.mark.as_ref()) == Look::Again {
                pause = LOOK_AGAIN;
            }
            revisions.is_deaf()
        };
        session.check = Instant::now() + pause;
        let unsaved = self.keeper.as_ref().and_then(Keeper::trouble);
        self.status.update(|status| {
            status.seen = found.mark;
            status.unsaved = unsaved;
        });
        if std::mem::replace(&mut session.deaf, deaf) != deaf {
            self.tell_of(&session.facts, deaf);
        }
        // Somebody has put another in its place, or switched triggers off: nothing announces that.
        if found.shape != session.facts.shape && self.look_anew(session).await? {
            self.owe(Why::Reconcile);
        }
        Ok(())
    }

    /// Looks at the table's shape again: whether it is another.
    async fn look_anew(&self, session: &mut Session) -> Result<bool, SyncError> {
        let facts = self.inspect(&session.client, &session.facts).await?;
        if session.deaf && facts != session.facts {
            self.tell_of(&facts, true);
        }
        (session.inspected, session.inspect) = (Instant::now(), None);
        let known = std::mem::replace(&mut session.facts, facts);
        Ok(session.facts != known)
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
            self.tell_of(&facts, false);
        }
        Ok(facts)
    }

    /// Tells what is wrong with the table, and whether nothing is heard of it.
    fn tell_of(&self, facts: &Facts, deaf: bool) {
        let findings = facts.findings().into_iter();
        let flaws = findings.filter(|finding| finding.severity == Severity::Warning);
        let deaf = deaf.then(|| DEAF.to_owned());
        let warnings: Vec<_> = flaws.map(|flaw| flaw.text).chain(deaf).collect();
        for text in &warnings {
            warn!("automc: {text}");
        }
        self.status.update(|status| status.warnings = warnings);
    }

    /// Reads some rows, and applies what they say.
    async fn rows(
        &mut self,
        session: &mut Session,
        names: &[String],
        mark: Mark,
    ) -> Result<(), SyncError> {
        let mut rows = Vec::new();
        let reading = self.read(session, Some(names), &mut rows).await?;
        let (lost, limits) = (reading.loss.count(), self.guard.limits());
        if lost > limits.routes && limits.forbid(lost, reading.effect(&self.registry, false).routes)
        {
            self.owe(Why::Held);
            return Ok(());
        }
        let found = reading.mark.clone();
        if self.hearing.revisions().rows_read(mark, found.as_ref()) {
            if let Some(keeper) = &mut self.keeper {
                let applied = self.hearing.revisions().applied().cloned();
                keeper.some(&rows, reading.gone.iter(), applied.as_ref());
            }
            self.apply(reading);
        }
        Ok(())
    }

    /// Reads the whole table, and applies what it says unless that is held back.
    async fn all(&mut self, session: &mut Session, why: Why) -> Result<(), SyncError> {
        // Whoever changes the table's shape often changes rows next.
        if session.inspected.elapsed() >= INSPECT_PAUSE {
            self.look_anew(session).await?;
        } else if why != Why::Connected {
            session.inspect = Some(session.inspected + INSPECT_PAUSE);
        }
        if let Some(keeper) = &mut self.keeper {
            keeper.begin(Instant::now());
        }
        let reading = self.read(session, None, &mut Vec::new()).await?;
        session.reconcile = Instant::now()
            + match session.facts.counted() {
                true => RECONCILE_INTERVAL,
                false => UNCOUNTED_INTERVAL,
            };
        self.status
            .update(|status| *status.whole.entry(why).or_default() += 1);
        let older = self.hearing.revisions().is_older(reading.mark.as_ref());
        let effect = reading.effect(&self.registry, older);
        let now = Instant::now();
        if let Verdict::Hold(news) = self.guard.judge(effect, &reading.loss, now) {
            self.keeper.iter_mut().for_each(Keeper::abandon);
            self.hold(news, now);
            return Ok(());
        }
        if let Some(keeper) = &mut self.keeper {
            keeper.whole(reading.mark.as_ref(), reading.is_news());
        }
        self.hearing.revisions().all_read(reading.mark.clone());
        self.apply(reading);
        Ok(())
    }

    /// Reads the table, or the rows of `names`, which are put into `rows` if anybody keeps them.
    async fn read(
        &mut self,
        session: &mut Session,
        names: Option<&[String]>,
        rows: &mut Vec<Row>,
    ) -> Result<Reading, SyncError> {
        let begin = Instant::now();
        let Session { client, facts, .. } = session;
        let (registry, policies) = (&self.registry, &mut self.policies);
        let keep = |row: &Row| match &mut self.keeper {
            Some(keeper) if names.is_none() => keeper.row(row),
            Some(_) => rows.push(row.clone()),
            None => {}
        };
        let read = reading::read(client, facts, names, registry, policies, keep);
        let reading = timeout(READ_TIMEOUT, read).await;
        let reading = reading.unwrap_or(Err(SyncError::Slow));
        let end = Instant::now();
        let reading = match reading {
            // The server's clock was faster.
            Err(SyncError::Query(error))
                if error.code() == Some(&SqlState::QUERY_CANCELED)
                    && end - begin + CLOCKS_APART > READ_TIMEOUT =>
            {
                Err(SyncError::Slow)
            }
            read => read,
        }?;
        session.pace.read(end, end - begin);
        let (rows, whole) = (reading.rows, names.is_none());
        if whole {
            session.rows = rows;
        }
        debug!(rows, whole, took = short(end - begin), "automc: table read");
        Ok(reading)
    }

    /// Takes what was read for the truth.
    fn apply(&mut self, reading: Reading) {
        let found = reading.mark.clone();
        let changes = self.registry.update(Provider::Postgres, reading.news());
        self.teller.tell(&changes, Instant::now());
        (self.heard)(&changes);
        let applied = self.hearing.revisions().applied().cloned();
        self.status.update(|status| {
            status.last_sync = Some(SystemTime::now());
            status.syncs += 1;
            status.applied = applied;
            status.seen = found;
            status.held = None;
            status.stale = None;
        });
    }

    /// Leaves the routes as they are until somebody confirms what was read, or it has been said for long enough.
    fn hold(&self, is_new: bool, now: Instant) {
        self.hearing.revisions().hold();
        let Some(held) = self.guard.held() else {
            return;
        };
        if is_new {
            warn!(
                "automc: {}, so the routes stay as they are; POST /sync/confirm applies it, and so does the table if \
                 it says the same for {}",
                held.effect,
                short(held.until - held.since)
            );
        }
        let (at, left) = (SystemTime::now(), held.until.saturating_duration_since(now));
        self.status.update(|status| {
            let before = status.held.filter(|_| !is_new);
            status.held = Some(Held {
                effect: held.effect,
                since: before.map_or(at, |held| held.since),
                until: before.map_or(at + left, |held| held.until),
                confirmed: before.is_some_and(|held| held.confirmed),
            });
        });
    }
}
