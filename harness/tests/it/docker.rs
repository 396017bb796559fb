//! Routes from the labels of containers, on a real engine.

use std::net::SocketAddr;
use std::time::Duration;

use harness::engine::proxy::{EngineProxy, Mode};
use harness::engine::{Container, Engine, Wish};
use harness::eventually::eventually;
use harness::player::Player;
use harness::router::{RouterProcess, Settings};

const DEADLINE: Duration = Duration::from_secs(30);

/// The engine, a proxy before it, and a router that knows the test's containers.
struct World {
    engine: Engine,
    proxy: EngineProxy,
    router: RouterProcess,
}

/// `None` where there is no engine.
async fn world(settings: Settings) -> Option<World> {
    let engine = Engine::find().await.unwrap()?;
    let proxy = engine.proxy().await.unwrap();
    let settings = settings
        .flag("--in-docker")
        .flag(format!("--docker-socket={}", proxy.socket()));
    let router = RouterProcess::start(settings).await.unwrap();
    Some(World {
        engine,
        proxy,
        router,
    })
}

impl World {
    async fn routed(&self, host: &str, backend: Option<&str>) {
        self.router
            .at
            .routed(host, backend, DEADLINE)
            .await
            .unwrap();
    }

    /// Waits until `host` is in this state.
    async fn state(&self, host: &str, state: &str) {
        let what = format!("{host} to be {state}");
        eventually(&what, DEADLINE, async || {
            let path = format!("/routes/{host}");
            let answer = self.router.at.api(hyper::Method::GET, &path, "").await?;
            let now = answer.json()?["state"].clone();
            anyhow::ensure!(now == state, "it is {now}");
            Ok(())
        })
        .await
        .unwrap();
    }

    /// What a ping of `host` shows; it may take until the server inside listens.
    async fn shows(&self, host: &str, text: &str) {
        eventually(&format!("{host} to show {text}"), DEADLINE, async || {
            let status = Player::new(host).status(self.router.at.players).await?;
            anyhow::ensure!(status.text() == text, "{}", status.text());
            Ok(())
        })
        .await
        .unwrap();
    }

    /// How often the engine was asked to do this.
    fn posts(&self, what: &str) -> usize {
        let asked = self.proxy.asked();
        let posts = asked.iter().filter(|asked| asked.starts_with("POST "));
        posts.filter(|asked| asked.ends_with(what)).count()
    }
}

async fn at(container: &Container, network: Option<&str>, port: u16) -> String {
    let address = container.address(network).await.unwrap();
    SocketAddr::new(address, port).to_string()
}

#[tokio::test]
async fn a_labelled_container_is_a_route_while_it_runs_and_none_once_it_does_not() {
    let Some(world) = world(Settings::new()).await else {
        return;
    };
    let wish = Wish::host("Live.Example,\n other.example.").label("default", "true");
    let container = world.engine.run("live", wish).await.unwrap();
    let address = at(&container, None, 25565).await;
    for host in ["live.example", "other.example"] {
        world.routed(host, Some(&address)).await;
    }
    for host in ["live.example", "other.example", "any.example"] {
        world.shows(host, "live").await;
    }
    let players = world.router.at.players;
    Player::new("LIVE.example.\0FML2\0")
        .enter(players)
        .await
        .unwrap();

    container.stop().await.unwrap();
    world.routed("live.example", None).await;
    container.start().await.unwrap();
    world.shows("live.example", "live").await;
    container.pause().await.unwrap();
    world.routed("live.example", None).await;
    drop(container);
    world.routed("other.example", None).await;
    assert_eq!(world.posts(""), 0);
}

#[tokio::test]
async fn a_login_wakes_a_stopped_container_once_for_all_and_pings_do_not() {
    let Some(world) = world(Settings::new()).await else {
        return;
    };
    let wish = Wish::host("asleep.example,alias.example")
        .label("auto-scale-up", "true")
        .label("auto-scale-asleep-motd", "sleeping in its container");
    let container = world.engine.create("woken", wish).await.unwrap();
    world.state("asleep.example", "asleep").await;
    for _ in 0..3 {
        world
            .shows("asleep.example", "sleeping in its container")
            .await;
    }
    assert_eq!(container.state().await.unwrap(), "created");
    assert_eq!(world.posts(""), 0);

    let players = world.router.at.players;
    let entering = ["asleep.example", "alias.example", "Asleep.Example."]
        .map(|host| async move { Player::new(host).enter(players).await });
    let [first, second, third] = entering;
    let (first, second, third) = tokio::join!(first, second, third);
    let _inside = [first, second, third].map(Result::unwrap);

    assert_eq!((world.posts("/start"), world.posts("")), (1, 1));
    world.shows("asleep.example", "woken").await;
    let address = at(&container, None, 25565).await;
    world.routed("alias.example", Some(&address)).await;
}

