//! A Minecraft client as far as a router can tell: it greets, pings, joins, and gives up when a
//! real one would.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use automc_router::protocol::handshake::{Handshake, Intent};
use automc_router::protocol::status::StatusRequest;
use automc_router::protocol::{Reader, TEXT_CHARS_MAX, decode_frame, encode_frame, put_string};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a real client waits for the next byte, in every state since 1.8.
pub const IDLE_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after each piece of what is sent in pieces.
const PIECE_PAUSE: Duration = Duration::from_millis(2);
/// Longest frame it takes before it is in the game.
const FRAME_BYTES_MAX: usize = TEXT_CHARS_MAX * 4;

/// Who connects, with what, to which host.
#[derive(Debug, Clone)]
pub struct Player {
    /// The host name typed, with whatever mods and proxies append.
    pub address: String,
    /// The protocol number.
    pub protocol: i32,
    /// The name.
    pub name: String,
    /// Login or transfer.
    pub intent: Intent,
}

/// What came of a login.
#[derive(Debug)]
pub enum Joined {
    /// A server let the player in; what is read and written now goes to and from it.
    In(Session),
    /// The login was refused with this text.
    Refused(String),
}

/// A player in a game.
#[derive(Debug)]
pub struct Session {
    /// The connection.
    pub stream: TcpStream,
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
        let (protocol, intent) = (769, Intent::Login);
        Self {
            address: address.to_owned(),
            protocol,
            name: "Steve".to_owned(),
            intent,
        }
    }

    /// The bytes of handshake and login start.
    #[must_use]
    pub fn login_bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        put_string(&self.name, &mut body);
        body.extend([0x11; 16]);
        [self.handshake(self.intent), encode_frame(0, &body)].concat()
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
        let (protocol, address) = (self.protocol, self.address.clone());
        Handshake {
            protocol,
            address,
            port: 25565,
            intent,
        }
        .encode()
    }

    /// Connects and sends handshake and login start, and nothing more.
    ///
    /// # Errors
    /// The connection fails.
    pub async fn knock(&self, router: SocketAddr) -> Result<Session> {
        let mut stream = connect(router).await?;
        stream.write_all(&self.login_bytes()).await?;
        Ok(Session { stream })
    }

    /// Joins.
    ///
    /// # Errors
    /// The connection ends without a word, or the router is silent for [`IDLE_READ_TIMEOUT`].
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

    /// Asks for the status and pings, as a server list does.
    ///
    /// # Errors
    /// No status, or another pong than the ping.
    pub async fn status(&self, router: SocketAddr) -> Result<Status> {
        let mut stream = connect(router).await?;
        stream.write_all(&self.status_bytes()).await?;
        let mut buffer = Vec::new();
        let body = frame(&mut stream, &mut buffer).await.context("status")?;
        let mut reader = Reader::new(&body);
        reader.expect_id(0)?;
        let json = serde_json::from_str(reader.string(FRAME_BYTES_MAX, "the status")?)?;
        let ping = StatusRequest::Ping(*b"pingping");
        stream.write_all(&ping.encode()).await?;
        let pong = frame(&mut stream, &mut buffer).await.context("pong")?;
        ensure!(
            pong == [&[1][..], b"pingping"].concat(),
            "another pong than the ping"
        );
        Ok(Status { json })
    }
}

impl Session {
    /// Waits for what the server says first.
    ///
    /// # Errors
    /// It says nothing, or what no server says here.
    pub async fn welcome(mut self) -> Result<Joined> {
        let body = frame(&mut self.stream, &mut Vec::new())
            .await
            .context("login")?;
        let mut reader = Reader::new(&body);
        match reader.varint("the packet id")? {
            0 => {
                let json = reader.string(FRAME_BYTES_MAX, "the reason")?;
                let json: serde_json::Value = serde_json::from_str(json)?;
                let text = json.get("text").and_then(serde_json::Value::as_str);
                let text = text.context("the reason has no text")?.to_owned();
                let mut rest = Vec::new();
                timeout(IDLE_READ_TIMEOUT, self.stream.read_to_end(&mut rest)).await??;
                ensure!(rest.is_empty(), "bytes after the refusal");
                Ok(Joined::Refused(text))
            }
            2 => Ok(Joined::In(self)),
            id => bail!("packet {id:#x} in answer to a login"),
        }
    }

