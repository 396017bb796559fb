//! Moves bytes both ways until both sides have ended, and says how it ended.
//!
//! Small traffic is copied through one buffer per worker thread, lent for one poll; a direction
//! that stays busy is spliced through a pipe lent the same way, and copied again when it cools.

pub mod counters;
#[cfg(test)]
mod fake;
mod flow;
mod gear;
#[cfg(target_os = "linux")]
mod pipe;
mod scratch;
mod session;
mod stream;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::time::Duration;

use tokio::net::TcpStream;

use counters::Counters;
use scratch::Scratch;
use session::Session;

/// Longest pause of the one direction that is left once the other has ended: a frozen backend
/// would otherwise hold a player's place for ever.
pub const HALF_CLOSED_IDLE_MAX: Duration = Duration::from_secs(60);

/// Most pipes that are open at once, two files each. One serves a whole worker while nobody
/// stalls; a direction that gets none copies on.
pub const PIPES_MAX: usize = 256;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the backend.
    Up,
    /// From the backend to the client.
    Down,
}

impl Direction {
    fn source(self) -> Side {
        match self {
            Self::Up => Side::Client,
            Self::Down => Side::Backend,
        }
    }

    fn sink(self) -> Side {
        match self {
            Self::Up => Side::Backend,
            Self::Down => Side::Client,
        }
    }
}

/// One of the two ends of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The player.
    Client,
    /// The server.
    Backend,
}

/// What a session came to.
#[derive(Debug)]
pub struct Relayed {
    /// Bytes from client to backend, the greeting not counted.
    pub up: u64,
    /// Bytes from backend to client.
    pub down: u64,
    /// Whether anything was taken from the client, even if the backend did not take it.
    pub client_heard: bool,
    /// Whether the client may still be there, and is owed an orderly goodbye.
    pub client_open: bool,
    /// How it ended.
    pub end: End,
}

/// How a session ended.
#[derive(Debug)]
pub enum End {
    /// In order (FIN); this side first.
    Closed(Side),
    /// This side's connection failed (RST, or nobody there any more).
    Failed(Side, io::Error),
}

impl End {
    /// A word for it, for logs that are searched.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, TimedOut};
        match self {
            Self::Closed(Side::Client) => "client_closed",
            Self::Closed(Side::Backend) => "backend_closed",
            Self::Failed(side, error) => match (side, error.kind()) {
                (Side::Client, ConnectionReset | BrokenPipe) => "client_reset",
                (Side::Client, TimedOut) => "client_lost",
                (Side::Client, _) => "client_failed",
                (Side::Backend, ConnectionReset | BrokenPipe) => "backend_reset",
                (Side::Backend, TimedOut) => "backend_lost",
                (Side::Backend, _) => "backend_failed",
            },
        }
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch<TcpStream>> = RefCell::default();
}

/// Moves bytes both ways. When one side closes its sending half, so does the other side's
/// connection, and the way back goes on for as long as bytes come, with pauses of at most
/// [`HALF_CLOSED_IDLE_MAX`]; when one side fails, what it said before still arrives, and both end.
///
/// `said` is how many bytes of the backend the client has had before; they count as relayed. A backend that ends
/// before its first byte counts as failed, and the client's connection is left open for whoever has something to say
/// about it.
pub async fn relay(
    client: &mut TcpStream,
    backend: &mut TcpStream,
    said: u64,
    counters: &Counters,
) -> Relayed {
    let _open = counters.session();
    counters.moved(Direction::Down, said, 0);
    let mut session = Session::after(said);
    poll_fn(|cx| {
        SCRATCH.with_borrow_mut(|scratch| session.poll(cx, client, backend, scratch, counters))
    })
    .await
}
