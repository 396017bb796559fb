use proptest::prelude::*;

use std::sync::Arc;

use super::*;
use crate::addr::BackendAddr;
use crate::health::ladder::Status;
use crate::routes::Route;
use crate::routes::history::Kind;
use crate::routes::offer::Provider;

const AT: SystemTime = SystemTime::UNIX_EPOCH;

fn change(name: &str) -> RouteChange {
    RouteChange {
        kind: Kind::Removed,
        provider: Provider::File,
        name: name.into(),
        host: None,
        old: None,
        new: None,
        why: None,
    }
}

fn changes(ring: &mut Ring, count: usize) {
    ring.routes(
        AT,
        count,
        (0..count).map(|number| change(&number.to_string())),
    );
}

fn health(ring: &mut Ring) {
    let backend = BackendAddr::parse("h:1").unwrap();
    let change = HealthChange {
        backend: backend.clone(),
        route: Arc::new(Route::fixed(None, backend, Arc::default())),
        from: Status::Unknown,
        to: Status::Healthy,
        detail: "",
    };
    ring.health(AT, change);
}

fn sync(ring: &mut Ring) {
    ring.other(AT, What::Sync { connected: true });
}

fn ids(page: &Page) -> Vec<u64> {
    page.entries.iter().map(|entry| entry.id).collect()
}

#[test]
fn what_is_after_an_id_comes_in_order_whatever_it_is() {
    let mut ring = Ring::new(100);
    changes(&mut ring, 2);
    sync(&mut ring);
    changes(&mut ring, 1);
    let page = ring.after(100, 10);
    let kinds = page
        .entries
        .iter()
        .map(|entry| matches!(entry.what, What::Sync { .. }));
    assert_eq!(kinds.collect::<Vec<_>>(), [false, false, true, false]);
    assert_eq!((ids(&page), page.missed), (vec![101, 102, 103, 104], false));
    assert_eq!(ids(&ring.after(101, 2)), [102, 103]);
    assert_eq!(ids(&ring.routes_after(101, 9)), [102, 104]);
    assert_eq!(ids(&ring.last_routes(2)), [102, 104]);
    let later = AT + std::time::Duration::from_secs(1);
    ring.routes(later, 1, std::iter::once(change("0")));
    let last = ring.last_changes();
    let of = |name: &str| last.get(&(Provider::File, name.into())).copied();
    assert_eq!((of("0"), of("1"), of("2")), (Some(later), Some(AT), None));
    assert_eq!(
        (ring.after(101, 2).last, ring.after(101, 9).last),
        (103, 105)
    );
    let nothing = ring.after(ring.newest(), 9);
    assert_eq!((ids(&nothing), nothing.missed), (vec![], false));
}

#[test]
fn an_id_of_another_time_is_told_to_have_missed_something() {
    let mut ring = Ring::new(100);
    // Even where there is nothing to tell, it is told only once.
    for id in [0, 99, 101] {
        let page = ring.after(id, 9);
        assert!(page.missed && !ring.after(page.last, 9).missed, "{id}");
    }
    changes(&mut ring, 2);
    for (id, expected) in [
        (99, vec![101, 102]),
        (0, vec![101, 102]),
        (103, vec![101, 102]),
    ] {
        let page = ring.after(id, 9);
        assert_eq!((ids(&page), page.missed), (expected, true), "{id}");
        assert!(ring.routes_after(id, 9).missed);
    }
    assert!(!ring.after(100, 9).missed && !ring.after(102, 9).missed);
}

#[test]
fn no_flood_of_one_kind_makes_another_forgotten() {
    let mut ring = Ring::new(0);
    changes(&mut ring, 1);
    sync(&mut ring);
    for _ in 0..3 * HEALTH_CHANGES_MAX {
        health(&mut ring);
    }
    let page = ring.after(0, usize::MAX);
    assert_eq!(&ids(&page)[..2], [1, 2]);
    assert_eq!(page.entries.len(), 2 + HEALTH_CHANGES_MAX);
    assert!(page.missed && !ring.routes_after(0, 9).missed);
}

#[test]
fn a_huge_change_costs_no_more_than_what_is_kept_of_it() {
    let mut ring = Ring::new(0);
    changes(&mut ring, 3);
    let made = std::cell::Cell::new(0);
    let count = 50 * ROUTE_CHANGES_MAX;
    ring.routes(
        AT,
        count,
        (0..count).map(|_| {
            made.set(made.get() + 1);
            change("x")
        }),
    );
    let newest = u64::try_from(count + 3).unwrap();
    assert_eq!(ring.newest(), newest);
    let kept = u64::try_from(ROUTE_CHANGES_MAX).unwrap();
    let page = ring.after(3, usize::MAX);
    assert!(page.missed);
    assert_eq!(ids(&page), (newest - kept + 1..=newest).collect::<Vec<_>>());
    assert!(!ring.after(newest - kept, 9).missed);
}

proptest! {
    #[test]
    fn a_reader_hears_everything_once_and_in_order_or_that_it_missed_something(
        steps in proptest::collection::vec((0_usize..700, 0..3), 1..12),
        reads in proptest::collection::vec(0_usize..12, 0..6),
    ) {
        let mut ring = Ring::new(7);
        let (mut at, mut heard) = (7, Vec::new());
        let mut missed_any = false;
        for (step, (count, kind)) in steps.iter().enumerate() {
            for _ in 0..*count {
                match kind {
                    0 => changes(&mut ring, 1),
                    1 => health(&mut ring),
                    _ => sync(&mut ring),
                }
            }
            prop_assert!(ring.routes.entries.len() <= ROUTE_CHANGES_MAX);
            prop_assert!(ring.health.entries.len() <= HEALTH_CHANGES_MAX);
            prop_assert!(ring.others.entries.len() <= OTHERS_MAX);
            if reads.contains(&step) {
                loop {
                    let page = ring.after(at, 64);
                    missed_any |= page.missed;
                    at = page.last;
                    heard.extend(ids(&page));
                    if page.entries.is_empty() { break }
                }
                prop_assert_eq!(at, ring.newest());
            }
        }
        prop_assert!(heard.is_sorted_by(|a, b| a < b));
        if !missed_any {
            prop_assert_eq!(&heard, &(8..=at).collect::<Vec<_>>());
        }
    }
}
