use super::*;
use proptest::prelude::*;

const HINTS: [StateHint; 6] = [
    StateHint::Running,
    StateHint::Starting,
    StateHint::Stopping,
    StateHint::Stopped,
    StateHint::Failed,
    StateHint::Unknown,
];

/// Plays a story, a second for each signal; failed dials begin when they end.
fn play(hint: StateHint, wakeable: bool, story: &[Signal]) -> State {
    let begin = Instant::now();
    let mut machine = Machine::new(hint, wakeable, begin);
    for (second, signal) in (1..).zip(story) {
        let now = begin + Duration::from_secs(second);
        let signal = match signal {
            Signal::DialFailed { .. } => Signal::DialFailed { begun: now },
            Signal::ProbeFailed { .. } => Signal::ProbeFailed { begun: now },
            signal => *signal,
        };
        machine.hear(signal, now);
    }
    machine.state()
}

fn refused() -> Signal {
    Signal::DialFailed {
        begun: Instant::now(),
    }
}

fn silent() -> Signal {
    Signal::ProbeFailed {
        begun: Instant::now(),
    }
}

#[test]
fn before_anything_is_heard_the_tables_word_counts() {
    for (hint, state) in [
        (StateHint::Running, State::Running),
        (StateHint::Starting, State::Starting),
        (StateHint::Stopping, State::Stopping),
        (StateHint::Stopped, State::Asleep),
        (StateHint::Failed, State::Failed),
        (StateHint::Unknown, State::Unknown),
    ] {
        assert_eq!(play(hint, true, &[]), state);
        assert_eq!(play(hint, false, &[]), state);
        let story = [Signal::Ready, Signal::Table(hint)];
        let from_another = if hint == StateHint::Running {
            StateHint::Stopped
        } else {
            StateHint::Running
        };
        let after = match hint {
            StateHint::Starting | StateHint::Unknown => State::Running,
            _ => state,
        };
        assert_eq!(
            play(from_another, true, &story),
            after,
            "{hint:?} after ready"
        );
    }
}

#[test]
fn a_refused_dial_is_fresher_than_the_table_and_the_table_tells_why() {
    for (hint, wakeable, state) in [
        (StateHint::Running, true, State::Asleep),
        (StateHint::Running, false, State::Unreachable),
        (StateHint::Unknown, true, State::Asleep),
        (StateHint::Unknown, false, State::Unreachable),
        (StateHint::Stopped, false, State::Asleep),
        (StateHint::Starting, true, State::Starting),
        (StateHint::Stopping, true, State::Stopping),
        (StateHint::Failed, true, State::Failed),
    ] {
        assert_eq!(play(hint, wakeable, &[refused()]), state, "{hint:?}");
        let read_again = [refused(), Signal::Table(hint)];
        assert_eq!(
            play(hint, wakeable, &read_again),
            state,
            "{hint:?} read again"
        );
    }
    let news = [refused(), Signal::Table(StateHint::Running)];
    assert_eq!(play(StateHint::Stopped, true, &news), State::Running);
}

#[test]
fn an_open_port_makes_a_server_running_but_not_one_that_starts_or_stops() {
    for (hint, dial, probe) in [
        (StateHint::Running, State::Running, State::Running),
        (StateHint::Stopped, State::Running, State::Running),
        (StateHint::Failed, State::Running, State::Running),
        (StateHint::Unknown, State::Running, State::Running),
        (StateHint::Starting, State::Starting, State::Running),
        (StateHint::Stopping, State::Stopping, State::Stopping),
    ] {
        assert_eq!(play(hint, true, &[Signal::DialOk]), dial, "{hint:?}");
        assert_eq!(play(hint, true, &[Signal::ProbeOk]), probe, "{hint:?}");
        assert_eq!(
            play(hint, true, &[Signal::SessionOpened]),
            probe,
            "{hint:?}"
        );
        assert_eq!(
            play(hint, true, &[refused(), Signal::DialOk]),
            dial,
            "{hint:?}"
        );
    }
}

