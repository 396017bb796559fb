use super::*;
use crate::ping::ANY_PROTOCOL;
use crate::wake::simulated::{address, wanted};
use ProbeReply::{Answered, Closed, Mute, NoName, Refused, Silent, Unknown};
use proptest::prelude::*;

fn probing(backend: &str, now: Instant) -> Probing {
    let backend = address(backend);
    Probing::new(
        &Wanted {
            backend,
            ..wanted()
        },
        now,
    )
}

/// Whether the last of `replies` proves that a server came up.
fn proves(replies: &[ProbeReply]) -> bool {
    let now = Instant::now();
    let mut probing = probing("a:1", now);
    let mut proved = false;
    for reply in replies {
        proved = probing.take(now, *reply, false);
    }
    proved
}

#[test]
fn an_answer_counts_only_from_an_address_that_was_seen_without_one() {
    for (replies, expected) in [
        (&[Answered][..], false),
        (&[Answered, Answered], false),
        (&[Refused], false),
        (&[Refused, Answered], true),
        (&[Closed, Answered], true),
        (&[Silent, Answered], true),
        (&[Mute, Answered], true),
        // That of a container that did not run.
        (&[NoName, Answered], true),
        (&[Answered, NoName, Answered], true),
        (&[Answered, Refused, Answered], true),
        (&[Answered, Closed, Answered], true),
        // It may have been too busy for a moment.
        (&[Answered, Silent, Answered], false),
        (&[Answered, Mute, Answered], false),
        // That the router could not ask says nothing about the server.
        (&[Unknown, Answered], false),
    ] {
        assert_eq!(proves(replies), expected, "{replies:?}");
    }
}

#[test]
fn what_was_seen_of_one_address_says_nothing_of_another() {
    let now = Instant::now();
    let mut probing = probing("a:1", now);
    probing.take(now, Refused, false);
    probing.ask();
    probing.aim(&address("b:1"), now);
    assert_eq!(probing.due(), Some(now), "the old probe is given up");
    assert!(!probing.take(now, Answered, false));

    probing.take(now, Refused, false);
    probing.aim(&address("b:1"), now);
    assert!(
        probing.take(now, Answered, false),
        "the same address is no other"
    );
}

#[test]
fn a_dial_that_was_refused_a_moment_ago_is_as_good_as_a_probe() {
    let now = Instant::now();
    let (at, later) = (Some(now), |pause| now + SHUT_FRESH + pause);
    for (shut, begin, expected) in [
        (None, now, false),
        (at, now, true),
        (at, later(Duration::ZERO), true),
        (at, later(Duration::from_millis(1)), false),
    ] {
        let mut probing = Probing::new(&Wanted { shut, ..wanted() }, begin);
        assert_eq!(probing.take(begin, Answered, false), expected, "{shut:?}");
    }
    let shut = Some(now);
    let mut moved = Probing::new(&Wanted { shut, ..wanted() }, now);
    moved.aim(&address("b:1"), now);
    assert!(!moved.take(now, Answered, false), "of another address");
}

