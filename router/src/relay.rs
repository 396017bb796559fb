//! Copies bytes both ways until both sides have ended, and says how it ended.

use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

/// Longest pause of the one direction that is left once the other has ended: a frozen backend
/// would otherwise hold a player's place for ever.
pub const HALF_CLOSED_IDLE_MAX: Duration = Duration::from_secs(60);
/// Buffer of one direction.
const BUFFER_BYTES: usize = 8 * 1024;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the backend.
    Up,
    /// From the backend to the client.
    Down,
}

/// What a session came to.
#[derive(Debug)]
pub struct Relayed {
    /// Bytes from client to backend, the greeting not counted.
    pub up: u64,
    /// Bytes from backend to client.
    pub down: u64,
    /// How it ended.
    pub end: End,
}

/// How a session ended.
#[derive(Debug)]
pub enum End {
    /// Both sides closed in order; this one first.
    Closed(Side),
    /// This side's connection failed.
    Failed(Side, io::Error),
}

/// One of the two ends of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The player.
    Client,
    /// The server.
    Backend,
}

impl End {
    /// A word for it, for logs that are searched.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Closed(Side::Client) => "client_closed",
            Self::Closed(Side::Backend) => "backend_closed",
            Self::Failed(Side::Client, _) => "client_failed",
            Self::Failed(Side::Backend, _) => "backend_failed",
        }
    }
}

/// Copies both ways. When one side closes its sending half, so does the other side's
/// connection, and the way back goes on for as long as bytes come, with pauses of at most
/// [`HALF_CLOSED_IDLE_MAX`]; when one side fails, both end.
///
/// A backend that ends before its first byte counts as failed, and the client's connection is
/// left open for whoever has something to say about it.
pub async fn relay(client: &mut TcpStream, backend: &mut TcpStream) -> Relayed {
    let (client_read, client_write) = client.split();
    let (backend_read, backend_write) = backend.split();
    let (up, down) = (AtomicU64::new(0), AtomicU64::new(0));
    let end = {
        let upward = copy(client_read, backend_write, &up, Direction::Up);
        let downward = copy(backend_read, client_write, &down, Direction::Down);
        tokio::pin!(upward, downward);
        let moved = || up.load(Relaxed) + down.load(Relaxed);
        let (mut up_open, mut down_open) = (true, true);
        let (mut first, mut seen) = (None, 0);
        loop {
            let outcome = tokio::select! {
                outcome = &mut upward, if up_open => {
                    up_open = false;
                    outcome.map(|()| Side::Client)
                }
                outcome = &mut downward, if down_open => {
                    down_open = false;
                    outcome.map(|()| Side::Backend)
                }
                () = sleep(HALF_CLOSED_IDLE_MAX), if first.is_some() => {
                    if moved() == seen {
                        break End::Closed(first.unwrap_or(Side::Client));
                    }
                    seen = moved();
                    continue;
                }
            };
            match (outcome, first) {
                (Ok(side), None) => {
                    first = Some(side);
                    seen = moved();
                }
                // What is sent to a side that has left in order is refused, which is no failure.
                (Ok(_) | Err(_), Some(side)) => break End::Closed(side),
                (Err((side, error)), None) => break End::Failed(side, error),
            }
        }
    };
    Relayed {
        up: up.load(Relaxed),
        down: down.load(Relaxed),
        end,
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    count: &AtomicU64,
    direction: Direction,
) -> Result<(), (Side, io::Error)> {
    let (source, sink) = match direction {
        Direction::Up => (Side::Client, Side::Backend),
        Direction::Down => (Side::Backend, Side::Client),
    };
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let length = from
            .read(&mut buffer)
            .await
            .map_err(|error| (source, error))?;
        if length == 0 {
            if direction == Direction::Down && count.load(Relaxed) == 0 {
                return Err((source, io::ErrorKind::UnexpectedEof.into()));
            }
            return match to.shutdown().await {
                // The sink is gone already; its own direction tells how.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
                outcome => outcome.map_err(|error| (sink, error)),
            };
        }
        let bytes = buffer.get(..length).unwrap_or_default();
        to.write_all(bytes).await.map_err(|error| (sink, error))?;
        count.fetch_add(u64::try_from(length).unwrap_or_default(), Relaxed);
    }
}
