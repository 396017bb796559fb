//! A private cluster from server programs, in a temporary directory.

use std::fs::{self, File, Permissions};
use std::future::ready;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Error, Result, bail};
use tempfile::TempDir;
use tokio::sync::{Mutex, OnceCell};
use tokio::task::spawn_blocking;
use tracing::debug;
use xtask::postgres::Programs;

use super::access::Access;
use crate::eventually::eventually;
use crate::reaper::Reaper;

/// Who the server runs as when the caller is root, which Postgres refuses; the first that exists, else anybody.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];
/// The bit of a folder that lets everybody through.
const OTHERS_MAY_PASS: u32 = 0o001;
/// `initdb` takes a second or two.
const INITDB_DEADLINE: Duration = Duration::from_secs(60);
/// From the start of the server to its first answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(20);
/// For one port; after a kill the old backends have to go first.
const START_DEADLINE: Duration = Duration::from_secs(45);
/// For a fast shutdown; the checkpoint in it is small.
const STOP_DEADLINE: Duration = Duration::from_secs(30);
/// Ports to try; another process may take one between the choice and the use of it.
const MAX_PORTS: usize = 10;
/// How much of the server's log an error shows, in bytes.
const LOG_TAIL: usize = 2_000;

/// Only 127.0.0.1 may reach it. It need not survive the machine, but a kill of its own:
/// `synchronous_commit` stays on.
const SETTINGS: [&str; 5] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "fsync=off",
    "full_page_writes=off",
    "max_connections=200",
];

/// Stops the server whose directory is `$1`, and removes the directory. The pid in the file counts only if
/// that process is a server of this directory: after a kill the file is stale.
const REAP: &str = r#"
ours() {
    grep -qF -- "$dir" "/proc/$pid/cmdline" 2>/dev/null ||
        ps -o command= -p "$pid" 2>/dev/null | grep -qF -- "$dir"
}
dir=$1
if read -r pid <"$dir/data/postmaster.pid" && ours; then
    kill -QUIT "$pid"
    tries=0
    while ours && [ "$tries" -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
    if ours; then kill -KILL "$pid"; fi
fi
rm -rf -- "$dir"
"#;

/// A user and group id to run the server as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner {
    user: u32,
    group: u32,
}

/// The first of [`UNPRIVILEGED`] in the text of a passwd file, else its first user who is not root: `initdb` wants to know its user's name.
fn unprivileged(passwd: &str) -> Option<Owner> {
    let users = passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let user = fields.nth(1)?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        (user != 0).then_some((name, Owner { user, group }))
    });
    let users: Vec<_> = users.collect();
    let called = |wanted: &&str| users.iter().find(|(name, _)| name == wanted);
    let preferred = UNPRIVILEGED.iter().find_map(called);
    preferred.or_else(|| users.first()).map(|(_, owner)| *owner)
}

/// Copies of programs for an owner who cannot reach them in a root's home; gone with this process.
static COPIES: OnceCell<Result<(PathBuf, Reaper), String>> = OnceCell::const_new();

/// The programs, where this owner can run them.
async fn reachable(programs: Programs, owner: Owner) -> Result<Programs> {
    let Some(top) = programs.fetched.clone() else {
        return Ok(programs);
    };
    let passes = |folder: &Path| {
        let facts = fs::metadata(folder);
        facts.is_ok_and(|facts| facts.permissions().mode() & OTHERS_MAY_PASS != 0)
    };
    if programs.folder.ancestors().all(passes) {
        return Ok(programs);
    }
    let copied = COPIES.get_or_init(|| async {
        let copy = spawn_blocking(move || copy(&top, owner)).await;
        let copy = copy.map_err(|error| error.to_string())?;
        copy.map_err(|error| format!("{error:#}"))
    });
    match copied.await {
        Ok((copy, _)) => Ok(programs.moved(copy)),
        Err(reason) => bail!("copy the server programs: {reason}"),
    }
}

