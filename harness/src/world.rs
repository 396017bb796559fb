//! Everything at once: Postgres and waker-mock behind chaos proxies, backends, and the router.

use std::time::Duration;

use anyhow::{Context, Result};
use automc_router::config::secret::Secret;
use automc_router::postgres::dsn::Dsn;
use tokio_postgres::Client;
use waker_mock::{Config, ServerSpec, WakerMock};

use crate::backend::Backend;
use crate::chaos::ChaosProxy;
use crate::postgres::{Database, Postgres};
use crate::router::{Address, RouterInside, RouterProcess, Settings};

/// How often the router polls in a world: quick, so that tests are.
const POLL_INTERVAL: &str = "50ms";
/// Longest wait for the routes a world begins with.
const ROUTES_DEADLINE: Duration = Duration::from_secs(30);
/// The key between router and waker-mock.
pub const TOKEN: &str = "a token 12345";

/// What a world is made of, before it is.
#[derive(Debug)]
pub struct WorldBuilder {
    settings: Settings,
    sleeping: Vec<(String, ServerSpec)>,
    running: Vec<String>,
}

/// A running world. Dropping it ends all of it.
#[derive(Debug)]
pub struct World {
    /// The router, last started and first stopped.
    pub router: Running,
    /// Between router and Postgres.
    pub postgres_proxy: ChaosProxy,
    /// Between router and waker-mock.
    pub waker_proxy: ChaosProxy,
    /// The server-manager, which writes states into the table as a real one does.
    pub waker: WakerMock,
    /// Servers that always run, in the order they were asked for.
    pub backends: Vec<Backend>,
    /// A session of its own, not through the proxy.
    pub sql: Client,
    /// The database, the schema applied.
    pub database: Database,
}

/// The router, however it runs.
#[derive(Debug)]
pub enum Running {
    /// As the real binary.
    Process(Box<RouterProcess>),
    /// In this process.
    Inside(RouterInside),
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn at(&self) -> &Address {
        match self {
            Self::Process(router) => &router.at,
            Self::Inside(router) => &router.at,
        }
    }
}

impl World {
    /// A world with nothing in it yet.
    #[must_use]
    pub fn builder() -> WorldBuilder {
        let settings = Settings::new().env("AUTOMC_WAKER_POLL_INTERVAL", POLL_INTERVAL);
        WorldBuilder {
            settings,
            sleeping: Vec::new(),
            running: Vec::new(),
        }
    }

    /// Where the router listens.
    #[must_use]
    pub fn at(&self) -> &Address {
        self.router.at()
    }
}

impl WorldBuilder {
    /// Adds a sleeping server of the waker-mock: `name`, at `name.test`, up after `boot`.
    #[must_use]
    pub fn sleeping(mut self, name: &str, boot: Duration) -> Self {
        self.sleeping.push((
            name.to_owned(),
            ServerSpec::new(&format!("{name}.test"), boot),
        ));
        self
    }

    /// Adds a server that runs: `name`, at `name.test`.
    #[must_use]
    pub fn running(mut self, name: &str) -> Self {
        self.running.push(name.to_owned());
        self
    }

    /// Sets a variable of the router.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.settings = self.settings.env(name, value);
        self
    }

    /// Starts it, with the router as the real binary.
    ///
    /// # Errors
    /// A part does not start, or the routes do not come.
    pub async fn process(self) -> Result<World> {
        self.start(true).await
    }

    /// Starts it, with the router in this process.
    ///
    /// # Errors
    /// A part does not start, or the routes do not come.
    pub async fn inside(self) -> Result<World> {
        self.start(false).await
    }

    async fn start(self, process: bool) -> Result<World> {
        let postgres = Postgres::shared().await?;
        let database = postgres.database().await?;
        let sql = database.client().await?;
        let postgres_proxy = ChaosProxy::start(postgres.addr()).await?;
        let config = Config {
            token: Some(Secret::new(TOKEN)),
            dsn: Some(Dsn::parse(&database.dsn())?),
            servers: self.sleeping.clone(),
            ..Config::default()
        };
        let waker = WakerMock::start(config).await?;
        let waker_proxy = ChaosProxy::start(waker.addr()).await?;
        let mut backends = Vec::new();
        for name in &self.running {
            let backend = Backend::start(name).await?;
            let (domain, address) = (format!("{name}.test"), backend.addr().to_string());
            let insert =
                "INSERT INTO servers (name, domain, address, state) VALUES ($1, $2, $3, 'running')";
            sql.execute(insert, &[name, &domain, &address]).await?;
            backends.push(backend);
        }
        let settings = self
            .settings
            .env(
                "AUTOMC_DSN",
                postgres.dsn_at(postgres_proxy.addr(), database.name()),
            )
            .env("AUTOMC_WAKER_URL", format!("http://{}", waker_proxy.addr()))
            .env("AUTOMC_WAKER_TOKEN", TOKEN);
        let router = if process {
            Running::Process(Box::new(RouterProcess::start(settings).await?))
        } else {
            Running::Inside(RouterInside::start(settings)?)
        };
        let names = self
            .sleeping
            .iter()
            .map(|(name, _)| name)
            .chain(&self.running);
        for host in names.map(|name| format!("{name}.test")) {
            router
                .at()
                .has(&host, ROUTES_DEADLINE)
                .await
                .context("the routes of a new world")?;
        }
        Ok(World {
            router,
            postgres_proxy,
            waker_proxy,
            waker,
            backends,
            sql,
            database,
        })
    }
}
