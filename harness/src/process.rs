//! A program under test as a real process, with its log at hand.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::eventually::eventually;
use crate::reaper::Reaper;

/// Lines of the log that are kept.
const LINES_MAX: usize = 20_000;

/// A running process. Killed when dropped, and when this process is.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pid: u32,
    log: Arc<Mutex<VecDeque<String>>>,
    reaper: Reaper,
}

impl Process {
    /// Starts `program` with no environment but `environment` and `PATH`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start<A: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self> {
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let pid = child.id().context("it has ended already")?;
        let reaper = Reaper::arm("kill -KILL \"$1\"", [pid.to_string()])?;
        let log = Arc::default();
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(keep(stdout, Arc::clone(&log)));
        }
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(keep(stderr, Arc::clone(&log)));
        }
        Ok(Self {
            child,
            pid,
            log,
            reaper,
        })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What it has printed so far, standard output and error together.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }

    /// Waits for a line with all of `parts` in it.
    ///
    /// # Errors
    /// There is none within `deadline`; the error shows the end of the log.
    pub async fn line_with(&self, parts: &[&str], deadline: Duration) -> Result<String> {
        let what = format!("a line with {parts:?}");
        let found = eventually(&what, deadline, async || {
            self.log()
                .into_iter()
                .find(|line| parts.iter().all(|part| line.contains(part)))
        });
        found
            .await
            .with_context(|| format!("log:\n{}", self.tail(30)))
    }

    /// The last `count` lines.
    #[must_use]
    pub fn tail(&self, count: usize) -> String {
        let log = self.log();
        log.get(log.len().saturating_sub(count)..)
            .unwrap_or_default()
            .join("\n")
    }

    /// Sends a signal, named as kill(1) names it.
    ///
    /// # Errors
    /// The process has ended.
    pub async fn signal(&self, name: &str) -> Result<()> {
        // The shell's own: not every system has a program of that name.
        let status = Command::new("sh")
            .args([
                "-c",
                "kill -s \"$1\" \"$2\"",
                "sh",
                name,
                &self.pid.to_string(),
            ])
            .status()
            .await?;
        anyhow::ensure!(status.success(), "kill -s {name} {}: {status}", self.pid);
        Ok(())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It goes on for longer than `deadline`.
    pub async fn exit(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let exit = timeout(deadline, self.child.wait()).await;
        let status = exit.with_context(|| {
            format!("still running after {deadline:?}; log:\n{}", self.tail(30))
        })??;
        self.reaper.disarm();
        Ok(status)
    }

    /// Whether it is still running.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.start_kill());
        self.reaper.disarm();
    }
}

async fn keep(stream: impl AsyncRead + Unpin, log: Arc<Mutex<VecDeque<String>>>) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() == LINES_MAX {
            log.pop_front();
        }
        log.push_back(line);
    }
}
