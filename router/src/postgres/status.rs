//! What is known of the sync with Postgres at any moment, for the API and for readiness.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::Notify;

use super::guard::Effect;
use super::revision::{Mark, Why};
use crate::journal::Journal;

/// A read that is held back.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    /// What it would do.
    pub effect: Effect,
    /// Since when.
    pub since: SystemTime,
    /// When it is applied without a confirmation, if the table still says so.
    pub until: SystemTime,
    /// Whether somebody has confirmed it.
    pub confirmed: bool,
}

/// What is known at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Whether the connection is up and listening.
    pub connected: bool,
    /// When the table was last read, whole or in part.
    pub last_sync: Option<SystemTime>,
    /// How often it was read, whole or in part.
    pub syncs: u64,
    /// How often it was read whole, by the reasons.
    pub whole: BTreeMap<Why, u64>,
    /// How many notifications came.
    pub notifications: u64,
    /// The state of the table that is applied, where it counts them.
    pub applied: Option<Mark>,
    /// The newest revision that was seen of it.
    pub seen: Option<Mark>,
    /// The read that is held back, if one is.
    pub held: Option<Held>,
    /// When the routes were written down that are served because the table was not read yet.
    pub stale: Option<SystemTime>,
    /// What is wrong with the table: changes come late, or not all of them.
    pub warnings: Vec<String>,
    /// Why the snapshot file has less than what is applied.
    pub unsaved: Option<String>,
    /// Connections lost or failed since the start.
    pub reconnects: u64,
    /// Why the last of them was.
    pub last_error: Option<String>,
}

/// Shared between the source that writes it and whoever asks.
#[derive(Debug, Default)]
pub struct SyncStatus {
    now: Mutex<Snapshot>,
    confirmed: Notify,
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

    /// Whether the table was read at least once, or its routes were remembered, so that they are served.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let now = self.lock();
        now.last_sync.is_some() || now.stale.is_some()
    }

    /// Has the read applied that is held back, as soon as the table was found to say the same once more. Whether one is
    /// held back.
    pub fn confirm(&self) -> bool {
        let mut now = self.lock();
        let Some(held) = &mut now.held else {
            return false;
        };
        held.confirmed = true;
        self.confirmed.notify_one();
        true
    }

    /// Waits for a confirmation that was not waited for yet.
    pub(super) async fn confirmation(&self) {
        self.confirmed.notified().await;
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
