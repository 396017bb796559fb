//! Threads that serve clients, one for each core this process may use, each with a runtime of its
//! own: a client stays with its worker, and no worker waits for another.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, available_parallelism};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// How long name look-ups may take to end after everything else.
const LEAVE_TIMEOUT: Duration = Duration::from_millis(100);

/// The workers.
#[derive(Debug)]
pub struct Workers {
    workers: Vec<Worker>,
    clients: TaskTracker,
    threads: TaskTracker,
    _end: DropGuard,
}

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    clients: Arc<AtomicUsize>,
}

impl Workers {
    /// Starts as many as there are cores to use: affinity and the quota of the cgroup count
    /// (`available_parallelism`). They end, and cut off whom they serve, when `end` is cancelled,
    /// as it is when this is dropped.
    ///
    /// # Errors
    /// The system has no thread or file to spare.
    pub fn start(clients: TaskTracker, end: &CancellationToken) -> io::Result<Self> {
        let count = available_parallelism().map_or(1, usize::from);
        let threads = TaskTracker::new();
        let guard = end.clone().drop_guard();
        let workers = (0..count).map(|number| Worker::start(number, threads.token(), end.clone()));
        Ok(Self {
            workers: workers.collect::<io::Result<_>>()?,
            clients,
            threads,
            _end: guard,
        })
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.workers.len()
    }

    /// Has the worker with the fewest clients run `client`.
    pub fn spawn(&self, client: impl Future<Output = ()> + Send + 'static) {
        let load = |worker: &&Worker| worker.clients.load(Relaxed);
        let Some(worker) = self.workers.iter().min_by_key(load) else {
            return;
        };
        let place = Place::taken(&worker.clients);
        let client = async move {
            let _place = place;
            client.await;
        };
        self.clients.spawn_on(client, &worker.runtime);
    }

    /// Waits until every thread has ended.
    pub async fn ended(&self) {
        self.threads.close();
        self.threads.wait().await;
    }
}

impl Worker {
    fn start(number: usize, alive: TaskTrackerToken, end: CancellationToken) -> io::Result<Self> {
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
        Ok(Self {
            runtime: handle,
            clients: Arc::default(),
        })
    }
}

/// One client's share of its worker's load, given back when dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn taken(clients: &Arc<AtomicUsize>) -> Self {
        clients.fetch_add(1, Relaxed);
        Self(Arc::clone(clients))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
