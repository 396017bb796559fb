//! Routes from an engine that misbehaves.

use std::time::Duration;

use harness::backend::Backend;
use harness::engine::fake::{Answer, FakeEngine, container};
use harness::player::Player;
use harness::router::{RouterProcess, Settings};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(30);
const HOST: &str = "play.example";

/// A server, an engine that says that it is a container's, and a router.
struct World {
    backend: Backend,
    engine: FakeEngine,
    router: RouterProcess,
}

impl World {
    async fn start(settings: Settings) -> Self {
        let backend = Backend::start("inside").await.unwrap();
        let engine = FakeEngine::start(&[led(&backend, "one", HOST)])
            .await
            .unwrap();
        let settings = settings
            .flag("--in-docker")
            .flag("--docker-timeout=3")
            .flag(format!("--docker-socket={}", engine.socket()));
        let router = RouterProcess::start(settings).await.unwrap();
        router.at.has(HOST, DEADLINE).await.unwrap();
        Self {
            backend,
            engine,
            router,
        }
    }

    /// The route of before is there, and a player gets in.
    async fn stands(&self) {
        let routes = self.router.at.routes().await.unwrap();
        assert_eq!(routes.len(), 1, "{routes:?}");
        let before = self.backend.logins().len();
        let player = Player::new(HOST);
        player.enter(self.router.at.players).await.unwrap();
        assert_eq!(self.backend.logins().len(), before + 1);
    }

    /// Another container is noticed by an event.
    async fn follows(&self, host: &str) {
        let both = [
            led(&self.backend, "one", HOST),
            led(&self.backend, "two", host),
        ];
        self.engine.list(Answer::Json(json!(both)));
        self.engine.events(Answer::Events);
        self.router.at.has(host, DEADLINE).await.unwrap();
    }
}

fn led(backend: &Backend, name: &str, host: &str) -> Value {
    let address = backend.addr();
    container(name, host, &address.ip().to_string(), address.port())
}

#[tokio::test]
async fn no_list_of_an_engine_takes_a_route_away_and_each_failure_is_told() {
    let garbage = [
        (Answer::Status(500), "500"),
        (Answer::Status(403), "does the proxy before it allow that?"),
        (
            Answer::Bytes(b"<html>a proxy's page</html>".to_vec()),
            "expected value",
        ),
        (Answer::Json(json!({"message": "no list"})), "invalid type"),
        (Answer::Json(json!([{"Names": 7}])), "invalid type"),
        (Answer::Bytes(vec![0xff; 100]), "expected value"),
        (
            Answer::Endless(b"[[[[[[[[".repeat(1024)),
            "longer than any should be",
        ),
        (Answer::Silence, "listing containers took over 3s"),
        (Answer::HangUp, "connection"),
    ];
    for (answer, named) in garbage {
        let world = World::start(Settings::new()).await;
        world.engine.list(answer);
        world.engine.tell();
        world
            .router
            .says(&["WARN", "docker: ", named, "the routes of containers stay"])
            .await
            .unwrap();
        world.stands().await;
        world.follows("after.example").await;
    }
}

#[tokio::test]
async fn events_that_are_none_end_or_never_come_are_asked_for_again_later_and_later() {
    let garbage = [
        (Answer::Status(404), "404"),
        (Answer::Bytes(b"no event\n".to_vec()), "expected"),
        (Answer::Endless(b"        ".repeat(1024)), "reading a body"),
        (Answer::Silence, "asking for events took over 3s"),
        (Answer::HangUp, "connection"),
        (Answer::Bytes(vec![]), "ended its events"),
    ];
    for (answer, named) in garbage {
        let world = World::start(Settings::new()).await;
        world.engine.events(answer);
        world.engine.cut();
        for wait in ["asking again in 1s", "asking again in 2s"] {
            world
                .router
                .says(&["WARN", "the routes of containers stay", wait])
                .await
                .unwrap();
        }
        world.router.says(&["WARN", named]).await.unwrap();
        assert!(
            world.engine.asked("/events") <= 4,
            "{}",
            world.engine.asked("/events")
        );
        world.stands().await;
        world.follows("after.example").await;
    }
}

/// Nobody waits for the engine, and no flood of events becomes a flood of requests.
#[tokio::test]
async fn a_flood_of_events_keeps_nobody_out_and_lists_their_distance() {
    let world = World::start(Settings::new().flag("--docker-api-version=1.41")).await;
    let event = json!({"Type": "container", "Action": "start"}).to_string() + "\n";
    world
        .engine
        .events(Answer::Endless(event.repeat(100).into_bytes()));
    world.engine.cut();
    world
        .router
        .says(&["WARN", "asking again in 1s"])
        .await
        .unwrap();
    for _ in 0..20 {
        world.stands().await;
    }
    world.engine.list(Answer::Json(json!([])));
    world.router.at.routed(HOST, None, DEADLINE).await.unwrap();
    assert!(world.engine.asked("/v1.41/events") >= 2);
    assert_eq!(
        world.engine.asked("/v1.41/containers/json"),
        world.engine.asked("/containers/json")
    );
}
