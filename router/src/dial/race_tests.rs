use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn address(six: bool, host: u8) -> SocketAddr {
    if six {
        SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(host)], 25565))
    } else {
        SocketAddr::from(([10, 0, 0, host], 25565))
    }
}

/// What becomes of one address: after so many milliseconds it fails, takes the connection, or neither.
#[derive(Debug, Clone, Copy)]
struct Fate {
    fails: Option<u64>,
    reached: Option<u64>,
}

fn fate() -> impl Strategy<Value = Fate> {
    let after = || proptest::option::of(0_u64..4_000);
    (after(), after()).prop_map(|(fails, reached)| Fate { fails, reached })
}

/// Plays a race whose addresses have `fates`, to its end; each start (when, which, how many then run).
fn play(fates: &[Fate], limit: Duration) -> (Vec<(Duration, usize, usize)>, Duration) {
    let begun = Instant::now();
    let mut race = Race::new(fates.len(), begun, begun + limit);
    let (mut now, mut starts, mut running) = (begun, Vec::new(), Vec::<(usize, Instant)>::new());
    loop {
        match race.step(now) {
            Step::Start { index, instead_of } => {
                running.retain(|(other, _)| Some(*other) != instead_of);
                running.push((index, now));
                starts.push((now - begun, index, running.len()));
            }
            Step::Over => return (starts, now - begun),
            Step::Wait(until) => {
                assert!(until > now, "a wait that is none");
                let millis = Duration::from_millis;
                let at = |(index, start): &(usize, Instant), heard: Option<u64>| {
                    heard.map(|after| (*start + millis(after), *index))
                };
                let ends = running.iter().filter_map(|one| at(one, fates[one.0].fails));
                let heard = running
                    .iter()
                    .filter_map(|one| at(one, fates[one.0].reached));
                let end = ends.min().filter(|(when, _)| *when <= until);
                let heard = heard.filter(|(when, _)| *when > now).min();
                match (heard, end) {
                    (Some((when, index)), end)
                        if when <= until && end.is_none_or(|(then, _)| when < then) =>
                    {
                        now = when;
                        race.reached(index, now);
                    }
                    (_, Some((when, index))) => {
                        now = when.max(now);
                        running.retain(|(other, _)| *other != index);
                        race.failed(index, now);
                    }
                    _ => now = until,
                }
            }
        }
    }
}

proptest! {
    /// In order, each once, never too many at once, and never past the limit; whoever is silent holds up the next one
    /// for the delay, and no longer.
    #[test]
    fn every_address_has_its_turn_and_none_holds_the_others_up(
        fates in vec(fate(), 1..=ADDRESSES_MAX),
        limit in 500_u64..20_000,
    ) {
        let limit = Duration::from_millis(limit);
        let (starts, end) = play(&fates, limit);
        prop_assert!(end <= limit, "{end:?}");
        for (place, (_, index, running)) in starts.iter().enumerate() {
            prop_assert_eq!(place, *index);
            prop_assert!(*running <= ATTEMPTS_MAX);
        }
        // The delays add up to half of the limit, and answers to no more than as much again: all have their turn.
        let never_reached = fates.iter().all(|fate| fate.reached.is_none());
        for pair in starts.windows(2) {
            let gap = pair[1].0 - pair[0].0;
            prop_assert!(!never_reached || gap <= NEXT_DELAY, "{gap:?}");
        }
        if never_reached || end < limit {
            prop_assert_eq!(starts.len(), fates.len());
        }
    }

    /// Whoever fails at once costs no time.
    #[test]
    fn who_is_refused_is_followed_at_once(count in 1..=ADDRESSES_MAX) {
        let fates = vec![Fate { fails: Some(0), reached: None }; count];
        let (starts, end) = play(&fates, Duration::from_secs(2));
        prop_assert_eq!(starts.len(), count);
        prop_assert_eq!(end, Duration::ZERO);
    }

    #[test]
    fn families_take_turns_and_keep_their_order(made in vec((any::<bool>(), 0_u8..6), 0..40)) {
        let addresses: Vec<_> = made.iter().map(|(six, host)| address(*six, *host)).collect();
        let turns = in_turn(&addresses);
        prop_assert!(turns.len() <= ADDRESSES_MAX);
        prop_assert_eq!(turns.first(), addresses.first());
        for (place, turn) in turns.iter().enumerate() {
            prop_assert!(!turns[..place].contains(turn));
            // A family follows itself only where the other one has nothing left.
            if place > 0 && turns[place - 1].is_ipv6() == turn.is_ipv6() {
                let other = |address: &&SocketAddr| address.is_ipv6() != turn.is_ipv6();
                let all: std::collections::HashSet<_> = addresses.iter().filter(other).collect();
                let had: std::collections::HashSet<_> = turns[..place].iter().filter(other).collect();
                prop_assert_eq!(all, had);
            }
        }
        for six in [true, false] {
            let mut order = addresses.iter().filter(|address| address.is_ipv6() == six);
            for turn in turns.iter().filter(|address| address.is_ipv6() == six) {
                prop_assert!(order.any(|address| address == turn), "{turn} is out of order");
            }
        }
    }
}

#[test]
fn a_silent_address_is_passed_after_a_quarter_of_a_second() {
    let silent = Fate {
        fails: None,
        reached: None,
    };
    let (starts, end) = play(&[silent; 2], Duration::from_secs(2));
    assert_eq!(starts[1].0, NEXT_DELAY);
    assert_eq!(end, Duration::from_secs(2));

    // One that is refused meanwhile is followed at once.
    let refused = Fate {
        fails: Some(0),
        reached: None,
    };
    let (starts, _) = play(&[silent, refused, silent], Duration::from_secs(2));
    assert_eq!(starts[2].0, NEXT_DELAY);

    let mute = Fate {
        fails: None,
        reached: Some(1),
    };
    let (starts, _) = play(&[mute, silent], Duration::from_secs(10));
    assert_eq!(starts[1].0, ANSWER_DELAY + Duration::from_millis(1));
    // With little time, it is shared.
    let (starts, _) = play(&[mute, silent], Duration::from_secs(2));
    assert_eq!(starts[1].0, Duration::from_millis(501));
}
