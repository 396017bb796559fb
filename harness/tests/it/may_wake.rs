//! Who may wake a server, when, and how often: whoever may not is told why and starts nothing, and
//! plays all the same once the server is up. What is no login never wakes anything.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use automc_router::protocol::handshake::{Handshake, Intent};
use harness::backend::{Asleep, Backend};
use harness::eventually::eventually;
use harness::manager::{Manager, Reply};
use harness::player::{Player, Session, legacy_ping, ping_1_6};
use harness::router::Settings;
use harness::table::Table;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);
const DENIED: &str = "You may not start this server.\nPlease ask whoever runs it.";
const NOT_LISTED: &str =
    "Only players on its list may start this server.\nPlease ask whoever runs it.";
const REASONS: [&str; 5] = ["denied", "not_listed", "hours", "too_often", "backing_off"];
/// What Steve is, and nobody else.
const STEVE: &str = "11111111-1111-1111-1111-111111111111";
const SOMEBODY: &str = "069a79f4-44e9-4726-a5be-fca90e38aaf5";

fn named(name: &str, player: &Player) -> Player {
    Player {
        name: name.to_owned(),
        uuid: u128::from_be_bytes([0x22; 16]),
        ..player.clone()
    }
}

/// How many were refused so far, by reason; those without any are left out.
async fn refused(table: &Table) -> Vec<(&'static str, u64)> {
    let metrics = table.router.at.metrics().await.unwrap();
    let count = |reason: &str| {
        let name = format!("automc_wake_refusals_total{{reason={reason:?}}}");
        metrics.value(&name).unwrap()
    };
    let counts = REASONS.map(|reason| (reason, count(reason)));
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// A server that `player` wakes, and that is up at once.
async fn wakes(manager: &Manager, player: &Player, table: &Table) {
    let (starts, _) = manager.counts();
    let backend = Backend::start("woken").await.unwrap();
    manager.polls([Reply::running(backend.addr())]);
    let entered = player.enter(table.router.at.players).await;
    entered.unwrap_or_else(|error| panic!("{} at {}: {error:#}", player.name, player.address));
    assert_eq!(manager.counts().0, starts + 1, "{}", player.address);
    assert_eq!(backend.logins().len(), 1);
}

/// Also where the row is wrong about a server that runs.
#[tokio::test]
async fn who_may_not_wake_is_told_so_and_gets_in_once_the_server_runs() {
    let (manager, table) = Table::with_manager(Settings::new()).await.unwrap();
    let mut total = [("denied", 0), ("not_listed", 0)];
    for (number, (protocol, column, list)) in [
        (769, "wake_deny", "Alex, sTEVE"),
        (769, "wake_deny", STEVE),
        (47, "wake_deny", "steve"),
        (769, "wake_allow", "Alex, Steve2"),
        (769, "wake_allow", SOMEBODY),
        // It does not tell its UUID.
        (758, "wake_allow", STEVE),
    ]
    .into_iter()
    .enumerate()
    {
        let asleep = Asleep::new().unwrap();
        let name = format!("test{number}");
        let rules = [(column, list)];
        let player = table.server_with(&name, asleep.addr(), "stopped", &rules);
        let player = Player {
            protocol,
            ..player.await.unwrap()
        };
        let (which, due) = if column == "wake_deny" {
            (0, DENIED)
        } else {
            (1, NOT_LISTED)
        };

        let text = table.refusal(&player).await.unwrap();

        assert_eq!(text, due, "{rules:?}");
        total[which].1 += 1;
        let counted = total.into_iter().filter(|(_, count)| *count > 0);
        assert_eq!(refused(&table).await, counted.collect::<Vec<_>>());
        let line = ["closed without a session", "end=\"may_not_wake\"", &name];
        table.says(&line).await.unwrap();

        let backend = asleep.wake("up").unwrap();
        if number % 2 == 1 {
            let running = "UPDATE servers SET state = 'running' WHERE name = $1";
            table.sql.execute(running, &[&name]).await.unwrap();
        }
        player.enter(table.router.at.players).await.unwrap();
        assert_eq!(backend.logins()[0].bytes, player.login_bytes());
        assert_eq!(refused(&table).await.len(), if which == 0 { 1 } else { 2 });
    }
    assert_eq!(total, [("denied", 3), ("not_listed", 3)]);
    assert_eq!(manager.counts(), (0, 0));
}

#[tokio::test]
async fn who_is_listed_or_not_denied_wakes_by_name_and_by_uuid() {
    let (manager, table) = Table::with_manager(Settings::new()).await.unwrap();
    let asleep = Asleep::new().unwrap();
    let plain = STEVE.replace('-', "");
    for (number, rules) in [
        &[("wake_allow", "Alex,STEVE")][..],
        &[("wake_allow", STEVE)],
        &[("wake_allow", &plain), ("wake_deny", "Alex")],
        &[("wake_deny", SOMEBODY)],
        &[("wake_allow", "*"), ("wake_deny", "")],
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("test{number}");
        let player = table.server_with(&name, asleep.addr(), "stopped", rules);
        wakes(&manager, &player.await.unwrap(), &table).await;
    }
    assert_eq!(refused(&table).await, []);
}

/// From the environment and from the file's table; a row says otherwise for its own server.
#[tokio::test]
async fn the_defaults_hold_for_every_server_whose_row_says_nothing() {
    let environment = Settings::new()
        .env("AUTOMC_WAKE_ALLOW", format!("Steve, Mallory, {SOMEBODY}"))
        .env("AUTOMC_WAKE_DENY", "Mallory");
    let (_folder, from_file) = Settings::file(&format!(
        "[defaults]\nwake_allow = [\"Steve\", \"Mallory\", {SOMEBODY:?}]\nwake_deny = \"Mallory\""
    ))
    .unwrap();
    for settings in [environment, from_file] {
        let (manager, table) = Table::with_manager(settings).await.unwrap();
        let (asleep, steve) = table.asleep("quiet").await.unwrap();
        let open = [("wake_allow", "*"), ("wake_deny", "Nobody")];
        let other = table.server_with("open", asleep.addr(), "stopped", &open);
        let other = other.await.unwrap();
        for (name, due) in [("Alex", NOT_LISTED), ("mallory", DENIED)] {
            let text = table.refusal(&named(name, &steve)).await.unwrap();
            assert_eq!(text, due, "{name}");
        }
        assert_eq!(manager.counts(), (0, 0));
        wakes(&manager, &steve, &table).await;
        wakes(&manager, &named("Mallory", &other), &table).await;
        assert_eq!(refused(&table).await, [("denied", 1), ("not_listed", 1)]);
    }
}

/// A daily window that begins so many minutes from now, on a clock `east` minutes ahead of UTC.
fn window(begins_in: u64, lasts: u64, east: u64) -> String {
    const DAY: u64 = 24 * 60;
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() / 60;
    let clock = |minutes: u64| {
        let minutes = (now + east + minutes) % DAY;
        format!("{:02}:{:02}", minutes / 60, minutes % 60)
    };
    let (from, to) = (clock(begins_in), clock(begins_in + lasts));
    format!("{from}-{to} +{:02}:{:02}", east / 60, east % 60)
}

#[tokio::test]
async fn outside_its_hours_a_server_is_not_woken_and_the_player_is_told_when_it_is() {
    const AN_HOUR_AGO: u64 = 23 * 60;
    let closed = window(150, 60, 0);
    let settings = Settings::new().env("AUTOMC_WAKE_HOURS", &closed);
    let (manager, table) = Table::with_manager(settings).await.unwrap();
    let asleep = Asleep::new().unwrap();
    for (name, hours, opens_in) in [
        ("default", String::new(), Some("3 h")),
        ("elsewhere", window(40, 60, 330), Some("40 min")),
        ("now", window(AN_HOUR_AGO, 120, 0), None),
        ("now-elsewhere", window(AN_HOUR_AGO, 120, 120), None),
        ("always", "always".to_owned(), None),
    ] {
        let rules = [("wake_hours", &*hours)];
        let player = table.server_with(name, asleep.addr(), "stopped", &rules);
        let player = player.await.unwrap();
        let Some(opens_in) = opens_in else {
            wakes(&manager, &player, &table).await;
            continue;
        };
        let text = table.refusal(&player).await.unwrap();
        // The minute may have turned since the window was written.
        let (first, second) = text.split_once('\n').unwrap();
        assert_eq!(first, "This server is not started at this hour.");
        let due = [opens_in, "39 min"].map(|time| format!("Please come back in {time}."));
        assert!(due.iter().any(|due| second == due), "{hours}: {text}");
        assert_eq!(manager.counts(), (0, 0));
    }
    assert_eq!(refused(&table).await, [("hours", 2)]);
}

const TOO_OFTEN: &str = "Servers were started too often from here.\nPlease try again in 60 min.";

/// Knocks from another address of this machine.
async fn knock_from(address: Ipv4Addr, player: &Player, table: &Table) -> Session {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((address, 0).into()).unwrap();
    let mut stream = socket.connect(table.router.at.players).await.unwrap();
    stream.write_all(&player.login_bytes()).await.unwrap();
    player.on(stream)
}

#[tokio::test]
async fn a_name_that_woke_too_often_is_told_when_it_may_again_and_others_still_may() {
    let settings = Settings::new()
        .env("AUTOMC_WAKE_PER_NAME", "2/1h")
        .env("AUTOMC_WAKE_PER_ADDRESS", "off");
    let (manager, table) = Table::with_manager(settings).await.unwrap();
    let mut players = Vec::new();
    for name in ["a", "b", "c", "d"] {
        players.push(table.asleep(name).await.unwrap().1);
    }
    wakes(&manager, &players[0], &table).await;
    wakes(&manager, &named("STEVE", &players[1]), &table).await;
    for _ in 0..3 {
        let text = table.refusal(&players[2]).await.unwrap();
        assert_eq!(text, TOO_OFTEN);
    }
    let elsewhere = Ipv4Addr::new(127, 0, 0, 2);
    let session = knock_from(elsewhere, &players[2], &table).await;
    assert_eq!(session.refusal().await.unwrap(), TOO_OFTEN);
    assert_eq!(manager.counts().0, 2);

    // A start that is under way already costs nobody anything.
    manager.polls([Reply::state("starting")]);
    let alex = named("Alex", &players[2]);
    let alex = alex.knock(table.router.at.players).await.unwrap();
    eventually("the start", DEADLINE, async || manager.counts().0 == 3)
        .await
        .unwrap();
    let steve = players[2].knock(table.router.at.players).await.unwrap();
    eventually("both to wait", DEADLINE, async || {
        matches!(table.metric("automc_held_players").await, Ok(2))
    })
    .await
    .unwrap();
    let backend = Backend::start("woken").await.unwrap();
    manager.polls([Reply::running(backend.addr())]);
    steve.enter().await.unwrap();
    alex.enter().await.unwrap();
    wakes(&manager, &named("Alex", &players[3]), &table).await;
    assert_eq!(manager.counts().0, 4);
    assert_eq!(refused(&table).await, [("too_often", 4)]);
}

#[tokio::test]
async fn who_is_refused_uses_up_nothing_of_an_addresss_limit() {
    let settings = Settings::new()
        .env("AUTOMC_WAKE_PER_NAME", "1/1h")
        .env("AUTOMC_WAKE_PER_ADDRESS", "2/1h");
    let (manager, table) = Table::with_manager(settings).await.unwrap();
    let asleep = Asleep::new().unwrap();
    let mut players = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let rules = [("wake_deny", "Mallory")];
        let player = table.server_with(name, asleep.addr(), "stopped", &rules);
        players.push(player.await.unwrap());
    }
    for _ in 0..3 {
        let mallory = named("Mallory", &players[0]);
        assert_eq!(table.refusal(&mallory).await.unwrap(), DENIED);
    }
    wakes(&manager, &players[0], &table).await;
    for _ in 0..3 {
        assert_eq!(table.refusal(&players[1]).await.unwrap(), TOO_OFTEN);
    }
    wakes(&manager, &named("Alex", &players[1]), &table).await;
    assert_eq!(manager.counts().0, 2);

    let notch = named("Notch", &players[2]);
    assert_eq!(table.refusal(&notch).await.unwrap(), TOO_OFTEN);
    let elsewhere = Ipv4Addr::new(127, 0, 0, 2);
    let backend = Backend::start("woken").await.unwrap();
    manager.polls([Reply::running(backend.addr())]);
    // That refusal has used up nothing of the name's, either.
    let session = knock_from(elsewhere, &notch, &table).await;
    session.enter().await.unwrap();
    assert_eq!(manager.counts().0, 3);
    assert_eq!(refused(&table).await, [("denied", 3), ("too_often", 4)]);
}

