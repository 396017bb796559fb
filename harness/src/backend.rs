//! A Minecraft server as far as a router can tell: it records what it is sent, lets players in,
//! and echoes. On demand it behaves more like a real one: see [`Conduct`].

use std::future::ready;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use automc_router::answer;
use automc_router::greet::greet;
use automc_router::protocol::greeting::Greeting;
use automc_router::protocol::handshake::Handshake;
use automc_router::protocol::login::{LoginReply, plugin_request};
use automc_router::protocol::status::{self, response};
use automc_router::protocol::{decode_frame, encode_frame, put_bytes, put_string};
use automc_router::proxy_protocol::{self, Progress, V1_BYTES_MAX};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::player::version::{V1_8, V1_20_5};
use crate::throttle::{Throttle, Tried};

/// Most connections that are recorded.
const RECORDS_MAX: usize = 10_000;
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;
/// Buffer of one echo.
const ECHO_BYTES: usize = 16 * 1024;
/// Longest answer to what it asks during login.
const REPLY_BYTES_MAX: usize = 8 * 1024;
/// What a server says that listens before it is ready.
pub const STILL_STARTING: &str = "Server is still starting! Please wait before reconnecting.";
/// What a server says to an answer that it has not asked for.
const UNEXPECTED: &str = "Unexpected custom data from client";

/// What a PROXY header of version 2 begins with.
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// How a server treats those who come.
#[derive(Debug, Clone)]
pub struct Conduct {
    /// How many Login Plugin Requests it sends right after login start, with ids from 0.
    pub plugin_requests: i32,
    /// Whether it sends an Encryption Request after those. Nothing is encrypted in the end.
    pub encryption: bool,
    /// How many more logins it kicks with [`STILL_STARTING`]; [`usize::MAX`] for all.
    pub kicks: usize,
    /// Whether it throttles logins, and how.
    pub throttle: Option<Throttle>,
    /// Whether it answers status requests and pings, or closes the connection.
    pub status: bool,
    /// Whether it does so too for a pinger that speaks no particular version, whose protocol number is -1.
    pub nameless: bool,
    /// Whether it insists on a PROXY header before anything else, and hangs up without one.
    pub proxied: bool,
    /// How long it keeps back the answer to a ping, as if it were far away.
    pub pong_after: Duration,
}

impl Default for Conduct {
    fn default() -> Self {
        Self {
            plugin_requests: 0,
            encryption: false,
            kicks: 0,
            throttle: None,
            status: true,
            nameless: true,
            proxied: false,
            pong_after: Duration::ZERO,
        }
    }
}

/// What one connection began with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// When that was complete.
    pub at: Instant,
    /// The PROXY header before it, byte by byte; empty where none was expected.
    pub header: Vec<u8>,
    /// Every byte up to and including the greeting, and what came with it.
    pub bytes: Vec<u8>,
    /// What it says; `None` for pings from before 1.7.
    pub handshake: Option<Handshake>,
    /// Whether it is a login.
    pub login: bool,
    /// What the client answered during login, byte by byte.
    pub replies: Vec<u8>,
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
        // The system gives the port to nobody, but a process that asks for it by number may listen on it.
        socket.set_reuseaddr(true)?;
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
        self.wake_as(name, Conduct::default())
    }

    /// The same with a conduct of its own.
    ///
    /// # Errors
    /// As for [`Self::wake`].
    pub fn wake_as(self, name: &str, conduct: Conduct) -> Result<Backend> {
        Backend::on(name, conduct, self.socket.listen(BACKLOG)?)
    }
}

/// A running server. Dropping it closes its port and every connection.
#[derive(Debug)]
pub struct Backend {
    addr: SocketAddr,
    shared: Arc<Shared>,
    end: CancellationToken,
    _guard: DropGuard,
}

/// What every connection of a server has in common.
#[derive(Debug)]
struct Shared {
    name: String,
    conduct: Mutex<Conduct>,
    /// The status, if it is not a plain one with the server's name.
    /// A whole packet.
    shown: Mutex<Option<Vec<u8>>>,
    records: Mutex<Vec<Record>>,
    tried: Tried,
}

impl Backend {
    /// A server called `name` on a free port.
    ///
    /// # Errors
    /// No port is to be had.
    pub async fn start(name: &str) -> Result<Self> {
        Self::start_as(name, Conduct::default()).await
    }

