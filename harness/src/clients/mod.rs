//! Minecraft as others have written it: the scripts in `harness/clients`, as child processes that say
//! what happens to them.

pub mod data;
mod install;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

pub use self::install::{node_is_here, python_is_here};
use crate::process::Process;

/// The versions that the tests play: each of the forms that a login has had, and the newest.
pub const VERSIONS: [&str; 15] = [
    "1.7", "1.8.8", "1.12.2", "1.13.2", "1.16.5", "1.18.2", "1.19.2", "1.20.1", "1.20.4", "1.20.6",
    "1.21.4", "1.21.8", "1.21.11", "26.1", "26.3",
];
/// The first protocol with Login Plugin Requests (1.13).
pub const LOGIN_PLUGIN_PROTOCOL: u64 = 393;
/// Longest time until something that a script is about to do has happened: seconds, on a machine
/// on which many of them start at once.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A script that runs. Killed when dropped.
#[derive(Debug)]
pub struct Script(Process);

impl Script {
    async fn node<const N: usize>(script: &str, arguments: [&str; N]) -> Result<Self> {
        let modules = install::node().await?.join("node_modules");
        let environment = [("NODE_PATH".to_owned(), modules.display().to_string())];
        let script = folder().join(script).display().to_string();
        let arguments = std::iter::once(&*script).chain(arguments);
        let process = Process::start(Path::new("node"), arguments, environment)?;
        Ok(Self(process))
    }

    /// Waits until it says that `event` has happened, and hands back what else it says of it.
    ///
    /// # Errors
    /// It does not within [`DEADLINE`]; the error shows what it has said.
    pub async fn event(&self, event: &str) -> Result<Value> {
        let mark = format!(r#"{{"event":"{event}""#);
        let line = self.0.line_with(&[&mark], DEADLINE).await?;
        serde_json::from_str(&line).with_context(|| line.clone())
    }

    /// What it has said of all `event`s so far, in order.
    #[must_use]
    pub fn events(&self, event: &str) -> Vec<Value> {
        let lines = self.0.log();
        let said = lines
            .iter()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        said.filter(|said| said["event"] == event).collect()
    }

    /// Has servers of [`serve`] listen, all at once, and waits until they do.
    ///
    /// # Errors
    /// One does not within [`DEADLINE`].
    pub async fn listen(servers: impl IntoIterator<Item = &Self> + Clone) -> Result<()> {
        for server in servers.clone() {
            server.event("loaded").await?;
            server.0.signal("USR2").await?;
        }
        for server in servers {
            server.event("ready").await?;
        }
        Ok(())
    }

    /// Everything it has printed.
    #[must_use]
    pub fn said(&self) -> String {
        self.0.tail(usize::MAX)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It fails, or goes on for longer than [`DEADLINE`]; the error shows what it has printed.
    pub async fn succeed(&mut self) -> Result<()> {
        let status = self.0.exit(DEADLINE).await?;
        ensure!(status.success(), "{status}:\n{}", self.said());
        Ok(())
    }
}

/// Who joins, and by which name of the server.
#[derive(Debug, Clone)]
pub struct Guest {
    /// Minecraft's version.
    pub version: String,
    /// The player's name.
    pub name: String,
    /// The host name typed, which leads to the router.
    pub typed: String,
}

impl Guest {
    async fn go(&self, script: &str, router: SocketAddr) -> Result<Script> {
        let (host, port) = (router.ip().to_string(), router.port().to_string());
        let arguments = [&*host, &*port, &*self.version, &*self.name, &*self.typed];
        Script::node(script, arguments).await
    }

    /// Joins with minecraft-protocol. Says `connected`, `asked` of every Login Plugin Request,
    /// `refused`, `transferred`, upon which it comes back, and `in` when the server has sent back what it sent from within the game. Then it
    /// ends, with success.
    ///
    /// # Errors
    /// It cannot be installed or started.
    pub async fn join(&self, router: SocketAddr) -> Result<Script> {
        self.go("join.js", router).await
    }

    /// Joins with mineflayer, which plays: it comes into the world, and says `in` when it hears its
    /// own words. Otherwise as [`Self::join`].
    ///
    /// # Errors
    /// It cannot be installed or started.
    pub async fn play(&self, router: SocketAddr) -> Result<Script> {
        self.go("bot.js", router).await
    }
}

/// What a server does with those who log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Lets them in.
    Offline,
    /// Encrypts first and, from 1.13 on, sends a Login Plugin Request of its own, as servers in online
    /// mode and servers behind proxies do; nobody is asked who the player is.
    Online,
}

/// A server of minecraft-protocol on loopback, which does not listen before [`Script::listen`]. Says
/// `loaded`, `ready`, `handshake`, `answered` of its own request, `joined` and `left`.
///
/// # Errors
/// It cannot be installed or started.
pub async fn serve(version: &str, port: u16, manner: Manner) -> Result<Script> {
    let manner = match manner {
        Manner::Offline => "offline",
        Manner::Online => "online",
    };
    Script::node("serve.js", [version, &port.to_string(), manner]).await
}

/// A flying-squid server on loopback, with a world. Says `ready` and `joined`.
///
/// # Errors
/// It cannot be installed or started.
pub async fn squid(version: &str, port: u16) -> Result<Script> {
    Script::node("squid.js", [version, &port.to_string()]).await
}

/// What mcstatus reads at the host `typed` with the `protocol` of some client: `text`, `version`,
/// `protocol`, `online` and `max`.
///
/// # Errors
/// It cannot be installed or started, or does not understand an answer.
pub async fn status(router: SocketAddr, protocol: i32, typed: &str) -> Result<Value> {
    mcstatus(router, protocol, typed, None).await
}

/// How many `milliseconds` mcstatus waits for the answer to a ping before which it asked for no status.
///
/// # Errors
/// As for [`status`].
pub async fn ping(router: SocketAddr, protocol: i32, typed: &str) -> Result<Value> {
    mcstatus(router, protocol, typed, Some("ping")).await
}

/// What mcstatus reads with its ping from before 1.7: `text` and `version`.
///
/// # Errors
/// As for [`status`].
pub async fn legacy(router: SocketAddr) -> Result<Value> {
    mcstatus(router, 0, "", Some("legacy")).await
}

/// What minecraft-protocol reads at the host `typed` when it is to find out the version: `version`,
/// `protocol`, `online`, `description`, `latency`, and how long `modinfo` is, as `mods`.
///
/// # Errors
/// As for [`status`].
pub async fn node_ping(router: SocketAddr, typed: &str) -> Result<Value> {
    let (host, port) = (router.ip().to_string(), router.port().to_string());
    let script = Script::node("ping.js", [&*host, &*port, typed]);
    printed(script.await?).await
}

/// What a script prints that is done at once.
async fn printed(mut script: Script) -> Result<Value> {
    script.succeed().await?;
    let line = script.0.line_with(&["{"], DEADLINE).await?;
    serde_json::from_str(&line).with_context(|| line.clone())
}

async fn mcstatus(
    router: SocketAddr,
    protocol: i32,
    typed: &str,
    ping: Option<&str>,
) -> Result<Value> {
    let python = install::python().await?.join("bin").join("python");
    let script = folder().join("status.py").display().to_string();
    let (host, port) = (router.ip().to_string(), router.port().to_string());
    let protocol = protocol.to_string();
    let arguments = [&*script, &*host, &*port, &*protocol, typed];
    let process = Process::start(&python, arguments.into_iter().chain(ping), [])?;
    printed(Script(process)).await
}

/// Where the scripts are, and what they need.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}
