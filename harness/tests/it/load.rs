//! The parts that make load, through a router: what they count is what went through.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use harness::load::behaviour::Way;
use harness::load::job::{Job, Order, Report, Span};
use harness::load::part::{Players, Server};
use harness::router::{RouterInside, Settings};

const HOST: &str = "bench.example";

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_harness"))
}

async fn through_a_router() -> (Server, RouterInside) {
    let server = Server::start(program()).await.unwrap();
    let mapping = format!("--mapping={HOST}={}", server.at);
    let router = RouterInside::start(Settings::new().flag(mapping)).unwrap();
    (server, router)
}

async fn players(at: SocketAddr, job: Job) -> Players {
    let host = HOST.to_owned();
    let order = Order { at, host, job };
    Players::start(program(), &order).await.unwrap()
}

async fn report(at: SocketAddr, job: Job) -> Report {
    let mut players = players(at, job).await;
    players.begin().await.unwrap();
    players.measured().await.unwrap();
    players.report().await.unwrap()
}

#[tokio::test]
async fn load_counts_every_packet_every_byte_and_every_connect() {
    let (_server, router) = through_a_router().await;
    let at = router.at.players;

    let trips = Job::RoundTrips {
        players: 10,
        bytes: 64,
        span: Span::Count(50),
    };
    let trips = report(at, trips).await;
    assert_eq!((trips.units, trips.bytes), (500, (32_000, 32_000)));
    let latency = trips.latency.unwrap();
    assert!(latency.p50 > Duration::ZERO && latency.p50 <= latency.p999);

    let paced = Job::Paced {
        players: 20,
        per_second: 100,
        bytes: 64,
        warm_up: 5,
        packets: 20,
    };
    let paced = report(at, paced).await;
    assert_eq!((paced.units, paced.bytes), (400, (25_600, 25_600)));
    assert!(paced.late.is_some());

    for (way, bytes) in [
        (Way::Up, (6_000_003, 0)),
        (Way::Down, (0, 6_000_003)),
        (Way::Both, (6_000_003, 6_000_003)),
    ] {
        let bulk = Job::Transfer {
            players: 3,
            way,
            bytes: 2_000_001,
        };
        assert_eq!(report(at, bulk).await.bytes, bytes, "{way:?}");
    }

    let pings = Job::Pings {
        at_once: 8,
        span: Span::Count(10),
    };
    let pings = report(at, pings).await;
    assert_eq!(pings.units, 80);
    assert!(pings.bytes.1 > 0 && pings.bytes.1.is_multiple_of(80));

    let connects = Job::Connects {
        at_once: 8,
        span: Span::Count(10),
    };
    assert_eq!(report(at, connects).await.units, 80);
}

#[tokio::test]
async fn those_who_stay_are_there_until_they_are_told_to_leave() {
    let (_server, router) = through_a_router().await;
    let mut idle = players(router.at.players, Job::Hold { players: 100 }).await;
    assert_eq!((idle.count, &idle.trouble), (100, &None));
    let downloads = Job::Downloads {
        at_once: 2,
        bytes: 500_000,
    };
    let mut joining = players(router.at.players, downloads).await;
    idle.begin().await.unwrap();
    joining.begin().await.unwrap();

    joining.end().await.unwrap();
    joining.measured().await.unwrap();
    let joined = joining.report().await.unwrap();
    assert_eq!(joined.bytes, (0, joined.units * 500_000));

    idle.end().await.unwrap();
    idle.measured().await.unwrap();
    assert_eq!(idle.report().await.unwrap().units, 100);
}

#[tokio::test]
async fn players_who_are_not_let_in_say_so() {
    let (server, router) = through_a_router().await;
    let order = |at, host: &str, players| Order {
        at,
        host: host.to_owned(),
        job: Job::Transfer {
            players,
            way: Way::Up,
            bytes: 1,
        },
    };
    let elsewhere = order(router.at.players, "nowhere.example", 1);
    let error = Players::start(program(), &elsewhere).await.unwrap_err();
    assert!(format!("{error:#}").contains("welcome"), "{error:#}");

    let at = server.at;
    drop(server);
    let nobody = order(at, HOST, 1);
    harness::eventually::eventually(
        "the server to be gone",
        Duration::from_secs(20),
        async || Players::start(program(), &nobody).await.is_err(),
    )
    .await
    .unwrap();
}