#[tokio::test]
async fn a_login_lets_a_paused_container_go_on() {
    let Some(world) = world(Settings::new()).await else {
        return;
    };
    let wish = Wish::host("paused.example").label("auto-scale-up", "true");
    let container = world.engine.run("paused", wish).await.unwrap();
    world.shows("paused.example", "paused").await;
    container.pause().await.unwrap();
    world.state("paused.example", "asleep").await;

    Player::new("paused.example")
        .enter(world.router.at.players)
        .await
        .unwrap();

    assert_eq!((world.posts("/unpause"), world.posts("")), (1, 1));
    assert_eq!(container.state().await.unwrap(), "running");
}

/// What was started is inspected, so nobody waits for an event.
#[tokio::test]
async fn a_login_gets_in_though_no_event_tells_of_the_start() {
    let Some(world) = world(Settings::new()).await else {
        return;
    };
    let wish = Wish::host("mute.example").label("auto-scale-up", "true");
    let _container = world.engine.create("mute", wish).await.unwrap();
    world.state("mute.example", "asleep").await;
    world.proxy.set(Mode::Mute);
    world
        .router
        .says(&["WARN", "the routes of containers stay"])
        .await
        .unwrap();

    let players = world.router.at.players;
    Player::new("mute.example").enter(players).await.unwrap();
    Player::new("mute.example").enter(players).await.unwrap();

    assert_eq!(world.posts(""), world.posts("/start"));
}

/// The engine gives an address to whoever comes first.
#[tokio::test]
async fn a_container_is_followed_to_its_new_address_and_its_old_one_is_another_servers() {
    let Some(world) = world(Settings::new()).await else {
        return;
    };
    let network = world.engine.network("moving").await.unwrap();
    let wish = |host: &str| {
        let wish = Wish::host(host).network(&network.name, "any");
        wish.label("auto-scale-up", "true")
    };
    let mover = world
        .engine
        .run("mover", wish("mover.example"))
        .await
        .unwrap();
    let before = at(&mover, None, 25565).await;
    world.routed("mover.example", Some(&before)).await;
    mover.stop().await.unwrap();
    world.state("mover.example", "asleep").await;
    let taker = world
        .engine
        .run("taker", wish("taker.example"))
        .await
        .unwrap();
    assert_eq!(at(&taker, None, 25565).await, before);
    world.shows("taker.example", "taker").await;

    let players = world.router.at.players;
    Player::new("mover.example").enter(players).await.unwrap();

    let after = at(&mover, None, 25565).await;
    assert_ne!(after, before);
    world.routed("mover.example", Some(&after)).await;
    world.shows("mover.example", "mover").await;
    taker.stop().await.unwrap();
    mover.stop().await.unwrap();
    mover.start().await.unwrap();
    let again = at(&mover, None, 25565).await;
    world.routed("mover.example", Some(&again)).await;
    world.shows("mover.example", "mover").await;
}

#[tokio::test]
async fn a_container_is_stopped_once_nobody_plays_though_it_is_pinged_and_woken_again() {
    let settings = Settings::new().flag("--auto-scale-down-after=2s");
    let Some(world) = world(settings).await else {
        return;
    };
    let wish = Wish::host("idle.example,second.example")
        .label("auto-scale-up", "true")
        .label("auto-scale-down", "true")
        .lingering(Duration::from_secs(2));
    let kept = Wish::host("kept.example").label("auto-scale-up", "true");
    let container = world.engine.create("idle", wish).await.unwrap();
    let kept = world.engine.run("kept", kept).await.unwrap();
    let stops = || world.posts(&format!("{}/stop", container.name));
    let players = world.router.at.players;
    let player = Player::new("second.example");
    let session = player.enter(players).await.unwrap();
    // Nobody plays on this one, so it tells when the time is over.
    let clock = Wish::host("clock.example").label("auto-scale-up", "true");
    let clock = clock.label("auto-scale-down", "true");
    let clock = world.engine.run("clock", clock).await.unwrap();
    clock.is("exited", DEADLINE).await.unwrap();
    assert_eq!(stops(), 0, "somebody plays");

    drop(session);
    eventually("the stop", DEADLINE, async || {
        Player::new("idle.example").status(players).await?;
        anyhow::ensure!(stops() == 1);
        Ok(())
    })
    .await
    .unwrap();
    // It still listens, and is on its way down.
    let _session = player.enter(players).await.unwrap();

    let starts = world.posts(&format!("{}/start", container.name));
    assert_eq!((stops(), starts), (1, 2));
    container.is("running", DEADLINE).await.unwrap();
    assert_eq!(
        kept.state().await.unwrap(),
        "running",
        "it is not to be stopped"
    );
}

#[tokio::test]
async fn an_engine_that_is_lost_costs_no_route_and_is_followed_again() {
    let Some(world) = world(Settings::new()).await else {
        return;
    };
    let first = world
        .engine
        .run("first", Wish::host("first.example"))
        .await
        .unwrap();
    world.shows("first.example", "first").await;
    let players = world.router.at.players;
    let session = Player::new("first.example").enter(players).await.unwrap();

    world.proxy.set(Mode::Shut);
    world
        .router
        .says(&[
            "WARN",
            "the routes of containers stay",
            "asking again in 1s",
        ])
        .await
        .unwrap();
    world
        .router
        .says(&[
            "WARN",
            "the routes of containers stay",
            "asking again in 2s",
        ])
        .await
        .unwrap();
    let second = world
        .engine
        .run("second", Wish::host("second.example"))
        .await
        .unwrap();
    world.shows("first.example", "first").await;
    Player::new("first.example").enter(players).await.unwrap();
    world.proxy.set(Mode::Open);

    world.shows("second.example", "second").await;
    second.stop().await.unwrap();
    world.routed("second.example", None).await;
    drop((session, first));
}

