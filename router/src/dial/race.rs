//! Which of the addresses of a name is tried when, as RFC 8305 has it: both families in turn, the next one after a
//! short while or at once when one failed, and the first to answer wins.
//!
//! Pure: `now` is passed in, and outcomes.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long an address is tried alone before the next one is tried beside it; less where the limit is too short to try
/// all (RFC 8305, section 5: "Connection Attempt Delay").
pub const NEXT_DELAY: Duration = Duration::from_millis(250);
/// The same of an address that took the connection, where an answer to more than that is waited for.
pub const ANSWER_DELAY: Duration = Duration::from_secs(1);
/// The least delay (RFC 8305, section 8).
pub const DELAY_MIN: Duration = Duration::from_millis(10);
/// Most addresses of one name that are tried; the others are left out.
pub const ADDRESSES_MAX: usize = 16;
/// Most that are tried at once; another one takes the place of the oldest.
pub const ATTEMPTS_MAX: usize = 8;

/// In which order `addresses` are tried, each once: theirs, but with the families in turn (RFC 8305, section 4).
#[must_use]
pub fn in_turn(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut these, mut those) = (Vec::new(), Vec::new());
    for address in addresses {
        let family = if address.is_ipv6() == first {
            &mut these
        } else {
            &mut those
        };
        if family.len() < ADDRESSES_MAX && !family.contains(address) {
            family.push(*address);
        }
    }
    let (mut these, mut those) = (these.into_iter(), those.into_iter());
    let pairs = std::iter::from_fn(|| match [these.next(), those.next()] {
        [None, None] => None,
        pair => Some(pair),
    });
    pairs.flatten().flatten().take(ADDRESSES_MAX).collect()
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Try the address with this index.
    Start {
        /// Its index.
        index: usize,
        /// The one to give up for it.
        instead_of: Option<usize>,
    },
    /// Wait for an outcome, until then.
    Wait(Instant),
    /// There is nothing left to try, or no time.
    Over,
}

/// The tries at a number of addresses.
#[derive(Debug, Clone)]
pub struct Race {
    count: usize,
    next: usize,
    /// Those under way, the oldest first.
    running: Vec<usize>,
    /// When the next one is due.
    due: Instant,
    deadline: Instant,
    delay: Duration,
    answer_delay: Duration,
}

impl Race {
    /// One of `count` addresses, from `now` to `deadline`.
    #[must_use]
    pub fn new(count: usize, now: Instant, deadline: Instant) -> Self {
        // So that the last one has half of the time.
        let turns = u32::try_from(count).unwrap_or(u32::MAX).max(1);
        let share = deadline.saturating_duration_since(now) / turns.saturating_mul(2);
        Self {
            count,
            next: 0,
            running: Vec::with_capacity(count.min(ATTEMPTS_MAX)),
            due: now,
            deadline,
            delay: share.clamp(DELAY_MIN, NEXT_DELAY),
            answer_delay: share.clamp(DELAY_MIN, ANSWER_DELAY),
        }
    }

    /// What to do at `now`. Whatever is to be started counts as started.
    pub fn step(&mut self, now: Instant) -> Step {
        if now >= self.deadline {
            return Step::Over;
        }
        let left = self.next < self.count;
        if left && (now >= self.due || self.running.is_empty()) {
            let (index, full) = (self.next, self.running.len() >= ATTEMPTS_MAX);
            let instead_of = full.then(|| self.running.remove(0));
            self.next += 1;
            self.running.push(index);
            self.due = now + self.delay;
            return Step::Start { index, instead_of };
        }
        if self.running.is_empty() {
            return Step::Over;
        }
        Step::Wait(if left {
            self.due.min(self.deadline)
        } else {
            self.deadline
        })
    }

    /// The address took the connection, and is asked for more than that: others wait longer for it.
    pub fn reached(&mut self, index: usize, now: Instant) {
        if self.running.contains(&index) {
            self.due = self.due.max(now + self.answer_delay);
        }
    }

    /// It failed, so the next one is due.
    pub fn failed(&mut self, index: usize, now: Instant) {
        self.running.retain(|running| *running != index);
        self.due = now;
    }

    /// Whether some are still under way: nothing was heard from those.
    #[must_use]
    pub fn has_silent(&self) -> bool {
        !self.running.is_empty()
    }
}

#[cfg(test)]
#[path = "race_tests.rs"]
mod tests;
