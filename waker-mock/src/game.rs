//! Enough Minecraft to answer a status ping and to greet a login by the name of the server.

use std::io;
use std::time::Duration;

use automc_router::protocol::handshake::{Handshake, Intent};
use automc_router::protocol::legacy::{self, Opening};
use automc_router::protocol::status::{PROTOCOL_MAX, StatusRequest, pong};
use automc_router::protocol::{
    HANDSHAKE_FRAME_BYTES_MAX, LOGIN_START_FRAME_BYTES_MAX, STATUS_FRAME_BYTES_MAX, decode_frame,
    encode_frame, login, put_string,
};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Longest time one connection may take in all.
pub const TALK_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests answered on one status connection; clients send two.
const STATUS_REQUESTS_MAX: usize = 4;
/// How long more of a legacy ping is waited for.
const LEGACY_WAIT: Duration = Duration::from_millis(500);
/// How long the client may take to hang up after the last answer.
const LINGER: Duration = Duration::from_secs(2);
/// Bytes read at once.
const CHUNK_BYTES: usize = 1024;
/// Players the status says there is room for.
const PLAYERS_MAX: u32 = 20;

/// The text a login is greeted with.
#[must_use]
pub fn greeting(server: &str) -> String {
    format!("{server} is running. This is a stand-in server.")
}

/// Serves one connection to its end, within [`TALK_TIMEOUT`]; what the client does wrong ends it.
pub(crate) async fn talk<S: AsyncRead + AsyncWrite + Unpin>(stream: S, server: &str) {
    let mut client = Client {
        stream,
        unread: Vec::new(),
    };
    if let Ok(Err(error)) = timeout(TALK_TIMEOUT, client.serve(server)).await {
        tracing::debug!(server, %error, "a game connection ended early");
    }
}

struct Client<S> {
    stream: S,
    unread: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    async fn serve(&mut self, server: &str) -> io::Result<()> {
        if !self.answered_legacy(server).await? {
            let handshake = Handshake::decode(&self.frame(HANDSHAKE_FRAME_BYTES_MAX).await?);
            let handshake = handshake.map_err(io::Error::other)?;
            match handshake.intent {
                Intent::Status => self.status(handshake.protocol, server).await?,
                Intent::Login | Intent::Transfer => self.login(server).await?,
            }
        }
        self.stream.shutdown().await?;
        // Closing with bytes unread would reset the connection before the answer is read.
        let mut rest = [0; CHUNK_BYTES];
        let drained = async {
            while self.stream.read(&mut rest).await? > 0 {}
            Ok(())
        };
        timeout(LINGER, drained).await.unwrap_or(Ok(()))
    }

    /// Answers a ping from before 1.7; `false`, and nothing lost, if this is not one.
    async fn answered_legacy(&mut self, server: &str) -> io::Result<bool> {
        loop {
            let ping = match legacy::opening(&self.unread).map_err(io::Error::other)? {
                Opening::Modern => return Ok(false),
                Opening::Legacy(ping) => ping,
                Opening::More => {
                    self.read_more(legacy::LEGACY_PING_BYTES_MAX).await?;
                    continue;
                }
                Opening::LegacyUnlessMore(ping) => {
                    let more = self.read_more(legacy::LEGACY_PING_BYTES_MAX);
                    match timeout(LEGACY_WAIT, more).await {
                        Ok(Ok(())) => continue,
                        Ok(Err(_)) | Err(_) => ping,
                    }
                }
            };
            let answer = legacy::response(&ping, &greeting(server));
            self.stream.write_all(&answer).await?;
            return Ok(true);
        }
    }

    async fn status(&mut self, protocol: i32, server: &str) -> io::Result<()> {
        for _ in 0..STATUS_REQUESTS_MAX {
            let request = StatusRequest::decode(&self.frame(STATUS_FRAME_BYTES_MAX).await?);
            match request.map_err(io::Error::other)? {
                StatusRequest::Status => {
                    let answer = status_response(protocol, server);
                    self.stream.write_all(&answer).await?;
                }
                StatusRequest::Ping(payload) => return self.stream.write_all(&pong(payload)).await,
            }
        }
        Ok(())
    }

