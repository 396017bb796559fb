//! `GET /health/routes`: what the router finds out about backends, and that it wakes none of them for it.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::backend::{Asleep, Backend};
use harness::eventually::eventually;
use harness::manager::Reply;
use harness::player::Player;
use harness::receiver::Receiver;
use harness::router::{Address, RouterInside, RouterProcess, Settings};
use harness::table::Table;
use hyper::Method;
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(30);
/// What a pinger says that speaks no particular version; players here do.
const ANY_PROTOCOL: i32 = -1;

fn watching() -> Settings {
    Settings::new().env("AUTOMC_HEALTH_INTERVAL", "100ms")
}

async fn health(at: &Address, query: &str) -> Result<Value> {
    let path = format!("/health/routes{query}");
    at.api(Method::GET, &path, "").await?.json()
}

/// Waits until the route of `host` is `status`, and hands back everything that is said of it.
async fn becomes(at: &Address, host: &str, status: &str) -> Value {
    eventually(&format!("{host} {status}"), DEADLINE, async || {
        let route = health(at, "").await?["routes"][host].take();
        ensure!(route["status"] == status, "{route}");
        Ok(route)
    })
    .await
    .unwrap()
}

/// How often the router itself has asked.
fn checks(backend: &Backend) -> usize {
    let records = backend.records();
    let protocols = records.iter().filter_map(|one| one.handshake.as_ref());
    protocols.filter(|one| one.protocol == ANY_PROTOCOL).count()
}

async fn checked(backend: &Backend, times: usize) {
    let enough = async || checks(backend) >= times;
    eventually("checks", DEADLINE, enough).await.unwrap();
}

#[tokio::test]
async fn a_server_that_dies_is_unhealthy_after_three_checks_and_healthy_once_it_is_back() {
    let (backend, lobby) = (
        Backend::start("a").await.unwrap(),
        Backend::start("lobby").await.unwrap(),
    );
    let address = backend.addr();
    let settings = watching()
        .flag(format!("--mapping=a.example={address}"))
        .flag("--mapping=name.example=no-such-name.invalid:1")
        .flag(format!("--default={}", lobby.addr()));
    let router = RouterInside::start(settings).unwrap();

    let up = becomes(&router.at, "a.example", "healthy").await;
    assert!(up["latencyMillis"].as_f64().unwrap() > 0.0, "{up}");
    for field in ["uptimeSeconds", "lastSeenSeconds", "lastHeardSeconds"] {
        assert!(up[field].is_u64(), "{field}: {up}");
    }
    drop(backend);
    let down = becomes(&router.at, "a.example", "unhealthy").await;
    assert!(down["failures"].as_u64().unwrap() >= 3, "{down}");
    assert_eq!(down["detail"], "its port refuses connections");
    assert!(down["uptimeSeconds"].is_null() && down["lastSeenSeconds"].is_u64());
    let unknown = becomes(&router.at, "name.example", "error").await;
    assert_eq!(unknown["detail"], "its name cannot be looked up");
    checked(&lobby, 1).await;

    let simple = health(&router.at, "?detail=simple").await.unwrap();
    let expected = json!({ "a.example": "unhealthy", "name.example": "error" });
    assert_eq!(simple["routes"], expected);
    assert_eq!(simple["default"], "healthy");
    let metrics = router.at.metrics().await.unwrap();
    for status in [
        "unknown",
        "healthy",
        "asleep",
        "starting",
        "unhealthy",
        "error",
    ] {
        let expected = u64::from(["healthy", "unhealthy", "error"].contains(&status));
        assert_eq!(simple["counts"][status], expected, "{status}");
        let metric = format!("automc_routes_health{{status=\"{status}\"}}");
        assert_eq!(metrics.value(&metric).unwrap(), expected, "{status}");
    }

    let _back = Backend::start_at("a", address).await.unwrap();
    let up = becomes(&router.at, "a.example", "healthy").await;
    assert_eq!(up["failures"], 0);
}

