//! Asks backends for their status, one question at a time for each, and shares what comes.
//!
//! A question is a task of its own, not with the workers that serve clients: who asked first may
//! leave, and the others still get the answer. Whoever waits is a client with a place among
//! `max_connections`, and waits no longer than the question takes: the dial and [`ANSWER_TIMEOUT`].

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, watch};
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::answer::{Answer, Known, read};
use super::live::{Fetched, Live, Look, Packet, Question, SHARDS, Standing, known_protocol};
use crate::balance;
use crate::dial::{is_out_of_files, is_stuck};
use crate::health::Health;
use crate::health::word::Word;
use crate::memory::Memory;
use crate::ping::{ANY_PROTOCOL, Answered, Ping, PingError, number};
use crate::routes::StateHint;
use crate::servers::state::Signal;
use crate::servers::{Servers, Target};
use crate::shared_str::SharedStr;

/// How long a backend that took the connection may take to answer.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Questions under way at once, a socket each; a backend that finds no place in the time of a dial counts as silent.
pub const QUESTIONS_MAX: usize = 256;
/// Those among them to servers that showed no status lately, ...
pub const DOUBTFUL_MAX: usize = 192;
/// ... and among these to servers that did not answer last time.
pub const FAILED_MAX: usize = 64;
/// Statuses of more than [`crate::ping::SMALL_BYTES_MAX`] bytes in memory at once, those included that are
/// being read or shown; further ones wait. More than there are tables, which keep one each.
pub const LONG_AT_ONCE: usize = 32;

/// What a question comes to: `None` until it is answered, then what to show, if anything.
type Outcome = Option<Option<Arc<Shown>>>;

/// A status that is live, and how far away its server is.
#[derive(Debug)]
pub struct Shown {
    answer: Answer,
    /// There for a long one.
    _place: Option<OwnedSemaphorePermit>,
    /// How long the answer took to come.
    took: Duration,
    /// How long a ping took, once that is known.
    way: watch::Receiver<Option<Duration>>,
}

impl Shown {
    /// The whole packet.
    #[must_use]
    pub fn frame(&self) -> &[u8] {
        self.answer.frame()
    }

    /// How long a ping to the server and back takes. Waits until that is known, for
    /// [`crate::ping::PONG_TIMEOUT`] at most; of a server that answers no pings, how long its status took.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn way(&self) -> Duration {
        let mut way = self.way.clone();
        let known = way.wait_for(Option::is_some).await;
        known.ok().and_then(|way| *way).unwrap_or(self.took)
    }
}

impl Packet for Shown {
    fn bytes(&self) -> usize {
        self.frame().len()
    }
}

type Table = Live<watch::Receiver<Outcome>, Shown>;

/// The live statuses of all servers.
#[derive(Debug)]
pub struct StatusCache {
    memory: Arc<Memory>,
    servers: Arc<Servers>,
    health: Arc<Health>,
    /// Where questions run.
    runtime: Handle,
    places: Semaphore,
    doubtful: Semaphore,
    failed: Semaphore,
    /// For long statuses.
    long: Arc<Semaphore>,
    hasher: RandomState,
    shards: [Mutex<Table>; SHARDS],
}

