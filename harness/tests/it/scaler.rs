//! Waking by webhook, for routes that no server-manager knows by name.

use std::time::Duration;

use harness::backend::{Asleep, Backend};
use harness::eventually::eventually;
use harness::manager::Reply;
use harness::player::Player;
use harness::receiver::Receiver;
use harness::router::{RouterProcess, Settings};
use harness::table::Table;
use serde_json::json;

const DEADLINE: Duration = Duration::from_secs(20);
const HOST: &str = "play.example";

/// A receiver, a port that nobody listens on, and a router with a route to that.
async fn world(settings: Settings) -> (Receiver, Asleep, RouterProcess) {
    let (hook, asleep) = (Receiver::start().await.unwrap(), Asleep::new().unwrap());
    let settings = settings
        .flag(format!("--auto-scale-webhook-url={}", hook.url()))
        .flag(format!("--mapping={HOST}={}", asleep.addr()));
    let router = RouterProcess::start(settings).await.unwrap();
    (hook, asleep, router)
}

fn at(backend: &Backend) -> Reply {
    Reply::json(&json!({ "backend": backend.addr().to_string() }))
}

/// Without a server-manager. The row's address may belong to somebody else by now.
#[tokio::test]
async fn a_row_that_says_stopped_is_started_by_webhook_and_played_on_where_that_says() {
    let hook = Receiver::start().await.unwrap();
    let settings = Settings::new().flag(format!("--auto-scale-webhook-url={}", hook.url()));
    let table = Table::start(settings).await.unwrap();
    let (stranger, moved) = (
        Backend::start("stranger").await,
        Backend::start("moved").await,
    );
    let (stranger, moved) = (stranger.unwrap(), moved.unwrap());
    hook.replies([at(&moved)]);
    let player = table.server("test1", stranger.addr(), "stopped").await;
    let player = player.unwrap();

    for _ in 0..2 {
        let _session = player.enter(table.router.at.players).await.unwrap();
    }

    let backend = stranger.addr().to_string();
    let up = json!({ "action": "up", "serverAddress": "test1.example.com", "backend": backend });
    assert_eq!(hook.bodies(1, DEADLINE).await.unwrap(), [up]);
    assert_eq!((stranger.logins().len(), moved.logins().len()), (0, 2));
}

/// Where a server is only its webhook knows, and tells the first.
#[tokio::test]
async fn everybody_gets_in_at_the_address_of_one_answer_and_pings_show_that_server() {
    let (hook, _nobody, router) = world(Settings::new()).await;
    let backend = Backend::start("elsewhere").await.unwrap();
    hook.replies([at(&backend)]);
    let player = Player::new(HOST);

    let entering = std::array::from_fn::<_, 4, _>(|_| player.enter(router.at.players));
    let [first, second, third, fourth] = entering;
    let (first, second, third, fourth) = tokio::join!(first, second, third, fourth);
    let inside = [first, second, third, fourth].map(Result::unwrap);
    let shown = player.status(router.at.players).await.unwrap();
    let _fifth = player.enter(router.at.players).await.unwrap();
    drop(inside);
    let _sixth = player.enter(router.at.players).await.unwrap();

    assert_eq!((backend.logins().len(), shown.text()), (6, "elsewhere"));
    hook.bodies(1, DEADLINE).await.unwrap();
}

#[tokio::test]
async fn a_start_is_asked_for_in_the_words_of_mc_router_and_waited_for_at_the_port() {
    let settings = Settings::new()
        .flag("--debug")
        .flag("--auto-scale-webhook-headers=X-Key=s3cret=,Authorization=Bearer s3cret");
    let (hook, asleep, router) = world(settings).await;
    let player = Player::new("Play.Example.\0FML2\0");

    let waiting = player.knock(router.at.players).await.unwrap();
    let asked = hook.bodies(1, DEADLINE).await.unwrap();
    let address = asleep.addr().to_string();
    let backend = asleep.wake("woken").unwrap();
    waiting.enter().await.unwrap();

    let up = json!({ "action": "up", "serverAddress": HOST, "backend": address });
    assert_eq!(asked, [up]);
    let headers = &hook.received()[0].headers;
    for (name, value) in [
        ("x-key", "s3cret="),
        ("authorization", "Bearer s3cret"),
        ("content-type", "application/json"),
    ] {
        let header = (name.to_owned(), value.to_owned());
        assert!(headers.contains(&header), "{headers:?}");
    }
    assert_eq!(backend.logins()[0].bytes, player.login_bytes());
    let log = router.process.tail(usize::MAX);
    assert!(!log.contains("s3cret"), "{log}");
}

