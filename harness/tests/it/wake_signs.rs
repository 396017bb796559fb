//! What ends a wake: whichever tells first that the server runs, and that it answers.

use std::time::Duration;

use harness::backend::{Asleep, Backend, Conduct};
use harness::eventually::eventually;
use harness::manager::{Manager, Reply};
use harness::player::Player;
use harness::router::Settings;
use harness::table::Table;
use waker_mock::{Config, Faults, ServerSpec, WakerMock};

const DEADLINE: Duration = Duration::from_secs(20);

/// A server-manager that says `starting` whatever happens, and is asked now and then.
async fn with_slow_manager() -> (Manager, Table) {
    let settings = Settings::new()
        .flag("--debug")
        .env("AUTOMC_WAKER_POLL_INTERVAL", "30s")
        .env("AUTOMC_WAKER_TIMEOUT", "2m");
    Table::with_manager(settings).await.unwrap()
}

async fn say(table: &Table, server: &str, state: &str, backend: &Backend) {
    let update = "UPDATE servers SET state = $2, address = $3 WHERE name = $1";
    let address = backend.addr().to_string();
    let row: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&server, &state, &address];
    assert_eq!(table.sql.execute(update, &row).await.unwrap(), 1);
}

/// Until the router has seen that nobody is at the address: only after that an answer counts.
async fn until_probed(table: &Table) {
    let line = ["probe answered", "Refused"];
    table.says(&line).await.unwrap();
}

async fn assert_sign(table: &Table, sign: &str) {
    let line = ["automc: server is ready", sign];
    table.says(&line).await.unwrap();
}

#[tokio::test]
async fn the_tables_running_lets_players_in_before_any_poll_says_so() {
    let (manager, table) = with_slow_manager().await;
    let (_nobody, player) = table.asleep("test1").await.unwrap();
    let backend = Backend::start("woken").await.unwrap();
    let waiting = player.knock(table.router.at.players).await.unwrap();
    manager.polled(1, DEADLINE).await.unwrap();

    say(&table, "test1", "running", &backend).await;

    waiting.enter().await.unwrap();
    assert_eq!(backend.logins()[0].bytes, player.login_bytes());
    assert_eq!(manager.counts().0, 1);
    assert_sign(&table, "sign=Table").await;
}

#[tokio::test]
async fn a_server_that_begins_to_answer_lets_players_in_though_polls_hang() {
    let (manager, table) = with_slow_manager().await;
    let (asleep, player) = table.asleep("test1").await.unwrap();
    manager.polls([Reply::hang()]);
    let waiting = player.knock(table.router.at.players).await.unwrap();
    manager.polled(1, DEADLINE).await.unwrap();
    until_probed(&table).await;

    let backend = asleep.wake("woken").unwrap();

    waiting.enter().await.unwrap();
    assert_eq!(backend.logins()[0].bytes, player.login_bytes());
    assert_eq!(manager.counts(), (1, 1));
    assert_sign(&table, "sign=Probe").await;
}

#[tokio::test]
async fn a_server_that_answers_lets_players_in_though_the_start_hangs() {
    let (manager, table) = with_slow_manager().await;
    let (asleep, player) = table.asleep("test1").await.unwrap();
    manager.starts([Reply::hang()]);
    let waiting = player.knock(table.router.at.players).await.unwrap();
    until_probed(&table).await;

    let backend = asleep.wake("woken").unwrap();

    waiting.enter().await.unwrap();
    assert_eq!((backend.logins().len(), manager.counts()), (1, (1, 0)));
}