#[tokio::test]
async fn of_two_containers_for_one_host_the_first_by_name_wins_and_the_other_is_told() {
    let Some(world) = world(Settings::new()).await else {
        return;
    };
    let wish = || Wish::host("same.example");
    let later = world.engine.run("b-later", wish()).await.unwrap();
    world.shows("same.example", "b-later").await;
    let first = world.engine.run("a-first", wish()).await.unwrap();

    world
        .router
        .says(&["WARN", &later.name, "same.example is taken by", &first.name])
        .await
        .unwrap();
    world.shows("same.example", "a-first").await;
    drop(first);
    world.shows("same.example", "b-later").await;
}

#[tokio::test]
async fn ports_and_networks_are_those_of_the_labels() {
    let Some(world) = world(Settings::new()).await else {
        return;
    };
    let (engine, router) = (&world.engine, &world);
    let labelled = Wish::host("labelled.example")
        .listening(4000)
        .label("port", "4000");
    let labelled = engine
        .run("labelled", labelled.exposing(25565))
        .await
        .unwrap();
    let exposed = Wish::host("exposed.example").listening(4001).exposing(4001);
    let exposed = engine.run("exposed", exposed).await.unwrap();
    for (container, host, port) in [
        (&labelled, "labelled.example", 4000),
        (&exposed, "exposed.example", 4001),
    ] {
        router
            .routed(host, Some(&at(container, None, port).await))
            .await;
    }
    router.shows("labelled.example", "labelled").await;
    router.shows("exposed.example", "exposed").await;

    let front = engine.network("front").await.unwrap();
    let back = engine.network("back").await.unwrap();
    let [by_name, by_alias, by_id] = [&back.name[..], "alias-there", &back.id[..12]];
    let mut both = Vec::new();
    for (name, named) in [
        ("by-name", Some(by_name)),
        ("by-alias", Some(by_alias)),
        ("by-id", Some(by_id)),
        ("unnamed", None),
    ] {
        let mut wish = Wish::host(&format!("{name}.example"))
            .network(&back.name, &format!("alias-there-{name}"));
        if name == "by-alias" {
            wish = wish.network(&back.name, "alias-there");
        }
        if let Some(named) = named {
            wish = wish.label("network", named);
        }
        let container = engine.create(name, wish).await.unwrap();
        front.connect(&container).await.unwrap();
        container.start().await.unwrap();
        both.push((name, container));
    }
    for (name, container) in &both[..3] {
        let address = at(container, Some(&back.name), 25565).await;
        router
            .routed(&format!("{name}.example"), Some(&address))
            .await;
    }
    let (_, unnamed) = &both[3];
    router
        .router
        .says(&[
            "WARN",
            &unnamed.name,
            "is not routed",
            "no label mc-router.network",
        ])
        .await
        .unwrap();
    router.routed("unnamed.example", None).await;
}

/// What the README has a proxy allow is all that is asked for.
#[tokio::test]
async fn routes_need_no_right_to_change_anything_and_scaling_three() {
    let settings = Settings::new().flag("--auto-scale-down-after=1s");
    let Some(world) = world(settings).await else {
        return;
    };
    world.proxy.set(Mode::ReadOnly);
    let wish = Wish::host("guarded.example").label("auto-scale-up", "true");
    let container = world
        .engine
        .create("guarded", wish.label("auto-scale-down", "1"))
        .await
        .unwrap();
    world.state("guarded.example", "asleep").await;
    let (players, player) = (world.router.at.players, Player::new("guarded.example"));
    let refusal = player.refusal(players).await.unwrap();
    assert!(!refusal.contains(&container.name), "{refusal}");
    world
        .router
        .says(&["WARN", &container.name, "403", "does the proxy"])
        .await
        .unwrap();

    container.start().await.unwrap();
    world.state("guarded.example", "running").await;
    world.shows("guarded.example", "guarded").await;
    player.enter(players).await.unwrap();
    world
        .router
        .says(&["WARN", &container.name, "could not be stopped", "403"])
        .await
        .unwrap();
    world.proxy.set(Mode::Open);
    container.is("exited", DEADLINE).await.unwrap();
    let mut asked = world.proxy.asked();
    asked.sort();
    asked.dedup();
    let own = |what: &str| format!("/containers/{}/{what}", container.name);
    let allowed = [
        "GET /events".to_owned(),
        "GET /containers/json".to_owned(),
        format!("GET {}", own("json")),
        format!("POST {}", own("start")),
        format!("POST {}", own("stop")),
    ];
    assert!(
        asked.iter().all(|asked| allowed.contains(asked)),
        "{asked:?}"
    );
}
