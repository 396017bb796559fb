//! Connects to a backend, once or until it is ready, always within a limit.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use crate::addr::BackendAddr;
use crate::socket;

/// How long a server that is said to run may take to open its port.
pub const READY_WINDOW: Duration = Duration::from_secs(5);
/// Name look-ups under way at once; each holds a thread.
const LOOKUPS_MAX: usize = 64;
/// Pause between two attempts within that window.
const READY_PAUSE: Duration = Duration::from_millis(100);

/// One attempt, name resolution included, within `limit`.
///
/// # Errors
/// The last address's failure, or a time-out.
pub async fn dial(backend: &BackendAddr, limit: Duration) -> io::Result<TcpStream> {
    let attempt = async { TcpStream::connect(&*addresses(backend).await?).await };
    within(limit, attempt).await
}

/// One attempt at each of `addresses` in turn, within `limit` in all.
///
/// # Errors
/// The last address's failure, or a time-out.
pub async fn dial_to(addresses: &[SocketAddr], limit: Duration) -> io::Result<TcpStream> {
    within(limit, TcpStream::connect(addresses)).await
}

async fn within(
    limit: Duration,
    attempt: impl Future<Output = io::Result<TcpStream>>,
) -> io::Result<TcpStream> {
    let stream = timeout(limit, attempt).await.unwrap_or_else(|_| {
        let text = format!("no answer within {limit:?}");
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    })?;
    // Nobody listens at a port of this machine that the system gave to this very connection.
    let ends = (stream.local_addr(), stream.peer_addr());
    if matches!(ends, (Ok(own), Ok(other)) if own == other) {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    socket::tune(&SockRef::from(&stream));
    Ok(stream)
}

/// Where `backend` is: its IP address, or what the system's resolver has for its name.
///
/// # Errors
/// The name is not known, or cannot be looked up.
pub async fn addresses(backend: &BackendAddr) -> io::Result<Vec<SocketAddr>> {
    match backend.as_str().parse() {
        Ok(address) => Ok(vec![address]),
        Err(_) => resolve(backend).await,
    }
}

/// EMFILE and ENFILE: too many open files, here or on this machine (errno(3)), which says nothing
/// about a backend.
pub(crate) fn is_out_of_files(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24))
}

/// Asks the system's resolver. A look-up that nobody waits for any more goes on in a thread of
/// its own, and keeps its place among [`LOOKUPS_MAX`] until it ends.
async fn resolve(backend: &BackendAddr) -> io::Result<Vec<SocketAddr>> {
    static PLACES: Semaphore = Semaphore::const_new(LOOKUPS_MAX);
    let place = PLACES.acquire().await.map_err(io::Error::other)?;
    let name = backend.as_str().to_owned();
    let lookup = tokio::spawn(async move {
        let _place = place;
        Ok(lookup_host(name).await?.collect())
    });
    lookup.await.map_err(io::Error::other)?
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