#[tokio::test]
async fn the_default_route_is_started_by_an_empty_name() {
    let default = Asleep::new().unwrap();
    let flag = format!("--default={}", default.addr());
    let (hook, _nobody, router) = world(Settings::new().flag(flag)).await;
    let backend = Backend::start("elsewhere").await.unwrap();
    hook.replies([at(&backend)]);

    Player::new("any.example")
        .enter(router.at.players)
        .await
        .unwrap();
    Player::new("other.example")
        .enter(router.at.players)
        .await
        .unwrap();

    let address = default.addr().to_string();
    let up = json!({ "action": "up", "serverAddress": "", "backend": address });
    assert_eq!(hook.bodies(1, DEADLINE).await.unwrap(), [up]);
}

#[tokio::test]
async fn neither_who_finds_the_server_up_nor_a_ping_asks_for_a_start() {
    let (hook, asleep, router) = world(Settings::new()).await;
    let player = Player::new(HOST);
    for _ in 0..3 {
        player.status(router.at.players).await.unwrap();
    }
    let backend = asleep.wake("up").unwrap();
    for _ in 0..3 {
        player.enter(router.at.players).await.unwrap();
    }
    player.status(router.at.players).await.unwrap();
    assert_eq!(backend.logins().len(), 3);
    hook.bodies(0, DEADLINE).await.unwrap();
}

/// The server has moved since, and only a new start tells where.
#[tokio::test]
async fn an_address_that_went_dead_is_asked_for_again() {
    let (hook, _nobody, router) = world(Settings::new()).await;
    let player = Player::new(HOST);
    for (round, name) in ["first", "second"].into_iter().enumerate() {
        let backend = Backend::start(name).await.unwrap();
        hook.replies([at(&backend)]);
        player.enter(router.at.players).await.unwrap();
        assert_eq!(backend.logins().len(), 1, "{name}");
        hook.bodies(round + 1, DEADLINE).await.unwrap();
    }
}

#[tokio::test]
async fn a_webhook_that_fails_is_told_to_players_and_asked_once_more_where_that_may_help() {
    for (status, asked) in [(404, 1), (500, 2)] {
        let (hook, _nobody, router) = world(Settings::new()).await;
        hook.replies([Reply::status(status)]);
        let player = Player::new(HOST);
        for _ in 0..2 {
            let text = player.refusal(router.at.players).await.unwrap();
            assert!(!text.contains("127.0.0.1"), "{text}");
        }
        // The second click comes before the next try.
        hook.bodies(asked, DEADLINE).await.unwrap();
    }
}

#[tokio::test]
async fn an_answer_that_is_nonsense_or_without_end_leads_to_the_address_of_the_route() {
    for body in [
        "nonsense".to_owned(),
        "{\"backend\":7}".to_owned(),
        " ".repeat(1 << 20),
    ] {
        let (hook, asleep, router) = world(Settings::new()).await;
        hook.replies([Reply::body(&body)]);
        let waiting = Player::new(HOST).knock(router.at.players).await.unwrap();
        hook.bodies(1, DEADLINE).await.unwrap();
        let backend = asleep.wake("woken").unwrap();
        waiting.enter().await.unwrap();
        assert_eq!(backend.logins().len(), 1);
    }
}

/// What was asked of which host so far; a server that nobody has joined yet may be stopped first.
fn asked(hook: &Receiver) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let asked = hook.received().into_iter().map(|one| {
        assert!(one.json["backend"].is_string(), "{one:?}");
        (text(&one.json["action"]), text(&one.json["serverAddress"]))
    });
    asked.collect()
}

async fn asks(hook: &Receiver, expected: &[(&str, &str)]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|(action, host)| ((*action).to_owned(), (*host).to_owned()))
        .collect();
    eventually("what the webhook is asked", DEADLINE, async || {
        let asked = asked(hook);
        anyhow::ensure!(asked.ends_with(&expected), "{asked:?}");
        Ok(())
    })
    .await
    .unwrap();
}

