//! Players who wait in the configuration state, see how far their server is, and come back through a
//! transfer: what they are sent, and what the backend sees of them.

use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use automc_router::hold::cookie::{Bearer, KEY, LIFETIME, Signer};
use automc_router::protocol::handshake::Intent;
use automc_router::protocol::version::{SNAPSHOTS, shows_dialogs};
use automc_router::protocol::versions::NEWEST;
use harness::backend::{Asleep, Backend};
use harness::eventually::eventually;
use harness::manager::{Manager, Reply};
use harness::player::{Joined, Outcome, Packet, Player, Seen, Session, plain_text};
use harness::router::Settings;
use harness::table::Table;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
/// From one sign of life to the next where nothing is said of it.
pub(crate) const TICK: Duration = Duration::from_millis(200);
const SECRET: &str = "of the cookies of these tests";

pub(crate) fn settings(tick: &str) -> Settings {
    Settings::new()
        .env("AUTOMC_JOIN", "transfer,hold")
        .env("AUTOMC_HOLD_TICK", tick)
        .env("AUTOMC_COOKIE_SECRET", SECRET)
}

pub(crate) async fn with_manager() -> (Manager, Table) {
    Table::with_manager(settings("200ms")).await.unwrap()
}

/// Knocks, is let into the configuration state, and says there what it is.
pub(crate) async fn configuring(player: &Player, table: &Table) -> Session {
    let mut session = player.knock(table.router.at.players).await.unwrap();
    let outcome = timeout(DEADLINE, session.wait()).await.unwrap().unwrap();
    assert_eq!(outcome, Outcome::In, "{:?}", session.seen);
    assert_eq!(session.seen.len(), 1, "{:?}", session.seen);
    session.acknowledge().await.unwrap();
    session
}

pub(crate) fn keep_alives(session: &Session) -> usize {
    let seen = session.seen.iter().map(|seen| &seen.packet);
    seen.filter(|packet| matches!(packet, Packet::KeepAlive(_)))
        .count()
}

/// Answers until the router has asked for so many signs of life.
pub(crate) async fn until_kept(session: &mut Session, times: usize) {
    while keep_alives(session) < times {
        assert_eq!(session.step().await.unwrap(), None);
    }
}

/// Where a player who waits in the configuration state is sent in the end.
async fn sent(session: &mut Session) -> Player {
    match timeout(DEADLINE, session.wait()).await.unwrap().unwrap() {
        Outcome::Transferred { host, port } => session.player.transferred(&host, port),
        other => panic!("{other:?}"),
    }
}

/// What a backend is to see of `player`, who announced a transfer to the router.
fn as_login(player: &Player) -> Vec<u8> {
    let seen = Player {
        intent: Intent::Login,
        ..player.clone()
    };
    seen.login_bytes()
}

fn cookie(secret: &str, host: &str, address: Ipv4Addr, age: Duration) -> Vec<u8> {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let address = address.into();
    Signer::new(secret).sign(Bearer { address, host }, now - age)
}

fn good_cookie(host: &str) -> Vec<u8> {
    cookie(SECRET, host, Ipv4Addr::LOCALHOST, Duration::ZERO)
}

