//! What servers of tests do.

use super::*;
use crate::player::{Packet, Player};

fn player(protocol: i32) -> Player {
    Player {
        protocol,
        ..Player::new("a.example")
    }
}

#[tokio::test]
async fn a_server_that_asks_has_the_answers_byte_by_byte_and_then_echoes() {
    for (protocol, requests) in [(5, 0), (340, 0), (393, 2), (760, 2), (776, 3)] {
        let conduct = Conduct {
            plugin_requests: requests,
            encryption: true,
            ..Conduct::default()
        };
        let backend = Backend::start_as("asks", conduct).await.unwrap();

        let mut session = player(protocol).enter(backend.addr()).await.unwrap();

        assert_eq!(session.echo(b"hello").await.unwrap(), b"hello");
        let replies = backend.records()[0].replies.clone();
        let first: Vec<u8> = (0..3).flat_map(|id| [3, 2, id, 0]).collect();
        let asked = 4 * usize::try_from(requests).unwrap();
        assert_eq!(replies[..asked], first[..asked], "{protocol}");
        // The length of an Encryption Response takes two bytes.
        let length = if protocol == 760 { 264 } else { 263 };
        assert_eq!(replies.len() - asked, length, "{protocol}");
        assert_eq!(session.seen.last().unwrap().packet, Packet::Success);
    }
}

#[tokio::test]
async fn an_answer_that_was_not_asked_for_is_a_kick() {
    let conduct = Conduct {
        plugin_requests: 1,
        ..Conduct::default()
    };
    let backend = Backend::start_as("asks", conduct).await.unwrap();
    let mut session = player(769).knock(backend.addr()).await.unwrap();
    // An answer to somebody else's request comes first.
    session.stream.write_all(&[3, 2, 7, 0]).await.unwrap();
    assert_eq!(session.refusal().await.unwrap(), UNEXPECTED);
}

#[tokio::test]
async fn a_server_that_is_still_starting_kicks_as_often_as_it_is_told() {
    let still_starting = |kicks| Conduct {
        kicks,
        ..Conduct::default()
    };
    let backend = Backend::start_as("slow", still_starting(2)).await.unwrap();
    let player = player(769);
    for _ in 0..2 {
        player.status(backend.addr()).await.unwrap();
        let text = player.refusal(backend.addr()).await.unwrap();
        assert_eq!(text, STILL_STARTING);
    }
    player.enter(backend.addr()).await.unwrap();

    backend.conduct(still_starting(usize::MAX));
    for _ in 0..3 {
        player.refusal(backend.addr()).await.unwrap();
    }
    backend.conduct(Conduct::default());
    player.enter(backend.addr()).await.unwrap();
}

#[tokio::test]
async fn a_server_without_a_status_still_lets_players_in() {
    let conduct = Conduct {
        status: false,
        ..Conduct::default()
    };
    let backend = Asleep::new().unwrap().wake_as("mute", conduct).unwrap();
    assert!(player(769).status(backend.addr()).await.is_err());
    player(769).enter(backend.addr()).await.unwrap();
    let logins: Vec<_> = backend.records().iter().map(|one| one.login).collect();
    assert_eq!(logins, [false, true]);
}
