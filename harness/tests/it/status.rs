//! Pings of the server list, old and new: what they show, and that they wake nothing.

use std::net::SocketAddr;
use std::time::Duration;

use harness::backend::{Asleep, Backend};
use harness::manager::Reply;
use harness::player::{Player, legacy_ping, ping_1_6};
use harness::router::{RouterInside, Settings};
use harness::table::Table;
use tokio::net::TcpListener;

const DEADLINE: Duration = Duration::from_secs(20);
const ASLEEP_TEXT: &str = "§7This server is asleep.\n§aJoin to wake it up.";
const LOADING_TEXT: &str = "§eThis server is starting.\n§7It will be ready in a moment.";
const STOPPING_TEXT: &str = "§eThis server is going to sleep.\n§7Join to wake it up again.";
const UNREACHABLE: &str = "§7This server is not reachable at the moment.";
const UNKNOWN: &str = "§7There is no server of this name here.";

async fn shown(player: &Player, table: &Table) -> String {
    let status = player.status(table.router.at.players).await.unwrap();
    status.text().to_owned()
}

/// AMC-05, AMC-20. Whatever the row says, and down or up.
#[tokio::test]
async fn a_status_ping_wakes_nothing_and_tells_asleep_from_starting_from_up() {
    let (manager, table) = Table::with_manager(Settings::new()).await.unwrap();
    let (nobody, up) = (Asleep::new().unwrap(), Backend::start("up").await.unwrap());
    for (number, (state, text)) in [
        (Some("stopped"), ASLEEP_TEXT),
        (Some("stopping"), STOPPING_TEXT),
        (Some("running"), ASLEEP_TEXT),
        (Some("unheard of"), ASLEEP_TEXT),
        (None, ASLEEP_TEXT),
        (Some("starting"), LOADING_TEXT),
    ]
    .into_iter()
    .enumerate()
    {
        let down = format!("down{number}");
        let down = table.server(&down, nobody.addr(), state).await.unwrap();
        assert_eq!(shown(&down, &table).await, text, "{state:?}");
        let name = format!("up{number}");
        let player = table.server(&name, up.addr(), state).await.unwrap();
        assert_eq!(shown(&player, &table).await, "up", "{state:?}");
        let old = ping_1_6(&down.address);
        let old = legacy_ping(table.router.at.players, [&old[..]]).await;
        assert_eq!(old.unwrap()[3], text.replace('\n', " "), "{state:?}");
    }
    assert_eq!(manager.counts(), (0, 0));
}

/// AMC-05: the loading text stands from the start to the end of a wake, and no longer.
#[tokio::test]
async fn a_server_that_is_being_woken_is_shown_as_starting_and_then_as_itself() {
    let (manager, table) = Table::with_manager(Settings::new()).await.unwrap();
    let (asleep, player) = table.asleep("test1").await.unwrap();
    assert_eq!(shown(&player, &table).await, ASLEEP_TEXT);

    let waiting = player.knock(table.router.at.players).await.unwrap();
    manager.polled(1, DEADLINE).await.unwrap();
    assert_eq!(shown(&player, &table).await, LOADING_TEXT);
    assert_eq!(manager.counts().0, 1);

    let backend = asleep.wake("itself").unwrap();
    manager.polls([Reply::running(backend.addr())]);
    waiting.welcome().await.unwrap();
    assert_eq!(shown(&player, &table).await, "itself");
}

/// AMC-05.
#[tokio::test]
async fn a_server_whose_wake_failed_is_shown_as_such_with_the_next_try() {
    let (manager, table) = Table::with_manager(Settings::new()).await.unwrap();
    let (_nobody, player) = table.asleep("test1").await.unwrap();
    manager.polls([Reply::state("failed")]);

    table.refusal(&player).await.unwrap();

    let text = shown(&player, &table).await;
    let (first, second) = text.split_once('\n').unwrap();
    assert_eq!(first, "§cThis server did not start.");
    assert!(second.starts_with("§7The next try is in "), "{text}");
}

