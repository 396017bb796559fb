use std::io;
use std::sync::Arc;

use super::*;
use crate::addr::BackendAddr;
use crate::protocol::DecodeError;
use crate::relay::{Relayed, Side};
use crate::wake::permit::Refused;

fn route(host: Option<&str>) -> Route {
    let host = host.map(|host| Host::parse(host).unwrap());
    Route::fixed(host, BackendAddr::parse("h:1").unwrap(), Arc::default())
}

fn joined(end: End) -> Result<Served, ConnectionError> {
    Ok(Served::Joined(Relayed {
        up: 0,
        down: 0,
        client_heard: false,
        client_open: false,
        end,
    }))
}

#[test]
fn what_failed_is_told_in_mc_routers_words_and_what_did_not_is_not() {
    use ConnectionError as Error;
    let io = || io::Error::from(io::ErrorKind::ConnectionReset);
    let backend = BackendAddr::parse("h:1").unwrap();
    let unreachable = Error::Unreachable {
        backend,
        error: io(),
    };
    let throttled = Error::Throttled {
        backend: BackendAddr::parse("h:1").unwrap(),
        kick: b"\x02\x00\x00"[..].into(),
    };
    for (outcome, word) in [
        (joined(End::Closed(Side::Client)), None),
        (joined(End::Failed(Side::Backend, io())), Some("relay")),
        (Ok(Served::Pinged(None)), None),
        (Ok(Served::Transferred), None),
        (Err(GreetError::Silent.into()), None),
        (Err(GreetError::Truncated.into()), Some("read")),
        (Err(GreetError::TimedOut.into()), Some("read_deadline")),
        (
            Err(GreetError::Decode(DecodeError::EmptyFrame).into()),
            Some("unexpected_content"),
        ),
        (Err(Error::UnknownHost), Some("missing_backend")),
        (Err(unreachable), Some("backend_failed")),
        (Err(Error::BackendClosed(io())), Some("backend_failed")),
        (Err(WakeError::Denied(401).into()), Some("wakeup_failed")),
        (
            Err(Error::Told(Box::new(WakeError::Denied(401).into()))),
            Some("wakeup_failed"),
        ),
        (Err(WakeError::Stopping.into()), None),
        (Err(Refused::Denied.into()), None),
        (Err(Error::ClientLeft), None),
        (Err(Error::Full), None),
        (Err(throttled), None),
    ] {
        assert_eq!(
            Failure::of(&outcome).map(Failure::name),
            word,
            "{outcome:?}"
        );
    }
}

#[test]
fn every_failure_is_counted_for_itself() {
    let metrics = Metrics::default();
    metrics.ended(&Err(ConnectionError::UnknownHost));
    let failures = metrics.reading(&Totals::default()).failures;
    for (failure, count) in failures {
        assert_eq!(count, u64::from(failure == Failure::MissingBackend));
    }
}

#[test]
fn sessions_are_counted_by_the_routes_host_while_they_go_on_and_after() {
    let metrics = Metrics::new(true);
    let player = Some(("Steve", Some(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef)));
    let first = metrics.session(&route(Some("a.example")), player);
    drop(metrics.session(&route(Some("a.example")), player));
    let _other = metrics.session(&route(None), None);

    let seen = || {
        let reading = metrics.reading(&Totals::default());
        let hosts = reading.hosts.iter();
        let hosts = hosts.map(|one| (host_label(one).to_owned(), one.begun, one.open));
        (hosts.collect::<Vec<_>>(), reading.players)
    };
    let (hosts, players) = seen();
    assert_eq!(
        hosts,
        [
            (DEFAULT_HOST.to_owned(), 1, 1),
            ("a.example".to_owned(), 2, 1)
        ]
    );
    assert_eq!((players[0].begun, players[0].open), (2, 1));
    assert_eq!(
        player_labels(&players[0]).map(|(_, value)| value),
        ["Steve", "01234567-89ab-cdef-0123-456789abcdef", "a.example"]
    );
    drop(first);
    assert_eq!(seen().1[0].open, 0);
}

#[test]
fn players_have_no_figures_unless_somebody_wants_them() {
    let metrics = Metrics::default();
    let _session = metrics.session(&route(None), Some(("Steve", None)));
    assert!(metrics.reading(&Totals::default()).players.is_empty());
}

#[test]
fn however_many_names_players_make_up_there_are_so_many_figures() {
    let metrics = Metrics::new(true);
    let route = route(None);
    for number in 0..10_000 {
        let name = format!("player{number}");
        drop(metrics.session(&route, Some((&name, None))));
    }
    let reading = metrics.reading(&Totals::default());
    assert!(reading.players.len() <= PLAYERS_MAX + 1);
    let begun = reading.players.iter().map(|one| one.begun);
    assert_eq!(begun.sum::<u64>(), 10_000);
    assert_eq!(reading.hosts.len(), 1);
}
