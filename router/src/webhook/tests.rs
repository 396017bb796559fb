use super::visit::Visit;
use super::*;
use crate::addr::BackendAddr;
use crate::error::ConnectionError;
use crate::protocol::greeting::Greeting;
use crate::protocol::handshake::{Handshake, Intent};
use crate::relay::counters::Totals;
use crate::routes::offer::tests::listed;
use proptest::prelude::*;

const BOTH: [EventKind; 2] = [EventKind::Connect, EventKind::Disconnect];

fn notifier(wanted: Vec<EventKind>, users: bool) -> (Arc<Notifier>, mpsc::Receiver<Event>) {
    Notifier::new(wanted, users, Names::default(), &Arc::default())
}

fn login() -> Greeting {
    let handshake = Handshake {
        protocol: 769,
        address: "Play.Example.\0FML2\0".to_owned(),
        port: 25565,
        intent: Intent::Login,
    };
    Greeting::Login {
        handshake,
        player: "Steve".to_owned(),
        uuid: None,
    }
}

fn visit(notifier: &Arc<Notifier>, port: u16) -> Visit {
    Visit::new(notifier, ([127, 0, 0, 1], port).into(), &login())
}

fn backend() -> BackendAddr {
    BackendAddr::parse("backend:25565").unwrap()
}

fn drain(queue: &mut mpsc::Receiver<Event>) -> Vec<Event> {
    std::iter::from_fn(|| queue.try_recv().ok()).collect()
}

#[test]
fn a_full_queue_loses_those_who_come_and_none_who_leave() {
    let (notifier, mut queue) = notifier(BOTH.to_vec(), false);
    let mut visits: Vec<_> = (0..9_000).map(|port| visit(&notifier, port)).collect();
    for visit in &mut visits {
        visit.reached(&backend());
    }
    assert_eq!(queue.len(), QUEUE_MAX - KEPT_FOR_DISCONNECTS);
    drop(visits);
    assert_eq!(queue.len(), QUEUE_MAX);

    let events = drain(&mut queue);
    let (came, left) = events.split_at(QUEUE_MAX / 2);
    let ports = |events: &[Event]| -> Vec<_> { events.iter().map(|one| one.client).collect() };
    assert!(came.iter().all(|one| one.kind == EventKind::Connect));
    assert!(left.iter().all(|one| one.kind == EventKind::Disconnect));
    assert_eq!(
        ports(came),
        ports(left),
        "whoever came has left, and nobody else"
    );
    let lost = notifier.lost.lock().unwrap();
    let counted = lost.metrics.reading(&Totals::default()).events_lost;
    assert_eq!(counted, 9_000 - 2_048);
    assert_eq!(
        (&*came[0].server, came[0].backend.clone()),
        ("play.example", Some(backend().shared()))
    );
    let player = came[0].player.clone().unwrap();
    assert_eq!((player.name.as_str(), player.uuid), ("Steve", 0));
}

#[test]
fn who_reached_none_of_several_backends_is_told_with_all_of_them() {
    let (notifier, mut queue) = notifier(BOTH.to_vec(), false);
    let route = listed("play", "play.example", "a:1, b:2 weight=3");
    let unreachable = ConnectionError::Unreachable {
        backend: BackendAddr::parse("b:2").unwrap(),
        error: std::io::ErrorKind::ConnectionRefused.into(),
    };
    visit(&notifier, 1).ended(Some(&route), &Err(unreachable));
    let told = drain(&mut queue);
    let [failed] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(failed.backend.as_deref(), Some("a:1, b:2 weight=3"));
}

#[test]
fn only_what_is_wanted_is_told() {
    let (notifier, mut queue) = notifier(vec![EventKind::Disconnect], true);
    let mut player = visit(&notifier, 1);
    player.reached(&backend());
    drop(player);
    let ping = Greeting::Legacy(crate::protocol::legacy::LegacyPing::Beta);
    let mut ping = Visit::new(&notifier, ([127, 0, 0, 1], 2).into(), &ping);
    ping.reached(&backend());
    drop(ping);
    let told = drain(&mut queue);
    let [left] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(left.kind, EventKind::Disconnect);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// However full the queue is, and however much of it is sent between.
    #[test]
    fn nobody_is_told_to_leave_who_was_not_told_to_have_come(
        steps in proptest::collection::vec((0_usize..4, 1_u16..1_500), 1..30)
    ) {
        let (notifier, mut queue) = notifier(BOTH.to_vec(), false);
        let (mut inside, mut told, mut next) = (Vec::new(), Vec::new(), 0_u16);
        for (step, count) in steps {
            match step {
                0 | 1 => for _ in 0..count {
                    let mut visit = visit(&notifier, next);
                    visit.reached(&backend());
                    inside.push(visit);
                    next = next.wrapping_add(1);
                },
                2 => drop(inside.drain(..inside.len().min(usize::from(count)))),
                _ => told.extend((0..count).map_while(|_| queue.try_recv().ok())),
            }
            prop_assert!(queue.len() <= QUEUE_MAX);
        }
        drop(inside);
        told.extend(drain(&mut queue));
        let mut here = std::collections::HashSet::new();
        for event in told {
            match event.kind {
                EventKind::Connect => prop_assert!(here.insert(event.client)),
                _ => prop_assert!(here.remove(&event.client)),
            }
        }
    }
}
