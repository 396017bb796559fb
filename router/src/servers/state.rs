//! What state a server is in: one small machine per server, fed with whatever is heard of it.
//!
//! Pure: signals and `now` in, the state out.
//!
//! The newest news wins; what follows says what is news.
//!
//! | Signal | While a wake is under way | Otherwise |
//! |---|---|---|
//! | [`Signal::Table`], the same word as before | nothing | nothing: a table that is read again is no news |
//! | `running`, `stopping`, `stopped`, `failed` | kept for later | the state of that word, also against sessions and older dials |
//! | `starting` | kept for later | starting; nothing for a server that is known to be up: the word is older than the readiness |
//! | no word, or an unknown one | kept for later | unknown if the state was the table's word; what was seen stands |
//! | [`Signal::DialOk`] | kept for later | running; but an open port proves neither that a `starting` server is ready nor that a `stopping` one stays |
//! | [`Signal::ProbeOk`], [`Signal::SessionOpened`] | kept for later | running; but a `stopping` server stays `stopping` |
//! | [`Signal::DialFailed`] | nothing | the table's `starting`, `stopping` or `failed`; else asleep, or unreachable when nothing can wake it; failed and unreachable stay. Nothing if it began before the latest news or while a session is open |
//! | [`Signal::ProbeFailed`] | nothing | like a failed dial, but nothing for a running server: one that lags answers late |
//! | [`Signal::SessionClosed`] | nothing | nothing |
//! | [`Signal::WakeBegun`], [`Signal::WakeAccepted`] | starting | starting, whatever the table says |
//! | [`Signal::WakeSettling`] | settling | nothing: its wake is over |
//! | [`Signal::Ready`] | running; the wake is over | running |
//! | [`Signal::WakeEnded`] | failed after [`WakeEnd::Failed`] and [`WakeEnd::TimedOut`], unreachable after [`WakeEnd::Denied`] and [`WakeEnd::Broken`], what it would be without it after [`WakeEnd::CalledOff`] | nothing |
//!
//! So a wake beats everything until it ends, and it always ends: in [`Signal::Ready`] or
//! [`Signal::WakeEnded`], see [`super::Waking`].

use std::time::{Duration, Instant};

use crate::routes::StateHint;
use crate::texts::Text;

/// The state of a server, as players are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum State {
    /// It does not run, and a login wakes it.
    Asleep,
    /// It is on its way up.
    Starting,
    /// It answers, and is given a moment before players come.
    Settling,
    /// It runs.
    Running,
    /// It is on its way down.
    Stopping,
    /// It ended by itself, or did not start.
    Failed,
    /// It does not answer, and nothing can start it.
    Unreachable,
    /// Nothing has been heard of it.
    #[default]
    Unknown,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Asleep,
        Self::Starting,
        Self::Settling,
        Self::Running,
        Self::Stopping,
        Self::Failed,
        Self::Unreachable,
        Self::Unknown,
    ];

    /// The word for it, in the API and in events.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Asleep => "asleep",
            Self::Starting => "starting",
            Self::Settling => "settling",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Failed => "failed",
            Self::Unreachable => "unreachable",
            Self::Unknown => "unknown",
        }
    }

    /// The text a status shows; a running server shows its own.
    #[must_use]
    pub fn text(self) -> Option<Text> {
        Some(match self {
            Self::Asleep => Text::Asleep,
            Self::Starting => Text::Starting,
            Self::Settling => Text::Settling,
            Self::Running => return None,
            Self::Stopping => Text::Stopping,
            Self::Failed => Text::Failed,
            Self::Unreachable => Text::Unreachable,
            Self::Unknown => Text::Unknown,
        })
    }
}

/// How a wake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WakeEnd {
    /// The server lets players in.
    Ready,
    /// The server-manager gave the server up.
    Failed,
    /// It did not get ready in time.
    TimedOut,
    /// The server-manager refused.
    Denied,
    /// The server-manager could not be asked.
    Broken,
    /// Nobody waits any more, or the router is stopping.
    CalledOff,
}