/// Pings are no use, and who plays by one name keeps the server for all names.
#[tokio::test]
async fn a_server_is_stopped_once_nobody_has_played_for_a_while_though_it_is_pinged() {
    let settings = Settings::new().flag("--auto-scale-down-after=1s");
    let (hook, asleep, router) = world(settings).await;
    let address = asleep.addr().to_string();
    let _backend = asleep.wake("up").unwrap();
    let player = Player::new(HOST);
    let session = player.enter(router.at.players).await.unwrap();
    let before = asked(&hook).len();
    let other = Backend::start("other").await.unwrap();
    for (host, backend) in [
        ("alias.example", address),
        ("idle.example", other.addr().to_string()),
    ] {
        let route = json!({ "serverAddress": host, "backend": backend }).to_string();
        let added = router.at.api(hyper::Method::POST, "/routes", &route).await;
        assert_eq!(added.unwrap().status, 201);
    }

    asks(&hook, &[("down", "idle.example")]).await;
    assert_eq!(
        asked(&hook).len(),
        before + 1,
        "nobody stops what is played on"
    );
    drop(session);
    eventually("stops", DEADLINE, async || {
        player.status(router.at.players).await?;
        let downs = asked(&hook).split_off(before + 1);
        anyhow::ensure!(downs == [("down".to_owned(), HOST.to_owned())], "{downs:?}");
        Ok(())
    })
    .await
    .unwrap();
    // One server, whatever its names; until it has been used again, nobody asks once more.
    let third = Backend::start("third").await.unwrap();
    let route = json!({ "serverAddress": "third.example", "backend": third.addr().to_string() });
    let added = router
        .at
        .api(hyper::Method::POST, "/routes", &route.to_string())
        .await;
    assert_eq!(added.unwrap().status, 201);
    asks(&hook, &[("down", HOST), ("down", "third.example")]).await;
}

#[tokio::test]
async fn a_stop_that_fails_is_asked_for_again_and_ends_what_was_known_of_the_address() {
    let settings = Settings::new().flag("--auto-scale-down-after=1s");
    let (hook, _nobody, router) = world(settings).await;
    let backend = Backend::start("elsewhere").await.unwrap();
    hook.replies([at(&backend)]);
    let player = Player::new(HOST);
    let session = player.enter(router.at.players).await.unwrap();
    let (up, down) = (("up", HOST), ("down", HOST));
    asks(&hook, &[up]).await;

    hook.replies([Reply::status(500), at(&backend)]);
    drop(session);
    asks(&hook, &[up, down, down]).await;

    let _session = player.enter(router.at.players).await.unwrap();
    asks(&hook, &[up, down, down, up]).await;
    assert_eq!(backend.logins().len(), 2);
}

#[tokio::test]
async fn who_was_forwarded_to_a_server_keeps_it() {
    let lobby = Backend::start("lobby").await.unwrap();
    let settings = Settings::new()
        .flag("--auto-scale-down-after=1s")
        .env("AUTOMC_JOIN", "forward,kick")
        .env("AUTOMC_FORWARD_TO", lobby.addr().to_string());
    let (hook, _nobody, router) = world(settings).await;
    let session = Player::new(HOST).enter(router.at.players).await.unwrap();
    assert_eq!(lobby.logins().len(), 1);
    let other = Backend::start("other").await.unwrap();
    for (host, backend) in [("lobby.example", &lobby), ("idle.example", &other)] {
        let address = backend.addr().to_string();
        let route = json!({ "serverAddress": host, "backend": address }).to_string();
        let added = router.at.api(hyper::Method::POST, "/routes", &route).await;
        assert_eq!(added.unwrap().status, 201);
    }
    let stopped = |host: &'static str| {
        let hook = &hook;
        eventually("a stop", DEADLINE, async move || {
            asked(hook).contains(&("down".to_owned(), host.to_owned()))
        })
    };

    stopped("idle.example").await.unwrap();
    let lobby = ("down".to_owned(), "lobby.example".to_owned());
    assert!(!asked(&hook).contains(&lobby));
    drop(session);
    stopped("lobby.example").await.unwrap();
}
