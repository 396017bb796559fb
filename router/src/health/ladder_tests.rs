use std::time::Instant;

use super::*;
use proptest::prelude::*;

/// `tenths` of a second after the begin.
fn at(tenths: u32) -> Moment {
    let begin = Instant::now();
    Moment::new(begin, begin + Duration::from_millis(100) * tenths)
}

fn heard(words: &[(Word, By)]) -> Record {
    let mut record = Record::default();
    for (time, (word, by)) in (0..).zip(words) {
        record.hear(*word, *by, at(time));
    }
    record
}

fn checked(words: &[Word]) -> Record {
    let words: Vec<_> = words.iter().map(|word| (*word, By::Check)).collect();
    heard(&words)
}

fn server(state: State) -> Server {
    Server {
        state,
        since: at(0),
        hint: StateHint::Running,
        wakeable: false,
    }
}

#[test]
fn old_words_are_worth_nothing_and_only_when_they_came_is_left() {
    use Word::{Answered, Refused};
    let (minute, tenths) = (Duration::from_secs(60), 600);
    for (words, known) in [
        (&[Answered][..], Status::Healthy),
        (&[Answered, Refused], Status::Healthy),
        (&[Refused, Refused, Refused], Status::Unhealthy),
    ] {
        let record = checked(words);
        let last = u32::try_from(words.len()).unwrap() - 1;
        for (now, after, status) in [
            (last + tenths - 1, Some(minute), known),
            (last + tenths, Some(minute), Status::Unknown),
            (last + tenths, None, known),
        ] {
            let faded = record.faded(at(now), after);
            assert_eq!(super::status(&faded, &server(State::Running)).0, status);
            assert_eq!(
                (faded.heard(), faded.seen()),
                (record.heard(), record.seen())
            );
        }
        let mut faded = record.faded(at(tenths * 2), Some(minute));
        assert_eq!(faded.detail(), "not heard of lately");
        faded.hear(Answered, By::Check, at(tenths * 2));
        assert_eq!(faded.good_since(), Some(at(tenths * 2)), "well from now on");
    }
}

#[test]
fn one_bad_word_makes_a_suspect_and_three_in_a_row_make_it_unhealthy() {
    use Word::{Answered, Refused};
    let mut record = checked(&[Answered]);
    let mut steps = Vec::new();
    for time in 1..=4 {
        let step = record.hear(Refused, By::Check, at(time));
        steps.push((record.status(), step.suspect, step.from));
    }
    let (good, bad) = (Status::Healthy, Status::Unhealthy);
    assert_eq!(
        steps,
        [
            (good, true, None),
            (good, true, None),
            (bad, false, Some(good)),
            (bad, false, None)
        ]
    );
    assert_eq!(record.good_since(), None);
    let back = record.hear(Answered, By::Check, at(9));
    assert_eq!((record.status(), back.from), (good, Some(bad)));
    assert_eq!((record.good_since(), record.failures()), (Some(at(9)), 0));
    let mended = checked(&[Answered, Refused, Refused, Answered, Refused, Refused]);
    assert_eq!(mended.status(), good);
    assert_eq!(mended.good_since(), Some(at(0)), "it never was unhealthy");
}

#[test]
fn a_backend_never_heard_well_is_unknown_until_it_has_failed_three_times() {
    assert_eq!(Record::default().status(), Status::Unknown);
    assert_eq!(checked(&[Word::Mute; 2]).status(), Status::Unknown);
    assert_eq!(checked(&[Word::Mute; 3]).status(), Status::Unhealthy);
}

#[test]
fn what_could_not_be_asked_or_is_no_server_is_an_error() {
    for word in Word::ALL.into_iter().filter(|word| !word.is_good()) {
        let expected = match word {
            Word::NoStatus | Word::NoName | Word::NoWay => Status::Error,
            _ => Status::Unhealthy,
        };
        assert_eq!(checked(&[word; 3]).status(), expected, "{word:?}");
    }
}

#[test]
fn a_server_that_hides_its_status_is_healthy_once_it_has_let_a_player_in() {
    let hidden = [Word::Closed; 5].map(|word| (word, By::Check));
    assert_eq!(heard(&hidden).status(), Status::Unhealthy);
    let let_in = [(Word::LetIn, By::Player)];
    let mut record = heard(&[&let_in[..], &hidden].concat());
    assert_eq!(record.status(), Status::Healthy);
    record.hear(Word::Answered, By::Check, at(10));
    for time in 11..14 {
        record.hear(Word::Closed, By::Check, at(time));
    }
    assert_eq!(record.status(), Status::Unhealthy, "it does not hide it");
}

