//! A player's connection from login start on: it answers as its version does, and keeps a record
//! of what it was sent and when.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use automc_router::protocol::{TEXT_CHARS_MAX, decode_frame};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::packets::{self, Packet};
use super::version::V1_20_5;
use super::{IDLE_READ_TIMEOUT, Player};

/// Longest frame it takes before it is in the game.
pub(super) const FRAME_BYTES_MAX: usize = TEXT_CHARS_MAX * 4;

/// What came of a login.
#[derive(Debug)]
pub enum Joined {
    /// A server let the player in; what is read and written now goes to and from it.
    In(Session),
    /// The login was refused with this text.
    Refused(String),
}

/// How a state of the connection ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// With Login Success: by a server's, the player is in; by the router's, it is about to be held
    /// in the configuration state.
    In,
    /// With this text component, and the end of the connection.
    Refused(Value),
    /// With the word to go there; the player has hung up.
    Transferred {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
}

/// Something a player was sent.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When it was complete.
    pub at: Instant,
    /// What it was.
    pub packet: Packet,
}

/// A player who has knocked.
#[derive(Debug)]
pub struct Session<S = TcpStream> {
    /// The connection.
    pub stream: S,
    /// Who it is, with the cookies it has by now.
    pub player: Box<Player>,
    /// What it was sent up to the end of login or configuration.
    pub seen: Vec<Seen>,
    began: Instant,
    buffer: Vec<u8>,
    success: Option<Vec<u8>>,
    configuring: bool,
}

impl<S> Session<S> {
    pub(super) fn new(player: Player, stream: S) -> Self {
        Self {
            stream,
            player: Box::new(player),
            seen: Vec::new(),
            began: Instant::now(),
            buffer: Vec::new(),
            success: None,
            configuring: false,
        }
    }

    /// Longest time between two packets so far, or from the knock to the first.
    #[must_use]
    pub fn longest_silence(&self) -> Duration {
        let mut last = self.began;
        let gaps = self.seen.iter().map(|seen| {
            let gap = seen.at.duration_since(last);
            last = seen.at;
            gap
        });
        gaps.max().unwrap_or_default()
    }

