//! Everything that is known of one server, and what there is to say of it.
//!
//! Pure.

use std::time::{Duration, Instant};

use super::history::History;
use super::lease::{self, Lease};
use super::retry::Retry;
use super::state::{Machine, Signal, Spent, State, WakeEnd};
use crate::routes::StateHint;
use crate::texts::Fields;

/// A change of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The state before.
    pub from: State,
    /// The state since.
    pub to: State,
}

/// What is known of one server.
#[derive(Debug, Clone)]
pub struct Entry {
    machine: Machine,
    lease: Lease,
    history: History,
    /// There once a start failed, until one does not.
    retry: Option<Box<Retry>>,
    wake: Option<Box<Wake>>,
    wakes: u32,
    routed: bool,
}

/// The wake that is under way.
#[derive(Debug, Clone, Copy)]
struct Wake {
    number: u32,
    begun: Instant,
    progress: Option<f64>,
}

/// What there is to say of a server at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Snapshot {
    /// Its state.
    pub state: State,
    /// Since when it is in this state.
    pub since: Instant,
    /// Players who wait for it.
    pub waiting: u32,
    /// Players' sessions with it.
    pub sessions: u32,
    /// Starts that failed in a row.
    pub attempts: u32,
    /// Time until the next start may be tried; `None` when it may be now.
    pub retry_in: Option<Duration>,
    /// Time until it is ready: while it starts, what is left; while it does not run, what a
    /// start would take. `None` when there is nothing to go by, and when it runs.
    pub eta: Option<Duration>,
    /// Time since its start began, while it starts.
    pub elapsed: Option<Duration>,
    /// How far the start is, 0 to 1, if the server-manager says so.
    pub progress: Option<f64>,
    /// Since when it runs, if it does.
    pub ready_at: Option<Instant>,
    /// When somebody last played there or waited for it; the moment itself while somebody does.
    pub last_used: Option<Instant>,
    /// Time spent in states since it was first heard of.
    pub spent: Spent,
}

impl Snapshot {
    /// Until when it should be kept up at least; `None` when it does not run.
    #[must_use]
    pub fn keep_until(&self, min_online: Duration) -> Option<Instant> {
        let ready_at = self.ready_at?;
        Some(lease::keep_until(ready_at, self.last_used, min_online))
    }

    /// What its texts may name.
    #[must_use]
    pub fn fields<'a>(&self, server: Option<&'a str>) -> Fields<'a> {
        Fields {
            server,
            eta: self.eta,
            elapsed: self.elapsed,
            waiting: usize::try_from(self.waiting).ok(),
            attempts: Some(self.attempts),
            retry: self.retry_in,
            progress: self.progress,
        }
    }
}

impl Entry {
    /// A server of which only the table's word is known.
    #[must_use]
    pub fn new(hint: StateHint, wakeable: bool, now: Instant) -> Self {
        Self {
            machine: Machine::new(hint, wakeable, now),
            lease: Lease::default(),
            history: History::default(),
            retry: None,
            wake: None,
            wakes: 0,
            routed: true,
        }
    }

    /// Says whether anything can wake it.
    pub fn set_wakeable(&mut self, wakeable: bool, now: Instant) -> Option<Change> {
        self.changed(|entry| entry.machine.set_wakeable(wakeable, now))
    }

    /// Takes a signal that is not about a wake; those have methods of their own.
    pub fn hear(&mut self, signal: Signal, now: Instant) -> Option<Change> {
        match signal {
            // Only what players see proves that a start is no longer needed.
            Signal::ProbeOk => self.retry = None,
            // Told of changes only, so it has come up in spite of all.
            Signal::Table(StateHint::Running) => self.retry = None,
            Signal::SessionOpened => self.lease.play(),
            Signal::SessionClosed => self.lease.play_over(now),
            _ => {}
        }
        self.changed(|entry| entry.machine.hear(signal, now))
    }