impl StatusCache {
    /// A cache whose statuses stand for `ttl`; what servers showed last goes to `memory`, and whether
    /// they answered to `servers` and `health`. Must be called within a Tokio runtime, which asks the backends.
    #[must_use]
    pub fn new(
        ttl: Duration,
        memory: Arc<Memory>,
        servers: Arc<Servers>,
        health: Arc<Health>,
    ) -> Arc<Self> {
        Arc::new(Self {
            memory,
            servers,
            health,
            runtime: Handle::current(),
            places: Semaphore::new(QUESTIONS_MAX),
            doubtful: Semaphore::new(DOUBTFUL_MAX),
            failed: Semaphore::new(FAILED_MAX),
            long: Arc::new(Semaphore::new(LONG_AT_ONCE)),
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::new(Live::new(ttl))),
        })
    }

    /// The server's own status, from here or from its backend; `None` while it is away.
    ///
    /// # Cancel safety
    /// Cancel safe; the question goes on for the others.
    pub async fn get(self: &Arc<Self>, question: Question<'_>) -> Option<Arc<Shown>> {
        let mut sender = None;
        let begin = || {
            let (sending, outcome) = watch::channel(None);
            sender = Some(sending);
            outcome
        };
        let now = Instant::now().into_std();
        let (standing, look) = {
            let mut live = self.shard(question.key);
            (live.standing(&question), live.look(&question, now, begin))
        };
        let mut outcome = match look {
            Look::Fresh(shown) => return shown,
            Look::Join(outcome) => outcome,
            Look::Ask(number, outcome) => {
                let host = SharedStr::from(question.address);
                let pings = question.backends.iter().map(|backend| Ping {
                    backend: backend.clone(),
                    host: host.clone(),
                    protocol: known_protocol(question.protocol),
                    proxy: question.proxy,
                });
                let landing = Landing {
                    cache: Arc::clone(self),
                    key: question.key.clone(),
                    hint: question.state,
                    wakeable: question.wakeable,
                    standing,
                    number,
                    fetched: Fetched::Silent,
                    measuring: None,
                    outcome: sender?,
                };
                let flight = landing.fly(pings.collect(), question.dial_limit);
                self.runtime.spawn(flight);
                outcome
            }
        };
        let answered = outcome.wait_for(Option::is_some).await.ok()?;
        answered.clone().flatten()
    }

    /// What the server called `key` showed last to clients that speak `protocol`, or else to
    /// whomever.
    #[must_use]
    pub fn last_known(&self, key: &str, protocol: i32) -> Option<Known> {
        self.memory.last_known(key, known_protocol(protocol))
    }

    /// The protocol number that the server called `key` showed last, else one by which it was asked and answered.
    #[must_use]
    pub fn protocol(&self, key: &str) -> Option<i32> {
        self.memory.protocol(key)
    }

    /// Takes note that the server called `key` has just been reached, so that it is not shown as away
    /// a moment longer.
    pub fn reached(&self, key: &str) {
        self.shard(key).reached(key);
    }

    /// Places for one question. Dead servers have a part of them, so the others need not wait for their time-outs.
    async fn places_for(&self, standing: Standing) -> Option<[Option<SemaphorePermit<'_>>; 3]> {
        let place = async |there: bool, places| match there {
            true => Semaphore::acquire(places).await.map(Some),
            false => Ok(None),
        };
        let failed = place(standing == Standing::Failed, &self.failed).await;
        let doubtful = place(standing != Standing::Answered, &self.doubtful).await;
        let any = place(true, &self.places).await;
        Some([failed.ok()?, doubtful.ok()?, any.ok()?])
    }

    fn shard(&self, key: &str) -> MutexGuard<'_, Table> {
        let [hash, ..] = self.hasher.hash_one(key).to_ne_bytes();
        let [first, ..] = &self.shards;
        let shard = self.shards.get(usize::from(hash) % SHARDS).unwrap_or(first);
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ping behind a status, and who wants to know how long it takes.
type Measuring = (Answered, watch::Sender<Option<Duration>>);

/// A question under way. When it ends, however it ends, the table learns of it, and whoever waits.
struct Landing {
    cache: Arc<StatusCache>,
    key: SharedStr,
    hint: StateHint,
    wakeable: bool,
    standing: Standing,
    number: u64,
    fetched: Fetched<Shown>,
    measuring: Option<Measuring>,
    outcome: watch::Sender<Outcome>,
}

impl Landing {
    /// Asks one backend after the other until one shows its status, within the time that one alone would have.
    async fn fly(mut self, pings: Vec<Ping>, dial_limit: Duration) {
        let cache = Arc::clone(&self.cache);
        let limit = dial_limit + ANSWER_TIMEOUT;
        let end = Instant::now() + limit;
        let Ok(Some(_places)) = timeout(dial_limit, cache.places_for(self.standing)).await else {
            debug!(name = %self.key, "too many status questions at once");
            return;
        };
        let (mut fetched, mut heard) = (None, None);
        for (left, ping) in (1..=pings.len()).rev().zip(&pings) {
            let time = end.saturating_duration_since(Instant::now());
            let limit = balance::share(limit, time, left);
            let (now_fetched, now_heard) = self.ask_twice(ping, dial_limit, limit).await;
            heard = most(heard, now_heard);
            fetched = match (fetched, now_fetched) {
                (_, status @ Fetched::Status(_)) => Some(status),
                (Some(Fetched::Silent), _) => Some(Fetched::Silent),
                (_, other) => Some(other),
            };
            if matches!(fetched, Some(Fetched::Status(_))) {
                break;
            }
        }
        if let Some(signal) = heard {
            let target = Target {
                server: &self.key,
                hint: self.hint,
                wakeable: self.wakeable,
            };
            cache.servers.signal(&target, signal);
        }
        self.fetched = fetched.unwrap_or(Fetched::Silent);
        let measuring = self.measuring.take();
        // Nobody waits for the status any longer.
        drop(self);
        if let Some((answered, way)) = measuring {
            way.send_replace(answered.measure().await);
        }
    }