/// AMC-03, AMC-05.
#[tokio::test]
async fn without_a_waker_only_a_server_that_is_said_to_sleep_is_shown_as_asleep() {
    let table = Table::start(Settings::new()).await.unwrap();
    let nobody = Asleep::new().unwrap();
    for (name, text) in [
        ("stopped", ASLEEP_TEXT),
        ("starting", LOADING_TEXT),
        ("running", UNREACHABLE),
        ("what", UNREACHABLE),
    ] {
        let player = table.server(name, nobody.addr(), name).await.unwrap();
        assert_eq!(shown(&player, &table).await, text, "{name}");
    }
}

/// AMC-05.
#[tokio::test]
async fn the_texts_are_the_operators_where_there_are_any() {
    const ASLEEP: &str = "zzz \"§lknock\"";
    for (flags, asleep, loading) in [
        (
            &["--use-asleep-motd", "--use-loading-motd"][..],
            ASLEEP_TEXT,
            LOADING_TEXT,
        ),
        (
            &[
                "--use-asleep-motd=zzz \"§lknock\"",
                "--use-loading-motd=soon",
            ],
            ASLEEP,
            "soon",
        ),
        (
            &[
                "--auto-scale-asleep-motd=zzz \"§lknock\"",
                "--auto-scale-loading-motd=soon",
            ],
            ASLEEP,
            "soon",
        ),
        (
            &[
                "--use-asleep-motd=short",
                "--auto-scale-asleep-motd=zzz \"§lknock\"",
            ],
            ASLEEP,
            LOADING_TEXT,
        ),
    ] {
        let settings = flags
            .iter()
            .fold(Settings::new(), |all, flag| all.flag(*flag));
        let table = Table::start(settings).await.unwrap();
        let nobody = Asleep::new().unwrap();
        let stopped = table.server("a", nobody.addr(), "stopped").await.unwrap();
        let starting = table.server("b", nobody.addr(), "starting").await.unwrap();
        assert_eq!(shown(&stopped, &table).await, asleep, "{flags:?}");
        assert_eq!(shown(&starting, &table).await, loading, "{flags:?}");
    }
}

/// A router without a database: `a.example` is up, `b.example` is down.
async fn fixed() -> (Backend, Asleep, RouterInside) {
    let (backend, asleep) = (Backend::start("up").await.unwrap(), Asleep::new().unwrap());
    let settings = Settings::new()
        .flag(format!("--mapping=a.example={}", backend.addr()))
        .flag(format!("--mapping=b.example={}", asleep.addr()));
    (backend, asleep, RouterInside::start(settings).unwrap())
}

#[tokio::test]
async fn an_answer_has_the_protocol_of_who_asked() {
    let (backend, _asleep, router) = fixed().await;
    for protocol in [4, 47, 769, 0x4000_0105] {
        let ask = async |address: &str| {
            let player = Player {
                protocol,
                ..Player::new(address)
            };
            player.status(router.at.players).await.unwrap().json
        };
        assert_eq!(ask("b.example").await["version"]["protocol"], protocol);
        assert_eq!(
            ask("nowhere.example").await["version"]["protocol"],
            protocol
        );
        assert_eq!(ask("a.example").await["version"]["protocol"], protocol);
        let relayed = backend.records().pop().unwrap().handshake.unwrap();
        assert_eq!(relayed.protocol, protocol);
    }
}

#[tokio::test]
async fn a_host_without_a_route_is_shown_as_unknown_and_gets_the_default_if_there_is_one() {
    let (backend, _asleep, router) = fixed().await;
    let player = Player::new("nowhere.example");
    let status = player.status(router.at.players).await.unwrap();
    assert_eq!(status.text(), UNKNOWN);

    let default = Settings::new().flag(format!("--default={}", backend.addr()));
    let router = RouterInside::start(default).unwrap();
    let status = player.status(router.at.players).await.unwrap();
    assert_eq!(status.text(), "up");
}