/// The client's patience is what the router promises: a byte at least every one and a half ticks.
#[tokio::test]
async fn every_version_that_can_is_kept_in_configuration_and_let_in_after_a_transfer() {
    const TICK: Duration = Duration::from_secs(1);
    let (manager, table) = Table::with_manager(settings("1s")).await.unwrap();
    manager.polls([Reply::json(&json!({ "state": "starting", "progress": 40 }))]);
    let (mut waiting, mut servers) = (JoinSet::new(), Vec::new());
    let (kept, mut all_kept) = mpsc::channel(16);
    for (protocol, locale) in [
        (766, "en_us"),
        (767, "en_us"),
        (768, "de_de"),
        (770, "en_us"),
        (771, "de_de"),
        (773, "en_us"),
        (776, "en_us"),
        (777, "en_us"),
    ] {
        let (asleep, player) = table.asleep(&format!("v{protocol}")).await.unwrap();
        let player = Player {
            protocol,
            locale: locale.to_owned(),
            patience: Some(TICK * 3 / 2),
            ..player
        };
        servers.push((asleep, protocol));
        let mut session = configuring(&player, &table).await;
        let kept = kept.clone();
        waiting.spawn(async move {
            until_kept(&mut session, 4).await;
            kept.send(()).await.unwrap();
            let back = sent(&mut session).await;
            (player, session, back)
        });
    }
    for _ in &servers {
        let one = timeout(DEADLINE, all_kept.recv()).await;
        assert_eq!(one.unwrap(), Some(()));
    }
    let wake = |(asleep, protocol): (Asleep, i32)| (asleep.wake("woken").unwrap(), protocol);
    let backends: Vec<_> = servers.into_iter().map(wake).collect();

    for (player, held, back) in waiting.join_all().await {
        let protocol = player.protocol;
        assert!(held.longest_silence() <= TICK * 3 / 2, "{protocol}");
        assert_eq!(!held.dialogs().is_empty(), shows_dialogs(protocol));
        assert_eq!(
            (&back.address, back.port),
            (&player.address, 25565),
            "{protocol}"
        );
        let last = held.dialogs().pop().cloned().unwrap_or_default();
        let body = plain_text(&last["body"][0]["contents"]);
        if protocol == 771 {
            assert_eq!(plain_text(&last["title"]), "Dieser Server startet");
            assert!(body.contains("Bereit in etwa "), "{body}");
            assert!(body.ends_with("Fortschritt: 40%\nWartende Spieler: 1"));
        } else if shows_dialogs(protocol) {
            assert_eq!(plain_text(&last["title"]), "This server is starting");
            assert!(body.contains("Ready in about "), "{body}");
            assert!(body.ends_with("Progress: 40%\nWaiting players: 1"));
        }

        let mut session = back.enter(table.router.at.players).await.unwrap();
        assert_eq!(session.echo(b"hello").await.unwrap(), b"hello");
        let (backend, _) = backends.iter().find(|one| one.1 == protocol).unwrap();
        let logins = backend.logins();
        assert_eq!(logins.len(), 1, "{protocol}");
        assert_eq!(logins[0].bytes, as_login(&back), "{protocol}");
    }
    let metrics = table.router.at.metrics().await.unwrap();
    let transferred = metrics.value("automc_held_players_total{outcome=\"transferred\"}");
    assert_eq!(transferred.unwrap(), 8);
    assert_eq!(manager.counts().0, 8);
}

#[tokio::test]
async fn the_newest_version_is_transferred_and_newer_ones_are_held_where_transfer_stands_alone() {
    let alone = settings("200ms").env("AUTOMC_JOIN", "transfer");
    let (manager, table) = Table::with_manager(alone).await.unwrap();
    let backend = Backend::start("woken").await.unwrap();
    let starting = || Reply::state("starting");
    for (name, protocol) in [
        ("known", NEWEST.protocol),
        ("next", NEWEST.protocol + 1),
        ("snapshot", SNAPSHOTS + 344),
    ] {
        manager.polls([starting(), starting(), Reply::running(backend.addr())]);
        let (_asleep, player) = table.asleep(name).await.unwrap();
        let player = Player { protocol, ..player };
        let players = table.router.at.players;
        if protocol == NEWEST.protocol {
            let through = player.join_through_transfer(players);
            let (_, joined) = through.await.unwrap();
            assert!(matches!(joined, Joined::In(_)), "{joined:?}");
        } else {
            let mut session = player.enter(players).await.unwrap();
            assert_eq!(session.echo(b"hello").await.unwrap(), b"hello");
            let asked = |seen: &Seen| matches!(seen.packet, Packet::PluginRequest { .. });
            assert!(session.seen.iter().any(asked), "{:?}", session.seen);
        }
    }
    let told = table.router.says(&["WARN", "protocol=778"]).await.unwrap();
    assert!(told.contains("is newer") && told.contains("26.3"), "{told}");
    table.router.says(&["WARN", "a snapshot"]).await.unwrap();
}

