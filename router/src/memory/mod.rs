//! What is remembered of servers across restarts: the status each showed last, and how long its
//! starts took. [`model`] holds it within bounds; [`mod@file`] and [`database`] keep it, and neither is
//! ever in the way of a client.

pub mod database;
pub mod file;
pub mod model;
mod seen;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::config::PostgresConfig;
use crate::shared_str::SharedStr;
use crate::status::answer::Known;
use model::Model;

/// Most lines logged about broken entries of one read.
const BROKEN_LINES_MAX: usize = 20;

/// What is remembered, shared by everybody.
#[derive(Debug, Default)]
pub struct Memory {
    model: Mutex<Model>,
    /// Tells the keepers that there is something to write.
    changed: watch::Sender<()>,
}

impl Memory {
    /// What the file at `path` remembers, see [`Self::read_file`]; nothing without one.
    #[must_use]
    pub fn of_file(path: Option<&Path>) -> Arc<Self> {
        let memory = Self::default();
        if let Some(path) = path {
            memory.read_file(path);
        }
        Arc::new(memory)
    }

    /// Has `tasks` keep it in the file at `path` and in the database, where there are such, until
    /// `stop` is cancelled.
    pub fn keep(
        self: &Arc<Self>,
        path: Option<PathBuf>,
        postgres: Option<&PostgresConfig>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) {
        if let Some(path) = path {
            tasks.spawn(file::keep(Arc::clone(self), path, stop.clone()));
        }
        if let Some(PostgresConfig { dsn, .. }) = postgres {
            tasks.spawn(database::keep(Arc::clone(self), dsn.clone(), stop.clone()));
        }
    }

    /// Takes note of the status that `server` has just shown to a client that speaks `protocol`.
    pub fn remember_status(&self, server: &SharedStr, protocol: i32, known: &Known) {
        if self.model().remember_status(server, protocol, known, now()) {
            self.changed.send_replace(());
        }
    }

    /// Takes note of a start of `server` that took so long.
    pub fn remember_start(&self, server: &SharedStr, took: Duration) {
        self.model().remember_start(server, took, now());
        self.changed.send_replace(());
    }

    /// What `server` showed last to a client that speaks `protocol`, or else to whomever.
    #[must_use]
    pub fn last_known(&self, server: &str, protocol: i32) -> Option<Known> {
        self.model().last_known(server, protocol)
    }

    /// The protocol number that `server` showed last, else one by which it was asked and answered.
    #[must_use]
    pub fn protocol(&self, server: &str) -> Option<i32> {
        self.model().protocol(server)
    }

    /// How long the last starts of `server` took, the latest last; [`model::STARTS_MAX`] at most.
    #[must_use]
    pub fn starts(&self, server: &str) -> Vec<Duration> {
        self.model().starts(server)
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

fn tell_broken(place: &str, broken: &[String]) {
    for entry in broken.iter().take(BROKEN_LINES_MAX) {
        warn!("{place}: {entry}; dropped");
    }
    if let Some(more @ 1..) = broken.len().checked_sub(BROKEN_LINES_MAX) {
        warn!("{place}: and {more} more broken entries; dropped");
    }
}
