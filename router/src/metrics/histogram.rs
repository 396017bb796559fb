//! How long something took, counted by upper bounds.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// The upper bounds of what takes no time, in milliseconds; what took longer is only in the sum.
pub const BOUNDS_MILLIS: [u32; 12] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000];
/// The upper bounds of what may take a server's start.
pub const WAIT_BOUNDS_MILLIS: [u32; 12] = [
    10, 50, 100, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 120_000, 300_000,
];

/// Counts of what took how long.
#[derive(Debug)]
pub struct Histogram {
    bounds: [u32; BOUNDS_MILLIS.len()],
    buckets: [AtomicU64; BOUNDS_MILLIS.len()],
    longer: AtomicU64,
    micros: AtomicU64,
}

/// The counts of one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Spread {
    /// How many took at most so many seconds, each including the ones before.
    pub buckets: Vec<(f64, u64)>,
    /// How many there were.
    pub count: u64,
    /// What they took, all together.
    pub sum: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::of(BOUNDS_MILLIS)
    }
}

impl Histogram {
    /// Nothing was counted yet, by `bounds` in milliseconds, which ascend.
    #[must_use]
    pub fn of(bounds: [u32; BOUNDS_MILLIS.len()]) -> Self {
        Self {
            bounds,
            buckets: Default::default(),
            longer: AtomicU64::default(),
            micros: AtomicU64::default(),
        }
    }

    /// Counts one that took so long.
    pub fn count(&self, took: Duration) {
        let mut buckets = self.bounds.iter().zip(&self.buckets);
        let fits = |bound: u32| took <= Duration::from_millis(u64::from(bound));
        let bucket = buckets.find(|(bound, _)| fits(**bound));
        bucket
            .map_or(&self.longer, |(_, bucket)| bucket)
            .fetch_add(1, Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Relaxed);
    }

    /// What was counted. Not one instant's: counting goes on meanwhile.
    #[must_use]
    pub fn spread(&self) -> Spread {
        let mut count = 0;
        let bounds = self.bounds.iter().zip(&self.buckets);
        let buckets = bounds.map(|(bound, bucket)| {
            count += bucket.load(Relaxed);
            (f64::from(*bound) / 1_000.0, count)
        });
        Spread {
            buckets: buckets.collect(),
            count: count + self.longer.load(Relaxed),
            sum: Duration::from_micros(self.micros.load(Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_counted_once_at_the_bound_it_fits() {
        let histogram = Histogram::default();
        for millis in [0, 1, 3, 5_000, 5_001] {
            histogram.count(Duration::from_millis(millis));
        }
        let spread = histogram.spread();

        let up_to = |seconds| {
            let found = spread.buckets.iter().find(|(bound, _)| *bound == seconds);
            found.unwrap().1
        };
        assert_eq!((up_to(0.001), up_to(0.002), up_to(0.005)), (2, 2, 3));
        assert_eq!((up_to(5.0), spread.count), (4, 5));
        assert_eq!(spread.sum, Duration::from_millis(10_005));
    }
}