#[tokio::test]
async fn a_player_is_sent_to_the_host_and_port_the_client_itself_has_used() {
    let (manager, table) = with_manager().await;
    let backend = Backend::start("woken").await.unwrap();
    let starting = Reply::state("starting");
    manager.polls([starting, Reply::running(backend.addr())]);
    let _sleeping = table.asleep("test1").await.unwrap();
    for (address, host, port) in [
        ("test1.example.com", "test1.example.com", 25565),
        ("TEST1.Example.com.", "TEST1.Example.com", 1),
        ("test1.example.com\0FML3\0", "test1.example.com", 65535),
        ("test1.example.com.\0FORGE", "test1.example.com", 32768),
        (
            "test1.example.com///203.0.113.7:4711///1700000000",
            "test1.example.com",
            25566,
        ),
    ] {
        let player = Player {
            port,
            ..Player::new(address)
        };
        let through = player.join_through_transfer(table.router.at.players);
        let (held, joined) = through.await.unwrap();

        assert!(matches!(joined, Joined::In(_)), "{joined:?}");
        let transfer = held.seen.last().map(|seen| seen.packet.clone());
        let host = host.to_owned();
        assert_eq!(transfer, Some(Packet::Transfer { host, port }));
    }
}

#[tokio::test]
async fn a_backend_that_wants_to_know_sees_the_transfer() {
    let (manager, table) = with_manager().await;
    let (asleep, backend) = (
        Asleep::new().unwrap(),
        Backend::start("woken").await.unwrap(),
    );
    let keep = [("keep_transfer_intent", "true")];
    let player = table.server_with("test1", asleep.addr(), "stopped", &keep);
    let player = player.await.unwrap();
    manager.polls([Reply::running(backend.addr())]);
    let through = player.join_through_transfer(table.router.at.players);

    let (held, joined) = through.await.unwrap();

    assert!(matches!(joined, Joined::In(_)), "{joined:?}");
    let back = held.player.transferred(&player.address, player.port);
    assert_eq!(backend.logins()[0].bytes, back.login_bytes());
}

#[tokio::test]
async fn only_a_good_cookie_of_the_same_client_and_host_makes_a_transfer_a_login() {
    let (manager, table) = with_manager().await;
    let backend = Backend::start("up").await.unwrap();
    let player = table.server("test1", backend.addr(), "running").await;
    let player = player.unwrap().transferred("test1.example.com", 25565);
    let host = player.address.as_str();
    let (here, now) = (Ipv4Addr::LOCALHOST, Duration::ZERO);
    let late = LIFETIME + Duration::from_secs(5);
    for (name, cookie, is_login) in [
        ("none", None, false),
        ("good", Some(good_cookie(host)), true),
        (
            "of another spelling",
            Some(good_cookie("TEST1.example.com.")),
            true,
        ),
        ("of another host", Some(good_cookie("b.example.com")), false),
        (
            "of another address",
            Some(cookie(SECRET, host, Ipv4Addr::new(127, 0, 0, 2), now)),
            false,
        ),
        (
            "of another secret",
            Some(cookie("another", host, here, now)),
            false,
        ),
        ("expired", Some(cookie(SECRET, host, here, late)), false),
        ("empty", Some(Vec::new()), false),
        ("cut", Some(good_cookie(host)[..39].to_vec()), false),
        ("the longest there is", Some(vec![b'x'; 5_120]), false),
    ] {
        let mut player = player.clone();
        let cookies = cookie.map(|cookie| (KEY.to_owned(), cookie));
        player.cookies.extend(cookies);
        let mut session = player.enter(table.router.at.players).await.unwrap();
        assert_eq!(session.echo(b"hello").await.unwrap(), b"hello", "{name}");
        let seen = backend.logins().pop().unwrap().bytes;
        let due = if is_login {
            as_login(&player)
        } else {
            player.login_bytes()
        };
        assert_eq!(seen, due, "{name}");
    }
    assert_eq!(manager.counts(), (0, 0));
}

