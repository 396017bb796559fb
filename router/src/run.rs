//! Builds every part, starts them, and stops them in order; the one file that knows them all.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::api::{Api, http};
use crate::config::values::short;
use crate::config::{Config, WakerConfig};
use crate::connection::Services;
use crate::listener;
use crate::postgres::source;
use crate::postgres::status::SyncStatus;
use crate::relay::counters::Counters;
use crate::routes::registry::{Full, Registry};
use crate::socket;
use crate::wake::Waker;
use crate::wake::client::{ClientError, ManagerClient};
use crate::wake::machine::Limits;
use crate::workers::Workers;

/// Time to tell those who wait for a server, even where no grace is given.
const GRACE_MIN: Duration = Duration::from_millis(250);
/// How long clients may take to go once they are cut off.
const CUT_TIMEOUT: Duration = Duration::from_secs(1);

/// Why the router cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port it should listen on.
    #[error("cannot listen {what}: {error}")]
    Listen {
        /// On what.
        what: String,
        /// Why not.
        error: io::Error,
    },
    /// The threads that serve clients.
    #[error("cannot start worker threads: {0}")]
    Workers(io::Error),
    /// The server-manager's client.
    #[error("{0}")]
    Waker(#[from] ClientError),
    /// More fixed routes than allowed.
    #[error("mapping: {0}")]
    Mapping(#[from] Full),
}

/// A running router.
#[derive(Debug)]
pub struct Router {
    /// Where players connect; the port is the real one where 0 was asked for.
    pub players: SocketAddr,
    /// Where the REST API listens, if it does.
    pub api: Option<SocketAddr>,
    stop: CancellationToken,
    cut: CancellationToken,
    end: CancellationToken,
    grace: Duration,
    clients: TaskTracker,
    workers: Arc<Workers>,
    listener: JoinHandle<()>,
    background: TaskTracker,
}

impl Router {
    /// Starts every part. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let (stop, cut, end) = (
            CancellationToken::new(),
            CancellationToken::new(),
            CancellationToken::new(),
        );
        let players = bind(format!("for players on port {}", config.port), || {
            socket::listen_everywhere(config.port)
        })?;
        let api = config.api_binding.map(|address| {
            bind(format!("for the API on {address}"), || {
                socket::listen(address)
            })
        });
        let api = api.transpose()?;
        let registry = Arc::new(Registry::new(config.mapping, config.default)?);
        let waker = config
            .waker
            .as_ref()
            .map(|waker| new_waker(waker, &stop))
            .transpose()?;

        let clients = TaskTracker::new();
        let workers = Workers::start(clients.clone(), &cut).map_err(StartError::Workers)?;
        let workers = Arc::new(workers);

        let counters = Arc::<Counters>::default();
        let background = TaskTracker::new();
        let sync = config.postgres.map(|postgres| {
            let status = Arc::new(SyncStatus::default());
            let (registry, shared) = (Arc::clone(&registry), Arc::clone(&status));
            background.spawn(source::follow(postgres, registry, shared, end.clone()));
            status
        });
        let api_address = api.as_ref().map(|(_, address)| *address);
        if let Some((listener, address)) = api {
            info!(%address, "API listening");
            let api = Api {
                registry: Arc::clone(&registry),
                sync,
                counters: Arc::clone(&counters),
                stop: stop.clone(),
            };
            background.spawn(http::serve(listener, api.router(), end.clone()));
        }
        let services = Arc::new(Services {
            registry,
            waker,
            counters,
            motd: config.motd,
            dial_timeout: config.backend_dial_timeout,
            stop: stop.clone(),
        });
        let (listener, address) = players;
        info!(%address, "listening for players");
        let max = config.max_connections;
        let accepting = listener::run(listener, services, max, Arc::clone(&workers));
        Ok(Self {
            players: address,
            api: api_address,
            stop,
            cut,
            end,
            grace: config.shutdown_grace,
            clients,
            workers,
            listener: tokio::spawn(accepting),
            background,
        })
    }

    /// Begins the orderly stop when cancelled.
    #[must_use]
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Ends an orderly stop when cancelled: whoever is still connected is cut off.
    #[must_use]
    pub fn cut_token(&self) -> CancellationToken {
        self.cut.clone()
    }

    /// Waits for the stop token, then for players to leave, at most the grace period; then
    /// ends everything. Returns how many connections had to be cut.
    pub async fn wait(mut self) -> usize {
        tokio::select! {
            () = self.stop.cancelled() => drop((&mut self.listener).await),
            // It only ends when told to, unless there is a bug; then nobody may think all is well.
            ended = &mut self.listener => {
                error!(?ended, "the listener has ended by itself; stopping");
                self.stop.cancel();
            }
        }
        self.clients.close();
        if !self.clients.is_empty() {
            let (open, grace) = (self.clients.len(), short(self.grace));
            info!(open, grace, "waiting for players to leave");
        }
        let drained = timeout(self.grace.max(GRACE_MIN), self.clients.wait());
        let drained = self.cut.run_until_cancelled(drained).await;
        let left = if matches!(drained, Some(Ok(()))) {
            0
        } else {
            self.clients.len()
        };
        self.cut.cancel();
        if left > 0 {
            warn!(connections = left, "cutting off whoever is still connected");
        }
        drop(timeout(CUT_TIMEOUT, self.workers.ended()).await);
        self.end.cancel();
        self.background.close();
        drop(timeout(CUT_TIMEOUT * 3, self.background.wait()).await);
        info!("stopped");
        left
    }
}

fn bind(
    what: String,
    listen: impl FnOnce() -> io::Result<TcpListener>,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let bound = listen().and_then(|listener| {
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    bound.map_err(|error| StartError::Listen { what, error })
}

fn new_waker(config: &WakerConfig, stop: &CancellationToken) -> Result<Arc<Waker>, ClientError> {
    let limits = Limits {
        poll_interval: config.poll_interval,
        timeout: config.timeout,
    };
    Ok(Waker::new(
        ManagerClient::new(config)?,
        limits,
        stop.clone(),
    ))
}
