//! One server's life: stopped → starting → running → stopping → stopped, and crashed.
//!
//! Pure: `now` and the [`Plan`] come in, states come out. Ports, tables and clocks are kept by
//! [`crate::manager`].

use std::fmt;
use std::time::{Duration, Instant};

/// What a server is doing, in the words of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// At rest.
    Stopped,
    /// Was told to start and is not ready yet.
    Starting,
    /// Ready for players.
    Running,
    /// Was told to stop and has not finished.
    Stopping,
    /// Ended by itself; at rest until it is started again.
    Crashed,
}

impl State {
    /// The word for it in JSON and in the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Crashed => "crashed",
        }
    }

    /// Nothing happens until somebody asks for it.
    #[must_use]
    pub fn at_rest(self) -> bool {
        matches!(self, Self::Stopped | Self::Crashed)
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// How long things take, and what goes wrong on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// From the start to running; `None`: it never gets there.
    pub boot: Option<Duration>,
    /// From the stop to stopped.
    pub stop: Duration,
    /// From running to the opening of the port; `None`: it never opens.
    pub port: Option<Duration>,
    /// From the start to a crash, if it crashes.
    pub crash: Option<Duration>,
}

/// What became of a request to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// It was at rest and starts now.
    Begun,
    /// It is stopping, and will start when that is done.
    Queued,
    /// It is starting or running, or will start after stopping, already.
    Already,
}

/// The life of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    state: State,
    since: Instant,
    started: Instant,
    start_again: bool,
}

