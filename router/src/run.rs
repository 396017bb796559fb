//! Builds every part, starts them, and stops them in order; the one file that knows them all.

use std::io;
use std::net::{self, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::admit::Admission;
use crate::api::{Api, Readers, http};
use crate::beside::{Beside, scale, starters};
use crate::config::secret::Secret;
use crate::config::values::short;
use crate::config::{Config, InfluxConfig, PostgresConfig, Proxies, WebhookConfig};
use crate::connection::Services;
use crate::health::Health;
use crate::health::monitor::Monitor;
use crate::hold::cookie::Signer;
use crate::http_client::HttpError;
use crate::journal;
use crate::listener::{self, Places};
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::metrics::push::Writer;
use crate::newer::Newer;
#[cfg(feature = "ngrok")]
use crate::ngrok;
use crate::postgres::source;
use crate::postgres::status::SyncStatus;
use crate::routes::file_keeper::{FixedRoutes, Unusable};
use crate::routes::file_watch;
use crate::routes::pool::Changes;
use crate::routes::registry::{Full, Registry};
use crate::servers::{Servers, Starters};
use crate::socket;
use crate::start::{self, Later};
use crate::status::cache::StatusCache;
use crate::throttle::Throttle;
use crate::wake::Waker;
use crate::wake::client::{ClientError, ManagerClient};
use crate::wake::machine::Limits;
use crate::wake::manager::Manager;
use crate::wake::permit::Permits;
use crate::webhook::Notifier;
use crate::workers::{self, Workers};

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
    /// The players' file.
    #[error("{0}")]
    Players(String),
    /// A webhook's client.
    #[error("webhook: {0}")]
    Webhook(#[from] HttpError),
    /// The client of InfluxDB.
    #[error("metrics_backend_config_influxdb_addr: {0}")]
    Influx(HttpError),
    /// Docker's client.
    #[cfg(feature = "docker")]
    #[error("docker: {0}")]
    Docker(#[from] crate::docker::engine::EngineError),
    /// The secret of the cookies.
    #[error("the system has no random numbers; set AUTOMC_COOKIE_SECRET")]
    Random,
    /// More fixed routes than allowed.
    #[error("mapping: {0}")]
    Mapping(#[from] Full),
    /// A routes file that is there, but cannot be used.
    #[error("routes-config: {0}")]
    RoutesFile(#[from] Unusable),
}

/// A listener has ended without being told to, which is a bug.
#[derive(Debug, thiserror::Error)]
#[error("a listener has ended by itself, which is a bug")]
pub struct ListenerEnded;

/// A running router.
#[derive(Debug)]
pub struct Router {
    /// Where players connect; the port is the real one where 0 was asked for.
    pub players: SocketAddr,
    /// Where the REST API listens, if it does.
    pub api: Option<SocketAddr>,
    stop: CancellationToken,
    cut: CancellationToken,
    reload: Vec<Arc<Notify>>,
    /// Ends what runs beside the players, also when this is dropped.
    end: DropGuard,
    grace: Duration,
    clients: TaskTracker,
    workers: Workers,
    accepting: JoinSet<()>,
    background: TaskTracker,
}

impl Router {
    /// Starts every part. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let [stop, cut, end] = std::array::from_fn(|_| CancellationToken::new());
        let count = workers::count();
        let (listeners, players) = listen_for_players(&config, count)?;
        let api = config.api_binding.map(listen_for_api).transpose()?;
        let memory = Memory::of_file(config.state_file.as_deref());
        let servers = Servers::new(Arc::clone(&memory));
        let background = TaskTracker::new();
        let starters = starters(&config);
        let (mut services, beside, monitor) = services(&config, &memory, &servers, &stop)?;
        services.notifier = notifier(config.webhook.as_ref(), &services, &background, &end)?;
        let later = Later::of(&config);
        let influx = writer(config.influx, &services)?;
        let registry = Arc::clone(&services.registry);
        let admission = Arc::clone(&services.admission);
        let fixed = FixedRoutes::open(Arc::clone(&registry), config.routes.file)?;
        start::tell_routes(&registry, later);
        let mut told = telling(&services, &fixed, starters, config.api_token, &stop);
        let workers = Workers::start(count).map_err(StartError::Workers)?;
        let clients = TaskTracker::new();
        let places = Places::new(config.max_connections);
        let accepting = accept(listeners, &workers, services, places, &clients)?;

        // From here on nothing fails any more.
        #[cfg(feature = "ngrok")]
        ngrok::start(config.ngrok, players, &background, &end);
        let journal = Arc::clone(registry.journal());
        background.spawn(journal::tell(servers.subscribe(), journal, end.clone()));
        background.spawn(monitor.run(stop.clone()));
        start::try_manager(config.waker, &background, &end);
        beside.start(&background, &stop, &end);
        let players_file = admission.keep(config.admit.players, &background, &end);
        let routes = follow_file(&fixed, config.routes.watch, &background, &end);
        memory.keep(
            config.state_file,
            config.postgres.as_ref(),
            &background,
            &end,
        );
        let shared = Arc::clone(&servers);
        let heard = move |changes: &Changes| shared.changed(changes, starters);
        let follow = |postgres| follow_postgres(postgres, &registry, heard, &background, &end);
        let sync = config.postgres.map(follow);
        influx.map(|writer| background.spawn(writer.run(end.clone())));
        let api_address = api.as_ref().map(|(_, address)| *address);
        if let Some((listener, address)) = api {
            info!(%address, "API listening");
            told.sync = sync;
            background.spawn(http::serve(listener, told.router(), end.clone()));
        }
        info!(workers = count, address = %players, "listening for players");
        Ok(Self {
            players,
            api: api_address,
            stop,
            cut,
            reload: vec![routes, players_file],
            end: end.drop_guard(),
            grace: config.shutdown_grace,
            clients,
            workers,
            accepting,
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

    /// Each part that comes from a file reads it again when its own is notified.
    #[must_use]
    pub fn reload(&self) -> Vec<Arc<Notify>> {
        self.reload.clone()
    }

    /// Waits for the stop token, then for players to leave, at most the grace period; then
    /// ends everything. Returns how many connections had to be cut.
    ///
    /// # Errors
    /// [`ListenerEnded`]; everything has been stopped in order nevertheless.
    pub async fn wait(mut self) -> Result<usize, ListenerEnded> {
        let mut outcome = Ok(());
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            // They only end when told to, unless there is a bug; then nobody may think all is well.
            ended = self.accepting.join_next() => {
                error!(?ended, "a listener has ended by itself; stopping");
                outcome = Err(ListenerEnded);
                self.stop.cancel();
            }
        }
        while self.accepting.join_next().await.is_some() {}
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
        if left > 0 {
            warn!(connections = left, "cutting off whoever is still connected");
        }
        drop(timeout(CUT_TIMEOUT, self.workers.end()).await);
        drop(self.end);
        self.background.close();
        drop(timeout(CUT_TIMEOUT * 3, self.background.wait()).await);
        info!("stopped");
        outcome.map(|()| left)
    }
}

/// What the API tells; of Postgres it knows nothing yet.
fn telling(
    services: &Services,
    fixed: &Arc<FixedRoutes>,
    starters: Starters,
    token: Option<Secret>,
    stop: &CancellationToken,
) -> Api {
    Api {
        admission: Arc::clone(&services.admission),
        registry: Arc::clone(&services.registry),
        fixed: Arc::clone(fixed),
        sync: None,
        counters: Arc::clone(&services.counters),
        metrics: Arc::clone(&services.metrics),
        health: Arc::clone(&services.health),
        servers: Arc::clone(&services.servers),
        starters,
        token,
        stop: stop.clone(),
        readers: Readers::default(),
    }
}

/// Has every worker accept from a listener of its own.
fn accept(
    listeners: Vec<net::TcpListener>,
    workers: &Workers,
    services: Services,
    places: Places,
    clients: &TaskTracker,
) -> Result<JoinSet<()>, StartError> {
    let (services, places) = (Arc::new(services), Arc::new(places));
    let mut accepting = JoinSet::new();
    for (runtime, listener) in workers.runtimes().iter().zip(listeners) {
        let listener = {
            let _inside = runtime.enter();
            let what = "for players".to_owned();
            TcpListener::from_std(listener).map_err(|error| StartError::Listen { what, error })?
        };
        let (services, places) = (Arc::clone(&services), Arc::clone(&places));
        accepting.spawn_on(
            listener::run(listener, services, places, clients.clone()),
            runtime,
        );
    }
    Ok(accepting)
}

/// Who tells of clients and routes, if anybody is to hear of them.
fn notifier(
    webhook: Option<&WebhookConfig>,
    services: &Services,
    tasks: &TaskTracker,
    end: &CancellationToken,
) -> Result<Option<Arc<Notifier>>, HttpError> {
    let (registry, metrics) = (&services.registry, &services.metrics);
    let start = |webhook| Notifier::start(webhook, registry, metrics, tasks, end);
    webhook.map(start).transpose()
}

/// Who writes metrics, if anybody is to.
fn writer(influx: Option<InfluxConfig>, services: &Services) -> Result<Option<Writer>, StartError> {
    let new = |config| {
        let (metrics, counters) = (&services.metrics, &services.counters);
        let admission = Arc::clone(&services.admission);
        Writer::new(config, Arc::clone(metrics), Arc::clone(counters), admission)
    };
    influx.map(new).transpose().map_err(StartError::Influx)
}

/// Follows the table; what is known of that is told by the API.
fn follow_postgres(
    postgres: PostgresConfig,
    registry: &Arc<Registry>,
    heard: impl Fn(&Changes) + Send + Sync + 'static,
    background: &TaskTracker,
    end: &CancellationToken,
) -> Arc<SyncStatus> {
    let status = Arc::new(SyncStatus::telling(Arc::clone(registry.journal())));
    let (registry, shared) = (Arc::clone(registry), Arc::clone(&status));
    background.spawn(source::follow(
        postgres,
        registry,
        shared,
        heard,
        end.clone(),
    ));
    status
}

/// The listener of the API, with the real port where 0 was asked for.
fn listen_for_api(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    bind(format!("for the API on {address}"), || {
        let listener = socket::listen(address)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    })
}

fn bind<T>(what: String, bind: impl FnOnce() -> io::Result<T>) -> Result<T, StartError> {
    bind().map_err(|error| StartError::Listen { what, error })
}

/// Has `tasks` read the routes file again, whenever what comes back is notified.
fn follow_file(
    routes: &Arc<FixedRoutes>,
    watched: bool,
    tasks: &TaskTracker,
    end: &CancellationToken,
) -> Arc<Notify> {
    let reload = Arc::<Notify>::default();
    let (routes, asked) = (Arc::clone(routes), Arc::clone(&reload));
    tasks.spawn(file_watch::follow(routes, watched, asked, end.clone()));
    reload
}

/// Where players connect.
fn listen_for_players(
    config: &Config,
    count: usize,
) -> Result<(Vec<net::TcpListener>, SocketAddr), StartError> {
    #[cfg(feature = "ngrok")]
    if config.ngrok.is_some() {
        return bind("for the tunnel".to_owned(), || socket::listen_within(count));
    }
    bind(format!("for players on port {}", config.port), || {
        socket::listen_for_players(config.port, count)
    })
}

/// Whose PROXY headers count.
fn proxies(config: &Config) -> Option<Proxies> {
    #[cfg(feature = "ngrok")]
    if config.ngrok.is_some() {
        return Some(ngrok::trusted());
    }
    if config.proxies == Some(Proxies::All) {
        warn!(
            "PROXY headers of everybody are believed, so any client can claim any address; \
             set trusted-proxies"
        );
    }
    config.proxies.clone()
}

/// What every connection shares, what stops servers, and what asks how they are.
fn services(
    config: &Config,
    memory: &Arc<Memory>,
    servers: &Arc<Servers>,
    stop: &CancellationToken,
) -> Result<(Services, Beside, Monitor), StartError> {
    let (mapping, default) = (config.mapping.clone(), config.default.clone());
    let names = config.routes.names;
    let registry = Registry::new(mapping, default, Arc::clone(&config.defaults), names)?;
    let registry = Arc::new(registry);
    let waker = match &config.waker {
        Some(config) => {
            let limits = Limits {
                poll_interval: Some(config.poll_interval),
                timeout: config.timeout,
            };
            Some(Waker::new(
                Manager::Rest(Box::new(ManagerClient::new(config)?)),
                limits,
                Arc::clone(&registry),
                Arc::clone(servers),
                stop.clone(),
            ))
        }
        None => None,
    };
    let scaled = match &config.scaler {
        Some(scaler) => Some(scale(scaler, config, &registry, servers, stop)?),
        None => None,
    };
    let (scaler, down) = scaled.unzip();
    let mut beside = Beside::default();
    beside.downs.extend(down);
    let docker = beside.docker(config, &registry, servers, stop)?;
    let signer = match &config.cookie_secret {
        Some(secret) => Signer::new(secret.expose()),
        None => Signer::random().map_err(|_| StartError::Random)?,
    };
    let permits = Permits::new(config.wake_per_address, config.wake_per_name);
    let (memory, servers) = (Arc::clone(memory), Arc::clone(servers));
    let (health, suspected) = Health::new(config.checks);
    let monitor = Monitor {
        health: Arc::clone(&health),
        suspected,
        registry: Arc::clone(&registry),
        servers: Arc::clone(&servers),
        starters: starters(config),
        scaler: scaler.clone(),
        memory: Arc::clone(&memory),
        dial_limit: config.backend_dial_timeout,
    };
    let told = Arc::clone(&health);
    let services = Services {
        admission: Admission::new(&config.admit).map_err(StartError::Players)?,
        registry,
        waker,
        scaler,
        docker,
        in_use: beside.in_use(),
        permits: Mutex::new(permits),
        flood: Arc::default(),
        newer: Newer::default(),
        throttle: Throttle::default(),
        status: StatusCache::new(config.status_ttl, memory, Arc::clone(&servers), told),
        health,
        servers,
        signer,
        notifier: None,
        counters: Arc::default(),
        metrics: Arc::new(Metrics::new(config.admit.record_logins)),
        proxies: proxies(config),
        dial_timeout: config.backend_dial_timeout,
        stop: stop.clone(),
    };
    Ok((services, beside, monitor))
}
