//! What is known of the sync with Postgres at any moment, for the API and for readiness.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::journal::Journal;

/// What is known at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Whether the connection is up and listening.
    pub connected: bool,
    /// When the table was last read whole.
    pub last_sync: Option<SystemTime>,
    /// How often it was read whole.
    pub syncs: u64,
    /// What is wrong with the table's triggers: changes come late, but they come.
    pub warnings: Vec<String>,
    /// Connections lost or failed since the start.
    pub reconnects: u64,
    /// Why the last of them was.
    pub last_error: Option<String>,
}

/// Shared between the source that writes it and whoever asks.
#[derive(Debug, Default)]
pub struct SyncStatus {
    now: Mutex<Snapshot>,
    journal: Arc<Journal>,
}

impl SyncStatus {
    /// Nothing is known yet; when the connection is lost, and back, is taken down in `journal`.
    #[must_use]
    pub fn telling(journal: Arc<Journal>) -> Self {
        Self {
            journal,
            ..Self::default()
        }
    }

    /// What is known now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.lock().clone()
    }

    /// Whether the table was read at least once, so that its routes are served.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.lock().last_sync.is_some()
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut Snapshot)) {
        let mut now = self.lock();
        let before = now.connected;
        change(&mut now);
        if now.connected != before {
            self.journal.sync(now.connected);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Snapshot> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
