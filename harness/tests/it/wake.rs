//! A login to a sleeping server: what the server-manager is asked, and where the player ends up.

use std::time::Duration;

use automc_router::wake::polling::POLL_FLOOR;
use harness::backend::{Asleep, Backend};
use harness::manager::{Manager, Reply};
use harness::player::{Player, Session};
use harness::router::Settings;
use harness::table::Table;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const DEADLINE: Duration = Duration::from_secs(20);

/// Asserts that `backend` got exactly `sent`, whether it recorded a byte or echoed it.
async fn assert_arrived(backend: &Backend, session: &mut Session, sent: &[u8]) {
    let mut arrived = backend.logins()[0].bytes.clone();
    let mut echoed = vec![0; sent.len() - arrived.len()];
    let echo = session.stream.read_exact(&mut echoed);
    tokio::time::timeout(DEADLINE, echo).await.unwrap().unwrap();
    arrived.extend(echoed);
    assert!(arrived == sent, "{} bytes came", arrived.len());
}

/// AMC-19, AMC-21, AMC-22, AMC-23, AMC-24, AMC-26.
#[tokio::test]
async fn a_player_waits_and_gets_in_at_the_polled_address_byte_for_byte() {
    let (manager, table) = Table::with_manager(Settings::new()).await.unwrap();
    let (_nobody, player) = table.asleep("test1").await.unwrap();
    let backend = Backend::start("woken").await.unwrap();
    let before = table.router.at.routes().await.unwrap();

    let mut waiting = player.knock(table.router.at.players).await.unwrap();
    manager.polled(1, DEADLINE).await.unwrap();
    waiting
        .stream
        .write_all(b"sent while waiting")
        .await
        .unwrap();
    manager.polled(3, DEADLINE).await.unwrap();
    assert_eq!(backend.logins(), []);
    manager.polls([Reply::running(backend.addr())]);

    let mut session = waiting.enter().await.unwrap();
    session.stream.write_all(b"sent once in").await.unwrap();
    let sent = [
        &player.login_bytes()[..],
        b"sent while waiting",
        b"sent once in",
    ]
    .concat();
    assert_arrived(&backend, &mut session, &sent).await;
    assert_eq!(table.router.at.routes().await.unwrap(), before);
    let requests = manager.requests();
    assert_eq!(requests[0].path, "/servers/test1/start");
    assert_eq!(manager.counts().0, 1, "{requests:?}");
    assert!(
        requests[1..]
            .iter()
            .all(|poll| poll.path == "/servers/test1")
    );
}

#[tokio::test]
async fn more_than_the_router_holds_for_a_waiting_player_arrives_whole_too() {
    let (manager, table) = Table::with_manager(Settings::new()).await.unwrap();
    let (asleep, player) = table.asleep("test1").await.unwrap();
    let early: Vec<u8> = (0..100_000_u32).map(|at| at.to_le_bytes()[0]).collect();

    let mut waiting = player.knock(table.router.at.players).await.unwrap();
    waiting.stream.write_all(&early).await.unwrap();
    manager.polled(2, DEADLINE).await.unwrap();
    let backend = asleep.wake("woken").unwrap();
    manager.polls([Reply::running(backend.addr())]);

    let mut session = waiting.enter().await.unwrap();
    let sent = [player.login_bytes(), early].concat();
    assert_arrived(&backend, &mut session, &sent).await;
}

/// AMC-24.
#[tokio::test]
async fn the_polled_address_is_for_the_waiting_player_and_for_nobody_later() {
    let (manager, table) = Table::with_manager(Settings::new()).await.unwrap();
    let (asleep, elsewhere) = (
        Asleep::new().unwrap(),
        Backend::start("polled").await.unwrap(),
    );
    let player = table
        .server("test1", asleep.addr(), "unheard of")
        .await
        .unwrap();
    manager.polls([Reply::running(elsewhere.addr())]);
    let _first = player.enter(table.router.at.players).await.unwrap();
    assert_eq!((elsewhere.logins().len(), manager.counts()), (1, (1, 1)));

    let backend = asleep.wake("of the row").unwrap();
    let _second = player.enter(table.router.at.players).await.unwrap();

    assert_eq!(backend.logins().len(), 1);
    assert_eq!((elsewhere.logins().len(), manager.counts()), (1, (1, 1)));
}

