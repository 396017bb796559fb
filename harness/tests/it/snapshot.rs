//! What the router still knows when it starts and Postgres is not there; and what it is like when it stands still.

use std::time::Duration;

use harness::chaos::ChaosProxy;
use harness::eventually::eventually;
use harness::postgres::Postgres;
use harness::router::{RouterProcess, Settings};
use hyper::Method;

use crate::followed::{DEADLINE, Followed};

/// For the server to end a connection whose data is not taken: 20 s, and it is probed ever more seldom.
const ENDED: Duration = Duration::from_secs(90);

/// A database, a way to it that can be shut, and a folder for the file.
struct Place {
    server: &'static Postgres,
    database: harness::postgres::Database,
    proxy: ChaosProxy,
    folder: tempfile::TempDir,
}

impl Place {
    async fn new() -> Self {
        let server = Postgres::shared().await.unwrap();
        Self {
            server,
            database: server.database().await.unwrap(),
            proxy: ChaosProxy::start(server.addr()).await.unwrap(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    async fn router(&self) -> RouterProcess {
        let dsn = self.server.dsn_at(self.proxy.addr(), self.database.name());
        let file = self.folder.path().join("rows.jsonl");
        let settings = Settings::new()
            .env("AUTOMC_DSN", dsn)
            .env("AUTOMC_GUARD_HOLD", "1h")
            .env("AUTOMC_SNAPSHOT_FILE", file.to_str().unwrap());
        RouterProcess::start(settings).await.unwrap()
    }
}

async fn stopped(mut router: RouterProcess) {
    router.process.signal("TERM").await.unwrap();
    let status = router.process.exit(DEADLINE).await.unwrap();
    assert!(status.success(), "{status}");
}

async fn ready(router: &RouterProcess) -> serde_json::Value {
    router.at.ready(DEADLINE).await.unwrap();
    let ready = router.at.api(Method::GET, "/readyz", "").await.unwrap();
    assert_eq!(ready.status, 200);
    ready.json().unwrap()
}

#[tokio::test]
async fn without_postgres_the_last_rows_are_served_and_said_to_be_stale_until_it_is_back() {
    let place = Place::new().await;
    let sql = place.database.client().await.unwrap();
    let insert = "INSERT INTO servers (name, domain, address)
        SELECT n, 'h' || n || '.example', '127.0.0.1:1' FROM generate_series(1, 300) AS n";
    sql.batch_execute(insert).await.unwrap();
    let router = place.router().await;
    assert!(ready(&router).await["staleSince"].is_null());
    // A change that is appended to what was read whole.
    let change = "UPDATE servers SET address = '127.0.0.1:2', texts = '{\"asleep\": \"zzz\"}' WHERE name = '1';
        DELETE FROM servers WHERE name = '2'";
    sql.batch_execute(change).await.unwrap();
    let two = Some("127.0.0.1:2");
    router.at.routed("h1.example", two, DEADLINE).await.unwrap();
    router
        .at
        .routed("h2.example", None, DEADLINE)
        .await
        .unwrap();
    let before = router.at.routes().await.unwrap();
    stopped(router).await;

    place.proxy.refuse().await.unwrap();
    let router = place.router().await;
    assert!(ready(&router).await["staleSince"].is_string());
    assert_eq!(router.at.routes().await.unwrap(), before);
    let sync = router.at.sync().await.unwrap();
    assert!(
        sync["staleSince"].is_string() && sync["lastSync"].is_null(),
        "{sync}"
    );
    let metrics = router.at.metrics().await.unwrap();
    assert_eq!(metrics.value("automc_sync_stale").unwrap(), 1);

    sql.batch_execute("DELETE FROM servers WHERE name = '3'")
        .await
        .unwrap();
    place.proxy.pass().await.unwrap();
    router
        .at
        .routed("h3.example", None, DEADLINE)
        .await
        .unwrap();
    assert!(ready(&router).await["staleSince"].is_null());
    stopped(router).await;

    // What the file says is weighed like what was read.
    sql.batch_execute("TRUNCATE servers").await.unwrap();
    let router = place.router().await;
    let held = async || {
        let sync = router.at.sync().await?;
        anyhow::ensure!(sync["held"]["lost"] == 298, "{sync}");
        Ok(())
    };
    eventually("the loss to be held back", DEADLINE, held)
        .await
        .unwrap();
    assert_eq!(router.at.routes().await.unwrap().len(), 298);
    assert!(ready(&router).await["staleSince"].is_string());
}

/// What is not taken fills the sockets, then the server waits, and no row of any table that goes is cleaned up.
#[tokio::test]
async fn a_router_that_was_stopped_does_not_hold_up_vacuum_for_long() {
    let followed = Followed::start().await;
    let session = "FROM pg_stat_activity
        WHERE application_name = 'automc-router' AND datname = current_database()";
    let count = async |condition: &str| -> i64 {
        let query = format!("SELECT count(*) {session} AND {condition}");
        followed.sql.query_one(&query, &[]).await.unwrap().get(0)
    };
    followed.router.process.signal("STOP").await.unwrap();
    let flood = "SELECT pg_notify('automc_routes_changed', n || repeat('x', 7900))
        FROM generate_series(1, 1000) AS n";
    let waits = async || {
        followed.run(flood).await;
        count("wait_event = 'ClientWrite' AND backend_xmin IS NOT NULL").await == 1
    };
    eventually("the server to wait", DEADLINE, waits)
        .await
        .unwrap();
    let ended = async || {
        // Buffers on the way may take all of it after all, and then nobody waits.
        if count("wait_event IS DISTINCT FROM 'ClientWrite'").await == 1 {
            followed.run(flood).await;
        }
        count("true").await == 0
    };
    eventually("the server to end it", ENDED, ended)
        .await
        .unwrap();

    followed.insert("a", "a.example", "127.0.0.1:1").await;
    followed.router.process.signal("CONT").await.unwrap();
    followed.routed("a.example", Some("127.0.0.1:1")).await;
}
