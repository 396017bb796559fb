//! When a server that failed to start may be tried again.
//!
//! Pure.

use std::time::{Duration, Instant};

use crate::backoff::Backoff;

/// How long the first failure stands, however many players click.
pub const FAILED_PAUSE_MIN: Duration = Duration::from_secs(5);
/// How long a failure stands at most, however many came before.
pub const FAILED_PAUSE_MAX: Duration = Duration::from_secs(5 * 60);

/// The failures of one server in a row: each stands twice as long as the one before.
#[derive(Debug, Clone)]
pub struct Retry {
    backoff: Backoff,
    attempts: u32,
    until: Option<Instant>,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            backoff: Backoff::new(FAILED_PAUSE_MIN, FAILED_PAUSE_MAX, 0.0),
            attempts: 0,
            until: None,
        }
    }
}

impl Retry {
    /// Takes note of a failed start.
    pub fn failed(&mut self, now: Instant) {
        self.attempts = self.attempts.saturating_add(1);
        self.until = Some(now + self.backoff.next_delay(0.0));
    }

    /// Takes note of a start that could not be tried: it stands for [`FAILED_PAUSE_MIN`].
    pub fn hindered(&mut self, now: Instant) {
        self.attempts = self.attempts.max(1);
        self.until = Some(now + FAILED_PAUSE_MIN);
    }

    /// Starts that failed since the last one that did not.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Time until the next try; `None` when it may be now.
    #[must_use]
    pub fn retry_in(&self, now: Instant) -> Option<Duration> {
        let left = self.until?.checked_duration_since(now)?;
        Some(left).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn failures_stand_twice_as_long_each_up_to_the_ceiling() {
        let mut now = Instant::now();
        let mut retry = Retry::default();
        assert_eq!((retry.attempts(), retry.retry_in(now)), (0, None));
        for (attempt, seconds) in [5, 10, 20, 40, 80, 160, 300, 300].into_iter().enumerate() {
            retry.failed(now);
            assert_eq!(retry.attempts() as usize, attempt + 1);
            assert_eq!(retry.retry_in(now), Some(Duration::from_secs(seconds)));
            now += Duration::from_secs(seconds) - Duration::from_millis(1);
            assert_eq!(retry.retry_in(now), Some(Duration::from_millis(1)));
            now += Duration::from_millis(1);
            assert_eq!(retry.retry_in(now), None);
        }
    }

    proptest! {
        #[test]
        fn a_pause_is_never_longer_than_the_ceiling_and_ends(
            gaps in proptest::collection::vec(0_u64..1_000_000, 1..50)
        ) {
            let mut now = Instant::now();
            let mut retry = Retry::default();
            for gap in gaps {
                retry.failed(now);
                let left = retry.retry_in(now).unwrap();
                prop_assert!((FAILED_PAUSE_MIN..=FAILED_PAUSE_MAX).contains(&left));
                prop_assert_eq!(retry.retry_in(now + left), None);
                now += Duration::from_millis(gap);
            }
        }
    }
}
