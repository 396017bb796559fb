//! Statuses that the router keeps: asked for once and shown to many, and shown again while the
//! server is away, after a restart of the router, and by another router.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use harness::backend::{Asleep, Backend};
use harness::eventually::eventually;
use harness::player::Player;
use harness::postgres::{Database, Postgres};
use harness::router::{RouterInside, RouterProcess, Settings};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::followed::{Parts, own_server};

const DEADLINE: Duration = Duration::from_secs(20);
const ICON: &str = "data:image/png;base64,iVBORw0KGgo=";
const UNREACHABLE: &str = "§7This server is not reachable at the moment.";
/// As in `schema.sql`.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS automc_memory (server TEXT PRIMARY KEY, \
     memory JSONB NOT NULL, updated TIMESTAMPTZ NOT NULL DEFAULT now())";

/// What a modded server shows; the character U+0000 is in every mod list of newer Forges.
fn modded() -> Value {
    json!({
        "version": { "name": "Forge 1.20.1", "protocol": 763 },
        "players": { "max": 77, "online": 2, "sample": [{ "name": "Steve", "id": "0-0" }] },
        "description": { "extra": [{ "text": "mods" }], "text": "" },
        "favicon": ICON,
        "forgeData": { "d": "\u{9}\u{0}\u{4e2d}", "fmlNetworkVersion": 3 },
        "modinfo": { "type": "FML", "modList": [] },
    })
}

/// The same while the server is away, its protocol number included, whoever asks.
fn asleep(text: &str) -> Value {
    let mut shown = modded();
    shown["players"] = json!({ "max": 77, "online": 0 });
    shown["description"] = json!({ "text": text });
    shown
}

async fn shown(router: std::net::SocketAddr) -> Value {
    let player = Player::new("a.example");
    player.status(router).await.unwrap().json
}

fn settings(backend: &Backend) -> Settings {
    Settings::new()
        .flag(format!("--mapping=a.example={}", backend.addr()))
        .env("AUTOMC_STATUS_TTL", "50ms")
}

async fn modded_backend() -> Backend {
    let backend = Backend::start("modded").await.unwrap();
    backend.shows(&modded().to_string());
    backend
}

#[tokio::test]
async fn five_hundred_pings_ask_the_server_once_and_all_get_its_own_words() {
    let backend = modded_backend().await;
    let router = RouterInside::start(settings(&backend).env("AUTOMC_STATUS_TTL", "1h")).unwrap();
    let mut pings = JoinSet::new();
    for _ in 0..500 {
        pings.spawn(shown(router.at.players));
    }
    for json in pings.join_all().await {
        assert_eq!(json, modded());
    }
    assert_eq!(backend.records().len(), 1);
}

#[tokio::test]
async fn a_status_is_asked_for_again_after_its_time() {
    let backend = Backend::start("before").await.unwrap();
    let router = RouterInside::start(settings(&backend)).unwrap();
    assert_eq!(
        shown(router.at.players).await["description"]["text"],
        "before"
    );
    backend.shows(&modded().to_string());
    eventually("the new status", DEADLINE, async || {
        shown(router.at.players).await == modded()
    })
    .await
    .unwrap();
}

async fn away(router: std::net::SocketAddr, text: &str) {
    eventually("the server to be away", DEADLINE, async || {
        let json = shown(router).await;
        ensure!(json == asleep(text), "{json}");
        Ok(())
    })
    .await
    .unwrap();
}

async fn stop(mut router: RouterProcess) {
    router.process.signal("TERM").await.unwrap();
    assert!(router.process.exit(DEADLINE).await.unwrap().success());
}

#[tokio::test]
async fn a_sleeping_server_keeps_its_icon_and_mods_after_a_restart_of_the_router() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.json");
    let backend = modded_backend().await;
    let settings = settings(&backend).env("AUTOMC_STATE_FILE", file.to_str().unwrap());
    let router = RouterProcess::start(settings.clone()).await.unwrap();
    assert_eq!(shown(router.at.players).await, modded());
    backend.stop();
    away(router.at.players, UNREACHABLE).await;
    stop(router).await;

    let router = RouterProcess::start(settings).await.unwrap();
    assert_eq!(shown(router.at.players).await, asleep(UNREACHABLE));
}

