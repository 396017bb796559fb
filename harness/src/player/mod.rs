//! A Minecraft client as far as a router can tell: it greets, pings, joins, waits while it is
//! held, and gives up when a real one would.

mod legacy;
mod packets;
mod session;
pub mod version;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use automc_router::protocol::Reader;
use automc_router::protocol::handshake::{Handshake, Intent};
use automc_router::protocol::status::StatusRequest;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

pub use legacy::{legacy_ping, ping_1_6};
pub use packets::{Packet, plain_text};
pub use session::{Joined, Outcome, Seen, Session};

/// How long a real client waits for the next byte, in every state since 1.8.
pub const IDLE_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// The same in 1.7.
pub const IDLE_READ_TIMEOUT_1_7: Duration = Duration::from_secs(20);

/// Who connects, with what, to which host.
#[derive(Debug, Clone)]
pub struct Player {
    /// The host name typed, with whatever mods and proxies append.
    pub address: String,
    /// The port typed.
    pub port: u16,
    /// The protocol number.
    pub protocol: i32,
    /// The name.
    pub name: String,
    /// The UUID, which versions since 1.19.1 tell.
    pub uuid: u128,
    /// Login or transfer.
    pub intent: Intent,
    /// How long it waits for the next byte; `None` as long as its version does.
    pub patience: Option<Duration>,
    /// What it says of its language in the configuration state.
    pub locale: String,
    /// What it says it is in the configuration state.
    pub brand: String,
    /// The cookies it was given, by their keys.
    pub cookies: BTreeMap<String, Vec<u8>>,
}

/// What a server list shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// The whole answer.
    pub json: serde_json::Value,
}

impl Status {
    /// The text under the server's name.
    #[must_use]
    pub fn text(&self) -> &str {
        let description = self.json.get("description");
        let text = description.and_then(|text| text.get("text").or(Some(text)));
        text.and_then(serde_json::Value::as_str).unwrap_or_default()
    }
}

impl Player {
    /// Steve, with 1.21.4, to `address`.
    #[must_use]
    pub fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            port: 25565,
            protocol: 769,
            name: "Steve".to_owned(),
            uuid: u128::from_be_bytes([0x11; 16]),
            intent: Intent::Login,
            patience: None,
            locale: "en_us".to_owned(),
            brand: "vanilla".to_owned(),
            cookies: BTreeMap::new(),
        }
    }

    /// The same player where a transfer sends it: its cookies go with it.
    #[must_use]
    pub fn transferred(&self, host: &str, port: u16) -> Self {
        Self {
            address: host.to_owned(),
            port,
            intent: Intent::Transfer,
            ..self.clone()
        }
    }

    /// How long it waits for the next byte.
    #[must_use]
    pub fn patience(&self) -> Duration {
        let of_version = if self.protocol < version::V1_8 {
            IDLE_READ_TIMEOUT_1_7
        } else {
            IDLE_READ_TIMEOUT
        };
        self.patience.unwrap_or(of_version)
    }

    /// The bytes of handshake and login start.
    #[must_use]
    pub fn login_bytes(&self) -> Vec<u8> {
        let start = packets::login_start(self.protocol, &self.name, self.uuid);
        [self.handshake(self.intent), start].concat()
    }

    /// The bytes of a status handshake and request.
    #[must_use]
    pub fn status_bytes(&self) -> Vec<u8> {
        [
            self.handshake(Intent::Status),
            StatusRequest::Status.encode(),
        ]
        .concat()
    }

    fn handshake(&self, intent: Intent) -> Vec<u8> {
        Handshake {
            protocol: self.protocol,
            address: self.address.clone(),
            port: self.port,
            intent,
        }
        .encode()
    }

    /// A conversation on `stream`, over which [`Self::login_bytes`] have gone.
    #[must_use]
    pub fn on<S>(&self, stream: S) -> Session<S> {
        Session::new(self.clone(), stream)
    }

    /// Connects and sends handshake and login start, and nothing more.
    ///
    /// # Errors
    /// The connection fails.
    pub async fn knock(&self, router: SocketAddr) -> Result<Session> {
        let mut stream = connect(router).await?;
        stream.write_all(&self.login_bytes()).await?;
        Ok(self.on(stream))
    }

    /// Joins.
    ///
    /// # Errors
    /// The connection ends without a word, or the router is silent for longer than a client waits.
    pub async fn join(&self, router: SocketAddr) -> Result<Joined> {
        self.knock(router).await?.welcome().await
    }

    /// Joins and expects to be let in.
    ///
    /// # Errors
    /// It is refused, or [`Self::join`] fails.
    pub async fn enter(&self, router: SocketAddr) -> Result<Session> {
        self.knock(router).await?.enter().await
    }

    /// Joins and expects to be refused; the text.
    ///
    /// # Errors
    /// It is let in, or [`Self::join`] fails.
    pub async fn refusal(&self, router: SocketAddr) -> Result<String> {
        self.knock(router).await?.refusal().await
    }

    /// Joins and expects to be held in the configuration state and transferred: what it saw there,
    /// and what came of the second connection, to the same router.
    ///
    /// # Errors
    /// It is refused while it is held, or not held but let in, or [`Self::join`] fails.
    pub async fn join_through_transfer(&self, router: SocketAddr) -> Result<(Session, Joined)> {
        let mut held = self.knock(router).await?;
        match held.wait().await? {
            Outcome::In => {}
            other => bail!("{other:?} where login success was due"),
        }
        match held.configure().await? {
            Outcome::Transferred { host, port } => {
                let arriving = held.player.transferred(&host, port);
                Ok((held, arriving.join(router).await?))
            }
            other => bail!("{other:?} where a transfer was due"),
        }
    }

    /// Asks for the status and pings, as a server list does.
    ///
    /// # Errors
    /// No status, or another pong than the ping.
    pub async fn status(&self, router: SocketAddr) -> Result<Status> {
        let mut stream = connect(router).await?;
        stream.write_all(&self.status_bytes()).await?;
        let mut session = self.on(stream);
        let body = session.frame().await.context("status")?;
        let mut reader = Reader::new(&body);
        reader.expect_id(0)?;
        let json = serde_json::from_str(reader.string(session::FRAME_BYTES_MAX, "the status")?)?;
        let ping = StatusRequest::Ping(*b"pingping");
        session.stream.write_all(&ping.encode()).await?;
        let pong = session.frame().await.context("pong")?;
        ensure!(
            pong == [&[1][..], b"pingping"].concat(),
            "another pong than the ping"
        );
        Ok(Status { json })
    }
}

async fn connect(router: SocketAddr) -> Result<TcpStream> {
    let stream = timeout(IDLE_READ_TIMEOUT, TcpStream::connect(router)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}
