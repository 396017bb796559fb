//! How the last wake of a server ended, for those who come after it.

use std::time::{Duration, Instant};

use super::error::WakeError;
use crate::addr::BackendAddr;

/// How long a failure is kept, to be told to those who come before the next try: longer than
/// [`FAILED_PAUSE_MAX`](crate::servers::retry::FAILED_PAUSE_MAX).
const FAILURE_MEMORY: Duration = Duration::from_secs(10 * 60);

#[derive(Debug)]
pub(super) enum Landed {
    Ready {
        address: BackendAddr,
        at: Instant,
        /// Where the route says that it is.
        row: BackendAddr,
        /// How long this is worth knowing.
        kept: Duration,
    },
    Failed {
        error: WakeError,
        at: Instant,
    },
}

impl Landed {
    pub(super) fn is_stale(&self, now: Instant) -> bool {
        match self {
            Self::Ready { at, kept, .. } => now.duration_since(*at) >= *kept,
            Self::Failed { at, .. } => now.duration_since(*at) >= FAILURE_MEMORY,
        }
    }
}