/// When probes are sent that all come to `reply` after `took`, within `time`.
fn sent(
    wanted: &Wanted,
    (took, reply): (Duration, ProbeReply),
    time: Duration,
    others_tell: bool,
) -> Vec<Duration> {
    let begin = Instant::now();
    let (mut probing, mut sent) = (Probing::new(wanted, begin), vec![]);
    while let Some(at) = probing.due().filter(|at| *at - begin < time) {
        sent.push(at - begin);
        probing.ask();
        probing.take(at + took, reply, others_tell);
    }
    sent
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_starting_server_hears_of_few_probes_and_of_hardly_any_where_others_will_tell() {
    for (reply, alone, quiet) in [(Closed, 90, 13), (Mute, 250, 250), (Answered, 30, 13)] {
        for (others_tell, most) in [(false, alone), (true, quiet)] {
            let sent = sent(&wanted(), (Duration::ZERO, reply), SECOND * 60, others_tell);
            let per_second = sent.iter().filter(|at| **at < SECOND).count();
            assert!(sent.len() <= most, "{reply:?}, {others_tell}: {sent:?}");
            assert!(per_second <= 5, "{reply:?}: {sent:?}");
        }
    }
    // It is not asked once more while it may still answer.
    let mut probing = Probing::new(&wanted(), Instant::now());
    let limits = [2, 4, 4].map(|limit| SECOND * limit);
    for limit in limits {
        assert_eq!(probing.ask().answer_limit, limit);
        probing.take(Instant::now(), Mute, false);
    }
}

#[test]
fn a_port_that_opens_is_noticed_within_a_twentieth_of_the_time_that_took() {
    let refused = sent(&wanted(), (Duration::ZERO, Refused), SECOND * 30, true);
    for pair in refused.windows(2) {
        let [before, next] = pair else { continue };
        let most = (*before / 20).max(Duration::from_millis(25));
        assert_eq!(*next - *before, most.min(Duration::from_millis(200)));
    }
    // And sooner when it is due.
    let expected = Some(SECOND * 20);
    let due = sent(
        &Wanted {
            expected,
            ..wanted()
        },
        (Duration::ZERO, Refused),
        SECOND * 30,
        true,
    );
    let near = |at: &&Duration| (SECOND * 19..SECOND * 21).contains(*at);
    assert!(due.iter().filter(near).count() > 3 * refused.iter().filter(near).count());
}

#[test]
fn a_dial_without_an_answer_is_given_longer_until_a_player_would_not_get_it_either() {
    let limits = |wanted: &Wanted| {
        let mut probing = Probing::new(wanted, Instant::now());
        let limits = [(); 5].map(|()| {
            let limit = probing.ask().dial_limit;
            probing.take(Instant::now(), Silent, false);
            limit.as_millis()
        });
        probing.aim(&address("other:1"), Instant::now());
        assert_eq!(probing.ask().dial_limit.as_millis(), limits[4]);
        limits
    };
    let limit = |millis| Wanted {
        dial_limit: Duration::from_millis(millis),
        ..wanted()
    };
    assert_eq!(limits(&wanted()), [250, 500, 1_000, 2_000, 2_000]);
    assert_eq!(limits(&limit(600)), [250, 500, 600, 600, 600]);
    assert_eq!(limits(&limit(100)), [100; 5]);
    let latency = Some(Duration::from_millis(700));
    let measured = Wanted {
        latency,
        ..wanted()
    };
    assert_eq!(limits(&measured), [700, 1_400, 2_000, 2_000, 2_000]);
}

#[test]
fn a_server_is_found_however_far_it_is_if_a_player_would_find_it() {
    for (away, within) in [(1, 0), (300, 1_500), (1_500, 6_500), (1_990, 8_000)] {
        let away = Duration::from_millis(away);
        let (mut probing, begin) = (Probing::new(&wanted(), Instant::now()), Instant::now());
        let mut now = begin;
        loop {
            let Probe {
                dial_limit,
                answer_limit,
                ..
            } = probing.ask();
            let (took, reply) = if dial_limit < away {
                (dial_limit, Silent)
            } else if answer_limit < away {
                (away + answer_limit, Mute)
            } else {
                (away * 2, Answered)
            };
            now += took;
            probing.take(now, reply, false);
            if reply == Answered {
                break;
            }
            now = probing.due().unwrap();
        }
        let took = now - begin;
        assert!(took <= away * 2 + Duration::from_millis(within), "{took:?}");
    }
}

#[test]
fn who_gives_no_status_for_one_number_hears_another() {
    for (known, expected) in [
        (None, [ANY_PROTOCOL, 47, 47, ANY_PROTOCOL]),
        (Some(769), [769, ANY_PROTOCOL, ANY_PROTOCOL, 769]),
    ] {
        let protocol = known;
        let mut probing = Probing::new(
            &Wanted {
                protocol,
                ..wanted()
            },
            Instant::now(),
        );
        let mut asked = vec![probing.ask().protocol];
        for reply in [Closed, Refused, Mute] {
            probing.take(Instant::now(), reply, false);
            asked.push(probing.ask().protocol);
        }
        assert_eq!(asked, expected);
    }
}

proptest! {
    #[test]
    fn probes_of_all_wakes_keep_to_the_rate(waits in proptest::collection::vec(0_u64..2_000, 1..300)) {
        let (mut slots, mut now) = (Slots::default(), Instant::now());
        let mut last: Option<Instant> = None;
        for wait in waits {
            now += Duration::from_micros(wait);
            let at = slots.reserve(now);
            prop_assert!(at >= now);
            if let Some(last) = last {
                prop_assert!(at - last >= Duration::from_secs(1) / PROBES_PER_SECOND_MAX);
            }
            last = Some(at);
        }
    }
}
