//! When an address is asked for its status while its server wakes, and what the answers are worth.
//!
//! Pure: `now` is passed in.

use std::io;
use std::time::{Duration, Instant};

use crate::addr::BackendAddr;

/// Pause after an attempt that failed at once: what a player may wait for no reason.
pub const PROBE_PAUSE: Duration = Duration::from_millis(25);
/// Pause after an attempt that got no word: nobody is there to say no.
pub const SILENCE_PAUSE: Duration = Duration::from_millis(250);
/// Pause after an answer that proves nothing, since it may be another server's.
pub const ANSWERED_PAUSE: Duration = Duration::from_secs(1);
/// How long after a refused dial the address counts as seen without an answer.
pub const SHUT_FRESH: Duration = Duration::from_secs(1);
/// Most probes of all wakes together, a second; more wakes are probed less often each.
pub const PROBES_PER_SECOND_MAX: u32 = 4_000;

/// What came of asking an address for its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeReply {
    /// It answered with a status.
    Answered,
    /// It took the connection and ended it, or said something else.
    Closed,
    /// It took the connection and said nothing in time.
    Mute,
    /// Nobody listens there.
    Refused,
    /// No word, or no way there.
    Silent,
    /// It could not be asked: no such name, or no files left here.
    Unknown,
}

impl ProbeReply {
    /// What it says that an address could not be reached: only what the other side did counts.
    #[must_use]
    pub fn not_reached(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted => Self::Refused,
            io::ErrorKind::TimedOut
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable => Self::Silent,
            _ => Self::Unknown,
        }
    }

    /// Whether the port took the connection.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Answered | Self::Closed | Self::Mute)
    }

    /// What it says of a server that should be ready, after "but".
    #[must_use]
    pub fn problem(self) -> &'static str {
        match self {
            Self::Answered | Self::Closed | Self::Mute => "it answers no status",
            Self::Refused => "its port refuses connections",
            Self::Silent => "there is no answer from it",
            Self::Unknown => "it could not be asked",
        }
    }

    fn pause(self) -> Duration {
        match self {
            Self::Refused | Self::Closed => PROBE_PAUSE,
            Self::Mute | Self::Silent | Self::Unknown => SILENCE_PAUSE,
            Self::Answered => ANSWERED_PAUSE,
        }
    }
}

/// What is known of one address since a wake began.
#[derive(Debug, Clone)]
pub struct Probing {
    address: BackendAddr,
    due: Instant,
    asked: bool,
    answered: bool,
    absent: bool,
}

impl Probing {
    /// Nothing is known of `address` yet.
    #[must_use]
    pub fn new(address: BackendAddr, now: Instant) -> Self {
        Self {
            address,
            due: now,
            asked: false,
            answered: false,
            absent: false,
        }
    }

    /// The same where a dial was refused at `shut`, which is as good as a probe for as long as
    /// [`SHUT_FRESH`]: a server that is up before the first probe is noticed all the same.
    #[must_use]
    pub fn shut_at(mut self, shut: Option<Instant>, now: Instant) -> Self {
        let age = shut.map(|shut| now.saturating_duration_since(shut));
        self.absent |= age.is_some_and(|age| age <= SHUT_FRESH);
        self
    }

    /// The address that is asked.
    #[must_use]
    pub fn address(&self) -> &BackendAddr {
        &self.address
    }

    /// Asks `address` from now on; of another one nothing is known, and a probe under way is
    /// given up.
    pub fn aim(&mut self, address: &BackendAddr, now: Instant) {
        if self.address != *address {
            *self = Self::new(address.clone(), now);
        }
        self.due = now;
    }

    /// When the next probe is due; `None` while one is under way.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        (!self.asked).then_some(self.due)
    }

    /// Notes that a probe is sent.
    pub fn ask(&mut self) {
        self.asked = true;
    }

    /// Takes what came of it, and tells whether it proves that a server came up here: it answers,
    /// and did not at some time since the wake began. Who answered once and is silent then is
    /// busy, perhaps, and not away.
    pub fn take(&mut self, now: Instant, reply: ProbeReply) -> bool {
        self.asked = false;
        self.due = now + reply.pause();
        match reply {
            ProbeReply::Answered => {
                self.answered = true;
                return self.absent;
            }
            ProbeReply::Refused | ProbeReply::Closed => self.absent = true,
            ProbeReply::Silent | ProbeReply::Mute if !self.answered => self.absent = true,
            ProbeReply::Silent | ProbeReply::Mute | ProbeReply::Unknown => {}
        }
        false
    }
}

