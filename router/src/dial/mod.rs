//! Connects to whatever has an address: one attempt, or attempts until a server is ready, always within a limit.
//!
//! Every connection that this process opens comes from here, so each tries all addresses of a name.

pub mod names;
pub mod race;
mod racing;
mod resolver;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};

use crate::addr::BackendAddr;
use crate::config::values::short;
use crate::socket;

pub(crate) use racing::{Reached, race};

/// How long a server that is said to run may take to open its port.
pub const READY_WINDOW: Duration = Duration::from_secs(5);
/// Pause between two attempts within that window.
const READY_PAUSE: Duration = Duration::from_millis(100);

/// One attempt at every address of `backend`, name resolution included, within `limit`.
///
/// # Errors
/// Of the addresses' failures the one that says most of the backend, or a time-out.
pub async fn dial(backend: &BackendAddr, limit: Duration) -> io::Result<TcpStream> {
    let (host, port) = backend.parts();
    dial_host(host, port, limit).await
}

/// The same of a host, a name or an IP address without brackets, and a port.
///
/// # Errors
/// As for [`dial`].
pub(crate) async fn dial_host(host: &str, port: u16, limit: Duration) -> io::Result<TcpStream> {
    let deadline = Instant::now() + limit;
    let dialling = async {
        let found = timeout_at(deadline, addresses_of(host, port)).await;
        let found = found.unwrap_or_else(|_| {
            let text = format!("its name could not be looked up within {}", short(limit));
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        });
        connect(&found?, deadline, limit).await
    };
    // A player's future has room for a pointer, and not for this.
    Box::pin(dialling).await
}

/// One attempt at each of `addresses`, within `limit` in all.
///
/// # Errors
/// As for [`dial`].
pub async fn dial_to(addresses: &[SocketAddr], limit: Duration) -> io::Result<TcpStream> {
    Box::pin(connect(addresses, Instant::now() + limit, limit)).await
}

async fn connect(
    addresses: &[SocketAddr],
    deadline: Instant,
    limit: Duration,
) -> io::Result<TcpStream> {
    let addresses = race::in_turn(addresses);
    let stream = race(&addresses, deadline, |address, _| connect_one(address)).await;
    let stream = stream.map_err(|lost| {
        let mut errors = lost.errors;
        if lost.silent || errors.is_empty() {
            let text = format!("no answer within {}", short(limit));
            errors.push(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        most_telling(errors)
    })?;
    socket::tune(&SockRef::from(&stream));
    Ok(stream)
}

/// Connects to `address`, and to nobody else.
///
/// # Errors
/// The system's.
pub(crate) async fn connect_one(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // Nobody listens at a port of this machine that the system gave to this very connection.
    let ends = (stream.local_addr(), stream.peer_addr());
    if matches!(ends, (Ok(own), Ok(other)) if own == other) {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

/// Of several addresses' failures the one that says most: what is wrong here, then a refusal, which somebody has to send;
/// that there is no way to a network says least, since machines without IPv6 say so of each such address.
fn most_telling(errors: Vec<io::Error>) -> io::Error {
    let least = errors.into_iter().min_by_key(telling);
    least.unwrap_or_else(|| io::ErrorKind::TimedOut.into())
}

/// How little `error` says of several; see [`most_telling`].
pub(crate) fn telling(error: &io::Error) -> u8 {
    match error.kind() {
        _ if is_out_of_files(error) => 0,
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted => 1,
        io::ErrorKind::TimedOut => 2,
        io::ErrorKind::HostUnreachable => 3,
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable => 5,
        _ => 4,
    }
}

/// Where `backend` is: its IP address, or what the system's resolver has for its name.
///
/// # Errors
/// See [`is_no_name`] and [`is_stuck`]; or the resolver does not know.
pub async fn addresses(backend: &BackendAddr) -> io::Result<Vec<SocketAddr>> {
    let (host, port) = backend.parts();
    addresses_of(host, port).await
}

/// The same of a host, a name or an IP address without brackets, and a port.
pub(crate) async fn addresses_of(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    match resolver::resolve(host).await {
        Ok(found) => {
            let mut addresses = found.to_vec();
            for address in &mut addresses {
                address.set_port(port);
            }
            Ok(addresses)
        }
        // One look-up is shared, and an error cannot be.
        Err(error) => Err(match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(error.kind(), error.to_string()),
        }),
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

/// Whether the name was not even looked up, since others of its zone hang.
pub(crate) fn is_stuck(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ResourceBusy
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
mod tests;