#[tokio::test]
async fn who_may_not_wake_is_forwarded_where_the_route_forwards() {
    let lobby = Backend::start("lobby").await.unwrap();
    let (manager, table) = Table::with_manager(Settings::new()).await.unwrap();
    let asleep = Asleep::new().unwrap();
    let address = lobby.addr().to_string();
    let rules = [
        ("wake_deny", "Steve"),
        ("join_methods", "hold,forward"),
        ("forward_to", &address),
    ];
    let player = table.server_with("test1", asleep.addr(), "stopped", &rules);
    let player = player.await.unwrap();

    player.enter(table.router.at.players).await.unwrap();

    assert_eq!(lobby.logins()[0].bytes, player.login_bytes());
    assert_eq!(refused(&table).await, [("denied", 1)]);
    assert_eq!(manager.counts(), (0, 0));
}

/// Sends `bytes`, and hangs up at once or hears the router out.
async fn scan(router: SocketAddr, bytes: &[u8], hears: bool) {
    let mut stream = TcpStream::connect(router).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    if hears {
        let mut heard = Vec::new();
        // A reset is an end, too.
        drop(
            timeout(DEADLINE, stream.read_to_end(&mut heard))
                .await
                .unwrap(),
        );
    }
}

/// It takes the five seconds within which a client must have said what it wants.
#[tokio::test]
async fn pings_and_port_scans_wake_nothing() {
    let (manager, table) = Table::with_manager(Settings::new()).await.unwrap();
    let (_asleep, player) = table.asleep("test1").await.unwrap();
    let router = table.router.at.players;
    let handshake = |intent| {
        Handshake {
            protocol: player.protocol,
            address: player.address.clone(),
            port: player.port,
            intent,
        }
        .encode()
    };
    let login = player.login_bytes();
    let bad_name = [handshake(Intent::Login), vec![2, 0, 0x7F]].concat();
    let scans: [&[u8]; 11] = [
        b"",
        b"\0",
        b"GET / HTTP/1.1\r\nHost: test1.example.com\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xFC\x03\x03",
        b"\x03\0\0\x13\x0E\xE0\0\0\0\0\0\x01\0\x08\0\x0B\0\0\0",
        &[0xFF; 300],
        &handshake(Intent::Login),
        &handshake(Intent::Transfer),
        &handshake(Intent::Status),
        &login[..login.len() - 1],
        &bad_name,
    ];
    let mut heard_out = tokio::task::JoinSet::new();
    for bytes in scans {
        scan(router, bytes, false).await;
        let bytes = bytes.to_vec();
        heard_out.spawn(async move { scan(router, &bytes, true).await });
    }
    heard_out.join_all().await;
    for protocol in [4, 47, 769, -1] {
        let pinging = Player {
            protocol,
            ..player.clone()
        };
        let status = pinging.status(router).await.unwrap();
        assert!(status.text().contains("asleep"), "{status:?}");
    }
    let legacy = ping_1_6(&player.address);
    for ping in [&[0xFE][..], &[0xFE, 0x01], &legacy] {
        legacy_ping(router, [ping]).await.unwrap();
    }

    assert_eq!(manager.counts(), (0, 0));
    assert_eq!(refused(&table).await, []);
    // The login that those were short of.
    wakes(&manager, &player, &table).await;
}
