//! A real Postgres for tests: an existing server, a container, or local binaries, whichever is to be had.

mod access;
mod container;
mod database;
mod local;
mod tls;

use std::io::{Write, stderr};
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Error, Result, anyhow, bail};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tracing::{info, warn};
use xtask::postgres::{DSN_VARIABLE, Found, Wish, find, wish};

use self::access::Access;
pub(crate) use self::access::random;
use self::container::Container;
use self::database::Afterwards;
pub use self::database::{Database, SCHEMA};
use self::local::Local;

/// The server of this run, or why there is none: the search is not repeated for every test.
static SHARED: OnceCell<Result<Postgres, String>> = OnceCell::const_new();

/// A running Postgres server.
///
/// Where it comes from, in this order: the server of `AUTOMC_TEST_DSN`; a container of
/// `AUTOMC_TEST_POSTGRES_IMAGE` (`postgres:17-alpine`); a private cluster from this machine's programs, or from programs
/// fetched into the target folder. `AUTOMC_TEST_POSTGRES=container|local|fetched` allows only the one kind. Servers started here are gone
/// soon after the process, also after a panic or SIGKILL. Nothing in it belongs to a runtime.
#[derive(Debug)]
pub struct Postgres {
    backing: Backing,
    access: Arc<Access>,
    template: OnceCell<String>,
    private: bool,
}

#[derive(Debug)]
enum Backing {
    Existing,
    Container(Box<Container>),
    Local(Local),
}