    async fn login(&mut self, server: &str) -> io::Result<()> {
        let start = self.frame(LOGIN_START_FRAME_BYTES_MAX).await?;
        let player = login::decode_start(&start).map_err(io::Error::other)?;
        tracing::info!(server, player, "greeted a player");
        let answer = login::disconnect(&greeting(server));
        self.stream.write_all(&answer).await
    }

    /// The body of the next frame, of at most `max` bytes.
    async fn frame(&mut self, max: usize) -> io::Result<Vec<u8>> {
        loop {
            let frame = decode_frame(&self.unread, max).map_err(io::Error::other)?;
            if let Some((body, taken)) = frame {
                let body = body.to_vec();
                self.unread.drain(..taken);
                return Ok(body);
            }
            self.read_more(max + CHUNK_BYTES).await?;
        }
    }

    /// Reads something, as long as no more than `max` bytes wait to be understood.
    async fn read_more(&mut self, max: usize) -> io::Result<()> {
        let mut chunk = [0; CHUNK_BYTES];
        let count = self.stream.read(&mut chunk).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.unread.extend(chunk.iter().take(count));
        if self.unread.len() > max + CHUNK_BYTES {
            return Err(io::Error::other("more bytes than any packet here has"));
        }
        Ok(())
    }
}

fn status_response(protocol: i32, server: &str) -> Vec<u8> {
    // The client's own number, so that its list shows the text and not "outdated".
    let protocol = protocol.clamp(0, PROTOCOL_MAX);
    let status = json!({
        "version": { "name": "waker-mock", "protocol": protocol },
        "players": { "max": PLAYERS_MAX, "online": 0 },
        "description": { "text": greeting(server) },
    });
    let mut body = Vec::new();
    put_string(&status.to_string(), &mut body);
    encode_frame(0, &body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::duplex;

    async fn answer_to(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut client, server) = duplex(64 * 1024);
        let served = tokio::spawn(async move { talk(server, "survival").await });
        for piece in pieces {
            client.write_all(piece).await.unwrap();
        }
        client.shutdown().await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        served.await.unwrap();
        answer
    }

    fn hello(protocol: i32, intent: Intent) -> Vec<u8> {
        let handshake = Handshake {
            protocol,
            address: "survival.example.com".to_owned(),
            port: 25565,
            intent,
        };
        handshake.encode()
    }

    #[tokio::test]
    async fn a_login_is_greeted_by_the_servers_name_in_pieces_or_at_once() {
        let mut start = Vec::new();
        put_string("Alex", &mut start);
        let sent = [hello(767, Intent::Transfer), encode_frame(0, &start)].concat();

        let at_once = answer_to(&[&sent]).await;
        let pieces: Vec<&[u8]> = sent.chunks(1).collect();

        assert_eq!(at_once, login::disconnect(&greeting("survival")));
        assert_eq!(answer_to(&pieces).await, at_once);
    }

    #[tokio::test]
    async fn a_status_names_the_server_and_echoes_version_and_ping() {
        let status = StatusRequest::Status.encode();
        let ping = StatusRequest::Ping(*b"12345678").encode();
        let answer = answer_to(&[&hello(47, Intent::Status), &status, &ping]).await;

        let text = String::from_utf8_lossy(&answer);
        assert!(text.contains("survival is running"), "{text}");
        assert!(text.contains("\"protocol\":47"), "{text}");
        assert!(answer.ends_with(&pong(*b"12345678")));
    }

    #[tokio::test]
    async fn a_ping_from_before_1_7_is_answered() {
        let answer = answer_to(&[&[0xFE, 0x01]]).await;

        assert_eq!(answer.first(), Some(&0xFF));
    }

    #[tokio::test]
    async fn nonsense_and_silence_get_no_answer() {
        assert_eq!(answer_to(&[&[0xFF; 64]]).await, b"");
        assert_eq!(answer_to(&[]).await, b"");
    }
}
