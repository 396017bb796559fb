//! Copies bytes both ways until both sides have ended, and says how it ended.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

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
/// connection, and the way back goes on; when one side fails, both end.
pub async fn relay(client: &mut TcpStream, backend: &mut TcpStream) -> Relayed {
    let (client_read, client_write) = client.split();
    let (backend_read, backend_write) = backend.split();
    let (mut up, mut down, mut first) = (0, 0, None);
    let end = {
        let up = copy(client_read, backend_write, &mut up, Direction::Up);
        let down = copy(backend_read, client_write, &mut down, Direction::Down);
        tokio::pin!(up, down);
        let (mut up_open, mut down_open) = (true, true);
        loop {
            let outcome = tokio::select! {
                outcome = &mut up, if up_open => { up_open = false; outcome.map(|()| Side::Client) }
                outcome = &mut down, if down_open => { down_open = false; outcome.map(|()| Side::Backend) }
                else => break End::Closed(first.unwrap_or(Side::Client)),
            };
            match outcome {
                Ok(side) => first = first.or(Some(side)),
                Err((side, error)) => break End::Failed(side, error),
            }
        }
    };
    Relayed { up, down, end }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    count: &mut u64,
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
            return match to.shutdown().await {
                // The sink is gone already; its own direction tells how.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
                outcome => outcome.map_err(|error| (sink, error)),
            };
        }
        let bytes = buffer.get(..length).unwrap_or_default();
        to.write_all(bytes).await.map_err(|error| (sink, error))?;
        *count += u64::try_from(length).unwrap_or_default();
    }
}
