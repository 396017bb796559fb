//! Servers that turn a login away when it follows too soon after another one of the same address, which is the router's
//! for everybody: whoever can be held gets in when the server lets them.

use std::net::SocketAddr;
use std::time::Duration;

use harness::backend::{Backend, Conduct, Record};
use harness::player::{Outcome, Player, Session};
use harness::router::{RouterProcess, Settings};
use harness::table::Table;
use harness::throttle::{CONNECTION_THROTTLE, Throttle};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::hold::{DEADLINE, held, knock, player, start};
use crate::hold_trouble::set;

/// Of a real router.
const TICK: Duration = Duration::from_secs(10);
/// Nobody gets in who is not the first.
const FOR_EVER: Duration = Duration::from_secs(3600);

fn throttling(throttle: Throttle) -> Conduct {
    Conduct {
        throttle: Some(throttle),
        ..Conduct::default()
    }
}

/// As CraftBukkit and Paper are where nobody has set anything.
fn paper() -> Conduct {
    throttling(Throttle::default())
}

/// Asserts that after the first `tries` no login came too soon: each one that had to wait was tried once.
fn assert_paced(logins: &[Record], tries: usize) {
    for pair in logins.windows(2).skip(tries.saturating_sub(1)) {
        let gap = pair[1].at - pair[0].at;
        assert!(gap >= CONNECTION_THROTTLE, "{gap:?}");
    }
}

#[tokio::test]
async fn five_who_wait_for_a_throttled_server_get_in_one_after_the_other_as_soon_as_it_lets_them() {
    let (manager, table) = start(TICK, Settings::new()).await;
    let (asleep, who) = table.asleep("test1").await.unwrap();
    let players = [393, 340, 763, 767, 776].map(|protocol| player(&who, protocol, TICK));
    let waiting = knock(&table, &players);
    held(&table, 5, "let_in", 0).await;
    let backend = asleep.wake_as("paper", paper()).unwrap();

    let waited = waiting.join_all().await;

    let mut sessions = Vec::new();
    for waited in waited {
        let waited = waited.unwrap();
        assert!(
            matches!(waited.outcome, Outcome::In),
            "{:?}",
            waited.outcome
        );
        sessions.push(waited.session);
    }
    let logins = backend.logins();
    // At first all who do not know of a throttle yet; then each of the other four once.
    assert!((5..=5 + 4).contains(&logins.len()), "{}", logins.len());
    assert_paced(&logins, logins.len() - 4);
    for session in &mut sessions {
        assert_eq!(session.echo(b"hello").await.unwrap(), b"hello");
    }
    assert_eq!(manager.counts().0, 1);
    held(&table, 0, "let_in", 5).await;
    table.says(&["throttles logins", "every="]).await.unwrap();
}

#[tokio::test]
async fn a_login_that_meets_the_throttle_is_held_and_wakes_nothing_and_so_is_who_comes_meanwhile() {
    let (manager, table) = start(TICK, Settings::new()).await;
    let backend = Backend::start_as("paper", paper()).await.unwrap();
    let who = table.server("test1", backend.addr(), "running");
    let who = who.await.unwrap();
    let _first = who.enter(table.router.at.players).await.unwrap();
    let second = tokio::spawn(who.knock(table.router.at.players).await.unwrap().enter());
    held(&table, 1, "let_in", 0).await;

    let third = who.knock(table.router.at.players).await.unwrap();

    let (mut second, mut third) = (second.await.unwrap().unwrap(), third.enter().await.unwrap());
    for session in [&mut second, &mut third] {
        assert_eq!(session.echo(b"hello").await.unwrap(), b"hello");
    }
    let logins = backend.logins();
    assert_eq!(
        logins.len(),
        4,
        "the third one was not shown to the server before its turn"
    );
    assert_paced(&logins, 2);
    assert!(logins.iter().all(|login| login.bytes == who.login_bytes()));
    assert_eq!(manager.counts(), (0, 0));
}

/// Asking every second would be answered by the throttle for ever.
#[tokio::test]
async fn a_server_that_is_still_starting_and_throttles_is_asked_no_more_often_than_it_bears() {
    let (manager, table) = start(TICK, Settings::new()).await;
    let conduct = Conduct {
        kicks: 2,
        ..paper()
    };
    let backend = Backend::start_as("hybrid", conduct).await.unwrap();
    let who = table.server("test1", backend.addr(), "running");
    let who = who.await.unwrap();

    who.enter(table.router.at.players).await.unwrap();

    let logins = backend.logins();
    // Starting, too soon, starting, in.
    assert_eq!(logins.len(), 4);
    assert_paced(&logins, 2);
    assert_eq!(manager.counts(), (0, 0));
}

/// A throttle in words of its owner's, which are the same for every version.
fn own_words(every: Duration) -> (Conduct, Value) {
    let text = json!({
        "text": "", "extra": [{ "text": "Du verbindest dich ", "color": "red" }, "zu schnell!"],
    });
    let throttle = Throttle {
        every,
        text: text.clone(),
    };
    (throttling(throttle), text)
}

/// What a player is refused with.
async fn refused(mut session: Session) -> Value {
    let Outcome::Refused(component) = session.wait().await.unwrap() else {
        panic!("{:?}", session.seen)
    };
    component
}

