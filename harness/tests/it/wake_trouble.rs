//! Server-managers that refuse, break, lie or are gone: what the player gets all the same.

use std::time::Duration;

use harness::backend::{Asleep, Backend};
use harness::chaos::ChaosProxy;
use harness::manager::{Manager, Reply};
use harness::router::Settings;
use harness::table::Table;
use serde_json::json;

const DEADLINE: Duration = Duration::from_secs(20);
const NOT_STARTED: &str = "could not be started";

/// A server-manager, and a router that waits for it no longer than `timeout`.
async fn with_manager(timeout: &str) -> (Manager, Table) {
    let settings = Settings::new().env("AUTOMC_WAKER_TIMEOUT", timeout);
    Table::with_manager(settings).await.unwrap()
}

/// AMC-21. The time-out is an hour, so that only an end at once is an end at all.
#[tokio::test]
async fn a_start_that_is_denied_is_refused_at_once_and_not_tried_again() {
    let (manager, table) = with_manager("1h").await;
    let nobody = Asleep::new().unwrap();
    for status in [301, 400, 401, 403, 404, 422] {
        let (name, asked) = (format!("test{status}"), manager.requests().len());
        let player = table.server(&name, nobody.addr(), "stopped").await.unwrap();
        manager.starts([Reply::status(status)]);

        let text = table.refusal(&player).await.unwrap();

        assert!(text.contains(NOT_STARTED), "{text}");
        assert_eq!(manager.requests().len(), asked + 1, "{status}");
        let reason = format!("refused with status {status}");
        let line = [name.as_str(), "waking failed", &reason];
        table.says(&line).await.unwrap();
    }
}

/// AMC-21.
#[tokio::test]
async fn a_start_that_breaks_is_tried_once_more_and_then_refused() {
    let (manager, table) = with_manager("1h").await;
    let nobody = Asleep::new().unwrap();
    for (number, status) in [500, 502, 503, 429].into_iter().enumerate() {
        let name = format!("test{status}");
        let player = table.server(&name, nobody.addr(), "stopped").await.unwrap();
        manager.starts([Reply::status(status)]);

        let text = table.refusal(&player).await.unwrap();

        assert!(text.contains(NOT_STARTED), "{text}");
        assert_eq!(manager.counts(), (2 * (number + 1), 0), "{status}");
    }
}

/// AMC-21.
#[tokio::test]
async fn a_start_that_breaks_once_wakes_the_server_all_the_same() {
    let (manager, table) = with_manager("20s").await;
    let backend = Backend::start("woken").await.unwrap();
    let player = table
        .server("test1", backend.addr(), "stopped")
        .await
        .unwrap();
    manager.starts([Reply::status(500), Reply::status(202)]);
    manager.polls([Reply::running(backend.addr())]);

    player.enter(table.router.at.players).await.unwrap();

    assert_eq!(manager.counts(), (2, 1));
}

