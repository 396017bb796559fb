//! Which statuses are live: how long each stands, who asks the backend, and what is dropped when
//! there are too many. Decides only; `F` is whatever stands for a question under way, `A` for a status.
//!
//! A status stands for the time to live, a failure for [`FAILURE_TTL`]. A server that is silent is
//! perhaps only busy, so what it showed before stands for [`STALE_GRACE`] longer; one that refuses
//! or hangs up is gone, and shown as such at once. What was learnt while the table said something
//! else of the server, or had another backend for it, does not count.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::addr::BackendAddr;
use crate::host::lookup_key;
use crate::ping::SMALL_BYTES_MAX;
use crate::proxy_protocol::Version;
use crate::routes::StateHint;
use crate::shared_str::SharedStr;

/// How long a failure stands: a dead backend is asked once in this time, however many ping.
pub const FAILURE_TTL: Duration = Duration::from_secs(1);
/// How long the status of a server that falls silent stands after its time.
pub const STALE_GRACE: Duration = Duration::from_secs(10);
/// Tables that share what follows, so that workers seldom wait for each other.
pub const SHARDS: usize = 16;
/// Most servers of all tables. Those that show nothing go first, then the one that was longest not asked for.
pub const SERVERS_MAX: usize = 16_384;
/// Most statuses of one server, one for each protocol number (and host name, where one route serves
/// many); the one that was longest not asked for goes first.
pub const STATUSES_MAX: usize = 16;
/// Most bytes of all packets of all tables, but for those of more than [`SMALL_BYTES_MAX`]: a table keeps
/// the latest of those alone, so that they push out nothing but each other.
pub const BYTES_MAX: usize = 64 * 1024 * 1024;
/// What nobody asked for in this time is dropped.
pub const IDLE_MAX: Duration = Duration::from_secs(60);

/// Most servers of one table.
const TABLE_SERVERS_MAX: usize = SERVERS_MAX / SHARDS;
/// Most bytes of one.
const TABLE_BYTES_MAX: usize = BYTES_MAX / SHARDS;

/// Highest protocol number that is not a snapshot's and may exist one day.
const RELEASE_MAX: i32 = 0xFFF;
/// Where the numbers of snapshots begin.
const SNAPSHOT_MIN: i32 = 0x4000_0000;
/// What clients send who want to know the number; stands for all numbers nobody has.
const NO_PROTOCOL: i32 = -1;

/// Who asks for the status of what.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The server, see [`crate::routes::Route::key`].
    pub key: &'a SharedStr,
    /// Where it is: its backends, the one to be asked first at the front.
    pub backends: &'a [BackendAddr],
    /// What it hears first.
    pub proxy: Option<Version>,
    /// The server address as the client sent it.
    pub address: &'a str,
    /// The client's protocol number.
    pub protocol: i32,
    /// What is said of the server.
    pub state: StateHint,
    /// Whether there is a server-manager that knows it by name.
    pub wakeable: bool,
    /// Limit of the dial, should there be one.
    pub dial_limit: Duration,
}

/// The protocol number a backend is asked with: the client's, unless no client has it.
#[must_use]
pub fn known_protocol(protocol: i32) -> i32 {
    match protocol {
        0..=RELEASE_MAX => protocol,
        SNAPSHOT_MIN.. if protocol - SNAPSHOT_MIN <= RELEASE_MAX => protocol,
        _ => NO_PROTOCOL,
    }
}

/// A status, as far as a table cares.
pub trait Packet {
    /// How many bytes it is kept in.
    fn bytes(&self) -> usize;
}

/// What came of asking a backend.
#[derive(Debug)]
pub enum Fetched<A> {
    /// Its status.
    Status(Arc<A>),
    /// Nothing in time.
    Silent,
    /// It is not there, or it is something else.
    Gone,
}

/// How a server did when it was asked before, whoever asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It showed its status, and that still stands or has just run out.
    Answered,
    /// It was not asked, or has been reached since.
    Unknown,
    /// It showed nothing.
    Failed,
}

/// What to do with a question.
#[derive(Debug)]
pub enum Look<F, A> {
    /// This is the answer; `None`: the server is away.
    Fresh(Option<Arc<A>>),
    /// Somebody asks already.
    Join(F),
    /// Ask; the number is for [`Live::land`].
    Ask(u64, F),
}

/// The statuses of some servers.
#[derive(Debug)]
pub struct Live<F, A> {
    ttl: Duration,
    servers: HashMap<SharedStr, Vec<Entry<F, A>>>,
    flights: u64,
    sweep_at: Option<Instant>,
}

#[derive(Debug)]
struct Entry<F, A> {
    host: Box<str>,
    protocol: i32,
    backend: Option<BackendAddr>,
    state: StateHint,
    used: Instant,
    shown: Option<Arc<A>>,
    /// When `shown` came, or the first question.
    came: Instant,
    stands_until: Instant,
    flight: Option<(u64, F)>,
}

