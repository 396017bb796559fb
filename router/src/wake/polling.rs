//! When the server-manager is asked for a state: quick at first, quick again when the server is
//! due, never faster than the floor, and by one long request where it offers that.
//!
//! Pure: `now` is passed in.

use std::time::{Duration, Instant};

/// Least time from one poll to the next, unless the configured interval is less.
pub const POLL_FLOOR: Duration = Duration::from_millis(100);
/// Longest wait that is asked for in one long poll: proxies in between cut silence at 30 s.
pub const LONG_POLL_MAX: Duration = Duration::from_secs(25);
/// What the time between two polls grows by from one to the next: a half.
const GROWTH: (u32, u32) = (3, 2);
/// Polls are quick again a tenth of the expected time before it is over, within these bounds.
const LEAD_BOUNDS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// The pace of one wake's polls.
#[derive(Debug, Clone)]
pub struct Polling {
    floor: Duration,
    ceiling: Duration,
    /// Time from the next poll to the one after.
    gap: Duration,
    due: Instant,
    asked: Option<Asked>,
    /// Longest wait the server-manager offers, once it does.
    long: Option<Duration>,
    quick_again: Option<Instant>,
}

/// A poll without an answer yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked {
    at: Instant,
    wait: Option<Duration>,
}

impl Polling {
    /// Polls at most every `interval` from `now` on, and quicker when the server is `expected`,
    /// so long after `now`.
    #[must_use]
    pub fn new(interval: Duration, expected: Option<Duration>, now: Instant) -> Self {
        let floor = interval.min(POLL_FLOOR);
        let quick_again = |expected: Duration| {
            let (least, most) = LEAD_BOUNDS;
            let lead = (expected / 10).clamp(least, most);
            now.checked_add(expected.checked_sub(lead)?)
        };
        Self {
            floor,
            ceiling: interval,
            gap: floor,
            due: now,
            asked: None,
            long: None,
            quick_again: expected.and_then(quick_again),
        }
    }

