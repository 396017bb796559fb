//! Connects to a backend, once or until it is ready, always within a limit.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use dns_lookup::{AddrInfoHints, LookupErrorKind, SockType, getaddrinfo};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
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

/// Whether the resolver says that there is no such name, or no address for it: that of a container,
/// for one, which has not started yet. A resolver that does not answer says no such thing.
pub(crate) fn is_no_name(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// Asks the system's resolver. A look-up that nobody waits for any more goes on in a thread of
/// its own, and keeps its place among [`LOOKUPS_MAX`] until it ends.
async fn resolve(backend: &BackendAddr) -> io::Result<Vec<SocketAddr>> {
    static PLACES: Semaphore = Semaphore::const_new(LOOKUPS_MAX);
    let place = PLACES.acquire().await.map_err(io::Error::other)?;
    let backend = backend.clone();
    let lookup = spawn_blocking(move || {
        let _place = place;
        let (host, port) = backend.parts();
        system(host, port)
    });
    lookup.await.map_err(io::Error::other)?
}

/// What getaddrinfo(3) has for `host`, in its order.
fn system(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let hints = AddrInfoHints {
        socktype: SockType::Stream.into(),
        ..AddrInfoHints::default()
    };
    let found = getaddrinfo(Some(host), None, Some(hints)).map_err(|error| match error.kind() {
        LookupErrorKind::NoName | LookupErrorKind::NoData => {
            io::Error::new(io::ErrorKind::NotFound, io::Error::from(error))
        }
        _ => error.into(),
    })?;
    found
        .map(|found| {
            let mut address = found?.sockaddr;
            address.set_port(port);
            Ok(address)
        })
        .collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_is_not_there_is_told_from_a_port_that_is_closed() {
        let dial = async |at: &str| {
            let backend = BackendAddr::parse(at).unwrap();
            dial(&backend, READY_WINDOW).await.unwrap_err()
        };
        // RFC 6761: nobody has a name below `invalid`; nor one that begins with a hyphen, so nobody is asked.
        let missing = dial("-nobody.invalid:25565").await;
        assert!(is_no_name(&missing), "{missing:?}");
        let closed = dial("127.0.0.1:1").await;
        assert!(!is_no_name(&closed), "{closed:?}");
    }
}