/// Many a starting server writes a line for every connection.
#[tokio::test]
async fn a_starting_server_is_left_alone_where_the_server_manager_will_tell() {
    let (manager, table) = with_slow_manager().await;
    let (asleep, player) = table.asleep("test1").await.unwrap();
    let waiting = player.knock(table.router.at.players).await.unwrap();
    manager.polled(1, DEADLINE).await.unwrap();
    until_probed(&table).await;
    table.says(&["poll answered", "NotYet"]).await.unwrap();

    let closing = Conduct {
        status: false,
        ..Conduct::default()
    };
    let starting = asleep.wake_as("woken", closing).unwrap();
    eventually("probes", DEADLINE, async || starting.records().len() >= 3)
        .await
        .unwrap();

    let heard = starting.records();
    let (first, last) = (&heard[0], &heard[2]);
    assert!(last.at - first.at > Duration::from_secs(5), "{heard:?}");
    starting.conduct(Conduct::default());
    say(&table, "test1", "running", &starting).await;
    waiting.enter().await.unwrap();
}

/// Some servers and proxies close connections whose protocol number is -1.
#[tokio::test]
async fn a_server_that_turns_away_pings_of_no_version_lets_players_in_after_it_slept() {
    let picky = || Conduct {
        nameless: false,
        ..Conduct::default()
    };
    let (manager, table) = with_slow_manager().await;
    let backend = Backend::start_as("seen", picky()).await.unwrap();
    let at = backend.addr();
    let player = table.server("test1", at, "stopped").await.unwrap();
    // It is known to show its status, and is waited for until it does.
    player.status(table.router.at.players).await.unwrap();
    assert_eq!(backend.records().len(), 1);
    drop(backend);
    let waiting = player.knock(table.router.at.players).await.unwrap();
    manager.polled(1, DEADLINE).await.unwrap();
    until_probed(&table).await;

    let backend = Backend::bind("woken", picky(), at).await.unwrap();

    waiting.enter().await.unwrap();
    let asked = backend.records();
    let asked: Vec<_> = asked.iter().filter(|one| !one.login).collect();
    assert!(asked.len() <= 2, "{asked:?}");
    assert_sign(&table, "sign=Probe").await;
}

/// The row's address may belong to another server by now.
#[tokio::test]
async fn an_address_that_answered_all_along_is_not_taken_for_the_server() {
    let (_manager, table) = with_slow_manager().await;
    let (stranger, backend) = (
        Backend::start("another's").await.unwrap(),
        Backend::start("woken").await.unwrap(),
    );
    let player = table
        .server("test1", stranger.addr(), "stopped")
        .await
        .unwrap();
    let waiting = player.knock(table.router.at.players).await.unwrap();
    // It has answered twice, and would have been taken for the server at the second time.
    eventually("probes", DEADLINE, async || stranger.records().len() >= 2)
        .await
        .unwrap();

    say(&table, "test1", "running", &backend).await;

    waiting.enter().await.unwrap();
    assert_eq!((stranger.logins().len(), backend.logins().len()), (0, 1));
}

#[tokio::test]
async fn the_poll_lets_players_in_where_neither_table_nor_port_tells_anything() {
    let (manager, table) = Table::with_manager(Settings::new()).await.unwrap();
    let (_nobody, player) = table.asleep("test1").await.unwrap();
    let backend = Backend::start("woken").await.unwrap();
    manager.polls([Reply::state("starting"), Reply::running(backend.addr())]);

    player.enter(table.router.at.players).await.unwrap();

    assert_sign(&table, "sign=Poll").await;
    assert_eq!(backend.logins().len(), 1);
}

/// A waker-mock that writes no table, a router that has it polled rarely, and its server
/// `test1`, whose address in the table never answers.
async fn with_waker(boot: Duration) -> (WakerMock, Table, Player) {
    let waker = WakerMock::start(Config::default()).await.unwrap();
    let spec = ServerSpec {
        lazy_address: true,
        ..ServerSpec::new("test1.example.com", boot)
    };
    waker.put_server("test1", spec).unwrap();
    let settings = Settings::new()
        .waker(&waker.url())
        .env("AUTOMC_WAKER_POLL_INTERVAL", "30s");
    let table = Table::start(settings).await.unwrap();
    let row = waker.row_address("test1").unwrap().parse().unwrap();
    let player = table.server("test1", row, "stopped").await.unwrap();
    (waker, table, player)
}