impl Life {
    /// A stopped server.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            state: State::Stopped,
            since: now,
            started: now,
            start_again: false,
        }
    }

    /// What it is doing, as of the last [`Life::advance`].
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Asks it to start.
    pub fn start(&mut self, now: Instant, plan: &Plan) -> Started {
        self.advance(now, plan);
        match self.state {
            State::Stopped | State::Crashed => {
                self.enter(State::Starting, now);
                Started::Begun
            }
            State::Stopping if !self.start_again => {
                self.start_again = true;
                Started::Queued
            }
            State::Stopping | State::Starting | State::Running => Started::Already,
        }
    }

    /// Asks it to stop; `false` if there was nothing to stop.
    pub fn stop(&mut self, now: Instant, plan: &Plan) -> bool {
        self.advance(now, plan);
        match self.state {
            State::Starting | State::Running => {
                self.enter(State::Stopping, now);
                true
            }
            State::Stopping => std::mem::take(&mut self.start_again),
            State::Stopped | State::Crashed => false,
        }
    }

    /// Ends it at once, for a reason outside the plan.
    pub fn crash(&mut self, now: Instant) {
        self.enter(State::Crashed, now);
    }

    /// Moves on as far as `now` reaches.
    pub fn advance(&mut self, now: Instant, plan: &Plan) {
        // Ends: the only way round the circle takes `start_again`, which is then gone.
        while let Some((at, next)) = self.next(plan) {
            if at > now {
                return;
            }
            self.enter(next, at);
        }
    }

    /// When time alone changes the state next, if it does.
    #[must_use]
    pub fn due(&self, plan: &Plan) -> Option<Instant> {
        self.next(plan).map(|(at, _)| at)
    }

    /// When the port of a running server opens, which may be past; `None` if it is to be closed.
    #[must_use]
    pub fn port_opens(&self, plan: &Plan) -> Option<Instant> {
        match self.state {
            State::Running => self.since.checked_add(plan.port?),
            _ => None,
        }
    }

    /// How far the boot is, in percent; `None` unless it starts and will get there.
    #[must_use]
    pub fn percent(&self, now: Instant, plan: &Plan) -> Option<u8> {
        let (boot, gone) = (plan.boot?, now.saturating_duration_since(self.since));
        let whole = boot.as_millis().max(1);
        let percent = u8::try_from(gone.as_millis() * 100 / whole).unwrap_or(u8::MAX);
        (self.state == State::Starting).then_some(percent.min(100))
    }

    fn enter(&mut self, state: State, at: Instant) {
        if state == State::Starting {
            self.started = at;
        }
        self.start_again = false;
        self.since = at;
        self.state = state;
    }

    fn next(&self, plan: &Plan) -> Option<(Instant, State)> {
        // A delay beyond the end of time is one that never ends.
        let after = |from: Instant, delay: Option<Duration>| from.checked_add(delay?);
        // A plan may change while it is carried out; nothing happens before what has happened.
        let crash = after(self.started, plan.crash).map(|at| (at.max(self.since), State::Crashed));
        match self.state {
            State::Stopped | State::Crashed => None,
            State::Starting => {
                let ready = after(self.since, plan.boot).map(|at| (at, State::Running));
                match (crash, ready) {
                    (Some(crash), Some(ready)) if ready.0 < crash.0 => Some(ready),
                    (crash, ready) => crash.or(ready),
                }
            }
            State::Running => crash,
            State::Stopping => {
                let next = if self.start_again {
                    State::Starting
                } else {
                    State::Stopped
                };
                after(self.since, Some(plan.stop)).map(|at| (at, next))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLAN: Plan = Plan {
        boot: Some(Duration::from_secs(5)),
        stop: Duration::from_secs(1),
        port: Some(Duration::from_secs(2)),
        crash: None,
    };

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_server_goes_round_from_stopped_to_stopped() {
        let begin = Instant::now();
        let mut life = Life::new(begin);

        assert_eq!(life.start(begin, &PLAN), Started::Begun);
        assert_eq!(life.state(), State::Starting);
        assert_eq!(life.due(&PLAN), Some(begin + seconds(5)));
        life.advance(begin + seconds(5), &PLAN);
        assert_eq!(life.state(), State::Running);
        assert_eq!(life.port_opens(&PLAN), Some(begin + seconds(7)));
        assert!(life.stop(begin + seconds(9), &PLAN));
        assert_eq!(life.state(), State::Stopping);
        assert_eq!(life.port_opens(&PLAN), None);
        life.advance(begin + seconds(10), &PLAN);
        assert_eq!(life.state(), State::Stopped);
    }

    #[test]
    fn a_boot_tells_how_far_it_is_and_nothing_else_does() {
        let begin = Instant::now();
        let mut life = Life::new(begin);
        assert_eq!(life.percent(begin, &PLAN), None);
        life.start(begin, &PLAN);
        for (after, percent) in [(0, 0), (1, 20), (4, 80), (9, 100)] {
            let now = begin + seconds(after);
            assert_eq!(life.percent(now, &PLAN), Some(percent));
        }
        let never = Plan { boot: None, ..PLAN };
        assert_eq!(life.percent(begin, &never), None);
        life.advance(begin + seconds(5), &PLAN);
        assert_eq!(life.percent(begin + seconds(5), &PLAN), None);
    }

    #[test]
    fn a_start_while_stopping_is_kept_until_it_has_stopped_and_a_stop_takes_it_back() {
        let begin = Instant::now();
        let mut life = Life::new(begin);
        life.start(begin, &PLAN);
        life.stop(begin + seconds(6), &PLAN);

        assert_eq!(life.start(begin + seconds(6), &PLAN), Started::Queued);
        assert_eq!(life.start(begin + seconds(6), &PLAN), Started::Already);
        let mut taken_back = life.clone();
        assert!(taken_back.stop(begin + seconds(6), &PLAN));
        assert!(!taken_back.stop(begin + seconds(6), &PLAN));
        taken_back.advance(begin + seconds(60), &PLAN);
        life.advance(begin + seconds(60), &PLAN);

        assert_eq!(taken_back.state(), State::Stopped);
        assert_eq!(life.state(), State::Running);
    }

    #[test]
    fn a_crash_ends_a_boot_and_a_run_and_the_next_start_counts_anew() {
        let begin = Instant::now();
        for boot in [None, Some(seconds(1))] {
            let plan = Plan {
                boot,
                crash: Some(seconds(3)),
                ..PLAN
            };
            let mut life = Life::new(begin);
            life.start(begin, &plan);
            life.advance(begin + seconds(3), &plan);

            assert_eq!(life.state(), State::Crashed);
            assert_eq!(life.start(begin + seconds(9), &plan), Started::Begun);
            life.advance(begin + seconds(11), &plan);
            assert_ne!(life.state(), State::Crashed);
        }
    }

    fn delay() -> impl Strategy<Value = Option<Duration>> {
        prop::option::of((0_u64..6).prop_map(Duration::from_secs))
    }

    prop_compose! {
        fn plans()(boot in delay(), stop in 0_u64..4, port in delay(), crash in delay()) -> Plan {
            Plan { boot, stop: seconds(stop), port, crash }
        }
    }

    #[derive(Debug, Clone, Copy)]
    enum Act {
        Start,
        Stop,
        Wait(u64),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            Just(Act::Start),
            Just(Act::Stop),
            (0_u64..8).prop_map(Act::Wait)
        ];
        prop::collection::vec(act, 0..12)
    }

    /// Plays `acts`; shows every state with the time it was entered, passed-by ones too.
    fn play(acts: &[Act], plan: &Plan) -> (Life, Instant, Vec<(State, Instant)>) {
        let mut now = Instant::now();
        let mut life = Life::new(now);
        let mut seen = vec![(State::Stopped, now)];
        for act in acts {
            match act {
                Act::Start => {
                    life.start(now, plan);
                }
                Act::Stop => {
                    life.stop(now, plan);
                }
                Act::Wait(count) => now += seconds(*count),
            }
            seen.push((life.state, life.since));
            // Step by step, since one advance may pass by a state that takes no time.
            while let Some((at, next)) = life.next(plan).filter(|(at, _)| *at <= now) {
                life.enter(next, at);
                seen.push((life.state, life.since));
            }
        }
        seen.dedup();
        (life, now, seen)
    }

    proptest! {
        #[test]
        fn time_in_pieces_is_time_at_once(acts in acts(), plan in plans(), pieces in prop::collection::vec(0_u64..5, 0..6)) {
            let (mut one, mut now, _) = play(&acts, &plan);
            let mut other = one.clone();
            for piece in pieces {
                now += seconds(piece);
                one.advance(now, &plan);
            }
            other.advance(now, &plan);
            prop_assert_eq!(one, other);
        }

        #[test]
        fn what_is_due_lies_ahead_and_rest_has_nothing_due(acts in acts(), plan in plans()) {
            let (mut life, now, _) = play(&acts, &plan);
            life.advance(now, &plan);
            prop_assert!(life.due(&plan).is_none_or(|at| at > now));
            prop_assert!(!life.state().at_rest() || life.due(&plan).is_none());
        }

        #[test]
        fn running_comes_only_from_starting_and_a_whole_boot_later(acts in acts(), plan in plans()) {
            let (_, _, seen) = play(&acts, &plan);
            for pair in seen.windows(2) {
                let ((before, from), (after, at)) = (pair[0], pair[1]);
                prop_assert!(at >= from);
                if after == State::Running && before != State::Running {
                    prop_assert_eq!(before, State::Starting);
                    prop_assert_eq!(Some(at - from), plan.boot);
                }
                if after == State::Stopped {
                    prop_assert_eq!(before, State::Stopping);
                }
                if after == State::Crashed {
                    prop_assert!(plan.crash.is_some());
                }
            }
        }

        #[test]
        fn a_start_begins_exactly_when_at_rest_and_two_never_both_begin(acts in acts(), plan in plans()) {
            let (mut life, now, _) = play(&acts, &plan);
            life.advance(now, &plan);
            let rested = life.state().at_rest();
            prop_assert_eq!(life.start(now, &plan) == Started::Begun, rested);
            // A boot or crash of no time at all may be over before the second start.
            if life.due(&plan).is_none_or(|at| at > now) {
                prop_assert_eq!(life.start(now, &plan), Started::Already);
            }
        }

        #[test]
        fn the_port_is_open_only_while_running(acts in acts(), plan in plans()) {
            let (life, _, _) = play(&acts, &plan);
            prop_assert!(life.port_opens(&plan).is_none() || life.state() == State::Running);
        }
    }
}
