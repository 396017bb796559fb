//! The rules of one wake: start once; wait for the first of three signs that the server runs;
//! see that it answers; let it settle; end by the deadline.
//!
//! The signs: a poll says so, the table begins to say so, or the row's address begins to answer.
//!
//! Pure: [`Wake::next`] says what to do, and [`Wake::started`], [`Wake::polled`],
//! [`Wake::probed`] and [`Wake::announced`] take what came of it. `now` is passed in.

use std::time::{Duration, Instant};

use super::error::WakeError;
use super::polling::Polling;
use super::probing::{Probe, ProbeReply, Probing};
use super::reply::{PollReply, Polled, StartReply};
use super::starting::{Starting, Verdict};
use super::wanted::Wanted;
use crate::addr::BackendAddr;
use crate::config::values::short;
use crate::dial::READY_WINDOW;
use crate::routes::StateHint;
use crate::shared_str::SharedStr;

/// The two times a wake keeps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most time from one poll to the next; `None` where there is nobody to poll, and an answer of
    /// the port alone tells that the server runs.
    pub poll_interval: Option<Duration>,
    /// Longest time from the first step to the outcome; without polls, from the accepted start. Only a server that was said to run shortly
    /// before that has the rest of its [`READY_WINDOW`].
    pub timeout: Duration,
}

/// What to do next. A request counts as sent when it is handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Ask for the start.
    Start,
    /// Ask for the state; the server-manager may wait so long for a change.
    Poll(Option<Duration>),
    /// Ask an address for its status, and give up the probe under way, if there is one.
    Probe(Probe),
    /// Nothing before this instant, unless an answer or an announcement comes.
    WaitUntil(Instant),
    /// It is over.
    Done(Outcome),
}

/// The end of a wake.
pub type Outcome = Result<Ready, WakeError>;

/// A server that lets players in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// Where, for those who waited.
    pub address: BackendAddr,
    /// What told it first.
    pub sign: Sign,
    /// From the beginning of the wake until it was ready, settling aside.
    pub took: Duration,
}

/// What tells that a server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sign {
    /// The server-manager's answer.
    Poll,
    /// The table.
    Table,
    /// The answer of its port.
    Probe,
}

/// How far a wake is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The server-manager has not accepted the start yet.
    Asking,
    /// It starts.
    Starting,
    /// It is said to run, and not yet ready for players.
    Settling,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// Nothing has told that it runs.
    Waiting,
    /// Something told so at this instant; it is asked for its status until it answers.
    Told {
        at: Instant,
        sign: Sign,
        /// The server-manager has said so, too.
        confirmed: bool,
        /// The port took a connection.
        open: bool,
        /// What came of the last probe.
        last: ProbeReply,
    },
    /// It is ready, and given time to settle.
    Settling {
        until: Instant,
        ready: Ready,
    },
    Done(Outcome),
}

/// One wake of one server.
#[derive(Debug, Clone)]
pub struct Wake {
    server: SharedStr,
    limits: Limits,
    settle: Duration,
    /// How long its port is open without a status before players may try.
    open_window: Duration,
    begin: Instant,
    deadline: Instant,
    start: Starting,
    stage: Stage,
    /// `None` where there is nobody to poll.
    polling: Option<Polling>,
    probing: Probing,
    /// Without polls: since when the port has taken connections and answered no status.
    open_since: Option<Instant>,
    /// What the row says by now.
    row: (StateHint, BackendAddr),
    /// The row was seen to change since the beginning.
    row_works: bool,
    /// The last poll was answered as it should be.
    polls_work: bool,
    percent: Option<u8>,
    problem: Option<String>,
}

