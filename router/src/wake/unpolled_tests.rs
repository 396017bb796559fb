use super::tests::worlds;
use super::*;
use crate::wake::simulated::*;
use crate::wake::wanted::STATUS_WINDOW;
use proptest::prelude::*;

const TIMEOUT: Duration = Duration::from_secs(60);

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A start that is answered after five seconds, and nobody who could be polled.
fn world(start: StartReply, probes: &[ProbeReply]) -> World {
    World {
        limits: Limits {
            poll_interval: None,
            timeout: TIMEOUT,
        },
        starts: vec![(secs(5), start)],
        probes: probes.iter().copied().map(at_once).collect(),
        ..World::default()
    }
}

#[test]
fn once_the_start_was_accepted_any_answer_of_the_port_will_do() {
    let story = world(StartReply::Accepted, &[ProbeReply::Answered]).play();
    let ready = story.ready();
    assert_eq!((&ready.address, ready.sign), (&address(ROW), Sign::Probe));
    assert!(
        story.end >= secs(5),
        "not before: it may be another server's"
    );
    assert!(story.end <= secs(5) + secs(1));
    assert_eq!((story.starts.len(), story.polls.len()), (1, 0));
}

#[test]
fn the_address_of_the_answer_is_probed_and_is_the_outcome() {
    let start = StartReply::AcceptedAt(address(POLLED));
    let boot = std::iter::repeat_n(ProbeReply::Refused, 100);
    let boot: Vec<_> = boot.chain([ProbeReply::Answered]).collect();
    let story = world(start, &boot).play();
    assert_eq!(story.ready().address, address(POLLED));
    assert_eq!(story.probes.last().unwrap().1, address(POLLED));
}

#[test]
fn a_port_that_stays_open_without_a_status_is_ready_after_the_window() {
    for reply in [ProbeReply::Closed, ProbeReply::Mute] {
        let mut world = world(StartReply::Accepted, &[reply]);
        let story = world.play();
        story.ready();
        assert!(
            story.end >= secs(5) + READY_WINDOW && story.end < secs(11),
            "{reply:?}"
        );
        // It is known to show one when it runs.
        world.wanted.shows_status = true;
        let end = world.play().end;
        assert!(end >= secs(5) + STATUS_WINDOW && end <= secs(6) + STATUS_WINDOW);
    }
}

#[test]
fn the_time_to_start_counts_from_the_accepted_start() {
    let story = world(StartReply::Accepted, &[ProbeReply::Refused]).play();
    assert_eq!(story.end, secs(5) + TIMEOUT);
    let error = story.outcome().as_ref().unwrap_err();
    assert!(matches!(error, WakeError::TimedOut { .. }), "{error}");
    let story = world(StartReply::Denied(404), &[ProbeReply::Refused]).play();
    assert_eq!((story.end, story.starts.len()), (secs(5), 1));
}

proptest! {
    #[test]
    fn without_polls_every_wake_ends_too_and_only_a_port_lets_players_in(world in worlds()) {
        let timeout = world.limits.timeout;
        let limits = Limits { poll_interval: None, timeout };
        let story = World { limits, ..world }.play();
        prop_assert!(story.polls.is_empty());
        prop_assert!(story.end <= timeout * 2 + READY_WINDOW);
        if let Ok(ready) = story.outcome() {
            let open = story.seen.iter().any(|(_, reply)| reply.is_open());
            let unknown = story.seen.iter().any(|(_, reply)| *reply == ProbeReply::Unknown);
            prop_assert!(open || unknown && ready.sign == Sign::Table, "{ready:?}");
        }
    }
}
