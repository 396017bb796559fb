//! How TCP sockets are set up: listening ones, and those of players and backends.

use std::io;
use std::net::{self, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::TcpListener;
use tracing::debug;

/// Connections the kernel holds until they are accepted.
const BACKLOG: i32 = 4096;
/// How long a peer may be silent before it is asked for a sign of life: from this, ...
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// ... by so many steps of a second, another one for each socket. Thousands of players who came
/// back together would otherwise be asked in one moment, and the system drops packets that come
/// in such numbers, time and again (`net.core.netdev_max_backlog`).
const KEEPALIVE_STEPS: u64 = 30;
/// How long until the next question.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Questions without an answer; Linux looks at [`UNTAKEN_MAX`] instead.
const KEEPALIVE_RETRIES: u32 = 6;
/// How long a peer may take nothing of what it is sent, keepalive included (`TCP_USER_TIMEOUT`,
/// tcp(7)): one that vanished or is frozen would otherwise hold a place for ever.
#[cfg(target_os = "linux")]
const UNTAKEN_MAX: Duration = Duration::from_secs(120);

/// Listens on `port` of every address, IPv6 and IPv4, or IPv4 alone where there is no IPv6;
/// `count` sockets among which the system spreads the clients. Their address comes with them.
///
/// # Errors
/// The port is taken or may not be used.
pub fn listen_for_players(
    port: u16,
    count: usize,
) -> io::Result<(Vec<net::TcpListener>, SocketAddr)> {
    let dual = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    match listen_together(dual, count) {
        Err(error)
            if error.kind() != io::ErrorKind::AddrInUse
                && error.kind() != io::ErrorKind::PermissionDenied =>
        {
            debug!(%error, "no IPv6 here");
            listen_together(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), count)
        }
        outcome => outcome,
    }
}

/// The same on a free port of this machine alone.
///
/// # Errors
/// The system does not let it.
#[cfg(feature = "ngrok")]
pub fn listen_within(count: usize) -> io::Result<(Vec<net::TcpListener>, SocketAddr)> {
    listen_together(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), count)
}

/// `SO_REUSEPORT` (socket(7)): a queue of clients for each socket.
fn listen_together(
    mut address: SocketAddr,
    count: usize,
) -> io::Result<(Vec<net::TcpListener>, SocketAddr)> {
    if address.port() != 0 {
        // Sockets that share a port let any process of this user join in; a second router
        // started by mistake would take half of the players without a word. (Two that start in
        // the same moment may still both find the port free.)
        bound(address, false)?;
    }
    let mut listeners = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = bound(address, true)?;
        // Clients' sockets inherit it.
        tune(&socket);
        socket.listen(BACKLOG)?;
        let listener = net::TcpListener::from(socket);
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok((listeners, address))
}

/// Listens on `address`.
///
/// # Errors
/// The address is taken, not of this machine, or may not be used.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = bound(address, false)?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn bound(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Sends small packets at once, and notices peers that vanished or take nothing any more. A socket
/// that refuses an option is used without it.
pub fn tune(socket: &Socket) {
    let keepalive = TcpKeepalive::new()
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES);
    told(socket.set_tcp_nodelay(true));
    told(socket.set_tcp_keepalive(&keepalive));
    #[cfg(target_os = "linux")]
    told(socket.set_tcp_user_timeout(Some(UNTAKEN_MAX)));
    spread(socket);
}

/// Has `socket` ask for signs of life at another moment than those before it.
pub fn spread(socket: &Socket) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let step = Duration::from_secs(NEXT.fetch_add(1, Relaxed) % KEEPALIVE_STEPS);
    told(socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_IDLE + step)));
}

fn told(outcome: io::Result<()>) {
    if let Err(error) = outcome {
        debug!(%error, "socket option refused");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::SockRef;

    fn tuned(socket: &Socket) -> bool {
        let timeout = socket.tcp_user_timeout().unwrap();
        socket.tcp_nodelay().unwrap()
            && socket.keepalive().unwrap()
            && socket.tcp_keepalive_interval().unwrap() == KEEPALIVE_INTERVAL
            && timeout == Some(UNTAKEN_MAX)
    }

    #[test]
    fn sockets_of_clients_inherit_what_their_listener_is_tuned_to() {
        let (listeners, address) = listen_for_players(0, 1).unwrap();
        let _client = net::TcpStream::connect((Ipv4Addr::LOCALHOST, address.port())).unwrap();
        listeners[0].set_nonblocking(false).unwrap();

        let (accepted, _) = listeners[0].accept().unwrap();

        assert!(tuned(&SockRef::from(&accepted)));
    }

    #[test]
    fn no_two_sockets_in_a_row_ask_for_a_sign_of_life_together() {
        let times = (0..2 * KEEPALIVE_STEPS).map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            tune(&socket);
            socket.tcp_keepalive_time().unwrap()
        });
        let times: Vec<_> = times.collect();
        let least = KEEPALIVE_IDLE..KEEPALIVE_IDLE + Duration::from_secs(KEEPALIVE_STEPS);
        assert!(times.iter().all(|time| least.contains(time)));
        assert!(times.windows(2).all(|pair| pair[0] != pair[1]), "{times:?}");
    }

    #[test]
    fn sockets_share_a_port_among_themselves_and_with_nobody_else() {
        let (listeners, address) = listen_for_players(0, 3).unwrap();
        let addresses = listeners.iter().map(|one| one.local_addr().unwrap());
        assert_eq!(addresses.collect::<Vec<_>>(), [address; 3]);

        let error = listen_for_players(address.port(), 3).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
