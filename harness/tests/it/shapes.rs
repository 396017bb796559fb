//! The table as it is found: every documented shape, too few rights, locks, and a lot of noise.

use std::time::Duration;

use harness::backend::Backend;
use harness::eventually::eventually;
use harness::player::Player;
use harness::postgres::{Database, Postgres, SCHEMA};
use harness::router::Settings;
use tokio::time::sleep;

use crate::followed::{DEADLINE, Followed, Parts, own_server};

/// As the first of the older documents has it, trigger included.
pub(crate) const FIRST_SHAPE: &str = "
    CREATE TABLE IF NOT EXISTS servers (name TEXT PRIMARY KEY, domain TEXT NOT NULL,
        address TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'stopped', UNIQUE(domain));
    CREATE OR REPLACE FUNCTION automc_notify_routes_changed() RETURNS trigger AS $$
        BEGIN PERFORM pg_notify('automc_routes_changed', ''); RETURN NULL; END;
        $$ LANGUAGE plpgsql;
    CREATE TRIGGER automc_servers_route_notify
        AFTER INSERT OR UPDATE OF domain, address, state OR DELETE ON servers
        FOR EACH ROW EXECUTE FUNCTION automc_notify_routes_changed();";
/// As the second has it, where its trigger was refused for naming a column that is not there.
pub(crate) const WITHOUT_TRIGGER: &str = "
    CREATE TABLE servers (name TEXT PRIMARY KEY, domain TEXT NOT NULL, address TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'stopped', UNIQUE(domain));";
/// As the second says the existing table is.
pub(crate) const NULLABLE: &str = "
    CREATE TABLE servers (name TEXT PRIMARY KEY, domain TEXT, address TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'stopped', enabled BOOLEAN DEFAULT TRUE);
    CREATE FUNCTION automc_notify_routes_changed() RETURNS trigger AS $$
        BEGIN PERFORM pg_notify('automc_routes_changed', ''); RETURN NULL; END;
        $$ LANGUAGE plpgsql;
    CREATE TRIGGER automc_servers_route_notify
        AFTER INSERT OR UPDATE OF domain, address, state, enabled OR DELETE ON servers
        FOR EACH ROW EXECUTE FUNCTION automc_notify_routes_changed();";

/// How long nothing must be read before we believe that nothing is left to read.
const QUIET: Duration = Duration::from_millis(500);
const A: Option<&str> = Some("127.0.0.1:1");
const B: Option<&str> = Some("127.0.0.1:2");

/// AMC-07, AMC-08: no `enabled` anywhere.
#[tokio::test]
async fn the_first_documents_table_and_trigger_are_followed_live() {
    let followed = Followed::shaped(FIRST_SHAPE).await;
    followed.add("a", "a.example", "127.0.0.1:1").await;
    followed
        .run("UPDATE servers SET address = '127.0.0.1:2'")
        .await;
    followed.routed("a.example", B).await;
    followed.run("DELETE FROM servers").await;
    followed.routed("a.example", None).await;
    // What this trigger keeps to itself is said.
    followed.says(&["WARN", "TRUNCATE", "schema.sql"]).await;
    followed.says(&["WARN", "a change of name"]).await;
}

/// AMC-07, AMC-10: `domain` may be NULL, `enabled` too.
#[tokio::test]
async fn the_second_documents_existing_table_is_followed_live() {
    let followed = Followed::shaped(NULLABLE).await;
    followed
        .run("INSERT INTO servers (name, domain, address, enabled) VALUES ('a', NULL, '127.0.0.1:1', NULL)")
        .await;
    let set_aside = async || followed.reason("a").await;
    eventually("the row", DEADLINE, set_aside).await.unwrap();
    followed
        .run("UPDATE servers SET domain = 'a.example'")
        .await;
    followed.routed("a.example", A).await;
    followed.run("UPDATE servers SET enabled = false").await;
    followed.routed("a.example", None).await;
}

/// AMC-15, AMC-31: without a trigger nothing is announced, and a reconnect reads all the same.
#[tokio::test]
async fn a_table_without_a_trigger_is_said_to_be_so_and_read_on_every_connect() {
    let followed = Followed::shaped(WITHOUT_TRIGGER).await;
    followed
        .says(&[
            "WARN",
            "no trigger on servers notifies automc_routes_changed",
        ])
        .await;
    followed.router.at.ready(DEADLINE).await.unwrap();
    let before = followed.syncs().await;
    followed.insert("a", "a.example", "127.0.0.1:1").await;
    followed.terminate().await;
    followed.routed("a.example", A).await;
    assert_eq!(followed.syncs().await, before + 1);

    followed.run(SCHEMA).await;
    followed
        .run("UPDATE servers SET address = '127.0.0.1:2'")
        .await;
    followed.routed("a.example", B).await;
}

