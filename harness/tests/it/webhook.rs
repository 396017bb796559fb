//! Notifications: what a webhook is told, in which order, and what that costs players.

use std::collections::HashMap;
use std::time::Duration;

use automc_router::protocol::handshake::Intent;
use harness::backend::{Asleep, Backend};
use harness::manager::Reply;
use harness::player::Player;
use harness::receiver::{self, Receiver};
use harness::router::{RouterProcess, Settings};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(20);

async fn router(settings: Settings, hook: &str, backend: &Backend) -> RouterProcess {
    let settings = settings
        .flag(format!("--webhook-url={hook}"))
        .flag(format!("--mapping=play.example={}", backend.addr()));
    RouterProcess::start(settings).await.unwrap()
}

/// `event`, its time and the client's port taken out.
fn timeless(event: &Value) -> Value {
    let mut event = event.clone();
    let object = event.as_object_mut().unwrap();
    let at = object.remove("timestamp").unwrap();
    assert!(at.as_str().unwrap().ends_with('Z'), "{at}");
    if let Some(client) = object.get_mut("client") {
        let port = client.as_object_mut().unwrap().remove("port").unwrap();
        assert!(port.as_u64().unwrap() > 0);
    }
    event
}

fn steve() -> Value {
    json!({ "name": "Steve", "uuid": "11111111-1111-1111-1111-111111111111" })
}

#[tokio::test]
async fn a_session_is_told_from_its_beginning_to_its_end_with_its_player() {
    let (hook, backend) = (
        Receiver::start().await.unwrap(),
        Backend::start("up").await.unwrap(),
    );
    let router = router(Settings::new().flag("--debug"), &hook.url(), &backend).await;
    let event = |kind: &str| {
        json!({
            "event": kind,
            "status": "success",
            "client": { "host": "127.0.0.1" },
            "server": "play.example",
            "player": steve(),
            "backend": backend.addr().to_string(),
        })
    };
    for (round, intent) in [Intent::Login, Intent::Transfer].into_iter().enumerate() {
        let player = Player {
            intent,
            ..Player::new("Play.Example.\0FML2\0")
        };
        let session = player.enter(router.at.players).await.unwrap();
        let told = hook.bodies(2 * round + 1, DEADLINE).await.unwrap();
        assert_eq!(timeless(told.last().unwrap()), event("connect"));
        drop(session);
        let told = hook.bodies(2 * round + 2, DEADLINE).await.unwrap();
        assert_eq!(timeless(told.last().unwrap()), event("disconnect"));
    }
    let headers = &hook.received()[0].headers;
    let kind = ("content-type".to_owned(), "application/json".to_owned());
    assert!(headers.contains(&kind), "{headers:?}");
    let log = router.process.tail(usize::MAX);
    assert!(!log.contains("s3cret"), "{log}");
}

#[tokio::test]
async fn who_does_not_get_in_is_told_once_and_never_to_have_left() {
    let (hook, backend) = (
        Receiver::start().await.unwrap(),
        Backend::start("up").await.unwrap(),
    );
    let nobody = Asleep::new().unwrap();
    let refusing = format!("--mapping=refused.example={}", nobody.addr());
    let router = router(Settings::new().flag(refusing), &hook.url(), &backend).await;
    for host in ["unknown.example", "refused.example"] {
        let player = Player::new(host);
        player.refusal(router.at.players).await.unwrap();
    }
    // What comes next is in order behind whatever the others still had to say.
    drop(
        Player::new("play.example")
            .enter(router.at.players)
            .await
            .unwrap(),
    );

    let told = hook.bodies(4, DEADLINE).await.unwrap();
    assert_eq!(
        timeless(&told[0]),
        json!({
            "event": "connect",
            "status": "missing-backend",
            "client": { "host": "127.0.0.1" },
            "server": "unknown.example",
            "player": steve(),
            "error": "No backend found",
        })
    );
    let mut refused = timeless(&told[1]);
    let error = refused.as_object_mut().unwrap().remove("error").unwrap();
    assert!(error.as_str().unwrap().contains("refused"), "{error}");
    assert_eq!(
        refused,
        json!({
            "event": "connect",
            "status": "failed-backend-connection",
            "client": { "host": "127.0.0.1" },
            "server": "refused.example",
            "player": steve(),
            "backend": nobody.addr().to_string(),
        })
    );
    assert_eq!(told[2]["status"], "success");
    assert_eq!(told[3]["event"], "disconnect");
}

#[tokio::test]
async fn pings_are_told_unless_users_are_required() {
    for (flag, expected) in [
        (
            "--webhook-require-user=false",
            &["connect", "disconnect", "connect"][..],
        ),
        ("--webhook-require-user", &["connect"]),
    ] {
        let (hook, backend) = (
            Receiver::start().await.unwrap(),
            Backend::start("up").await.unwrap(),
        );
        let router = router(Settings::new().flag(flag), &hook.url(), &backend).await;
        let player = Player::new("play.example");
        player.status(router.at.players).await.unwrap();
        let _session = player.enter(router.at.players).await.unwrap();

        let told = hook.bodies(expected.len(), DEADLINE).await.unwrap();
        let kinds: Vec<_> = told.iter().map(|one| one["event"].clone()).collect();
        assert_eq!(kinds, expected, "{flag}");
        assert_eq!(told.last().unwrap()["player"], steve());
    }
}

