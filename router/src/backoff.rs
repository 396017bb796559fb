//! How long to wait before trying again.

use std::time::Duration;

/// A delay that doubles from `min` to `max`, and starts over after a success.
#[derive(Debug, Clone)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    /// Share of the delay added at most by the random number passed in; 0 to 1.
    jitter: f64,
    attempt: u32,
}

impl Backoff {
    /// The schedule of the Postgres source: 1, 2, 4, 8, 16, 30, 30 seconds and so on.
    #[must_use]
    pub fn reconnect(jitter: f64) -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(30), jitter)
    }

    /// A schedule from `min` to `max`; `jitter` is brought into 0 to 1.
    #[must_use]
    pub fn new(min: Duration, max: Duration, jitter: f64) -> Self {
        Self {
            min,
            max: max.max(min),
            jitter: jitter.clamp(0.0, 1.0),
            attempt: 0,
        }
    }

    /// The next delay. `random` is a number from 0 to 1 that places it within the jitter.
    pub fn next_delay(&mut self, random: f64) -> Duration {
        let factor = 1_u32.checked_shl(self.attempt).unwrap_or(u32::MAX);
        let base = self.min.saturating_mul(factor).min(self.max);
        self.attempt = self.attempt.saturating_add(1);
        base + base.mul_f64(self.jitter * random.clamp(0.0, 1.0))
    }

    /// Starts the schedule over.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_documented_schedule_is_kept() {
        let mut backoff = Backoff::reconnect(0.0);
        let seconds: Vec<_> = (0..8).map(|_| backoff.next_delay(0.5).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30, 30]);

        backoff.reset();
        assert_eq!(backoff.next_delay(0.5), Duration::from_secs(1));
    }

    proptest! {
        #[test]
        fn delays_never_shrink_and_stay_within_bounds(
            min in 1_u64..10_000, span in 0_u64..100_000, tries in 1_usize..100
        ) {
            let (min, max) = (Duration::from_millis(min), Duration::from_millis(min + span));
            let mut backoff = Backoff::new(min, max, 0.0);
            let mut last = Duration::ZERO;
            for _ in 0..tries {
                let delay = backoff.next_delay(0.0);
                prop_assert!(delay >= last && delay >= min && delay <= max);
                last = delay;
            }
        }

        #[test]
        fn jitter_only_adds_and_never_more_than_its_share(
            jitter in 0.0..1.0_f64, random in 0.0..1.0_f64, tries in 1_usize..40
        ) {
            let (mut plain, mut jittered) = (Backoff::reconnect(0.0), Backoff::reconnect(jitter));
            for _ in 0..tries {
                let (base, delay) = (plain.next_delay(0.0), jittered.next_delay(random));
                prop_assert!(delay >= base && delay <= base.mul_f64(1.0 + jitter) + Duration::from_nanos(2));
            }
        }

        #[test]
        fn a_reset_starts_over_from_anywhere(tries in 0_usize..100) {
            let mut backoff = Backoff::reconnect(0.0);
            for _ in 0..tries {
                backoff.next_delay(0.0);
            }
            backoff.reset();
            prop_assert_eq!(backoff.next_delay(0.0), Duration::from_secs(1));
        }
    }
}