pub(crate) async fn database_with_role(role: &str) -> (Database, Settings) {
    let database = own_server().await.database().await.unwrap();
    let sql = database.client().await.unwrap();
    let make = format!("CREATE ROLE {role} LOGIN PASSWORD '{role}'");
    sql.batch_execute(&make).await.unwrap();
    let pairs = Parts::of(&database.dsn()).role(role).pairs();
    let dsn = format!("{pairs} sslmode=disable");
    (database, Settings::new().env("AUTOMC_DSN", dsn))
}

/// AMC-06.
#[tokio::test]
async fn a_role_that_may_only_select_is_enough() {
    let (database, settings) = database_with_role("only_reads").await;
    let followed = Followed::over(database, settings).await;
    followed.run("GRANT SELECT ON servers TO only_reads").await;
    followed.add("a", "a.example", "127.0.0.1:1").await;
    followed
        .run("UPDATE servers SET address = '127.0.0.1:2'")
        .await;
    followed.routed("a.example", B).await;
    followed.run("TRUNCATE servers").await;
    followed.routed("a.example", None).await;
}

/// AMC-31.
#[tokio::test]
async fn a_missing_privilege_is_named_with_the_grant_and_routes_come_once_it_is_given() {
    let (database, settings) = database_with_role("may_nothing").await;
    let followed = Followed::over(database, settings).await;
    followed.insert("a", "a.example", "127.0.0.1:1").await;
    let words = "GRANT SELECT ON servers TO may_nothing;";
    followed
        .says(&["WARN", "automc pgsync disconnected", words])
        .await;
    let sync = followed.router.at.sync().await.unwrap();
    assert!(
        sync["lastError"].as_str().unwrap().contains(words),
        "{sync}"
    );
    assert_eq!(sync["connected"], false);

    followed.run("GRANT SELECT ON servers TO may_nothing").await;
    followed.routed("a.example", A).await;
    let sync = followed.router.at.sync().await.unwrap();
    assert!(sync["lastError"].is_null(), "{sync}");
}

/// AMC-31.
#[tokio::test]
async fn a_missing_table_is_said_to_want_the_schema_and_routes_come_once_it_is_there() {
    let followed = Followed::shaped("").await;
    followed
        .says(&[
            "automc pgsync disconnected",
            "no table servers",
            "-f schema.sql",
        ])
        .await;
    let ready = followed.router.at.api(hyper::Method::GET, "/readyz", "");
    assert_eq!(ready.await.unwrap().status, 503);
    followed.run(SCHEMA).await;
    followed.add("a", "a.example", "127.0.0.1:1").await;
}

/// AMC-31.
#[tokio::test]
async fn a_missing_column_is_named_and_routes_come_once_it_is_there() {
    let followed = Followed::shaped(SCHEMA).await;
    followed.router.at.ready(DEADLINE).await.unwrap();
    followed.add("a", "a.example", "127.0.0.1:1").await;

    // The trigger hangs on the column, and goes and comes back with it.
    followed
        .run("ALTER TABLE servers DROP COLUMN address CASCADE")
        .await;
    followed.terminate().await;
    followed
        .says(&["automc pgsync disconnected", "no column address"])
        .await;
    followed.routed("a.example", A).await;

    followed
        .run("ALTER TABLE servers ADD COLUMN address TEXT NOT NULL DEFAULT '127.0.0.1:2'")
        .await;
    followed.run(SCHEMA).await;
    followed.routed("a.example", B).await;
}

/// A table behind a view that waits for advisory lock 1 in the middle of every read, when what the
/// read will see is settled already.
const SLOW_READS: &str = "
    CREATE TABLE rows (name TEXT, domain TEXT, address TEXT);
    INSERT INTO rows VALUES ('first', 'first.example', '127.0.0.1:1');
    CREATE FUNCTION wait() RETURNS boolean AS $$ BEGIN
        PERFORM pg_advisory_lock_shared(1);
        PERFORM pg_advisory_unlock_shared(1);
        RETURN true;
    END $$ LANGUAGE plpgsql;
    CREATE VIEW servers AS SELECT * FROM rows WHERE wait();";

/// AMC-09, AMC-13: with LISTEN after the SELECT, this change would be lost until the next reconcile.
#[tokio::test]
async fn a_change_during_the_first_read_is_not_lost() {
    let server = Postgres::shared().await.unwrap();
    let database = server.empty_database().await.unwrap();
    let gate = database.client().await.unwrap();
    let lock = format!("{SLOW_READS} SELECT pg_advisory_lock(1)");
    gate.batch_execute(&lock).await.unwrap();
    let settings = Settings::new().database(&database);
    let followed = Followed::over(database, settings).await;
    followed.waits_for("advisory").await;

    let change = "INSERT INTO rows VALUES ('second', 'second.example', '127.0.0.1:2');
        NOTIFY automc_routes_changed";
    followed.run(change).await;
    assert_eq!(followed.syncs().await, 0);
    gate.batch_execute("SELECT pg_advisory_unlock(1)")
        .await
        .unwrap();

    followed.routed("first.example", A).await;
    followed.routed("second.example", B).await;
    let reads = followed.syncs().await;
    assert_eq!(reads, 2, "the first read cannot have seen the second row");
}

