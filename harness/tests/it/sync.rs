//! What is read of the table and when: rows, everything, nothing, or nothing that is believed.

use harness::chaos::ChaosProxy;
use harness::eventually::eventually;
use harness::postgres::Postgres;
use harness::router::Settings;
use hyper::Method;
use serde_json::Value;
use tokio::time::Instant;

use crate::followed::{DEADLINE, Followed};

/// Most reads of the table in a second.
const READS_PER_SECOND: u64 = 16;
const A: Option<&str> = Some("127.0.0.1:1");
const B: Option<&str> = Some("127.0.0.1:2");

/// Routes `h1.example` to `h{count}.example`.
fn many(count: usize) -> String {
    format!(
        "INSERT INTO servers (name, domain, address)
         SELECT n, 'h' || n || '.example', '127.0.0.1:1' FROM generate_series(1, {count}) AS n"
    )
}

impl Followed {
    async fn number(&self, field: &str) -> u64 {
        let sync = self.router.at.sync().await.unwrap();
        sync[field]
            .as_u64()
            .unwrap_or_else(|| panic!("{field} of {sync}"))
    }

    /// Waits until the revision that is applied is the table's.
    async fn caught_up(&self) {
        let applied = async || {
            let read = "SELECT revision FROM automc_revision";
            let revision = self.sql.query_one(read, &[]).await?.get::<_, i64>(0);
            let applied = self.router.at.sync().await?["revision"].as_i64();
            anyhow::ensure!(applied == Some(revision), "{applied:?} of {revision}");
            Ok(())
        };
        let done = eventually("the last revision", DEADLINE, applied).await;
        done.unwrap_or_else(|error| panic!("{error:#}\n{}", self.router.process.tail(20)));
    }

    /// Waits until a read is held back; what there is to say about it.
    async fn held(&self) -> Value {
        let held = async || {
            let sync = self.router.at.sync().await?;
            anyhow::ensure!(!sync["held"].is_null(), "{sync}");
            Ok(sync["held"].clone())
        };
        eventually("a read that is held back", DEADLINE, held)
            .await
            .unwrap()
    }

    /// Waits until there are so many routes.
    async fn count_of_routes(&self, count: usize) {
        let counted = async || {
            let found = self.router.at.routes().await?.len();
            anyhow::ensure!(found == count, "{found} routes");
            Ok(())
        };
        let done = eventually("the routes", DEADLINE, counted).await;
        done.unwrap_or_else(|error| panic!("{error:#}\n{}", self.router.process.tail(20)));
    }

    async fn confirm(&self) -> u16 {
        let confirm = self.router.at.api(Method::POST, "/sync/confirm", "");
        confirm.await.unwrap().status
    }
}