    /// The same with a conduct of its own.
    ///
    /// # Errors
    /// No port is to be had.
    pub async fn start_as(name: &str, conduct: Conduct) -> Result<Self> {
        Self::bind(name, conduct, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// A server called `name` on `addr`.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn start_at(name: &str, addr: SocketAddr) -> Result<Self> {
        Self::bind(name, Conduct::default(), addr).await
    }

    /// A server called `name` on `addr`, with a conduct of its own.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn bind(name: &str, conduct: Conduct, addr: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(addr)
            .await
            .with_context(|| format!("backend on {addr}"))?;
        Self::on(name, conduct, listener)
    }

    fn on(name: &str, conduct: Conduct, listener: TcpListener) -> Result<Self> {
        let addr = listener.local_addr()?;
        let end = CancellationToken::new();
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            conduct: Mutex::new(conduct),
            shown: Mutex::default(),
            records: Mutex::default(),
            tried: Tried::default(),
        });
        let serving = serve(listener, Arc::clone(&shared), end.clone());
        tokio::spawn(end.clone().run_until_cancelled_owned(serving));
        Ok(Self {
            addr,
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
        &self.shared.name
    }

    /// The greetings so far, in the order they were complete.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        lock(&self.shared.records).clone()
    }

    /// Answers status requests with this JSON from now on.
    pub fn shows(&self, status: &str) {
        self.says(status::frame(status.as_bytes()));
    }

    /// Answers status requests with these bytes from now on.
    pub fn says(&self, packet: Vec<u8>) {
        *lock(&self.shared.shown) = Some(packet);
    }

    /// Changes how it treats those who come from now on.
    pub fn conduct(&self, conduct: Conduct) {
        *lock(&self.shared.conduct) = conduct;
    }

    /// The greetings of players so far: what a router asks while it wakes a server is left out.
    #[must_use]
    pub fn logins(&self) -> Vec<Record> {
        let mut logins = self.records();
        logins.retain(|record| record.login);
        logins
    }

    /// Closes the port and every connection.
    pub fn stop(&self) {
        self.end.cancel();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, shared: Arc<Shared>, end: CancellationToken) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let shared = Arc::clone(&shared);
        let connection = async move { drop(shared.converse(stream).await) };
        tokio::spawn(end.clone().run_until_cancelled_owned(connection));
    }
}

impl Shared {
    async fn converse(&self, mut stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let proxied = lock(&self.conduct).proxied;
        let header = if proxied {
            proxy_header(&mut stream).await?
        } else {
            Vec::new()
        };
        let (greeting, bytes) = greet(&mut stream).await?;
        let (handshake, login) = match &greeting {
            Greeting::Legacy(_) => (None, false),
            Greeting::Status { handshake, .. } => (Some(handshake.clone()), false),
            Greeting::Login { handshake, .. } => (Some(handshake.clone()), true),
        };
        let address = match proxy_protocol::read(&header)? {
            Progress::Complete(Some(ends), _) => ends.source.ip(),
            _ => stream.peer_addr()?.ip(),
        };
        let number = self.record(header, &bytes, handshake, login);
        let throttle = lock(&self.conduct).throttle.clone().filter(|_| login);
        if let Some(throttle) = throttle
            && self.tried.too_soon(address, &throttle, Instant::now())
        {
            return Ok(answer::refuse(&mut stream, &throttle.text).await?);
        }
        let conduct = self.conduct_towards(login);
        match greeting {
            _ if !login && !conduct.status => Ok(()),
            Greeting::Status { handshake, .. } if handshake.protocol < 0 && !conduct.nameless => {
                Ok(())
            }
            Greeting::Legacy(ping) => {
                Ok(answer::legacy_ping(&mut stream, &ping, &self.name).await?)
            }
            Greeting::Status { handshake, length } => {
                let early = bytes.get(length..).unwrap_or_default();
                let protocol = handshake.protocol;
                let name = self.name.as_str();
                let shown = lock(&self.shown).clone();
                let frame = shown.unwrap_or_else(|| response(protocol, name));
                let way = ready(conduct.pong_after);
                Ok(answer::status_from_afar(&mut stream, early, &frame, way).await?)
            }
            Greeting::Login { .. } if conduct.kicks > 0 => {
                Ok(answer::disconnect(&mut stream, STILL_STARTING).await?)
            }
            Greeting::Login {
                handshake, player, ..
            } => {
                let protocol = handshake.protocol;
                let mut client = Client {
                    stream: &mut stream,
                    unread: after_login_start(&bytes)?.to_vec(),
                    replies: Vec::new(),
                };
                let agreed = client.negotiate(protocol, &conduct).await;
                self.answered(number, client.replies);
                if !agreed? {
                    return Ok(answer::disconnect(&mut stream, UNEXPECTED).await?);
                }
                let mut success = vec![0x22; 16];
                put_string(&player, &mut success);
                success.push(0);
                stream.write_all(&encode_frame(2, &success)).await?;
                echo(stream).await
            }
        }
    }