#[tokio::test]
async fn a_server_manager_that_offers_to_wait_is_asked_once_more_and_no_oftener() {
    let (waker, table, player) = with_waker(Duration::from_secs(2)).await;

    let text = player.refusal(table.router.at.players).await.unwrap();

    assert_eq!(text, waker_mock::game::greeting("test1"));
    let requests = waker.requests();
    let polls: Vec<_> = requests
        .iter()
        .filter(|request| request.method == "GET" && request.path != "/servers")
        .map(|request| request.query.as_deref().unwrap_or_default())
        .collect();
    let [first, second] = polls[..] else {
        panic!("{polls:?}")
    };
    assert_eq!(first, "");
    // The wake may take 20 s.
    let wait: u64 = second.strip_prefix("wait=").unwrap().parse().unwrap();
    assert!((15..20).contains(&wait), "{second}");
}

#[tokio::test]
async fn a_server_manager_that_offers_nothing_is_asked_again_and_again() {
    let (waker, table, player) = with_waker(Duration::from_secs(1)).await;
    waker
        .set_faults("test1", Faults::parse("plain").unwrap())
        .unwrap();

    let text = player.refusal(table.router.at.players).await.unwrap();

    assert_eq!(text, waker_mock::game::greeting("test1"));
    let polls = waker.requests();
    let polls: Vec<_> = polls.iter().filter(|one| one.method == "GET").collect();
    assert!(polls.len() > 3, "{polls:?}");
    assert!(polls.iter().all(|poll| poll.query.is_none()), "{polls:?}");
}

/// `enable-status=false` is a setting of every server. It takes the five seconds after which an
/// open port is believed.
#[tokio::test]
async fn a_server_that_answers_no_status_lets_players_in_all_the_same() {
    let (waker, table, player) = with_waker(Duration::ZERO).await;
    waker
        .set_faults("test1", Faults::parse("no_status").unwrap())
        .unwrap();

    let text = player.refusal(table.router.at.players).await.unwrap();

    assert_eq!(text, waker_mock::game::greeting("test1"));
}

/// The table says `running` of an address nobody is at; the server-manager knows better.
#[tokio::test]
async fn the_polled_address_replaces_one_of_the_table_that_does_not_answer() {
    let (manager, table) = with_slow_manager().await;
    let (asleep, player) = table.asleep("test1").await.unwrap();
    let backend = Backend::start("woken").await.unwrap();
    let waiting = player.knock(table.router.at.players).await.unwrap();
    manager.polled(1, DEADLINE).await.unwrap();

    let update = "UPDATE servers SET state = 'running' WHERE name = 'test1'";
    table.sql.execute(update, &[]).await.unwrap();
    let process = &table.router.process;
    let told = ["automc: server is running"];
    process.line_with(&told, DEADLINE).await.unwrap();
    manager.polls([Reply::running(backend.addr())]);

    waiting.enter().await.unwrap();
    assert_eq!(backend.logins().len(), 1);
    drop(asleep);
}

/// A server whose start fails is not tried at every click, and whoever clicks is told why.
#[tokio::test]
async fn a_start_that_fails_again_is_waited_for_longer() {
    let nobody = Asleep::new().unwrap();
    let (manager, table) = Table::with_manager(Settings::new()).await.unwrap();
    let player = table.server("test1", nobody.addr(), None).await.unwrap();
    manager.polls([Reply::state("crashed")]);
    table.refusal(&player).await.unwrap();

    table.refusal(&player).await.unwrap();

    let process = &table.router.process;
    let line = ["reports it as crashed", "failed 1 in a row; next try in 5s"];
    process.line_with(&line, DEADLINE).await.unwrap();
    eventually("a second try", DEADLINE, async || {
        table.refusal(&player).await.unwrap();
        manager.counts().0 == 2
    })
    .await
    .unwrap();
    // The log has no more than so many lines of one kind.
    let text = table.refusal(&player).await.unwrap();
    assert!(text.contains("The next try is in 10"), "{text}");
}
