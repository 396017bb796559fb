//! Threads that serve clients, one for each core this process may use, each with a runtime and a
//! listening socket of its own: a client stays with its worker, and no worker waits for another.

use std::io;
use std::thread::{self, available_parallelism};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// How long name look-ups may take to end after everything else.
const LEAVE_TIMEOUT: Duration = Duration::from_millis(100);

/// How many workers there are to be: as many as there are cores to use. Affinity and the quota of
/// the cgroup count (`available_parallelism`).
#[must_use]
pub fn count() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// The workers.
#[derive(Debug)]
pub struct Workers {
    runtimes: Vec<Handle>,
    threads: TaskTracker,
    _end: DropGuard,
}

impl Workers {
    /// Starts `count` of them. They end, and cut off whom they serve, when `end` is cancelled, as
    /// it is when this is dropped.
    ///
    /// # Errors
    /// The system has no thread or file to spare.
    pub fn start(count: usize, end: &CancellationToken) -> io::Result<Self> {
        let threads = TaskTracker::new();
        let guard = end.clone().drop_guard();
        let runtimes = (0..count).map(|number| start(number, threads.token(), end.clone()));
        Ok(Self {
            runtimes: runtimes.collect::<io::Result<_>>()?,
            threads,
            _end: guard,
        })
    }

    /// Each worker's runtime.
    #[must_use]
    pub fn runtimes(&self) -> &[Handle] {
        &self.runtimes
    }

    /// Waits until every thread has ended.
    pub async fn ended(&self) {
        self.threads.close();
        self.threads.wait().await;
    }
}

fn start(number: usize, alive: TaskTrackerToken, end: CancellationToken) -> io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let serve = move || {
        runtime.block_on(end.cancelled());
        runtime.shutdown_timeout(LEAVE_TIMEOUT);
        drop(alive);
    };
    thread::Builder::new()
        .name(format!("worker-{number}"))
        .spawn(serve)?;
    Ok(handle)
}
