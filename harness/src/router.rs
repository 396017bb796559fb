//! The router under test: as the real binary, or in this process.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use automc_router::config::{Config, SPEC};
use automc_router::run::Router;
use hyper::Method;
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::eventually::eventually;
use crate::http::{self, Answer};
use crate::metrics::Metrics;
use crate::process::Process;
use crate::{binaries, postgres};

/// Longest time a router may take to start.
pub const START_DEADLINE: Duration = Duration::from_secs(20);
/// Longest time until the log says what it is to say.
const LOG_DEADLINE: Duration = Duration::from_secs(30);

/// What lets any load come from one address.
pub const UNLIMITED: [(&str, &str); 4] = [
    ("AUTOMC_CONNECTIONS_PER_ADDRESS", "off"),
    ("AUTOMC_CONNECTS_PER_ADDRESS", "off"),
    ("AUTOMC_LOGINS_PER_ADDRESS", "off"),
    ("AUTOMC_PINGS_PER_ADDRESS", "off"),
];

/// How a router is set up: flags and environment, as a user would give them.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    flags: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Settings {
    /// Nothing but what every test needs: free ports, on loopback for the API, no limits of one
    /// client address, since everybody comes from one, and no pings of backends but those of players.
    #[must_use]
    pub fn new() -> Self {
        let settings = Self::default()
            .flag("--port=0")
            .flag("--api-binding=127.0.0.1:0")
            .env("AUTOMC_HEALTH_INTERVAL", "0");
        UNLIMITED
            .into_iter()
            .fold(settings, |settings, (name, off)| settings.env(name, off))
    }

    /// The same, and a configuration file with `text` in it, there for as long as its folder.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn file(text: &str) -> Result<(TempDir, Self)> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("router.toml");
        std::fs::write(&path, text)?;
        let settings = Self::new().flag(format!("--config={}", path.display()));
        Ok((folder, settings))
    }

    /// Adds a flag.
    #[must_use]
    pub fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Wakes through the server-manager at `url`, which is polled every 50 ms, for up to 20 s.
    /// A variable set before or after this says otherwise.
    #[must_use]
    pub fn waker(mut self, url: &str) -> Self {
        let defaults = [
            ("AUTOMC_WAKER_URL", url),
            ("AUTOMC_WAKER_POLL_INTERVAL", "50ms"),
            ("AUTOMC_WAKER_TIMEOUT", "20s"),
        ];
        // The last of a name counts, so in front is behind whatever was set before.
        let defaults = defaults.map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.environment.splice(0..0, defaults);
        self
    }

    /// With the limits of one client address that hold unless told otherwise.
    #[must_use]
    pub fn limited(mut self) -> Self {
        let limit = |name: &str| UNLIMITED.iter().any(|(off, _)| *off == name);
        self.environment.retain(|(name, _)| !limit(name));
        self
    }

    /// Health is learnt as it is unless told otherwise.
    #[must_use]
    pub fn of_interest(mut self) -> Self {
        self.environment
            .retain(|(name, _)| name != "AUTOMC_HEALTH_INTERVAL");
        self
    }

    /// Routes from `database`.
    #[must_use]
    pub fn database(self, database: &postgres::Database) -> Self {
        self.env("AUTOMC_DSN", database.dsn())
    }
}

/// Where a router is, however it runs.
#[derive(Debug, Clone)]
pub struct Address {
    /// For players.
    pub players: SocketAddr,
    /// For the API.
    pub api: SocketAddr,
}

impl Address {
    /// Sends a request to the API.
    ///
    /// # Errors
    /// No answer.
    pub async fn api(&self, method: Method, path: &str, body: &str) -> Result<Answer> {
        http::request(
            method,
            &format!("http://{}{path}", self.api),
            &[],
            body.to_owned(),
        )
        .await
    }

    /// The routes: host to backend.
    ///
    /// # Errors
    /// No answer, or another shape than mc-router's.
    pub async fn routes(&self) -> Result<BTreeMap<String, String>> {
        let answer = self.api(Method::GET, "/routes", "").await?;
        ensure!(answer.status == 200, "GET /routes: {answer:?}");
        let json = answer.json()?;
        let entry = |(host, route): (&String, &serde_json::Value)| {
            let backend = route.get("backend").and_then(serde_json::Value::as_str);
            Ok((
                host.clone(),
                backend
                    .with_context(|| format!("route {route}"))?
                    .to_owned(),
            ))
        };
        json.as_object()
            .context("GET /routes is no object")?
            .iter()
            .map(entry)
            .collect()
    }

    /// `GET /sync`.
    ///
    /// # Errors
    /// No answer, or no JSON.
    pub async fn sync(&self) -> Result<serde_json::Value> {
        self.api(Method::GET, "/sync", "").await?.json()
    }

