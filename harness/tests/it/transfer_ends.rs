//! Waits in the configuration state that do not end in a transfer: what the player is told, and
//! what is counted.

use std::time::Duration;

use automc_router::hold::configuration::{SAID_BYTES_MAX, STATE_CHANGE_MAX};
use automc_router::protocol::dialog::LEAVE;
use automc_router::protocol::{encode_frame, put_string};
use harness::backend::Asleep;
use harness::eventually::eventually;
use harness::manager::Reply;
use harness::player::{Outcome, Player, Session, plain_text};
use harness::table::Table;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::transfer::{
    DEADLINE, TICK, configuring, keep_alives, settings, until_kept, with_manager,
};

/// How a player is told that the wait is over; the player hangs up then.
async fn told(session: &mut Session) -> String {
    let outcome = timeout(DEADLINE, session.wait()).await.unwrap().unwrap();
    session.stream.shutdown().await.unwrap();
    match outcome {
        Outcome::Refused(component) => plain_text(&component),
        other => panic!("{other:?}"),
    }
}

/// Until exactly one player's wait has ended so, and nobody waits.
async fn counted(table: &Table, end: &str) {
    let as_due = async || {
        let metrics = table.router.at.metrics().await?;
        let ended = |outcome: &str| {
            metrics.value(&format!("automc_held_players_total{{outcome={outcome:?}}}"))
        };
        let waiting = metrics.value("automc_held_players")?;
        anyhow::ensure!(waiting == 0, "{waiting} wait");
        for other in ["let_in", "abandoned", "transferred", "forwarded", "kicked"] {
            let count = ended(other)?;
            anyhow::ensure!(count == u64::from(other == end), "{count} {other}");
        }
        Ok::<_, anyhow::Error>(())
    };
    let what = format!("one player {end}");
    eventually(&what, DEADLINE, as_due).await.unwrap();
}

#[tokio::test]
async fn the_leave_button_ends_the_wait_with_its_text_and_the_player_has_left() {
    let (manager, table) = with_manager().await;
    let (_asleep, player) = table.asleep("test1").await.unwrap();
    let player = Player {
        protocol: 771,
        // Told, it is not kept until the router has lost its patience.
        patience: Some(STATE_CHANGE_MAX / 2),
        ..player
    };
    let mut session = configuring(&player, &table).await;
    until_kept(&mut session, 1).await;
    while session.dialogs().is_empty() {
        assert_eq!(session.step().await.unwrap(), None);
    }
    session.click(LEAVE).await.unwrap();

    let text = told(&mut session).await;

    assert_eq!(text, "You stopped waiting.\nJoin again whenever you like.");
    counted(&table, "abandoned").await;
    // The start goes on: it was accepted.
    let asked = manager.counts().1;
    manager.polled(asked + 2, DEADLINE).await.unwrap();
}

#[tokio::test]
async fn a_server_that_fails_is_told_in_configuration_and_in_the_players_language() {
    let (manager, table) = with_manager().await;
    let (_asleep, player) = table.asleep("test1").await.unwrap();
    let player = Player {
        protocol: 766,
        locale: "de_at".to_owned(),
        ..player
    };
    let mut session = configuring(&player, &table).await;
    until_kept(&mut session, 2).await;
    manager.polls([Reply::state("failed")]);

    let text = told(&mut session).await;

    let (first, second) = text.split_once('\n').unwrap();
    assert_eq!(first, "Dieser Server konnte nicht gestartet werden.");
    assert!(second.starts_with("Bitte versuche es in "), "{text}");
    counted(&table, "kicked").await;
}

#[tokio::test]
async fn a_router_that_stops_says_so_in_configuration() {
    let (_manager, table) = with_manager().await;
    let (_asleep, player) = table.asleep("test1").await.unwrap();
    let mut session = configuring(&player, &table).await;
    until_kept(&mut session, 1).await;
    table.router.process.signal("TERM").await.unwrap();

    let text = told(&mut session).await;

    assert!(text.contains("is being restarted"), "{text}");
    let line = ["closed without a session", "end=\"stopping\""];
    table.says(&line).await.unwrap();
}

