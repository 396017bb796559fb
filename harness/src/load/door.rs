//! How players get in.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::behaviour::Behaviour;

/// Longest wait for a connection or for the server's first byte.
const ENTER_TIMEOUT: Duration = Duration::from_secs(10);
/// Players who join at once, when many do.
const JOINING_MAX: usize = 64;

/// Where players connect, and what they ask for.
#[derive(Debug, Clone)]
pub(super) struct Door {
    pub(super) at: SocketAddr,
    pub(super) host: String,
}

/// What a player says and hears first; the same for many.
#[derive(Debug, Clone)]
pub(super) struct Ticket {
    at: SocketAddr,
    greeting: Vec<u8>,
    welcome: Vec<u8>,
}

impl Door {
    pub(super) fn ticket(&self, behaviour: Behaviour) -> Ticket {
        Ticket {
            at: self.at,
            greeting: behaviour.greeting(&self.host),
            welcome: behaviour.welcome(),
        }
    }

    /// Lets `players` in; all of them or an error.
    pub(super) async fn enter_all(
        &self,
        behaviour: Behaviour,
        players: usize,
    ) -> Result<Vec<TcpStream>> {
        let (streams, trouble) = self.enter_many(behaviour, players).await;
        match trouble {
            Some(error) => Err(error.context(format!("player {}", streams.len() + 1))),
            None => Ok(streams),
        }
    }

    /// Lets in as many of `players` as get in before the first who does not.
    pub(super) async fn enter_many(
        &self,
        behaviour: Behaviour,
        players: usize,
    ) -> (Vec<TcpStream>, Option<anyhow::Error>) {
        let ticket = self.ticket(behaviour);
        let (mut streams, mut joining) = (Vec::with_capacity(players), JoinSet::new());
        loop {
            while joining.len() < JOINING_MAX && streams.len() + joining.len() < players {
                let ticket = ticket.clone();
                joining.spawn(async move { ticket.enter().await });
            }
            match joining.join_next().await {
                None => return (streams, None),
                Some(Ok(Ok(stream))) => streams.push(stream),
                Some(Ok(Err(error))) => return (streams, Some(error)),
                Some(Err(error)) => return (streams, Some(error.into())),
            }
        }
    }
}

impl Ticket {
    /// Connects, greets, and waits for the welcome, which is read whole: a socket closed with
    /// bytes unread would be reset.
    pub(super) async fn enter(&self) -> Result<TcpStream> {
        let entering = async {
            let mut stream = TcpStream::connect(self.at).await.context("connect")?;
            stream.set_nodelay(true)?;
            stream.write_all(&self.greeting).await.context("greet")?;
            let mut welcome = vec![0; self.welcome.len()];
            stream.read_exact(&mut welcome).await.context("welcome")?;
            ensure!(welcome == self.welcome, "another welcome: {welcome:x?}");
            Ok(stream)
        };
        let entered = timeout(ENTER_TIMEOUT, entering).await;
        entered.with_context(|| format!("not let in within {ENTER_TIMEOUT:?}"))?
    }
}
