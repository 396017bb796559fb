//! A small child process that cleans up after this one, however this one ends.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use tracing::warn;

/// How long [`Reaper::release`] waits for the clean-up to end.
const RELEASE_DEADLINE: Duration = Duration::from_secs(30);

/// `cat` ends when the last writer of its pipe is gone: at a normal end, a panic or a SIGKILL alike.
/// Signals meant for the tests must not end it first.
const PROLOGUE: &str = "trap '' INT TERM HUP; cat >/dev/null;";

/// Runs a shell script when dropped, or when this process ends.
#[derive(Debug)]
pub(crate) struct Reaper {
    child: Option<Child>,
}

impl Reaper {
    /// Starts the child. `script` sees `arguments` as `$1`, `$2`, …; it has to end by itself.
    ///
    /// Arm it before the thing to clean up exists, so that no moment is left uncovered.
    pub(crate) fn arm<A: AsRef<OsStr>>(
        script: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Self> {
        let child = Command::new("sh")
            .arg("-c")
            .arg(format!("{PROLOGUE}\n{script}"))
            .arg("automc-reaper")
            .args(arguments)
            // Its own group, so that Ctrl-C reaches the tests and not this.
            .process_group(0)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start the clean-up process `sh`")?;
        Ok(Self { child: Some(child) })
    }

    /// Ends the child without running the script: there is nothing left to clean up.
    pub(crate) fn disarm(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Cleans up now, and waits for the end of it (30 s at most).
    pub(crate) fn release(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let (done, ended) = mpsc::sync_channel(1);
        // `wait` closes the pipe first.
        thread::spawn(move || done.send(child.wait().is_ok()));
        if ended.recv_timeout(RELEASE_DEADLINE).is_err() {
            warn!("a test server's clean-up did not end within {RELEASE_DEADLINE:?}");
        }
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_runs_with_its_arguments_when_the_reaper_is_let_go_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("reaped");
        let mut reaper = Reaper::arm("echo done >\"$1\"", [&mark]).unwrap();
        assert!(!mark.exists());
        reaper.release();
        assert!(mark.exists());
    }
}
