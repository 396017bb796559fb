//! The rules of one wake: start once, poll no faster than the interval, end by the deadline.
//!
//! Pure: [`Wake::next`] says what to do, [`Wake::started`] and [`Wake::polled`] take what came
//! of it. `now` is passed in.

use std::time::{Duration, Instant};

use crate::addr::BackendAddr;
use crate::config::values::short;

/// How long after a broken start the one retry follows.
pub const START_RETRY_PAUSE: Duration = Duration::from_millis(250);

/// The two times a wake keeps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Least time from one poll to the next.
    pub poll_interval: Duration,
    /// Longest time from the first step to the outcome.
    pub timeout: Duration,
}

/// What the server-manager said to a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartReply {
    /// Any 2xx, or 409: it is starting, or has started.
    Accepted,
    /// A status that no retry will change, such as 401, 403 or 404.
    Denied(u16),
    /// No answer, or one that may be different next time (5xx, 429).
    Broken(String),
}

/// What the server-manager said of a server's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PollReply {
    /// It runs; `None` when no usable address came with it.
    Running(Option<BackendAddr>),
    /// Any other state but the failed ones.
    NotYet,
    /// It will not come up: the state's name.
    Failed(String),
    /// 401, 403 or 404.
    Denied(u16),
    /// No answer, or none that can be used; tolerated until the deadline.
    Broken(String),
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Ask for the start.
    Start,
    /// Ask for the state.
    Poll,
    /// Nothing before this instant.
    WaitUntil(Instant),
    /// It is over: the address that came with `running`, or why not.
    Done(Result<Option<BackendAddr>, WakeError>),
}

/// Why a server did not wake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WakeError {
    /// A status that no retry will change.
    #[error("the server-manager refused with status {0}{hint}", hint = denied_hint(*.0))]
    Denied(u16),
    /// The start broke twice.
    #[error("the server-manager could not be asked to start it: {0}")]
    Broken(String),
    /// The server-manager gave the server up.
    #[error("the server-manager reports it as {0}")]
    Failed(String),
    /// The deadline passed; in the contract's words.
    #[error("waker timeout for {server} after {}{}", short(*.after), last_problem(.problem.as_deref()))]
    TimedOut {
        /// The server's name.
        server: String,
        /// The configured limit.
        after: Duration,
        /// What was wrong with the last poll, if anything.
        problem: Option<String>,
    },
    /// The router is stopping.
    #[error("the router is stopping")]
    Stopping,
}

fn denied_hint(status: u16) -> &'static str {
    match status {
        401 | 403 => " (is AUTOMC_WAKER_TOKEN right?)",
        404 => " (it knows no server of that name)",
        _ => "",
    }
}

fn last_problem(problem: Option<&str>) -> String {
    problem
        .map(|problem| format!(" (last poll: {problem})"))
        .unwrap_or_default()
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// The start is due at this instant; `retried` once it broke.
    Start {
        at: Instant,
        retried: bool,
    },
    /// The start was accepted; the next poll is due at this instant.
    Poll {
        at: Instant,
    },
    Done(Result<Option<BackendAddr>, WakeError>),
}

/// One wake of one server.
#[derive(Debug, Clone)]
pub struct Wake {
    server: String,
    limits: Limits,
    deadline: Instant,
    phase: Phase,
    problem: Option<String>,
}

impl Wake {
    /// A wake that begins now.
    #[must_use]
    pub fn new(server: &str, limits: Limits, now: Instant) -> Self {
        Self {
            server: server.to_owned(),
            limits,
            deadline: now + limits.timeout,
            phase: Phase::Start {
                at: now,
                retried: false,
            },
            problem: None,
        }
    }

    /// When it ends at the latest.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether the server-manager accepted the start.
    #[must_use]
    pub fn is_started(&self) -> bool {
        matches!(self.phase, Phase::Poll { .. })
    }