    /// One question; where it named no version and was turned away for that, perhaps, another one.
    async fn ask_twice(
        &mut self,
        ping: &Ping,
        dial_limit: Duration,
        limit: Duration,
    ) -> (Fetched<Shown>, Option<Signal>) {
        let begun = Instant::now();
        let outcome = self.ask(ping, dial_limit, limit).await;
        let answered = !matches!(outcome.1, None | Some(Signal::DialFailed { .. }));
        let turned_away = answered && matches!(outcome.0, Fetched::Gone);
        if ping.protocol != ANY_PROTOCOL || !turned_away {
            return outcome;
        }
        let known = self.cache.memory.protocol(&self.key);
        let ping = Ping {
            protocol: number(known, u8::from(known.is_none())),
            ..ping.clone()
        };
        let left = limit.saturating_sub(begun.elapsed());
        self.ask(&ping, dial_limit.min(left), left).await
    }

    /// One question, and what its outcome says of the server, if anything.
    async fn ask(
        &mut self,
        ping: &Ping,
        dial_limit: Duration,
        limit: Duration,
    ) -> (Fetched<Shown>, Option<Signal>) {
        let begun = Instant::now().into_std();
        match ping.fetch(dial_limit, limit, &self.cache.long).await {
            Ok(mut answered) => match read(std::mem::take(&mut answered.frame)) {
                Ok((answer, known)) => {
                    let latency = Instant::now().into_std() - begun;
                    self.cache.health.answered(&ping.backend, latency);
                    self.cache
                        .memory
                        .remember_status(&self.key, ping.protocol, &known);
                    let (sender, way) = watch::channel(None);
                    let shown = Shown {
                        answer,
                        _place: answered.place.take(),
                        took: answered.took,
                        way,
                    };
                    self.measuring = Some((answered, sender));
                    (Fetched::Status(Arc::new(shown)), Some(Signal::ProbeOk))
                }
                Err(error) => {
                    debug!(name = %self.key, backend = %ping.backend, %error, "no status");
                    self.cache.health.met(&ping.backend, Some(Word::NoStatus));
                    (Fetched::Gone, Some(Signal::ProbeOk))
                }
            },
            Err(error) => {
                debug!(name = %self.key, backend = %ping.backend, %error, "no status");
                self.cache.health.met(&ping.backend, Word::of_ping(&error));
                let signal = match &error {
                    PingError::Dial(error) if is_out_of_files(error) || is_stuck(error) => None,
                    PingError::Dial(_) => Some(Signal::DialFailed { begun }),
                    PingError::Silent(_) | PingError::Decode(_) => {
                        Some(Signal::ProbeFailed { begun })
                    }
                };
                (failed(&error), signal)
            }
        }
    }
}

/// What several backends together say of their server: it is as well as the best of them.
fn most(one: Option<Signal>, other: Option<Signal>) -> Option<Signal> {
    let rank = |signal: &Option<Signal>| match signal {
        None => 0,
        Some(Signal::DialFailed { .. }) => 1,
        Some(Signal::ProbeFailed { .. }) => 2,
        Some(_) => 3,
    };
    if rank(&other) > rank(&one) {
        other
    } else {
        one
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let fetched = std::mem::replace(&mut self.fetched, Fetched::Silent);
        let now = Instant::now().into_std();
        let shown = self
            .cache
            .shard(&self.key)
            .land(&self.key, self.number, fetched, now);
        self.outcome.send_replace(Some(shown));
    }
}

fn failed(error: &PingError) -> Fetched<Shown> {
    match error {
        PingError::Dial(error) | PingError::Silent(error)
            if error.kind() == std::io::ErrorKind::TimedOut
                || is_out_of_files(error)
                || is_stuck(error) =>
        {
            Fetched::Silent
        }
        _ => Fetched::Gone,
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