impl Wake {
    /// A wake that begins now.
    #[must_use]
    pub fn new(wanted: &Wanted, limits: Limits, now: Instant) -> Self {
        let timeout = wanted.wait.unwrap_or(limits.timeout);
        let limits = Limits { timeout, ..limits };
        Self {
            server: wanted.server.clone(),
            limits,
            settle: wanted.settle,
            open_window: wanted.open_window(),
            begin: now,
            deadline: now + limits.timeout,
            start: Starting::new(now),
            stage: Stage::Waiting,
            polling: limits
                .poll_interval
                .map(|interval| Polling::new(interval, wanted.expected, now)),
            probing: Probing::new(wanted, now),
            open_since: None,
            row: (wanted.state, wanted.backend.clone()),
            row_works: false,
            polls_work: false,
            percent: None,
            problem: None,
        }
    }

    /// When it ends at the latest, a [`READY_WINDOW`] begun before aside.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether the server starts, as far as is known: it may no longer be called off.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.start.is_under_way() || !matches!(self.stage, Stage::Waiting)
    }

    /// How far it is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.stage {
            Stage::Waiting if self.start.is_under_way() => Phase::Starting,
            Stage::Waiting => Phase::Asking,
            _ => Phase::Settling,
        }
    }

    /// How far the boot is, in percent, as the server-manager said last.
    #[must_use]
    pub fn percent(&self) -> Option<u8> {
        self.percent
    }

    /// What to do at `now`.
    pub fn next(&mut self, now: Instant) -> Step {
        self.pass(now);
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let start_at = self.start_due();
        if due(start_at) && self.start.ask(now) {
            return Step::Start;
        }
        let left = self.deadline.saturating_duration_since(now);
        let polls = self.wants_polls(now) && !left.is_zero();
        let polling = self.polling.as_mut().filter(|_| polls);
        let poll_at = polling.as_ref().and_then(|polling| polling.due());
        if let Some(polling) = polling
            && due(poll_at)
        {
            return Step::Poll(polling.ask(now, left));
        }
        let probe_at = self.probing.due().filter(|_| self.wants_probes());
        if due(probe_at) {
            return Step::Probe(self.probing.ask());
        }
        let end = match &self.stage {
            Stage::Done(outcome) => return Step::Done(outcome.clone()),
            Stage::Waiting => self.open_since.map_or(self.deadline, |since| {
                self.deadline.min(since + self.open_window)
            }),
            Stage::Told { at, .. } if now < *at + READY_WINDOW => *at + READY_WINDOW,
            Stage::Told { at, open, .. } if *open && now < *at + self.open_window => {
                self.deadline.min(*at + self.open_window)
            }
            Stage::Told { at, .. } => self.deadline.max(*at + READY_WINDOW),
            Stage::Settling { until, .. } => *until,
        };
        let under_way_at = self.start.under_way_at();
        let dues = [start_at, under_way_at, poll_at, probe_at];
        let dues = dues.into_iter().flatten();
        Step::WaitUntil(dues.fold(end, Instant::min))
    }

    /// The server-manager has been asked for the start, and may take long to answer.
    pub fn sent(&mut self, now: Instant) {
        self.start.sent(now);
    }

    /// Takes the answer to [`Step::Start`].
    pub fn started(&mut self, now: Instant, reply: StartReply) {
        // That polls have been answered since: the server-manager lives, whatever became of the request.
        let heard = self.polling.is_some() && self.problem.is_none();
        let failed = match self.start.answered(now, reply, heard) {
            Verdict::Accepted(address) => return self.accepted(now, address.as_ref()),
            Verdict::Again(reason) => {
                self.problem = Some(format!("start: {reason}"));
                return;
            }
            Verdict::Failed(failed) => failed,
            Verdict::Nothing => return,
        };
        // A server that runs has no need of a start.
        if self.stage == Stage::Waiting {
            self.stage = Stage::Done(Err(failed));
        }
    }

    fn accepted(&mut self, now: Instant, address: Option<&BackendAddr>) {
        if self.polling.is_none() {
            self.deadline = now + self.limits.timeout;
        }
        if let Some(address) = address
            && self.stage == Stage::Waiting
        {
            self.probing.aim(address, now);
        }
    }

    /// Whether only its port can tell any more that the server runs, and any answer does.
    fn is_alone(&self) -> bool {
        self.polling.is_none() && self.start.is_accepted()
    }

    /// Takes the answer to [`Step::Poll`].
    pub fn polled(&mut self, now: Instant, polled: Polled) {
        let broken = matches!(polled.reply, PollReply::Broken(_));
        if let Some(polling) = &mut self.polling {
            polling.answered(now, broken, polled.max_wait);
        }
        self.percent = polled.percent.or(self.percent);
        self.polls_work = polled.reply == PollReply::NotYet;
        if !self.wants_polls(now) {
            return;
        }
        let waiting = self.stage == Stage::Waiting;
        match polled.reply {
            PollReply::Running(address) if waiting => {
                let address = address.unwrap_or_else(|| self.row.1.clone());
                self.told(now, Sign::Poll, &address);
            }
            PollReply::Running(address) => {
                if let Stage::Told { confirmed, .. } = &mut self.stage {
                    *confirmed = true;
                }
                self.corrected(now, address);
            }
            // Perhaps of the time before the start, which it has not answered yet.
            PollReply::Failed(_) | PollReply::Denied(_) if !self.start.is_believed() => {}
            PollReply::Failed(state) => self.stage = Stage::Done(Err(WakeError::Failed(state))),
            PollReply::Denied(status) if waiting => {
                self.stage = Stage::Done(Err(WakeError::Denied(status)));
            }
            PollReply::NotYet => {
                self.start.goes_on();
                self.problem = None;
            }
            PollReply::Broken(reason) => self.problem = Some(format!("last poll: {reason}")),
            PollReply::Denied(_) => {}
        }
    }

    /// Takes what came of [`Step::Probe`].
    pub fn probed(&mut self, now: Instant, reply: ProbeReply) {
        let others_tell = self.stage == Stage::Waiting && self.others_tell(now);
        let came_up = self.probing.take(now, reply, others_tell);
        let alone = self.is_alone();
        let open_since = self.open_since.or(Some(now));
        self.open_since = open_since.filter(|_| alone && reply.is_open());
        match &mut self.stage {
            Stage::Waiting if came_up || (alone && reply == ProbeReply::Answered) => {
                self.ready(now, Sign::Probe);
            }
            Stage::Told { sign, .. } if reply == ProbeReply::Answered => {
                let sign = *sign;
                self.ready(now, sign);
            }
            Stage::Told { open, last, .. } => {
                *open |= reply.is_open();
                *last = reply;
            }
            _ => {}
        }
    }

    /// Whether the server-manager or the table is seen to work, so that one of them will tell that the server runs.
    fn others_tell(&self, now: Instant) -> bool {
        let overdue = self.polling.as_ref().and_then(|one| one.overdue(now));
        let answers = self.polls_work && overdue.unwrap_or_default() < READY_WINDOW;
        answers || self.row_works
    }

    /// Takes what the row says by now. That it runs is news if the row did not say so before, or
    /// said it of another address.
    pub fn announced(&mut self, now: Instant, state: StateHint, address: &BackendAddr) {
        let before = std::mem::replace(&mut self.row, (state, address.clone()));
        let moved = before.1 != *address;
        self.row_works |= before.0 != state;
        let news = state == StateHint::Running && (moved || before.0 != state);
        match self.stage {
            Stage::Waiting if news => self.told(now, Sign::Table, address),
            Stage::Waiting if moved => self.probing.aim(address, now),
            Stage::Told { confirmed, .. } if moved && news && !confirmed => {
                self.corrected(now, Some(address.clone()));
            }
            _ => {}
        }
    }

    /// Ends what time ends.
    fn pass(&mut self, now: Instant) {
        self.start.pass(now);
        let open_for = |since| now.saturating_duration_since(since);
        match &self.stage {
            Stage::Waiting if self.open_since.map(open_for) >= Some(self.open_window) => {
                self.ready(now, Sign::Probe);
            }
            Stage::Waiting if now >= self.deadline => {
                let problem = self.problem.take().or_else(|| self.unanswered(now));
                self.stage = Stage::Done(Err(WakeError::TimedOut {
                    server: self.server.clone(),
                    after: self.limits.timeout,
                    problem,
                }));
            }
            Stage::Told { at, sign, open, .. }
                if *open
                    && now >= *at + READY_WINDOW
                    && now >= self.deadline.min(*at + self.open_window) =>
            {
                // It takes connections and answers no status: somebody has switched that off.
                let sign = *sign;
                self.ready(now, sign);
            }
            Stage::Told { at, sign, last, .. }
                if now >= *at + READY_WINDOW && now >= self.deadline =>
            {
                let (sign, last) = (*sign, *last);
                if last == ProbeReply::Unknown {
                    // That it could not be asked proves nothing against it.
                    self.ready(now, sign);
                } else {
                    self.stage = Stage::Done(Err(WakeError::NotReady {
                        backend: self.probing.address().clone(),
                        problem: last.problem(),
                    }));
                }
            }
            _ => {}
        }
        if let Stage::Settling { until, ready } = &self.stage
            && now >= *until
        {
            self.stage = Stage::Done(Ok(ready.clone()));
        }
    }

    /// The request that has no answer at the deadline.
    fn unanswered(&self, now: Instant) -> Option<String> {
        let (what, since) = match self.start.asked() {
            Some(at) => ("start", now.saturating_duration_since(at)),
            None => ("last poll", self.polling.as_ref()?.overdue(now)?),
        };
        let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let since = Duration::from_millis(millis);
        (!since.is_zero()).then(|| format!("{what}: no answer within {}", short(since)))
    }

    fn start_due(&self) -> Option<Instant> {
        let due = self.start.due();
        due.filter(|_| matches!(self.stage, Stage::Waiting | Stage::Told { .. }))
    }

    /// Until the server-manager says that it runs. The table may say so first, and of an address
    /// that is not the one of this start. Again when it is long in answering, since it may end.
    fn wants_polls(&self, now: Instant) -> bool {
        let unsure = match self.stage {
            Stage::Waiting => true,
            Stage::Told { confirmed, at, .. } => !confirmed || now >= at + READY_WINDOW,
            _ => false,
        };
        unsure && self.start.is_under_way()
    }

    fn wants_probes(&self) -> bool {
        matches!(self.stage, Stage::Waiting | Stage::Told { .. })
    }

    fn told(&mut self, now: Instant, sign: Sign, address: &BackendAddr) {
        self.probing.aim(address, now);
        if let Some(polling) = &mut self.polling {
            polling.hurry(now);
        }
        self.stage = Stage::Told {
            at: now,
            sign,
            confirmed: sign == Sign::Poll,
            open: false,
            last: ProbeReply::Silent,
        };
    }

    /// Another address than the one that was told first; `None` says nothing against that one.
    /// Past the deadline no new window begins.
    fn corrected(&mut self, now: Instant, address: Option<BackendAddr>) {
        let other = address.filter(|address| address != self.probing.address());
        if let (Some(address), Stage::Told { at, open, .. }) = (other, &mut self.stage)
            && now < self.deadline
        {
            (*at, *open) = (now, false);
            self.probing.aim(&address, now);
        }
    }

    fn ready(&mut self, now: Instant, sign: Sign) {
        let ready = Ready {
            address: self.probing.address().clone(),
            sign,
            took: now.saturating_duration_since(self.begin),
        };
        let until = (now + self.settle).min(self.deadline.max(now));
        self.stage = Stage::Settling { until, ready };
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
#[cfg(test)]
#[path = "unpolled_tests.rs"]
mod unpolled_tests;