#[test]
fn a_wake_beats_the_table_and_ends_as_it_ends() {
    for hint in HINTS {
        let begun = [
            Signal::WakeBegun,
            Signal::Table(StateHint::Stopped),
            refused(),
        ];
        assert_eq!(play(hint, true, &begun), State::Starting);
        for (end, state) in [
            (WakeEnd::Ready, State::Running),
            (WakeEnd::Failed, State::Failed),
            (WakeEnd::TimedOut, State::Failed),
            (WakeEnd::Denied, State::Unreachable),
            (WakeEnd::Broken, State::Unreachable),
        ] {
            let end = Signal::WakeEnded(end);
            assert_eq!(play(hint, true, &[Signal::WakeBegun, end]), state);
            let settled = [Signal::WakeAccepted, Signal::WakeSettling, end];
            assert_eq!(play(hint, true, &settled), state);
            let late = [
                Signal::WakeBegun,
                Signal::WakeEnded(WakeEnd::CalledOff),
                end,
            ];
            if state != State::Running {
                assert_eq!(
                    play(hint, true, &late),
                    play(hint, true, &[]),
                    "it was over"
                );
            }
        }
        let called_off = [Signal::WakeBegun, Signal::WakeEnded(WakeEnd::CalledOff)];
        assert_eq!(play(hint, true, &called_off), play(hint, true, &[]));
    }
    assert_eq!(
        play(
            StateHint::Stopped,
            true,
            &[Signal::WakeBegun, Signal::WakeSettling]
        ),
        State::Settling
    );
    assert_eq!(
        play(StateHint::Stopped, true, &[Signal::WakeSettling]),
        State::Asleep
    );
}

#[test]
fn what_was_heard_during_a_wake_counts_once_it_is_called_off() {
    let end = Signal::WakeEnded(WakeEnd::CalledOff);
    for (heard, state) in [
        (Signal::ProbeOk, State::Running),
        (Signal::Table(StateHint::Failed), State::Failed),
        (refused(), State::Asleep),
    ] {
        let story = [Signal::WakeBegun, heard, end];
        assert_eq!(play(StateHint::Stopped, true, &story), state);
    }
}

#[test]
fn a_failed_start_stands_until_something_newer() {
    let failed = Signal::WakeEnded(WakeEnd::Failed);
    let story = |then: Signal| play(StateHint::Stopped, true, &[Signal::WakeBegun, failed, then]);
    for (then, state) in [
        (refused(), State::Failed),
        (silent(), State::Failed),
        (Signal::Table(StateHint::Stopped), State::Failed),
        (Signal::Table(StateHint::Unknown), State::Failed),
        (Signal::Table(StateHint::Running), State::Running),
        (Signal::Table(StateHint::Starting), State::Starting),
        (Signal::ProbeOk, State::Running),
        (Signal::DialOk, State::Running),
        (Signal::WakeBegun, State::Starting),
    ] {
        assert_eq!(story(then), state, "{then:?}");
    }
}

#[test]
fn a_server_that_lags_or_is_played_on_does_not_fall_asleep() {
    for up in [Signal::Ready, Signal::DialOk, Signal::ProbeOk] {
        assert_eq!(
            play(StateHint::Unknown, true, &[up, silent()]),
            State::Running
        );
        assert_eq!(
            play(StateHint::Unknown, true, &[up, refused()]),
            State::Asleep
        );
    }
    assert_eq!(play(StateHint::Unknown, true, &[silent()]), State::Asleep);
    let playing = [Signal::SessionOpened, refused()];
    assert_eq!(play(StateHint::Unknown, true, &playing), State::Running);
    let left = [Signal::SessionOpened, Signal::SessionClosed, refused()];
    assert_eq!(play(StateHint::Unknown, true, &left), State::Asleep);
    let stopped = [Signal::SessionOpened, Signal::Table(StateHint::Stopped)];
    assert_eq!(play(StateHint::Unknown, true, &stopped), State::Asleep);
}

#[test]
fn a_dial_that_began_before_the_news_is_old() {
    let begin = Instant::now();
    let at = |seconds| begin + Duration::from_secs(seconds);
    let dialled = |seconds| Signal::DialFailed { begun: at(seconds) };
    let mut machine = Machine::new(StateHint::Stopped, true, begin);
    machine.hear(Signal::WakeBegun, at(1));
    machine.hear(Signal::Ready, at(10));
    machine.hear(dialled(9), at(11));
    assert_eq!(machine.state(), State::Running);
    machine.hear(dialled(10), at(12));
    assert_eq!((machine.state(), machine.since()), (State::Asleep, at(12)));
}

#[test]
fn what_can_be_woken_is_asleep_and_what_cannot_is_unreachable() {
    let begin = Instant::now();
    let mut machine = Machine::new(StateHint::Running, false, begin);
    machine.hear(Signal::DialFailed { begun: begin }, begin);
    assert_eq!(machine.state(), State::Unreachable);
    machine.set_wakeable(true, begin);
    assert_eq!(machine.state(), State::Asleep);
}

#[test]
fn a_restart_goes_through_starting_again() {
    let restarted = [Signal::Ready, Signal::Table(StateHint::Starting), refused()];
    assert_eq!(play(StateHint::Running, true, &restarted), State::Starting);
}