/// AMC-16.
#[tokio::test]
async fn a_lock_on_the_table_keeps_nobody_from_logging_in() {
    let followed = Followed::start().await;
    let backend = Backend::start("survival").await.unwrap();
    let address = backend.addr().to_string();
    followed.add("a", "a.example", &address).await;

    let locker = followed.database.client().await.unwrap();
    let lock = "BEGIN; LOCK TABLE servers IN ACCESS EXCLUSIVE MODE;
        INSERT INTO servers VALUES ('b', 'b.example', '127.0.0.1:1')";
    locker.batch_execute(lock).await.unwrap();
    followed.run("NOTIFY automc_routes_changed").await;
    followed.waits_for("Lock").await;

    let player = Player::new("a.example");
    let mut session = player.enter(followed.router.at.players).await.unwrap();
    assert_eq!(session.echo(b"hello").await.unwrap(), b"hello");
    locker.batch_execute("COMMIT").await.unwrap();
    followed.routed("b.example", A).await;
}

/// AMC-09.
#[tokio::test]
async fn a_burst_of_a_thousand_transactions_ends_exact_and_takes_few_reads() {
    const COUNT: usize = 1_000;
    let followed = Followed::start().await;
    let before = followed.syncs().await;
    // One message, a thousand commits: faster than any reader could keep up with one by one.
    let burst: String = (0..COUNT)
        .map(|n| {
            let port = n + 1;
            format!(
                "BEGIN; INSERT INTO servers VALUES ('{n}', 'h{n}.example', 'h:{port}'); COMMIT;"
            )
        })
        .collect();
    followed.run(&burst).await;

    let all = async || {
        followed
            .router
            .at
            .routes()
            .await
            .is_ok_and(|routes| routes.len() == COUNT)
    };
    eventually("every route", DEADLINE, all).await.unwrap();
    let routes = followed.router.at.routes().await.unwrap();
    for n in 0..COUNT {
        assert_eq!(routes[&format!("h{n}.example")], format!("h:{}", n + 1));
    }
    // Reads that are still owed would go on now.
    let quiet = async || {
        let reads = followed.syncs().await;
        sleep(QUIET).await;
        followed.syncs().await == reads
    };
    eventually("the last read", DEADLINE, quiet).await.unwrap();
    let reads = followed.syncs().await - before;
    assert!(reads < COUNT as u64 / 4, "{reads} reads of {COUNT} changes");
    let sessions = followed.sql.query_one(
        "SELECT count(*) FROM pg_stat_activity
         WHERE application_name = 'automc-router' AND datname = current_database()",
        &[],
    );
    let sessions: i64 = sessions.await.unwrap().get(0);
    assert_eq!(sessions, 1, "one connection, so one read at a time");
}

/// AMC-09: notifications are nudges, whatever else comes down the connection.
#[tokio::test]
async fn notices_other_channels_and_huge_payloads_disturb_nothing() {
    let followed = Followed::shaped(
        "CREATE TABLE rows (name TEXT, domain TEXT, address TEXT);
         CREATE FUNCTION noise() RETURNS boolean AS $$ BEGIN
             FOR n IN 1..500 LOOP RAISE NOTICE '%', repeat('noise', 500); END LOOP;
             RETURN true;
         END $$ LANGUAGE plpgsql;
         CREATE VIEW servers AS SELECT * FROM rows WHERE noise();",
    )
    .await;
    followed.router.at.ready(DEADLINE).await.unwrap();
    let spam: String = (0..500)
        .map(|n| {
            let payload = format!("{n}{}", "x".repeat(7_990));
            format!(
                "SELECT pg_notify('automc_routes_changed', '{payload}');
                 SELECT pg_notify('somebody_elses', '{payload}');"
            )
        })
        .collect();
    followed.run(&spam).await;
    let change = "INSERT INTO rows VALUES ('a', 'a.example', '127.0.0.1:1');
        NOTIFY automc_routes_changed";
    followed.run(change).await;
    followed.routed("a.example", A).await;
    let sync = followed.router.at.sync().await.unwrap();
    assert_eq!(
        (&sync["connected"], &sync["reconnects"]),
        (&true.into(), &0.into())
    );
}

/// AMC-13: what the router has of the server while nothing changes.
#[tokio::test]
async fn the_idle_listener_sits_in_no_transaction_and_holds_up_no_vacuum() {
    let followed = Followed::start().await;
    followed.add("a", "a.example", "127.0.0.1:1").await;
    let idle = async || {
        let query = "SELECT state = 'idle' AND backend_xmin IS NULL AND xact_start IS NULL
            FROM pg_stat_activity
            WHERE application_name = 'automc-router' AND datname = current_database()";
        followed
            .sql
            .query_one(query, &[])
            .await
            .is_ok_and(|row| row.get(0))
    };
    eventually("an idle listener", Duration::from_secs(5), idle)
        .await
        .unwrap();
}
