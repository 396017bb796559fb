//! When a server that nobody uses any more is to be stopped.
//!
//! Pure: `now` is passed in. Pings are no use, and neither is the wish to stop it: what counts is
//! read anew each time.

use std::time::{Duration, Instant};

use crate::backoff::Backoff;
use crate::routes::policy::Policy;
use crate::servers::Snapshot;
use crate::servers::state::State;

/// How often one stop is asked for at most; then not again before the server was used.
pub const TRIES_MAX: u32 = 5;
/// Pauses between those: 1, 2, 4 and 8 s.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// A look is taken ten times within the shortest time after which a server is stopped, within these bounds.
const LOOK_BOUNDS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));
/// The delay of a server that is never stopped.
const NEVER: Duration = Duration::MAX;

/// What is seen of a server, or of all routes to it together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Somebody plays there, waits for it, or has it started.
    pub used: bool,
    /// It may run.
    pub up: bool,
    /// When it was last used, or came up.
    pub last: Option<Instant>,
    /// Until when its route wants it kept.
    pub keep: Option<Instant>,
    /// How long nobody has used it when it is to be stopped.
    pub after: Duration,
}

impl Seen {
    /// What one route's `snapshot` tells, and its settings.
    #[must_use]
    pub fn of(snapshot: &Snapshot, policy: &Policy) -> Self {
        let starting = matches!(snapshot.state, State::Starting | State::Settling);
        Self {
            used: snapshot.sessions > 0 || snapshot.waiting > 0 || starting,
            up: !matches!(snapshot.state, State::Asleep | State::Unreachable),
            last: snapshot.last_used.max(snapshot.ready_at),
            keep: snapshot.keep_until(policy.min_online),
            after: policy.down_after.unwrap_or(NEVER),
        }
    }

    /// The same server by two routes: the one that keeps it longer is heard.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            used: self.used || other.used,
            up: self.up || other.up,
            last: self.last.max(other.last),
            keep: self.keep.max(other.keep),
            after: self.after.max(other.after),
        }
    }
}

/// The delays of all servers together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delays {
    /// There once one is known, shortest first.
    bounds: Option<(Duration, Duration)>,
}

impl Delays {
    /// Takes note of the delay of one server, if it is ever stopped.
    pub fn note(&mut self, after: Option<Duration>) {
        if let Some(after) = after.filter(|after| *after != NEVER) {
            let (shortest, longest) = self.bounds.unwrap_or((after, after));
            self.bounds = Some((shortest.min(after), longest.max(after)));
        }
    }

    /// How long what was used is worth knowing.
    #[must_use]
    pub fn longest(self) -> Duration {
        self.bounds.map_or(Duration::ZERO, |(_, longest)| longest)
    }

    /// Time from one look to the next.
    #[must_use]
    pub fn pause(self) -> Duration {
        let (least, most) = LOOK_BOUNDS;
        let pause = self.bounds.map_or(most, |(shortest, _)| shortest / 10);
        pause.clamp(least, most)
    }
}

/// The stops of one server.
#[derive(Debug, Clone)]
pub struct Idle {
    /// When it was first heard of, which counts as use.
    known: Instant,
    /// Since when it has been idle, as of the last look.
    since: Instant,
    /// Nothing more is asked for this time.
    over: bool,
    tries: u32,
    not_before: Option<Instant>,
    backoff: Backoff,
}

