//! How often: limits of so many within so long, kept by whom they are about.
//!
//! The window slides: in no span of that length, wherever it begins, is there more than the limit,
//! and who stays under it never waits.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::config::values::{duration, number};

/// Most a limit may allow: as many are remembered of one client.
pub const RATE_COUNT_MAX: u32 = 1_000;
/// Longest time a limit may count over.
const RATE_PER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// A limit: so many within any time so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub(crate) count: usize,
    /// Within what.
    pub(crate) per: Duration,
}

impl Rate {
    /// Reads `10/5m`: ten within any five minutes.
    ///
    /// # Errors
    /// Anything else, a count not from 1 to 1000, or a time not from 1 s to a day.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (count, per) = text
            .split_once('/')
            .ok_or_else(|| format!("{text:?} is not a limit such as 10/5m"))?;
        let count = number(count, 1, RATE_COUNT_MAX)?;
        let per = duration(per.trim(), Duration::from_secs(1), RATE_PER_MAX)?;
        Ok(Self {
            count: usize::try_from(count).unwrap_or(usize::MAX),
            per,
        })
    }
}

/// What of an address counts as one client: all of IPv4's, also where it is written as IPv6; of
/// IPv6 the first half, since a household has all of the other.
#[must_use]
pub fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
    }
}

/// What was counted within the time of one limit, at most `most` of it: the oldest is forgotten.
#[derive(Debug)]
pub(crate) struct Recent<K> {
    rate: Option<Rate>,
    most: usize,
    /// Every one of them, the oldest first.
    order: VecDeque<(Instant, K)>,
    /// The same by who it was.
    times: HashMap<K, VecDeque<Instant>>,
}

impl<K: Eq + Hash + Clone> Recent<K> {
    /// Nothing counted yet; `None` is no limit, and nothing is ever counted then.
    pub(crate) fn new(rate: Option<Rate>, most: usize) -> Self {
        Self {
            rate,
            most,
            order: VecDeque::new(),
            times: HashMap::new(),
        }
    }

    /// How long `key` must wait for its next one; `None` is not at all.
    pub(crate) fn wait(&self, key: &K, now: Instant) -> Option<Duration> {
        let Rate { count, per } = self.rate?;
        let times = self.times.get(key)?;
        // The last `count` of them are in the way until the first of those is old enough.
        let first = times.len().checked_sub(count)?;
        let free = *times.get(first)? + per;
        free.checked_duration_since(now)
            .filter(|wait| !wait.is_zero())
    }

    /// How many more `key` may have now; `None` where there is no limit.
    pub(crate) fn left(&self, key: &K, now: Instant) -> Option<usize> {
        let Rate { count, per } = self.rate?;
        let within = self.times.get(key).map_or(0, |times| {
            // What `wait` takes for old enough is no longer in the way.
            let old = times.partition_point(|time| *time + per <= now);
            times.len().saturating_sub(old)
        });
        Some(count.saturating_sub(within))
    }

    /// Counts one for `key`, whether or not it had to wait.
    pub(crate) fn count(&mut self, key: K, now: Instant) {
        let Some(Rate { per, .. }) = self.rate else {
            return;
        };
        // Threads may come with their clock readings in another order than they read them.
        let now = self.order.back().map_or(now, |(last, _)| now.max(*last));
        while let Some((oldest, _)) = self.order.front()
            && (*oldest + per <= now || self.order.len() >= self.most)
        {
            self.forget_oldest();
        }
        self.times.entry(key.clone()).or_default().push_back(now);
        self.order.push_back((now, key));
    }

    fn forget_oldest(&mut self) {
        let Some((_, key)) = self.order.pop_front() else {
            return;
        };
        if let Some(times) = self.times.get_mut(&key) {
            times.pop_front();
            if times.is_empty() {
                self.times.remove(&key);
            }
        }
    }
}

#[cfg(test)]
#[path = "rate_tests.rs"]
mod tests;