    /// Keeps what a connection began with; its number, if there is room for it.
    fn record(
        &self,
        header: Vec<u8>,
        bytes: &[u8],
        handshake: Option<Handshake>,
        login: bool,
    ) -> Option<usize> {
        let mut records = lock(&self.records);
        let number = records.len();
        (number < RECORDS_MAX).then(|| {
            records.push(Record {
                at: Instant::now(),
                header,
                bytes: bytes.to_vec(),
                handshake,
                login,
                replies: Vec::new(),
            });
            number
        })
    }

    fn answered(&self, number: Option<usize>, replies: Vec<u8>) {
        let mut records = lock(&self.records);
        if let Some(record) = number.and_then(|number| records.get_mut(number)) {
            record.replies = replies;
        }
    }

    /// How to treat one who has come now, which uses up a kick if it is a login.
    fn conduct_towards(&self, login: bool) -> Conduct {
        let mut conduct = lock(&self.conduct);
        let now = conduct.clone();
        if login && now.kicks < usize::MAX {
            conduct.kicks = now.kicks.saturating_sub(1);
        }
        now
    }
}

/// Reads a PROXY header of either version, and not a byte more.
async fn proxy_header(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut header = vec![0; V2_SIGNATURE.len() + 4];
    // A line of version 1 is longer than that, but for UNKNOWN, which this server does not want.
    stream.read_exact(&mut header).await?;
    if let Some([_, _, high, low]) = header.strip_prefix(V2_SIGNATURE) {
        let mut rest = vec![0; usize::from(u16::from_be_bytes([*high, *low]))];
        stream.read_exact(&mut rest).await?;
        header.extend(rest);
        return Ok(header);
    }
    ensure!(header.starts_with(b"PROXY TCP"), "no PROXY header");
    while !header.ends_with(b"\r\n") && header.len() < V1_BYTES_MAX {
        header.push(stream.read_u8().await?);
    }
    Ok(header)
}

/// What came with handshake and login start, and after them.
fn after_login_start(bytes: &[u8]) -> Result<&[u8]> {
    let mut rest = bytes;
    for _ in 0..2 {
        let (_, length) = decode_frame(rest, bytes.len())?.context("half a login start")?;
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(rest)
}

/// A client that is asked something before it is let in.
struct Client<'a> {
    stream: &'a mut TcpStream,
    unread: Vec<u8>,
    /// Its answers, byte by byte.
    replies: Vec<u8>,
}

impl Client<'_> {
    /// Asks what there is to ask; whether each question got its answer, in order.
    async fn negotiate(&mut self, protocol: i32, conduct: &Conduct) -> Result<bool> {
        for id in 0..conduct.plugin_requests {
            let request = plugin_request(id, "harness:hello", b"?");
            self.stream.write_all(&request).await?;
        }
        if conduct.encryption {
            self.stream.write_all(&encryption_request(protocol)).await?;
        }
        for id in 0..conduct.plugin_requests {
            let expected = LoginReply::PluginResponse { id, data: None };
            if LoginReply::decode(&self.reply().await?)? != expected {
                return Ok(false);
            }
        }
        Ok(
            !conduct.encryption
                || LoginReply::decode(&self.reply().await?)? == LoginReply::Other(1),
        )
    }

    /// Reads the body of one frame.
    async fn reply(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some((body, length)) = decode_frame(&self.unread, REPLY_BYTES_MAX)? {
                let body = body.to_vec();
                self.replies.extend(self.unread.drain(..length));
                return Ok(body);
            }
            self.unread.push(self.stream.read_u8().await?);
        }
    }
}

/// An Encryption Request with a key and a token of nothing.
fn encryption_request(protocol: i32) -> Vec<u8> {
    let mut body = Vec::new();
    put_string("", &mut body);
    for bytes in [&[0x30; 162][..], &[0x31; 4]] {
        if protocol < V1_8 {
            let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
            body.extend(length.to_be_bytes());
            body.extend(bytes);
        } else {
            put_bytes(bytes, &mut body);
        }
    }
    if protocol >= V1_20_5 {
        body.push(1);
    }
    encode_frame(1, &body)
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

#[cfg(test)]
#[path = "backend_tests.rs"]
mod tests;