#[test]
fn a_server_that_sleeps_or_starts_is_in_order_whatever_its_address_says() {
    let down = checked(&[Word::Refused; 3]);
    for (state, expected) in [
        (State::Asleep, Status::Asleep),
        (State::Stopping, Status::Asleep),
        (State::Starting, Status::Starting),
        (State::Settling, Status::Starting),
    ] {
        for record in [down, Record::default(), checked(&[Word::Answered])] {
            let server = server(state);
            let (status, _) = status(&record, &server);
            assert_eq!(status, expected);
            assert!(status.is_good() && !server.may_be_asked(), "{state:?}");
        }
    }
}

#[test]
fn a_server_that_is_said_not_to_run_is_not_asked_unless_it_was_seen_to() {
    let stopped = |state| Server {
        hint: StateHint::Stopped,
        ..server(state)
    };
    for state in [State::Failed, State::Unreachable] {
        assert!(!stopped(state).may_be_asked() && server(state).may_be_asked());
        let (status, _) = status(&checked(&[Word::Answered]), &stopped(state));
        assert_eq!(status, Status::Unhealthy, "{state:?}");
    }
    assert!(stopped(State::Running).may_be_asked());
}

#[test]
fn a_server_that_failed_is_unhealthy_until_it_answers_after_that() {
    let failed = Server {
        since: at(5),
        ..server(State::Failed)
    };
    let mut record = checked(&[Word::Answered]);
    assert_eq!(status(&record, &failed).0, Status::Unhealthy);
    record.hear(Word::Answered, By::Check, at(6));
    assert_eq!(status(&record, &failed).0, Status::Healthy);
}

#[test]
fn what_was_heard_before_a_server_came_up_is_not_held_against_it() {
    let record = checked(&[Word::Refused; 3]);
    let came = |time| Server {
        since: at(time),
        ..server(State::Running)
    };
    assert_eq!(status(&record, &came(50)).0, Status::Unknown);
    assert_eq!(status(&record, &came(0)).0, Status::Unhealthy);
}

#[test]
fn a_closed_port_that_a_login_would_wake_is_one_that_sleeps() {
    let wakeable = Server {
        wakeable: true,
        hint: StateHint::Unknown,
        ..server(State::Unknown)
    };
    let closed = checked(&[Word::Refused; 3]);
    assert_eq!(status(&closed, &wakeable).0, Status::Asleep);
    for other in [
        Server {
            wakeable: false,
            ..wakeable
        },
        Server {
            hint: StateHint::Running,
            ..wakeable
        },
    ] {
        assert_eq!(status(&closed, &other).0, Status::Unhealthy);
    }
    let garbage = checked(&[Word::NoStatus; 3]);
    assert_eq!(status(&garbage, &wakeable).0, Status::Error);
}

proptest! {
    /// Whatever is heard by whomever.
    #[test]
    fn only_three_failed_checks_in_a_row_condemn_and_one_good_word_absolves(
        words in proptest::collection::vec((0..Word::ALL.len(), any::<bool>(), 0_u32..50), 0..40),
    ) {
        let (mut record, mut time, mut checks, mut healthy_since) = (Record::default(), 0, 0, None);
        for (word, by_check, pause) in words {
            time += pause;
            let (word, now) = (Word::ALL[word], at(time));
            let by = if by_check { By::Check } else { By::Player };
            let failures = record.failures();
            let step = record.hear(word, by, now);
            prop_assert_eq!(record.heard(), Some(now));
            prop_assert!(record.failures() <= failures.saturating_add(1));
            if record.word().is_good() {
                prop_assert_eq!((record.status(), record.failures()), (Status::Healthy, 0));
                prop_assert_eq!(record.seen(), Some(now));
                (checks, healthy_since) = (0, healthy_since.or(Some(now)));
            } else {
                checks += u32::from(by_check);
                if matches!(record.status(), Status::Unhealthy | Status::Error) {
                    // What players met is the first at most.
                    prop_assert!(checks + 1 >= u32::from(FAILURES_MAX));
                    healthy_since = None;
                } else {
                    prop_assert!(checks < u32::from(FAILURES_MAX));
                }
            }
            prop_assert_eq!(record.good_since(), healthy_since);
            prop_assert_eq!(record.status() == Status::Healthy, healthy_since.is_some());
            let bad = record.failures() > 0 && record.failures() < FAILURES_MAX;
            prop_assert!(!step.suspect || bad);
            prop_assert_eq!(by_check && bad, by_check && step.suspect);
        }
    }
}
