//! Who gets in by address: lists of addresses, and how much one of them may ask for. Nobody keeps
//! anybody else out.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Result;
use harness::backend::Backend;
use harness::eventually::eventually;
use harness::player::{Player, Session};
use harness::router::{RouterProcess, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);
const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const AFAR: Ipv4Addr = Ipv4Addr::new(127, 9, 0, 1);
const TOO_MANY: &str = "Too many players come from your address.\nPlease try again in a moment.";

async fn with_backend(settings: Settings) -> (Backend, RouterProcess, Player) {
    let backend = Backend::start("lobby").await.unwrap();
    let settings = settings.flag(format!("--mapping=a.example={}", backend.addr()));
    let router = RouterProcess::start(settings).await.unwrap();
    (backend, router, Player::new("a.example"))
}

/// A connection from another address of this machine.
async fn from(address: Ipv4Addr, router: &RouterProcess) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((address, 0).into()).unwrap();
    let connecting = timeout(DEADLINE, socket.connect(router.at.players));
    connecting.await.unwrap().unwrap()
}

async fn knock(address: Ipv4Addr, player: &Player, router: &RouterProcess) -> Session {
    let mut stream = from(address, router).await;
    // Where it is closed at once, this may already fail; then so does what is done with it.
    drop(stream.write_all(&player.login_bytes()).await);
    player.on(stream)
}

/// Every byte the router has for a client that only listens.
async fn hears(mut stream: TcpStream) -> Vec<u8> {
    let mut heard = Vec::new();
    let end = timeout(DEADLINE, stream.read_to_end(&mut heard)).await;
    // A reset is an end, too.
    drop(end.unwrap());
    heard
}

async fn turned_away(router: &RouterProcess, reason: &str) -> Result<u64> {
    let name = format!("automc_clients_turned_away_total{{reason={reason:?}}}");
    router.at.metrics().await?.value(&name)
}

#[tokio::test]
async fn blocks_of_ipv4_hold_on_the_socket_of_both_kinds() {
    let near = "127.0.0.0/30";
    for (lists, in_from, out_from) in [
        (&[("CLIENTS_TO_DENY", near)][..], AFAR, NEIGHBOUR),
        (&[("CLIENTS_TO_ALLOW", near)], NEIGHBOUR, AFAR),
        (&[("CLIENTS_TO_ALLOW", "127.0.0.2, ::1")], NEIGHBOUR, AFAR),
        (
            &[("CLIENTS_TO_ALLOW", "::ffff:127.0.0.2/127")],
            NEIGHBOUR,
            HERE,
        ),
        // With mc-router nobody is denied once somebody is allowed.
        (
            &[("CLIENTS_TO_ALLOW", near), ("CLIENTS_TO_DENY", "127.0.0.1")],
            NEIGHBOUR,
            HERE,
        ),
    ] {
        let settings = Settings::new().flag("--debug");
        let settings = lists
            .iter()
            .fold(settings, |all, (name, list)| all.env(name, *list));
        let (_backend, router, player) = with_backend(settings).await;
        let both = router
            .process
            .line_with(&["listening for players", "[::]:"], DEADLINE);
        both.await.unwrap();

        assert_eq!(hears(from(out_from, &router).await).await, b"", "{lists:?}");
        let session = knock(in_from, &player, &router).await;
        session
            .enter()
            .await
            .unwrap_or_else(|error| panic!("{lists:?}: {error:#}"));

        assert_eq!(
            turned_away(&router, "denied").await.unwrap(),
            1,
            "{lists:?}"
        );
        let line = ["DEBUG", "may not connect", &out_from.to_string()];
        router.process.line_with(&line, DEADLINE).await.unwrap();
    }
}

