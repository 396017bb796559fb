//! What happened to routes, servers, health and the sync, for whoever asks later or listens.
//!
//! Whoever takes something down never waits: it is a short look into a [`ring`] under a lock. Readers
//! come for what is new at their own pace, and are told when they were too slow.

pub mod ring;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::health::HealthChange;
use crate::routes::changes::Changes;
use crate::routes::history;
use crate::routes::offer::Provider;
use crate::servers::events::{Event, EventKind};
use crate::shared_str::SharedStr;
use ring::{Page, Ring, What};

/// Ids in one millisecond: those of a later process are greater than those of an earlier one that took down less.
const IDS_PER_MILLISECOND: u64 = 1_000;

/// What happened lately.
#[derive(Debug)]
pub struct Journal {
    ring: Mutex<Ring>,
    newest: watch::Sender<u64>,
}

impl Default for Journal {
    fn default() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let milliseconds = u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or_default();
        let newest = milliseconds.saturating_mul(IDS_PER_MILLISECOND);
        Self {
            ring: Mutex::new(Ring::new(newest)),
            newest: watch::Sender::new(newest),
        }
    }
}

impl Journal {
    /// Takes down what `provider` has changed.
    pub fn routes(&self, provider: Provider, changes: &Changes) {
        let count = history::count(changes);
        if count > 0 {
            self.write(|ring| {
                ring.routes(SystemTime::now(), count, history::each(provider, changes));
            });
        }
    }

    /// Takes down a change of a server's state; other events of servers are no news here.
    pub fn server(&self, event: &Event) {
        if let EventKind::State { from, to } = event.kind {
            let server = event.server.clone();
            self.write(|ring| ring.other(event.at, What::Server { server, from, to }));
        }
    }

    /// Takes down that the connection to Postgres is lost or back.
    pub fn sync(&self, connected: bool) {
        self.write(|ring| ring.other(SystemTime::now(), What::Sync { connected }));
    }

    /// Takes down a change of a backend's health.
    pub fn health(&self, change: HealthChange) {
        self.write(|ring| ring.health(SystemTime::now(), change));
    }

    /// Takes down that so many events of servers were missed.
    pub fn missed(&self, count: u64) {
        self.write(|ring| ring.other(SystemTime::now(), What::Missed(count)));
    }

    /// The id of what happened last, and of everything from now on.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// What happened after `id`, at most `limit` of it.
    #[must_use]
    pub fn after(&self, id: u64, limit: usize) -> Page {
        self.ring().after(id, limit)
    }

    /// What happened to routes, at most `limit` of it: after `id`, or else last. Comes with the id of what happened last
    /// to anything.
    #[must_use]
    pub fn of_routes(&self, id: Option<u64>, limit: usize) -> (Page, u64) {
        let ring = self.ring();
        let page = match id {
            Some(id) => ring.routes_after(id, limit),
            None => ring.last_routes(limit),
        };
        (page, ring.newest())
    }

    /// When which entry of which source last changed, as far as it is remembered.
    #[must_use]
    pub fn last_changes(&self) -> HashMap<(Provider, SharedStr), SystemTime> {
        self.ring().last_changes()
    }

    fn write(&self, write: impl FnOnce(&mut Ring)) {
        let mut ring = self.ring();
        write(&mut ring);
        self.newest.send_replace(ring.newest());
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Logs what happens to servers, and takes it down, until `end` is cancelled.
pub async fn tell(mut events: Receiver<Event>, journal: Arc<Journal>, end: CancellationToken) {
    while let Some(event) = end.run_until_cancelled(events.recv()).await {
        match event {
            Ok(event) => {
                event.log();
                journal.server(&event);
            }
            Err(RecvError::Lagged(missed)) => {
                debug!(missed, "events");
                journal.missed(missed);
            }
            Err(RecvError::Closed) => return,
        }
    }
}
