//! A wake in a simulated world: scripted answers, news of the row, and time that costs nothing.

use std::time::{Duration, Instant};

use super::machine::{Limits, Outcome, Ready, Step, Wake};
use super::probing::ProbeReply;
use super::reply::{PollReply, Polled, StartReply};
use super::wanted::Wanted;
use crate::addr::BackendAddr;
use crate::routes::StateHint;

pub(super) const POLL_INTERVAL: Duration = Duration::from_secs(2);
pub(super) const LIMITS: Limits = Limits {
    poll_interval: Some(POLL_INTERVAL),
    timeout: Duration::from_secs(90),
};
pub(super) const ROW: &str = "row:1";
pub(super) const POLLED: &str = "polled:1";
pub(super) const MOVED: &str = "moved:1";

pub(super) fn address(text: &str) -> BackendAddr {
    BackendAddr::parse(text).unwrap()
}

pub(super) fn wanted() -> Wanted {
    Wanted {
        server: "test1".into(),
        host: "test1.example.com".into(),
        backend: address(ROW),
        state: StateHint::Stopped,
        wait: None,
        settle: Duration::ZERO,
        proxy: None,
        expected: None,
        shows_status: false,
        shut: None,
        protocol: None,
        latency: None,
        dial_limit: Duration::from_secs(2),
    }
}

/// How long a request took and what came of it.
pub(super) type Answer<R> = (Duration, R);

/// The world around a wake. Of scripted answers the last of each kind repeats.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) wanted: Wanted,
    pub(super) limits: Limits,
    pub(super) starts: Vec<Answer<StartReply>>,
    /// Whether requests for a start have a connection at once; else they have none.
    pub(super) connects: bool,
    pub(super) polls: Vec<Answer<Polled>>,
    /// What any address answers to probes.
    pub(super) probes: Vec<Answer<ProbeReply>>,
    /// What the row says, from when on; in order of time.
    pub(super) news: Vec<(Duration, StateHint, &'static str)>,
}

/// What a wake did, and when.
#[derive(Debug, Default)]
pub(super) struct Story {
    pub(super) starts: Vec<Duration>,
    /// When a poll was sent and answered.
    pub(super) polls: Vec<(Duration, Duration)>,
    pub(super) probes: Vec<(Duration, BackendAddr)>,
    /// When which answer of a probe came.
    pub(super) seen: Vec<(Duration, ProbeReply)>,
    pub(super) end: Duration,
    pub(super) outcome: Option<Outcome>,
}

impl Story {
    pub(super) fn outcome(&self) -> &Outcome {
        self.outcome.as_ref().unwrap()
    }

    pub(super) fn ready(&self) -> &Ready {
        self.outcome().as_ref().unwrap()
    }
}

impl Default for World {
    /// A start that is accepted, a server that never runs, and nobody at its address.
    fn default() -> Self {
        Self {
            wanted: wanted(),
            limits: LIMITS,
            starts: vec![at_once(StartReply::Accepted)],
            connects: true,
            polls: vec![at_once(PollReply::NotYet.into())],
            probes: vec![at_once(ProbeReply::Refused)],
            news: vec![],
        }
    }
}

pub(super) fn at_once<R>(reply: R) -> Answer<R> {
    (Duration::ZERO, reply)
}

pub(super) fn nth<R: Clone>(script: &[Answer<R>], number: usize) -> Answer<R> {
    script[number.min(script.len() - 1)].clone()
}

/// A request under way: when its answer comes.
pub(super) type Due<R> = Option<(Duration, R)>;

pub(super) fn take<R>(due: &mut Due<R>, now: Duration) -> Option<R> {
    due.take_if(|(at, _)| *at <= now).map(|(_, reply)| reply)
}

impl World {
    /// Plays it in simulated time, as the task of a flight would.
    pub(super) fn play(&self) -> Story {
        let (begin, mut now) = (Instant::now(), Duration::ZERO);
        let mut wake = Wake::new(&self.wanted, self.limits, begin);
        let mut story = Story::default();
        let (mut start, mut poll, mut probe): (Due<StartReply>, Due<Polled>, Due<ProbeReply>) =
            (None, None, None);
        let mut news = self.news.iter().peekable();
        for _ in 0..1_000_000 {
            if let Some(reply) = take(&mut start, now) {
                wake.started(begin + now, reply);
            }
            if let Some(reply) = take(&mut poll, now) {
                wake.polled(begin + now, reply);
            }
            if let Some(reply) = take(&mut probe, now) {
                story.seen.push((now, reply));
                wake.probed(begin + now, reply);
            }
            while let Some((_, state, text)) = news.next_if(|(at, ..)| *at <= now) {
                wake.announced(begin + now, *state, &address(text));
            }
            match wake.next(begin + now) {
                Step::Start => {
                    let (took, reply) = nth(&self.starts, story.starts.len());
                    assert!(start.is_none(), "one start at a time");
                    story.starts.push(now);
                    if self.connects {
                        wake.sent(begin + now);
                    }
                    start = Some((now + took, reply));
                }
                Step::Poll(_) => {
                    let (took, reply) = nth(&self.polls, story.polls.len());
                    assert!(poll.is_none(), "one poll at a time");
                    story.polls.push((now, now + took));
                    poll = Some((now + took, reply));
                }
                Step::Probe(asked) => {
                    let (took, reply) = nth(&self.probes, story.probes.len());
                    story.probes.push((now, asked.address));
                    probe = Some((now + took, reply));
                }
                Step::WaitUntil(at) => {
                    assert!(at > begin + now, "a wait must move time on");
                    let due = [
                        start.as_ref().map(|(at, _)| *at),
                        poll.as_ref().map(|(at, _)| *at),
                        probe.as_ref().map(|(at, _)| *at),
                        news.peek().map(|(at, ..)| *at),
                    ];
                    now = due.into_iter().flatten().fold(at - begin, Duration::min);
                }
                Step::Done(outcome) => {
                    story.end = now;
                    story.outcome = Some(outcome);
                    return story;
                }
            }
        }
        panic!("it never ends: {self:?}");
    }
}

pub(super) fn running(text: &str) -> Polled {
    PollReply::Running(Some(address(text))).into()
}
