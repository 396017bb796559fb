//! When a server whose start failed may be tried again, however many players click.
//!
//! Pure: `now` is passed in.

use std::time::{Duration, Instant};

use super::error::WakeError;

/// How long the first failure of a row stands.
pub const RETRY_PAUSE_MIN: Duration = Duration::from_secs(5);
/// How long a failure stands at most; the pause doubles up to there.
pub const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5 * 60);
/// How long after the pause failures are still counted on.
pub const RETRY_MEMORY: Duration = Duration::from_secs(10 * 60);

/// The failures of one server since its last success.
#[derive(Debug, Clone)]
pub struct Retry {
    attempts: u32,
    until: Instant,
    last: WakeError,
}

impl Retry {
    /// Another failure at `now`, after those of `before`.
    #[must_use]
    pub fn after(before: Option<&Self>, last: WakeError, now: Instant) -> Self {
        let before = before.filter(|before| !before.is_stale(now));
        let attempts = before.map_or(0, |before| before.attempts).saturating_add(1);
        let times = 1_u32.checked_shl(attempts - 1).unwrap_or(u32::MAX);
        let pause = RETRY_PAUSE_MIN.saturating_mul(times).min(RETRY_PAUSE_MAX);
        Self {
            attempts,
            until: now + pause,
            last,
        }
    }

    /// What whoever asks at `now` is told; `None` once it may be tried again.
    #[must_use]
    pub fn refusal(&self, now: Instant) -> Option<WakeError> {
        let retry_in = self.until.saturating_duration_since(now);
        (!retry_in.is_zero()).then(|| WakeError::BackingOff {
            attempts: self.attempts,
            retry_in,
            last: Box::new(self.last.clone()),
        })
    }

    /// Whether it is too long ago to count.
    #[must_use]
    pub fn is_stale(&self, now: Instant) -> bool {
        now >= self.until + RETRY_MEMORY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied() -> WakeError {
        WakeError::Denied(404)
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_say_what_is_left_of_them() {
        let mut now = Instant::now();
        let mut retry = Retry::after(None, denied(), now);
        for (attempt, pause) in [5, 10, 20, 40, 80, 160, 300, 300].into_iter().enumerate() {
            let expected = WakeError::BackingOff {
                attempts: u32::try_from(attempt + 1).unwrap(),
                retry_in: Duration::from_secs(pause - 1),
                last: Box::new(denied()),
            };
            let second = Duration::from_secs(1);
            assert_eq!(retry.refusal(now + second), Some(expected));
            now += Duration::from_secs(pause);
            assert_eq!(retry.refusal(now), None);
            retry = Retry::after(Some(&retry), denied(), now);
        }
    }

    #[test]
    fn old_failures_are_forgotten() {
        let begin = Instant::now();
        let first = Retry::after(None, denied(), begin);
        for (later, attempts) in [(RETRY_MEMORY, 2), (RETRY_MEMORY + RETRY_PAUSE_MIN, 1)] {
            let second = Retry::after(Some(&first), denied(), begin + later);
            assert_eq!(second.attempts, attempts);
        }
    }
}
