//! When which backend is asked how it is.
//!
//! Pure: `now` is passed in. All backends stand on a ring and get their turns one after the other, as many
//! in an interval as there are; no more than [`CHECKS_PER_SECOND_MAX`] though, so of very many each has
//! its turn less often. New ones and suspects are asked [`soon`](Schedule::soon), every other time at most:
//! the ring always goes on.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::addr::BackendAddr;

/// Most checks begun in a second.
pub const CHECKS_PER_SECOND_MAX: u32 = 100;
/// Most backends that are asked out of turn; the others wait for theirs.
pub const SOON_MAX: usize = 1_024;
/// Within what time a new backend is asked first, if it is among those; each at another moment.
pub const FIRST_MAX: Duration = Duration::from_secs(10);
/// After what time a suspect is asked again.
pub const AGAIN: Duration = Duration::from_secs(5);

/// From one check to the next of a backend somebody is interested in, where nothing else was set.
pub const INTERVAL: Duration = Duration::from_secs(30);
/// How many intervals after the last interest a backend is asked at all; for so long is a word of it worth anything, too.
pub const INTEREST_INTERVALS: u32 = 10;
/// Most checks of a backend after the last interest in it: six, and two more after each that failed.
pub const CHECKS_OF_INTEREST_MAX: usize = 18;

/// Which backends are asked how they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checks {
    /// None, and nothing is kept of what others heard.
    Never,
    /// Those that somebody is interested in, once in this time; when nobody is any more, ever more seldom, and after
    /// [`INTEREST_INTERVALS`] not at all.
    OfInterest(Duration),
    /// All of them, each once in this time.
    Always(Duration),
}

impl Checks {
    /// From one check of a backend to the next at least; zero where there are none.
    #[must_use]
    pub fn interval(self) -> Duration {
        match self {
            Self::Never => Duration::ZERO,
            Self::OfInterest(interval) | Self::Always(interval) => interval,
        }
    }

    /// The word for it in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::OfInterest(_) => "interest",
            Self::Always(_) => "always",
        }
    }

    /// After what time without a word nothing is known of a backend any more; `None` where it is asked all the time.
    #[must_use]
    pub fn fade(self) -> Option<Duration> {
        match self {
            Self::Never | Self::Always(_) => None,
            Self::OfInterest(interval) => Some(interval * INTEREST_INTERVALS),
        }
    }

    /// Whether `interest` that is so long ago is any still.
    #[must_use]
    pub fn is_interest(self, interest: Duration) -> bool {
        self.fade().is_none_or(|most| interest < most)
    }

    /// Whether a backend is to be asked in which somebody was interested so long ago, and which was heard of last so
    /// long ago; `None`: never. The times from one check to the next double, since each is as long as the
    /// interest is old by then; a suspect's does not count.
    #[must_use]
    pub fn wants(self, interest: Option<Duration>, heard: Option<Duration>, suspect: bool) -> bool {
        match self {
            Self::Never => false,
            Self::Always(_) => true,
            Self::OfInterest(interval) => interest.is_some_and(|ago| {
                let pause = ago.max(interval) / 2;
                self.is_interest(ago) && (suspect || heard.is_none_or(|heard| heard >= pause))
            }),
        }
    }
}

/// Whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// The next on the ring's.
    Ring,
    /// This one's.
    Of(BackendAddr),
}

/// When whose turn is.
#[derive(Debug, Clone)]
pub struct Schedule {
    interval: Duration,
    /// How many stand on the ring.
    count: u32,
    /// The ring's next turn.
    turn: Instant,
    /// No check before.
    gate: Instant,
    /// Who is asked out of turn, the first one first.
    soon: BTreeSet<(Instant, BackendAddr)>,
    /// The last turn was one of those.
    was_soon: bool,
}

impl Schedule {
    /// Nobody to ask yet; everybody once in `interval`, which is not zero.
    #[must_use]
    pub fn new(interval: Duration, now: Instant) -> Self {
        Self {
            interval,
            count: 0,
            turn: now,
            gate: now,
            soon: BTreeSet::new(),
            was_soon: false,
        }
    }

    /// There are `count` on the ring from now on.
    pub fn resize(&mut self, count: usize, now: Instant) {
        let before = self.pause();
        self.count = u32::try_from(count).unwrap_or(u32::MAX);
        let pause = self.pause();
        // What was due among few is not put off among many, and comes sooner if there were fewer.
        if before.is_zero() || self.turn > now + pause {
            self.turn = now + pause;
        }
    }

    /// From one turn of the ring to the next; zero where nobody stands on it.
    fn pause(&self) -> Duration {
        self.interval.checked_div(self.count).unwrap_or_default()
    }

    /// Has a suspect asked again.
    pub fn again(&mut self, backend: BackendAddr, now: Instant) {
        self.soon(backend, now + self.interval.min(AGAIN));
    }

    /// Has a new backend asked, at a moment that is `share`, 0 to 1, of the time for that.
    pub fn first(&mut self, backend: BackendAddr, share: f64, now: Instant) {
        let within = self.interval.min(FIRST_MAX);
        self.soon(backend, now + within.mul_f64(share.clamp(0.0, 1.0)));
    }

    /// Nothing happens where too many wait already: the ring comes to all of them.
    fn soon(&mut self, backend: BackendAddr, at: Instant) {
        if self.soon.len() < SOON_MAX {
            self.soon.insert((at, backend));
        }
    }

    /// When to look again; `None` until somebody is there to be asked.
    #[must_use]
    pub fn next_at(&self) -> Option<Instant> {
        let soon = self.soon.first().map(|(at, _)| *at);
        let ring = (self.count > 0).then_some(self.turn);
        let due = soon.into_iter().chain(ring).min()?;
        Some(due.max(self.gate))
    }

    /// Whose turn it is at `now`, if it is anybody's.
    pub fn next(&mut self, now: Instant) -> Option<Turn> {
        if now < self.gate {
            return None;
        }
        let soon = self.soon.first().is_some_and(|(at, _)| *at <= now);
        let ring = self.count > 0 && self.turn <= now;
        self.was_soon = soon && !(ring && self.was_soon);
        if self.was_soon {
            return self.soon.pop_first().map(|(_, backend)| Turn::Of(backend));
        }
        if ring {
            // Who is late is not made up for by a rush.
            self.turn = (self.turn + self.pause()).max(now);
            return Some(Turn::Ring);
        }
        None
    }

    /// Whoever had the turn is asked; else, nothing is lost, and the next one's may be now.
    pub fn asked(&mut self, now: Instant) {
        self.gate = now + Duration::from_secs(1) / CHECKS_PER_SECOND_MAX;
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
