//! A Minecraft server as far as a router can tell: it records what it is sent, lets players in,
//! and echoes.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use automc_router::answer;
use automc_router::greet::greet;
use automc_router::protocol::greeting::Greeting;
use automc_router::protocol::handshake::Handshake;
use automc_router::protocol::status::response;
use automc_router::protocol::{encode_frame, put_string};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Most connections that are recorded.
const RECORDS_MAX: usize = 10_000;
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;
/// Buffer of one echo.
const ECHO_BYTES: usize = 16 * 1024;

/// What one connection began with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Every byte up to and including the greeting, and what came with it.
    pub bytes: Vec<u8>,
    /// What it says; `None` for pings from before 1.7.
    pub handshake: Option<Handshake>,
    /// Whether it is a login.
    pub login: bool,
}

/// A server's port while the server sleeps: it refuses connections, and is nobody else's.
#[derive(Debug)]
pub struct Asleep {
    socket: TcpSocket,
    addr: SocketAddr,
}

impl Asleep {
    /// Takes a free port.
    ///
    /// # Errors
    /// No port is to be had.
    pub fn new() -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let addr = socket.local_addr()?;
        Ok(Self { socket, addr })
    }

    /// Where the server will listen.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Opens the port: a server called `name`. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// The system does not let it.
    pub fn wake(self, name: &str) -> Result<Backend> {
        Backend::on(name, self.socket.listen(BACKLOG)?)
    }
}

/// What its connections share.
#[derive(Debug, Default)]
struct Shared {
    records: Mutex<Vec<Record>>,
    /// The status, if it is not a plain one with the server's name.
    status: Mutex<Option<String>>,
}

/// A running server. Dropping it closes its port and every connection.
#[derive(Debug)]
pub struct Backend {
    addr: SocketAddr,
    name: Arc<str>,
    shared: Arc<Shared>,
    end: CancellationToken,
    _guard: DropGuard,
}

impl Backend {
    /// A server called `name` on a free port.
    ///
    /// # Errors
    /// No port is to be had.
    pub async fn start(name: &str) -> Result<Self> {
        Self::start_at(name, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// A server called `name` on `addr`.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn start_at(name: &str, addr: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(addr)
            .await
            .with_context(|| format!("backend on {addr}"))?;
        Self::on(name, listener)
    }

    fn on(name: &str, listener: TcpListener) -> Result<Self> {
        let addr = listener.local_addr()?;
        let end = CancellationToken::new();
        let name: Arc<str> = name.into();
        let shared = Arc::default();
        let serving = serve(
            listener,
            Arc::clone(&name),
            Arc::clone(&shared),
            end.clone(),
        );
        tokio::spawn(end.clone().run_until_cancelled_owned(serving));
        Ok(Self {
            addr,
            name,
            shared,
            end: end.clone(),
            _guard: end.drop_guard(),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its name, which its status shows.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The greetings so far, in the order they were complete.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        lock(&self.shared.records).clone()
    }

    /// Answers status requests with this JSON from now on.
    pub fn shows(&self, status: &str) {
        *lock(&self.shared.status) = Some(status.to_owned());
    }

    /// Closes the port and every connection.
    pub fn stop(&self) {
        self.end.cancel();
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, name: Arc<str>, shared: Arc<Shared>, end: CancellationToken) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let (name, shared) = (Arc::clone(&name), Arc::clone(&shared));
        let connection = async move { drop(converse(stream, &name, &shared).await) };
        tokio::spawn(end.clone().run_until_cancelled_owned(connection));
    }
}

async fn converse(mut stream: TcpStream, name: &str, shared: &Shared) -> Result<()> {
    stream.set_nodelay(true)?;
    let (greeting, bytes) = greet(&mut stream).await?;
    let (handshake, login) = match &greeting {
        Greeting::Legacy(_) => (None, false),
        Greeting::Status { handshake, .. } => (Some(handshake.clone()), false),
        Greeting::Login { handshake, .. } => (Some(handshake.clone()), true),
    };
    {
        let mut records = lock(&shared.records);
        if records.len() < RECORDS_MAX {
            records.push(Record {
                bytes: bytes.clone(),
                handshake,
                login,
            });
        }
    }
    match greeting {
        Greeting::Legacy(ping) => Ok(answer::legacy_ping(&mut stream, &ping, name).await?),
        Greeting::Status { handshake, length } => {
            let early = bytes.get(length..).unwrap_or_default();
            let status = lock(&shared.status).as_deref().map(|json| {
                let mut body = Vec::new();
                put_string(json, &mut body);
                encode_frame(0, &body)
            });
            let frame = status.unwrap_or_else(|| response(handshake.protocol, name));
            Ok(answer::status_frame(&mut stream, early, &frame).await?)
        }
        Greeting::Login { player, .. } => {
            let mut success = vec![0x22; 16];
            put_string(&player, &mut success);
            success.push(0);
            stream.write_all(&encode_frame(2, &success)).await?;
            echo(stream).await
        }
    }
}

async fn echo(mut stream: TcpStream) -> Result<()> {
    let mut buffer = vec![0; ECHO_BYTES];
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Ok(stream.shutdown().await?);
        }
        stream
            .write_all(buffer.get(..length).unwrap_or_default())
            .await?;
    }
}