/// AMC-17: by their names, and without a look at any other row.
#[tokio::test]
async fn of_a_change_only_its_rows_are_read() {
    let followed = Followed::start().await;
    followed.run(&many(1_000)).await;
    followed.caught_up().await;
    let whole = followed.number("fullSyncs").await;
    for (change, host, backend) in [
        ("UPDATE servers SET address = '127.0.0.1:2' WHERE name = '7'", "h7.example", B),
        ("UPDATE servers SET name = 'seven' WHERE name = '7'", "h7.example", B),
        ("UPDATE servers SET domain = 'moved.example' WHERE name = 'seven'", "h7.example", None),
        ("UPDATE servers SET enabled = false WHERE name = '8'", "h8.example", None),
        ("UPDATE servers SET enabled = true WHERE name = '8'", "h8.example", A),
        ("DELETE FROM servers WHERE name = '9'", "h9.example", None),
        ("INSERT INTO servers (name, domain, address) VALUES ('9', 'h9.example', '127.0.0.1:2')", "h9.example", B),
        ("UPDATE servers SET domain = CASE name WHEN '1' THEN 'h2.example' ELSE 'h1.example' END,
            address = CASE name WHEN '1' THEN '127.0.0.1:2' ELSE address END WHERE name IN ('1', '2')", "h2.example", B),
    ] {
        followed.run(change).await;
        followed.caught_up().await;
        followed.routed(host, backend).await;
    }
    followed.routed("moved.example", B).await;
    followed.routed("h1.example", A).await;
    assert_eq!(followed.number("fullSyncs").await, whole);
    assert_eq!(followed.number("rows").await, 1_000);
    let seen = followed.number("revisionSeen").await;
    assert_eq!(seen, followed.number("revision").await);
}

#[tokio::test]
async fn a_thousand_transactions_a_second_are_few_reads_and_end_exact() {
    const TRANSACTIONS: usize = 5_000;
    let followed = Followed::start().await;
    followed.run(&many(1_000)).await;
    followed.caught_up().await;
    let reads = async || {
        let sync = followed.router.at.sync().await.unwrap();
        sync["syncs"].as_u64().unwrap()
    };
    let (before, begin) = (reads().await, Instant::now());
    for number in 0..TRANSACTIONS {
        let (row, port) = (number * 7 % 1_000 + 1, number + 1);
        let update = format!("UPDATE servers SET address = 'h:{port}' WHERE name = '{row}'");
        followed.run(&update).await;
    }
    followed.caught_up().await;
    let (reads, took) = (reads().await - before, begin.elapsed());
    let most = READS_PER_SECOND * (took.as_secs() + 1);
    assert!(reads <= most, "{reads} reads in {took:?}");

    let routes = followed.router.at.routes().await.unwrap();
    let rows = followed
        .sql
        .query("SELECT domain, address FROM servers", &[])
        .await
        .unwrap();
    assert_eq!(routes.len(), rows.len());
    for row in rows {
        assert_eq!(routes[row.get::<_, &str>(0)], row.get::<_, &str>(1));
    }
}

/// What was not announced is noticed by the next look at the revision, every 10 s.
#[tokio::test]
async fn a_lost_notification_is_noticed_by_the_next_look() {
    let (followed, proxy) = Followed::through_proxy().await;
    followed.add("a", "a.example", "127.0.0.1:1").await;

    proxy.losing().one_in(1);
    followed
        .run("UPDATE servers SET address = '127.0.0.1:2'")
        .await;
    followed.routed("a.example", B).await;
    assert_eq!(proxy.losing().lost(), 1);
    let lost = "automc_sync_full_reads_total{reason=\"lost\"}";
    let metrics = followed.router.at.metrics().await.unwrap();
    assert_eq!(metrics.value(lost).unwrap(), 1);

    // One that comes after one that was lost does not hide it.
    followed
        .run("UPDATE servers SET domain = 'b.example'")
        .await;
    let gone = async || proxy.losing().lost() == 2;
    eventually("the loss", DEADLINE, gone).await.unwrap();
    proxy.losing().one_in(0);
    followed.insert("c", "c.example", "127.0.0.1:1").await;
    followed.routed("c.example", A).await;
    followed.routed("b.example", B).await;
    let gap = "automc_sync_full_reads_total{reason=\"gap\"}";
    let metrics = followed.router.at.metrics().await.unwrap();
    assert_eq!(metrics.value(gap).unwrap(), 1);
}

/// A router that holds a loss back for as long as `hold`, with 300 routes.
async fn guarded(hold: &str, percent: &str) -> Followed {
    let database = Postgres::shared().await.unwrap().database().await.unwrap();
    let settings = Settings::new()
        .database(&database)
        .env("AUTOMC_GUARD_HOLD", hold)
        .env("AUTOMC_GUARD_PERCENT", percent);
    let followed = Followed::over(database, settings).await;
    followed.router.at.ready(DEADLINE).await.unwrap();
    followed.run(&many(300)).await;
    followed.count_of_routes(300).await;
    followed
}

#[tokio::test]
async fn an_emptied_table_takes_no_route_away_until_that_is_confirmed() {
    let followed = guarded("1h", "50").await;
    assert_eq!(followed.confirm().await, 409, "nothing to confirm");
    for emptied in [
        "TRUNCATE servers",
        "DELETE FROM servers",
        "UPDATE servers SET enabled = false",
        "DELETE FROM servers WHERE name::int > 101",
    ] {
        followed.run(&format!("BEGIN; {emptied}; COMMIT")).await;
        let held = followed.held().await;
        assert!(held["lost"].as_u64().unwrap() > 100, "{emptied}: {held}");
        assert_eq!(held["routes"], 300, "{emptied}");
        followed.count_of_routes(300).await;
        let metrics = followed.router.at.metrics().await.unwrap();
        assert_eq!(metrics.value("automc_sync_held").unwrap(), 1);

        // Whoever undoes it has nothing to confirm.
        followed
            .run(&format!("BEGIN; TRUNCATE servers; {}; COMMIT", many(300)))
            .await;
        followed.caught_up().await;
        let sync = followed.router.at.sync().await.unwrap();
        assert!(sync["held"].is_null(), "{emptied}: {sync}");
    }
    followed.says(&["WARN", "300 of 300 routes would go"]).await;

    followed.run("TRUNCATE servers").await;
    followed.held().await;
    assert_eq!(followed.confirm().await, 202);
    followed.count_of_routes(0).await;
    assert_eq!(followed.confirm().await, 409);
    followed.add("new", "new.example", "127.0.0.1:1").await;
}

#[tokio::test]
async fn an_emptied_table_that_stays_so_is_believed_after_a_while() {
    let followed = guarded("1s", "50").await;
    followed.run("TRUNCATE servers").await;
    followed.held().await;
    followed.count_of_routes(0).await;
}

#[tokio::test]
async fn without_the_guard_the_table_is_believed_at_once() {
    let followed = guarded("1h", "100").await;
    followed.run("TRUNCATE servers").await;
    followed.count_of_routes(0).await;
}

/// Three transactions of few rows each, which are one read.
#[tokio::test]
async fn many_small_losses_that_are_read_at_once_are_held_back_like_one() {
    let server = Postgres::shared().await.unwrap();
    let database = server.database().await.unwrap();
    let proxy = ChaosProxy::start(server.addr()).await.unwrap();
    let dsn = server.dsn_at(proxy.addr(), database.name());
    let settings = Settings::new()
        .env("AUTOMC_DSN", dsn)
        .env("AUTOMC_GUARD_HOLD", "1h");
    let followed = Followed::over(database, settings).await;
    followed.run(&many(150)).await;
    followed.count_of_routes(150).await;

    proxy.stall().await.unwrap();
    for from in [1, 51, 101] {
        let to = from + 49;
        let delete = format!("DELETE FROM servers WHERE name::int BETWEEN {from} AND {to}");
        followed.run(&delete).await;
    }
    proxy.pass().await.unwrap();
    let held = followed.held().await;
    assert_eq!(held["lost"], 150, "{held}");
    followed.count_of_routes(150).await;
}

/// As after a backup was restored.
#[tokio::test]
async fn an_older_table_is_not_believed_until_that_is_confirmed_and_another_one_is() {
    let followed = guarded("1h", "50").await;
    for state in ["running", "stopped", "running"] {
        followed
            .run(&format!("UPDATE servers SET state = '{state}'"))
            .await;
    }
    followed.caught_up().await;
    let older = "BEGIN; DELETE FROM servers WHERE name = '300';
        UPDATE automc_revision SET revision = 0; COMMIT";
    followed.run(older).await;
    let held = followed.held().await;
    let reason = held["reason"].as_str().unwrap();
    assert!(reason.contains("older state"), "{held}");
    followed.count_of_routes(300).await;
    assert_eq!(followed.confirm().await, 202);
    followed.count_of_routes(299).await;
    followed.caught_up().await;

    let other = "BEGIN; DELETE FROM servers WHERE name = '299';
        UPDATE automc_revision SET revision = 0, epoch = 'another'; COMMIT";
    followed.run(other).await;
    followed.count_of_routes(298).await;
    followed.caught_up().await;
}

/// Readers of older files, and of the older table's own word.
#[tokio::test]
async fn an_empty_payload_is_a_read_of_everything() {
    let followed = Followed::start().await;
    let whole = followed.number("fullSyncs").await;
    followed.run("NOTIFY automc_routes_changed").await;
    let read = async || followed.number("fullSyncs").await > whole;
    eventually("a read", DEADLINE, read).await.unwrap();
    let metrics = followed.router.at.metrics().await.unwrap();
    let told = "automc_sync_full_reads_total{reason=\"told\"}";
    assert!(metrics.value(told).unwrap() >= 1);
    assert!(followed.number("notifications").await > 0);
}