/// A row whose address comes late, as it does where addresses are given out at the start.
#[tokio::test]
async fn who_waited_comes_back_to_the_polled_address_and_nobody_else_does() {
    let (manager, table) = with_manager().await;
    let (asleep, elsewhere) = (
        Asleep::new().unwrap(),
        Backend::start("polled").await.unwrap(),
    );
    let player = table.server("test1", asleep.addr(), "unheard of").await;
    let player = player.unwrap();
    let mut held = configuring(&player, &table).await;
    until_kept(&mut held, 1).await;
    manager.polls([Reply::running(elsewhere.addr())]);
    let back = sent(&mut held).await;
    let stranger = Player {
        cookies: [(KEY.to_owned(), good_cookie("b.example.com"))].into(),
        ..back.clone()
    };
    let backend = asleep.wake("of the row").unwrap();

    for other in [&player, &stranger] {
        other.enter(table.router.at.players).await.unwrap();
    }
    assert_eq!((backend.logins().len(), elsewhere.logins().len()), (2, 0));
    back.enter(table.router.at.players).await.unwrap();
    assert_eq!((backend.logins().len(), elsewhere.logins().len()), (2, 1));
    assert_eq!(elsewhere.logins()[0].bytes, as_login(&back));
    assert_eq!(manager.counts().0, 1);
}

/// It takes the five seconds within which a server that was ready a moment ago must open its port.
#[tokio::test]
async fn who_comes_back_to_a_server_that_has_gone_again_is_held_and_not_sent_in_circles() {
    let (manager, table) = with_manager().await;
    let (asleep, player) = table.asleep("test1").await.unwrap();
    let backend = asleep.wake("woken").unwrap();
    manager.polls([Reply::running(backend.addr())]);
    let mut held = configuring(&player, &table).await;
    let back = sent(&mut held).await;
    backend.stop();
    manager.polls([Reply::state("starting")]);

    let mut session = back.knock(table.router.at.players).await.unwrap();
    let mut starts = manager.counts().0;
    while starts < 2 {
        assert_eq!(session.step().await.unwrap(), None);
        starts = manager.counts().0;
    }
    let asks = |seen: &Seen| {
        matches!(
            seen.packet,
            Packet::CookieRequest { .. } | Packet::PluginRequest { .. }
        )
    };
    assert!(session.seen.iter().all(asks), "{:?}", session.seen);
    let again = Backend::start_at("again", backend.addr()).await.unwrap();
    manager.polls([Reply::running(again.addr())]);

    session.enter().await.unwrap();
    assert_eq!(again.logins()[0].bytes, as_login(&back));
}

#[tokio::test]
async fn versions_that_cannot_be_transferred_are_held_in_the_login() {
    let (manager, table) = with_manager().await;
    for protocol in [765, 778, 0x4000_0105] {
        let (asleep, player) = table.asleep(&format!("v{protocol}")).await.unwrap();
        let player = Player { protocol, ..player };
        manager.polls([Reply::state("starting")]);
        let mut session = player.knock(table.router.at.players).await.unwrap();
        while session.seen.len() < 2 {
            assert_eq!(session.step().await.unwrap(), None, "{protocol}");
        }
        let asked = |seen: &Seen| matches!(&seen.packet, Packet::PluginRequest { channel, .. } if channel == "automc:hold");
        assert!(session.seen.iter().all(asked), "{:?}", session.seen);
        let backend = asleep.wake("woken").unwrap();
        manager.polls([Reply::running(backend.addr())]);

        session.enter().await.unwrap();
        assert_eq!(backend.logins()[0].bytes, player.login_bytes());
    }
}

/// The router's own word for it, as long as there is a server to wait for.
#[tokio::test]
async fn who_waits_in_configuration_is_counted_as_waiting_until_sent_away() {
    let (manager, table) = with_manager().await;
    let (_asleep, player) = table.asleep("test1").await.unwrap();
    let backend = Backend::start("woken").await.unwrap();
    let mut held = configuring(&player, &table).await;
    let waiting = async || {
        let metrics = table.router.at.metrics().await?;
        metrics.value("automc_held_players")
    };
    assert_eq!(waiting().await.unwrap(), 1);
    manager.polls([Reply::running(backend.addr())]);
    sent(&mut held).await;
    let nobody = async || matches!(waiting().await, Ok(0));
    eventually("nobody to wait", DEADLINE, nobody)
        .await
        .unwrap();
}