    /// Waits to be let in.
    ///
    /// # Errors
    /// It is refused, or [`Self::welcome`] fails.
    pub async fn enter(self) -> Result<Self> {
        match self.welcome().await? {
            Joined::In(session) => Ok(session),
            Joined::Refused(text) => bail!("refused: {text:?}"),
        }
    }

    /// Waits to be refused; the text.
    ///
    /// # Errors
    /// It is let in, or [`Self::welcome`] fails.
    pub async fn refusal(self) -> Result<String> {
        match self.welcome().await? {
            Joined::In(_) => bail!("let in, and should not have been"),
            Joined::Refused(text) => Ok(text),
        }
    }

    /// Sends `bytes` and reads as many back: what the server sees of them, if it echoes.
    ///
    /// # Errors
    /// The connection fails, or [`IDLE_READ_TIMEOUT`] passes.
    pub async fn echo(&mut self, bytes: &[u8]) -> Result<Vec<u8>> {
        let mut back = vec![0; bytes.len()];
        let (mut read, mut write) = self.stream.split();
        let exchange = async {
            tokio::try_join!(write.write_all(bytes), read.read_exact(&mut back)).map(drop)
        };
        timeout(IDLE_READ_TIMEOUT, exchange)
            .await
            .context("no echo")??;
        Ok(back)
    }
}

/// The bytes of a 1.6 ping to `host`, with protocol 78.
#[must_use]
pub fn ping_1_6(host: &str) -> Vec<u8> {
    let text = |text: &str| -> Vec<u8> {
        let units: Vec<u16> = text.encode_utf16().collect();
        let length = u16::try_from(units.len()).unwrap_or(u16::MAX);
        let all = std::iter::once(length).chain(units);
        all.flat_map(u16::to_be_bytes).collect()
    };
    let data = [&[78][..], &text(host), &25565_i32.to_be_bytes()].concat();
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
    let head = [&[0xFE, 0x01, 0xFA][..], &text("MC|PingHost")].concat();
    [&head[..], &length.to_be_bytes(), &data].concat()
}

/// A ping from before 1.7: the pieces it is sent in, the fields of the answer out.
///
/// # Errors
/// No answer, or not the packet due.
pub async fn legacy_ping<'a>(
    router: SocketAddr,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<String>> {
    let mut stream = connect(router).await?;
    for piece in pieces {
        stream.write_all(piece).await?;
        // So that it is a segment of its own, and mostly a read of its own.
        tokio::time::sleep(PIECE_PAUSE).await;
    }
    let mut answer = Vec::new();
    timeout(IDLE_READ_TIMEOUT, stream.read_to_end(&mut answer)).await??;
    let [0xFF, _, _, units @ ..] = answer.as_slice() else {
        bail!("answer {answer:x?}")
    };
    let units: Vec<u16> = units
        .chunks_exact(2)
        .map(|pair| {
            pair.iter()
                .fold(0, |unit, byte| unit << 8 | u16::from(*byte))
        })
        .collect();
    let text = String::from_utf16(&units)?;
    let separator = if text.starts_with("§1\0") {
        '\0'
    } else {
        '§'
    };
    Ok(text.split(separator).map(str::to_owned).collect())
}

async fn connect(router: SocketAddr) -> Result<TcpStream> {
    let stream = timeout(IDLE_READ_TIMEOUT, TcpStream::connect(router)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reads one frame; what follows it stays in the socket or in `buffer`.
async fn frame(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<Vec<u8>> {
    loop {
        if let Some((body, length)) = decode_frame(buffer, FRAME_BYTES_MAX)? {
            let body = body.to_vec();
            buffer.drain(..length);
            return Ok(body);
        }
        // Byte by byte, so that nothing of the game is taken out of the socket.
        let byte = timeout(IDLE_READ_TIMEOUT, stream.read_u8()).await;
        buffer.push(byte.context("timed out, as a real client does after 30 s")??);
    }
}
