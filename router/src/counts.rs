//! Counts of a few cases that are known beforehand.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// One count for each of a few cases.
#[derive(Debug)]
pub(crate) struct Counts<T, const N: usize> {
    cases: [T; N],
    counts: [AtomicU64; N],
}

impl<T: Copy + PartialEq, const N: usize> Counts<T, N> {
    /// One for each of `cases`.
    pub(crate) fn new(cases: [T; N]) -> Self {
        let counts = [const { AtomicU64::new(0) }; N];
        Self { cases, counts }
    }

    pub(crate) fn count(&self, case: T) {
        let mut counts = self.cases.iter().zip(&self.counts);
        if let Some((_, count)) = counts.find(|(own, _)| **own == case) {
            count.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn totals(&self) -> Vec<(T, u64)> {
        let counts = self.counts.iter().map(|count| count.load(Relaxed));
        self.cases.iter().copied().zip(counts).collect()
    }
}
