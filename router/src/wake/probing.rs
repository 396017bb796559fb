//! When an address is asked for its status while its server wakes, how, and what the answers are worth.
//!
//! Pure: `now` is passed in. What a starting server hears of is rare, since many write a line for each
//! connection; a refusal is the kernel's, and costs nobody anything. So pauses depend on what came, and grow with
//! the time from now to the moment that counts: the beginning, or that at which the server is expected.
//!
//! | What came | Pause | |
//! |---|---|---|
//! | refused | 25 to 200 ms, a twentieth of that time | nobody there has heard it |
//! | closed | 200 ms to 1 s, a tenth | 5 s where the server-manager or the table will tell |
//! | mute | 250 ms | the next one waits twice as long, 4 s at most |
//! | silent | 250 ms | the next dial waits twice as long, up to the limit of a player's |
//! | no such name, not asked | 250 ms to 1 s, a tenth | |
//! | answered, which proves nothing | 1 to 5 s, a tenth | 5 s where others will tell |

use std::io;
use std::time::{Duration, Instant};

use super::wanted::Wanted;
use crate::addr::BackendAddr;
use crate::dial::is_no_name;
use crate::ping::number;

/// Longest pause after anything that a server hears of where others will tell that it runs.
pub const QUIET_PAUSE: Duration = Duration::from_secs(5);
/// How long a dial may take at first; of an address that was measured, as long as it took.
pub const DIAL_LIMIT_MIN: Duration = Duration::from_millis(250);
/// How long an address that took the connection may take to answer, at first and at most: a server that
/// loads its world answers when it has, and so one connection waits for that instead of many.
pub const ANSWER_LIMITS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(4));
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
    /// There is no such name, as that of a container that does not run.
    NoName,
    /// It could not be asked: its name could not be looked up, or no files are left here.
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
            _ if is_no_name(error) => Self::NoName,
            _ => Self::Unknown,
        }
    }

    /// Whether nobody is there, for certain.
    #[must_use]
    pub fn is_absence(self) -> bool {
        matches!(self, Self::Refused | Self::NoName)
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
            Self::NoName => "its name is not known",
            Self::Unknown => "it could not be asked",
        }
    }

    /// The pause after it, if the moment that counts is `away`.
    fn pause(self, away: Duration, others_tell: bool) -> Duration {
        let millis = Duration::from_millis;
        let (part, least, most) = match self {
            Self::Answered | Self::Closed if others_tell => (1, QUIET_PAUSE, QUIET_PAUSE),
            Self::Refused => (20, millis(25), millis(200)),
            Self::Closed => (10, millis(200), millis(1_000)),
            Self::Mute | Self::Silent => (1, millis(250), millis(250)),
            Self::NoName | Self::Unknown => (10, millis(250), millis(1_000)),
            Self::Answered => (10, millis(1_000), millis(5_000)),
        };
        (away / part).clamp(least, most)
    }
}

/// How an address is to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Where.
    pub address: BackendAddr,
    /// By which protocol number.
    pub protocol: i32,
    /// How long the dial may take.
    pub dial_limit: Duration,
    /// How long the answer may take after that.
    pub answer_limit: Duration,
}

/// What is known of one address since a wake began.
#[derive(Debug, Clone)]
pub struct Probing {
    address: BackendAddr,
    /// Since when it is asked.
    since: Instant,
    /// When it is expected to answer.
    expected: Option<Instant>,
    due: Instant,
    asked: bool,
    answered: bool,
    absent: bool,
    /// The number it is known to answer to.
    protocol: Option<i32>,
    /// How often it took a connection and gave no status, whatever number it heard.
    unanswered: u8,
    dial_limit: Duration,
    dial_limit_max: Duration,
    answer_limit: Duration,
}

impl Probing {
    /// Nothing is known yet of the address of what is `wanted`.
    ///
    /// Where a dial was refused a moment ago, that is as good as a probe for as long as
    /// [`SHUT_FRESH`]: a server that is up before the first probe is noticed all the same.
    #[must_use]
    pub fn new(wanted: &Wanted, now: Instant) -> Self {
        let shut = wanted.shut.map(|shut| now.saturating_duration_since(shut));
        let measured = wanted.latency.unwrap_or_default().max(DIAL_LIMIT_MIN);
        Self {
            address: wanted.backend.clone(),
            since: now,
            expected: wanted
                .expected
                .and_then(|expected| now.checked_add(expected)),
            due: now,
            asked: false,
            answered: false,
            absent: shut.is_some_and(|age| age <= SHUT_FRESH),
            protocol: wanted.protocol,
            unanswered: 0,
            dial_limit: measured.min(wanted.dial_limit),
            dial_limit_max: wanted.dial_limit,
            answer_limit: ANSWER_LIMITS.0,
        }
    }

    /// The address that is asked.
    #[must_use]
    pub fn address(&self) -> &BackendAddr {
        &self.address
    }

    /// Asks `address` from now on; of another one nothing is known but how far away it may be, and a probe
    /// under way is given up.
    pub fn aim(&mut self, address: &BackendAddr, now: Instant) {
        if self.address != *address {
            self.address = address.clone();
            (self.asked, self.answered, self.absent) = (false, false, false);
        }
        (self.since, self.due) = (now, now);
    }

    /// When the next probe is due; `None` while one is under way.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        (!self.asked).then_some(self.due)
    }

    /// How to ask now; counts as sent.
    pub fn ask(&mut self) -> Probe {
        self.asked = true;
        Probe {
            address: self.address.clone(),
            protocol: number(self.protocol, self.unanswered),
            dial_limit: self.dial_limit,
            answer_limit: self.answer_limit,
        }
    }

    /// Takes what came of it, and tells whether it proves that a server came up here: it answers,
    /// and did not at some time since the wake began. Who answered once and is silent then is
    /// busy, perhaps, and not away. If `others_tell` that it runs, they are waited for.
    pub fn take(&mut self, now: Instant, reply: ProbeReply, others_tell: bool) -> bool {
        self.asked = false;
        let since = now.saturating_duration_since(self.since);
        let away = self.expected.map_or(since, |expected| {
            let early = expected.saturating_duration_since(now);
            since.min(early.max(now.saturating_duration_since(expected)))
        });
        self.due = now + reply.pause(away, others_tell);
        match reply {
            ProbeReply::Closed => self.unanswered = self.unanswered.wrapping_add(1),
            ProbeReply::Mute => {
                self.unanswered = self.unanswered.wrapping_add(1);
                self.answer_limit = (self.answer_limit * 2).min(ANSWER_LIMITS.1);
            }
            ProbeReply::Silent => {
                self.dial_limit = (self.dial_limit * 2).min(self.dial_limit_max);
            }
            _ => {}
        }
        match reply {
            ProbeReply::Answered => {
                self.answered = true;
                return self.absent;
            }
            ProbeReply::Refused | ProbeReply::Closed | ProbeReply::NoName => self.absent = true,
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
#[path = "probing_tests.rs"]
mod tests;