/// Its address is somebody else's meanwhile, who counts.
#[tokio::test]
async fn a_server_that_sleeps_is_never_asked_and_nothing_is_woken_for_a_check() {
    let (manager, table) = Table::with_manager(watching()).await.unwrap();
    let (other, running) = (
        Backend::start("other").await.unwrap(),
        Backend::start("running").await.unwrap(),
    );
    for state in ["stopped", "stopping", "starting", "failed"] {
        table.server(state, other.addr(), state).await.unwrap();
    }
    let nobody = Asleep::new().unwrap();
    table.server("silent", nobody.addr(), None).await.unwrap();
    table
        .server("running", running.addr(), "running")
        .await
        .unwrap();

    checked(&running, 5).await;
    for (name, status) in [
        ("stopped", "asleep"),
        ("stopping", "asleep"),
        ("starting", "starting"),
        ("failed", "unhealthy"),
        // Nobody says what it is: a closed port is what it looks like when it sleeps.
        ("silent", "asleep"),
        ("running", "healthy"),
    ] {
        let host = format!("{name}.example.com");
        becomes(&table.router.at, &host, status).await;
    }
    assert_eq!((other.records(), manager.counts()), (vec![], (0, 0)));
}

/// A server that pauses itself when nobody plays would be woken by every connection. Whoever reads about all routes
/// asks for none; whoever reads about one, for that one.
#[tokio::test]
async fn a_backend_in_which_nobody_is_interested_is_left_alone() {
    let mut idle = vec![];
    for number in 0..16 {
        idle.push(Backend::start(&format!("idle{number}")).await.unwrap());
    }
    let (read, pinged) = (
        Backend::start("read").await.unwrap(),
        Backend::start("pinged").await.unwrap(),
    );
    let settings = Settings::new()
        .of_interest()
        .flag(format!("--mapping=read.example={}", read.addr()))
        .flag(format!("--mapping=pinged.example={}", pinged.addr()));
    let settings = idle.iter().fold(settings, |settings, one| {
        let name = one.name();
        settings.flag(format!("--mapping={name}.example={}", one.addr()))
    });
    let router = RouterInside::start(settings).unwrap();
    let at = &router.at;
    let player = Player::new("pinged.example");
    let known = health(at, "").await.unwrap();
    assert_eq!(
        (&known["checks"], &known["intervalSeconds"]),
        (&json!("interest"), &json!(30.0))
    );

    // Such a check comes after five seconds; all the others would have been asked within ten.
    for _ in 0..2 {
        eventually("a check", DEADLINE, async || {
            let route = at.api(Method::GET, "/routes/read.example", "").await?;
            ensure!(route.json()?["health"]["status"] == "healthy");
            at.api(Method::GET, "/routes?detail=full", "").await?;
            health(at, "").await?;
            at.metrics().await?;
            player.status(at.players).await?;
            Ok(())
        })
        .await
        .unwrap();
    }

    assert_eq!(checks(&read), 1);
    let shown = &health(at, "").await.unwrap()["routes"]["pinged.example"];
    assert_eq!((checks(&pinged), &shown["status"]), (0, &json!("healthy")));
    for backend in &idle {
        assert_eq!(backend.records(), [], "{}", backend.name());
    }
}

#[tokio::test]
async fn a_server_that_is_woken_is_starting_until_a_player_is_in() {
    let (manager, table) = Table::with_manager(watching()).await.unwrap();
    let (asleep, player) = table.asleep("test1").await.unwrap();
    let (at, host) = (&table.router.at, "test1.example.com");
    becomes(at, host, "asleep").await;
    let waiting = player.knock(at.players).await.unwrap();
    becomes(at, host, "starting").await;
    manager.polled(1, DEADLINE).await.unwrap();

    let backend = asleep.wake("woken").unwrap();
    manager.polls([Reply::running(backend.addr())]);
    let _session = waiting.enter().await.unwrap();

    becomes(at, host, "healthy").await;
    assert_eq!(manager.counts().0, 1);
}

