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
mod tests {
    use super::*;
    use crate::ping::ANY_PROTOCOL;
    use crate::protocol::version::V1_8;
    use crate::wake::simulated::{address, wanted};
    use ProbeReply::{Answered, Closed, Mute, NoName, Refused, Silent, Unknown};
    use proptest::prelude::*;

    fn probing(backend: &str, now: Instant) -> Probing {
        let backend = address(backend);
        Probing::new(
            &Wanted {
                backend,
                ..wanted()
            },
            now,
        )
    }

    /// Whether the last of `replies` proves that a server came up.
    fn proves(replies: &[ProbeReply]) -> bool {
        let now = Instant::now();
        let mut probing = probing("a:1", now);
        let mut proved = false;
        for reply in replies {
            proved = probing.take(now, *reply, false);
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
            // That of a container that did not run.
            (&[NoName, Answered], true),
            (&[Answered, NoName, Answered], true),
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
        let mut probing = probing("a:1", now);
        probing.take(now, Refused, false);
        probing.ask();
        probing.aim(&address("b:1"), now);
        assert_eq!(probing.due(), Some(now), "the old probe is given up");
        assert!(!probing.take(now, Answered, false));

        probing.take(now, Refused, false);
        probing.aim(&address("b:1"), now);
        assert!(
            probing.take(now, Answered, false),
            "the same address is no other"
        );
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
            let mut probing = Probing::new(&Wanted { shut, ..wanted() }, begin);
            assert_eq!(probing.take(begin, Answered, false), expected, "{shut:?}");
        }
        let shut = Some(now);
        let mut moved = Probing::new(&Wanted { shut, ..wanted() }, now);
        moved.aim(&address("b:1"), now);
        assert!(!moved.take(now, Answered, false), "of another address");
    }

    /// When probes are sent that all come to `reply` after `took`, within `time`.
    fn sent(
        wanted: &Wanted,
        (took, reply): (Duration, ProbeReply),
        time: Duration,
        others_tell: bool,
    ) -> Vec<Duration> {
        let begin = Instant::now();
        let (mut probing, mut sent) = (Probing::new(wanted, begin), vec![]);
        while let Some(at) = probing.due().filter(|at| *at - begin < time) {
            sent.push(at - begin);
            probing.ask();
            probing.take(at + took, reply, others_tell);
        }
        sent
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_starting_server_hears_of_few_probes_and_of_hardly_any_where_others_will_tell() {
        for (reply, alone, quiet) in [(Closed, 90, 13), (Mute, 250, 250), (Answered, 30, 13)] {
            for (others_tell, most) in [(false, alone), (true, quiet)] {
                let sent = sent(&wanted(), (Duration::ZERO, reply), SECOND * 60, others_tell);
                let per_second = sent.iter().filter(|at| **at < SECOND).count();
                assert!(sent.len() <= most, "{reply:?}, {others_tell}: {sent:?}");
                assert!(per_second <= 5, "{reply:?}: {sent:?}");
            }
        }
        // It is not asked once more while it may still answer.
        let mut probing = Probing::new(&wanted(), Instant::now());
        let limits = [2, 4, 4].map(|limit| SECOND * limit);
        for limit in limits {
            assert_eq!(probing.ask().answer_limit, limit);
            probing.take(Instant::now(), Mute, false);
        }
    }

    #[test]
    fn a_port_that_opens_is_noticed_within_a_twentieth_of_the_time_that_took() {
        let refused = sent(&wanted(), (Duration::ZERO, Refused), SECOND * 30, true);
        for pair in refused.windows(2) {
            let [before, next] = pair else { continue };
            let most = (*before / 20).max(Duration::from_millis(25));
            assert_eq!(*next - *before, most.min(Duration::from_millis(200)));
        }
        // And sooner when it is due.
        let expected = Some(SECOND * 20);
        let due = sent(
            &Wanted {
                expected,
                ..wanted()
            },
            (Duration::ZERO, Refused),
            SECOND * 30,
            true,
        );
        let near = |at: &&Duration| (SECOND * 19..SECOND * 21).contains(*at);
        assert!(due.iter().filter(near).count() > 3 * refused.iter().filter(near).count());
    }

    #[test]
    fn a_dial_without_an_answer_is_given_longer_until_a_player_would_not_get_it_either() {
        let limits = |wanted: &Wanted| {
            let mut probing = Probing::new(wanted, Instant::now());
            let limits = [(); 5].map(|()| {
                let limit = probing.ask().dial_limit;
                probing.take(Instant::now(), Silent, false);
                limit.as_millis()
            });
            probing.aim(&address("other:1"), Instant::now());
            assert_eq!(probing.ask().dial_limit.as_millis(), limits[4]);
            limits
        };
        let limit = |millis| Wanted {
            dial_limit: Duration::from_millis(millis),
            ..wanted()
        };
        assert_eq!(limits(&wanted()), [250, 500, 1_000, 2_000, 2_000]);
        assert_eq!(limits(&limit(600)), [250, 500, 600, 600, 600]);
        assert_eq!(limits(&limit(100)), [100; 5]);
        let latency = Some(Duration::from_millis(700));
        let measured = Wanted {
            latency,
            ..wanted()
        };
        assert_eq!(limits(&measured), [700, 1_400, 2_000, 2_000, 2_000]);
    }

    #[test]
    fn a_server_is_found_however_far_it_is_if_a_player_would_find_it() {
        for (away, within) in [(1, 0), (300, 1_500), (1_500, 6_500), (1_990, 8_000)] {
            let away = Duration::from_millis(away);
            let (mut probing, begin) = (Probing::new(&wanted(), Instant::now()), Instant::now());
            let mut now = begin;
            loop {
                let Probe {
                    dial_limit,
                    answer_limit,
                    ..
                } = probing.ask();
                let (took, reply) = if dial_limit < away {
                    (dial_limit, Silent)
                } else if answer_limit < away {
                    (away + answer_limit, Mute)
                } else {
                    (away * 2, Answered)
                };
                now += took;
                probing.take(now, reply, false);
                if reply == Answered {
                    break;
                }
                now = probing.due().unwrap();
            }
            let took = now - begin;
            assert!(took <= away * 2 + Duration::from_millis(within), "{took:?}");
        }
    }

    #[test]
    fn who_gives_no_status_for_one_number_hears_another() {
        for (known, expected) in [
            (None, [ANY_PROTOCOL, V1_8, V1_8, ANY_PROTOCOL]),
            (Some(769), [769, ANY_PROTOCOL, ANY_PROTOCOL, 769]),
        ] {
            let protocol = known;
            let mut probing = Probing::new(
                &Wanted {
                    protocol,
                    ..wanted()
                },
                Instant::now(),
            );
            let mut asked = vec![probing.ask().protocol];
            for reply in [Closed, Refused, Mute] {
                probing.take(Instant::now(), reply, false);
                asked.push(probing.ask().protocol);
            }
            assert_eq!(asked, expected);
        }
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
