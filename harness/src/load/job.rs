//! What load is asked for, and what it reports; one JSON object a line between the processes.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::behaviour::Way;
use super::latency::Latency;

/// Players who work on one door.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// Where they connect.
    pub at: SocketAddr,
    /// The host name they ask for.
    pub host: String,
    /// What they do.
    pub job: Job,
}

/// What players do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Job {
    /// Each sends a packet, waits until it is back, and sends the next.
    RoundTrips {
        /// How many players.
        players: usize,
        /// Length of a packet.
        bytes: usize,
        /// For how long.
        span: Span,
    },
    /// Each sends packets at an even pace whether they come back or not.
    Paced {
        /// How many players.
        players: usize,
        /// Packets of one player in a second.
        per_second: u32,
        /// Length of a packet.
        bytes: usize,
        /// Packets of each player before those that count.
        warm_up: u32,
        /// Packets of each player that count.
        packets: u32,
    },
    /// Each moves so many bytes.
    Transfer {
        /// How many players.
        players: usize,
        /// Which way.
        way: Way,
        /// How many of each player, in each direction.
        bytes: u64,
    },
    /// Connect, wait for the server's first bytes, leave; over and over.
    Connects {
        /// How many at once.
        at_once: usize,
        /// For how long.
        span: Span,
    },
    /// Ask for the status, ping, leave, as a server list does; over and over.
    Pings {
        /// How many at once.
        at_once: usize,
        /// For how long.
        span: Span,
    },
    /// Join, download, leave; over and over until told to end.
    Downloads {
        /// How many at once.
        at_once: usize,
        /// Bytes of one download.
        bytes: u64,
    },
    /// Join, exchange bytes with the server that both ends check, leave, and join again.
    Visits {
        /// How many at once, 10,000 at most.
        players: u32,
        /// How long they wait before each packet, on average.
        pause: Duration,
        /// How many visits each pays; until told to end if not said.
        visits: Option<u32>,
    },
    /// Join, send one packet there and back, and stay until told to end.
    Hold {
        /// How many players.
        players: usize,
    },
}

/// How long a closed loop runs.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum Span {
    /// By the clock: so long without counting, then so long.
    Time(Duration, Duration),
    /// So many times for each of the players; everything counts.
    Count(u64),
}

/// What a part says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Said {
    /// The server listens here.
    Listening(SocketAddr),
    /// So many players are in; if fewer than asked for, why.
    Ready(usize, Option<String>),
    /// What happens from now on counts.
    Measuring,
    /// What happens from now on does not count.
    Measured,
    /// What came of it.
    Report(Report),
    /// It did not work.
    Failed(String),
}

/// What came of a job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Round trips, packets, connects or whole downloads that count.
    pub units: u64,
    /// Bytes up and down that the players have seen and that count, greetings not included.
    pub bytes: (u64, u64),
    /// How long it took.
    pub took: Duration,
    /// How long a unit took.
    pub latency: Option<Latency>,
    /// How much later than due packets were sent; only of paced players.
    pub late: Option<Latency>,
}