impl Idle {
    /// A server that is heard of now.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        let (min, max) = PAUSES;
        Self {
            known: now,
            since: now,
            over: false,
            tries: 0,
            not_before: None,
            backoff: Backoff::new(min, max, 0.0),
        }
    }

    /// Whether it is to be stopped at `now`: it may run, and has not been used for long enough.
    pub fn is_due(&mut self, seen: &Seen, now: Instant) -> bool {
        let since = seen.last.map_or(self.known, |last| last.max(self.known));
        // What was known of the last use may be forgotten meanwhile, which is no use.
        let since = since.max(self.since);
        if seen.used || since > self.since {
            *self = Self {
                known: self.known,
                ..Self::new(since)
            };
        }
        let idle = now.saturating_duration_since(since) >= seen.after;
        let kept = [seen.keep, self.not_before].into_iter().flatten().max();
        !seen.used && seen.up && idle && !self.over && kept.is_none_or(|until| until <= now)
    }

    /// Notes that the stop was asked for, and whether that was `taken`.
    pub fn asked(&mut self, taken: bool, now: Instant) {
        self.tries += 1;
        self.over = taken || self.tries >= TRIES_MAX;
        self.not_before = now.checked_add(self.backoff.next_delay(0.0));
    }

    /// Whether it is given up until the server was used again.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AFTER: Duration = Duration::from_secs(600);

    const fn secs(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn idle(last: Option<Instant>) -> Seen {
        Seen {
            used: false,
            up: true,
            last,
            keep: None,
            after: AFTER,
        }
    }

    #[test]
    fn it_is_due_once_after_the_last_use_and_again_after_the_next() {
        let begin = Instant::now();
        let mut one = Idle::new(begin);
        assert!(!one.is_due(&idle(None), begin + secs(599)));
        assert!(
            one.is_due(&idle(None), begin + secs(600)),
            "never used at all"
        );
        let last = Some(begin + secs(100));
        assert!(!one.is_due(&idle(last), begin + secs(699)));
        assert!(one.is_due(&idle(last), begin + secs(700)));
        one.asked(true, begin + secs(700));
        assert!(!one.is_due(&idle(last), begin + secs(99_999)));
        let last = Some(begin + secs(100_000));
        assert!(one.is_due(&idle(last), begin + secs(100_600)));
    }

    /// Of those who left an address, less is known later than of the sessions of its server.
    #[test]
    fn what_is_forgotten_of_the_last_use_is_no_use_and_no_second_stop() {
        let begin = Instant::now();
        let mut one = Idle::new(begin);
        let left = begin + secs(100);
        assert!(one.is_due(&idle(Some(left)), left + AFTER));
        one.asked(true, left + AFTER);
        for last in [Some(left - secs(1)), None] {
            assert!(!one.is_due(&idle(last), left + AFTER * 9), "{last:?}");
        }
    }

    #[test]
    fn a_route_may_keep_it_longer_and_what_sleeps_is_not_stopped() {
        let begin = Instant::now();
        let (mut one, now) = (Idle::new(begin), begin + secs(700));
        let kept = Seen {
            keep: Some(begin + secs(701)),
            ..idle(None)
        };
        assert!(!one.is_due(&kept, now));
        assert!(one.is_due(&kept, now + secs(1)));
        let asleep = Seen {
            up: false,
            ..idle(None)
        };
        assert!(!one.is_due(&asleep, now));
    }

    #[test]
    fn a_stop_that_fails_is_asked_for_again_a_few_times() {
        let begin = Instant::now();
        let mut one = Idle::new(begin);
        let mut asked = Vec::new();
        for second in 0..1_000 {
            let now = begin + secs(second);
            if one.is_due(&idle(None), now) {
                asked.push(second);
                one.asked(false, now);
            }
        }
        assert_eq!(asked, [600, 601, 603, 607, 615]);
        assert!(one.is_over());
    }

    #[test]
    fn what_is_used_by_one_route_is_used_by_all() {
        let begin = Instant::now();
        let used = Seen {
            used: true,
            ..Seen::default()
        };
        let both = idle(Some(begin)).and(used);
        assert_eq!((both.used, both.up, both.last), (true, true, Some(begin)));
        assert_eq!(both.after, AFTER);
        let never = Seen {
            after: NEVER,
            ..idle(None)
        };
        let never = idle(None).and(never);
        assert!(!Idle::new(begin).is_due(&never, begin + secs(u32::MAX.into())));
    }

    #[test]
    fn looks_follow_the_shortest_delay_and_memory_the_longest() {
        let mut delays = Delays::default();
        delays.note(Some(NEVER));
        delays.note(None);
        assert_eq!((delays.pause(), delays.longest()), (secs(30), secs(0)));
        delays.note(Some(secs(600)));
        assert_eq!((delays.pause(), delays.longest()), (secs(30), secs(600)));
        delays.note(Some(secs(20)));
        assert_eq!((delays.pause(), delays.longest()), (secs(2), secs(600)));
        delays.note(Some(secs(0)));
        assert_eq!(delays.pause(), Duration::from_millis(100));
    }

    proptest! {
        /// Whoever comes and goes, in steps of a second. When the last one left is not known while
        /// somebody is there.
        #[test]
        fn nobody_is_ever_stopped_under_a_player_or_too_soon(
            after in 1_u64..30,
            steps in proptest::collection::vec((0_u8..7, any::<bool>()), 1..300),
        ) {
            let (begin, after) = (Instant::now(), secs(after));
            let (mut one, mut inside, mut last, mut tries) = (Idle::new(begin), 0_u32, begin, 0);
            let mut left = None;
            for (second, (step, taken)) in (1_u64..).zip(steps) {
                let now = begin + secs(second);
                match step {
                    0 => inside += 1,
                    1 | 2 if inside > 0 => {
                        inside -= 1;
                        (last, left, tries) = (now, Some(now), 0);
                    }
                    6 => left = None,
                    _ => {}
                }
                if inside > 0 {
                    (last, tries) = (now, 0);
                }
                let seen = Seen { used: inside > 0, up: true, last: left, keep: None, after };
                if one.is_due(&seen, now) {
                    prop_assert_eq!(inside, 0);
                    prop_assert!(now - last >= after);
                    tries += 1;
                    prop_assert!(tries <= TRIES_MAX);
                    one.asked(taken, now);
                    if taken {
                        tries = TRIES_MAX;
                    }
                }
            }
        }
    }
}
