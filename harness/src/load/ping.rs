//! One look of a server list: connect, ask for the status, ping, leave.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use automc_router::protocol::status::{StatusRequest, pong};
use automc_router::protocol::{FRAME_BYTES_MAX, decode_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::door::Door;
use crate::player::Player;

/// Longest look.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// What comes back with the pong.
const PAYLOAD: [u8; 8] = *b"pingping";

/// A look, and what has to come of it.
#[derive(Debug)]
pub(super) struct Ping {
    at: SocketAddr,
    asked: Vec<u8>,
    /// The whole packet.
    pub(super) status: Vec<u8>,
}

impl Ping {
    /// Looks once to know what there is to see.
    pub(super) async fn learn(door: &Door) -> Result<Self> {
        let asked = Player::new(&door.host).status_bytes();
        let learning = async {
            let mut stream = TcpStream::connect(door.at).await.context("connect")?;
            stream.write_all(&asked).await.context("ask")?;
            let mut status = Vec::new();
            while decode_frame(&status, FRAME_BYTES_MAX)?.is_none() {
                let read = stream.read_buf(&mut status).await.context("status")?;
                ensure!(read > 0, "closed instead of a status");
            }
            anyhow::Ok(status)
        };
        let status = timeout(PING_TIMEOUT, learning)
            .await
            .context("no status")??;
        let at = door.at;
        Ok(Self { at, asked, status })
    }

    /// Looks, and checks that it sees the same.
    pub(super) async fn send(&self) -> Result<()> {
        let looking = async {
            let mut stream = TcpStream::connect(self.at).await.context("connect")?;
            stream.set_nodelay(true)?;
            stream.write_all(&self.asked).await.context("ask")?;
            let mut status = vec![0; self.status.len()];
            stream.read_exact(&mut status).await.context("status")?;
            ensure!(status == self.status, "another status than before");
            let ping = StatusRequest::Ping(PAYLOAD).encode();
            stream.write_all(&ping).await.context("ping")?;
            let mut back = pong(PAYLOAD);
            stream.read_exact(&mut back).await.context("pong")?;
            ensure!(back == pong(PAYLOAD), "another pong");
            anyhow::Ok(())
        };
        timeout(PING_TIMEOUT, looking).await.context("no answer")?
    }
}
