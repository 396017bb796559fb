//! The REST API: mc-router's shapes, refusals with reasons, health and readiness.

use std::time::Duration;

use harness::backend::Backend;
use harness::eventually::eventually;
use harness::manager::Reply;
use harness::player::Player;
use harness::postgres::Postgres;
use harness::router::{RouterInside, Settings};
use harness::table::Table;
use hyper::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_route_that_is_posted_is_listed_and_used_until_it_is_deleted() {
    let backend = Backend::start("lobby").await.unwrap();
    let router = RouterInside::start(Settings::new().flag("--mapping=b.example=h:1")).unwrap();
    let address = backend.addr();

    let body = json!({ "serverAddress": "A.Example.", "backend": address.to_string() }).to_string();
    let added = router.at.api(Method::POST, "/routes", &body).await.unwrap();
    let listed = router.at.api(Method::GET, "/routes", "").await.unwrap();

    assert_eq!((added.status, added.body.as_str()), (201, ""));
    assert_eq!(
        listed.json().unwrap(),
        json!({
            "a.example": { "backend": address.to_string(), "scalingTarget": "", "state": "unknown" },
            "b.example": { "backend": "h:1", "scalingTarget": "", "state": "unknown" },
        })
    );
    Player::new("a.example")
        .enter(router.at.players)
        .await
        .unwrap();

    assert_eq!(
        router
            .at
            .api(Method::DELETE, "/routes/A.EXAMPLE", "")
            .await
            .unwrap()
            .status,
        200
    );
    assert_eq!(
        router
            .at
            .api(Method::DELETE, "/routes/a.example", "")
            .await
            .unwrap()
            .status,
        404
    );
    Player::new("a.example")
        .refusal(router.at.players)
        .await
        .unwrap();
}

