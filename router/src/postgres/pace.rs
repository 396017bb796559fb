//! When to read the table again: soon after a change, and no more often than reading is cheap.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long a notification waits for more of its kind.
pub const DEBOUNCE: Duration = Duration::from_millis(2);
/// Longest pause between two reads of a table that keeps changing.
pub const PAUSE_MAX: Duration = Duration::from_millis(250);
/// The pause after a read, as a multiple of what the read took.
const PAUSE_PER_READ: u32 = 2;
/// Most reads within a second: those of a burst and the others.
pub const READS_PER_SECOND: usize = 16;
/// Reads within a second that need no more distance than [`DEBOUNCE`].
const BURST: usize = 6;
/// Distance of the others: a storm of changes costs less the more of them are read at once.
const DISTANCE: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);

/// Paces the reads of one connection.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    last: Option<(Instant, Duration)>,
    /// When the reads of the last second began.
    begun: VecDeque<Instant>,
}

impl Pace {
    /// Remembers a read that ended at `end` and took `took`.
    pub fn read(&mut self, end: Instant, took: Duration) {
        self.last = Some((end, took));
        if self.begun.len() == READS_PER_SECOND {
            self.begun.pop_front();
        }
        self.begun.push_back(end.checked_sub(took).unwrap_or(end));
    }

    /// When a change that was announced at `now` is read.
    #[must_use]
    pub fn due(&self, now: Instant) -> Instant {
        let soon = now + DEBOUNCE;
        let Some((end, took)) = self.last else {
            return soon;
        };
        let mut due = soon.max(end + took.saturating_mul(PAUSE_PER_READ).min(PAUSE_MAX));
        let of_the_last_second = self.begun.iter().filter(|begun| **begun + SECOND > now);
        if of_the_last_second.count() >= BURST {
            due = due.max(self.begun.back().map_or(due, |begun| *begun + DISTANCE));
        }
        match self.begun.front() {
            Some(first) if self.begun.len() == READS_PER_SECOND => due.max(*first + SECOND),
            _ => due,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_change_is_read_soon_and_reading_takes_a_third_of_the_time_at_most(
            took in 0_u64..2_000, since in 0_u64..2_000
        ) {
            let end = Instant::now() + SECOND * 10;
            let took = Duration::from_millis(took);
            let mut pace = Pace::default();
            pace.read(end, took);
            let now = end + Duration::from_millis(since);

            let due = pace.due(now);

            prop_assert!(due >= now + DEBOUNCE);
            prop_assert!(due <= now.max(end) + PAUSE_MAX + DEBOUNCE);
            prop_assert!(due >= end + (took * 2).min(PAUSE_MAX));
        }

        #[test]
        fn no_storm_is_read_more_often_than_allowed_and_none_waits_long(
            changes in proptest::collection::vec((0_u64..100, 0_u64..10), 1..300)
        ) {
            let mut now = Instant::now() + SECOND * 10;
            let mut pace = Pace::default();
            let mut begun = Vec::new();
            for (pause, took) in changes {
                now += Duration::from_millis(pause);
                let due = pace.due(now);
                prop_assert!(due <= now + PAUSE_MAX);
                let took = Duration::from_millis(took);
                begun.push(due);
                now = due + took;
                pace.read(now, took);
            }
            for some in begun.windows(READS_PER_SECOND + 1) {
                prop_assert!(some[READS_PER_SECOND] - some[0] >= SECOND);
            }
        }
    }

    #[test]
    fn the_first_change_waits_for_the_debounce_alone() {
        let now = Instant::now();
        assert_eq!(Pace::default().due(now), now + DEBOUNCE);
    }

    #[test]
    fn changes_with_a_little_time_between_them_wait_for_the_debounce_alone() {
        let mut now = Instant::now() + SECOND * 10;
        let mut pace = Pace::default();
        for _ in 0..100 {
            assert_eq!(pace.due(now), now + DEBOUNCE);
            pace.read(now + DEBOUNCE * 2, DEBOUNCE);
            now += SECOND / 5;
        }
    }
}