    /// A wake begins; one that is under way is no longer heard. Comes with the wake's number.
    pub fn begin_wake(&mut self, now: Instant) -> (u32, Option<Change>) {
        self.wakes = self.wakes.wrapping_add(1);
        self.wake = Some(Box::new(Wake {
            number: self.wakes,
            begun: now,
            progress: None,
        }));
        let change = self.changed(|entry| entry.machine.hear(Signal::WakeBegun, now));
        (self.wakes, change)
    }

    /// The wake of this number goes on: accepted, or settling.
    pub fn go_on(&mut self, number: u32, signal: Signal, now: Instant) -> Option<Change> {
        self.wake_of(number)?;
        self.changed(|entry| entry.machine.hear(signal, now))
    }

    /// The wake of this number is so far, 0 to 1.
    pub fn set_progress(&mut self, number: u32, progress: f64) {
        if let Some(wake) = self.wake_of(number) {
            wake.progress = progress.is_finite().then(|| progress.clamp(0.0, 1.0));
        }
    }

    /// The wake of this number ends. Comes with how long it took; `None` when it was no longer
    /// heard.
    pub fn end_wake(
        &mut self,
        number: u32,
        end: WakeEnd,
        now: Instant,
    ) -> Option<(Duration, Option<Change>)> {
        let took = now.saturating_duration_since(self.wake_of(number)?.begun);
        self.wake = None;
        if end == WakeEnd::Ready {
            self.history.add(took);
            self.retry = None;
        } else if end.is_failure() {
            let retry = self.retry.get_or_insert_default();
            // That the server-manager is of no help says nothing of the server.
            match end {
                WakeEnd::Denied | WakeEnd::Broken => retry.hindered(now),
                _ => retry.failed(now),
            }
        }
        let change = self.changed(|entry| entry.machine.hear(Signal::WakeEnded(end), now));
        Some((took, change))
    }

    fn wake_of(&mut self, number: u32) -> Option<&mut Wake> {
        self.wake
            .as_deref_mut()
            .filter(|wake| wake.number == number)
    }

    fn changed(&mut self, act: impl FnOnce(&mut Self)) -> Option<Change> {
        let from = self.machine.state();
        act(self);
        let to = self.machine.state();
        (from != to).then_some(Change { from, to })
    }

    /// A player begins to wait.
    pub fn wait(&mut self) {
        self.lease.wait();
    }

    /// A waiting player gets in, or leaves.
    pub fn wait_over(&mut self, now: Instant) {
        self.lease.wait_over(now);
    }

    /// How long its starts took.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Takes over what was remembered of it elsewhere, older than what is known here.
    pub fn restore(&mut self, starts: &[Duration]) {
        let known = std::mem::take(&mut self.history);
        for start in starts.iter().copied().chain(known.starts()) {
            self.history.add(start);
        }
    }

    /// The state it is in, and since when.
    #[must_use]
    pub fn state(&self) -> (State, Instant) {
        (self.machine.state(), self.machine.since())
    }

    /// Time spent in states until `now`.
    #[must_use]
    pub fn spent(&self, now: Instant) -> Spent {
        self.machine.spent(now)
    }

    /// Says whether a route leads to it.
    pub fn set_routed(&mut self, routed: bool) {
        self.routed = routed;
    }

    /// Whether a route leads to it.
    #[must_use]
    pub fn is_routed(&self) -> bool {
        self.routed
    }

