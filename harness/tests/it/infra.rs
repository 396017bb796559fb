//! Postgres for tests: isolated, restartable, gone afterwards.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use harness::eventually::eventually;
use harness::postgres::{Postgres, SCHEMA};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{ChildStdout, Command};
use tokio::time::timeout;
use tokio_postgres::Client;

const DEADLINE: Duration = Duration::from_secs(60);
/// Set in the process that [`hold_a_private_server`] is meant for.
const HOLD: &str = "AUTOMC_TEST_HOLD";

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
async fn two_sessions_may_apply_the_schema_at_once() {
    let server = Postgres::shared().await.unwrap();
    let database = server.empty_database().await.unwrap();
    let (first, second) = tokio::try_join!(database.client(), database.client()).unwrap();
    tokio::try_join!(first.batch_execute(SCHEMA), second.batch_execute(SCHEMA)).unwrap();
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
