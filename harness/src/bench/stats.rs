//! Samples to the figures that are compared.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::load::latency::nearest_rank;

/// Percentiles of a set of times, each one of the samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Summary {
    count: usize,
    p50: Duration,
    p99: Duration,
    max: Duration,
}

impl Summary {
    pub(super) fn of(samples: &[Duration]) -> Result<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_unstable();
        let count = sorted.len();
        let rank = |percent: usize| {
            let sample = nearest_rank(&sorted, percent * 10);
            sample.copied().context("no samples")
        };
        Ok(Self {
            count,
            p50: rank(50)?,
            p99: rank(99)?,
            max: rank(100)?,
        })
    }

    pub(super) fn p99(&self) -> Duration {
        self.p99
    }

    /// A scale on which nearly all samples can be told apart: twice the 99th percentile, or all.
    pub(super) fn scale(&self) -> Duration {
        self.max.min(self.p99 * 2)
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "count": self.count,
            "p50_ms": millis(self.p50),
            "p99_ms": millis(self.p99),
            "max_ms": millis(self.max),
        })
    }
}

pub(super) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p99, max) = (millis(self.p50), millis(self.p99), millis(self.max));
        write!(
            formatter,
            "p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.1} ms, n {}",
            self.count
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let samples: Vec<_> = (1..=200).rev().map(Duration::from_millis).collect();
        let summary = Summary::of(&samples).unwrap();
        assert_eq!(summary.p50, Duration::from_millis(100));
        assert_eq!(summary.p99, Duration::from_millis(198));
        assert_eq!(summary.max, Duration::from_millis(200));
        assert!(Summary::of(&[]).is_err());
    }
}
