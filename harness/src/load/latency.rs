//! Percentiles of times.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Percentiles of a set of times, each one of the samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// The median.
    pub p50: Duration,
    /// 99 % take at most so long.
    pub p99: Duration,
    /// 99.9 % take at most so long.
    pub p999: Duration,
    /// All take at most so long.
    pub max: Duration,
}

impl Latency {
    /// Of times in nanoseconds, which it sorts.
    ///
    /// # Errors
    /// There are none.
    pub fn of(nanos: &mut [u32]) -> Result<Self> {
        nanos.sort_unstable();
        let rank = |per_mille| {
            let nanos = nearest_rank(nanos, per_mille).context("no samples")?;
            anyhow::Ok(Duration::from_nanos(u64::from(*nanos)))
        };
        Ok(Self {
            p50: rank(500)?,
            p99: rank(990)?,
            p999: rank(999)?,
            max: rank(1000)?,
        })
    }
}

/// The smallest of `sorted` that at least this share of all do not exceed.
#[must_use]
pub fn nearest_rank<T>(sorted: &[T], per_mille: usize) -> Option<&T> {
    let rank = (sorted.len() * per_mille).div_ceil(1000).max(1);
    sorted.get(rank - 1)
}

/// A time as a sample: nanoseconds, 4 s at most.
#[must_use]
pub fn nanos(time: Duration) -> u32 {
    u32::try_from(time.as_nanos()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let mut samples: Vec<_> = (1..=2000).rev().collect();
        let latency = Latency::of(&mut samples).unwrap();
        assert_eq!(latency.p50, Duration::from_nanos(1000));
        assert_eq!(latency.p99, Duration::from_nanos(1980));
        assert_eq!(latency.p999, Duration::from_nanos(1998));
        assert_eq!(latency.max, Duration::from_nanos(2000));
        let one = Latency::of(&mut [7]).unwrap();
        assert_eq!((one.p50, one.p999), (one.max, one.max));
        assert!(Latency::of(&mut []).is_err());
    }

    #[test]
    fn a_sample_holds_four_seconds() {
        assert_eq!(nanos(Duration::from_micros(3)), 3_000);
        assert_eq!(nanos(Duration::from_secs(60)), u32::MAX);
    }
}