/// With the limits that hold unless told otherwise. mc-router takes nine seconds for the last of twelve.
#[tokio::test]
async fn many_pings_and_logins_at_once_from_one_address_are_all_served() {
    for (pings, logins) in [(12, 1), (500, 150)] {
        let (_backend, router, player) = with_backend(Settings::new().limited()).await;
        let (mut pinging, mut joining) = (JoinSet::new(), JoinSet::new());
        for _ in 0..pings {
            let (player, at) = (player.clone(), router.at.players);
            pinging.spawn(async move { player.status(at).await });
        }
        for _ in 0..logins {
            let (player, at) = (player.clone(), router.at.players);
            joining.spawn(async move { player.enter(at).await });
        }
        for status in pinging.join_all().await {
            assert_eq!(status.unwrap().text(), "lobby");
        }
        for session in joining.join_all().await {
            session.unwrap();
        }
    }
}

/// With the same limits, and on any machine that takes less than 40 s for these.
#[tokio::test]
async fn a_flood_of_logins_is_stopped_though_nobody_has_set_a_limit() {
    const CLIENTS: usize = 20;
    const TIMES: usize = 50;
    let (backend, router, player) = with_backend(Settings::new().limited()).await;
    let mut flood = JoinSet::new();
    for _ in 0..CLIENTS {
        let (player, at) = (player.clone(), router.at.players);
        flood.spawn(async move {
            let mut entered = 0;
            for _ in 0..TIMES {
                entered += usize::from(player.enter(at).await.is_ok());
            }
            entered
        });
    }
    let entered: usize = flood.join_all().await.into_iter().sum();

    assert!((1..CLIENTS * TIMES).contains(&entered), "{entered}");
    assert_eq!(backend.logins().len(), entered);
    let neighbour = knock(NEIGHBOUR, &player, &router).await;
    neighbour.enter().await.unwrap();
}

#[tokio::test]
async fn a_flood_from_one_address_keeps_nobody_else_out() {
    let settings = Settings::new()
        .env("AUTOMC_CONNECTIONS_PER_ADDRESS", "5")
        .env("MAX_CONNECTIONS", "6");
    let (_backend, router, player) = with_backend(settings).await;
    let mut playing = Vec::new();
    for _ in 0..5 {
        playing.push(player.enter(router.at.players).await.unwrap());
    }
    // Eight more have a place to be told in, which they hold; the others are closed.
    let mut flood = Vec::new();
    for _ in 0..40 {
        flood.push(from(HERE, &router).await);
    }
    eventually("the flood to be turned away", DEADLINE, async || {
        turned_away(&router, "connections")
            .await
            .is_ok_and(|count| count == 40)
    })
    .await
    .unwrap();

    let mut neighbour = knock(NEIGHBOUR, &player, &router)
        .await
        .enter()
        .await
        .unwrap();
    assert_eq!(neighbour.echo(b"in").await.unwrap(), b"in");
    drop(flood);
    eventually("a place to be told in", DEADLINE, async || {
        player
            .refusal(router.at.players)
            .await
            .is_ok_and(|text| text == TOO_MANY)
    })
    .await
    .unwrap();
    let status = player.status(router.at.players).await;
    assert!(status.is_err(), "closed without a word: {status:?}");
    assert_eq!(playing[4].echo(b"untouched").await.unwrap(), b"untouched");
    playing.truncate(3);
    eventually("a free place", DEADLINE, async || {
        player.enter(router.at.players).await
    })
    .await
    .unwrap();
    let line = ["WARN", "127.0.0.1", "automc_connections_per_address"];
    router.process.line_with(&line, DEADLINE).await.unwrap();
}

