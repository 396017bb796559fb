//! Connects to one host of a DSN, at whichever of its addresses lets us in first.
//!
//! The driver would try one address after the other, each until the system gives it up.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_postgres::config::{Host, LoadBalanceHosts, SslMode, TargetSessionAttrs};
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Config, Error, NoTls, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::connect::{ConnectError, Link, client_config};
use super::dsn::{Dsn, TlsMode};
use super::explain;
use crate::dial::race::in_turn;
use crate::dial::{self, Reached, addresses_of, connect_one, race};

/// Where a server listens of which nothing else is said.
const PORT: u16 = 5432;
/// What the driver calls a failed handshake; it does not tell the kind of an error otherwise.
const HANDSHAKE_FAILED: &str = "error performing TLS handshake";

/// Connects to `host`, which has `share` of the time, until `until`. An address that takes the connection and stays mute
/// holds up the next one for a second, one that is silent for less. `connect_timeout` is for each address, as libpq has it.
///
/// # Errors
/// What a server said, or else what was in the way.
pub(super) async fn connect_host(
    dsn: &Dsn,
    host: &Config,
    share: Duration,
    until: Instant,
) -> Result<(Client, Link), ConnectError> {
    let port = host.get_ports().first().copied().unwrap_or(PORT);
    // An address wins over a name, and over a socket's folder; the name is TLS's then.
    let (name, mut addresses) = match (host.get_hosts(), host.get_hostaddrs()) {
        ([Host::Tcp(name), ..], []) => {
            let addresses = addresses_of(name, port).await;
            (name.as_str(), addresses.map_err(ConnectError::NotReached)?)
        }
        (hosts, [address, ..]) => {
            let name = match hosts {
                [Host::Tcp(name), ..] => name.as_str(),
                _ => "",
            };
            (name, vec![SocketAddr::new(*address, port)])
        }
        _ => return timely(host, over_socket(host)).await,
    };
    if host.get_load_balance_hosts() == LoadBalanceHosts::Random {
        addresses.sort_by_cached_key(|_| RandomState::new().hash_one(0));
    }
    let attempt = |address, reached| timely(host, enter(dsn, host, name, address, reached));
    let won = race(&in_turn(&addresses), until, attempt).await;
    won.map_err(|lost| {
        let silent = lost.silent.then_some(ConnectError::TimedOut(share));
        let errors = lost.errors.into_iter().chain(silent);
        let most = errors.min_by_key(telling);
        most.unwrap_or(ConnectError::TimedOut(share))
    })
}

/// How little an error says: what a server says is worth more than what the way to it does.
fn telling(error: &ConnectError) -> u8 {
    match error {
        ConnectError::NotReached(error) => 1 + dial::telling(error),
        ConnectError::TimedOut(_) => 1 + dial::telling(&io::ErrorKind::TimedOut.into()),
        _ => 0,
    }
}

async fn timely<T>(
    host: &Config,
    attempt: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    match host.get_connect_timeout() {
        None => attempt.await,
        Some(limit) => {
            let outcome = timeout(*limit, attempt).await;
            outcome.unwrap_or(Err(ConnectError::TimedOut(*limit)))
        }
    }
}

/// Over a socket of this machine, which never has TLS.
async fn over_socket(host: &Config) -> Result<(Client, Link), ConnectError> {
    let mut config = host.clone();
    config.ssl_mode(SslMode::Disable);
    let (client, connection) = config.connect(NoTls).await?;
    Ok((client, Link::new(connection)))
}

/// At one address, with TLS or without as `sslmode` has it.
async fn enter(
    dsn: &Dsn,
    host: &Config,
    name: &str,
    address: SocketAddr,
    reached: Reached,
) -> Result<(Client, Link), ConnectError> {
    if dsn.tls() == TlsMode::Disable {
        return plain(host, address, &reached).await;
    }
    let mut tls = MakeRustlsConnect::new(client_config(dsn)?);
    let tls = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut tls, name);
    let tls = tls.map_err(|error| ConnectError::NotReached(io::Error::other(error)))?;
    match speak(host, address, tls, &reached).await {
        Err(ConnectError::Postgres(tls)) if dsn.tls() == TlsMode::Prefer && plain_may_do(&tls) => {
            let plain = plain(host, address, &reached).await;
            plain.map_err(|plain| match plain {
                // It was without TLS the first time, too.
                ConnectError::Postgres(plain) if explain(&tls) == explain(&plain) => plain.into(),
                ConnectError::Postgres(plain) => ConnectError::NeitherWay { tls, plain },
                other => other,
            })
        }
        outcome => outcome,
    }
}

async fn plain(
    host: &Config,
    address: SocketAddr,
    reached: &Reached,
) -> Result<(Client, Link), ConnectError> {
    let mut config = host.clone();
    config.ssl_mode(SslMode::Disable);
    speak(&config, address, NoTls, reached).await
}

/// Whether `prefer` tries again in plain text, as libpq does: the handshake failed, or the server
/// does not let us in over TLS (`hostnossl` in its `pg_hba.conf`).
fn plain_may_do(error: &Error) -> bool {
    error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
        || error.to_string() == HANDSHAKE_FAILED
}

async fn speak<T>(
    host: &Config,
    address: SocketAddr,
    tls: T,
    reached: &Reached,
) -> Result<(Client, Link), ConnectError>
where
    T: TlsConnect<TcpStream, Stream: Send + 'static>,
{
    let socket = open(host, address).await;
    let socket = socket.map_err(ConnectError::NotReached)?;
    reached.tell();
    let (client, connection) = host.connect_raw(socket, tls).await?;
    let mut link = Link::new(connection);
    check_session(host, &client, &mut link).await?;
    Ok((client, link))
}

/// A connection with what the DSN says of its socket.
async fn open(host: &Config, address: SocketAddr) -> io::Result<TcpStream> {
    let stream = connect_one(address).await?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(host.get_tcp_user_timeout().copied())?;
    if host.get_keepalives() {
        let mut keepalive = TcpKeepalive::new().with_time(host.get_keepalives_idle());
        if let Some(interval) = host.get_keepalives_interval() {
            keepalive = keepalive.with_interval(interval);
        }
        if let Some(retries) = host.get_keepalives_retries() {
            keepalive = keepalive.with_retries(retries);
        }
        socket.set_tcp_keepalive(&keepalive)?;
    }
    Ok(stream)
}

/// Whether the server is one that `target_session_attrs` wants.
async fn check_session(
    host: &Config,
    client: &Client,
    link: &mut Link,
) -> Result<(), ConnectError> {
    let wanted = host.get_target_session_attrs();
    if wanted == TargetSessionAttrs::Any {
        return Ok(());
    }
    let mut asking = pin!(client.simple_query("SHOW transaction_read_only"));
    let rows = loop {
        tokio::select! {
            rows = &mut asking => break rows?,
            said = link.next() => match said {
                Some(said) => drop(said?),
                None => return Err(ConnectError::NotReached(io::ErrorKind::UnexpectedEof.into())),
            },
        }
    };
    let read_only = rows.iter().find_map(|row| match row {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    let wrong = match (wanted, read_only) {
        (TargetSessionAttrs::ReadWrite, Some("on")) => "database does not allow writes",
        (TargetSessionAttrs::ReadOnly, Some("off")) => "database is not read only",
        _ => return Ok(()),
    };
    let wrong = io::Error::new(io::ErrorKind::PermissionDenied, wrong);
    Err(ConnectError::NotReached(wrong))
}
