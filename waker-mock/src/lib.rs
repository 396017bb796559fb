//! The reference server-manager: the router's waker contract over HTTP, with servers that are
//! real ports, and with faults on request.
//!
//! A binary for development, and this library to start one inside a test:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> anyhow::Result<()> {
//! use std::time::Duration;
//! use waker_mock::{Config, Faults, Refusal, ServerSpec, State, WakerMock};
//!
//! let waker = WakerMock::start(Config::default()).await?;
//! let spec = ServerSpec::new("survival.example.com", Duration::from_millis(10));
//! waker.put_server("survival", spec)?;
//! waker.start_server("survival")?;
//! waker.wait_for("survival", State::Running).await?;
//!
//! let refuse_start = Some(Refusal::first(2, 503));
//! waker.set_faults("survival", Faults { refuse_start, ..Faults::default() })?;
//! assert!(waker.url().starts_with("http://127.0.0.1:"));
//! assert!(waker.requests().is_empty());
//! # Ok(()) }
//! ```

pub mod config;
mod entry;
pub mod faults;
pub mod game;
mod http;
mod journal;
mod manager;
mod outbox;
mod port;
mod postgres;
pub mod server;
pub mod spec;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

pub use config::Config;
pub use faults::{Faults, Refusal};
pub use journal::{REQUESTS_MAX, Request};
pub use manager::SERVERS_MAX;
pub use port::PLAYERS_MAX;
pub use server::State;
pub use spec::ServerSpec;

use entry::Surroundings;
use http::Desk;
use journal::Journal;
use manager::{Manager, Refused};
use outbox::Outbox;

/// Longest time the last states may take to reach the table.
const LAST_WRITE_TIMEOUT: Duration = Duration::from_secs(3);