#[tokio::test]
async fn a_broken_file_is_told_once_set_aside_and_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.json");
    std::fs::write(&file, "{\"version\":").unwrap();
    let backend = modded_backend().await;
    let settings = settings(&backend).env("AUTOMC_STATE_FILE", file.to_str().unwrap());
    let router = RouterProcess::start(settings).await.unwrap();
    assert_eq!(shown(router.at.players).await, modded());
    let named = |line: &&String| line.contains("WARN") && line.contains(file.to_str().unwrap());
    assert_eq!(router.process.log().iter().filter(named).count(), 1);
    stop(router).await;
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    assert_eq!(
        read(&folder.path().join("state.json.broken")),
        "{\"version\":"
    );
    assert!(read(&file).contains("Forge 1.20.1"));
}

async fn remembered(database: &Database) -> Option<Value> {
    let sql = database.client().await.unwrap();
    let query = "SELECT memory::text FROM automc_memory WHERE server = 'a.example'";
    let row = sql.query_opt(query, &[]).await.unwrap()?;
    Some(serde_json::from_str(row.get(0)).unwrap())
}

#[tokio::test]
async fn one_router_learns_from_another_through_the_database() {
    let database = Postgres::shared().await.unwrap().database().await.unwrap();
    database
        .client()
        .await
        .unwrap()
        .batch_execute(TABLE)
        .await
        .unwrap();
    let backend = modded_backend().await;
    let settings = settings(&backend).database(&database);
    let first = RouterProcess::start(settings.clone()).await.unwrap();
    assert_eq!(shown(first.at.players).await, modded());
    stop(first).await;
    assert!(remembered(&database).await.is_some());
    backend.stop();

    let second = RouterProcess::start(settings).await.unwrap();
    away(second.at.players, UNREACHABLE).await;
}

#[tokio::test]
async fn a_table_the_router_may_not_write_is_told_once_and_ends_nothing() {
    let database = own_server().await.database().await.unwrap();
    let sql = database.client().await.unwrap();
    let role = "CREATE ROLE may_not_remember LOGIN PASSWORD 'may_not_remember'";
    sql.batch_execute(role).await.unwrap();
    sql.batch_execute(TABLE).await.unwrap();
    let grant = "GRANT SELECT ON servers, automc_memory TO may_not_remember";
    sql.batch_execute(grant).await.unwrap();
    let dsn = Parts::of(&database.dsn()).role("may_not_remember").pairs();
    let backend = modded_backend().await;
    let settings = settings(&backend).env("AUTOMC_DSN", format!("{dsn} sslmode=disable"));
    let router = RouterProcess::start(settings).await.unwrap();
    router.at.ready(DEADLINE).await.unwrap();
    let words = ["WARN", "automc_memory", "SELECT, INSERT and UPDATE"];
    router.process.line_with(&words, DEADLINE).await.unwrap();
    assert_eq!(shown(router.at.players).await, modded());
    stop(router).await;
    assert_eq!(remembered(&database).await, None);
}

/// AMC-05.
#[tokio::test]
async fn a_ping_is_not_held_up_by_a_server_that_takes_connections_and_says_nothing() {
    // Its backlog takes them, and nobody ever accepts.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = Asleep::new().unwrap();
    let mapping = |host: &str, at: std::net::SocketAddr| format!("--mapping={host}.example={at}");
    let settings = Settings::new()
        .flag(mapping("a", silent.local_addr().unwrap()))
        .flag(mapping("b", nobody.addr()));
    let router = RouterInside::start(settings).unwrap();
    for host in ["a.example", "b.example"] {
        let status = Player::new(host).status(router.at.players).await.unwrap();
        assert_eq!(status.text(), UNREACHABLE, "{host}");
    }
}
