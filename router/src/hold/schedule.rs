//! When a held player hears from the router, and when the router gives the player up.
//!
//! A client reads with a limit of 30 s (20 s before 1.8) that any byte starts anew (Netty's
//! `ReadTimeoutHandler`), so a word now and then keeps it. Since 1.13 that word is a Login Plugin
//! Request, which every client answers: the next one waits for that answer. From 1.8 to 1.12.2
//! Set Compression with a negative threshold changes nothing and is answered by nothing. Before
//! that there is no such word.
//!
//! Pure: [`Schedule::next`] says what to do at `now`; what happened is told by the other methods.

use std::time::{Duration, Instant};

use crate::protocol::version;

/// From one word to the next, unless the configuration says otherwise; the first comes after half
/// of it, since until then the wait looks like an ordinary slow join.
pub const TICK: Duration = Duration::from_secs(10);
/// The first id of our requests; servers count from 0.
pub const FIRST_ID: i32 = 0x4000_0000;

/// How a client is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By Login Plugin Requests, each of which is answered.
    Requests,
    /// By Set Compression with a negative threshold.
    Compression,
    /// Not at all; it leaves by itself after a while.
    Silence,
}

/// What to do with a held client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Send a Login Plugin Request with this id.
    Request(i32),
    /// Send Set Compression with a negative threshold.
    Compression,
    /// Nothing before this instant.
    WaitUntil(Instant),
    /// Nothing any more but wait: the end is near for other reasons.
    Wait,
    /// The client does not answer: it is gone.
    GiveUp,
}

/// Longest time without a word, and so the longest an answer may take: 15 s, half of what a client
/// allows.
#[must_use]
pub fn silence_max(tick: Duration) -> Duration {
    tick * 3 / 2
}

/// The words with one held client.
#[derive(Debug, Clone)]
pub struct Schedule {
    way: Way,
    tick: Duration,
    /// When the client last heard from the router, or began to wait.
    heard: Instant,
    /// The id of the next request.
    next_id: i32,
    /// The request that is still to be answered.
    outstanding: Option<i32>,
    /// Whether there has been a word at all.
    begun: bool,
}

impl Way {
    /// How a client of `protocol` is kept; `compression` if its route allows that way.
    #[must_use]
    pub fn of(protocol: i32, compression: bool) -> Self {
        if version::answers_plugin_requests(protocol) {
            Self::Requests
        } else if compression && version::takes_set_compression(protocol) {
            Self::Compression
        } else {
            Self::Silence
        }
    }

    /// The longest hold a client of `protocol` bears, where there is such a limit: 25 s in silence,
    /// 15 s before 1.8, with five seconds to spare.
    #[must_use]
    pub fn limit(self, protocol: i32, tick: Duration) -> Option<Duration> {
        match self {
            Self::Requests | Self::Compression => None,
            Self::Silence if version::login(protocol).is_patient => Some(tick * 5 / 2),
            Self::Silence => Some(tick * 3 / 2),
        }
    }
}

impl Schedule {
    /// A client that begins to wait at `now`; `tick` from one word to the next.
    #[must_use]
    pub fn new(way: Way, tick: Duration, now: Instant) -> Self {
        Self {
            way,
            tick,
            heard: now,
            next_id: FIRST_ID,
            outstanding: None,
            begun: false,
        }
    }

    /// What to do at `now`. A word counts as sent when it is handed out.
    pub fn next(&mut self, now: Instant) -> Step {
        let pause = if self.begun { self.tick } else { self.tick / 2 };
        let due = match self.way {
            Way::Silence => return Step::Wait,
            Way::Requests if self.is_outstanding() => self.heard + silence_max(self.tick),
            Way::Requests | Way::Compression => self.heard + pause,
        };
        if now < due {
            return Step::WaitUntil(due);
        }
        if self.is_outstanding() {
            return Step::GiveUp;
        }
        self.word(now)
    }

    /// A word at once, so that what follows may take a few seconds without one;
    /// [`Step::Wait`] where none is needed.
    pub fn refresh(&mut self, now: Instant) -> Step {
        let fresh = now < self.heard + self.tick || !self.begun;
        if fresh || self.is_outstanding() || self.way == Way::Silence {
            return Step::Wait;
        }
        self.word(now)
    }

    fn word(&mut self, now: Instant) -> Step {
        self.heard = now;
        self.begun = true;
        if self.way == Way::Compression {
            return Step::Compression;
        }
        let id = self.next_id;
        // From the private range only; it takes centuries to get through.
        self.next_id = id.checked_add(1).unwrap_or(FIRST_ID);
        self.outstanding = Some(id);
        Step::Request(id)
    }

