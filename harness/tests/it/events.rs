//! `GET /events`: what happens, told as it happens, to many and whoever comes back.

use std::time::Duration;

use harness::backend::Backend;
use harness::chaos::ChaosProxy;
use harness::events::{Event, Events};
use harness::eventually::eventually;
use harness::player::Player;
use harness::postgres::Postgres;
use harness::router::{RouterInside, RouterProcess, Settings};
use hyper::Method;
use serde_json::json;

const DEADLINE: Duration = Duration::from_secs(20);
/// As documented.
const READERS_MAX: usize = 64;

async fn add(router: &RouterInside, host: &str, backend: &str) {
    let body = json!({ "serverAddress": host, "backend": backend }).to_string();
    let answer = router.at.api(Method::POST, "/routes", &body).await.unwrap();
    assert_eq!(answer.status, 201, "{answer:?}");
}

/// The next event called `event`.
async fn next(events: &mut Events, event: &str) -> Event {
    loop {
        let next = events.next().await.unwrap().expect("no end");
        if next.event == event {
            return next;
        }
    }
}

#[tokio::test]
async fn changes_of_routes_and_servers_are_told_and_a_reader_who_comes_back_misses_none() {
    // Backends are no subject here.
    let settings = Settings::new().env("AUTOMC_HEALTH_INTERVAL", "0");
    let router = RouterInside::start(settings).unwrap();
    let mut events = Events::open(router.at.api, None).await.unwrap();
    let ready = next(&mut events, "ready").await;
    add(&router, "a.example", "127.0.0.1:1").await;
    let added = events.next().await.unwrap().unwrap();
    assert_eq!(added.event, "route");
    for (key, value) in [
        ("kind", json!("added")),
        ("provider", json!("file")),
        ("host", json!("a.example")),
        ("new", json!("127.0.0.1:1")),
        ("old", json!(null)),
        ("id", json!(added.id)),
    ] {
        assert_eq!(added.data[key], value, "{key}");
    }
    Player::new("a.example")
        .refusal(router.at.players)
        .await
        .unwrap();
    let server = next(&mut events, "server").await;
    assert_eq!(server.data["server"], "a.example");
    assert_eq!(server.data["to"], "unreachable");
    drop(events);

    add(&router, "b.example", "127.0.0.1:1").await;
    let last = added.id.unwrap().to_string();
    let mut again = Events::open(router.at.api, Some(&last)).await.unwrap();
    next(&mut again, "ready").await;
    assert_eq!(again.next().await.unwrap(), Some(server.clone()));
    let added = again.next().await.unwrap().unwrap();
    assert_eq!(added.data["host"], "b.example");
    assert!(ready.id < server.id && server.id < added.id);

    // Whoever comes from another time is told so, and hears what is known.
    let mut lost = Events::open(router.at.api, Some("1")).await.unwrap();
    next(&mut lost, "ready").await;
    assert_eq!(lost.next().await.unwrap().unwrap().event, "lagged");
    assert_eq!(next(&mut lost, "route").await.data["host"], "a.example");
    let wrong = Events::open(router.at.api, Some("x")).await.unwrap();
    assert_eq!(wrong.status, 400);
}

#[tokio::test]
async fn health_is_told_as_it_changes() {
    let backend = Backend::start("a").await.unwrap();
    let address = backend.addr().to_string();
    let settings = Settings::new()
        .env("AUTOMC_HEALTH_INTERVAL", "100ms")
        .flag(format!("--mapping=a.example={address}"));
    let router = RouterInside::start(settings).unwrap();
    let mut events = Events::open(router.at.api, Some("1")).await.unwrap();
    let up = next(&mut events, "health").await;
    let id = up.id.unwrap();
    drop(backend);
    let down = next(&mut events, "health").await;
    for (event, from, to) in [(&up, "unknown", "healthy"), (&down, "healthy", "unhealthy")] {
        for (key, value) in [
            ("backend", &*address),
            ("server", "a.example"),
            ("from", from),
            ("to", to),
        ] {
            assert_eq!(event.data[key], value, "{event:?}");
        }
    }
    assert_eq!(down.data["detail"], "its port refuses connections");
    let mut again = Events::open(router.at.api, Some(&id.to_string()))
        .await
        .unwrap();
    assert_eq!(next(&mut again, "health").await, down);
}

#[tokio::test]
async fn a_lost_connection_to_postgres_is_told_and_that_it_is_back() {
    let server = Postgres::shared().await.unwrap();
    let database = server.database().await.unwrap();
    let proxy = ChaosProxy::start(server.addr()).await.unwrap();
    let dsn = server.dsn_at(proxy.addr(), database.name());
    let settings = Settings::new().env("AUTOMC_DSN", dsn);
    let router = RouterInside::start(settings).unwrap();
    let mut events = Events::open(router.at.api, Some("1")).await.unwrap();
    for connected in [true, false, true] {
        let sync = next(&mut events, "sync").await;
        assert_eq!(sync.data["connected"], connected, "{sync:?}");
        if connected {
            proxy.cut().await.unwrap();
        }
    }
}

#[tokio::test]
async fn so_many_may_read_and_each_place_comes_free_again() {
    let router = RouterInside::start(Settings::new()).unwrap();
    let mut readers = Vec::new();
    for _ in 0..READERS_MAX {
        let mut events = Events::open(router.at.api, None).await.unwrap();
        next(&mut events, "ready").await;
        readers.push(events);
    }
    let refused = Events::open(router.at.api, None).await.unwrap();
    assert_eq!(refused.status, 503);
    // Others are still answered.
    add(&router, "a.example", "h:1").await;
    for events in &mut readers {
        assert_eq!(next(events, "route").await.data["host"], "a.example");
    }
    readers.pop();
    eventually("a place", DEADLINE, async || {
        let events = Events::open(router.at.api, None).await?;
        anyhow::ensure!(events.status == 200, "{}", events.status);
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn readers_are_let_go_when_the_router_stops() {
    let mut router = RouterProcess::start(Settings::new()).await.unwrap();
    let mut events = Events::open(router.at.api, None).await.unwrap();
    next(&mut events, "ready").await;
    router.process.signal("TERM").await.unwrap();
    assert_eq!(events.next().await.unwrap(), None);
    assert!(router.process.exit(DEADLINE).await.unwrap().success());
}