#[tokio::test]
async fn logins_and_pings_have_budgets_of_their_own() {
    let settings = Settings::new()
        .env("AUTOMC_LOGINS_PER_ADDRESS", "2/1h")
        .env("AUTOMC_PINGS_PER_ADDRESS", "3/1h");
    let (backend, router, player) = with_backend(settings).await;
    for _ in 0..3 {
        assert_eq!(
            player.status(router.at.players).await.unwrap().text(),
            "lobby"
        );
    }
    assert!(player.status(router.at.players).await.is_err());
    for _ in 0..2 {
        player.enter(router.at.players).await.unwrap();
    }

    let text = player.refusal(router.at.players).await.unwrap();

    let due = "Too many players come from your address.\nPlease try again in 60 min.";
    assert_eq!(text, due);
    let neighbour = knock(NEIGHBOUR, &player, &router).await;
    neighbour.enter().await.unwrap();
    assert_eq!(backend.logins().len(), 3);
    for reason in ["logins", "pings"] {
        assert_eq!(turned_away(&router, reason).await.unwrap(), 1, "{reason}");
    }
}

#[tokio::test]
async fn an_address_that_connects_too_often_is_closed_and_others_are_served() {
    let settings = Settings::new().env("AUTOMC_CONNECTS_PER_ADDRESS", "3/1h");
    let (_backend, router, player) = with_backend(settings).await;
    for _ in 0..3 {
        player.status(router.at.players).await.unwrap();
    }
    assert_eq!(hears(from(HERE, &router).await).await, b"");
    let neighbour = knock(NEIGHBOUR, &player, &router).await;
    neighbour.enter().await.unwrap();
    assert_eq!(turned_away(&router, "connects").await.unwrap(), 1);
}

/// Two may come in two seconds, so thirty at once may not all, however slow the machine is.
#[tokio::test]
async fn over_the_rate_for_all_players_are_told_and_get_in_later() {
    let settings = Settings::new().env("CONNECTION_RATE_LIMIT", "1");
    let (backend, router, player) = with_backend(settings).await;
    let mut joins = JoinSet::new();
    for _ in 0..30 {
        let (player, at) = (player.clone(), router.at.players);
        joins.spawn(async move { player.refusal(at).await });
    }
    let texts: Vec<_> = joins.join_all().await.into_iter().flatten().collect();

    let due = "Too many players are connected here.\nPlease try again in a moment.";
    assert!(
        !texts.is_empty() && texts.iter().all(|text| text == due),
        "{texts:?}"
    );
    assert_eq!(texts.len() + backend.logins().len(), 30);
    assert_eq!(
        turned_away(&router, "rate").await.unwrap(),
        u64::try_from(texts.len()).unwrap()
    );
    eventually("a player to get in", DEADLINE, async || {
        player.enter(router.at.players).await
    })
    .await
    .unwrap();
}

/// The proxy's own address counts for nothing: all players have it.
#[tokio::test]
async fn behind_a_trusted_proxy_the_address_in_the_header_counts() {
    let settings = Settings::new()
        .env("RECEIVE_PROXY_PROTOCOL", "true")
        .env("TRUSTED_PROXIES", "127.0.0.1")
        .env("CLIENTS_TO_DENY", "203.0.113.0/24, 127.0.0.1")
        .env("AUTOMC_CONNECTIONS_PER_ADDRESS", "1");
    let (_backend, router, player) = with_backend(settings).await;
    let told = async |client: &str| {
        let mut stream = from(HERE, &router).await;
        let header = format!("PROXY TCP4 {client} 127.0.0.1 4711 25565\r\n");
        let bytes = [header.into_bytes(), player.login_bytes()].concat();
        stream.write_all(&bytes).await.unwrap();
        player.on(stream)
    };
    let denied = told("203.0.113.7").await;
    assert!(denied.enter().await.is_err());
    let first = told("198.51.100.7").await.enter().await.unwrap();
    let text = told("198.51.100.7").await.refusal().await.unwrap();
    assert_eq!(text, TOO_MANY);
    told("198.51.100.8").await.enter().await.unwrap();
    let direct = knock(HERE, &player, &router).await;
    assert!(
        direct.enter().await.is_err(),
        "without a header the socket's counts"
    );
    drop(first);
    eventually("a free place", DEADLINE, async || {
        told("198.51.100.7").await.enter().await
    })
    .await
    .unwrap();
    assert_eq!(turned_away(&router, "denied").await.unwrap(), 2);
}
