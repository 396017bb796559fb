//! How healthy a backend is by what was last heard of it, and a route by that and the state of its server.
//!
//! Pure: words and moments in, a status out. What a backend is, in order of what was heard:
//!
//! | Heard | Status |
//! |---|---|
//! | nothing | unknown |
//! | a good word | healthy |
//! | a bad one, or a second | what it was; it is a suspect, and asked again soon |
//! | [`FAILURES_MAX`] in a row | unhealthy, or error if it could not be asked or is no server |
//! | nothing for a while, and nobody asks | unknown again, see [`Record::faded`] |
//!
//! Only the router's own checks climb the ladder: of what players meet, any number is the first bad
//! word, since a hundred who click at once meet one moment.
//!
//! A server known to sleep, to start or to have failed is just that, whatever its address says; see [`status`].

use std::num::NonZeroU32;
use std::time::Duration;

use super::word::Word;
use crate::moment::Moment;
use crate::routes::StateHint;
use crate::servers::State;

/// Bad words in a row that make a backend unhealthy.
pub const FAILURES_MAX: u8 = 3;

/// How healthy something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Status {
    /// Not heard of enough.
    #[default]
    Unknown,
    /// It answers.
    Healthy,
    /// It does not run, and need not.
    Asleep,
    /// It is on its way up.
    Starting,
    /// It does not answer.
    Unhealthy,
    /// It cannot be asked, or is no Minecraft server.
    Error,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 6] = [
        Self::Unknown,
        Self::Healthy,
        Self::Asleep,
        Self::Starting,
        Self::Unhealthy,
        Self::Error,
    ];

    /// The word for it, in the API and in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Asleep => "asleep",
            Self::Starting => "starting",
            Self::Unhealthy => "unhealthy",
            Self::Error => "error",
        }
    }

    /// Whether all is as it should be: a server that sleeps or starts is in order.
    #[must_use]
    pub fn is_good(self) -> bool {
        matches!(self, Self::Healthy | Self::Asleep | Self::Starting)
    }
}

/// Who has heard a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The router, which asked on its own account.
    Check,
    /// A player, or whoever looks at the server list.
    Player,
}

/// What is known of one backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Record {
    /// Since when it is healthy.
    good_since: Option<Moment>,
    /// When it was last heard to be well.
    seen: Option<Moment>,
    /// When it was last heard of.
    heard: Option<Moment>,
    /// Of its last status, in microseconds.
    latency: Option<NonZeroU32>,
    /// What was heard last.
    word: Word,
    /// What it was told to be last.
    told: Status,
    /// Bad words in a row.
    failures: u8,
    /// The most it has shown, ever.
    shown: Shown,
}

/// What a backend has shown to be able to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Shown {
    #[default]
    Nothing,
    /// It has let a player in.
    LetsIn,
    /// It has answered a status request.
    Answers,
}

/// What a word has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The status before, if it was another.
    pub from: Option<Status>,
    /// Whether it had better be asked again soon.
    pub suspect: bool,
}

impl Record {
    /// Takes `word`.
    pub fn hear(&mut self, word: Word, by: By, now: Moment) -> Step {
        let before = self.status();
        let failures = self.failures;
        self.heard = Some(now);
        // Servers can be told to answer no status: they close such connections, and let players in.
        let hides = by == By::Check && word == Word::Closed && self.shown == Shown::LetsIn;
        self.word = if hides { Word::LetIn } else { word };
        if self.word.is_good() {
            let shown = match self.word {
                Word::Answered => Shown::Answers,
                _ => Shown::LetsIn,
            };
            self.shown = self.shown.max(shown);
            self.failures = 0;
            self.seen = Some(now);
            self.good_since.get_or_insert(now);
        } else {
            self.failures = match by {
                By::Check => failures.saturating_add(1),
                By::Player => failures.max(1),
            };
            if self.failures >= FAILURES_MAX {
                self.good_since = None;
            }
        }
        Step {
            from: (before != self.status()).then_some(before),
            suspect: self.failures > failures && self.failures < FAILURES_MAX,
        }
    }

    /// What is left of it if words that are older than `after` are worth nothing: that it was heard of, and when.
    #[must_use]
    pub fn faded(mut self, now: Moment, after: Option<Duration>) -> Self {
        let old = self.heard.zip(after);
        if old.is_some_and(|(heard, after)| now.since(heard) >= after) {
            (self.good_since, self.word, self.failures) = (None, Word::None, 0);
        }
        self
    }