#[tokio::test]
async fn the_longest_hold_ends_with_the_word_to_come_back() {
    let (manager, table) = with_manager().await;
    let asleep = Asleep::new().unwrap();
    let limit = [("hold_max", "1s"), ("join_methods", "transfer")];
    let player = table.server_with("test1", asleep.addr(), "stopped", &limit);
    let mut session = configuring(&player.await.unwrap(), &table).await;

    let text = told(&mut session).await;

    assert!(text.starts_with("This server is starting."), "{text}");
    assert!(keep_alives(&session) >= 4, "{:?}", session.seen);
    counted(&table, "kicked").await;
    let asked = manager.counts().1;
    manager.polled(asked + 2, DEADLINE).await.unwrap();
}

/// The one that answers is the proof that it is not the time alone.
#[tokio::test]
async fn a_client_that_says_nothing_for_three_ticks_is_given_up_and_no_other_is() {
    let (_manager, table) = with_manager().await;
    let (_asleep, player) = table.asleep("test1").await.unwrap();
    let other = Player {
        name: "Alex".to_owned(),
        ..player.clone()
    };
    let mut silent = configuring(&player, &table).await;
    let mut answers = configuring(&other, &table).await;
    let asked = tokio::spawn(async move {
        until_kept(&mut answers, 8).await;
        answers
    });

    let mut said = Vec::new();
    let end = silent.stream.read_to_end(&mut said);
    // A reset is an end, too.
    drop(timeout(DEADLINE, end).await.unwrap());

    let answers = asked.await.unwrap();
    let metrics = table.router.at.metrics().await.unwrap();
    assert_eq!(metrics.value("automc_held_players").unwrap(), 1);
    drop(answers);
    // Keep-alives at a twentieth, and after one and two ticks; by the third it is given up.
    let keep_alive = encode_frame(4, &1_i64.to_be_bytes()).len();
    assert!(said.len() >= 3 * keep_alive, "{} bytes", said.len());
}

#[tokio::test]
async fn a_client_that_floods_is_ended_and_one_that_talks_is_not() {
    let (_manager, table) = with_manager().await;
    let (_asleep, player) = table.asleep("test1").await.unwrap();
    let mut message = Vec::new();
    put_string("some:mod", &mut message);
    message.resize(30_000, 0);
    let frame = encode_frame(2, &message);
    let mut session = configuring(&player, &table).await;
    for _ in 0..10 {
        session.stream.write_all(&frame).await.unwrap();
    }
    let kept = keep_alives(&session) + 3;
    until_kept(&mut session, kept).await;

    let flood = async {
        for _ in 0..SAID_BYTES_MAX / frame.len() {
            session.stream.write_all(&frame).await?;
        }
        // Nothing more is sent: only an end is an end.
        session.stream.read_to_end(&mut Vec::new()).await
    };
    drop(timeout(DEADLINE, flood).await.unwrap());

    counted(&table, "abandoned").await;
    assert!(DEADLINE > TICK * 10);
}

/// Long before it would have been given up for its silence.
#[tokio::test]
async fn a_client_that_goes_is_noticed_at_once_and_its_place_is_free() {
    let (manager, table) = Table::with_manager(settings("10s")).await.unwrap();
    let (_asleep, player) = table.asleep("test1").await.unwrap();
    let mut session = configuring(&player, &table).await;
    manager.polled(1, DEADLINE).await.unwrap();
    // The next one is ten seconds away, and would tell, too.
    until_kept(&mut session, 1).await;
    drop(session);
    let line = ["closed without a session", "end=\"client_left\""];
    let process = &table.router.process;
    process
        .line_with(&line, Duration::from_secs(5))
        .await
        .unwrap();
    counted(&table, "abandoned").await;
}