    /// The dialogs shown, in order.
    #[must_use]
    pub fn dialogs(&self) -> Vec<&Value> {
        let dialogs = self.seen.iter().filter_map(|seen| match &seen.packet {
            Packet::ShowDialog(dialog) => Some(dialog),
            _ => None,
        });
        dialogs.collect()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Takes one packet and answers it as the version does; how the state ended, if it has.
    ///
    /// May be given up and called again.
    ///
    /// # Errors
    /// Nothing comes for as long as a client waits, or something at which it would give up.
    pub async fn step(&mut self) -> Result<Option<Outcome>> {
        let body = self.frame().await?;
        let protocol = self.player.protocol;
        let packet = if self.configuring {
            Packet::in_configuration(protocol, &body)?
        } else {
            Packet::in_login(protocol, &body)?
        };
        self.seen.push(Seen {
            at: Instant::now(),
            packet: packet.clone(),
        });
        let answer = match packet {
            Packet::PluginRequest { id, .. } => packets::plugin_response(id),
            Packet::EncryptionRequest => packets::encryption_response(protocol),
            Packet::CookieRequest { key } => {
                let id = if self.configuring { 1 } else { 4 };
                packets::cookie_response(id, &key, self.player.cookies.get(&key))
            }
            Packet::KeepAlive(id) => packets::keep_alive(id),
            Packet::Ping(id) => packets::pong(id),
            Packet::SetCompression(threshold) => {
                ensure!(
                    threshold < 0,
                    "compression, which this player does not speak"
                );
                return Ok(None);
            }
            Packet::StoreCookie { key, payload } => {
                self.player.cookies.insert(key, payload);
                return Ok(None);
            }
            Packet::ShowDialog(_) | Packet::ClearDialog => return Ok(None),
            Packet::Success => {
                self.success = Some(body);
                return Ok(Some(Outcome::In));
            }
            Packet::Disconnect(component) => {
                self.hang_up().await?;
                return Ok(Some(Outcome::Refused(component)));
            }
            Packet::Transfer { host, port } => {
                self.stream.shutdown().await?;
                return Ok(Some(Outcome::Transferred { host, port }));
            }
        };
        self.stream.write_all(&answer).await?;
        Ok(None)
    }

    /// Answers until the state ends.
    ///
    /// # Errors
    /// As for [`Self::step`].
    pub async fn wait(&mut self) -> Result<Outcome> {
        loop {
            if let Some(outcome) = self.step().await? {
                return Ok(outcome);
            }
        }
    }

    /// After a Login Success of the router: goes on to the configuration state and answers until
    /// it ends.
    ///
    /// # Errors
    /// No such Login Success as the version expects, or as for [`Self::step`].
    pub async fn configure(&mut self) -> Result<Outcome> {
        self.acknowledge().await?;
        self.wait().await
    }

    /// The first part of [`Self::configure`]: acknowledges Login Success, and says what it is and
    /// which language it speaks.
    ///
    /// # Errors
    /// As for [`Self::configure`].
    pub async fn acknowledge(&mut self) -> Result<()> {
        let Player {
            protocol,
            name,
            locale,
            brand,
            ..
        } = &*self.player;
        ensure!(*protocol >= V1_20_5, "{protocol} cannot be transferred");
        let success = self.success.take().context("no login success")?;
        packets::check_success(*protocol, &success, name)?;
        let said = [
            packets::login_acknowledged(),
            packets::brand(brand),
            packets::client_information(*protocol, locale),
        ];
        self.configuring = true;
        Ok(self.stream.write_all(&said.concat()).await?)
    }

    /// Clicks on what sends `id` back, which a dialog must have offered.
    ///
    /// # Errors
    /// No dialog is shown that has it, or the connection fails.
    pub async fn click(&mut self, id: &str) -> Result<()> {
        let dialogs = self.seen.iter().rev().find_map(|seen| match &seen.packet {
            Packet::ShowDialog(dialog) => Some(dialog.to_string()),
            Packet::ClearDialog => Some(String::new()),
            _ => None,
        });
        let shown = dialogs.unwrap_or_default();
        ensure!(shown.contains(&format!("{id:?}")), "no {id} in {shown:?}");
        Ok(self.stream.write_all(&packets::click(id)).await?)
    }

    /// Reads one frame; what follows it stays in the socket.
    pub(super) async fn frame(&mut self) -> Result<Vec<u8>> {
        let patience = self.player.patience();
        loop {
            if let Some((body, length)) = decode_frame(&self.buffer, FRAME_BYTES_MAX)? {
                let body = body.to_vec();
                self.buffer.drain(..length);
                return Ok(body);
            }
            // Byte by byte, so that nothing of the game is taken out of the socket.
            let byte = timeout(patience, self.stream.read_u8()).await;
            let byte = byte
                .with_context(|| format!("timed out, as a real client does after {patience:?}"))?;
            self.buffer.push(byte?);
        }
    }

    async fn hang_up(&mut self) -> Result<()> {
        let mut rest = Vec::new();
        let patience = self.player.patience();
        timeout(patience, self.stream.read_to_end(&mut rest)).await??;
        ensure!(rest.is_empty(), "bytes after the refusal");
        Ok(())
    }
}

impl Session {
    /// Waits to be let in or refused, and answers until then.
    ///
    /// # Errors
    /// The server says nothing, or what no server says here.
    pub async fn welcome(mut self) -> Result<Joined> {
        match self.wait().await.context("login")? {
            Outcome::In => Ok(Joined::In(self)),
            Outcome::Refused(component) => Ok(Joined::Refused(packets::reason(&component)?)),
            other @ Outcome::Transferred { .. } => bail!("{other:?} in answer to a login"),
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

#[cfg(test)]
mod tests;