/// AMC-21: 202, 409 and every other 2xx mean that it starts.
#[tokio::test]
async fn a_conflict_and_every_2xx_are_as_good_as_accepted() {
    let (manager, table) = Table::with_manager(Settings::new()).await.unwrap();
    let backend = Backend::start("woken").await.unwrap();
    let (starting, running) = (Reply::state("starting"), Reply::running(backend.addr()));
    for status in [200, 201, 202, 204, 409] {
        let (name, asked) = (format!("test{status}"), manager.requests().len());
        let nobody = Asleep::new().unwrap();
        let player = table.server(&name, nobody.addr(), "stopped").await.unwrap();
        manager.starts([Reply::status(status)]);
        manager.polls([starting.clone(), running.clone()]);

        player.enter(table.router.at.players).await.unwrap();

        let requests = manager.requests();
        let methods: Vec<_> = requests[asked..].iter().map(|one| &*one.method).collect();
        assert_eq!(methods, ["POST", "GET", "GET"], "{status}");
    }
}

/// AMC-23, AMC-25.
#[tokio::test]
async fn running_without_a_usable_address_leads_to_the_address_of_the_row() {
    let (manager, table) = Table::with_manager(Settings::new()).await.unwrap();
    let backend = Backend::start("of the row").await.unwrap();
    let addresses = [
        json!(null),
        json!(""),
        json!("nonsense"),
        json!("10.0.0.5"),
        json!("h:99999"),
        json!(25565),
        json!(["127.0.0.1:1"]),
    ];
    manager.polls([Reply::state("RUNNING")]);
    let player = table
        .server("bare", backend.addr(), "stopped")
        .await
        .unwrap();
    player.enter(table.router.at.players).await.unwrap();
    for (number, address) in addresses.iter().enumerate() {
        let name = format!("test{number}");
        let player = table
            .server(&name, backend.addr(), "stopped")
            .await
            .unwrap();
        manager.polls([Reply::json(
            &json!({ "state": "running", "address": address }),
        )]);

        let entered = player.enter(table.router.at.players).await;

        entered.unwrap_or_else(|error| panic!("{address}: {error:#}"));
    }
    assert_eq!(backend.logins().len(), 1 + addresses.len());
}

#[tokio::test]
async fn a_server_that_runs_before_its_port_opens_is_waited_for() {
    let (manager, table) = Table::with_manager(Settings::new()).await.unwrap();
    let (asleep, player) = table.asleep("test1").await.unwrap();
    manager.polls([Reply::running(asleep.addr())]);

    let waiting = player.knock(table.router.at.players).await.unwrap();
    table.says(&["automc: server is running"]).await.unwrap();
    let backend = asleep.wake("late").unwrap();

    waiting.enter().await.unwrap();
    assert_eq!(backend.logins()[0].bytes, player.login_bytes());
    assert_eq!(manager.counts(), (1, 1));
}

/// AMC-04.
#[tokio::test]
async fn a_token_is_on_every_request_and_never_in_the_log() {
    let settings = Settings::new()
        .flag("--debug")
        .env("AUTOMC_WAKER_TOKEN", "s3cret/token");
    let (manager, table) = Table::with_manager(settings).await.unwrap();
    let backend = Backend::start("woken").await.unwrap();
    let player = table
        .server("test1", backend.addr(), "stopped")
        .await
        .unwrap();
    manager.starts([Reply::status(500), Reply::status(202)]);
    manager.polls([Reply::state("starting"), Reply::running(backend.addr())]);

    player.enter(table.router.at.players).await.unwrap();

    assert_eq!(manager.counts(), (2, 2));
    for request in manager.requests() {
        assert_eq!(request.api_keys, ["s3cret/token"], "{request:?}");
    }
    let log = table.router.process.tail(usize::MAX);
    assert!(!log.contains("s3cret"), "{log}");
}

