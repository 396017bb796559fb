//! One wake for everybody who waits, and what becomes of it when somebody leaves.

use std::time::Duration;

use harness::backend::{Asleep, Backend};
use harness::chaos::ChaosProxy;
use harness::eventually::eventually;
use harness::manager::{Manager, Reply};
use harness::player::Player;
use harness::router::Settings;
use harness::table::Table;

const DEADLINE: Duration = Duration::from_secs(20);
const CROWD: usize = 20;
const LEFT: &str = "the client left while its server was starting";

async fn until_counts(manager: &Manager, posts: usize, polls: usize) {
    eventually("starts and polls", DEADLINE, async || {
        let counts = manager.counts();
        (counts.0 == posts && counts.1 >= polls)
            .then_some(())
            .ok_or_else(|| format!("{counts:?}"))
    })
    .await
    .unwrap();
}

fn crowd(player: &Player) -> Vec<Player> {
    let name = |number| format!("Player{number}");
    let one = |number| Player {
        name: name(number),
        ..player.clone()
    };
    (0..CROWD).map(one).collect()
}

/// AMC-19, AMC-21.
#[tokio::test]
async fn twenty_players_wake_one_server_with_one_start_and_all_get_in() {
    let (manager, table) = Table::with_manager(Settings::new()).await.unwrap();
    let (_nobody, player) = table.asleep("test1").await.unwrap();
    let backend = Backend::start("woken").await.unwrap();
    let crowd = crowd(&player);
    let mut waiting = Vec::new();
    for player in &crowd {
        waiting.push(player.knock(table.router.at.players).await.unwrap());
    }
    until_counts(&manager, 1, 2).await;
    manager.polls([Reply::running(backend.addr())]);

    for session in waiting {
        session.enter().await.unwrap();
    }

    assert_eq!(manager.counts().0, 1);
    let mut arrived: Vec<_> = backend.logins().into_iter().map(|one| one.bytes).collect();
    let mut sent: Vec<_> = crowd.iter().map(Player::login_bytes).collect();
    arrived.sort();
    sent.sort();
    assert_eq!(arrived, sent);
}

/// AMC-21.
#[tokio::test]
async fn a_wake_that_fails_refuses_everybody_and_is_not_tried_again_at_every_click() {
    let (manager, table) = Table::with_manager(Settings::new()).await.unwrap();
    let (_nobody, player) = table.asleep("test1").await.unwrap();
    manager.polls([Reply::state("starting")]);
    let mut waiting = Vec::new();
    for player in crowd(&player) {
        waiting.push(player.knock(table.router.at.players).await.unwrap());
    }
    until_counts(&manager, 1, 2).await;
    manager.polls([Reply::state("crashed")]);

    for session in waiting {
        session.refusal().await.unwrap();
    }
    assert_eq!(manager.counts().0, 1);

    let mut clicks = 0;
    while manager.counts().0 == 1 {
        table.refusal(&player).await.unwrap();
        clicks += 1;
    }
    // The one that ended the pause, and at the very least some that did not.
    assert!(clicks > 5, "{clicks} clicks");
    assert_eq!(manager.counts().0, 2);
}

/// AMC-21.
#[tokio::test]
async fn servers_are_woken_each_for_itself() {
    let (manager, table) = Table::with_manager(Settings::new()).await.unwrap();
    let (nobody, backend) = (
        Asleep::new().unwrap(),
        Backend::start("woken").await.unwrap(),
    );
    let first = table
        .server("first", nobody.addr(), "stopped")
        .await
        .unwrap();
    let second = table
        .server("second", nobody.addr(), "stopped")
        .await
        .unwrap();
    let first = first.knock(table.router.at.players).await.unwrap();
    let second = second.knock(table.router.at.players).await.unwrap();
    until_counts(&manager, 2, 4).await;
    manager.polls([Reply::running(backend.addr())]);

    for session in [first, second] {
        session.enter().await.unwrap();
    }
    let mut starts: Vec<_> = manager.requests().into_iter().map(|one| one.path).collect();
    starts.retain(|path| path.ends_with("/start"));
    starts.sort();
    assert_eq!(starts, ["/servers/first/start", "/servers/second/start"]);
}

/// The retry a wake has after a broken start is still there for the next click only if the hanging
/// start went with the player who left.
#[tokio::test]
async fn a_wake_nobody_waits_for_any_more_is_called_off_before_it_is_accepted() {
    let (manager, table) = Table::with_manager(Settings::new()).await.unwrap();
    let (_nobody, player) = table.asleep("test1").await.unwrap();
    let backend = Backend::start("woken").await.unwrap();
    manager.starts([Reply::hang(), Reply::status(500), Reply::status(202)]);
    let waiting = player.knock(table.router.at.players).await.unwrap();
    until_counts(&manager, 1, 0).await;

    drop(waiting);
    table.says(&[LEFT]).await.unwrap();
    manager.polls([Reply::running(backend.addr())]);

    player.enter(table.router.at.players).await.unwrap();
    assert_eq!(manager.counts(), (3, 1));
    assert_eq!(backend.logins().len(), 1, "nobody joins for who has left");
}

#[tokio::test]
async fn an_accepted_wake_goes_on_without_the_player_who_left() {
    let (manager, table) = Table::with_manager(Settings::new()).await.unwrap();
    let (_nobody, player) = table.asleep("test1").await.unwrap();
    let backend = Backend::start("woken").await.unwrap();
    let waiting = player.knock(table.router.at.players).await.unwrap();
    until_counts(&manager, 1, 1).await;

    drop(waiting);
    table.says(&[LEFT]).await.unwrap();
    let polls = manager.counts().1;
    until_counts(&manager, 1, polls + 3).await;

    let next = player.knock(table.router.at.players).await.unwrap();
    manager.polls([Reply::running(backend.addr())]);
    next.enter().await.unwrap();
    assert_eq!((manager.counts().0, backend.logins().len()), (1, 1));
}

#[tokio::test]
async fn one_who_leaves_takes_the_wake_from_nobody_else() {
    let manager = Manager::start().await;
    let way = ChaosProxy::start(manager.addr()).await.unwrap();
    let url = format!("http://{}", way.addr());
    let settings = Settings::new().waker(&url).flag("--debug");
    let table = Table::start(settings).await.unwrap();
    let (nobody, backend) = (
        Asleep::new().unwrap(),
        Backend::start("woken").await.unwrap(),
    );
    let player = table.server("test1", nobody.addr(), None).await.unwrap();
    manager.starts([Reply::hang(), Reply::status(202)]);
    manager.polls([Reply::running(backend.addr())]);
    let process = &table.router.process;
    let leaves = player.knock(table.router.at.players).await.unwrap();
    let stays = player.knock(table.router.at.players).await.unwrap();
    eventually("two who wait", DEADLINE, async || {
        let log = process.log();
        let waking = log
            .iter()
            .filter(|line| line.contains("dial failed; waking"));
        waking.count() == 2
    })
    .await
    .unwrap();
    until_counts(&manager, 1, 0).await;

    drop(leaves);
    process.line_with(&[LEFT], DEADLINE).await.unwrap();
    // The start of the two breaks and has its retry.
    way.cut().await.unwrap();

    stays.enter().await.unwrap();
    assert_eq!((manager.counts(), backend.logins().len()), ((2, 1), 1));
    let log = process.tail(usize::MAX);
    assert!(!log.contains("wake called off"), "{log}");
}
