//! When to read the table again: soon after a change, and no more often than reading is cheap.

use std::time::{Duration, Instant};

/// How long a notification waits for more of its kind.
pub const DEBOUNCE: Duration = Duration::from_millis(2);
/// Longest pause between two reads of a table that keeps changing.
pub const PAUSE_MAX: Duration = Duration::from_millis(250);
/// The pause after a read, as a multiple of what the read took.
const PAUSE_PER_READ: u32 = 2;

/// Paces the reads of one connection.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    last: Option<(Instant, Duration)>,
}

impl Pace {
    /// Remembers a read that ended at `end` and took `took`.
    pub fn read(&mut self, end: Instant, took: Duration) {
        self.last = Some((end, took));
    }

    /// When a change that was announced at `now` is read.
    #[must_use]
    pub fn due(&self, now: Instant) -> Instant {
        let soon = now + DEBOUNCE;
        match self.last {
            Some((end, took)) => soon.max(end + took.saturating_mul(PAUSE_PER_READ).min(PAUSE_MAX)),
            None => soon,
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
            let end = Instant::now();
            let took = Duration::from_millis(took);
            let mut pace = Pace::default();
            pace.read(end, took);
            let now = end + Duration::from_millis(since);

            let due = pace.due(now);

            prop_assert!(due >= now + DEBOUNCE);
            prop_assert!(due <= now.max(end) + PAUSE_MAX + DEBOUNCE);
            prop_assert!(due >= end + (took * 2).min(PAUSE_MAX));
        }
    }

    #[test]
    fn the_first_change_waits_for_the_debounce_alone() {
        let now = Instant::now();
        assert_eq!(Pace::default().due(now), now + DEBOUNCE);
    }
}
