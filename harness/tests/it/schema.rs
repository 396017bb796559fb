//! What `schema.sql` announces, in which order, and what it costs those who write.

use std::future::poll_fn;

use automc_router::routes::overrides::Setting;
use harness::eventually::eventually;
use harness::postgres::{Database, Postgres};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client, NoTls};

use crate::followed::{DEADLINE, Parts, own_server};

/// More than any test says between two looks.
const HEARD_MAX: usize = 1024;

/// A session that hears what is announced.
pub(crate) struct Ear {
    pub(crate) sql: Client,
    heard: mpsc::Receiver<String>,
    notices: mpsc::Receiver<String>,
    revision: u64,
}

impl Ear {
    pub(crate) async fn on(dsn: &str) -> Self {
        let (sql, mut connection) = tokio_postgres::connect(dsn, NoTls).await.unwrap();
        let ((hear, heard), (notice, notices)) =
            (mpsc::channel(HEARD_MAX), mpsc::channel(HEARD_MAX));
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await
            {
                // Whoever listened may have gone; what does not fit is missed by its test.
                let _ = match message {
                    AsyncMessage::Notification(told) => hear.try_send(told.payload().to_owned()),
                    AsyncMessage::Notice(said) => {
                        notice.try_send(format!("{}: {}", said.severity(), said.message()))
                    }
                    _ => Ok(()),
                };
            }
        });
        sql.batch_execute("LISTEN automc_routes_changed")
            .await
            .unwrap();
        Self {
            sql,
            heard,
            notices,
            revision: 0,
        }
    }

    pub(crate) async fn run(&self, statements: &str) {
        let done = self.sql.batch_execute(statements).await;
        done.unwrap_or_else(|error| panic!("{statements}: {error:?}"));
    }

    /// The names of every announcement until now, sorted: `*` for one without any, `` for an empty one.
    /// Fails unless revisions follow one upon the other.
    pub(crate) async fn hints(&mut self) -> Vec<String> {
        self.run("NOTIFY automc_routes_changed, 'the end'").await;
        let mut hints = Vec::new();
        loop {
            let payload = timeout(DEADLINE, self.heard.recv()).await.unwrap().unwrap();
            if payload == "the end" {
                return hints;
            }
            if payload.is_empty() {
                hints.push(payload);
                continue;
            }
            let hint: Value = serde_json::from_str(&payload).unwrap();
            assert_eq!(hint["epoch"].as_str().unwrap().len(), 32, "{payload}");
            self.revision += 1;
            assert_eq!(hint["revision"], self.revision, "{payload}");
            hints.push(match hint.get("names") {
                None => "*".to_owned(),
                Some(names) => {
                    let names = names.as_array().unwrap().iter();
                    let mut names: Vec<_> = names.map(|name| name.as_str().unwrap()).collect();
                    names.sort_unstable();
                    names.join(" ")
                }
            });
        }
    }

    /// Passes over every announcement until now.
    pub(crate) async fn forget(&mut self) {
        self.run("NOTIFY automc_routes_changed, 'the end'").await;
        while timeout(DEADLINE, self.heard.recv()).await.unwrap().unwrap() != "the end" {}
        let read = "SELECT revision FROM automc_revision";
        let revision = self.sql.query_one(read, &[]).await.unwrap();
        self.revision = revision.get::<_, i64>(0).unsigned_abs();
    }

    /// What the server has said beside its answers.
    pub(crate) fn said(&mut self) -> String {
        let said: Vec<_> = std::iter::from_fn(|| self.notices.try_recv().ok()).collect();
        said.join("\n")
    }
}

/// A database of the private server, where this role may do everything.
async fn database() -> Database {
    own_server().await.database().await.unwrap()
}

const ROWS: &str = "INSERT INTO servers (name, domain, address) VALUES
    ('a', 'a.example', 'h:1'), ('b', 'b.example', 'h:2'), ('c', NULL, 'h:3')";