impl WakeEnd {
    /// Every end.
    pub const ALL: [Self; 6] = [
        Self::Ready,
        Self::Failed,
        Self::TimedOut,
        Self::Denied,
        Self::Broken,
        Self::CalledOff,
    ];

    /// The word for it, in metrics and events.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Denied => "denied",
            Self::Broken => "broken",
            Self::CalledOff => "called_off",
        }
    }

    /// Whether the next wake had better wait.
    #[must_use]
    pub fn is_failure(self) -> bool {
        !matches!(self, Self::Ready | Self::CalledOff)
    }
}

/// What is heard of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// What the table says, each time it is read.
    Table(StateHint),
    /// Somebody asks for the server.
    WakeBegun,
    /// The server-manager accepted the start.
    WakeAccepted,
    /// The server answers, and its settle delay runs.
    WakeSettling,
    /// A wake has brought it up: players may come.
    Ready,
    /// A wake ended; with [`WakeEnd::Ready`] the same as [`Signal::Ready`].
    WakeEnded(WakeEnd),
    /// Its port took a connection.
    DialOk,
    /// Its port took none, or closed it without a byte.
    DialFailed {
        /// When the dial began.
        begun: Instant,
    },
    /// It answered a status request.
    ProbeOk,
    /// It took a connection and did not answer a status request in time, or with nonsense.
    ProbeFailed {
        /// When the probe began.
        begun: Instant,
    },
    /// A player's session began: the server has sent a byte.
    SessionOpened,
    /// A player's session ended.
    SessionClosed,
}

/// How far a wake is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wake {
    Starting,
    Settling,
}

/// The newest news, wakes aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    /// The table's word.
    Table,
    /// It was seen to be up.
    Up,
    /// It was seen not to be up.
    Away,
    /// It was started and did not get ready.
    NotStarted,
    /// The server-manager would not, or could not, start it.
    NotStartable,
}

/// Time spent in the states that cost or save something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// Asleep: what is saved.
    pub asleep: Duration,
    /// Starting or settling.
    pub starting: Duration,
    /// Running.
    pub running: Duration,
}

impl Spent {
    fn add(&mut self, state: State, time: Duration) {
        let sum = match state {
            State::Asleep => &mut self.asleep,
            State::Starting | State::Settling => &mut self.starting,
            State::Running => &mut self.running,
            State::Stopping | State::Failed | State::Unreachable | State::Unknown => return,
        };
        *sum = sum.saturating_add(time);
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            asleep: self.asleep.saturating_add(other.asleep),
            starting: self.starting.saturating_add(other.starting),
            running: self.running.saturating_add(other.running),
        }
    }
}

/// One server's state, and what it follows from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    hint: StateHint,
    wakeable: bool,
    news: News,
    /// When the newest news came; what was known at first is older than anything.
    heard: Option<Instant>,
    wake: Option<Wake>,
    sessions: u32,
    state: State,
    since: Instant,
    spent: Spent,
}

impl Machine {
    /// A server of which only the table's word is known. `wakeable`: there is a server-manager
    /// that knows it by name.
    #[must_use]
    pub fn new(hint: StateHint, wakeable: bool, now: Instant) -> Self {
        let mut machine = Self {
            hint,
            wakeable,
            news: News::Table,
            heard: None,
            wake: None,
            sessions: 0,
            state: State::Unknown,
            since: now,
            spent: Spent::default(),
        };
        machine.state = machine.concluded();
        machine
    }

    /// The state it is in.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Since when it is in this state.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Time spent in states until `now`.
    #[must_use]
    pub fn spent(&self, now: Instant) -> Spent {
        let mut spent = self.spent;
        spent.add(self.state, now.saturating_duration_since(self.since));
        spent
    }

    /// Says whether anything can wake it from now on.
    pub fn set_wakeable(&mut self, wakeable: bool, now: Instant) {
        self.wakeable = wakeable;
        self.conclude(now);
    }

