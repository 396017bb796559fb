//! Why a server did not wake, for the log; the player's words are elsewhere.

use std::time::Duration;

use crate::addr::BackendAddr;
use crate::config::values::short;
use crate::shared_str::SharedStr;

/// Why a server did not wake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WakeError {
    /// A status that no retry will change.
    #[error("the server-manager refused with status {0}{hint}", hint = denied_hint(*.0))]
    Denied(u16),
    /// The start broke twice.
    #[error("the server-manager could not be asked to start it: {0}")]
    Broken(String),
    /// The server-manager gave the server up.
    #[error("the server-manager reports it as {0}")]
    Failed(String),
    /// The deadline passed; in the contract's words.
    #[error("waker timeout for {server} after {}{}", short(*.after), last_problem(.problem.as_deref()))]
    TimedOut {
        /// The server's name.
        server: SharedStr,
        /// The configured limit.
        after: Duration,
        /// What was wrong with the start or the last poll, if anything.
        problem: Option<String>,
    },
    /// It is said to run, and its port does not open.
    #[error("backend {backend} is said to run, but {problem}")]
    NotReady {
        /// Where it should be.
        backend: BackendAddr,
        /// What was seen there last.
        problem: &'static str,
    },
    /// It failed a moment ago and is not tried again yet.
    #[error("{last} (failed {attempts} in a row; next try in {})", short(whole_seconds(*.retry_in)))]
    BackingOff {
        /// How often in a row.
        attempts: u32,
        /// Time left until it may be tried again.
        retry_in: Duration,
        /// The last failure; never one of this kind.
        last: Box<Self>,
    },
    /// The router is stopping.
    #[error("the router is stopping")]
    Stopping,
}

impl WakeError {
    /// What failed: the last failure while one is backed off from, else this.
    #[must_use]
    pub fn cause(&self) -> &Self {
        match self {
            Self::BackingOff { last, .. } => last,
            other => other,
        }
    }
}

fn denied_hint(status: u16) -> &'static str {
    match status {
        401 | 403 => " (is AUTOMC_WAKER_TOKEN right?)",
        404 => " (it knows no server of that name)",
        _ => "",
    }
}

fn last_problem(problem: Option<&str>) -> String {
    problem
        .map(|problem| format!(" ({problem})"))
        .unwrap_or_default()
}

/// Rounded up, so that nobody comes back too early.
fn whole_seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs() + u64::from(time.subsec_nanos() > 0))
}