/// All three forms, whole and byte by byte; those before 1.6 name no host, so the default route is
/// theirs.
async fn old_pings(router: SocketAddr, host: &str) -> [Vec<String>; 6] {
    let one_six = ping_1_6(host);
    let whole = async |ping: &[u8]| legacy_ping(router, [ping]).await.unwrap();
    let dripped = async |ping: &[u8]| legacy_ping(router, ping.chunks(1)).await.unwrap();
    [
        whole(&[0xFE]).await,
        dripped(&[0xFE]).await,
        whole(&[0xFE, 0x01]).await,
        dripped(&[0xFE, 0x01]).await,
        whole(&one_six).await,
        dripped(&one_six).await,
    ]
}

#[tokio::test]
async fn pings_from_before_1_7_are_answered_in_their_own_form() {
    let (_backend, _asleep, router) = fixed().await;

    let answers = old_pings(router.at.players, "b.example").await;

    let plain = UNKNOWN.trim_start_matches("§7");
    let beta = [plain, "0", "0"];
    let four = ["§1", "127", "automc", UNKNOWN, "0", "0"];
    let six = ["§1", "78", "automc", UNREACHABLE, "0", "0"];
    let expected: [&[&str]; 6] = [&beta, &beta, &four, &four, &six, &six];
    assert_eq!(
        answers.each_ref().map(|fields| fields.join("|")),
        expected.map(|fields| fields.join("|"))
    );
}

#[tokio::test]
async fn pings_from_before_1_7_are_relayed_to_a_server_that_is_up() {
    let (named, default) = (
        Backend::start("named").await.unwrap(),
        Backend::start("default").await.unwrap(),
    );
    let settings = Settings::new()
        .flag(format!("--mapping=a.example={}", named.addr()))
        .flag(format!("--default={}", default.addr()));
    let router = RouterInside::start(settings).unwrap();

    let answers = old_pings(router.at.players, "A.Example.").await;

    let texts = answers.each_ref().map(|fields| match fields.as_slice() {
        [_, _, _, text, ..] | [text, ..] => text.as_str(),
        [] => "",
    });
    assert_eq!(
        texts,
        ["default", "default", "default", "default", "named", "named"]
    );
    let relayed: Vec<_> = named.records().into_iter().map(|one| one.bytes).collect();
    assert_eq!(relayed, [ping_1_6("A.Example."), ping_1_6("A.Example.")]);
}

/// A ping of 1.6 that breaks off after so many bytes.
fn broken_off(length: usize) -> Vec<u8> {
    let mut ping = ping_1_6("a.example");
    ping.truncate(length);
    ping
}

#[tokio::test]
async fn a_1_6_ping_that_breaks_off_is_answered_by_the_default_server_or_the_router() {
    let (backend, _asleep, router) = fixed().await;
    let default = Settings::new().flag(format!("--default={}", backend.addr()));
    let with_default = RouterInside::start(default).unwrap();
    for length in [3, 4, 20, 31, 50] {
        let ping = broken_off(length);
        let own = legacy_ping(router.at.players, [&ping[..]]).await.unwrap();
        assert_eq!(own, ["§1", "127", "automc", UNKNOWN, "0", "0"], "{length}");
        let served = legacy_ping(with_default.at.players, [&ping[..]]).await;
        assert_eq!(served.unwrap()[3], "up", "{length}");
        let asked = backend.records().pop().unwrap();
        // A server would wait for the rest.
        assert_eq!(asked.bytes, [0xFE, 0x01], "{length}");
    }
}

#[tokio::test]
async fn a_server_that_knows_no_pings_from_before_1_7_leaves_nobody_waiting() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = Settings::new().flag(format!("--default={}", listener.local_addr().unwrap()));
    let router = RouterInside::start(settings).unwrap();
    let mute = tokio::spawn(async move {
        let mut all = Vec::new();
        loop {
            all.push(listener.accept().await.unwrap());
        }
    });
    for ping in [vec![0xFE], vec![0xFE, 0x01], broken_off(3), ping_1_6("a")] {
        let answer = legacy_ping(router.at.players, [&ping[..]]).await.unwrap();
        assert!(answer.contains(&"0".to_owned()), "{answer:?}");
    }
    mute.abort();
}
