//! Who uses a server: whoever plays there, and whoever waits for it.
//!
//! Pure. A waiter is a lease like a session, and the minimum online time counts from readiness: a
//! server that took two minutes to start has not used up any of it.

use std::time::{Duration, Instant};

/// The use of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lease {
    waiters: u32,
    sessions: u32,
    /// When the last of them left.
    left: Option<Instant>,
}

impl Lease {
    /// A player begins to wait.
    pub fn wait(&mut self) {
        self.waiters = self.waiters.saturating_add(1);
    }

    /// A waiting player gets in, or leaves.
    pub fn wait_over(&mut self, now: Instant) {
        self.waiters = self.waiters.saturating_sub(1);
        self.left = Some(now);
    }

    /// A player's session begins.
    pub fn play(&mut self) {
        self.sessions = self.sessions.saturating_add(1);
    }

    /// A player's session ends.
    pub fn play_over(&mut self, now: Instant) {
        self.sessions = self.sessions.saturating_sub(1);
        self.left = Some(now);
    }

    /// Players who wait.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.waiters
    }

    /// Players' sessions.
    #[must_use]
    pub fn sessions(&self) -> u32 {
        self.sessions
    }

    /// Whether anybody plays or waits.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.waiters > 0 || self.sessions > 0
    }

    /// When it was last used: `now` while it is.
    #[must_use]
    pub fn last_used(&self, now: Instant) -> Option<Instant> {
        if self.is_used() { Some(now) } else { self.left }
    }
}

/// Until when a server that is ready since `ready_at` should be kept up at least, if it was last
/// used at `last_used`.
#[must_use]
pub fn keep_until(ready_at: Instant, last_used: Option<Instant>, min_online: Duration) -> Instant {
    let least = ready_at.checked_add(min_online).unwrap_or(ready_at);
    last_used.map_or(least, |used| used.max(least))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn waiting_is_use_and_the_last_to_leave_is_remembered() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut lease = Lease::default();
        assert_eq!(lease.last_used(at(0)), None);
        lease.wait();
        assert_eq!(lease.last_used(at(30)), Some(at(30)));
        lease.play();
        lease.wait_over(at(40));
        assert_eq!((lease.waiting(), lease.sessions()), (0, 1));
        assert_eq!(lease.last_used(at(50)), Some(at(50)));
        lease.play_over(at(60));
        assert_eq!(lease.last_used(at(90)), Some(at(60)));
    }

    #[test]
    fn the_least_time_online_counts_from_readiness() {
        let ready = Instant::now();
        let at = |seconds| ready + Duration::from_secs(seconds);
        let minute = Duration::from_secs(60);
        assert_eq!(keep_until(ready, None, minute), at(60));
        assert_eq!(keep_until(ready, Some(at(10)), minute), at(60));
        assert_eq!(keep_until(ready, Some(at(100)), minute), at(100));
        assert_eq!(keep_until(ready, None, Duration::MAX), ready);
    }

    proptest! {
        #[test]
        fn no_order_of_comings_and_goings_goes_below_nobody(
            steps in proptest::collection::vec(0_u8..4, 0..40)
        ) {
            let now = Instant::now();
            let mut lease = Lease::default();
            for step in steps {
                match step {
                    0 => lease.wait(),
                    1 => lease.play(),
                    2 => lease.wait_over(now),
                    _ => lease.play_over(now),
                }
                let used = lease.waiting() + lease.sessions() > 0;
                prop_assert_eq!(lease.is_used(), used);
                prop_assert!(lease.waiting() <= 40 && lease.sessions() <= 40);
            }
        }
    }
}
