//! The whole of it: Postgres, waker-mock, router and players, with faults in between.

use std::time::Duration;

use harness::eventually::eventually;
use harness::player::Player;
use harness::world::{TOKEN, World};
use tokio::task::JoinSet;

const DEADLINE: Duration = Duration::from_secs(20);
const BOOT: Duration = Duration::from_millis(300);

fn posts(world: &World) -> usize {
    world
        .waker
        .requests()
        .iter()
        .filter(|request| request.method == "POST")
        .count()
}

async fn state(world: &World, name: &str) -> String {
    let query = "SELECT state FROM servers WHERE name = $1";
    world.sql.query_one(query, &[&name]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_login_to_a_stopped_server_starts_it_and_gets_in() {
    let world = World::builder()
        .sleeping("survival", BOOT)
        .process()
        .await
        .unwrap();
    let player = Player::new("survival.test");
    let before = player.status(world.at().players).await.unwrap();
    assert!(before.text().contains("asleep"), "{before:?}");
    assert_eq!(posts(&world), 0, "a ping never wakes");

    let text = player.refusal(world.at().players).await.unwrap();

    assert_eq!(
        text,
        waker_mock::game::greeting("survival"),
        "the woken server's own words"
    );
    let keys = world.waker.requests();
    assert!(
        keys.iter()
            .all(|request| request.api_key.as_deref() == Some(TOKEN)),
        "{keys:?}"
    );
    assert_eq!(posts(&world), 1);
    eventually("the row to say running", DEADLINE, async || {
        state(&world, "survival").await == "running"
    })
    .await
    .unwrap();
    let after = player.status(world.at().players).await.unwrap();
    assert!(after.text().contains("survival"), "{after:?}");
}

#[tokio::test]
async fn twenty_players_who_join_one_sleeping_server_start_it_once_and_all_get_in() {
    let world = World::builder()
        .sleeping("survival", BOOT)
        .inside()
        .await
        .unwrap();
    let mut joining = JoinSet::new();
    for _ in 0..20 {
        let players = world.at().players;
        joining.spawn(async move { Player::new("survival.test").refusal(players).await });
    }

    for text in joining.join_all().await {
        assert_eq!(text.unwrap(), waker_mock::game::greeting("survival"));
    }
    assert_eq!(posts(&world), 1);
}

#[tokio::test]
async fn a_dead_server_manager_takes_no_running_server_down() {
    let world = World::builder()
        .sleeping("survival", BOOT)
        .running("lobby")
        .inside()
        .await
        .unwrap();
    world.waker_proxy.refuse().await.unwrap();

    Player::new("lobby.test")
        .enter(world.at().players)
        .await
        .unwrap();
    let text = Player::new("survival.test")
        .refusal(world.at().players)
        .await
        .unwrap();

    assert!(text.contains("could not be started"), "{text}");
}

#[tokio::test]
async fn a_server_manager_that_comes_back_while_players_wait_lets_them_in() {
    let world = World::builder()
        .sleeping("survival", BOOT)
        .inside()
        .await
        .unwrap();
    let session = Player::new("survival.test")
        .knock(world.at().players)
        .await
        .unwrap();
    eventually("the start to be accepted", DEADLINE, async || {
        posts(&world) == 1
    })
    .await
    .unwrap();

    world.waker_proxy.cut().await.unwrap();
    world.waker_proxy.refuse().await.unwrap();
    world
        .waker
        .wait_for("survival", waker_mock::State::Running)
        .await
        .unwrap();
    world.waker_proxy.restore().await.unwrap();

    let text = session.refusal().await.unwrap();
    assert_eq!(text, waker_mock::game::greeting("survival"));
}

#[tokio::test]
async fn a_server_wakes_while_postgres_is_away() {
    let world = World::builder()
        .sleeping("survival", BOOT)
        .inside()
        .await
        .unwrap();
    world.postgres_proxy.cut().await.unwrap();
    world.postgres_proxy.refuse().await.unwrap();

    let text = Player::new("survival.test")
        .refusal(world.at().players)
        .await
        .unwrap();

    assert_eq!(text, waker_mock::game::greeting("survival"));
}