#[tokio::test]
async fn a_hundred_quick_visits_arrive_in_order_though_the_receiver_comes_late() {
    let (late, backend) = (Asleep::new().unwrap(), Backend::start("up").await.unwrap());
    let router = router(Settings::new(), &receiver::url(late.addr()), &backend).await;
    for _ in 0..100 {
        drop(
            Player::new("play.example")
                .enter(router.at.players)
                .await
                .unwrap(),
        );
    }
    let trouble = ["webhook: an event could not be sent"];
    router.process.line_with(&trouble, DEADLINE).await.unwrap();
    let hook = Receiver::start_at(late.addr()).await.unwrap();

    let told = hook.bodies(200, DEADLINE).await.unwrap();
    let mut inside = HashMap::new();
    for event in &told {
        let port = event["client"]["port"].as_u64().unwrap();
        match event["event"].as_str().unwrap() {
            "connect" => assert_eq!(inside.insert(port, true), None, "{event}"),
            _ => assert_eq!(inside.insert(port, false), Some(true), "{event}"),
        }
    }
    assert_eq!(inside.len(), 100);
    let again = ["webhook: the receiver takes events again"];
    router.process.line_with(&again, DEADLINE).await.unwrap();
}

#[tokio::test]
async fn a_receiver_that_never_answers_slows_no_player() {
    let (hook, backend) = (
        Receiver::start().await.unwrap(),
        Backend::start("up").await.unwrap(),
    );
    hook.replies([Reply::hang()]);
    let router = router(Settings::new(), &hook.url(), &backend).await;
    for _ in 0..20 {
        let player = Player::new("play.example");
        let mut session = player.enter(router.at.players).await.unwrap();
        assert_eq!(session.echo(b"hello").await.unwrap(), b"hello");
    }
    assert_eq!(
        hook.bodies(1, DEADLINE).await.unwrap()[0]["event"],
        "connect"
    );
}

#[tokio::test]
async fn what_the_receiver_breaks_at_is_sent_again_and_what_it_refuses_is_not() {
    let (hook, backend) = (
        Receiver::start().await.unwrap(),
        Backend::start("up").await.unwrap(),
    );
    hook.replies([500, 503, 204, 400, 204].map(Reply::status));
    let router = router(Settings::new(), &hook.url(), &backend).await;
    let player = Player::new("play.example");
    drop(player.enter(router.at.players).await.unwrap());
    hook.bodies(4, DEADLINE).await.unwrap();
    drop(player.enter(router.at.players).await.unwrap());

    let told = hook.bodies(6, DEADLINE).await.unwrap();
    let kinds: Vec<_> = told.iter().map(|one| one["event"].clone()).collect();
    let (connect, disconnect) = ("connect", "disconnect");
    assert_eq!(
        kinds,
        [connect, connect, connect, disconnect, connect, disconnect]
    );
    assert_eq!((&told[0], &told[0]), (&told[1], &told[2]));
    let lost = ["webhook: an event is lost", "400"];
    router.process.line_with(&lost, DEADLINE).await.unwrap();
    let metrics = router.at.metrics().await.unwrap();
    assert_eq!(
        metrics.value("automc_webhook_events_lost_total").unwrap(),
        1
    );
}

#[tokio::test]
async fn who_is_cut_off_when_the_router_stops_is_told_to_have_left() {
    let (hook, backend) = (
        Receiver::start().await.unwrap(),
        Backend::start("up").await.unwrap(),
    );
    let settings = Settings::new().flag("--shutdown-grace=0s");
    let mut router = router(settings, &hook.url(), &backend).await;
    let mut sessions = Vec::new();
    for _ in 0..10 {
        let player = Player::new("play.example");
        sessions.push(player.enter(router.at.players).await.unwrap());
    }
    hook.bodies(10, DEADLINE).await.unwrap();

    router.process.signal("TERM").await.unwrap();
    router.process.exit(DEADLINE).await.unwrap();

    let told = hook.bodies(20, DEADLINE).await.unwrap();
    assert!(told[10..].iter().all(|one| one["event"] == "disconnect"));
}

#[tokio::test]
async fn routes_are_told_as_they_are_and_as_they_change() {
    let (hook, backend) = (
        Receiver::start().await.unwrap(),
        Backend::start("up").await.unwrap(),
    );
    let settings = Settings::new()
        .flag("--webhook-events=route-added,route-removed,default-route-set")
        .flag("--default=lobby:1");
    let router = router(settings, &hook.url(), &backend).await;
    let told = hook.bodies(2, DEADLINE).await.unwrap();
    let backend = backend.addr().to_string();
    let added = json!({
        "event": "route-added", "status": "success", "server": "play.example", "backend": backend,
    });
    let default = json!({
        "event": "default-route-set", "status": "success", "server": "", "backend": "lobby:1",
    });
    assert_eq!([timeless(&told[0]), timeless(&told[1])], [added, default]);

    let gone = router
        .at
        .api(hyper::Method::DELETE, "/routes/play.example", "");
    assert_eq!(gone.await.unwrap().status, 200);

    let told = hook.bodies(3, DEADLINE).await.unwrap();
    let removed =
        json!({ "event": "route-removed", "status": "success", "server": "play.example" });
    assert_eq!(timeless(&told[2]), removed);
}
