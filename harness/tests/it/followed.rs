//! A router that follows a database of its own, and a hand on that database.

use std::time::Duration;

use harness::chaos::ChaosProxy;
use harness::eventually::eventually;
use harness::postgres::{Database, Postgres};
use harness::router::{RouterProcess, Settings};
use tokio::sync::OnceCell;
use tokio_postgres::Client;
use tokio_postgres::config::Host;

/// For whatever should happen soon. Well under the minute after which the table is read anyway,
/// so what is seen within it was announced.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A server of our own, for tests that make roles: somebody else's may not let us.
static OWN: OnceCell<Postgres> = OnceCell::const_new();

pub(crate) async fn own_server() -> &'static Postgres {
    OWN.get_or_init(|| async { Postgres::start().await.unwrap() })
        .await
}

/// The sessions of the router in this database.
const ROUTERS: &str =
    "pg_stat_activity WHERE application_name = 'automc-router' AND datname = current_database()";

pub(crate) struct Followed {
    pub(crate) router: RouterProcess,
    pub(crate) sql: Client,
    pub(crate) database: Database,
}

impl Followed {
    /// A router on a database with the schema, ready.
    pub(crate) async fn start() -> Self {
        let database = Postgres::shared().await.unwrap().database().await.unwrap();
        let settings = Settings::new().database(&database);
        let followed = Self::over(database, settings).await;
        followed.router.at.ready(DEADLINE).await.unwrap();
        followed
    }

    /// A router on an empty database after `statements`.
    pub(crate) async fn shaped(statements: &str) -> Self {
        let server = Postgres::shared().await.unwrap();
        let database = server.empty_database().await.unwrap();
        let sql = database.client().await.unwrap();
        sql.batch_execute(statements).await.unwrap();
        let settings = Settings::new().database(&database);
        Self::over(database, settings).await
    }

    /// A router with `settings`, which name the database or a way to it.
    pub(crate) async fn over(database: Database, settings: Settings) -> Self {
        let sql = database.client().await.unwrap();
        let router = RouterProcess::start(settings).await.unwrap();
        Self {
            router,
            sql,
            database,
        }
    }

    /// A router that reaches its database through a proxy, which can lose notifications.
    pub(crate) async fn through_proxy() -> (Self, ChaosProxy) {
        let server = Postgres::shared().await.unwrap();
        let database = server.database().await.unwrap();
        let proxy = ChaosProxy::before_postgres(server.addr()).await.unwrap();
        let dsn = server.dsn_at(proxy.addr(), database.name());
        let settings = Settings::new().env("AUTOMC_DSN", dsn);
        (Self::over(database, settings).await, proxy)
    }

    pub(crate) async fn run(&self, statements: &str) {
        let done = self.sql.batch_execute(statements).await;
        done.unwrap_or_else(|error| panic!("{statements}: {error:?}"));
    }

    /// Adds a row with nothing special about it.
    pub(crate) async fn insert(&self, name: &str, domain: &str, address: &str) {
        let insert = "INSERT INTO servers (name, domain, address) VALUES ($1, $2, $3)";
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&name, &domain, &address];
        self.sql.execute(insert, &row).await.unwrap();
    }

    /// Adds such a row and waits until it is a route.
    pub(crate) async fn add(&self, name: &str, domain: &str, address: &str) {
        self.insert(name, domain, address).await;
        self.routed(domain, Some(address)).await;
    }

    /// Waits until `host` leads to `backend`, or nowhere.
    pub(crate) async fn routed(&self, host: &str, backend: Option<&str>) {
        let found = self.router.at.routed(host, backend, DEADLINE).await;
        found.unwrap_or_else(|error| panic!("{error:#}\n{}", self.router.process.tail(20)));
    }

    /// Waits for a log line with all of `parts`.
    pub(crate) async fn says(&self, parts: &[&str]) -> String {
        self.router.says(parts).await.unwrap()
    }

    /// How many log lines there are with `words`.
    pub(crate) fn count(&self, words: &str) -> usize {
        let log = self.router.process.log();
        log.iter().filter(|line| line.contains(words)).count()
    }

    /// Why the row called `name` is no route; `None` if it is not set aside.
    pub(crate) async fn reason(&self, name: &str) -> Option<String> {
        let sync = self.router.at.sync().await.unwrap();
        let rows = sync["setAside"].as_array().unwrap();
        let row = rows.iter().find(|row| row["name"] == name)?;
        Some(row["reason"].as_str().unwrap().to_owned())
    }

    /// Full reads of the table so far.
    pub(crate) async fn syncs(&self) -> u64 {
        let sync = self.router.at.sync().await.unwrap();
        sync["syncs"].as_u64().unwrap()
    }

    /// Ends the router's session from the server's side.
    pub(crate) async fn terminate(&self) {
        let terminate = format!("SELECT pg_terminate_backend(pid) FROM {ROUTERS}");
        let ended = self.sql.query(&terminate, &[]).await.unwrap();
        assert_eq!(ended.len(), 1, "the router has one connection");
    }

    /// Waits until the router's query waits for `what`: a `Lock`, or more exactly an `advisory` one.
    pub(crate) async fn waits_for(&self, what: &str) {
        // Of long queries, only the begin is shown there.
        let query = format!(
            "SELECT count(*) FROM {ROUTERS} AND $1 IN (wait_event_type, wait_event) \
             AND (query LIKE 'SELECT CASE WHEN octet_length(name%' OR query LIKE '%UNION ALL (SELECT %')"
        );
        eventually("the router's query to wait", DEADLINE, async || {
            let row = self.sql.query_one(&query, &[&what]).await?;
            Ok::<_, tokio_postgres::Error>(row.get::<_, i64>(0) == 1)?
                .then_some(())
                .ok_or_else(|| anyhow::anyhow!("it does not wait for {what}"))
        })
        .await
        .unwrap();
    }
}

/// The parts of a DSN, to be written in another way.
pub(crate) struct Parts {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) database: String,
}

impl Parts {
    pub(crate) fn of(dsn: &str) -> Self {
        let config: tokio_postgres::Config = dsn.parse().unwrap();
        let Host::Tcp(host) = config.get_hosts()[0].clone() else {
            panic!("a TCP host")
        };
        Self {
            host,
            port: config.get_ports()[0],
            user: config.get_user().unwrap().to_owned(),
            password: String::from_utf8(config.get_password().unwrap_or_default().to_owned())
                .unwrap(),
            database: config.get_dbname().unwrap().to_owned(),
        }
    }

    /// `key=value` form, without `sslmode`.
    pub(crate) fn pairs(&self) -> String {
        let Self {
            host,
            port,
            user,
            password,
            database,
        } = self;
        format!("host={host} port={port} user={user} password='{password}' dbname={database}")
    }

    /// The same for the role `user` with that name as its password.
    pub(crate) fn role(mut self, user: &str) -> Self {
        user.clone_into(&mut self.user);
        user.clone_into(&mut self.password);
        self
    }
}