    /// When the next poll is due; `None` while one has no answer yet.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.asked.is_none().then_some(self.due)
    }

    /// How long a poll without an answer has been overdue at `now`, a wait it asked for aside.
    #[must_use]
    pub fn overdue(&self, now: Instant) -> Option<Duration> {
        let Asked { at, wait } = self.asked?;
        now.saturating_duration_since(at)
            .checked_sub(wait.unwrap_or_default())
    }

    /// Notes that a poll is sent now; says how long the server-manager may wait before it
    /// answers, which is whole seconds of the `left` ones.
    pub fn ask(&mut self, now: Instant, left: Duration) -> Option<Duration> {
        if self.quick_again.is_some_and(|at| at <= now) {
            self.quick_again = None;
            self.gap = self.floor;
        }
        let wait = self.long.map(|most| most.min(LONG_POLL_MAX).min(left));
        let wait = wait.map(|wait| Duration::from_secs(wait.as_secs()));
        let wait = wait.filter(|wait| !wait.is_zero());
        self.due = now + self.gap;
        if let Some(at) = self.quick_again {
            self.due = self.due.min(at.max(now + self.floor));
        }
        let (times, over) = GROWTH;
        self.gap = (self.gap * times / over).min(self.ceiling);
        self.asked = Some(Asked { at: now, wait });
        wait
    }

    /// Notes an answer; `offer` is the longest wait it offers. What was answered at once keeps
    /// the growing pace, so that nobody who ignores the wait is hammered.
    pub fn answered(&mut self, now: Instant, broken: bool, offer: Option<Duration>) {
        let Some(Asked { at, wait }) = self.asked.take() else {
            return;
        };
        let waited = wait.is_some_and(|wait| now.saturating_duration_since(at) >= wait / 2);
        if broken && wait.is_some() {
            // Something in between does not like to wait. A plain answer may offer it once more.
            self.long = None;
        } else if offer.is_some() || waited {
            if self.long.is_none() || waited {
                self.gap = self.floor;
                self.due = at + self.floor;
            }
            self.long = offer.or(self.long);
        }
    }

    /// Has the next poll sent as soon as it may be.
    pub fn hurry(&mut self, now: Instant) {
        self.due = self.due.min(now + self.floor);
        self.gap = self.floor;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INTERVAL: Duration = Duration::from_secs(2);
    const HOUR: Duration = Duration::from_secs(3600);

    /// When polls are sent that are all answered at once, up to `end`.
    fn sent(mut polling: Polling, begin: Instant, end: Duration) -> Vec<Duration> {
        let mut sent = vec![];
        while let Some(now) = polling.due().filter(|at| *at - begin <= end) {
            sent.push(now - begin);
            polling.ask(now, HOUR);
            polling.answered(now, false, None);
        }
        sent
    }

    #[test]
    fn polls_are_quick_at_first_and_then_every_interval() {
        let begin = Instant::now();
        let sent = sent(
            Polling::new(INTERVAL, None, begin),
            begin,
            Duration::from_secs(20),
        );
        let millis: Vec<_> = sent.iter().map(Duration::as_millis).collect();
        assert_eq!(millis[..5], [0, 100, 250, 475, 812]);
        let [.., before, last] = sent[..] else {
            panic!("{sent:?}")
        };
        assert_eq!(last - before, INTERVAL);
    }

    #[test]
    fn polls_are_quick_again_when_the_server_is_due() {
        let begin = Instant::now();
        let expected = Duration::from_secs(30);
        let polling = Polling::new(INTERVAL, Some(expected), begin);
        let sent = sent(polling, begin, Duration::from_secs(60));

        let due = expected - Duration::from_secs(3);
        let at = sent.iter().position(|at| *at >= due).unwrap();
        assert!(sent[at] <= due + POLL_FLOOR, "{:?}", sent[at]);
        assert_eq!(sent[at + 1] - sent[at], POLL_FLOOR);
        let late = sent.last().unwrap();
        assert!(*late > Duration::from_secs(56), "{late:?}");
    }

    #[test]
    fn a_long_poll_that_waited_is_followed_by_the_next_at_once() {
        let begin = Instant::now();
        let mut polling = Polling::new(INTERVAL, None, begin);
        assert_eq!(polling.ask(begin, HOUR), None, "nobody has offered it");
        polling.answered(begin, false, Some(Duration::from_secs(60)));

        let mut now = polling.due().unwrap();
        for _ in 0..5 {
            assert_eq!(polling.ask(now, HOUR), Some(LONG_POLL_MAX));
            now += LONG_POLL_MAX;
            polling.answered(now, false, None);
            assert!(polling.due().unwrap() <= now);
        }
        let left = Duration::from_millis(3500);
        assert_eq!(polling.ask(now, left), Some(Duration::from_secs(3)));
        polling.answered(now, false, None);
        assert_eq!(polling.ask(now, Duration::from_millis(900)), None);
    }

    #[test]
    fn who_answers_a_long_poll_at_once_is_not_hammered() {
        let begin = Instant::now();
        let mut polling = Polling::new(INTERVAL, None, begin);
        let mut sent = vec![];
        for _ in 0..20 {
            let now = polling.due().unwrap();
            sent.push(now);
            polling.ask(now, HOUR);
            polling.answered(now, false, Some(LONG_POLL_MAX));
        }
        assert_eq!(sent[19] - sent[18], INTERVAL);
    }

    #[test]
    fn a_long_poll_that_breaks_is_followed_by_a_plain_one() {
        let begin = Instant::now();
        let mut polling = Polling::new(INTERVAL, None, begin);
        polling.ask(begin, HOUR);
        polling.answered(begin, false, Some(LONG_POLL_MAX));
        assert!(polling.ask(begin, HOUR).is_some());
        polling.answered(begin, true, None);
        assert_eq!(polling.ask(begin, HOUR), None);
    }

    proptest! {
        #[test]
        fn polls_keep_between_the_floor_and_the_ceiling_whatever_is_answered(
            interval in 1_u64..5_000,
            expected in proptest::option::of(0_u64..100_000),
            answers in proptest::collection::vec(
                (0_u64..30_000, any::<bool>(), proptest::option::of(0_u64..40)), 1..40,
            ),
        ) {
            let (begin, interval) = (Instant::now(), Duration::from_millis(interval));
            let expected = expected.map(Duration::from_millis);
            let mut polling = Polling::new(interval, expected, begin);
            let mut last: Option<(Instant, Duration)> = None;
            let mut now = begin;
            for (took, broken, offer) in answers {
                now = now.max(polling.due().unwrap());
                if let Some((sent, took)) = last {
                    prop_assert!(now - sent >= interval.min(POLL_FLOOR));
                    prop_assert!(now - sent <= interval.max(took));
                }
                let wait = polling.ask(now, HOUR);
                prop_assert!(wait.is_none_or(|wait| wait <= LONG_POLL_MAX));
                prop_assert_eq!(polling.due(), None, "one at a time");
                let took = Duration::from_millis(took);
                last = Some((now, took));
                now += took;
                polling.answered(now, broken, offer.map(Duration::from_secs));
            }
        }
    }
}