fn copy(from: &Path, owner: Owner) -> Result<(PathBuf, Reaper)> {
    let folder = tempfile::Builder::new()
        .prefix("automc-programs-")
        .tempdir()?;
    let reaper = Reaper::arm("rm -rf -- \"$1\"", [folder.path()])?;
    let folder = folder.keep();
    let script = "cp -RP \"$1/.\" \"$2\" && chown -R \"$3\" \"$2\"";
    let whose = format!("{}:{}", owner.user, owner.group);
    let copied = Command::new("sh")
        .args(["-c", script, "sh"])
        .args([from, folder.as_path(), Path::new(&whose)])
        .output()?;
    anyhow::ensure!(
        copied.status.success(),
        "{}",
        String::from_utf8_lossy(&copied.stderr)
    );
    Ok((folder, reaper))
}

/// A server that is a child of this process.
#[derive(Debug)]
pub(super) struct Local {
    programs: Programs,
    owner: Option<Owner>,
    postmaster: Mutex<Option<Child>>,
    reaper: Reaper,
    dir: TempDir,
}

impl Local {
    /// Makes a cluster and starts it; `access` gets its address.
    pub(super) async fn start(mut programs: Programs, access: &Access) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("automc-pg-").tempdir()?;
        let reaper = Reaper::arm(REAP, [dir.path()])?;
        let owner = if fs::metadata(dir.path())?.uid() == 0 {
            let passwd = fs::read_to_string("/etc/passwd")?;
            let owner = unprivileged(&passwd).with_context(|| {
                format!("root cannot run Postgres, and there is no user of {UNPRIVILEGED:?}")
            })?;
            chown(dir.path(), Some(owner.user), Some(owner.group))?;
            programs = reachable(programs, owner).await?;
            Some(owner)
        } else {
            None
        };
        let server = Self {
            programs,
            owner,
            postmaster: Mutex::new(None),
            reaper,
            dir,
        };
        server.make_cluster(access).await?;
        server.start_again(access).await?;
        Ok(server)
    }

    pub(super) fn describe(&self) -> String {
        format!("a private cluster from {}", self.programs.folder.display())
    }

    /// Starts a stopped or killed server: on its old port, or on another if somebody took that.
    pub(super) async fn start_again(&self, access: &Access) -> Result<()> {
        let mut postmaster = self.postmaster.lock().await;
        anyhow::ensure!(postmaster.is_none(), "the server is running already");
        let mut addr = access.addr();
        for _ in 0..MAX_PORTS {
            if addr.port() == 0 {
                addr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
            }
            access.move_to(addr);
            match self.start_on(addr, access).await? {
                Started::Ready(child) => {
                    *postmaster = Some(child);
                    return Ok(());
                }
                Started::PortTaken => addr.set_port(0),
            }
        }
        bail!("{MAX_PORTS} ports in a row were taken")
    }

    /// A fast shutdown: sessions are ended, data is flushed.
    pub(super) async fn stop(&self) -> Result<()> {
        let mut postmaster = self.postmaster.lock().await;
        let child = postmaster.as_mut().context("the server is not running")?;
        let signalled = Command::new("sh")
            .args(["-c", "kill -INT \"$1\"", "sh", &child.id().to_string()])
            .status()?;
        anyhow::ensure!(signalled.success(), "cannot signal the server");
        ended("the server to shut down", STOP_DEADLINE, child).await?;
        *postmaster = None;
        Ok(())
    }

    /// SIGKILL; the backends notice the loss of their parent and go, too.
    pub(super) async fn kill(&self) -> Result<()> {
        let mut postmaster = self.postmaster.lock().await;
        let child = postmaster.as_mut().context("the server is not running")?;
        child.kill()?;
        ended("the killed server to end", STOP_DEADLINE, child).await?;
        *postmaster = None;
        Ok(())
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// A server program as its owner, in its own group so that Ctrl-C leaves it to the reaper.
    fn command(&self, program: &str) -> Result<Command> {
        let log = File::create(self.log())?;
        let mut command = self.programs.command(program).map_err(Error::msg)?;
        command
            .arg("-D")
            .arg(self.data())
            .current_dir(self.dir.path())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if let Some(owner) = self.owner {
            command.uid(owner.user).gid(owner.group);
        }
        Ok(command)
    }

    async fn make_cluster(&self, access: &Access) -> Result<()> {
        let password = self.dir.path().join("password");
        fs::write(&password, access.password())?;
        fs::set_permissions(&password, Permissions::from_mode(0o600))?;
        if let Some(owner) = self.owner {
            chown(&password, Some(owner.user), Some(owner.group))?;
        }
        let mut initdb = self
            .command("initdb")?
            .args(["--username", access.user()])
            .args(["--auth=scram-sha-256", "--encoding=UTF8", "--no-locale"])
            .args(["--no-sync", "--pwfile"])
            .arg(&password)
            .spawn()
            .context("start initdb")?;
        let status = ended("initdb", INITDB_DEADLINE, &mut initdb).await?;
        anyhow::ensure!(status.success(), "initdb: {status}: {}", self.log_tail());
        Ok(())
    }

    async fn start_on(&self, addr: SocketAddr, access: &Access) -> Result<Started> {
        eventually("Postgres to start", START_DEADLINE, async || {
            let mut postgres = self.command("postgres")?;
            for setting in SETTINGS {
                postgres.args(["-c", setting]);
            }
            postgres.args(["-p", &addr.port().to_string()]);
            let mut child = postgres.spawn().context("start postgres")?;
            let ready = eventually("it to answer", ANSWER_DEADLINE, || {
                let ended = child.try_wait();
                async {
                    anyhow::Ok(match ended? {
                        Some(status) => Some(status),
                        None => access.connect(access.maintenance()).await.map(|_| None)?,
                    })
                }
            })
            .await;
            match ready {
                Ok(None) => Ok(Ok(Started::Ready(child))),
                Ok(Some(_)) if self.log_says("could not bind") => Ok(Ok(Started::PortTaken)),
                // The backends of a killed server need a moment to notice.
                Ok(Some(_)) if self.log_says("shared memory block") => {
                    bail!("the killed server's backends are still there")
                }
                Ok(Some(status)) => Ok(Err(anyhow::anyhow!(
                    "postgres ended, {status}: {}",
                    self.log_tail()
                ))),
                Err(error) => {
                    child.kill()?;
                    child.wait()?;
                    Ok(Err(error.context(self.log_tail())))
                }
            }
        })
        .await?
    }

    fn log_says(&self, words: &str) -> bool {
        fs::read_to_string(self.log()).is_ok_and(|log| log.contains(words))
    }

    fn log_tail(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        let tail = log.get(log.len().saturating_sub(LOG_TAIL)..);
        String::from_utf8_lossy(tail.unwrap_or_default()).into_owned()
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // It ends the server and the backends before it removes their directory.
        self.reaper.release();
        if let Some(child) = self.postmaster.get_mut()
            && let Err(error) = child.kill().and_then(|()| child.wait())
        {
            debug!(%error, "a test's Postgres was gone before its end");
        }
    }
}

/// How a start went, if not badly.
enum Started {
    Ready(Child),
    PortTaken,
}

async fn ended(what: &str, deadline: Duration, child: &mut Child) -> Result<ExitStatus> {
    eventually(what, deadline, || {
        let ended = child.try_wait();
        ready(
            ended
                .map_err(Into::into)
                .and_then(|status| status.context("it is still running")),
        )
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postgres_is_preferred_to_nobody_wherever_it_stands() {
        let passwd = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65533::/:/bin/false\n";
        let nobody = Owner {
            user: 65534,
            group: 65533,
        };
        assert_eq!(unprivileged(passwd), Some(nobody));
        let passwd = format!("{passwd}postgres:x:101:104::/:/bin/sh\n");
        let postgres = Owner {
            user: 101,
            group: 104,
        };
        assert_eq!(unprivileged(&passwd), Some(postgres));
        let daemon = Owner { user: 1, group: 2 };
        let passwd =
            "root:x:0:0::/root:/bin/sh\ndaemon:x:1:2::/:/bin/false\nbin:x:3:3::/:/bin/false\n";
        assert_eq!(unprivileged(passwd), Some(daemon));
        assert_eq!(
            unprivileged("root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/:/bin/sh\nbroken"),
            None
        );
    }
}
