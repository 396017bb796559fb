//! The router under test, as a process that nothing is known of but its flags.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use hyper::Method;
use tokio::net::TcpStream;

use crate::backend::Backend;
use crate::eventually::eventually;
use crate::http::{self, Answer};
use crate::player::{Joined, Player};
use crate::process::Process;

/// Longest time it may take to start or to stop.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);
/// Ports that the system gives to nobody who has not asked for one by its number: `ip_local_port_range`
/// begins at 32768.
const PORTS: (u16, u16) = (12_000, 20_000);

/// A running router. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) process: Process,
    pub(super) players: SocketAddr,
    pub(super) api: SocketAddr,
}

impl Subject {
    /// Starts `program` with these flags and this environment, on free ports, and waits until it listens.
    pub(super) async fn start(
        program: &Path,
        flags: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        let (players, api) = (free()?, free()?);
        // Without the last one mc-router takes one connection a second.
        let own = [
            "-port",
            &players.port().to_string(),
            &format!("-api-binding={api}"),
            "-connection-rate-limit=1000",
        ];
        let flags = own.iter().chain(flags).copied();
        Self::listening(program, flags, environment, players, api).await
    }

    /// The same with nothing but what is given, which must name these addresses.
    pub(super) async fn listening<'a>(
        program: &Path,
        flags: impl IntoIterator<Item = &'a str>,
        environment: &[(&str, &str)],
        players: SocketAddr,
        api: SocketAddr,
    ) -> Result<Self> {
        let text = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        let environment: Vec<_> = environment.iter().map(text).collect();
        let flags: Vec<_> = flags.into_iter().collect();
        let mut process = Process::start(program, flags, environment)?;
        let both = async || {
            TcpStream::connect(players).await?;
            TcpStream::connect(api).await
        };
        let what = format!("{players} and {api} to open");
        let open = tokio::select! {
            _ = process.exit(DEADLINE) => None,
            open = eventually(&what, DEADLINE, both) => Some(open),
        };
        // One that has ended may have left the address to somebody else who answers there.
        let log = || format!("its log:\n{}", process.tail(30));
        match open {
            Some(open) => open.with_context(log)?,
            None => anyhow::bail!("it has ended; {}", log()),
        };
        Ok(Self {
            process,
            players,
            api,
        })
    }

    /// Sends a request to the API.
    pub(super) async fn api(&self, method: Method, path: &str, body: &str) -> Result<Answer> {
        let url = format!("http://{}{path}", self.api);
        http::request(method, &url, &[], body.to_owned()).await
    }

    /// Logs in as `player`, who has to get to `backend`, with every byte as it was sent.
    pub(super) async fn leads(&self, player: &Player, backend: &Backend) -> Result<()> {
        let before = backend.logins().len();
        let what = format!("{:?}, protocol {}", player.address, player.protocol);
        let entered = player.enter(self.players).await;
        entered.with_context(|| what.clone())?;
        let logins = backend.logins();
        let login = logins.get(before);
        let login = login.with_context(|| format!("{what}: not led to {}", backend.name()))?;
        anyhow::ensure!(
            login.bytes == player.login_bytes(),
            "{what}: the server got other bytes"
        );
        Ok(())
    }

    /// The same as soon as what was changed is noticed.
    pub(super) async fn soon_leads(&self, host: &str, backend: &Backend) -> Result<()> {
        let player = Player::new(host);
        let what = format!("{host} to be led to {}", backend.name());
        eventually(&what, DEADLINE, async || self.leads(&player, backend).await).await
    }

    /// Lets nobody in at this host as soon as what was changed is noticed.
    pub(super) async fn soon_leads_nowhere(&self, host: &str) -> Result<()> {
        let player = Player::new(host);
        let what = format!("{host} to lead nowhere");
        eventually(&what, DEADLINE, async || {
            !matches!(player.join(self.players).await, Ok(Joined::In(_)))
        })
        .await
    }

    /// Pings as a server list does with this address, and has to see `backend`.
    pub(super) async fn shows(&self, address: &str, backend: &Backend) -> Result<()> {
        let status = Player::new(address).status(self.players).await;
        let status = status.with_context(|| format!("{address:?}"))?;
        let seen = status.text();
        anyhow::ensure!(seen == backend.name(), "{address:?} shows {seen:?}");
        Ok(())
    }
}

/// An address on loopback that nobody listens on.
pub(super) fn free() -> Result<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let (first, last) = PORTS;
    let span = last - first;
    // Processes that do this at the same time begin far from each other, though their ids are neighbours.
    let begin = std::process::id().wrapping_mul(2_654_435_761) % u32::from(span);
    let begin = u16::try_from(begin).unwrap_or_default();
    for _ in 0..span {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % span;
        let port = first + (begin + step) % span;
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        }
    }
    anyhow::bail!("no port from {first} to {last} is free")
}
