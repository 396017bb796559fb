//! Postgres for tests: isolated, restartable, gone afterwards; and the schema on every table it may meet.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use automc_router::routes::overrides::Setting;
use harness::eventually::eventually;
use harness::postgres::{Database, Postgres, SCHEMA};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, Client, NoTls};

const DEADLINE: Duration = Duration::from_secs(60);
/// Set in the process that [`hold_a_private_server`] is meant for.
const HOLD: &str = "AUTOMC_TEST_HOLD";

const SEED_SHAPE: &str = "
    CREATE TABLE IF NOT EXISTS servers (name TEXT PRIMARY KEY, domain TEXT NOT NULL,
        address TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'stopped', UNIQUE(domain));
    CREATE OR REPLACE FUNCTION automc_notify_routes_changed() RETURNS trigger AS $$
        BEGIN PERFORM pg_notify('automc_routes_changed', ''); RETURN NULL; END;
        $$ LANGUAGE plpgsql;
    DROP TRIGGER IF EXISTS automc_servers_route_notify ON servers;
    CREATE TRIGGER automc_servers_route_notify
        AFTER INSERT OR UPDATE OF domain, address, state OR DELETE ON servers
        FOR EACH ROW EXECUTE FUNCTION automc_notify_routes_changed();";
const EXISTING_SHAPE: &str = "
    CREATE TABLE servers (name TEXT PRIMARY KEY, domain TEXT, address TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'stopped', enabled BOOLEAN DEFAULT TRUE);";
const WITHOUT_ENABLED: &str = "
    CREATE TABLE servers (name TEXT PRIMARY KEY, domain TEXT, address TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'stopped');";

async fn insert(client: &Client, name: &str) {
    let statement = "INSERT INTO servers (name, domain, address) VALUES ($1, $1 || '.test', 'h:1')";
    client.execute(statement, &[&name]).await.unwrap();
}