fn signals() -> impl Strategy<Value = Signal> {
    let hint = proptest::sample::select(&HINTS[..]);
    let end = proptest::sample::select(&WakeEnd::ALL[..]);
    prop_oneof![
        4 => hint.prop_map(Signal::Table),
        2 => Just(Signal::WakeBegun),
        1 => Just(Signal::WakeAccepted),
        1 => Just(Signal::WakeSettling),
        1 => Just(Signal::Ready),
        2 => end.prop_map(Signal::WakeEnded),
        1 => Just(Signal::DialOk),
        2 => Just(refused()),
        1 => Just(Signal::ProbeOk),
        1 => Just(silent()),
        1 => Just(Signal::SessionOpened),
        1 => Just(Signal::SessionClosed),
    ]
}

/// When it comes, in milliseconds after the one before, how long before it began, and what it is.
fn stories() -> impl Strategy<Value = Vec<(u64, u64, Signal)>> {
    proptest::collection::vec((0_u64..3_000, 0_u64..3_000, signals()), 0..40)
}

proptest! {
    #[test]
    fn every_story_keeps_the_promises_of_the_table(
        hint in proptest::sample::select(&HINTS[..]), wakeable: bool, story in stories()
    ) {
        let begin = Instant::now() + Duration::from_secs(60);
        let mut now = begin;
        let mut machine = Machine::new(hint, wakeable, now);
        let mut spent = Spent::default();
        // Since when it is ready, if nothing newer was heard.
        let mut ready: Option<Instant> = None;
        let mut sessions = 0_u32;
        let mut word = hint;
        for (gap, took, signal) in story {
            now += Duration::from_millis(gap);
            let begun = now - Duration::from_millis(took);
            let signal = match signal {
                Signal::DialFailed { .. } => Signal::DialFailed { begun },
                Signal::ProbeFailed { .. } => Signal::ProbeFailed { begun },
                signal => signal,
            };
            let (before, waking) = (machine.clone(), machine.wake.is_some());
            machine.hear(signal, now);

            prop_assert!(machine.since() <= now && machine.since() >= before.since());
            prop_assert_eq!(machine.wake.is_some(), match signal {
                Signal::WakeBegun | Signal::WakeAccepted => true,
                Signal::Ready | Signal::WakeEnded(_) => false,
                _ => waking,
            });
            let on_the_way = matches!(machine.state(), State::Starting | State::Settling);
            prop_assert!(machine.wake.is_none() || on_the_way);
            prop_assert!(machine.wake.is_some() || machine.state() != State::Settling);
            if let Signal::Table(hint) = signal {
                let mut again = machine.clone();
                again.hear(signal, now + Duration::from_secs(1));
                prop_assert_eq!(&again, &machine, "a table that is read again");
                if hint == word {
                    prop_assert_eq!(&machine, &before);
                }
            }
            match signal {
                Signal::Ready | Signal::WakeEnded(WakeEnd::Ready) => ready = Some(now),
                Signal::WakeBegun | Signal::WakeAccepted => ready = None,
                Signal::Table(hint) if hint != word
                    && !matches!(hint, StateHint::Starting | StateHint::Unknown) => ready = None,
                Signal::DialFailed { begun } if ready.is_some_and(|at| begun >= at)
                    && sessions == 0 => ready = None,
                _ => {}
            }
            if ready.is_some() {
                prop_assert_eq!(machine.state(), State::Running, "{:?}", signal);
            }
            match signal {
                Signal::SessionOpened => sessions += 1,
                Signal::SessionClosed => sessions = sessions.saturating_sub(1),
                Signal::Table(hint) => word = hint,
                _ => {}
            }
            let until_now = machine.spent(now);
            prop_assert!(until_now.asleep >= spent.asleep && until_now.running >= spent.running);
            prop_assert!(until_now.starting >= spent.starting);
            spent = until_now;
        }
        let all = spent.asleep + spent.starting + spent.running;
        prop_assert!(all <= now - begin);
    }

    #[test]
    fn time_is_spent_in_the_state_that_is_shown(story in stories()) {
        let mut now = Instant::now() + Duration::from_secs(60);
        let mut machine = Machine::new(StateHint::Stopped, true, now);
        let mut expected = Spent::default();
        for (gap, _, signal) in story {
            let (state, gap) = (machine.state(), Duration::from_millis(gap));
            now += gap;
            machine.hear(signal, now);
            match state {
                State::Asleep => expected.asleep += gap,
                State::Starting | State::Settling => expected.starting += gap,
                State::Running => expected.running += gap,
                _ => {}
            }
        }
        prop_assert_eq!(machine.spent(now), expected);
    }
}
