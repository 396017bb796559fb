use arcstr::ArcStr;

use super::*;
use crate::addr::BackendAddr;
use crate::host::Host;
use std::time::Duration;

const STARTERS: Starters = Starters {
    manager: true,
    webhook: false,
};

fn target(server: &str) -> Target<'_> {
    Target {
        server,
        hint: StateHint::Stopped,
        wakeable: true,
    }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn kinds(listener: &mut broadcast::Receiver<Event>) -> Vec<EventKind> {
    let events = std::iter::from_fn(|| listener.try_recv().ok());
    events.map(|event| event.kind).collect()
}

#[test]
fn a_guard_of_a_held_player_is_small() {
    for size in [
        size_of::<Waiter>(),
        size_of::<Session>(),
        size_of::<Waking>(),
    ] {
        assert!(size <= 32, "{size}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_night_of_one_server_is_told_from_first_to_last() {
    let servers = Servers::new(Arc::default());
    let mut listener = servers.subscribe();
    let server = target("test1");
    servers.table(&server);
    tokio::time::advance(secs(100)).await;

    let waiters = [servers.wait(&server), servers.wait(&server)];
    let wake = servers.wake(&server);
    wake.accepted();
    tokio::time::advance(secs(20)).await;
    wake.progress(0.5);
    let starting = servers.snapshot(&server);
    assert_eq!((starting.state, starting.waiting), (State::Starting, 2));
    assert_eq!(
        (starting.elapsed, starting.eta),
        (Some(secs(20)), Some(secs(20)))
    );
    wake.settling();
    assert_eq!(servers.snapshot(&server).state, State::Settling);
    tokio::time::advance(secs(10)).await;
    wake.end(WakeEnd::Ready);
    let [first, second] = waiters;
    let session = servers.session(&server);
    first.end(HeldEnd::LetIn);
    drop(second);

    let up = servers.snapshot(&server);
    assert_eq!((up.state, up.waiting, up.sessions), (State::Running, 0, 1));
    drop(session);
    tokio::time::advance(secs(60)).await;
    let empty = servers.snapshot(&server);
    assert_eq!(
        empty.keep_until(secs(30)),
        empty.ready_at.map(|at| at + secs(30))
    );

    let totals = servers.totals();
    assert_eq!(
        (totals.wake_count, totals.wake_time, totals.held_now),
        (1, secs(30), 0)
    );
    assert!(totals.held.contains(&(HeldEnd::LetIn, 1)));
    assert!(totals.held.contains(&(HeldEnd::Abandoned, 1)));
    assert_eq!(totals.spent.asleep, secs(100));
    assert_eq!(totals.asleep, [("test1".into(), secs(100))]);
    assert_eq!(servers.memory.starts("test1"), [secs(30)]);
    let state = |from, to| EventKind::State { from, to };
    assert_eq!(
        kinds(&mut listener),
        [
            EventKind::Held,
            EventKind::Held,
            EventKind::WakeBegun,
            state(State::Asleep, State::Starting),
            state(State::Starting, State::Settling),
            EventKind::WakeEnded(WakeEnd::Ready),
            state(State::Settling, State::Running),
            EventKind::HeldEnded(HeldEnd::LetIn),
            EventKind::HeldEnded(HeldEnd::Abandoned),
        ]
    );
}

#[test]
fn a_wake_that_is_dropped_was_called_off_and_one_that_was_replaced_is_not_heard() {
    let servers = Servers::new(Arc::default());
    let server = target("test1");
    drop(servers.wake(&server));
    assert_eq!(servers.snapshot(&server).state, State::Asleep);

    let (old, new) = (servers.wake(&server), servers.wake(&server));
    old.end(WakeEnd::Failed);
    assert_eq!(servers.snapshot(&server).state, State::Starting);
    new.end(WakeEnd::TimedOut);
    let failed = servers.snapshot(&server);
    assert_eq!((failed.state, failed.attempts), (State::Failed, 1));
    assert!(failed.retry_in.is_some());
    let wakes = servers.totals().wakes;
    assert!(wakes.contains(&(WakeEnd::CalledOff, 1)) && wakes.contains(&(WakeEnd::TimedOut, 1)));
    assert!(wakes.contains(&(WakeEnd::Failed, 0)));
}

#[test]
fn asking_of_a_server_remembers_nothing_of_it() {
    let servers = Servers::new(Arc::default());
    assert_eq!(servers.snapshot(&target("a")).state, State::Asleep);
    assert!(servers.totals().asleep.is_empty());
}

#[test]
fn what_was_learnt_from_a_dial_stands_whatever_an_old_route_says() {
    let servers = Servers::new(Arc::default());
    let running = Target {
        hint: StateHint::Running,
        wakeable: false,
        ..target("a")
    };
    let begun = now();
    servers.signal(&running, Signal::DialFailed { begun });
    assert_eq!(servers.snapshot(&running).state, State::Unreachable);
    servers.table(&running);
    assert_eq!(servers.snapshot(&target("a")).state, State::Unreachable);
    servers.table(&target("a"));
    assert_eq!(servers.snapshot(&running).state, State::Asleep);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_longer_routed_is_forgotten_unless_somebody_holds_it() {
    let servers = Servers::new(Arc::default());
    for name in ["routed", "held", "gone"] {
        servers.table(&target(name));
    }
    let waiter = servers.wait(&target("held"));
    tokio::time::advance(secs(10)).await;
    let route = |name: &str| {
        let backend = BackendAddr::parse("h:1").unwrap();
        let host = Host::parse(&format!("{name}.example")).unwrap();
        let route = Route {
            managed: true,
            state: StateHint::Stopped,
            ..Route::fixed(Some(host), backend, Arc::default())
        };
        Arc::new(route.named(name))
    };
    let gone = |names: &[&str]| Changes {
        gone: names.iter().map(|name| route(name)).collect(),
        ..Changes::default()
    };
    servers.changed(&gone(&["held", "gone"]), STARTERS);
    let names = |servers: &Servers| -> Vec<_> {
        let asleep = servers.totals().asleep.into_iter();
        asleep.map(|(server, _)| server.to_string()).collect()
    };
    assert_eq!(names(&servers), ["held", "routed"]);
    assert_eq!(servers.totals().spent.asleep, secs(30), "sums never shrink");
    drop(waiter);
    assert_eq!(names(&servers), ["routed"]);

    let renamed = Changes {
        come: vec![route("renamed")],
        ..gone(&["routed"])
    };
    servers.changed(&renamed, STARTERS);
    assert_eq!(names(&servers), ["renamed"]);
}

#[test]
fn what_was_no_start_is_not_remembered_as_one() {
    let servers = Servers::new(Arc::default());
    servers.wake(&target("ran already")).end(WakeEnd::Ready);
    assert!(servers.memory.starts("ran already").is_empty());
}

#[test]
fn a_route_that_is_replaced_leaves_nothing_of_itself_behind() {
    let servers = Servers::new(Arc::default());
    let route = |backend: &str| {
        let host = Host::parse("a.example").unwrap();
        let backend = BackendAddr::parse(backend).unwrap();
        let route = Route {
            managed: true,
            ..Route::fixed(Some(host), backend, Arc::default())
        };
        Arc::new(route.named("a"))
    };
    let come = |route: &Arc<Route>| Changes {
        come: vec![Arc::clone(route)],
        ..Changes::default()
    };
    let old = route("old:1");
    let references = || ArcStr::strong_count(old.name.parent()).unwrap();
    let own = references();
    servers.changed(&come(&old), STARTERS);
    assert_eq!(references(), own + 1);
    servers.changed(&come(&route("new:1")), STARTERS);
    assert_eq!(references(), own);
}

#[test]
fn over_the_bound_only_those_with_nothing_to_remember_make_room() {
    let servers = Servers::new(Arc::default());
    let shard = |servers: &Servers| {
        let shards = servers.shards.iter();
        shards.map(|shard| lock(shard).known()).sum::<usize>()
    };
    servers.wake(&target("failed")).end(WakeEnd::Failed);
    let waiter = servers.wait(&target("waited for"));
    for number in 0..SERVERS_MAX * 2 {
        servers.signal(&target(&number.to_string()), Signal::ProbeOk);
        assert!(number % 4096 != 0 || shard(&servers) <= SERVERS_MAX);
    }
    assert!(shard(&servers) <= SERVERS_MAX);
    let last = (SERVERS_MAX * 2 - 1).to_string();
    assert!(servers.shard(&last).entry(&last).is_some());
    assert_eq!(servers.snapshot(&target("failed")).attempts, 1);
    assert_eq!(servers.snapshot(&target("waited for")).waiting, 1);
    drop(waiter);
}

#[test]
fn when_nothing_makes_room_only_who_holds_a_server_is_added() {
    let servers = Servers::new(Arc::default());
    for number in 0..SERVERS_MAX + SERVERS_MAX / 8 {
        servers
            .wake(&target(&number.to_string()))
            .end(WakeEnd::Failed);
    }
    servers.signal(&target("new"), Signal::ProbeOk);
    assert!(servers.shard("new").entry("new").is_none());
    assert_eq!(servers.snapshot(&target("new")).state, State::Asleep);
    let waiter = servers.wait(&target("new"));
    assert_eq!(servers.snapshot(&target("new")).waiting, 1);
    drop(waiter);
    assert_eq!(servers.snapshot(&target("new")).waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn rows_cost_no_entry_until_something_happens_and_their_time_counts_all_the_same() {
    let servers = Servers::new(Arc::default());
    servers.table(&target("a"));
    tokio::time::advance(secs(10)).await;
    servers.table(&target("a"));
    assert_eq!(servers.shard("a").known(), 0);
    assert_eq!(servers.totals().spent.asleep, secs(10));
    assert_eq!(servers.snapshot(&target("a")).spent.asleep, secs(10));

    let mut listener = servers.subscribe();
    let running = Target {
        hint: StateHint::Running,
        ..target("a")
    };
    servers.table(&running);
    tokio::time::advance(secs(5)).await;
    assert_eq!(servers.shard("a").known(), 1);
    let (from, to) = (State::Asleep, State::Running);
    assert_eq!(kinds(&mut listener), [EventKind::State { from, to }]);
    let spent = servers.totals().spent;
    assert_eq!((spent.asleep, spent.running), (secs(10), secs(5)));
}

#[test]
fn only_so_many_servers_are_told_by_name() {
    let servers = Servers::new(Arc::default());
    for number in 0..SERVERS_TOLD_MAX + 10 {
        servers.table(&target(&format!("{number:05}")));
    }
    let told = servers.totals().asleep;
    assert_eq!(told.len(), SERVERS_TOLD_MAX);
    assert_eq!(told.last().map(|(server, _)| &**server), Some("00999"));
}