    /// Why it is how it is, by its own words.
    #[must_use]
    pub fn detail(&self) -> &'static str {
        match (self.word, self.heard) {
            (Word::None, Some(_)) => "not heard of lately",
            (word, _) => word.text(),
        }
    }

    /// Whether it failed, and not often enough to be condemned.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        (1..FAILURES_MAX).contains(&self.failures)
    }

    /// Takes note of how long it took to answer a status request.
    pub fn took(&mut self, latency: Duration) {
        let micros = u32::try_from(latency.as_micros()).unwrap_or(u32::MAX);
        self.latency = NonZeroU32::new(micros);
    }

    /// How it is, by its own words.
    #[must_use]
    pub fn status(&self) -> Status {
        match self.failures {
            FAILURES_MAX.. if self.word.is_error() => Status::Error,
            FAILURES_MAX.. => Status::Unhealthy,
            _ if self.good_since.is_some() => Status::Healthy,
            _ => Status::Unknown,
        }
    }

    /// Takes note that it is told to be `status`; comes with what was told before, if that is something else.
    pub fn tell(&mut self, status: Status) -> Option<Status> {
        let before = std::mem::replace(&mut self.told, status);
        (before != status).then_some(before)
    }

    /// What was heard last.
    #[must_use]
    pub fn word(&self) -> Word {
        self.word
    }

    /// Bad words in a row.
    #[must_use]
    pub fn failures(&self) -> u8 {
        self.failures
    }

    /// Since when it is healthy.
    #[must_use]
    pub fn good_since(&self) -> Option<Moment> {
        self.good_since
    }

    /// When it was last heard to be well.
    #[must_use]
    pub fn seen(&self) -> Option<Moment> {
        self.seen
    }

    /// When it was last heard of.
    #[must_use]
    pub fn heard(&self) -> Option<Moment> {
        self.heard
    }

    /// How long it took to answer its last status request.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        let micros = self.latency.map(|micros| u64::from(micros.get()));
        micros.map(Duration::from_micros)
    }

    /// Whether it was well `within` this time, and nothing worse was heard since.
    #[must_use]
    pub fn is_fresh(&self, within: Duration, now: Moment) -> bool {
        let seen = self.seen.filter(|_| self.failures == 0);
        seen.is_some_and(|seen| now.since(seen) < within)
    }
}

/// What is known of the server at an address by other ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    /// Its state.
    pub state: State,
    /// Since when it is in this state.
    pub since: Moment,
    /// What the table says of it.
    pub hint: StateHint,
    /// Whether anything can start it.
    pub wakeable: bool,
}

impl Server {
    /// Whether its address may be asked. A server that is known to sleep, or is said not to run, is
    /// left alone: nothing listens there, or by now another one.
    #[must_use]
    pub fn may_be_asked(&self) -> bool {
        match self.state {
            State::Running | State::Unknown => true,
            State::Failed | State::Unreachable => !self.hint.is_not_running(),
            State::Asleep | State::Starting | State::Settling | State::Stopping => false,
        }
    }
}

/// How a route is whose backend has this `record`, and why.
#[must_use]
pub fn status(record: &Record, server: &Server) -> (Status, &'static str) {
    let own = (record.status(), record.detail());
    let newer = record.heard.is_some_and(|heard| heard >= server.since);
    match server.state {
        State::Asleep => (Status::Asleep, "its server does not run"),
        State::Stopping => (Status::Asleep, "its server is on its way down"),
        State::Starting => (Status::Starting, "its server starts"),
        State::Settling => (
            Status::Starting,
            "its server is up, and players come in a moment",
        ),
        State::Unreachable if !server.may_be_asked() => (
            Status::Unhealthy,
            "its server does not run, and cannot be started",
        ),
        State::Failed if !(server.may_be_asked() && newer && record.status().is_good()) => {
            let text = "its server ended by itself, or did not start";
            (Status::Unhealthy, text)
        }
        State::Running if !newer && record.failures > 0 => {
            (Status::Unknown, "its server came up since it was asked")
        }
        // Nobody says that it runs, so this is what it looks like when it sleeps.
        _ if record.status() == Status::Unhealthy
            && record.word.is_absence()
            && server.wakeable
            && server.hint == StateHint::Unknown =>
        {
            let text = "its port is closed; a login wakes its server";
            (Status::Asleep, text)
        }
        _ => own,
    }
}

#[cfg(test)]
#[path = "ladder_tests.rs"]
mod tests;
