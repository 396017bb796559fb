//! What became of wakes and of the players who waited, counted.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::state::{Spent, WakeEnd};
use crate::counts::Counts;
use crate::shared_str::SharedStr;

/// Upper bounds of the histogram of wakes, in seconds; longer ones are only in the sum.
pub const WAKE_SECONDS: [u32; 13] = [1, 2, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300];
/// Most servers whose own figures are told; the sums are of all.
pub const SERVERS_TOLD_MAX: usize = 1_000;

/// How a player's wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HeldEnd {
    /// Let in over the same connection.
    LetIn,
    /// Left, or the connection broke.
    Abandoned,
    /// Sent here once more, by a transfer.
    Transferred,
    /// Relayed to another server, such as a lobby.
    Forwarded,
    /// Told to come back.
    Kicked,
}

impl HeldEnd {
    /// Every end.
    pub const ALL: [Self; 5] = [
        Self::LetIn,
        Self::Abandoned,
        Self::Transferred,
        Self::Forwarded,
        Self::Kicked,
    ];

    /// The word for it, in metrics and events.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LetIn => "let_in",
            Self::Abandoned => "abandoned",
            Self::Transferred => "transferred",
            Self::Forwarded => "forwarded",
            Self::Kicked => "kicked",
        }
    }
}

/// Why a login did not wake its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The player is denied.
    Denied,
    /// There is a list, and the player is not on it.
    NotListed,
    /// Not at this hour.
    Hours,
    /// Too many wakes from this player or address.
    TooOften,
    /// The last start failed, and the next try is not due.
    BackingOff,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 5] = [
        Self::Denied,
        Self::NotListed,
        Self::Hours,
        Self::TooOften,
        Self::BackingOff,
    ];

    /// The word for it, in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::NotListed => "not_listed",
            Self::Hours => "hours",
            Self::TooOften => "too_often",
            Self::BackingOff => "backing_off",
        }
    }
}

/// Counts of all servers since the router began.
#[derive(Debug)]
pub(super) struct Counters {
    wakes: Counts<WakeEnd, 6>,
    buckets: [AtomicU64; WAKE_SECONDS.len()],
    wake_millis: AtomicU64,
    held: AtomicU64,
    held_ends: Counts<HeldEnd, 5>,
    refusals: Counts<Refusal, 5>,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            wakes: Counts::new(WakeEnd::ALL),
            buckets: Default::default(),
            wake_millis: AtomicU64::default(),
            held: AtomicU64::default(),
            held_ends: Counts::new(HeldEnd::ALL),
            refusals: Counts::new(Refusal::ALL),
        }
    }
}

impl Counters {
    pub(super) fn wake_ended(&self, end: WakeEnd, took: Duration) {
        self.wakes.count(end);
        if end != WakeEnd::Ready {
            return;
        }
        let mut buckets = WAKE_SECONDS.iter().zip(&self.buckets);
        let fits = |bound: &u32| took <= Duration::from_secs(u64::from(*bound));
        if let Some((_, bucket)) = buckets.find(|(bound, _)| fits(bound)) {
            bucket.fetch_add(1, Relaxed);
        }
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.wake_millis.fetch_add(millis, Relaxed);
    }

    pub(super) fn held(&self) {
        self.held.fetch_add(1, Relaxed);
    }

    pub(super) fn held_ended(&self, end: HeldEnd) {
        self.held_ends.count(end);
    }

    pub(super) fn refused(&self, reason: Refusal) {
        self.refusals.count(reason);
    }

    /// What was counted; what is told of servers is added by who keeps them.
    pub(super) fn totals(&self) -> Totals {
        // Ends first, so that nobody stops waiting who never began.
        let held = self.held_ends.totals();
        let over = held.iter().map(|(_, count)| count).sum();
        let wakes = self.wakes.totals();
        let mut wake_buckets: Vec<(u32, u64)> = Vec::new();
        let mut sum = 0;
        for (bound, bucket) in WAKE_SECONDS.into_iter().zip(&self.buckets) {
            sum += bucket.load(Relaxed);
            wake_buckets.push((bound, sum));
        }
        let mut ready = wakes.iter().filter(|(end, _)| *end == WakeEnd::Ready);
        let ready = ready.next().map_or(sum, |(_, count)| (*count).max(sum));
        Totals {
            wakes,
            wake_buckets,
            wake_count: ready,
            wake_time: Duration::from_millis(self.wake_millis.load(Relaxed)),
            held_now: self.held.load(Relaxed).saturating_sub(over),
            held,
            refusals: self.refusals.totals(),
            spent: Spent::default(),
            asleep: Vec::new(),
        }
    }
}

/// The sums of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    /// Wakes that ended, by how.
    pub wakes: Vec<(WakeEnd, u64)>,
    /// Wakes that got ready within so many seconds, each including the ones before.
    pub wake_buckets: Vec<(u32, u64)>,
    /// Wakes that got ready.
    pub wake_count: u64,
    /// What those took, all together.
    pub wake_time: Duration,
    /// Players who wait.
    pub held_now: u64,
    /// Players who waited, by how it ended.
    pub held: Vec<(HeldEnd, u64)>,
    /// Logins that woke nothing, by reason.
    pub refusals: Vec<(Refusal, u64)>,
    /// Time spent in states, all servers together.
    pub spent: Spent,
    /// Time asleep by server: the first [`SERVERS_TOLD_MAX`] by name.
    pub asleep: Vec<(SharedStr, Duration)>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_case_is_counted_for_itself() {
        let counters = Counters::default();
        for (times, end) in (1..).zip(WakeEnd::ALL) {
            (0..times).for_each(|_| counters.wake_ended(end, Duration::from_secs(1)));
        }
        for (times, end) in (1..).zip(HeldEnd::ALL) {
            (0..times).for_each(|_| counters.held_ended(end));
        }
        for (times, reason) in (1..).zip(Refusal::ALL) {
            (0..times).for_each(|_| counters.refused(reason));
        }
        (0..20).for_each(|_| counters.held());

        let totals = counters.totals();
        assert_eq!(
            totals.wakes,
            WakeEnd::ALL.into_iter().zip(1..).collect::<Vec<_>>()
        );
        assert_eq!(
            totals.held,
            HeldEnd::ALL.into_iter().zip(1..).collect::<Vec<_>>()
        );
        assert_eq!(
            totals.refusals,
            Refusal::ALL.into_iter().zip(1..).collect::<Vec<_>>()
        );
        assert_eq!(totals.held_now, 20 - 15);
        assert_eq!(totals.wake_count, 1, "of those that failed no time is told");
    }

    proptest! {
        #[test]
        fn the_histogram_holds_every_wake_once(
            millis in proptest::collection::vec(0_u64..400_000, 0..50)
        ) {
            let counters = Counters::default();
            for millis in &millis {
                counters.wake_ended(WakeEnd::Ready, Duration::from_millis(*millis));
            }
            let totals = counters.totals();
            prop_assert_eq!(totals.wake_count, millis.len() as u64);
            prop_assert_eq!(totals.wake_time, Duration::from_millis(millis.iter().sum()));
            for (bound, count) in totals.wake_buckets {
                let within = millis.iter().filter(|millis| **millis <= u64::from(bound) * 1000);
                prop_assert_eq!(count, within.count() as u64);
            }
        }
    }
}
