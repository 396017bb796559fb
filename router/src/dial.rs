//! Connects to a backend, once or until it is ready, always within a limit.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::addr::BackendAddr;
use crate::socket;

/// How long a server that is said to run may take to open its port.
pub const READY_WINDOW: Duration = Duration::from_secs(5);
/// Pause between two attempts within that window.
const READY_PAUSE: Duration = Duration::from_millis(100);

/// One attempt, name resolution included, within `limit`.
///
/// # Errors
/// The last address's failure, or a time-out.
pub async fn dial(backend: &BackendAddr, limit: Duration) -> io::Result<TcpStream> {
    let attempt = timeout(limit, TcpStream::connect(backend.as_str())).await;
    let stream = attempt.unwrap_or_else(|_| {
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no answer within {limit:?}"),
        ))
    })?;
    socket::tune(&stream);
    Ok(stream)
}

/// Attempts until one succeeds or [`READY_WINDOW`] has passed, since `running` may come before
/// the port opens. Takes at most the window and one `limit`.
///
/// # Errors
/// The last attempt's failure.
pub async fn dial_until_ready(backend: &BackendAddr, limit: Duration) -> io::Result<TcpStream> {
    let end = Instant::now() + READY_WINDOW;
    loop {
        match dial(backend, limit).await {
            Err(_) if Instant::now() < end => sleep(READY_PAUSE).await,
            outcome => return outcome,
        }
    }
}
