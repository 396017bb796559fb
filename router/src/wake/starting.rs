//! The start of one wake: asked for once, and once more where that broke.
//!
//! Some server-managers answer when the server is up, which takes a minute. So a request that has a
//! connection and no answer is under way for as long as that lives: nothing is asked twice, and polls
//! and probes go on beside it.
//!
//! Pure: `now` is passed in.

use std::time::{Duration, Instant};

use super::error::WakeError;
use super::reply::StartReply;
use crate::addr::BackendAddr;

/// How long after a broken start the one retry follows.
pub const START_RETRY_PAUSE: Duration = Duration::from_millis(250);
/// How long a request has had its connection when the start counts as under way.
pub const UNDER_WAY_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// To be asked for at this instant.
    Due(Instant),
    /// Without an answer yet.
    Asked {
        at: Instant,
        /// When the request had its connection.
        sent: Option<Instant>,
    },
    Accepted,
    /// Broken twice, the server-manager alive: other signs tell what became of it.
    Lost,
    Over,
}

/// What follows from an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The server starts, here if that was said.
    Accepted(Option<BackendAddr>),
    /// It broke, and is asked for once more.
    Again(String),
    /// Nothing more will come of it.
    Failed(WakeError),
    /// Nothing new.
    Nothing,
}

/// The start of one wake.
#[derive(Debug, Clone)]
pub struct Starting {
    stage: Stage,
    retried: bool,
    /// A request was under way: the server starts, perhaps.
    under_way: bool,
    /// Since then it was said to be on its way.
    going_on: bool,
}

impl Starting {
    /// A start to be asked for now.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            stage: Stage::Due(now),
            retried: false,
            under_way: false,
            going_on: false,
        }
    }

    /// When it is to be asked for, unless it was.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        match self.stage {
            Stage::Due(at) => Some(at),
            _ => None,
        }
    }

    /// When the request will count as under way.
    #[must_use]
    pub fn under_way_at(&self) -> Option<Instant> {
        match self.stage {
            Stage::Asked { sent, .. } if !self.under_way => Some(sent? + UNDER_WAY_AFTER),
            _ => None,
        }
    }

    /// When the request was sent that has no answer yet.
    #[must_use]
    pub fn asked(&self) -> Option<Instant> {
        match self.stage {
            Stage::Asked { at, .. } => Some(at),
            _ => None,
        }
    }

    /// Whether the server starts, as far as is known.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.under_way || self.is_accepted()
    }

    /// Whether the start was answered with success.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.stage == Stage::Accepted
    }

    /// Whether a poll that says the worst speaks of this start, and not of the time before.
    #[must_use]
    pub fn is_believed(&self) -> bool {
        self.is_accepted() || self.going_on
    }

    /// Notes that it is asked for, if it is due; whether it is.
    pub fn ask(&mut self, now: Instant) -> bool {
        let due = self.due().is_some();
        if due {
            self.stage = Stage::Asked {
                at: now,
                sent: None,
            };
        }
        due
    }

    /// Notes that the request has a connection.
    pub fn sent(&mut self, now: Instant) {
        if let Stage::Asked { sent, .. } = &mut self.stage {
            sent.get_or_insert(now);
        }
    }

    /// Notes that time has passed.
    pub fn pass(&mut self, now: Instant) {
        self.under_way |= self.under_way_at().is_some_and(|at| at <= now);
    }

    /// Notes that a poll said that the server is on its way, or not yet.
    pub fn goes_on(&mut self) {
        self.going_on |= self.under_way;
    }

    /// Takes an answer. `heard`: polls have been answered since the last trouble.
    pub fn answered(&mut self, now: Instant, reply: StartReply, heard: bool) -> Verdict {
        if self.asked().is_none() {
            return Verdict::Nothing;
        }
        self.pass(now);
        self.stage = Stage::Over;
        match reply {
            StartReply::Accepted => self.accepted(None),
            StartReply::AcceptedAt(address) => self.accepted(Some(address)),
            StartReply::Denied(status) => Verdict::Failed(WakeError::Denied(status)),
            StartReply::Redirected(reason) => Verdict::Failed(WakeError::Broken(reason)),
            StartReply::Broken(reason) if !self.retried => {
                self.retried = true;
                self.stage = Stage::Due(now + START_RETRY_PAUSE);
                Verdict::Again(reason)
            }
            StartReply::Broken(_) if self.under_way && heard => {
                self.stage = Stage::Lost;
                Verdict::Nothing
            }
            StartReply::Broken(reason) => Verdict::Failed(WakeError::Broken(reason)),
        }
    }

    fn accepted(&mut self, address: Option<BackendAddr>) -> Verdict {
        self.stage = Stage::Accepted;
        Verdict::Accepted(address)
    }
}

#[cfg(test)]
#[path = "starting_tests.rs"]
mod tests;