/// A running server-manager; dropping it ends its tasks and closes its ports.
#[derive(Debug)]
pub struct WakerMock {
    address: SocketAddr,
    manager: Arc<Manager>,
    journal: Arc<Journal>,
    /// Stops HTTP and the clock.
    stop: CancellationToken,
    /// Stops the writing into the table.
    stop_writing: CancellationToken,
    running: TaskTracker,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

impl WakerMock {
    /// Starts it, listening when this returns.
    ///
    /// # Errors
    /// An address that cannot be listened on, or servers or faults that cannot be.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(config.listen).await;
        let listener = listener.with_context(|| format!("cannot listen on {}", config.listen))?;
        let address = listener.local_addr()?;
        let outbox = config.dsn.is_some().then(Arc::<Outbox>::default);
        let around = Surroundings {
            delays: config.delays,
            ports: config.game_ports,
            players: Arc::new(Semaphore::new(PLAYERS_MAX)),
        };
        let manager = Arc::new(Manager::new(around, outbox.clone()));
        for (name, spec) in config.servers {
            let put = manager.put(&name, spec).map_err(refusal);
            put.with_context(|| format!("server {name:?}"))?;
        }
        for (name, faults) in config.faults {
            match name.as_str() {
                "*" => manager.set_faults_of_all(faults),
                name => {
                    let set = manager.set_faults(name, Some(faults)).map_err(refusal);
                    set.with_context(|| format!("faults of {name:?}"))?;
                }
            }
        }
        let (stop, stop_writing) = (CancellationToken::new(), CancellationToken::new());
        let journal = Arc::<Journal>::default();
        let desk = Arc::new(Desk {
            manager: Arc::clone(&manager),
            journal: Arc::clone(&journal),
            token: config.token,
            stop: stop.clone(),
        });
        let running = TaskTracker::new();
        let spawn = |task| AbortOnDropHandle::new(task);
        let clock = Arc::clone(&manager);
        let ticking = stop.clone();
        let mut tasks = vec![
            spawn(running.spawn(http::serve(listener, desk))),
            spawn(running.spawn(async move { clock.keep_time(ticking).await })),
        ];
        if let (Some(dsn), Some(outbox)) = (config.dsn, outbox) {
            let writing = postgres::write(dsn, outbox, stop_writing.clone());
            tasks.push(spawn(running.spawn(writing)));
        }
        Ok(Self {
            address,
            manager,
            journal,
            stop,
            stop_writing,
            running,
            _tasks: tasks,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds a server, stopped, or gives one another shape; `true` if it is new.
    ///
    /// # Errors
    /// A malformed name or spec, a taken port, the limit of [`SERVERS_MAX`], or another place
    /// for one that is not at rest.
    pub fn put_server(&self, name: &str, spec: ServerSpec) -> anyhow::Result<bool> {
        self.manager.put(name, spec).map_err(refusal)
    }

    /// Takes a server away, running or not.
    ///
    /// # Errors
    /// There is no such server.
    pub fn remove_server(&self, name: &str) -> anyhow::Result<()> {
        self.manager.remove(name).map_err(refusal)
    }

    /// Starts a server as a request would, faults of requests aside; `false` if it is starting
    /// or running already.
    ///
    /// # Errors
    /// There is no such server.
    pub fn start_server(&self, name: &str) -> anyhow::Result<bool> {
        let started = self.manager.start(name).map_err(refusal)?;
        Ok(started != server::Started::Already)
    }

    /// Stops a server as a request would.
    ///
    /// # Errors
    /// There is no such server, or nothing to stop.
    pub fn stop_server(&self, name: &str) -> anyhow::Result<()> {
        self.manager.stop(name).map_err(refusal)
    }

    /// Sets what goes wrong with a server from now on, also with a start under way; counts of
    /// refusals begin anew.
    ///
    /// # Errors
    /// There is no such server.
    pub fn set_faults(&self, name: &str, faults: Faults) -> anyhow::Result<()> {
        self.manager.set_faults(name, Some(faults)).map_err(refusal)
    }

    /// Leaves a server to the faults of all, by default none.
    ///
    /// # Errors
    /// There is no such server.
    pub fn clear_faults(&self, name: &str) -> anyhow::Result<()> {
        self.manager.set_faults(name, None).map_err(refusal)
    }

    /// What a server is doing; `None` if there is none.
    #[must_use]
    pub fn state(&self, name: &str) -> Option<State> {
        self.manager.seen(name).map(|seen| seen.state)
    }

    /// The address a server's players use, while it is known.
    #[must_use]
    pub fn address(&self, name: &str) -> Option<String> {
        self.manager.seen(name)?.address
    }

    /// The address the table is to hold for a server, the same in every state.
    #[must_use]
    pub fn row_address(&self, name: &str) -> Option<String> {
        self.manager.seen(name).map(|seen| seen.row_address)
    }

    /// Waits, without a limit of its own, until a server is in `state`.
    ///
    /// # Errors
    /// There is no such server, or no longer.
    ///
    /// # Cancel safety
    /// Safe: nothing is lost.
    pub async fn wait_for(&self, name: &str, state: State) -> anyhow::Result<()> {
        let mut changes = self.manager.changes();
        loop {
            let now = self.state(name);
            if now.with_context(|| format!("there is no server {name:?}"))? == state {
                return Ok(());
            }
            changes.changed().await?;
        }
    }

    /// The latest requests, oldest first, at most [`REQUESTS_MAX`].
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.journal.all()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.journal.clear();
    }

    /// Ends it in order: no more requests, every server stopped, and the table told so if the
    /// database answers within a few seconds.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.manager.stop_all();
        self.stop_writing.cancel();
        self.running.close();
        // What is not written by then will be by the next start.
        drop(tokio::time::timeout(LAST_WRITE_TIMEOUT, self.running.wait()).await);
    }
}

impl Drop for WakerMock {
    fn drop(&mut self) {
        self.stop.cancel();
        self.stop_writing.cancel();
        self.manager.close();
    }
}

fn refusal(refused: Refused) -> anyhow::Error {
    match refused {
        Refused::Unknown => anyhow::anyhow!("no such server"),
        Refused::Conflict(reason) | Refused::Invalid(reason) | Refused::Full(reason) => {
            anyhow::anyhow!(reason)
        }
    }
}