impl<F: Clone, A: Packet> Live<F, A> {
    /// An empty table whose statuses stand for `ttl`.
    #[must_use]
    pub fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            servers: HashMap::new(),
            flights: 0,
            sweep_at: None,
        }
    }

    /// How the server of `question` did before, at the backend where it is now.
    #[must_use]
    pub fn standing(&self, question: &Question<'_>) -> Standing {
        let entries = self.servers.get(&**question.key).into_iter().flatten();
        let here = entries.filter(|entry| entry.backend.as_ref() == question.backends.first());
        here.fold(Standing::Unknown, |best, entry| {
            match (best, &entry.shown) {
                (Standing::Answered, _) | (_, Some(_)) => Standing::Answered,
                _ if entry.stands_until > entry.came => Standing::Failed,
                _ => best,
            }
        })
    }

    /// What to do with `question`; `begin` is called for [`Look::Ask`] only.
    pub fn look(
        &mut self,
        question: &Question<'_>,
        now: Instant,
        begin: impl FnOnce() -> F,
    ) -> Look<F, A> {
        let host = lookup_key(question.address);
        let protocol = known_protocol(question.protocol);
        let entries = match self.servers.get_mut(&**question.key) {
            Some(entries) => entries,
            None => self.servers.entry(question.key.clone()).or_default(),
        };
        let same = |entry: &Entry<F, A>| entry.protocol == protocol && *entry.host == *host;
        if let Some(entry) = entries.iter_mut().find(|entry| same(entry))
            && entry.state == question.state
            && entry.backend.as_ref() == question.backends.first()
        {
            entry.used = now;
            if let Some((_, flight)) = &entry.flight {
                return Look::Join(flight.clone());
            }
            if now < entry.stands_until {
                return Look::Fresh(entry.shown.clone());
            }
            self.flights += 1;
            let flight = begin();
            entry.flight = Some((self.flights, flight.clone()));
            return Look::Ask(self.flights, flight);
        }
        entries.retain(|entry| !same(entry));
        if entries.len() >= STATUSES_MAX {
            let oldest = entries
                .iter()
                .enumerate()
                .min_by_key(|(_, entry)| entry.used);
            if let Some((oldest, _)) = oldest {
                entries.swap_remove(oldest);
            }
        }
        self.flights += 1;
        let flight = begin();
        entries.push(Entry {
            host: host.into(),
            protocol,
            backend: question.backends.first().cloned(),
            state: question.state,
            used: now,
            shown: None,
            came: now,
            stands_until: now,
            flight: Some((self.flights, flight.clone())),
        });
        self.trim(now);
        Look::Ask(self.flights, flight)
    }

    /// Takes note of what came of question `number` about `key`; what whoever waits is to be shown.
    pub fn land(
        &mut self,
        key: &str,
        number: u64,
        fetched: Fetched<A>,
        now: Instant,
    ) -> Option<Arc<A>> {
        let entries = self.servers.get_mut(key).into_iter().flatten();
        let asked = |entry: &&mut Entry<F, A>| matches!(entry.flight, Some((flight, _)) if flight == number);
        let Some(entry) = entries.into_iter().find(asked) else {
            // Dropped meanwhile, or about what counts no more.
            return match fetched {
                Fetched::Status(answer) => Some(answer),
                Fetched::Silent | Fetched::Gone => None,
            };
        };
        entry.flight = None;
        entry.stands_until = now + FAILURE_TTL;
        match fetched {
            Fetched::Status(answer) => {
                entry.shown = Some(answer);
                entry.came = now;
                entry.stands_until = now + self.ttl;
            }
            Fetched::Silent
                if !entry.state.is_not_running() && now <= entry.came + self.ttl + STALE_GRACE => {}
            Fetched::Silent | Fetched::Gone => entry.shown = None,
        }
        let shown = entry.shown.clone();
        self.trim(now);
        shown
    }

    /// Forgets that the server called `key` is away: somebody has just reached it.
    pub fn reached(&mut self, key: &str) {
        for entry in self.servers.get_mut(key).into_iter().flatten() {
            if entry.shown.is_none() {
                entry.stands_until = entry.came;
            }
        }
    }

    /// Drops all long statuses but the latest. Who asks for one of the others asks the backend again.
    fn keep_one_long(&mut self) {
        let entries = self.servers.values_mut().flatten();
        let mut latest: Option<&mut Entry<F, A>> = None;
        for entry in entries.filter(|entry| entry.bytes() > Some(SMALL_BYTES_MAX)) {
            let dropped = match &mut latest {
                Some(latest) if latest.came >= entry.came => entry,
                latest => match latest.replace(entry) {
                    Some(before) => before,
                    None => continue,
                },
            };
            dropped.shown = None;
            dropped.stands_until = dropped.came;
        }
    }

    /// Drops what nobody asks for, and what is too much.
    fn trim(&mut self, now: Instant) {
        if self.sweep_at.is_none_or(|at| now >= at) {
            self.sweep_at = Some(now + IDLE_MAX);
            self.servers.retain(|_, entries| {
                entries.retain(|entry| entry.flight.is_some() || now < entry.used + IDLE_MAX);
                !entries.is_empty()
            });
        }
        self.keep_one_long();
        let mut bytes: usize = self.servers.values().map(|entries| bytes_of(entries)).sum();
        while self.servers.len() > TABLE_SERVERS_MAX || bytes > TABLE_BYTES_MAX {
            let lives = |entry: &Entry<F, A>| entry.shown.is_some() || entry.flight.is_some();
            let worth = |entries: &[Entry<F, A>]| {
                let used = entries.iter().map(|entry| entry.used).max();
                (entries.iter().any(lives), used)
            };
            let oldest = self
                .servers
                .iter()
                .min_by_key(|(_, entries)| worth(entries));
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else {
                return;
            };
            let dropped = self.servers.remove(&oldest).unwrap_or_default();
            bytes -= bytes_of(&dropped);
        }
    }
}

fn bytes_of<F, A: Packet>(entries: &[Entry<F, A>]) -> usize {
    let all = entries.iter().filter_map(Entry::bytes);
    all.filter(|bytes| *bytes <= SMALL_BYTES_MAX).sum()
}

impl<F, A: Packet> Entry<F, A> {
    fn bytes(&self) -> Option<usize> {
        self.shown.as_ref().map(|shown| shown.bytes())
    }
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