#[tokio::test]
async fn the_default_route_takes_every_other_host() {
    let backend = Backend::start("lobby").await.unwrap();
    let router = RouterInside::start(Settings::new()).unwrap();
    let body = json!({ "backend": backend.addr().to_string() }).to_string();

    let set = router
        .at
        .api(Method::POST, "/defaultRoute", &body)
        .await
        .unwrap();

    assert_eq!(set.status, 200);
    assert_eq!(
        router.at.routes().await.unwrap().len(),
        0,
        "the default is not listed"
    );
    Player::new("whatever.example")
        .enter(router.at.players)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_bad_body_is_a_400_that_names_what_is_wrong() {
    let router = RouterInside::start(Settings::new()).unwrap();
    for (path, body, named) in [
        ("/routes", "", "JSON"),
        ("/routes", "{", "JSON"),
        ("/routes", "[]", "serverAddress"),
        ("/routes", "{}", "serverAddress"),
        (
            "/routes",
            r#"{"serverAddress":"a b","backend":"h:1"}"#,
            "serverAddress",
        ),
        ("/routes", r#"{"serverAddress":"a.example"}"#, "backend"),
        (
            "/routes",
            r#"{"serverAddress":"a.example","backend":"h"}"#,
            "port",
        ),
        (
            "/routes",
            r#"{"serverAddress":"a.example","backend":"h:1"} trailing"#,
            "trailing",
        ),
        ("/defaultRoute", "{}", "backend"),
        ("/defaultRoute", r#"{"backend":""}"#, "backend"),
    ] {
        let answer = router.at.api(Method::POST, path, body).await.unwrap();
        assert_eq!(answer.status, 400, "{path} {body}");
        let error = answer.json().unwrap()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(named), "{path} {body}: {error}");
    }
    let large = "x".repeat(70_000);
    let answer = router
        .at
        .api(Method::POST, "/routes", &large)
        .await
        .unwrap();
    assert_eq!(answer.status, 413);
    assert!(router.at.routes().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_route_of_postgres_cannot_be_deleted_through_the_api_and_a_posted_one_comes_first() {
    let database = Postgres::shared().await.unwrap().database().await.unwrap();
    let sql = database.client().await.unwrap();
    let insert = "INSERT INTO servers (name, domain, address) VALUES ('s', 'a.example', 'h:1')";
    sql.batch_execute(insert).await.unwrap();
    let router = RouterInside::start(Settings::new().database(&database)).unwrap();
    router
        .at
        .routed("a.example", Some("h:1"), DEADLINE)
        .await
        .unwrap();

    let refused = router
        .at
        .api(Method::DELETE, "/routes/a.example", "")
        .await
        .unwrap();
    assert_eq!(refused.status, 409);
    assert!(refused.body.contains("Postgres"), "{refused:?}");

    let body = r#"{"serverAddress":"a.example","backend":"h:2"}"#;
    router.at.api(Method::POST, "/routes", body).await.unwrap();
    router
        .at
        .routed("a.example", Some("h:2"), DEADLINE)
        .await
        .unwrap();
    router
        .at
        .api(Method::DELETE, "/routes/a.example", "")
        .await
        .unwrap();
    router
        .at
        .routed("a.example", Some("h:1"), DEADLINE)
        .await
        .unwrap();
}

#[tokio::test]
async fn readiness_waits_for_the_first_read_and_health_does_not() {
    let database = Postgres::shared()
        .await
        .unwrap()
        .empty_database()
        .await
        .unwrap();
    let router = RouterInside::start(Settings::new().database(&database)).unwrap();

    let ready = router.at.api(Method::GET, "/readyz", "").await.unwrap();
    let healthy = router.at.api(Method::GET, "/healthz", "").await.unwrap();

    assert_eq!((ready.status, healthy.status), (503, 200));
    assert!(ready.body.contains("Postgres"), "{ready:?}");

    let sql = database.client().await.unwrap();
    sql.batch_execute(harness::postgres::SCHEMA).await.unwrap();
    router.at.ready(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn without_a_database_it_is_ready_at_once_and_says_that_the_sync_is_off() {
    let router = RouterInside::start(Settings::new()).unwrap();
    router.at.ready(DEADLINE).await.unwrap();
    assert_eq!(router.at.sync().await.unwrap()["enabled"], false);
}

#[tokio::test]
async fn what_is_no_http_and_what_is_no_endpoint_ends_nothing() {
    let router = RouterInside::start(Settings::new()).unwrap();
    let mut stream = TcpStream::connect(router.at.api).await.unwrap();
    stream
        .write_all(&[0xFE, 0x01, 0xFA, b'\r', b'\n', b'\r', b'\n'])
        .await
        .unwrap();
    let mut answer = Vec::new();
    timeout(DEADLINE, stream.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 400"));

    for (method, path, status) in [
        (Method::GET, "/", 404),
        (Method::GET, "/routes/", 404),
        (Method::PUT, "/routes", 405),
        (Method::PUT, "/defaultRoute", 405),
        (Method::GET, "/healthz", 200),
    ] {
        let answer = router.at.api(method.clone(), path, "").await.unwrap();
        assert_eq!(answer.status, status, "{method} {path}");
    }
}

/// Who decides when a server stops has to know who waits for it and plays on it.
#[tokio::test]
async fn waiting_and_playing_count_as_use_and_the_time_to_stay_up_counts_from_ready() {
    let settings = Settings::new().env("AUTOMC_MIN_ONLINE", "1h");
    let (manager, table) = Table::with_manager(settings).await.unwrap();
    let (asleep, player) = table.asleep("test1").await.unwrap();
    let seen = async || {
        let servers = table
            .router
            .at
            .api(Method::GET, "/servers", "")
            .await
            .unwrap();
        servers.json().unwrap()["test1"].clone()
    };
    let before = seen().await;
    assert_eq!(
        (&before["state"], &before["waiting"]),
        (&json!("asleep"), &json!(0))
    );
    assert_eq!(before.get("keepSeconds"), None);

    let waiting = player.knock(table.router.at.players).await.unwrap();
    manager.polled(1, DEADLINE).await.unwrap();
    eventually("the player to wait", DEADLINE, async || {
        seen().await["waiting"] == 1
    })
    .await
    .unwrap();
    let starting = seen().await;
    assert_eq!(
        (&starting["state"], &starting["unusedSeconds"]),
        (&json!("starting"), &json!(0))
    );

    let backend = asleep.wake("up").unwrap();
    manager.polls([Reply::running(backend.addr())]);
    let session = waiting.enter().await.unwrap();
    eventually("the player to play", DEADLINE, async || {
        seen().await["sessions"] == 1
    })
    .await
    .unwrap();
    let running = seen().await;
    assert_eq!(
        (&running["state"], &running["waiting"]),
        (&json!("running"), &json!(0))
    );
    assert!(
        running["keepSeconds"].as_u64().unwrap() > 3_500,
        "{running}"
    );
    let routes = table
        .router
        .at
        .api(Method::GET, "/routes", "")
        .await
        .unwrap();
    assert_eq!(
        routes.json().unwrap()["test1.example.com"]["state"],
        "running"
    );

    drop(session);
    eventually("the session to end", DEADLINE, async || {
        seen().await["sessions"] == 0
    })
    .await
    .unwrap();
}