    /// `GET /metrics`.
    ///
    /// # Errors
    /// No answer.
    pub async fn metrics(&self) -> Result<Metrics> {
        let answer = self.api(Method::GET, "/metrics", "").await?;
        ensure!(answer.status == 200, "GET /metrics: {answer:?}");
        Ok(Metrics::new(answer.body))
    }

    /// Waits until `host` leads to `backend`, or nowhere for `None`.
    ///
    /// # Errors
    /// It does not within `deadline`.
    pub async fn routed(
        &self,
        host: &str,
        backend: Option<&str>,
        deadline: Duration,
    ) -> Result<()> {
        eventually(&format!("{host} → {backend:?}"), deadline, async || {
            let routes = self.routes().await?;
            let found = routes.get(host).map(String::as_str);
            ensure!(found == backend, "{host} → {found:?}");
            Ok(())
        })
        .await
    }

    /// Waits until there is a route for `host`.
    ///
    /// # Errors
    /// There is none within `deadline`.
    pub async fn has(&self, host: &str, deadline: Duration) -> Result<()> {
        eventually(&format!("a route for {host}"), deadline, async || {
            let routes = self.routes().await?;
            ensure!(routes.contains_key(host), "{routes:?}");
            Ok(())
        })
        .await
    }

    /// Waits until `GET /readyz` says ready.
    ///
    /// # Errors
    /// It does not within `deadline`.
    pub async fn ready(&self, deadline: Duration) -> Result<()> {
        eventually("the router to be ready", deadline, async || {
            let answer = self.api(Method::GET, "/readyz", "").await?;
            ensure!(answer.status == 200, "{answer:?}");
            Ok(())
        })
        .await
    }
}

/// The real binary, running.
#[derive(Debug)]
pub struct RouterProcess {
    /// The process.
    pub process: Process,
    /// Where it listens.
    pub at: Address,
}

impl RouterProcess {
    /// Starts it and waits until it listens; not until its routes are there.
    ///
    /// # Errors
    /// It does not start; the error shows its log.
    pub async fn start(settings: Settings) -> Result<Self> {
        Self::start_program(&binaries::router().await?, settings).await
    }

    /// The same with the binary at `program`.
    ///
    /// # Errors
    /// It does not start; the error shows its log.
    pub async fn start_program(program: &Path, settings: Settings) -> Result<Self> {
        let process = Process::start(program, settings.flags, settings.environment)?;
        Self::listening(process).await
    }

    /// The same with a process that has just been started, with an API.
    ///
    /// # Errors
    /// It does not listen; the error shows its log.
    pub async fn listening(process: Process) -> Result<Self> {
        let players = process
            .line_with(&["listening for players"], START_DEADLINE)
            .await?;
        let api = process
            .line_with(&["API listening"], START_DEADLINE)
            .await?;
        let at = Address {
            players: loopback(&players)?,
            api: loopback(&api)?,
        };
        Ok(Self { process, at })
    }

    /// Waits for a line of its log that has all `parts`, and hands it back.
    ///
    /// # Errors
    /// There is none in time.
    pub async fn says(&self, parts: &[&str]) -> Result<String> {
        self.process.line_with(parts, LOG_DEADLINE).await
    }
}

/// The address at the end of a log line, or in its JSON, reached over loopback.
fn loopback(line: &str) -> Result<SocketAddr> {
    let json = serde_json::from_str::<serde_json::Value>(line).unwrap_or_default();
    let text = line.rsplit_once("address=").map(|(_, address)| address);
    let address = json.get("address").and_then(serde_json::Value::as_str);
    let address = address.or(text);
    let address = address.with_context(|| line.to_owned())?;
    let address: SocketAddr = address.trim().parse().with_context(|| line.to_owned())?;
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())))
}

/// A router in this process; dropping it stops it at once.
#[derive(Debug)]
pub struct RouterInside {
    /// Where it listens.
    pub at: Address,
    _end: DropGuard,
}

impl RouterInside {
    /// Starts it.
    ///
    /// # Errors
    /// The settings are wrong, or a port is taken.
    pub fn start(settings: Settings) -> Result<Self> {
        let command = SPEC.flags(clap::Command::new("automc-router"));
        let flags = std::iter::once("automc-router".to_owned()).chain(settings.flags);
        let matches = command.try_get_matches_from(flags)?;
        let router = Router::start(Config::read(SPEC.load(&matches, settings.environment)?)?)?;
        let port = |address: SocketAddr| SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()));
        let at = Address {
            players: port(router.players),
            api: port(router.api.context("no API")?),
        };
        let end = CancellationToken::new();
        let (ended, stop, cut) = (end.clone(), router.stop_token(), router.cut_token());
        tokio::spawn(async move {
            ended.cancelled().await;
            stop.cancel();
            cut.cancel();
        });
        tokio::spawn(router.wait());
        Ok(Self {
            at,
            _end: end.drop_guard(),
        })
    }
}
