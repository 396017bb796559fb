//! What all connections came to, counted as it happens, by mc-router's names and a few of our own.
//!
//! On the way of a connection this is one addition each, and one short look into a table of at most
//! [`HOSTS_MAX`] or [`PLAYERS_MAX`] names. Who shows the counts adds them up: `api/` for those who ask,
//! [`push`] for InfluxDB.

pub mod histogram;
pub mod influx;
mod influx_answer;
pub mod push;
pub mod series;

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::connection::Served;
use crate::counts::Counts;
use crate::error::ConnectionError;
use crate::greet::GreetError;
use crate::host::Host;
use crate::relay::{End, counters::Totals};
use crate::routes::Route;
use crate::shared_str::SharedStr;
use crate::wake::WakeError;
use histogram::{Histogram, Spread, WAIT_BOUNDS_MILLIS};
use series::{Counted, Open, Series};

/// Most hosts with figures of their own; the rest is counted as [`OTHERS`].
pub const HOSTS_MAX: usize = 1_000;
/// Most players, each on one host, with figures of their own; the rest is counted as [`OTHERS`].
pub const PLAYERS_MAX: usize = 1_000;
/// The host of the default route, whatever clients have asked for.
pub const DEFAULT_HOST: &str = "(default)";
/// Stands for every name that has no figures of its own.
pub const OTHERS: &str = "(other)";

/// Why a connection failed, in mc-router's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No greeting in time.
    ReadDeadline,
    /// The client's connection failed, or ended within the greeting.
    Read,
    /// What the client sent is not Minecraft.
    UnexpectedContent,
    /// The server could not be started.
    WakeupFailed,
    /// There is no route.
    MissingBackend,
    /// The backend could not be reached, or ended the connection without a word.
    BackendFailed,
    /// A session broke off.
    Relay,
}

impl Failure {
    /// Every one.
    pub const ALL: [Self; 7] = [
        Self::ReadDeadline,
        Self::Read,
        Self::UnexpectedContent,
        Self::WakeupFailed,
        Self::MissingBackend,
        Self::BackendFailed,
        Self::Relay,
    ];

    /// mc-router's word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadDeadline => "read_deadline",
            Self::Read => "read",
            Self::UnexpectedContent => "unexpected_content",
            Self::WakeupFailed => "wakeup_failed",
            Self::MissingBackend => "missing_backend",
            Self::BackendFailed => "backend_failed",
            Self::Relay => "relay",
        }
    }

    /// What a connection failed of, if it did.
    #[must_use]
    pub fn of(outcome: &Result<Served, ConnectionError>) -> Option<Self> {
        match outcome {
            Ok(Served::Joined(session) | Served::Pinged(Some(session))) => {
                matches!(session.end, End::Failed(..)).then_some(Self::Relay)
            }
            Ok(_) => None,
            Err(error) => Self::of_error(error),
        }
    }

    /// Whoever left, closed without a word, or was turned away with a reason has not failed.
    fn of_error(error: &ConnectionError) -> Option<Self> {
        use ConnectionError as Error;
        Some(match error {
            Error::Greet(GreetError::TimedOut) => Self::ReadDeadline,
            Error::Greet(GreetError::Truncated | GreetError::Io(_)) | Error::Io(_) => Self::Read,
            Error::Greet(GreetError::Decode(_) | GreetError::Header(_)) => Self::UnexpectedContent,
            Error::Wake(WakeError::Stopping) => return None,
            Error::Wake(_) => Self::WakeupFailed,
            Error::UnknownHost => Self::MissingBackend,
            Error::Unreachable { .. } | Error::NotReady { .. } | Error::BackendClosed(_) => {
                Self::BackendFailed
            }
            Error::Told(error) => return Self::of_error(error),
            _ => return None,
        })
    }
}

/// A player, as a client has claimed to be, on a host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Player {
    /// The name.
    pub name: SharedStr,
    /// The UUID; 0 where the client's version tells none.
    pub uuid: u128,
    /// The route's host.
    pub host: SharedStr,
}

impl Player {
    /// The UUID with its dashes.
    #[must_use]
    pub fn uuid(&self) -> String {
        let hex = format!("{:032x}", self.uuid);
        let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default();
        let (first, rest) = (part(0..8), [part(8..12), part(12..16), part(16..20)]);
        format!("{first}-{}-{}", rest.join("-"), part(20..32))
    }
}

/// Counts of all connections since the router began.
#[derive(Debug)]
pub struct Metrics {
    accepted: AtomicU64,
    probed: AtomicU64,
    failures: Counts<Failure, 7>,
    events_lost: AtomicU64,
    greeting: Histogram,
    dial: Histogram,
    join: Histogram,
    hosts: Series<SharedStr>,
    /// `None` where nobody wants to know who plays.
    players: Option<Series<Player>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(false)
    }
}

/// A session that was counted, until it is dropped.
#[derive(Debug)]
pub struct Session {
    _host: Open,
    _player: Option<Open>,
}

