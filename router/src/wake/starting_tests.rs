use super::*;
use crate::wake::machine::{Limits, Sign};
use crate::wake::probing::ProbeReply;
use crate::wake::reply::PollReply;
use crate::wake::simulated::*;

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn broke(reason: &str) -> StartReply {
    StartReply::Broken(reason.to_owned())
}

/// A start that is answered after so long, beside polls of this kind.
fn world(starts: &[(u64, StartReply)], poll: PollReply) -> World {
    let starts = starts.iter().cloned();
    World {
        starts: starts.map(|(after, reply)| (secs(after), reply)).collect(),
        polls: vec![at_once(poll.into())],
        ..World::default()
    }
}

#[test]
fn a_start_that_takes_a_minute_is_asked_for_once_and_polls_run_beside_it() {
    let slow = World {
        polls: std::iter::repeat_n(at_once(PollReply::NotYet.into()), 10)
            .chain([at_once(running(POLLED))])
            .collect(),
        probes: vec![at_once(ProbeReply::Answered)],
        ..world(&[(60, StartReply::Accepted)], PollReply::NotYet)
    };

    let story = slow.play();

    assert_eq!((story.starts.len(), story.polls[0].0), (1, UNDER_WAY_AFTER));
    let ready = story.ready();
    assert_eq!((&ready.address, ready.sign), (&address(POLLED), Sign::Poll));
    assert!(story.end < secs(60), "{:?}", story.end);
}

#[test]
fn its_late_acceptance_and_its_port_are_signs_as_well() {
    let slow = world(&[(60, StartReply::Accepted)], PollReply::NotYet);
    let boot = std::iter::repeat_n(at_once(ProbeReply::Refused), 20);
    let by_port = World {
        probes: boot.chain([at_once(ProbeReply::Answered)]).collect(),
        ..slow.clone()
    };
    assert_eq!(by_port.play().ready().sign, Sign::Probe);
    let unpolled = World {
        limits: Limits {
            poll_interval: None,
            ..LIMITS
        },
        probes: vec![at_once(ProbeReply::Answered)],
        ..slow
    };
    let story = unpolled.play();
    assert!(
        story.end >= secs(60) && story.end < secs(62),
        "{:?}",
        story.end
    );
    assert_eq!((story.starts.len(), story.ready().sign), (1, Sign::Probe));
}

#[test]
fn one_that_is_never_answered_ends_with_the_wake_and_is_named() {
    let story = world(&[(3600, StartReply::Accepted)], PollReply::NotYet).play();
    assert_eq!((story.starts.len(), story.end), (1, LIMITS.timeout));
    let error = story.outcome().as_ref().unwrap_err().to_string();
    assert!(
        error.ends_with("(start: no answer within 1m30s)"),
        "{error}"
    );
}

#[test]
fn one_without_a_connection_is_not_under_way() {
    let dead = World {
        connects: false,
        ..world(&[(5, broke("refused"))], PollReply::NotYet)
    };
    let story = dead.play();
    assert_eq!((story.starts.len(), story.polls.len()), (2, 0));
    assert_eq!(
        story.outcome(),
        &Err(WakeError::Broken("refused".to_owned()))
    );
}

#[test]
fn one_that_breaks_on_its_way_is_asked_for_once_more_and_then_left_to_other_signs_while_polls_answer()
 {
    let lost = [(30, broke("504")), (20, broke("reset"))];
    let story = world(&lost, PollReply::NotYet).play();
    assert_eq!((story.starts.len(), story.end), (2, LIMITS.timeout));

    let mut up = world(&lost, PollReply::NotYet);
    up.polls = std::iter::repeat_n(at_once(PollReply::NotYet.into()), 40)
        .chain([at_once(running(POLLED))])
        .collect();
    up.probes = vec![at_once(ProbeReply::Answered)];
    let story = up.play();
    assert!(story.end > secs(51), "{:?}", story.end);
    assert_eq!(story.ready().sign, Sign::Poll);

    let deaf = world(&lost, PollReply::Broken("dead".to_owned())).play();
    assert_eq!(
        (deaf.starts.len(), deaf.end),
        (2, secs(50) + START_RETRY_PAUSE)
    );
    assert_eq!(deaf.outcome(), &Err(WakeError::Broken("reset".to_owned())));
}

#[test]
fn what_polls_say_of_the_time_before_the_start_ends_nothing() {
    for last in [
        PollReply::Failed("crashed".to_owned()),
        PollReply::Denied(404),
    ] {
        let story = world(&[(60, StartReply::Accepted)], last.clone()).play();
        assert!(story.end >= secs(60), "{last:?}: {:?}", story.end);
        assert!(story.outcome().is_err());

        let mut after = world(&[(60, StartReply::Accepted)], last);
        after.polls.insert(0, at_once(PollReply::NotYet.into()));
        let story = after.play();
        assert_eq!(
            story.polls.len(),
            2,
            "it was on its way, and is not any more"
        );
        assert!(story.end < secs(2));
    }
}

#[test]
fn a_redirect_elsewhere_is_refused_at_once_in_its_own_words() {
    let reply = StartReply::Redirected("it answered 307, a redirect to another host".to_owned());
    let story = world(&[(0, reply)], PollReply::NotYet).play();
    assert_eq!((story.starts.len(), story.end), (1, Duration::ZERO));
    let error = story.outcome().as_ref().unwrap_err().to_string();
    assert!(error.contains("a redirect to another host"), "{error}");
}