/// AMC-04; the names are what an operator may write into the table.
#[tokio::test]
async fn without_a_token_there_is_no_header_and_names_are_escaped_under_the_base_path() {
    let manager = Manager::start().await;
    let base = format!("{}/api/v1/", manager.url());
    let table = Table::start(Settings::new().waker(&base)).await.unwrap();
    let backend = Backend::start("woken").await.unwrap();
    manager.polls([Reply::running(backend.addr())]);
    let insert = "INSERT INTO servers (name, domain, address) VALUES ($1, $2, $3)";
    let address = backend.addr().to_string();
    for (number, (name, escaped)) in [
        ("a b/ü?", "a%20b%2F%C3%BC%3F"),
        ("100%#1&x=1;y", "100%25%231%26x%3D1%3By"),
        ("../admin", "..%2Fadmin"),
        ("A-b_c.d~9", "A-b_c.d~9"),
    ]
    .into_iter()
    .enumerate()
    {
        let domain = format!("d{number}.example.com");
        table
            .sql
            .execute(insert, &[&name, &domain, &address])
            .await
            .unwrap();
        let routed = table.router.at.routed(&domain, Some(&address), DEADLINE);
        routed.await.unwrap();
        let asked = manager.requests().len();

        let player = Player::new(&domain);
        player.enter(table.router.at.players).await.unwrap();

        let requests = manager.requests();
        let [start, poll] = &requests[asked..] else {
            panic!("{requests:?}")
        };
        assert_eq!(start.path, format!("/api/v1/servers/{escaped}/start"));
        assert_eq!(poll.path, format!("/api/v1/servers/{escaped}"));
        assert!(start.api_keys.is_empty() && poll.api_keys.is_empty());
    }
}

/// AMC-22. The interval is the longest distance; polls are quicker at first, and closest of all
/// then. Nothing can come early: a poll is at least so many times the least distance after the
/// start as there were polls before it.
#[tokio::test]
async fn polls_keep_their_distance_from_each_other() {
    let settings = Settings::new().env("AUTOMC_WAKER_POLL_INTERVAL", "200ms");
    let (manager, table) = Table::with_manager(settings).await.unwrap();
    let backend = Backend::start("woken").await.unwrap();
    let player = table
        .server("test1", backend.addr(), "stopped")
        .await
        .unwrap();
    let waiting = player.knock(table.router.at.players).await.unwrap();
    manager.polled(5, DEADLINE).await.unwrap();
    manager.polls([Reply::running(backend.addr())]);
    waiting.enter().await.unwrap();

    let requests = manager.requests();
    for (before, poll) in requests[1..].iter().enumerate() {
        let least = POLL_FLOOR * u32::try_from(before).unwrap();
        assert!(poll.at - requests[0].at >= least, "poll {before}");
    }
}

/// AMC-22: with an hour between polls, only a first one at once lets anybody in.
#[tokio::test]
async fn the_first_poll_does_not_wait_for_the_interval() {
    let settings = Settings::new()
        .env("AUTOMC_WAKER_POLL_INTERVAL", "1h")
        .env("AUTOMC_WAKER_TIMEOUT", "2h");
    let (manager, table) = Table::with_manager(settings).await.unwrap();
    let backend = Backend::start("woken").await.unwrap();
    let player = table
        .server("test1", backend.addr(), "stopped")
        .await
        .unwrap();
    manager.polls([Reply::running(backend.addr())]);

    player.enter(table.router.at.players).await.unwrap();

    assert_eq!(manager.counts(), (1, 1));
}

/// AMC-26: a dial comes first, whatever the row says, unless it says that the server sleeps.
#[tokio::test]
async fn a_server_that_is_up_is_joined_without_a_word_to_the_server_manager() {
    let (manager, table) = Table::with_manager(Settings::new()).await.unwrap();
    let backend = Backend::start("up").await.unwrap();
    let states = [None, Some("running"), Some("unknown"), Some(""), Some("?!")];
    for (number, state) in states.into_iter().enumerate() {
        let name = format!("test{number}");
        let player = table.server(&name, backend.addr(), state).await.unwrap();
        player.enter(table.router.at.players).await.unwrap();
    }
    assert_eq!(backend.logins().len(), states.len());
    assert_eq!(manager.counts(), (0, 0));
}

/// AMC-26: nobody waits for a dial that cannot succeed.
#[tokio::test]
async fn a_server_that_is_said_to_sleep_is_woken_before_it_is_dialled() {
    let (manager, table) = Table::with_manager(Settings::new()).await.unwrap();
    for state in ["stopped", "Stopping", "starting"] {
        let backend = Backend::start("in truth up").await.unwrap();
        let (name, polled) = (state.to_lowercase(), manager.counts().1);
        manager.polls([Reply::state("starting")]);
        let player = table.server(&name, backend.addr(), state).await.unwrap();

        let waiting = player.knock(table.router.at.players).await.unwrap();
        manager.polled(polled + 2, DEADLINE).await.unwrap();
        assert_eq!(backend.logins(), [], "{state}");
        manager.polls([Reply::running(backend.addr())]);

        waiting.enter().await.unwrap();
        assert_eq!(backend.logins().len(), 1, "{state}");
    }
    assert_eq!(manager.counts().0, 3);
}