    /// What to do at `now`. A poll counts as sent when it is handed out.
    pub fn next(&mut self, now: Instant) -> Step {
        if !matches!(self.phase, Phase::Done(_)) && now >= self.deadline {
            self.phase = Phase::Done(Err(WakeError::TimedOut {
                server: self.server.clone(),
                after: self.limits.timeout,
                problem: self.problem.clone(),
            }));
        }
        match &mut self.phase {
            Phase::Done(outcome) => Step::Done(outcome.clone()),
            Phase::Start { at, .. } | Phase::Poll { at } if now < *at => {
                Step::WaitUntil((*at).min(self.deadline))
            }
            Phase::Start { .. } => Step::Start,
            Phase::Poll { at } => {
                *at = now + self.limits.poll_interval;
                Step::Poll
            }
        }
    }

    /// Takes the answer to [`Step::Start`].
    pub fn started(&mut self, now: Instant, reply: StartReply) {
        let Phase::Start { retried, .. } = self.phase else {
            return;
        };
        self.phase = match reply {
            StartReply::Accepted => Phase::Poll { at: now },
            StartReply::Denied(status) => Phase::Done(Err(WakeError::Denied(status))),
            StartReply::Broken(reason) if retried => Phase::Done(Err(WakeError::Broken(reason))),
            StartReply::Broken(reason) => {
                self.problem = Some(reason);
                Phase::Start {
                    at: now + START_RETRY_PAUSE,
                    retried: true,
                }
            }
        };
    }