async fn names(client: &Client) -> Vec<String> {
    let query = "SELECT name FROM servers ORDER BY name";
    let rows = client.query(query, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn two_databases_of_the_shared_server_have_the_schema_and_not_each_others_rows() {
    let server = Postgres::shared().await.unwrap();
    let (first, second) = tokio::try_join!(server.database(), server.database()).unwrap();
    assert_ne!(first.name(), second.name());
    let (first, second) = tokio::try_join!(first.client(), second.client()).unwrap();
    insert(&first, "lobby").await;
    insert(&second, "survival").await;
    assert_eq!(names(&first).await, ["lobby"]);
    assert_eq!(names(&second).await, ["survival"]);
}

#[tokio::test]
async fn an_empty_database_is_empty() {
    let server = Postgres::shared().await.unwrap();
    let database = server.empty_database().await.unwrap();
    let client = database.client().await.unwrap();
    let query = "SELECT count(*) FROM pg_class WHERE relname = 'servers'";
    let row = client.query_one(query, &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 0);
}

#[tokio::test]
async fn a_dropped_database_leaves_the_shared_server_though_somebody_is_connected() {
    let server = Postgres::shared().await.unwrap();
    let database = server.database().await.unwrap();
    let watcher = server.empty_database().await.unwrap();
    let watcher = watcher.client().await.unwrap();
    let name = database.name().to_owned();
    let _connected = database.client().await.unwrap();
    drop(database);
    eventually("the database to go", DEADLINE, async || {
        let query = "SELECT count(*) FROM pg_database WHERE datname = $1";
        let row = watcher.query_one(query, &[&name]).await?;
        Ok::<_, tokio_postgres::Error>(row.get::<_, i64>(0) == 0)
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn the_shared_server_cannot_be_stopped() {
    let server = Postgres::shared().await.unwrap();
    assert!(server.stop().await.is_err());
    assert!(server.kill().await.is_err());
}

#[tokio::test]
async fn a_private_server_killed_or_stopped_and_started_again_keeps_its_rows() {
    let server = Postgres::start().await.unwrap();
    let database = server.database().await.unwrap();
    let client = database.client().await.unwrap();
    insert(&client, "one").await;

    server.kill().await.unwrap();
    eventually("the session to end", DEADLINE, async || client.is_closed())
        .await
        .unwrap();
    assert!(TcpStream::connect(server.addr()).await.is_err());
    server.start_again().await.unwrap();
    let client = database.client().await.unwrap();
    insert(&client, "two").await;

    server.stop().await.unwrap();
    assert!(TcpStream::connect(server.addr()).await.is_err());
    server.start_again().await.unwrap();
    let client = database.client().await.unwrap();
    assert_eq!(names(&client).await, ["one", "two"]);

    let addr = server.addr();
    drop(server);
    assert!(
        TcpStream::connect(addr).await.is_err(),
        "it outlived its drop"
    );
}

/// Not a test by itself: the process that the next one kills.
#[tokio::test]
async fn hold_a_private_server() {
    if std::env::var_os(HOLD).is_none() {
        return;
    }
    let server = Postgres::start().await.unwrap();
    let addr = server.addr();
    // Through the test harness's own capture, to whoever holds our standard output.
    writeln_raw(&format!("held {addr}"));
    // Until it is killed, or whoever started it is gone.
    let ended = tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin()));
    ended.await.unwrap().unwrap();
}

fn writeln_raw(line: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{line}").unwrap();
    out.flush().unwrap();
}

async fn held_address(lines: &mut Lines<BufReader<ChildStdout>>) -> SocketAddr {
    while let Some(line) = lines.next_line().await.unwrap() {
        if let Some(addr) = line.strip_prefix("held ") {
            return addr.parse().unwrap();
        }
    }
    panic!("the process ended before it held a server")
}

#[tokio::test]
async fn a_server_does_not_outlive_a_process_that_was_killed() {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "infra::hold_a_private_server", "--nocapture"])
        .env(HOLD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let addr = timeout(DEADLINE, held_address(&mut lines)).await.unwrap();
    assert!(TcpStream::connect(addr).await.is_ok());
    process.kill().await.unwrap();
    eventually("its server to end", DEADLINE, async || {
        TcpStream::connect(addr).await.is_err()
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn the_schema_is_accepted_twice_and_over_every_older_shape_and_keeps_the_rows() {
    let server = Postgres::shared().await.unwrap();
    for shape in [SCHEMA, SEED_SHAPE, EXISTING_SHAPE, WITHOUT_ENABLED] {
        let database = server.empty_database().await.unwrap();
        let client = database.client().await.unwrap();
        client.batch_execute(shape).await.unwrap();
        insert(&client, "old").await;
        for _ in 0..2 {
            client.batch_execute(SCHEMA).await.expect(shape);
        }
        assert_eq!(names(&client).await, ["old"], "{shape}");
        tells_every_change(&database, "SET ROLE none").await;
    }
}

/// On a server of its own: it takes a superuser, which the shared one need not give.
#[tokio::test]
async fn the_schema_tells_of_changes_made_in_the_role_of_a_replica() {
    let server = Postgres::start().await.unwrap();
    let database = server.database().await.unwrap();
    tells_every_change(&database, "SET session_replication_role = replica").await;
}

#[tokio::test]
async fn two_sessions_may_apply_the_schema_at_once() {
    let server = Postgres::shared().await.unwrap();
    let database = server.empty_database().await.unwrap();
    let (first, second) = tokio::try_join!(database.client(), database.client()).unwrap();
    tokio::try_join!(first.batch_execute(SCHEMA), second.batch_execute(SCHEMA)).unwrap();
}

/// As a router whose role may write it does.
const REMEMBER: &str = "INSERT INTO automc_memory (server, memory) VALUES ('d', '{}')
    ON CONFLICT (server) DO UPDATE SET memory = excluded.memory, updated = now()";

/// Every statement that changes a route sends one notification.
async fn tells_every_change(database: &Database, setting: &str) {
    let client = database.client().await.unwrap();
    let mut heard = listen(database).await;
    client.batch_execute(setting).await.unwrap();
    let own = |sql: &str| sql.to_owned();
    let settings = Setting::ALL.map(|setting| {
        let value = match setting {
            Setting::CompressionHold | Setting::KeepTransferIntent => "TRUE",
            _ => "'{}'",
        };
        format!(
            "UPDATE servers SET {} = {value} WHERE name = 'd'",
            setting.column()
        )
    });
    let routes = [
        "INSERT INTO servers (name, domain, address) VALUES ('a', 'a.test', 'h:1')",
        "INSERT INTO servers (name, domain, address) VALUES ('b', 'b.test', 'h:1'), ('c', '', '')",
        "UPDATE servers SET name = 'd' WHERE name = 'a'",
        "UPDATE servers SET domain = 'd.test' WHERE name = 'd'",
        "UPDATE servers SET address = 'h:2' WHERE name = 'd'",
        "UPDATE servers SET state = 'running' WHERE name = 'd'",
        "UPDATE servers SET enabled = FALSE",
    ];
    let ends = ["DELETE FROM servers WHERE name = 'd'", "TRUNCATE servers"];
    for statement in routes
        .map(own)
        .iter()
        .chain(&settings)
        .chain(&ends.map(own))
    {
        client.batch_execute(statement).await.expect(statement);
        // What the router remembers is no change of a route.
        client.batch_execute(REMEMBER).await.unwrap();
        let mark = "SELECT pg_notify('automc_routes_changed', 'mark')";
        client.batch_execute(mark).await.unwrap();
        assert_eq!(next(&mut heard).await, "", "{statement}");
        assert_eq!(next(&mut heard).await, "mark", "{statement}");
    }
}

async fn next(heard: &mut mpsc::Receiver<String>) -> String {
    let payload = timeout(DEADLINE, heard.recv()).await;
    payload.expect("a notification in time").expect("a session")
}

/// The payloads on the router's channel, from now on.
async fn listen(database: &Database) -> mpsc::Receiver<String> {
    let (client, mut connection) = tokio_postgres::connect(&database.dsn(), NoTls)
        .await
        .unwrap();
    let (payloads, heard) = mpsc::channel(64);
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(note) = message {
                payloads.send(note.payload().to_owned()).await.unwrap();
            }
        }
    });
    let subscribe = "LISTEN automc_routes_changed";
    client.batch_execute(subscribe).await.unwrap();
    // The session lives as long as its client; the test's runtime ends both.
    tokio::spawn(async move {
        std::future::pending::<()>().await;
        drop(client);
    });
    heard
}

/// Compiles only if a spawned task may use the server, as the demo and many players do.
#[tokio::test]
async fn a_spawned_task_may_ask_for_a_database() {
    let task = tokio::spawn(async {
        let database = Postgres::shared().await?.database().await?;
        database.client().await.map(drop)
    });
    timeout(DEADLINE, task).await.unwrap().unwrap().unwrap();
}