/// AMC-22.
#[tokio::test]
async fn polls_that_break_are_outlived() {
    let (manager, table) = with_manager("20s").await;
    let (_nobody, player) = table.asleep("test1").await.unwrap();
    let backend = Backend::start("woken").await.unwrap();
    let address = backend.addr().to_string();
    let padding = "x".repeat(64 * 1024);
    let polls = [
        Reply::status(500),
        Reply::status(503),
        Reply::status(429),
        Reply::status(302),
        Reply::body(""),
        Reply::body("<html>running</html>"),
        Reply::body(r#"{"state":"running","address":"#),
        Reply::json(&json!([{ "state": "running", "address": address }])),
        Reply::json(&json!({ "state": ["running"], "address": address })),
        Reply::json(&json!({ "state": 7 })),
        Reply::json(&json!({ "address": address })),
        // It would let the player in, were it not over the limit.
        Reply::json(&json!({ "state": "running", "address": address, "padding": padding })),
        Reply::state("starting"),
        Reply::state("what no version has heard of"),
        Reply::running(backend.addr()),
    ];
    let count = polls.len();
    manager.polls(polls);

    player.enter(table.router.at.players).await.unwrap();

    assert_eq!(manager.counts(), (1, count));
}

/// AMC-22. It takes the ten seconds after which a request is given up.
#[tokio::test]
async fn a_poll_that_is_never_answered_is_outlived() {
    let (manager, table) = with_manager("1h").await;
    let (_nobody, player) = table.asleep("test1").await.unwrap();
    let backend = Backend::start("woken").await.unwrap();
    manager.polls([Reply::hang(), Reply::running(backend.addr())]);

    player.enter(table.router.at.players).await.unwrap();

    assert_eq!(manager.counts(), (1, 2));
}

/// AMC-22.
#[tokio::test]
async fn a_server_manager_that_goes_away_and_comes_back_still_lets_the_player_in() {
    let manager = Manager::start().await;
    let way = ChaosProxy::start(manager.addr()).await.unwrap();
    let url = format!("http://{}", way.addr());
    let settings = Settings::new().waker(&url).flag("--debug");
    let table = Table::start(settings).await.unwrap();
    let (_nobody, player) = table.asleep("test1").await.unwrap();
    let backend = Backend::start("woken").await.unwrap();
    let waiting = player.knock(table.router.at.players).await.unwrap();
    manager.polled(1, DEADLINE).await.unwrap();

    way.refuse().await.unwrap();
    way.cut().await.unwrap();
    let broken = ["poll answered", "Broken"];
    table.says(&broken).await.unwrap();
    manager.polls([Reply::running(backend.addr())]);
    way.restore().await.unwrap();

    waiting.enter().await.unwrap();
    assert_eq!(manager.counts().0, 1);
}

/// AMC-23.
#[tokio::test]
async fn a_server_that_never_runs_is_refused_at_the_timeout_in_the_contracts_words() {
    let (manager, table) = with_manager("1s").await;
    let nobody = Asleep::new().unwrap();
    let nonsense = Reply::body("nonsense");
    for (name, poll, problem) in [
        ("starting", Reply::state("starting"), ""),
        ("stopped", Reply::state("stopped"), ""),
        (
            "broken",
            nonsense,
            " (last poll: its answer is not the JSON due",
        ),
        ("silent", Reply::hang(), " (last poll: no answer within"),
    ] {
        let player = table.server(name, nobody.addr(), "stopped").await.unwrap();
        manager.polls([poll]);

        let text = table.refusal(&player).await.unwrap();

        assert!(text.contains("longer than usual"), "{name}: {text}");
        let line = format!("waker timeout for {name} after 1s{problem}");
        table.says(&[&line]).await.unwrap();
    }
}

/// AMC-23. The time-out is an hour, so that only an end at once is an end at all.
#[tokio::test]
async fn a_server_that_failed_ends_the_wake_at_once() {
    let (manager, table) = with_manager("1h").await;
    let nobody = Asleep::new().unwrap();
    let endings = [
        ("failed", Reply::state("failed")),
        ("crashed", Reply::state("Crashed")),
        ("error", Reply::state("error")),
        ("gone", Reply::status(404)),
        ("locked", Reply::status(401)),
    ];
    for (name, ending) in endings {
        let (posts, gets) = manager.counts();
        let player = table.server(name, nobody.addr(), "stopped").await.unwrap();
        manager.polls([Reply::state("starting"), ending]);

        let text = table.refusal(&player).await.unwrap();

        assert!(text.contains(NOT_STARTED), "{name}: {text}");
        assert_eq!(manager.counts(), (posts + 1, gets + 2), "{name}");
    }
}

#[tokio::test]
async fn a_server_that_runs_and_whose_port_never_opens_is_refused() {
    let (manager, table) = with_manager("6s").await;
    let (nobody, player) = table.asleep("test1").await.unwrap();
    manager.polls([Reply::running(nobody.addr())]);

    let text = table.refusal(&player).await.unwrap();

    assert!(text.contains("does not let anybody in yet"), "{text}");
}

/// AMC-26: a server-manager that is gone, or takes requests and says nothing, takes no running
/// server down.
#[tokio::test]
async fn a_running_server_is_joined_though_the_server_manager_is_dead() {
    let (dead, hanging) = (Asleep::new().unwrap(), Manager::start().await);
    hanging.starts([Reply::hang()]);
    let backend = Backend::start("up").await.unwrap();
    for url in [format!("http://{}", dead.addr()), hanging.url()] {
        let table = Table::start(Settings::new().waker(&url)).await.unwrap();
        for (number, state) in [None, Some("running"), Some("unknown")]
            .into_iter()
            .enumerate()
        {
            let name = format!("test{number}");
            let player = table.server(&name, backend.addr(), state).await.unwrap();
            let entered = player.enter(table.router.at.players).await;
            entered.unwrap_or_else(|error| panic!("{state:?} with {url}: {error:#}"));
        }
    }
    assert_eq!(hanging.counts(), (0, 0));
}

/// AMC-26: the row is wrong about the server, and nobody is there to put that right.
#[tokio::test]
async fn a_server_wrongly_said_to_sleep_is_joined_when_the_server_manager_is_dead() {
    let dead = Asleep::new().unwrap();
    let backend = Backend::start("in truth up").await.unwrap();
    let url = format!("http://{}", dead.addr());
    let table = Table::start(Settings::new().waker(&url)).await.unwrap();
    for state in ["stopped", "starting"] {
        let player = table.server(state, backend.addr(), state).await.unwrap();
        player.enter(table.router.at.players).await.unwrap();
    }
}

/// AMC-23, AMC-26: it takes the start or the polls, and no answer comes before the time-out.
#[tokio::test]
async fn a_server_wrongly_said_to_sleep_is_joined_when_the_server_manager_never_answers() {
    let (manager, table) = with_manager("1s").await;
    let backend = Backend::start("in truth up").await.unwrap();
    for (name, start) in [("start", Reply::hang()), ("polls", Reply::status(202))] {
        let player = table.server(name, backend.addr(), "stopped").await.unwrap();
        manager.starts([start]);
        manager.polls([Reply::hang()]);
        player.enter(table.router.at.players).await.unwrap();
    }
    assert_eq!(manager.counts(), (2, 1));
}

/// AMC-21.
#[tokio::test]
async fn a_sleeping_server_is_refused_when_the_server_manager_is_dead() {
    let (dead, nobody) = (Asleep::new().unwrap(), Asleep::new().unwrap());
    let url = format!("http://{}", dead.addr());
    let table = Table::start(Settings::new().waker(&url)).await.unwrap();
    for state in ["stopped", "running"] {
        let player = table.server(state, nobody.addr(), state).await.unwrap();
        let text = table.refusal(&player).await.unwrap();
        assert!(text.contains(NOT_STARTED), "{text}");
    }
}
