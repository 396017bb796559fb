use std::sync::Arc;
use std::task::Poll;

use super::*;
use crate::wake::in_use::{InUse, Using};
use proptest::prelude::*;

fn address(text: &str) -> BackendAddr {
    BackendAddr::parse(text).unwrap()
}

#[tokio::test]
async fn a_server_is_being_stopped_under_all_its_names_until_that_is_done() {
    let (stops, now) = (Stops::default(), Instant::now());
    let (own, other) = (address("own:1"), address("other:1"));
    stops.answered("a.example", &own).await;

    let names = vec!["a.example".into(), "b.example".into()];
    let stopping = stops.begin(own.clone(), names);
    for (server, backend, expected) in [
        ("a.example", &own, true),
        ("b.example", &other, true),
        ("c.example", &own, true),
        ("c.example", &other, false),
    ] {
        let under_way = stops.is_under_way(server, backend, now);
        assert_eq!(under_way, expected, "{server} {backend}");
        let mut over = std::pin::pin!(stops.answered(server, backend));
        let ended = is_over(over.as_mut()).await;
        assert_eq!(ended, !expected, "{server} {backend}");
    }
    let waiting = stops.answered("c.example", &own);
    let (_, ()) = tokio::join!(waiting, async { drop(stopping) });
    assert!(!stops.is_stopped("a.example", &own, now));
}

#[test]
fn after_an_accepted_stop_nobody_is_let_in_without_a_start_for_a_while() {
    let (stops, begin, own) = (Stops::default(), Instant::now(), address("own:1"));
    let stop = || {
        let stopping = stops.begin(own.clone(), vec!["a.example".into()]);
        stopping.accepted(address("where-it-is:1"), begin);
    };
    stop();
    let after = |time| begin + time - Duration::from_millis(1);
    let seen = |now| {
        let by_name = stops.is_stopped("a.example", &address("other:1"), now);
        assert_eq!(by_name, stops.is_stopped("c.example", &own, now));
        (stops.is_under_way("a.example", &own, now), by_name)
    };
    assert_eq!(seen(after(GONE_MAX)), (true, true));
    let leaving = stops.leaving("c.example", &own, begin);
    assert_eq!(leaving, Some(address("where-it-is:1")));
    assert_eq!(seen(begin + GONE_MAX), (false, true));
    assert_eq!(seen(after(STOPPED_MAX)), (false, true));
    assert_eq!(seen(begin + STOPPED_MAX), (false, false));

    stops.started("c.example", &own);
    assert_eq!(seen(begin), (false, false));
    for _ in 0..2 * STOPPED_SERVERS_MAX {
        stop();
    }
    assert_eq!(stops.all.borrow().accepted.len(), STOPPED_SERVERS_MAX);
}

/// Whether it is over at once.
async fn is_over(mut future: std::pin::Pin<&mut impl Future<Output = ()>>) -> bool {
    std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await
}

/// What may happen next, in any order.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// One of the players goes on: says so; looks; is let in or waits for a start; leaves.
    Login(usize),
    /// The stopper goes on: begins; looks who is there, and asks; hears the answer.
    Stop { accepted: bool },
    /// The server has ended, if it was told to.
    Gone,
    /// A wake goes on: asks for the start, if the server is gone or has had its time.
    Start,
    /// So many seconds pass.
    Pass(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0_usize..3).prop_map(Event::Login),
        4 => any::<bool>().prop_map(|accepted| Event::Stop { accepted }),
        1 => Just(Event::Gone),
        2 => Just(Event::Start),
        1 => (1_u64..15).prop_map(Event::Pass),
    ];
    proptest::collection::vec(event, 1..80)
}

/// A server as it is, whatever the router knows of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    Up,
    /// A stop was accepted, and no start since.
    Dying,
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Login {
    Coming,
    /// It waits for a start.
    Waits,
    Plays,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Logins, a stop and a start, step by step in any order; by a webhook, a server-manager or an engine alike,
    /// since all of them accept a stop and are done with it some time later, or at once.
    #[test]
    fn nobody_is_let_into_a_server_on_its_way_down_and_none_is_stopped_under_a_player(events in events()) {
        let (used, stops, own) = (Arc::new(InUse::default()), Stops::default(), address("own:1"));
        let (mut now, mut server) = (Instant::now(), Server::Up);
        let mut logins: [Option<(Login, Using)>; 3] = [None, None, None];
        // The stop that was begun, and whether it was asked for.
        let mut stopping: Option<(Stopping<'_>, bool)> = None;
        for event in events {
            match event {
                Event::Login(player) => {
                    let stopped = stops.is_stopped("a.example", &own, now);
                    logins[player] = match logins[player].take() {
                        None => Some((Login::Coming, used.approach(&own))),
                        // Who dials and finds nobody waits for a start, too.
                        Some((Login::Coming, using)) if stopped || server == Server::Gone => {
                            Some((Login::Waits, using))
                        }
                        Some((Login::Coming, using)) => {
                            prop_assert_eq!(server, Server::Up);
                            Some((Login::Plays, using))
                        }
                        Some((Login::Waits, using)) => Some((Login::Waits, using)),
                        Some((Login::Plays, _)) => None,
                    };
                }
                Event::Stop { accepted } => {
                    stopping = match stopping.take() {
                        None => Some((stops.begin(own.clone(), vec!["a.example".into()]), false)),
                        Some((_, false)) if used.seen(&own).used => None,
                        Some((stop, false)) => Some((stop, true)),
                        Some((stop, true)) if accepted => {
                            let plays = logins.iter().flatten().any(|(login, _)| *login == Login::Plays);
                            prop_assert!(!plays, "stopped under a player");
                            if server == Server::Up {
                                server = Server::Dying;
                            }
                            stop.accepted(own.clone(), now);
                            None
                        }
                        Some((_, true)) => None,
                    };
                }
                Event::Gone if server == Server::Dying => server = Server::Gone,
                Event::Gone => {}
                Event::Start => {
                    let waits = logins.iter().flatten().any(|(login, _)| *login == Login::Waits);
                    let leaving = stops.leaving("a.example", &own, now).is_some();
                    if waits && stopping.is_none() && (!leaving || server == Server::Gone) {
                        server = Server::Up;
                        stops.started("a.example", &own);
                        for (login, _) in logins.iter_mut().flatten() {
                            if *login == Login::Waits {
                                *login = Login::Plays;
                            }
                        }
                    }
                }
                Event::Pass(seconds) => {
                    now += Duration::from_secs(seconds);
                    // A server takes less than that to end.
                    let began = stops.all.borrow().accepted.last().map(|one| one.at);
                    if began.is_some_and(|at| now - at >= STOPPED_MAX) && server == Server::Dying {
                        server = Server::Gone;
                    }
                }
            }
        }
    }
}
