//! How TCP sockets are set up: listening ones, and those of players and backends.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tracing::debug;

/// Connections the kernel holds until they are accepted.
const BACKLOG: i32 = 4096;
/// A peer that vanished without a word is noticed after idle + retries × interval.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;

/// Listens on `port` of every address, IPv6 and IPv4; IPv4 alone where there is no IPv6.
///
/// # Errors
/// The port is taken or may not be used.
pub fn listen_everywhere(port: u16) -> io::Result<TcpListener> {
    let dual = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    match listen(dual) {
        Err(error)
            if error.kind() != io::ErrorKind::AddrInUse
                && error.kind() != io::ErrorKind::PermissionDenied =>
        {
            debug!(%error, "no IPv6 here");
            listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
        }
        outcome => outcome,
    }
}

/// Listens on `address`.
///
/// # Errors
/// The address is taken, not of this machine, or may not be used.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Sends small packets at once and notices peers that vanished.
///
/// A socket that refuses is used as it is: it is about to fail anyway.
pub fn tune(stream: &TcpStream) {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES);
    let outcome = stream.set_nodelay(true);
    if let Err(error) = outcome.and_then(|()| SockRef::from(stream).set_tcp_keepalive(&keepalive)) {
        debug!(%error, "socket options refused");
    }
}
