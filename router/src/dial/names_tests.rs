use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn found() -> Found {
    Ok([SocketAddr::from(([10, 0, 0, 1], 0))].into())
}

fn failed() -> Found {
    Err(Arc::new(io::ErrorKind::NotFound.into()))
}

/// What is to happen: somebody asks for a name, the oldest look-up of a zone ends, or time passes.
#[derive(Debug, Clone)]
enum Act {
    Ask { zone: u8, name: u8 },
    End { zone: u8, found: bool },
    Pass(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..4_u8, 0..60_u8).prop_map(|(zone, name)| Act::Ask { zone, name }),
        2 => (0..4_u8, any::<bool>()).prop_map(|(zone, found)| Act::End { zone, found }),
        1 => (0..800_u64).prop_map(Act::Pass),
    ]
}

fn name_of(zone: u8, name: u8) -> String {
    match zone {
        0 => format!("n{name}"),
        _ => format!("n{name}.z{zone}.test"),
    }
}

proptest! {
    /// A name is looked up once at a time, a zone and all together within their bounds; whoever asks is told, waits for a
    /// look-up under way, or has one begun; and who waits is begun or told to be stuck.
    #[test]
    fn look_ups_are_shared_and_bounded_whatever_happens(acts in vec(act(), 0..400)) {
        let mut names = Names::default();
        let mut now = Instant::now();
        let mut next = 0_u32;
        let mut running: BTreeMap<String, u32> = BTreeMap::new();
        let mut waiting: BTreeMap<String, u32> = BTreeMap::new();
        for act in acts {
            match act {
                Act::Pass(millis) => now += Duration::from_millis(millis),
                Act::Ask { zone, name } => {
                    let name = name_of(zone, name);
                    let look = names.look(&name, now, || { next += 1; next });
                    match look {
                        Look::Begin(told) => prop_assert_eq!(running.insert(name.clone(), told), None),
                        Look::Wait(told) => {
                            let under_way = running.get(&name).or_else(|| waiting.get(&name));
                            prop_assert!(under_way.is_none_or(|other| *other == told));
                            if under_way.is_none() {
                                waiting.insert(name, told);
                            }
                        }
                        Look::Known(_) | Look::Stuck => {
                            prop_assert!(!running.contains_key(&name) && !waiting.contains_key(&name));
                        }
                    }
                }
                Act::End { zone, found: good } => {
                    let of = |name: &&String| super::zone(name) == super::zone(&name_of(zone, 0));
                    let Some(name) = running.keys().find(of).cloned() else { continue };
                    let told = names.ended(&name, if good { found() } else { failed() }, now);
                    prop_assert_eq!(told, running.remove(&name));
                }
            }
            let turn = names.turn(now);
            for name in turn.begin {
                let told = waiting.remove(&*name).unwrap();
                prop_assert_eq!(running.insert(name.into(), told), None);
            }
            for told in turn.stuck {
                let before = waiting.len();
                waiting.retain(|_, waits| *waits != told);
                prop_assert_eq!(waiting.len() + 1, before);
            }
            prop_assert!(running.len() <= LOOKUPS_MAX);
            for zone in 0..4_u8 {
                let of = |name: &&String| super::zone(name) == super::zone(&name_of(zone, 0));
                let max = if zone == 0 { BARE_LOOKUPS_MAX } else { ZONE_LOOKUPS_MAX };
                prop_assert!(running.keys().filter(of).count() <= 2 * max);
            }
        }
        // Whoever still waits is not forgotten: it gets its turn once places come free.
        while let Some(name) = running.keys().next().cloned() {
            names.ended(&name, found(), now);
            running.remove(&name);
            for name in names.turn(now).begin {
                running.insert(name.to_string(), waiting.remove(&*name).unwrap());
            }
        }
        prop_assert!(waiting.is_empty(), "{waiting:?}");
    }

    /// Whatever zones are dead, up to so many names in each, a name elsewhere is looked up at once.
    #[test]
    fn no_dead_zone_starves_another(asked in vec((0..6_u8, 0..200_u8), 0..600)) {
        let mut names = Names::default();
        let now = Instant::now();
        for (zone, name) in asked {
            names.look(&name_of(zone, name), now, || ());
        }
        for later in [Duration::ZERO, SLOW_AFTER, Duration::from_secs(20)] {
            let name = format!("{}.well.test", later.as_millis());
            let look = names.look(&name, now + later, || ());
            prop_assert!(matches!(look, Look::Begin(())), "{look:?}");
        }
    }
}

