//! How long a server took to start, and so how long it may take this time.
//!
//! Pure.

use std::time::Duration;

/// Starts that are remembered of a server, the last ones.
pub const STARTS_KEPT: usize = 8;
/// What is shorter was no start: the server ran already.
pub const START_MIN: Duration = Duration::from_millis(500);
/// Longest time that is foretold; beyond, nobody knows.
pub const ETA_MAX: Duration = Duration::from_secs(60 * 60);
/// Progress below this says nothing yet, as a share of 1.
const PROGRESS_MIN: f64 = 0.05;

/// The last start durations of one server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History {
    /// In milliseconds, the oldest first.
    millis: Vec<u32>,
}

impl History {
    /// Takes note of a start that took `duration`; of one shorter than [`START_MIN`] it does not.
    pub fn add(&mut self, duration: Duration) {
        if duration < START_MIN {
            return;
        }
        if self.millis.len() >= STARTS_KEPT {
            self.millis.remove(0);
        }
        let millis = u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
        self.millis.push(millis);
    }

    /// The starts that are remembered, the oldest first.
    pub fn starts(&self) -> impl Iterator<Item = Duration> {
        let millis = self.millis.iter();
        millis.map(|millis| Duration::from_millis(u64::from(*millis)))
    }

    /// Whether no start is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.millis.is_empty()
    }

    /// What it usually takes; of an even number of starts, the longer of the two in the middle.
    #[must_use]
    pub fn median(&self) -> Option<Duration> {
        let mut sorted = self.millis.clone();
        sorted.sort_unstable();
        let middle = sorted.get(sorted.len() / 2)?;
        Some(Duration::from_millis(u64::from(*middle)))
    }

    /// How long it will still take, `elapsed` after the start began, if `progress` of it (0 to 1)
    /// is done.
    ///
    /// The median and the progress share the say: the further the start is, the more the
    /// progress counts. `None` when there is nothing to go by: no start is remembered, this one takes
    /// longer than usual, or the answer would be beyond [`ETA_MAX`].
    #[must_use]
    pub fn eta(&self, elapsed: Duration, progress: Option<f64>) -> Option<Duration> {
        let usual = self.median().and_then(|median| median.checked_sub(elapsed));
        let usual = usual.filter(|left| !left.is_zero());
        let progress = progress
            .filter(|share| share.is_finite())
            .map(|share| share.clamp(0.0, 1.0))
            .filter(|share| *share >= PROGRESS_MIN && !elapsed.is_zero());
        let Some(share) = progress else {
            return usual.filter(|left| *left <= ETA_MAX);
        };
        let by_progress = elapsed.as_secs_f64() * (1.0 - share) / share;
        let seconds = usual.map_or(by_progress, |left| {
            by_progress * share + left.as_secs_f64() * (1.0 - share)
        });
        let left = Duration::try_from_secs_f64(seconds).ok();
        left.filter(|left| *left <= ETA_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn history(seconds: &[u64]) -> History {
        let mut history = History::default();
        for seconds in seconds {
            history.add(Duration::from_secs(*seconds));
        }
        history
    }

    #[test]
    fn the_last_starts_are_kept_and_their_median_counts() {
        assert_eq!(history(&[]).median(), None);
        for (starts, median) in [
            (&[40][..], 40),
            (&[40, 60], 60),
            (&[300, 40, 50], 50),
            (&[900, 900, 900, 900, 900, 1, 2, 3, 4, 5, 6, 7, 8], 5),
        ] {
            let history = history(starts);
            assert_eq!(history.median(), Some(Duration::from_secs(median)));
            assert!(history.starts().count() <= STARTS_KEPT);
        }
        let last: Vec<_> = history(&[9, 1, 2, 3, 4, 5, 6, 7, 8]).starts().collect();
        let expected: Vec<_> = (1..=8).map(Duration::from_secs).collect();
        assert_eq!(last, expected);
    }

    #[test]
    fn a_server_that_ran_already_was_not_started() {
        let mut history = History::default();
        history.add(START_MIN - Duration::from_millis(1));
        assert!(history.is_empty());
        history.add(START_MIN);
        assert!(!history.is_empty());
    }

    #[test]
    fn the_usual_time_runs_down_and_then_nothing_is_promised() {
        let history = history(&[60]);
        for (elapsed, eta) in [
            (0, Some(60)),
            (20, Some(40)),
            (59, Some(1)),
            (60, None),
            (90, None),
        ] {
            let elapsed = Duration::from_secs(elapsed);
            assert_eq!(history.eta(elapsed, None), eta.map(Duration::from_secs));
        }
    }

    #[test]
    fn progress_is_heard_the_more_the_further_it_is() {
        let (none, some) = (history(&[]), history(&[60]));
        let elapsed = Duration::from_secs(20);
        for (progress, alone, with_usual) in [
            (0.01, None, Some(40.0)),
            (0.5, Some(20.0), Some(30.0)),
            (0.8, Some(5.0), Some(12.0)),
            (1.0, Some(0.0), Some(0.0)),
            (f64::NAN, None, Some(40.0)),
            (7.0, Some(0.0), Some(0.0)),
        ] {
            let near = |eta: Option<Duration>, expected: Option<f64>| match (eta, expected) {
                (Some(eta), Some(expected)) => (eta.as_secs_f64() - expected).abs() < 0.001,
                (None, None) => true,
                _ => false,
            };
            assert!(near(none.eta(elapsed, Some(progress)), alone), "{progress}");
            assert!(
                near(some.eta(elapsed, Some(progress)), with_usual),
                "{progress}"
            );
        }
        let late = some.eta(Duration::from_secs(90), Some(0.75));
        let expected = Some(Duration::from_secs(30));
        assert_eq!(late, expected, "progress outlives the usual time");
    }

    proptest! {
        #[test]
        fn no_story_makes_an_eta_that_is_out_of_bounds(
            starts in proptest::collection::vec(any::<u64>(), 0..20),
            elapsed: u64,
            progress in proptest::option::of(any::<f64>()),
        ) {
            let mut history = History::default();
            for millis in starts {
                history.add(Duration::from_millis(millis));
            }
            let eta = history.eta(Duration::from_millis(elapsed), progress);
            prop_assert!(eta.is_none_or(|eta| eta <= ETA_MAX));
        }

        #[test]
        fn an_eta_lies_between_what_history_and_progress_say(
            start in 1_u64..600, elapsed in 1_u64..600, progress in 0.05..1.0_f64,
        ) {
            let elapsed = Duration::from_secs(elapsed);
            let some = history(&[start]);
            let alone = history(&[]).eta(elapsed, Some(progress));
            if let (Some(usual), Some(alone)) = (some.eta(elapsed, None), alone) {
                let eta = some.eta(elapsed, Some(progress)).unwrap();
                let slack = Duration::from_millis(1);
                prop_assert!(eta + slack >= usual.min(alone) && eta <= usual.max(alone) + slack);
            }
        }
    }
}