impl Metrics {
    /// Nothing has happened yet; `players` if players are counted by name.
    #[must_use]
    pub fn new(players: bool) -> Self {
        Self {
            accepted: AtomicU64::default(),
            probed: AtomicU64::default(),
            failures: Counts::new(Failure::ALL),
            events_lost: AtomicU64::default(),
            greeting: Histogram::default(),
            dial: Histogram::default(),
            join: Histogram::of(WAIT_BOUNDS_MILLIS),
            hosts: Series::new(HOSTS_MAX),
            players: players.then(|| Series::new(PLAYERS_MAX)),
        }
    }

    /// Somebody connected, whose greeting came to this. Who went without a word, as checks of load balancers
    /// do, is no client.
    pub fn connected<T>(&self, greeted: &Result<T, ConnectionError>) {
        let count = match greeted {
            Err(ConnectionError::Greet(GreetError::Silent)) => &self.probed,
            _ => &self.accepted,
        };
        count.fetch_add(1, Relaxed);
    }

    /// A client's greeting was complete, so long after it connected.
    pub fn greeted(&self, took: Duration) {
        self.greeting.count(took);
    }

    /// A backend took the connection for a login, after so long.
    pub fn dialled(&self, took: Duration) {
        self.dial.count(took);
    }

    /// A player has joined a backend, so long after its client connected.
    pub fn joined(&self, took: Duration) {
        self.join.count(took);
    }

    /// A client's connection is over.
    pub fn ended(&self, outcome: &Result<Served, ConnectionError>) {
        if let Some(failure) = Failure::of(outcome) {
            self.failures.count(failure);
        }
    }

    /// A webhook will not be told of an event; how many that were with this one.
    pub fn event_lost(&self) -> u64 {
        self.events_lost.fetch_add(1, Relaxed) + 1
    }

    /// A backend of `route` has a client's greeting; `player` is the name and the UUID of one who
    /// logs in.
    #[must_use]
    pub fn session(&self, route: &Route, player: Option<(&str, Option<u128>)>) -> Session {
        let named = route.host.as_ref().map(Host::shared);
        let host = named.unwrap_or_else(|| DEFAULT_HOST.into());
        let player = self
            .players
            .as_ref()
            .zip(player)
            .map(|(players, (name, uuid))| {
                players.begin(Player {
                    name: name.into(),
                    uuid: uuid.unwrap_or_default(),
                    host: host.clone(),
                })
            });
        Session {
            _host: self.hosts.begin(host),
            _player: player,
        }
    }

    /// The counts until now, with what sessions moved. Not one instant's: counting goes on meanwhile.
    #[must_use]
    pub fn reading(&self, relayed: &Totals) -> Reading {
        Reading {
            accepted: self.accepted.load(Relaxed),
            probed: self.probed.load(Relaxed),
            failures: self.failures.totals(),
            events_lost: self.events_lost.load(Relaxed),
            rate_left: None,
            bytes: relayed.up_bytes + relayed.down_bytes,
            sessions_open: relayed.sessions_open,
            greeting: self.greeting.spread(),
            dial: self.dial.spread(),
            join: self.join.spread(),
            hosts: self.hosts.counted(),
            players: self
                .players
                .as_ref()
                .map(Series::counted)
                .unwrap_or_default(),
        }
    }
}

/// The counts of one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reading {
    /// Clients that connected.
    pub accepted: u64,
    /// Connections that ended without a word; none of the clients.
    pub probed: u64,
    /// Connections that failed, by what of.
    pub failures: Vec<(Failure, u64)>,
    /// Events that the webhook was not told of.
    pub events_lost: u64,
    /// How many clients may connect now, where there is a limit for all; who shows it asks
    /// [`Admission::rate_left`](crate::admit::Admission::rate_left).
    pub rate_left: Option<u64>,
    /// Bytes relayed, both ways.
    pub bytes: u64,
    /// Sessions going on, relayed pings included.
    pub sessions_open: u64,
    /// From a client's connection to its complete greeting.
    pub greeting: Spread,
    /// From the begin of a login's dial to the connection.
    pub dial: Spread,
    /// From a player's connection to the backend that has its greeting, waits included.
    pub join: Spread,
    /// Sessions by host.
    pub hosts: Vec<Counted<SharedStr>>,
    /// Players' sessions, where they are counted by name.
    pub players: Vec<Counted<Player>>,
}

/// The label of a host.
#[must_use]
pub fn host_label(counted: &Counted<SharedStr>) -> &str {
    counted.name.as_deref().unwrap_or(OTHERS)
}

/// The labels of a player, by mc-router's names.
#[must_use]
pub fn player_labels(counted: &Counted<Player>) -> [(&'static str, String); 3] {
    let player = counted.name.as_ref();
    let text = |of: fn(&Player) -> String| player.map_or_else(|| OTHERS.to_owned(), of);
    [
        ("player_name", text(|player| player.name.to_string())),
        ("player_uuid", text(Player::uuid)),
        ("server_address", text(|player| player.host.to_string())),
    ]
}

#[cfg(test)]
mod tests;