#[test]
fn who_finds_a_zone_stuck_is_told_so_at_once_and_who_waits_is_after_half_a_second() {
    let mut names = Names::default();
    let now = Instant::now();
    let ask = |names: &mut Names<()>, name: u8, now| names.look(&name_of(1, name), now, || ());
    for name in 0..16 {
        assert!(matches!(ask(&mut names, name, now), Look::Begin(())));
    }
    assert!(matches!(ask(&mut names, 16, now), Look::Wait(())));
    assert_eq!(names.turn(now).stuck.len(), 0);

    let later = now + SLOW_AFTER;
    assert!(matches!(ask(&mut names, 17, later), Look::Stuck));
    // Whoever asks for a name that is being looked up waits for that.
    assert!(matches!(ask(&mut names, 3, later), Look::Wait(())));
    assert_eq!(names.turn(later).stuck.len(), 1);

    // One that answers is not stuck, however many wait.
    names.ended(&name_of(1, 0), found(), later);
    assert!(matches!(ask(&mut names, 18, later), Look::Begin(())));
    assert!(matches!(ask(&mut names, 19, later), Look::Wait(())));
}

#[test]
fn what_was_found_stands_for_seconds_and_what_was_not_for_one() {
    let mut names = Names::default();
    let now = Instant::now();
    let ask = |names: &mut Names<()>, now| names.look("lobby", now, || ());
    let moment = Duration::from_millis(1);

    assert!(matches!(ask(&mut names, now), Look::Begin(())));
    names.ended("lobby", failed(), now);
    let look = ask(&mut names, now + FAILED_FRESH - moment);
    assert!(matches!(look, Look::Known(Err(_))), "{look:?}");

    let now = now + FAILED_FRESH;
    assert!(matches!(ask(&mut names, now), Look::Begin(())));
    names.ended("lobby", found(), now);
    let look = ask(&mut names, now + FOUND_FRESH - moment);
    assert!(matches!(look, Look::Known(Ok(_))), "{look:?}");
    assert!(matches!(
        ask(&mut names, now + FOUND_FRESH),
        Look::Begin(())
    ));
}

#[test]
fn names_that_were_found_before_have_places_of_their_own() {
    let mut names = Names::default();
    let now = Instant::now();
    names.look("n.well.test", now, || ());
    names.ended("n.well.test", found(), now);
    let later = now + FOUND_FRESH;
    for name in 0..1_000 {
        names.look(&format!("n.z{name}.test"), later, || ());
    }
    assert!(matches!(
        names.look("other.well.test", later, || ()),
        Look::Wait(())
    ));
    assert!(matches!(
        names.look("n.well.test", later, || ()),
        Look::Begin(())
    ));
}

#[test]
fn the_table_is_bounded_and_what_failed_goes_first() {
    let mut names = Names::default();
    let mut now = Instant::now();
    let mut look_up = |names: &mut Names<()>, name: &str, good: bool| {
        now += Duration::from_millis(1);
        names.look(name, now, || ());
        names.ended(name, if good { found() } else { failed() }, now);
        assert!(names.names.len() <= NAMES_MAX);
    };
    look_up(&mut names, "good.test", true);
    for name in 0..3 * NAMES_MAX {
        look_up(&mut names, &format!("n{name}.bad.test"), false);
    }
    assert!(names.names.contains_key("good.test"));
    for name in 0..3 * NAMES_MAX {
        look_up(&mut names, &format!("n{name}.good.test"), true);
    }
    assert!(!names.names.contains_key("good.test"));
    assert!(names.zones.is_empty());
}