    /// Takes the answer to [`Step::Poll`].
    pub fn polled(&mut self, reply: PollReply) {
        if !self.is_started() {
            return;
        }
        match reply {
            PollReply::Running(address) => self.phase = Phase::Done(Ok(address)),
            PollReply::Failed(state) => self.phase = Phase::Done(Err(WakeError::Failed(state))),
            PollReply::Denied(status) => self.phase = Phase::Done(Err(WakeError::Denied(status))),
            PollReply::NotYet => self.problem = None,
            PollReply::Broken(reason) => self.problem = Some(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits {
        poll_interval: Duration::from_secs(2),
        timeout: Duration::from_secs(90),
    };

    /// How long a request took and what came of it.
    type Answer<R> = (Duration, R);

    /// What a wake did: when it started, when it polled, when and how it ended.
    #[derive(Debug)]
    struct Story {
        starts: Vec<Duration>,
        polls: Vec<Duration>,
        end: Duration,
        outcome: Result<Option<BackendAddr>, WakeError>,
    }

    /// Plays scripted answers in simulated time; the last of each kind repeats.
    fn play(limits: Limits, starts: &[Answer<StartReply>], polls: &[Answer<PollReply>]) -> Story {
        let begin = Instant::now();
        let mut now = begin;
        let mut wake = Wake::new("test1", limits, now);
        let mut story = Story {
            starts: vec![],
            polls: vec![],
            end: Duration::ZERO,
            outcome: Ok(None),
        };
        loop {
            match wake.next(now) {
                Step::Start => {
                    let (took, reply) = starts[story.starts.len().min(starts.len() - 1)].clone();
                    story.starts.push(now - begin);
                    now += took.min(wake.deadline() - now);
                    wake.started(now, reply);
                }
                Step::Poll => {
                    let (took, reply) = polls[story.polls.len().min(polls.len() - 1)].clone();
                    story.polls.push(now - begin);
                    now += took.min(wake.deadline() - now);
                    wake.polled(reply);
                }
                Step::WaitUntil(at) => {
                    assert!(at > now, "a wait must move time on");
                    now = at;
                }
                Step::Done(outcome) => {
                    story.end = now - begin;
                    story.outcome = outcome;
                    return story;
                }
            }
        }
    }

    fn at_once<R>(reply: R) -> Answer<R> {
        (Duration::ZERO, reply)
    }

    #[test]
    fn the_first_poll_follows_the_start_at_once_and_then_every_interval() {
        let running = PollReply::Running(BackendAddr::parse("a:1").ok());
        let polls = [PollReply::NotYet, PollReply::NotYet, running].map(at_once);

        let story = play(LIMITS, &[at_once(StartReply::Accepted)], &polls);

        assert_eq!(story.polls, [0, 2, 4].map(Duration::from_secs));
        assert_eq!(story.outcome, Ok(BackendAddr::parse("a:1").ok()));
    }

    #[test]
    fn a_server_that_never_runs_times_out_in_the_contracts_words() {
        let story = play(
            LIMITS,
            &[at_once(StartReply::Accepted)],
            &[at_once(PollReply::NotYet)],
        );

        assert_eq!(story.end, LIMITS.timeout);
        assert_eq!(story.polls.len(), 45);
        let error = story.outcome.unwrap_err().to_string();
        assert_eq!(error, "waker timeout for test1 after 1m30s");
    }

    #[test]
    fn denial_ends_it_at_once_and_breakage_after_one_retry() {
        let denied = play(LIMITS, &[at_once(StartReply::Denied(404))], &[]);
        assert_eq!((denied.starts.len(), denied.end), (1, Duration::ZERO));

        let broken = play(LIMITS, &[at_once(StartReply::Broken("x".to_owned()))], &[]);
        assert_eq!((broken.starts.len(), broken.end), (2, START_RETRY_PAUSE));
        assert_eq!(broken.outcome, Err(WakeError::Broken("x".to_owned())));

        let recovered = play(
            LIMITS,
            &[
                at_once(StartReply::Broken("x".to_owned())),
                at_once(StartReply::Accepted),
            ],
            &[at_once(PollReply::Running(None))],
        );
        assert_eq!(recovered.outcome, Ok(None));
    }

    fn starts() -> impl Strategy<Value = Vec<Answer<StartReply>>> {
        let reply = prop_oneof![
            4 => Just(StartReply::Accepted),
            1 => (300_u16..500).prop_map(StartReply::Denied),
            2 => Just(StartReply::Broken("broken".to_owned())),
        ];
        proptest::collection::vec((took(), reply), 1..3)
    }

    fn polls() -> impl Strategy<Value = Vec<Answer<PollReply>>> {
        let reply = prop_oneof![
            8 => Just(PollReply::NotYet),
            4 => Just(PollReply::Broken("broken".to_owned())),
            1 => Just(PollReply::Running(BackendAddr::parse("a:1").ok())),
            1 => Just(PollReply::Running(None)),
            1 => Just(PollReply::Failed("crashed".to_owned())),
            1 => Just(PollReply::Denied(404)),
        ];
        proptest::collection::vec((took(), reply), 1..40)
    }

    fn took() -> impl Strategy<Value = Duration> {
        (0_u64..12_000).prop_map(Duration::from_millis)
    }

    fn limits() -> impl Strategy<Value = Limits> {
        (1_u64..10_000, 1_u64..120_000).prop_map(|(interval, timeout)| Limits {
            poll_interval: Duration::from_millis(interval),
            timeout: Duration::from_millis(timeout),
        })
    }

    proptest! {
        #[test]
        fn every_wake_ends_by_its_deadline(
            limits in limits(), starts in starts(), polls in polls()
        ) {
            prop_assert!(play(limits, &starts, &polls).end <= limits.timeout);
        }

        #[test]
        fn a_start_is_sent_once_and_again_only_after_it_broke(
            limits in limits(), starts in starts(), polls in polls()
        ) {
            let story = play(limits, &starts, &polls);
            let broke = matches!(starts[0].1, StartReply::Broken(_));
            let most = if broke { 2 } else { 1 };
            prop_assert!(story.starts.len() <= most);
        }

        #[test]
        fn polls_are_never_closer_than_the_interval(
            limits in limits(), starts in starts(), polls in polls()
        ) {
            let story = play(limits, &starts, &polls);
            for pair in story.polls.windows(2) {
                prop_assert!(pair[1] - pair[0] >= limits.poll_interval);
            }
        }

        #[test]
        fn what_the_server_manager_says_last_is_the_outcome(starts in starts(), polls in polls()) {
            let story = play(LIMITS, &starts, &polls);
            let last = story.polls.len().checked_sub(1).map(|index| &polls[index.min(polls.len() - 1)].1);
            match story.outcome {
                Ok(address) => prop_assert_eq!(last, Some(&PollReply::Running(address))),
                Err(WakeError::Failed(state)) => {
                    prop_assert_eq!(last, Some(&PollReply::Failed(state)));
                }
                Err(WakeError::TimedOut { .. }) => prop_assert_eq!(story.end, LIMITS.timeout),
                Err(_) => {}
            }
        }
    }
}
