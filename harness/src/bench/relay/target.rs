//! What is measured: direct connections, and relays, each started anew for every run.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::HOST;
use super::peers::{Ends, Machine, haproxy, haproxy_players_max, nginx};
use crate::eventually::eventually;
use crate::process::Process;
use crate::reaper::Reaper;
use crate::router::UNLIMITED;
use crate::usage::{family, files_max};

/// Where distributions keep nginx's stream module.
const NGINX_MODULES: [&str; 3] = [
    "/usr/lib/nginx/modules/ngx_stream_module.so",
    "/usr/lib64/nginx/modules/ngx_stream_module.so",
    "/usr/share/nginx/modules/ngx_stream_module.so",
];
/// Longest time to start or to stop.
const DEADLINE: Duration = Duration::from_secs(20);

/// Something between players and their server, or nothing.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// No relay.
    Direct,
    /// A router with mc-router's flags: ours, or a peer.
    Router(PathBuf),
    /// HAProxy; whether it may splice.
    Haproxy(PathBuf, bool),
    /// nginx's stream module.
    Nginx(PathBuf),
}

/// A running target. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Running {
    /// Where players connect.
    pub(super) at: SocketAddr,
    /// Its processes; none for direct connections.
    pub(super) pids: Vec<u32>,
    relay: Option<(Process, Reaper)>,
    _folder: TempDir,
}

impl Target {
    /// How many players it can be told to hold at most, if that is known beforehand.
    pub(super) fn players_max(&self) -> Result<usize> {
        match self.kind {
            Kind::Haproxy(_, splice) => {
                Ok(usize::try_from(haproxy_players_max(machine()?, splice))?)
            }
            _ => Ok(usize::MAX),
        }
    }

    /// Starts it before `server`, and waits until it takes connections.
    pub(super) async fn start(&self, server: SocketAddr) -> Result<Running> {
        let folder = tempfile::tempdir()?;
        let listen = free()?;
        let process = match &self.kind {
            Kind::Direct => {
                return Ok(Running {
                    at: server,
                    pids: Vec::new(),
                    relay: None,
                    _folder: folder,
                });
            }
            Kind::Router(program) => router(program, Ends { listen, server })?,
            Kind::Haproxy(program, splice) => {
                let text = haproxy(Ends { listen, server }, machine()?, *splice);
                let file = written(&folder, "haproxy.cfg", &text)?;
                Process::start(program, ["-db", "-f", &file], [])?
            }
            Kind::Nginx(program) => {
                let modules = NGINX_MODULES.map(Path::new);
                let module = modules.into_iter().find(|module| module.exists());
                let text = nginx(Ends { listen, server }, machine()?, module, folder.path());
                let file = written(&folder, "nginx.conf", &text)?;
                let prefix = folder.path().display().to_string();
                Process::start(program, ["-p", &prefix, "-e", "stderr", "-c", &file], [])?
            }
        };
        let what = format!("{} on {listen}", self.name);
        eventually(&what, DEADLINE, async || TcpStream::connect(listen).await)
            .await
            .with_context(|| format!("its log:\n{}", process.tail(30)))?;
        // nginx listens before its workers are there.
        let workers = match self.kind {
            Kind::Nginx(_) => machine()?.processors,
            _ => 0,
        };
        let pids = eventually("its workers", DEADLINE, async || {
            let pids = family(process.pid()).ok();
            pids.filter(|pids| pids.len() > workers)
        })
        .await?;
        // Its children, which nobody else ends when this process is killed.
        let reaper = Reaper::arm("kill -KILL \"$@\"", pids.iter().map(u32::to_string))?;
        Ok(Running {
            at: listen,
            pids,
            relay: Some((process, reaper)),
            _folder: folder,
        })
    }
}

impl Running {
    /// Ends it in order.
    pub(super) async fn stop(self) -> Result<()> {
        if let Some((mut process, mut reaper)) = self.relay {
            // Some do not heed SIGTERM; players have left, so there is nothing to wait for.
            process.signal("TERM").await?;
            if process.exit(Duration::from_secs(2)).await.is_ok() {
                reaper.disarm();
            }
        }
        Ok(())
    }

    /// The last lines of its log.
    pub(super) fn log(&self) -> String {
        let log = self.relay.as_ref().map(|(process, _)| process.tail(3));
        log.unwrap_or_default()
    }
}

fn router(program: &Path, Ends { listen, server }: Ends) -> Result<Process> {
    let arguments = [
        format!("--port={}", listen.port()),
        format!("--mapping={HOST}={server}"),
    ];
    let environment = [
        // mc-router admits one connection a second unless told otherwise.
        ("CONNECTION_RATE_LIMIT", "1000000"),
        // Nobody logs connections here.
        ("LOG_LEVEL", "warn"),
    ];
    let environment = environment.into_iter().chain(UNLIMITED);
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Process::start(program, arguments, environment)
}

/// An address on loopback that nobody listens on.
fn free() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?)
}

fn machine() -> Result<Machine> {
    Ok(Machine {
        processors: std::thread::available_parallelism()?.get(),
        files_max: files_max()?,
    })
}

fn written(folder: &TempDir, name: &str, text: &str) -> Result<String> {
    let file = folder.path().join(name);
    std::fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
    Ok(file.display().to_string())
}

/// Where `program` is on the `PATH`.
pub(super) fn on_path(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}
