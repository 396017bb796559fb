//! Moments that are kept by the hundred thousand.
//!
//! Pure.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// In what moments are counted.
const TICK: Duration = Duration::from_millis(100);

/// A moment, in tenths of a second since something began: a quarter of an [`Instant`], for tables
/// of many, and good for 13 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(NonZeroU32);

impl Moment {
    /// What `now` is for who began at `began`.
    #[must_use]
    pub fn new(began: Instant, now: Instant) -> Self {
        let ticks = now.saturating_duration_since(began).as_millis() / TICK.as_millis();
        let ticks = u32::try_from(ticks).unwrap_or(u32::MAX);
        Self(NonZeroU32::MIN.saturating_add(ticks))
    }

    /// How long ago `earlier` is.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        TICK * self.0.get().saturating_sub(earlier.0.get())
    }

    /// The instant again, to the tenth of a second.
    #[must_use]
    pub fn instant(self, began: Instant) -> Instant {
        began + TICK * (self.0.get() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_its_instant_to_the_tenth_of_a_second() {
        let began = Instant::now();
        for (millis, kept) in [(0, 0), (99, 0), (100, 100), (86_400_123, 86_400_100)] {
            let moment = Moment::new(began, began + Duration::from_millis(millis));
            assert_eq!(moment.instant(began), began + Duration::from_millis(kept));
        }
    }

    #[test]
    fn moments_count_tenths_and_never_go_back() {
        let (begin, tenth) = (Instant::now(), TICK);
        let moment = |now| Moment::new(begin, now);
        let later = begin + tenth * 25;
        assert_eq!(moment(later).since(moment(begin)), tenth * 25);
        assert_eq!(moment(begin).since(moment(later)), Duration::ZERO);
        assert_eq!(Moment::new(later, begin), moment(begin));
        let far = begin + Duration::from_secs(20 * 365 * 86_400);
        assert_eq!(moment(far), moment(far + tenth), "as far as it goes");
    }
}
