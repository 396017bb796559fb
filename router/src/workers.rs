//! Threads that serve clients, one for each core this process may use, each with a runtime and a
//! listening socket of its own: a client stays with its worker, and no worker waits for another.

use std::io;
use std::thread::{self, available_parallelism};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

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
    /// Ends them when this is dropped, too.
    end: DropGuard,
}

impl Workers {
    /// Starts `count` of them.
    ///
    /// # Errors
    /// The system has no thread or file to spare.
    pub fn start(count: usize) -> io::Result<Self> {
        let (threads, end) = (TaskTracker::new(), CancellationToken::new());
        let guard = end.clone().drop_guard();
        let runtimes = (0..count).map(|number| start(number, threads.token(), end.clone()));
        Ok(Self {
            runtimes: runtimes.collect::<io::Result<_>>()?,
            threads,
            end: guard,
        })
    }

    /// Each worker's runtime.
    #[must_use]
    pub fn runtimes(&self) -> &[Handle] {
        &self.runtimes
    }

    /// Ends them: whom they still serve is cut off. Waits until every thread has ended.
    pub async fn end(self) {
        drop(self.end);
        self.threads.close();
        self.threads.wait().await;
    }
}

fn start(number: usize, alive: TaskTrackerToken, end: CancellationToken) -> io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let serve = move || {
        runtime.block_on(end.cancelled());
        // A name look-up that hangs in the system's resolver is left behind.
        runtime.shutdown_background();
        drop(alive);
    };
    thread::Builder::new()
        .name(format!("worker-{number}"))
        .spawn(serve)?;
    Ok(handle)
}