#[tokio::test]
async fn an_answer_that_is_no_status_is_an_error_and_the_next_one_counts() {
    let (backend, other) = (
        Backend::start("a").await.unwrap(),
        Backend::start("other").await.unwrap(),
    );
    let settings = watching()
        .flag(format!("--mapping=a.example={}", backend.addr()))
        .flag(format!("--mapping=other.example={}", other.addr()));
    let router = RouterInside::start(settings).unwrap();
    for garbage in ["[]", "{", "\u{0}", "{\"a\":1"] {
        backend.shows(garbage);
        becomes(&router.at, "a.example", "error").await;
        becomes(&router.at, "other.example", "healthy").await;
        backend.shows("{}");
        becomes(&router.at, "a.example", "healthy").await;
    }
}

#[tokio::test]
async fn without_an_interval_nobody_is_asked_and_nothing_is_known_but_states() {
    let (backend, nobody) = (Backend::start("a").await.unwrap(), Asleep::new().unwrap());
    let table = Table::start(Settings::new()).await.unwrap();
    let player = table.server("up", backend.addr(), "running").await.unwrap();
    table
        .server("down", nobody.addr(), "stopped")
        .await
        .unwrap();
    let _session = player.enter(table.router.at.players).await.unwrap();
    player.status(table.router.at.players).await.unwrap();

    let known = health(&table.router.at, "?detail=simple").await.unwrap();
    assert_eq!(known["intervalSeconds"], 0.0);
    let expected = json!({ "up.example.com": "unknown", "down.example.com": "asleep" });
    assert_eq!(known["routes"], expected);
    assert_eq!((checks(&backend), backend.records().len()), (0, 2));
}

/// The first check comes at some moment of the first ten seconds, so players come first.
#[tokio::test]
async fn what_players_meet_is_known_before_anything_was_asked() {
    let (backend, nobody) = (Backend::start("a").await.unwrap(), Asleep::new().unwrap());
    let settings = Settings::new()
        .env("AUTOMC_HEALTH_INTERVAL", "1h")
        .env("AUTOMC_STATUS_TTL", "0")
        .flag(format!("--mapping=up.example={}", backend.addr()))
        .flag(format!("--mapping=down.example={}", nobody.addr()));
    let router = RouterInside::start(settings).unwrap();
    let (up, down) = (Player::new("up.example"), Player::new("down.example"));
    let mut met = false;
    for _ in 0..50 {
        up.status(router.at.players).await.unwrap();
        down.refusal(router.at.players).await.unwrap();
        let known = health(&router.at, "").await.unwrap();
        let (up, down) = (
            &known["routes"]["up.example"],
            &known["routes"]["down.example"],
        );
        met = up["status"] == "healthy" && down["failures"] == 1;
        if met {
            assert_eq!(down["status"], "unknown", "players alone condemn nobody");
            assert_eq!(down["detail"], "its port refuses connections");
            break;
        }
    }
    assert!(met);
    // A suspect is asked again soon, whatever the interval.
    becomes(&router.at, "down.example", "unhealthy").await;
}

#[tokio::test]
async fn checks_do_not_put_off_that_a_server_is_stopped() {
    let (hook, backend) = (
        Receiver::start().await.unwrap(),
        Backend::start("a").await.unwrap(),
    );
    let settings = watching()
        .flag("--auto-scale-down-after=1s")
        .flag(format!("--auto-scale-webhook-url={}", hook.url()))
        .flag(format!("--mapping=a.example={}", backend.addr()));
    let router = RouterProcess::start(settings).await.unwrap();
    let player = Player::new("a.example");
    let session = player.enter(router.at.players).await.unwrap();
    let before = checks(&backend);
    checked(&backend, before + 3).await;
    drop(session);

    let stopped = hook.bodies(1, DEADLINE).await.unwrap();

    assert_eq!(stopped[0]["action"], "down");
    let after = checks(&backend);
    assert!(after > before + 3, "{after} checks, {before} before");
    // Who has accepted the stop is at it.
    becomes(&router.at, "a.example", "asleep").await;
}