    /// Whether somebody waits, plays or wakes: it must not be forgotten.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.lease.is_used() || self.wake.is_some()
    }

    /// Whether nothing would be lost by forgetting it but the time it spent in states.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        !self.is_held() && self.retry.is_none()
    }

    /// What there is to say at `now`.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let (state, since) = (self.machine.state(), self.machine.since());
        let starting = matches!(state, State::Starting | State::Settling);
        let begun = self.wake.as_ref().map_or(since, |wake| wake.begun);
        let elapsed = starting.then(|| now.saturating_duration_since(begun));
        let progress = self.wake.as_ref().and_then(|wake| wake.progress);
        let running = state == State::Running;
        let eta = self.history.eta(elapsed.unwrap_or_default(), progress);
        let retry = self.retry.as_deref();
        Snapshot {
            state,
            since,
            waiting: self.lease.waiting(),
            sessions: self.lease.sessions(),
            attempts: retry.map_or(0, Retry::attempts),
            retry_in: retry.and_then(|retry| retry.retry_in(now)),
            eta: eta.filter(|_| !running),
            elapsed,
            progress,
            ready_at: running.then_some(since),
            last_used: self.lease.last_used(now),
            spent: self.spent(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::retry::FAILED_PAUSE_MIN;
    use proptest::prelude::*;

    fn at(begin: Instant, seconds: u64) -> Instant {
        begin + Duration::from_secs(seconds)
    }

    #[test]
    fn a_start_is_remembered_and_foretold_the_next_time() {
        let begin = Instant::now();
        let mut entry = Entry::new(StateHint::Stopped, true, begin);
        assert_eq!(entry.snapshot(begin).eta, None);
        let (number, change) = entry.begin_wake(begin);
        let (from, to) = (State::Asleep, State::Starting);
        assert_eq!(change, Some(Change { from, to }));
        assert_eq!(
            entry.snapshot(at(begin, 9)).elapsed,
            Some(Duration::from_secs(9))
        );
        let (took, _) = entry
            .end_wake(number, WakeEnd::Ready, at(begin, 40))
            .unwrap();
        assert_eq!(took, Duration::from_secs(40));
        let up = entry.snapshot(at(begin, 50));
        assert_eq!((up.state, up.eta, up.elapsed), (State::Running, None, None));
        assert_eq!(up.ready_at, Some(at(begin, 40)));
        let minute = Duration::from_secs(60);
        assert_eq!(up.keep_until(minute), Some(at(begin, 100)));

        entry.hear(Signal::Table(StateHint::Running), at(begin, 60));
        entry.hear(Signal::Table(StateHint::Stopped), at(begin, 200));
        let asleep = entry.snapshot(at(begin, 300));
        assert_eq!(
            (asleep.state, asleep.eta),
            (State::Asleep, Some(Duration::from_secs(40)))
        );
        assert_eq!(asleep.keep_until(minute), None);
        assert_eq!(asleep.spent.asleep, Duration::from_secs(100));
        assert_eq!(asleep.spent.running, Duration::from_secs(160));
        assert_eq!(asleep.spent.starting, Duration::from_secs(40));

        let (number, _) = entry.begin_wake(at(begin, 300));
        assert_eq!(
            entry.snapshot(at(begin, 310)).eta,
            Some(Duration::from_secs(30))
        );
        entry.set_progress(number, 0.5);
        assert_eq!(
            entry.snapshot(at(begin, 310)).eta,
            Some(Duration::from_secs(20))
        );
        assert_eq!(entry.snapshot(at(begin, 310)).progress, Some(0.5));
    }

    #[test]
    fn failures_are_counted_until_it_is_ready_or_answers() {
        let begin = Instant::now();
        for end in [
            WakeEnd::Failed,
            WakeEnd::TimedOut,
            WakeEnd::Denied,
            WakeEnd::Broken,
        ] {
            for cure in [
                Some(Signal::ProbeOk),
                Some(Signal::Table(StateHint::Running)),
                None,
            ] {
                let mut entry = Entry::new(StateHint::Stopped, true, begin);
                for attempt in 1..3 {
                    let (number, _) = entry.begin_wake(begin);
                    entry.end_wake(number, end, begin);
                    let seen = entry.snapshot(begin);
                    // That nobody could be asked is no failure of the server's.
                    let (attempts, pause) = if matches!(end, WakeEnd::Denied | WakeEnd::Broken) {
                        (1, FAILED_PAUSE_MIN)
                    } else {
                        (attempt, FAILED_PAUSE_MIN * attempt)
                    };
                    assert_eq!((seen.attempts, seen.retry_in), (attempts, Some(pause)));
                    assert!(!entry.is_at_rest());
                }
                let attempts = entry.snapshot(begin).attempts;
                entry.hear(Signal::DialOk, begin);
                entry.hear(Signal::SessionOpened, begin);
                let still = entry.snapshot(begin).attempts;
                assert_eq!(still, attempts, "an open port proves nothing");
                if let Some(signal) = cure {
                    entry.hear(signal, begin);
                } else {
                    let (number, _) = entry.begin_wake(begin);
                    entry.end_wake(number, WakeEnd::Ready, begin);
                }
                let snapshot = entry.snapshot(begin);
                assert_eq!((snapshot.attempts, snapshot.retry_in), (0, None));
            }
        }
        let mut entry = Entry::new(StateHint::Stopped, true, begin);
        let (number, _) = entry.begin_wake(begin);
        entry.end_wake(number, WakeEnd::CalledOff, begin);
        assert_eq!(entry.snapshot(begin).attempts, 0);
        assert!(entry.is_at_rest());
    }

    #[test]
    fn a_wake_that_was_replaced_is_no_longer_heard() {
        let begin = Instant::now();
        let mut entry = Entry::new(StateHint::Stopped, true, begin);
        let (old, _) = entry.begin_wake(begin);
        let (new, _) = entry.begin_wake(at(begin, 1));
        assert!(entry.go_on(old, Signal::WakeSettling, begin).is_none());
        entry.set_progress(old, 0.7);
        assert_eq!(entry.end_wake(old, WakeEnd::Failed, begin), None);
        let snapshot = entry.snapshot(at(begin, 3));
        assert_eq!((snapshot.state, snapshot.progress), (State::Starting, None));
        assert_eq!(snapshot.elapsed, Some(Duration::from_secs(2)));
        assert!(entry.go_on(new, Signal::WakeSettling, begin).is_some());
        assert_eq!(entry.snapshot(begin).state, State::Settling);
    }

    #[test]
    fn what_was_remembered_elsewhere_is_older() {
        let mut entry = Entry::new(StateHint::Stopped, true, Instant::now());
        entry.history.add(Duration::from_secs(99));
        let starts: Vec<_> = (1..=9).map(Duration::from_secs).collect();
        entry.restore(&starts);
        let known: Vec<_> = entry
            .history()
            .starts()
            .map(|start| start.as_secs())
            .collect();
        assert_eq!(known, [3, 4, 5, 6, 7, 8, 9, 99]);
    }

    proptest! {
        #[test]
        fn nobody_who_is_there_lets_it_be_forgotten(
            steps in proptest::collection::vec(0_u8..7, 0..30)
        ) {
            let now = Instant::now();
            let mut entry = Entry::new(StateHint::Unknown, true, now);
            let (mut there, mut wake) = ([0_u32; 2], None);
            for step in steps {
                match step {
                    0 => { entry.wait(); there[0] += 1; }
                    1 if there[0] > 0 => { entry.wait_over(now); there[0] -= 1; }
                    2 => { entry.hear(Signal::SessionOpened, now); there[1] += 1; }
                    3 if there[1] > 0 => { entry.hear(Signal::SessionClosed, now); there[1] -= 1; }
                    4 => wake = Some(entry.begin_wake(now).0),
                    5 => { wake.take().map(|number| entry.end_wake(number, WakeEnd::Failed, now)); }
                    _ => {}
                }
                let snapshot = entry.snapshot(now);
                prop_assert_eq!([snapshot.waiting, snapshot.sessions], there);
                prop_assert_eq!(entry.is_held(), there != [0, 0] || wake.is_some());
            }
        }
    }
}
