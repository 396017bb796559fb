//! What the router makes of words that are not true: a table that is never right about a server, a
//! published port that opens before anybody listens behind it, a lobby that is down.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use harness::backend::{Asleep, Backend};
use harness::eventually::eventually;
use harness::manager::Reply;
use harness::player::Player;
use harness::router::Settings;
use harness::table::Table;
use hyper::Method;
use serde_json::Value;
use tokio::net::TcpListener;

const DEADLINE: Duration = Duration::from_secs(20);

async fn seen(table: &Table, server: &str) -> Value {
    let api = table.router.at.api(Method::GET, "/servers", "");
    api.await.unwrap().json().unwrap()[server].clone()
}

#[tokio::test]
async fn a_table_that_never_says_running_costs_one_start_and_no_player_the_way_in() {
    let (manager, table) = Table::with_manager(Settings::new()).await.unwrap();
    let backend = Backend::start("up").await.unwrap();
    let player = table.server("test1", backend.addr(), "stopped");
    let player = player.await.unwrap();
    manager.polls([Reply::running(backend.addr())]);
    for joined in 1..=3 {
        let _session = player.enter(table.router.at.players).await.unwrap();
        assert_eq!(backend.logins().len(), joined);
    }
    assert_eq!(manager.counts().0, 1);
}

#[tokio::test]
async fn who_is_not_to_wait_gets_into_a_running_server_whatever_the_table_says() {
    let (manager, table) = Table::with_manager(Settings::new()).await.unwrap();
    let lobby = Backend::start("lobby").await.unwrap();
    let lobby_at = lobby.addr().to_string();
    for join in ["kick", "forward,hold"] {
        let backend = Backend::start("in truth up").await.unwrap();
        let name = format!("test{}", join.len());
        let settings = [("join_methods", join), ("forward_to", &lobby_at)];
        let player = table.server_with(&name, backend.addr(), "stopped", &settings);
        let player = player.await.unwrap();
        let _session = player.enter(table.router.at.players).await.unwrap();
        assert_eq!(backend.logins().len(), 1, "{join}");
    }
    assert_eq!((lobby.logins(), manager.counts()), (vec![], (0, 0)));
}

#[tokio::test]
async fn who_is_forwarded_plays_in_the_lobby_and_not_on_the_server() {
    let table = Table::start(Settings::new()).await.unwrap();
    let (lobby, nobody) = (
        Backend::start("lobby").await.unwrap(),
        Asleep::new().unwrap(),
    );
    let lobby_at = lobby.addr().to_string();
    let settings = [("join_methods", "forward"), ("forward_to", &lobby_at)];
    let player = table.server_with("test1", nobody.addr(), "running", &settings);
    let player = player.await.unwrap();

    let mut session = player.enter(table.router.at.players).await.unwrap();

    assert_eq!(session.echo(b"hello").await.unwrap(), b"hello");
    assert_eq!(lobby.logins().len(), 1);
    let seen = seen(&table, "test1").await;
    assert_eq!(
        (&seen["state"], &seen["sessions"]),
        (&Value::from("unreachable"), &Value::from(0))
    );
}

#[tokio::test]
async fn a_lobby_that_is_down_does_not_hide_that_the_server_starts() {
    let (manager, table) = Table::with_manager(Settings::new()).await.unwrap();
    let (nobody, no_lobby) = (Asleep::new().unwrap(), Asleep::new().unwrap());
    let lobby_at = no_lobby.addr().to_string();
    manager.polls([Reply::state("starting")]);
    for (starts, join) in ["forward", "hold,forward"].into_iter().enumerate() {
        let name = format!("test{starts}");
        let settings = [
            ("join_methods", join),
            ("hold_max", "1s"),
            ("forward_to", &lobby_at),
        ];
        let player = table.server_with(&name, nobody.addr(), "stopped", &settings);
        let text = table.refusal(&player.await.unwrap()).await.unwrap();
        assert!(text.starts_with("This server is starting."), "{text}");
        let started = async || manager.counts().0 == starts + 1;
        eventually("a start", DEADLINE, started).await.unwrap();
    }
}

/// A published port of a container whose server does not listen yet: it takes connections and
/// ends them.
async fn published() -> (SocketAddr, Arc<AtomicUsize>, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, taken) = (
        listener.local_addr().unwrap(),
        Arc::new(AtomicUsize::new(0)),
    );
    let counted = Arc::clone(&taken);
    let ends = tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            drop(connection);
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    (address, taken, ends)
}

#[tokio::test]
async fn players_wait_behind_a_published_port_until_the_server_listens() {
    let (manager, table) = Table::with_manager(Settings::new()).await.unwrap();
    let (address, taken, port) = published().await;
    manager.polls([Reply::running(address)]);
    let player: Player = table.server("test1", address, "stopped").await.unwrap();
    let waiting = player.knock(table.router.at.players).await.unwrap();
    let waiting = tokio::spawn(waiting.enter());
    // It may have no status at all, so players are tried after a while.
    let line = ["automc: server is ready"];
    table.says(&line).await.unwrap();
    let before = taken.load(Ordering::Relaxed);
    let tried = async || taken.load(Ordering::Relaxed) > before + 1;
    eventually("two more attempts", DEADLINE, tried)
        .await
        .unwrap();

    port.abort();
    drop(port.await);
    let backend = Backend::start_at("up", address).await.unwrap();

    waiting.await.unwrap().unwrap();
    assert_eq!(backend.logins().len(), 1);
}