    /// The client answered request `id`; `false` if that is not the one that was out.
    pub fn answered(&mut self, id: i32) -> bool {
        self.outstanding.take_if(|out| *out == id).is_some()
    }

    /// How long the client has heard nothing at `now`.
    #[must_use]
    pub fn silent_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard)
    }

    /// Whether a request is still to be answered.
    #[must_use]
    pub fn is_outstanding(&self) -> bool {
        self.outstanding.is_some()
    }

    /// Whether the client has heard anything yet: until then, what it sends is not looked at.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn every_version_is_kept_in_the_way_it_bears() {
        for (protocol, way, limit) in [
            (4, Way::Silence, Some(SECOND * 15)),
            (5, Way::Silence, Some(SECOND * 15)),
            (47, Way::Silence, Some(SECOND * 25)),
            (340, Way::Silence, Some(SECOND * 25)),
            (393, Way::Requests, None),
            (776, Way::Requests, None),
            (0x4000_0001, Way::Requests, None),
            (-1, Way::Silence, Some(SECOND * 15)),
        ] {
            assert_eq!(Way::of(protocol, false), way, "{protocol}");
            assert_eq!(way.limit(protocol, TICK), limit, "{protocol}");
        }
        assert_eq!(Way::of(340, true), Way::Compression);
        assert_eq!(Way::of(5, true), Way::Silence);
        assert_eq!(Way::of(393, true), Way::Requests);
    }

    #[test]
    fn the_first_word_comes_after_five_seconds_and_the_next_every_ten() {
        let begin = Instant::now();
        let mut schedule = Schedule::new(Way::Requests, TICK, begin);
        assert_eq!(schedule.next(begin), Step::WaitUntil(begin + TICK / 2));
        assert!(!schedule.has_begun());

        let sent = begin + TICK / 2;
        assert_eq!(schedule.next(sent), Step::Request(FIRST_ID));
        assert!(schedule.answered(FIRST_ID) && !schedule.answered(FIRST_ID));
        assert_eq!(schedule.next(sent), Step::WaitUntil(sent + TICK));
        assert_eq!(schedule.next(sent + TICK), Step::Request(FIRST_ID + 1));
    }

    #[test]
    fn a_client_that_does_not_answer_is_given_up() {
        let begin = Instant::now();
        let mut schedule = Schedule::new(Way::Requests, TICK, begin);
        let sent = begin + TICK / 2;
        assert_eq!(schedule.next(sent), Step::Request(FIRST_ID));
        assert!(!schedule.answered(FIRST_ID + 1), "another id is no answer");
        let end = sent + silence_max(TICK);
        assert_eq!(schedule.next(end - SECOND), Step::WaitUntil(end));
        assert_eq!(schedule.next(end), Step::GiveUp);
    }

    /// What a client does with a request: answers after this long, or never.
    fn answers() -> impl Strategy<Value = Vec<Option<Duration>>> {
        let answer = prop_oneof![
            9 => (0_u64..16_000).prop_map(|millis| Some(Duration::from_millis(millis))),
            1 => Just(None),
        ];
        proptest::collection::vec(answer, 30)
    }

    proptest! {
        #[test]
        fn no_gap_is_over_15_s_and_one_request_is_out_at_most(
            answers in answers(), compression: bool
        ) {
            let way = if compression { Way::Compression } else { Way::Requests };
            let begin = Instant::now();
            let (mut now, mut last) = (begin, begin);
            let mut schedule = Schedule::new(way, TICK, begin);
            let mut out: Option<(i32, Option<Instant>)> = None;
            let mut answers = answers.into_iter();
            let end = begin + SECOND * 200;
            while now < end {
                let at = match schedule.next(now) {
                    Step::Request(id) => {
                        prop_assert!(out.is_none(), "two requests are out");
                        let answer = answers.next().flatten();
                        out = Some((id, answer.map(|took| now + took)));
                        prop_assert!(now - last <= silence_max(TICK));
                        last = now;
                        continue;
                    }
                    Step::Compression => {
                        prop_assert!(now - last <= silence_max(TICK));
                        last = now;
                        continue;
                    }
                    Step::GiveUp => {
                        prop_assert!(out.is_some_and(|(_, at)| at.is_none_or(|at| at >= now)));
                        prop_assert!(now - last <= silence_max(TICK));
                        return Ok(());
                    }
                    Step::Wait => return Err(TestCaseError::fail("it waits for nothing")),
                    Step::WaitUntil(at) => at,
                };
                prop_assert!(at > now, "a wait must move time on");
                now = match out {
                    Some((id, Some(answer))) if answer < at => {
                        prop_assert!(schedule.answered(id));
                        out = None;
                        answer.max(now)
                    }
                    _ => at,
                };
            }
        }
    }
}