#[tokio::test]
async fn who_never_gets_a_turn_is_told_the_servers_own_words_when_the_hold_is_over_or_at_once() {
    let (_manager, table) = start(TICK, Settings::new()).await;
    let (conduct, text) = own_words(FOR_EVER);
    let backend = Backend::start_as("paper", conduct).await.unwrap();
    let who = table.server("test1", backend.addr(), "running");
    let who = who.await.unwrap();
    set(&table, "test1", "hold_max = '6s'").await;
    let _first = who.enter(table.router.at.players).await.unwrap();
    let since = Instant::now();
    let mut waiting = JoinSet::new();
    for protocol in [47, 393, 763, 776] {
        let one = player(&who, protocol, TICK);
        waiting.spawn(refused(one.knock(table.router.at.players).await.unwrap()));
    }
    for told in waiting.join_all().await {
        assert_eq!(told, text);
    }
    assert!(since.elapsed() >= Duration::from_secs(6));
    held(&table, 0, "kicked", 4).await;
    table.says(&["end=\"throttled\""]).await.unwrap();

    set(&table, "test1", "join_methods = 'kick'").await;
    let session = who.knock(table.router.at.players).await.unwrap();
    assert_eq!(refused(session).await, text);
}

#[tokio::test]
async fn a_lobby_that_throttles_gets_its_players_one_after_the_other_where_the_route_holds_them() {
    let table = Table::start(Settings::new()).await.unwrap();
    let lobby = Backend::start_as("lobby", paper()).await.unwrap();
    let address = lobby.addr().to_string();
    let nobody = harness::backend::Asleep::new().unwrap();
    let settings = [("join_methods", "hold,forward"), ("forward_to", &*address)];
    let who = table.server_with("test1", nobody.addr(), "running", &settings);
    let who = who.await.unwrap();

    let players = [393, 769, 776].map(|protocol| player(&who, protocol, TICK));
    for waited in knock(&table, &players).join_all().await {
        let waited = waited.unwrap();
        assert!(
            matches!(waited.outcome, Outcome::In),
            "{:?}",
            waited.outcome
        );
    }

    let logins = lobby.logins();
    assert!((3..=3 + 2).contains(&logins.len()), "{}", logins.len());
    assert_paced(&logins, logins.len() - 2);
}

/// Of several backends, one that throttles is passed over for one that does not.
#[tokio::test]
async fn who_meets_the_throttle_of_one_backend_gets_in_at_another_at_once() {
    let (conduct, _) = own_words(FOR_EVER);
    let (first, second) = (
        Backend::start_as("first", conduct).await.unwrap(),
        Backend::start("second").await.unwrap(),
    );
    let table = Table::start(Settings::new()).await.unwrap();
    let both = format!("{}, {}", first.addr(), second.addr());
    for (name, join) in [("test1", "hold"), ("test2", "kick")] {
        let host = format!("{name}.example.com");
        let insert = "INSERT INTO servers (name, domain, address, state, join_methods) \
                      VALUES ($1, $2, $3, 'running', $4)";
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 4] = [&name, &host, &both, &join];
        table.sql.execute(insert, &row).await.unwrap();
        table.router.at.has(&host, DEADLINE).await.unwrap();
        let who = Player::new(&host);
        for _ in 0..3 {
            let mut session = who.enter(table.router.at.players).await.unwrap();
            assert_eq!(session.echo(b"hello").await.unwrap(), b"hello");
        }
    }
    let found = (first.logins().len(), second.logins().len());
    // In at the first, then turned away there; a pace is kept by those who can wait.
    assert_eq!(found, (2 + 3, 5));
}

/// Sends a header and a login, and nothing more.
async fn knock_from(router: SocketAddr, address: &str, player: &Player) -> Session {
    let mut stream = TcpStream::connect(router).await.unwrap();
    let header = format!("PROXY TCP4 {address} 198.51.100.1 4711 25565\r\n");
    let sent = [header.as_bytes(), &player.login_bytes()].concat();
    stream.write_all(&sent).await.unwrap();
    player.on(stream)
}

#[tokio::test]
async fn behind_a_header_every_address_has_a_pace_of_its_own() {
    let (conduct, text) = own_words(FOR_EVER);
    let conduct = Conduct {
        proxied: true,
        ..conduct
    };
    let backend = Backend::start_as("paper", conduct).await.unwrap();
    let settings = Settings::new()
        .flag("--use-proxy-protocol")
        .flag("--receive-proxy-protocol")
        .env("AUTOMC_HOLD_MAX", "6s")
        .flag(format!("--mapping=a.example={}", backend.addr()));
    let router = RouterProcess::start(settings).await.unwrap();
    let (at, who) = (router.at.players, Player::new("a.example"));

    let mut sessions = Vec::new();
    for address in ["203.0.113.1", "203.0.113.2"] {
        let session = knock_from(at, address, &who).await;
        sessions.push(session.enter().await.unwrap());
    }
    let waits = knock_from(at, "203.0.113.1", &who).await;
    let waits = tokio::spawn(refused(waits));
    router.says(&["throttles logins"]).await.unwrap();
    let session = knock_from(at, "203.0.113.3", &who).await;
    sessions.push(session.enter().await.unwrap());

    assert_eq!(waits.await.unwrap(), text);
    // Three who are in, and one who was turned away at once and after a while.
    assert_eq!(backend.logins().len(), 3 + 2);
}