/// What is run after [`ROWS`], and what is announced of it.
const ANNOUNCED: [(&str, &[&str]); 30] = [
    ("INSERT INTO servers (name, address) VALUES ('d', ''), ('e', '')", &["d e"]),
    ("INSERT INTO servers (name, address) VALUES ('a', '') ON CONFLICT (name) DO NOTHING", &[]),
    ("INSERT INTO servers (name, address) VALUES ('a', 'h:1') ON CONFLICT (name) DO UPDATE SET address = 'h:1'", &[]),
    ("INSERT INTO servers (name, address) VALUES ('a', '') ON CONFLICT (name) DO UPDATE SET address = 'h:9'", &["a"]),
    ("INSERT INTO servers SELECT n, n, 'h:1' FROM generate_series(1, 50) AS n", &["1 10 11 12 13 14 15 16 17 18 19 2 20 21 22 23 24 25 26 27 28 29 3 30 31 32 33 34 35 36 37 38 39 4 40 41 42 43 44 45 46 47 48 49 5 50 6 7 8 9"]),
    ("INSERT INTO servers SELECT n, n, 'h:1' FROM generate_series(1, 51) AS n", &["*"]),
    ("INSERT INTO servers SELECT 'n' || n || repeat('x', 200), n, '' FROM generate_series(1, 40) AS n", &["*"]),
    ("INSERT INTO servers (name, address) VALUES (E'\\n\"é\\\\ ''', '')", &["\n\"é\\ '"]),
    ("COPY servers (name, address) FROM PROGRAM 'echo d,h:1 && echo e,h:2' (FORMAT csv)", &["d e"]),
    ("UPDATE servers SET address = 'h:7' WHERE name = 'a'", &["a"]),
    ("UPDATE servers SET address = address, state = 'stopped', enabled = true", &[]),
    ("UPDATE servers SET address = 'h:7' WHERE name = 'nobody'", &[]),
    ("UPDATE servers SET enabled = NULL WHERE name = 'b'", &["b"]),
    ("UPDATE servers SET name = 'z' WHERE name = 'a'", &["a z"]),
    ("UPDATE servers SET name = name || '2' WHERE name <> 'c'", &["a a2 b b2"]),
    ("DELETE FROM servers WHERE name < 'c'", &["a b"]),
    ("DELETE FROM servers WHERE name = 'nobody'", &[]),
    ("TRUNCATE servers", &["*"]),
    ("MERGE INTO servers AS s USING (VALUES ('a'), ('new')) AS v (name) ON s.name = v.name
        WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (name, address) VALUES (v.name, '')", &["a new"]),
    ("BEGIN; DELETE FROM servers WHERE name = 'a'; UPDATE servers SET state = 'x' WHERE name = 'b'; COMMIT", &["a b"]),
    ("BEGIN; DELETE FROM servers; ROLLBACK", &[]),
    ("BEGIN; SAVEPOINT s; DELETE FROM servers; ROLLBACK TO s; COMMIT", &[]),
    ("BEGIN; UPDATE servers SET state = 'x' WHERE name = 'a'; SAVEPOINT s; DELETE FROM servers WHERE name = 'b';
        ROLLBACK TO s; UPDATE servers SET state = 'y' WHERE name = 'c'; COMMIT", &["a c"]),
    ("BEGIN; SAVEPOINT s; UPDATE servers SET state = 'x' WHERE name = 'a'; RELEASE s;
        UPDATE servers SET state = 'x' WHERE name = 'b'; COMMIT", &["a b"]),
    ("BEGIN; SET CONSTRAINTS ALL IMMEDIATE; DELETE FROM servers WHERE name = 'a';
        DELETE FROM servers WHERE name = 'b'; COMMIT", &["a", "b"]),
    ("BEGIN; DELETE FROM servers WHERE name = 'a'; SAVEPOINT s; SET CONSTRAINTS ALL IMMEDIATE; ROLLBACK TO s;
        SET CONSTRAINTS ALL DEFERRED; DELETE FROM servers WHERE name = 'b'; COMMIT", &["a b"]),
    ("SET session_replication_role = replica; UPDATE servers SET state = 'x' WHERE name IN ('a', 'c');
        UPDATE servers SET state = 'x'; INSERT INTO servers (name, address) VALUES ('d', '');
        DELETE FROM servers WHERE name = 'd'; RESET session_replication_role", &["a c", "b", "d", "d"]),
    ("SET session_replication_role = replica; TRUNCATE servers; RESET session_replication_role", &["*"]),
    ("INSERT INTO automc_memory (server, memory) VALUES ('a', '{}'); UPDATE automc_memory SET memory = '[]'", &[]),
    ("BEGIN; DELETE FROM servers WHERE name = 'a'; RESET ALL; DELETE FROM servers WHERE name = 'b'; COMMIT", &["b", "*"]),
];

/// AMC-08: silent when nothing relevant changes, and once for a transaction.
#[tokio::test]
async fn every_transaction_announces_the_names_it_changed_once_and_nothing_else() {
    for (statements, wanted) in ANNOUNCED {
        let database = database().await;
        let mut ear = Ear::on(&database.dsn()).await;
        ear.run(ROWS).await;
        assert_eq!(ear.hints().await, ["a b c"]);
        for statement in statements.split(';') {
            ear.run(statement).await;
        }
        assert_eq!(ear.hints().await, wanted, "{statements}");
        let left = ear
            .sql
            .query_one("SELECT count(*) FROM automc_pending", &[])
            .await
            .unwrap();
        assert_eq!(left.get::<_, i64>(0), 0, "{statements}");
    }
}

#[tokio::test]
async fn a_change_of_any_column_the_router_reads_is_announced_and_of_no_other() {
    let database = database().await;
    let mut ear = Ear::on(&database.dsn()).await;
    ear.run("ALTER TABLE servers ADD COLUMN players INTEGER")
        .await;
    ear.run(ROWS).await;
    ear.hints().await;
    let settings = Setting::ALL.map(Setting::column);
    for column in ["domain", "address", "state", "enabled", "aliases"]
        .into_iter()
        .chain(settings)
    {
        let value = match column {
            "enabled" | "compression_hold" | "keep_transfer_intent" => {
                "NOT COALESCE(enabled, false)"
            }
            "texts" => "'{\"title\": \"x\"}'",
            _ => "'other'",
        };
        ear.run(&format!(
            "UPDATE servers SET {column} = {value} WHERE name = 'b'"
        ))
        .await;
        assert_eq!(ear.hints().await, ["b"], "{column}");
    }
    ear.run("UPDATE servers SET players = 5").await;
    assert_eq!(ear.hints().await, [""; 0]);
}

/// AMC-08, AMC-17: ten thousand rows are one hint, and no list of names.
#[tokio::test]
async fn ten_thousand_rows_are_one_hint() {
    let database = database().await;
    let mut ear = Ear::on(&database.dsn()).await;
    let insert =
        "INSERT INTO servers SELECT n, n || '.example', 'h:1' FROM generate_series(1, 10000) AS n";
    ear.run(insert).await;
    ear.run("UPDATE servers SET address = 'h:2'").await;
    ear.run("SET session_replication_role = replica").await;
    ear.run("UPDATE servers SET address = 'h:3'").await;
    ear.run("DELETE FROM servers").await;
    assert_eq!(ear.hints().await, ["*"; 4]);
}

/// Two transactions that write other rows in turns wait for each other only to commit.
#[tokio::test]
async fn writers_that_cross_do_not_wait_for_each_other_before_they_commit() {
    let database = database().await;
    let mut ear = Ear::on(&database.dsn()).await;
    let (first, second) = (
        database.client().await.unwrap(),
        database.client().await.unwrap(),
    );
    for sql in [&first, &second] {
        sql.batch_execute("SET lock_timeout = '5s'").await.unwrap();
    }
    for (sql, statement) in [
        (
            &first,
            "BEGIN; INSERT INTO servers (name, address) VALUES ('a', '')",
        ),
        (
            &second,
            "BEGIN; INSERT INTO servers (name, address) VALUES ('b', '')",
        ),
        (
            &first,
            "INSERT INTO servers (name, address) VALUES ('c', '')",
        ),
        (&second, "UPDATE servers SET state = 'x' WHERE name = 'b'"),
        (&second, "COMMIT"),
        (&first, "COMMIT"),
    ] {
        sql.batch_execute(statement).await.unwrap();
    }
    assert_eq!(ear.hints().await, ["b", "a c"], "in the order of commits");
}

/// Many writers at once, each of several statements in an order of its own, one in five rolled back.
#[tokio::test]
async fn revisions_are_announced_in_their_order_without_a_gap_whoever_writes() {
    const WRITERS: i32 = 8;
    const TRANSACTIONS: i32 = 40;
    let database = database().await;
    let mut ear = Ear::on(&database.dsn()).await;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let sql = database.client().await.unwrap();
        writers.spawn(async move {
            for number in 0..TRANSACTIONS {
                let end = if number % 5 == 4 {
                    "ROLLBACK"
                } else {
                    "COMMIT"
                };
                let statements = format!(
                    "BEGIN; INSERT INTO servers (name, address) VALUES ('{writer} {number}', '');
                     UPDATE servers SET state = 'x' WHERE name = '{writer} {number}'; {end}"
                );
                sql.batch_execute(&statements).await.unwrap();
            }
        });
    }
    writers.join_all().await;
    // That revisions follow one upon the other is looked at there.
    let mut hints = ear.hints().await;
    hints.sort_unstable();
    hints.dedup();
    assert_eq!(
        hints.len(),
        usize::try_from(WRITERS * TRANSACTIONS * 4 / 5).unwrap()
    );
    let revision = ear
        .sql
        .query_one("SELECT revision FROM automc_revision", &[])
        .await
        .unwrap();
    assert_eq!(
        revision.get::<_, i64>(0),
        i64::try_from(hints.len()).unwrap()
    );
}

/// Nobody is made to fail by what is only there to be told.
#[tokio::test]
async fn of_two_who_write_under_repeatable_read_the_slower_commits_too_and_says_look_again() {
    let database = database().await;
    let mut ear = Ear::on(&database.dsn()).await;
    ear.run(ROWS).await;
    let slower = database.client().await.unwrap();
    let begin =
        "BEGIN ISOLATION LEVEL REPEATABLE READ; UPDATE servers SET state = 'x' WHERE name = 'a'";
    slower.batch_execute(begin).await.unwrap();
    ear.run("BEGIN ISOLATION LEVEL SERIALIZABLE; DELETE FROM servers WHERE name = 'b'; COMMIT")
        .await;
    slower.batch_execute("COMMIT").await.unwrap();
    assert_eq!(ear.hints().await, ["a b c", "b", ""]);
    let state = ear
        .sql
        .query_one("SELECT state FROM servers WHERE name = 'a'", &[])
        .await
        .unwrap();
    assert_eq!(state.get::<_, &str>(0), "x");
}

/// AMC-06, turned round: rights on the table are all a writer needs, and all it gets.
#[tokio::test]
async fn a_role_that_may_only_write_servers_announces_and_can_do_nothing_else() {
    let database = database().await;
    let mut ear = Ear::on(&database.dsn()).await;
    ear.run("CREATE ROLE only_writes LOGIN PASSWORD 'only_writes'")
        .await;
    ear.run("GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON servers TO only_writes")
        .await;
    let dsn = Parts::of(&database.dsn()).role("only_writes").pairs();
    let (writer, connection) = tokio_postgres::connect(&dsn, NoTls).await.unwrap();
    tokio::spawn(connection);
    // What comes first in everybody's search path is not found by what runs as the owner.
    for statement in [
        ROWS,
        "CREATE TEMPORARY TABLE automc_revision (epoch TEXT, revision BIGINT)",
        "CREATE TEMPORARY TABLE automc_pending (at_commit BOOLEAN)",
        "UPDATE servers SET name = 'z' WHERE name = 'a'",
        "DELETE FROM servers WHERE name = 'z'",
        "TRUNCATE servers",
        "DROP TABLE automc_revision",
    ] {
        writer.batch_execute(statement).await.unwrap();
    }
    assert_eq!(ear.hints().await, ["a b c", "a z", "z", "*"]);
    for forbidden in [
        "UPDATE automc_revision SET revision = 0",
        "DELETE FROM automc_revision",
        "INSERT INTO public.automc_pending DEFAULT VALUES",
        "SELECT automc_changed(NULL)",
    ] {
        let error = writer.batch_execute(forbidden).await.unwrap_err();
        assert_eq!(
            error.code(),
            Some(&SqlState::INSUFFICIENT_PRIVILEGE),
            "{forbidden}"
        );
    }
    let read = writer
        .query_one("SELECT revision FROM automc_revision", &[])
        .await
        .unwrap();
    assert_eq!(read.get::<_, i64>(0), 4);
}

#[tokio::test]
async fn two_rows_swap_their_domains_and_no_two_have_one_however_it_is_written() {
    let database = database().await;
    let mut ear = Ear::on(&database.dsn()).await;
    ear.run(ROWS).await;
    ear.hints().await;
    for swap in [
        "UPDATE servers SET domain = CASE name WHEN 'a' THEN 'b.example' ELSE 'a.example' END WHERE name <> 'c'",
        "BEGIN; SET CONSTRAINTS ALL DEFERRED; UPDATE servers SET domain = 'a.example' WHERE name = 'a';
         UPDATE servers SET domain = 'b.example' WHERE name = 'b'; COMMIT",
    ] {
        ear.run(swap).await;
        assert_eq!(ear.hints().await, ["a b"], "{swap}");
    }
    for taken in ["a.example", "A.Example", "a.example.", " a.EXAMPLE. "] {
        let update = format!("UPDATE servers SET domain = '{taken}' WHERE name = 'c'");
        let error = ear.sql.batch_execute(&update).await.unwrap_err();
        assert_eq!(
            error.code(),
            Some(&SqlState::EXCLUSION_VIOLATION),
            "{taken}"
        );
    }
    // As many as like have none.
    ear.run("UPDATE servers SET domain = ''").await;
    ear.run("UPDATE servers SET domain = NULL").await;
    ear.run("UPDATE servers SET domain = '.'").await;
}

#[tokio::test]
async fn a_column_that_was_dropped_or_cannot_be_compared_keeps_nobody_from_writing() {
    for change in [
        "DROP COLUMN min_online",
        "DROP COLUMN address",
        "ALTER COLUMN texts TYPE json",
    ] {
        let database = database().await;
        let mut ear = Ear::on(&database.dsn()).await;
        ear.run(ROWS).await;
        ear.run(&format!("ALTER TABLE servers {change}")).await;
        for statement in [
            "UPDATE servers SET state = 'x' WHERE name = 'a'",
            "INSERT INTO servers (name, domain, address) VALUES ('d', 'd.example', '')",
            "DELETE FROM servers WHERE name = 'b'",
        ] {
            let statement = match change {
                "DROP COLUMN address" => statement.replace(
                    ", address) VALUES ('d', 'd.example', '')",
                    ") VALUES ('d', 'd.example')",
                ),
                _ => statement.to_owned(),
            };
            ear.run(&statement).await;
        }
        assert_eq!(ear.hints().await, ["a b c", "*", "d", "b"], "{change}");
        ear.run("SET session_replication_role = replica; UPDATE servers SET state = 'y'")
            .await;
        assert_eq!(ear.hints().await, ["a c d"], "{change}");
    }
}

/// Changes that arrive by a subscription: no statement triggers run for those.
#[tokio::test]
async fn what_logical_replication_brings_is_announced() {
    let server = Postgres::start().await.unwrap();
    let database = server.database().await.unwrap();
    let admin = database.client().await.unwrap();
    admin
        .batch_execute("ALTER SYSTEM SET wal_level = logical")
        .await
        .unwrap();
    server.stop().await.unwrap();
    server.start_again().await.unwrap();
    let (publisher, subscriber) = (
        server.database().await.unwrap(),
        server.database().await.unwrap(),
    );
    let source = Ear::on(&publisher.dsn()).await;
    let mut ear = Ear::on(&subscriber.dsn()).await;
    source
        .run("CREATE PUBLICATION servers FOR TABLE servers")
        .await;
    source
        .run("SELECT pg_create_logical_replication_slot('servers', 'pgoutput')")
        .await;
    let parts = Parts::of(&publisher.dsn());
    let port = source.sql.query_one("SHOW port", &[]).await.unwrap();
    let port = port.get::<_, &str>(0).parse().unwrap();
    let inside = Parts {
        host: "127.0.0.1".to_owned(),
        port,
        ..parts
    }
    .pairs()
    .replace('\'', "''");
    let subscribe =
        "PUBLICATION servers WITH (create_slot = false, slot_name = 'servers', copy_data = false)";
    ear.run(&format!(
        "CREATE SUBSCRIPTION servers CONNECTION '{inside}' {subscribe}"
    ))
    .await;

    source.run(ROWS).await;
    source
        .run("UPDATE servers SET state = 'x' WHERE name < 'c'")
        .await;
    source.run("DELETE FROM servers WHERE name = 'a'").await;
    source.run("TRUNCATE servers").await;

    let arrived = async || {
        let read = "SELECT revision FROM automc_revision";
        let revision = ear.sql.query_one(read, &[]).await?.get::<_, i64>(0);
        anyhow::ensure!(revision == 4, "revision {revision}");
        Ok(())
    };
    eventually("the changes", DEADLINE, arrived).await.unwrap();
    assert_eq!(ear.hints().await, ["a b c", "a b", "a", "*"]);
}