/// Spreads the probes of all wakes over time, first come, first served.
#[derive(Debug, Default)]
pub struct Slots {
    next: Option<Instant>,
}

impl Slots {
    /// When the probe that is due at `now` may be sent: at most [`PROBES_PER_SECOND_MAX`].
    pub fn reserve(&mut self, now: Instant) -> Instant {
        let at = self.next.map_or(now, |next| next.max(now));
        self.next = Some(at + Duration::from_secs(1) / PROBES_PER_SECOND_MAX);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ProbeReply::{Answered, Closed, Mute, Refused, Silent, Unknown};
    use proptest::prelude::*;

    fn address(text: &str) -> BackendAddr {
        BackendAddr::parse(text).unwrap()
    }

    /// Whether the last of `replies` proves that a server came up.
    fn proves(replies: &[ProbeReply]) -> bool {
        let now = Instant::now();
        let mut probing = Probing::new(address("a:1"), now);
        let mut proved = false;
        for reply in replies {
            proved = probing.take(now, *reply);
        }
        proved
    }

    #[test]
    fn an_answer_counts_only_from_an_address_that_was_seen_without_one() {
        for (replies, expected) in [
            (&[Answered][..], false),
            (&[Answered, Answered], false),
            (&[Refused], false),
            (&[Refused, Answered], true),
            (&[Closed, Answered], true),
            (&[Silent, Answered], true),
            (&[Mute, Answered], true),
            (&[Answered, Refused, Answered], true),
            (&[Answered, Closed, Answered], true),
            // It may have been too busy for a moment.
            (&[Answered, Silent, Answered], false),
            (&[Answered, Mute, Answered], false),
            // That the router could not ask says nothing about the server.
            (&[Unknown, Answered], false),
        ] {
            assert_eq!(proves(replies), expected, "{replies:?}");
        }
    }

    #[test]
    fn what_was_seen_of_one_address_says_nothing_of_another() {
        let now = Instant::now();
        let mut probing = Probing::new(address("a:1"), now);
        probing.take(now, Refused);
        probing.ask();
        probing.aim(&address("b:1"), now);
        assert_eq!(probing.due(), Some(now), "the old probe is given up");
        assert!(!probing.take(now, Answered));

        probing.take(now, Refused);
        probing.aim(&address("b:1"), now);
        assert!(probing.take(now, Answered), "the same address is no other");
    }

    #[test]
    fn a_dial_that_was_refused_a_moment_ago_is_as_good_as_a_probe() {
        let now = Instant::now();
        let (at, later) = (Some(now), |pause| now + SHUT_FRESH + pause);
        for (shut, begin, expected) in [
            (None, now, false),
            (at, now, true),
            (at, later(Duration::ZERO), true),
            (at, later(Duration::from_millis(1)), false),
        ] {
            let mut probing = Probing::new(address("a:1"), begin).shut_at(shut, begin);
            assert_eq!(probing.take(begin, Answered), expected, "{shut:?}");
        }
        let mut moved = Probing::new(address("a:1"), now).shut_at(at, now);
        moved.aim(&address("b:1"), now);
        assert!(!moved.take(now, Answered), "of another address");
    }

    proptest! {
        #[test]
        fn probes_of_all_wakes_keep_to_the_rate(waits in proptest::collection::vec(0_u64..2_000, 1..300)) {
            let (mut slots, mut now) = (Slots::default(), Instant::now());
            let mut last: Option<Instant> = None;
            for wait in waits {
                now += Duration::from_micros(wait);
                let at = slots.reserve(now);
                prop_assert!(at >= now);
                if let Some(last) = last {
                    prop_assert!(at - last >= Duration::from_secs(1) / PROBES_PER_SECOND_MAX);
                }
                last = Some(at);
            }
        }
    }
}