    /// Takes a signal; see the table above for what becomes of it.
    pub fn hear(&mut self, signal: Signal, now: Instant) {
        match signal {
            Signal::Table(hint) => self.hear_table(hint, now),
            Signal::WakeBegun | Signal::WakeAccepted => self.wake = Some(Wake::Starting),
            Signal::WakeSettling => self.wake = self.wake.map(|_| Wake::Settling),
            Signal::Ready | Signal::WakeEnded(WakeEnd::Ready) => {
                self.wake = None;
                self.learn(News::Up, now);
            }
            Signal::WakeEnded(end) => {
                let woken = self.wake.take().is_some();
                match end {
                    WakeEnd::Failed | WakeEnd::TimedOut if woken => {
                        self.learn(News::NotStarted, now);
                    }
                    WakeEnd::Denied | WakeEnd::Broken if woken => {
                        self.learn(News::NotStartable, now);
                    }
                    _ => {}
                }
            }
            Signal::DialOk => self.hear_dial(now),
            Signal::ProbeOk => self.seen_up(now),
            Signal::SessionOpened => {
                self.sessions = self.sessions.saturating_add(1);
                self.seen_up(now);
            }
            Signal::SessionClosed => self.sessions = self.sessions.saturating_sub(1),
            Signal::DialFailed { begun } => self.seen_away(begun, now),
            Signal::ProbeFailed { begun } => {
                if self.at_rest() != State::Running {
                    self.seen_away(begun, now);
                }
            }
        }
        self.conclude(now);
    }

    fn hear_table(&mut self, hint: StateHint, now: Instant) {
        if hint == self.hint {
            return;
        }
        self.hint = hint;
        let older = match hint {
            StateHint::Starting => self.news == News::Up,
            StateHint::Unknown => self.news != News::Table,
            _ => false,
        };
        if !older {
            self.learn(News::Table, now);
        }
    }

    fn hear_dial(&mut self, now: Instant) {
        if self.hint == StateHint::Starting && self.news != News::Up {
            self.learn(News::Table, now);
        } else {
            self.seen_up(now);
        }
    }

    fn seen_up(&mut self, now: Instant) {
        let last_word = matches!(self.news, News::Table | News::Away);
        if self.hint == StateHint::Stopping && last_word {
            self.learn(News::Table, now);
        } else {
            self.learn(News::Up, now);
        }
    }

    fn seen_away(&mut self, begun: Instant, now: Instant) {
        let older = self.heard.is_some_and(|heard| begun < heard);
        let outdated = older || self.sessions > 0 || self.wake.is_some();
        let known = matches!(self.news, News::NotStarted | News::NotStartable);
        if !outdated && !known {
            self.learn(News::Away, now);
        }
    }

    fn learn(&mut self, news: News, now: Instant) {
        self.news = news;
        self.heard = Some(now);
    }

    fn conclude(&mut self, now: Instant) {
        let state = self.concluded();
        if state != self.state {
            let time = now.saturating_duration_since(self.since);
            self.spent.add(self.state, time);
            self.state = state;
            self.since = now;
        }
    }

    fn concluded(&self) -> State {
        match self.wake {
            Some(Wake::Starting) => State::Starting,
            Some(Wake::Settling) => State::Settling,
            None => self.at_rest(),
        }
    }

    /// The state without the wake.
    fn at_rest(&self) -> State {
        match (self.news, self.hint) {
            (News::Up, _) | (News::Table, StateHint::Running) => State::Running,
            (News::NotStarted, _) => State::Failed,
            (News::NotStartable, _) => State::Unreachable,
            (News::Table | News::Away, StateHint::Starting) => State::Starting,
            (News::Table | News::Away, StateHint::Stopping) => State::Stopping,
            (News::Table | News::Away, StateHint::Failed) => State::Failed,
            (News::Table | News::Away, StateHint::Stopped) => State::Asleep,
            (News::Table, StateHint::Unknown) => State::Unknown,
            (News::Away, StateHint::Running | StateHint::Unknown) if self.wakeable => State::Asleep,
            (News::Away, StateHint::Running | StateHint::Unknown) => State::Unreachable,
        }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
