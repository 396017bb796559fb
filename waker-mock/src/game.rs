//! Enough Minecraft to answer a status ping and to greet a login by the name of the server.

use std::time::Duration;

use anyhow::Result;
use automc_router::answer;
use automc_router::greet::greet;
use automc_router::protocol::greeting::Greeting;
use automc_router::protocol::status::Shown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::faults::{Manners, STILL_STARTING};

/// Longest time one connection may take in all.
pub const TALK_TIMEOUT: Duration = Duration::from_secs(10);
/// Players the status says there is room for.
const PLAYERS_MAX: u32 = 20;

/// The text a login is greeted with.
#[must_use]
pub fn greeting(server: &str) -> String {
    format!("{server} is running. This is a stand-in server.")
}

/// Serves one connection to its end, within [`TALK_TIMEOUT`]; what the client does wrong ends it.
/// The port has been `opened` for so long.
pub(crate) async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    server: &str,
    manners: Manners,
    opened: Duration,
) {
    let served = serve(stream, server, manners, opened);
    if let Ok(Err(error)) = timeout(TALK_TIMEOUT, served).await {
        tracing::debug!(server, %error, "a game connection ended early");
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut client: S,
    server: &str,
    manners: Manners,
    opened: Duration,
) -> Result<()> {
    let (greeted, bytes) = greet(&mut client).await?;
    let text = greeting(server);
    match greeted {
        Greeting::Legacy(_) | Greeting::Status { .. } if manners.no_status => {}
        Greeting::Login { .. } if opened < manners.still_starting => {
            answer::disconnect(&mut client, STILL_STARTING).await?;
        }
        Greeting::Legacy(ping) => answer::legacy_ping(&mut client, &ping, &text).await?,
        Greeting::Status { handshake, length } => {
            let early = bytes.get(length..).unwrap_or_default();
            let shown = Shown {
                version: "waker-mock",
                players_max: PLAYERS_MAX,
                text: &text,
            };
            answer::status(&mut client, early, handshake.protocol, shown).await?;
        }
        Greeting::Login { player, .. } => {
            tracing::info!(server, player, "greeted a player");
            answer::disconnect(&mut client, &text).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use automc_router::protocol::handshake::{Handshake, Intent};
    use automc_router::protocol::status::{StatusRequest, pong};
    use automc_router::protocol::{encode_frame, login, put_string};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    async fn answer_to(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut client, server) = duplex(64 * 1024);
        let served = tokio::spawn(async move {
            talk(server, "survival", Manners::default(), Duration::ZERO).await;
        });
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
        assert!(text.contains("\"name\":\"waker-mock\""), "{text}");
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