impl Postgres {
    /// The server all tests of this process share; the first caller starts it.
    ///
    /// # Errors
    /// When no server can be had; the error says what to install. Every later call gets the same error.
    pub async fn shared() -> Result<&'static Self> {
        let found = SHARED.get_or_init(|| async {
            let found = Self::find(false).await;
            found.map_err(|error| format!("{error:#}"))
        });
        match found.await {
            Ok(server) => Ok(server),
            Err(reason) => Err(anyhow!("{reason}")),
        }
    }

    /// A server of the caller's own, to stop, kill and start again; dropping it removes it, and
    /// blocks for a moment. `AUTOMC_TEST_DSN` is passed over.
    ///
    /// # Errors
    /// When neither a container nor a local cluster can be had; the error says what to install.
    pub async fn start() -> Result<Self> {
        Self::find(true).await
    }

    /// The server of `AUTOMC_TEST_DSN` if that is set, else one of the caller's own.
    ///
    /// # Errors
    /// When none can be had; the error says what to install.
    pub async fn start_or_use() -> Result<Self> {
        match wish().map_err(Error::msg)? {
            Wish::Existing(_) => Self::find(false).await,
            _ => Self::find(true).await,
        }
    }

    async fn find(private: bool) -> Result<Self> {
        let mut wish = wish().map_err(Error::msg)?;
        if private {
            wish = wish.private();
        }
        let found = look(wish.clone(), None).await?;
        let container = matches!(found, Found::Container(_));
        match Self::take(found, private).await {
            Err(error) if wish == Wish::Any && container => {
                warn!("no container after all: {error:#}");
                let found = look(wish, Some(format!("{error:#}"))).await?;
                Self::take(found, private).await
            }
            taken => taken,
        }
    }

    async fn take(found: Found, private: bool) -> Result<Self> {
        let mut access = Access::invented();
        let (backing, instead) = match found {
            Found::Existing(dsn) => {
                access = Access::parse(&dsn).await.context(DSN_VARIABLE)?;
                (Backing::Existing, None)
            }
            Found::Container(image) => {
                let container = Container::start(image, &access).await?;
                (Backing::Container(Box::new(container)), None)
            }
            Found::Programs { programs, instead } => {
                let local = Local::start(programs, &access).await?;
                (Backing::Local(local), instead)
            }
        };
        let server = Self {
            backing,
            access: Arc::new(access),
            template: OnceCell::new(),
            private,
        };
        info!(
            server = server.describe(),
            no_container = instead,
            "Postgres for tests"
        );
        Ok(server)
    }

    /// Whether it is somebody else's, which is never stopped.
    #[must_use]
    pub fn is_existing(&self) -> bool {
        matches!(self.backing, Backing::Existing)
    }

    /// What it is and where, for logs: `a container of postgres:17-alpine at 127.0.0.1:49153`.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("{} at {}", self.what(), self.addr())
    }

    fn what(&self) -> String {
        match &self.backing {
            Backing::Existing => format!("the server of {DSN_VARIABLE}"),
            Backing::Container(container) => container.describe(),
            Backing::Local(local) => local.describe(),
        }
    }

    /// Where it is reached now; [`start_again`](Self::start_again) may change it.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.access.addr()
    }

    /// A URL for one of its databases, with `sslmode=disable`.
    #[must_use]
    pub fn dsn(&self, database: &str) -> String {
        self.dsn_at(self.addr(), database)
    }

    /// The same through another address, such as a chaos proxy's.
    #[must_use]
    pub fn dsn_at(&self, addr: SocketAddr, database: &str) -> String {
        self.access.dsn(addr, database)
    }

    /// A fresh database with `schema.sql` applied.
    ///
    /// # Errors
    /// When the server cannot be reached, or its role may not create databases.
    pub async fn database(&self) -> Result<Database> {
        let template = self
            .template
            .get_or_try_init(|| database::template(&self.access))
            .await?;
        self.create(template).await
    }

    /// A fresh database with nothing in it.
    ///
    /// # Errors
    /// When the server cannot be reached, or its role may not create databases.
    pub async fn empty_database(&self) -> Result<Database> {
        self.create("template0").await
    }

    async fn create(&self, template: &str) -> Result<Database> {
        let afterwards = match &self.backing {
            Backing::Existing => Afterwards::DropAndWait,
            Backing::Container(_) | Backing::Local(_) if self.private => Afterwards::Keep,
            Backing::Container(_) | Backing::Local(_) => Afterwards::Drop,
        };
        Database::create(&self.access, template, afterwards).await
    }

    /// Shuts a private server down: sessions are ended, data is kept.
    ///
    /// # Errors
    /// When it is shared or not running, or does not end within 30 s.
    pub async fn stop(&self) -> Result<()> {
        match self.own()? {
            Backing::Existing => bail!("it is not ours"),
            Backing::Container(container) => container.stop().await,
            Backing::Local(local) => local.stop().await,
        }
    }

    /// Kills a private server at once, as a crash would; what was committed is kept.
    ///
    /// # Errors
    /// When it is shared or not running.
    pub async fn kill(&self) -> Result<()> {
        match self.own()? {
            Backing::Existing => bail!("it is not ours"),
            Backing::Container(container) => container.kill().await,
            Backing::Local(local) => local.kill().await,
        }
    }

    /// Starts a stopped or killed private server and waits until it answers; [`addr`](Self::addr) may change.
    ///
    /// # Errors
    /// When it is shared or running, or does not answer within a minute.
    pub async fn start_again(&self) -> Result<()> {
        match self.own()? {
            Backing::Existing => bail!("it is not ours"),
            Backing::Container(container) => container.start_again(&self.access).await,
            Backing::Local(local) => local.start_again(&self.access).await,
        }
    }

    fn own(&self) -> Result<&Backing> {
        if self.private {
            Ok(&self.backing)
        } else {
            bail!("the shared server serves other tests, too; take one from Postgres::start()")
        }
    }
}

/// What is wished for. What takes its time is told past the test harness, which would keep it to itself.
async fn look(wish: Wish, no_container: Option<String>) -> Result<Found> {
    let say = |line: &str| drop(writeln!(stderr(), "{line}"));
    let look = move || find(&wish, no_container.as_deref(), &say);
    spawn_blocking(look).await?.map_err(Error::msg)
}
