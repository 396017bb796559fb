//! Which state of the table is applied, what was announced since, and what is to be read next.
//!
//! The table counts its changes (`schema.sql`): every transaction that changes something is one revision, and is announced
//! with its number and, where they are few, the names of its rows. As long as the numbers follow one upon the other,
//! those rows are read and nothing else; whatever else happens ends in a read of the whole table. An announcement is
//! a hint and never believed: what counts is what a read finds.
//!
//! Pure.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

/// Most names that wait to be read, and most announcements; beyond either, the whole table is read.
pub const NAMES_MAX: usize = 1_000;

/// So many changes in a row of which nothing is heard are no accident.
const DEAF_AFTER: u32 = 3;

/// A state of the table, as it counts them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Which history; a table made anew begins another.
    pub epoch: Arc<str>,
    /// How many changes of it.
    pub revision: u64,
}

/// Why the whole table is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// A connection is new.
    Connected,
    /// An announcement says no more than that something changed.
    Told,
    /// An announcement is none of ours.
    Garbled,
    /// An announcement tells no names, because they are many.
    Nameless,
    /// More names wait than [`NAMES_MAX`].
    Overflow,
    /// An announcement is missing.
    Gap,
    /// The table is ahead of every announcement.
    Lost,
    /// The table's history is another.
    Epoch,
    /// The table is behind what is applied.
    Older,
    /// It is time to.
    Reconcile,
    /// The last one is held back, and there is news.
    Held,
}

impl Why {
    /// Every one of them.
    pub const ALL: [Self; 11] = [
        Self::Connected,
        Self::Told,
        Self::Garbled,
        Self::Nameless,
        Self::Overflow,
        Self::Gap,
        Self::Lost,
        Self::Epoch,
        Self::Older,
        Self::Reconcile,
        Self::Held,
    ];

    /// As metrics call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Told => "told",
            Self::Garbled => "garbled",
            Self::Nameless => "nameless",
            Self::Overflow => "overflow",
            Self::Gap => "gap",
            Self::Lost => "lost",
            Self::Epoch => "epoch",
            Self::Older => "older",
            Self::Reconcile => "reconcile",
            Self::Held => "held",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The rows of these names; then this state is applied.
    Rows(Vec<String>, Mark),
    /// The whole table.
    All(Why),
}

/// What a look at the revision comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Nothing more to do.
    Done,
    /// The table is ahead, and its announcement may be on the way: look again soon.
    Again,
}

/// One announcement.
#[derive(Debug, Deserialize)]
struct Hint {
    epoch: String,
    revision: u64,
    names: Option<Vec<String>>,
}

/// The table's states, as far as one reader knows them.
#[derive(Debug, Default)]
pub struct Revisions {
    applied: Option<Mark>,
    hints: VecDeque<Hint>,
    /// How many names they have together.
    names: usize,
    owed: Option<Why>,
    /// The revision a look has found ahead of all announcements.
    ahead: Option<u64>,
    /// How often that ended in a read since something was heard.
    unheard: u32,
    held: bool,
}

impl Revisions {
    /// Nothing is known yet but `applied`, which comes from elsewhere.
    #[must_use]
    pub fn new(applied: Option<Mark>) -> Self {
        Self {
            applied,
            ..Self::default()
        }
    }

    /// The state that is applied, where the table counts.
    #[must_use]
    pub fn applied(&self) -> Option<&Mark> {
        self.applied.as_ref()
    }

    /// Takes down what was announced.
    pub fn hear(&mut self, payload: &str) {
        self.unheard = 0;
        if payload.is_empty() {
            return self.owe(Why::Told);
        }
        match serde_json::from_str::<Hint>(payload) {
            Err(_) => self.owe(Why::Garbled),
            Ok(hint) => {
                self.names += hint.names.as_ref().map_or(0, Vec::len);
                self.hints.push_back(hint);
                if self.names.max(self.hints.len()) > NAMES_MAX {
                    self.owe(Why::Overflow);
                }
            }
        }
    }

    /// Whether changes are there again and again, and nothing is heard of them.
    #[must_use]
    pub fn is_deaf(&self) -> bool {
        self.unheard >= DEAF_AFTER
    }

    /// Has the whole table read next. What was announced until then needs no read of its own.
    pub fn owe(&mut self, why: Why) {
        self.owed.get_or_insert(why);
        self.forget();
    }

    /// Whether there may be anything to read.
    #[must_use]
    pub fn is_owing(&self) -> bool {
        self.owed.is_some() || !self.hints.is_empty()
    }

    fn forget(&mut self) {
        self.hints.clear();
        self.names = 0;
    }

    /// What is to be read next, if anything. It is not asked for again.
    pub fn step(&mut self) -> Option<Step> {
        if self.owed.is_none() && !self.hints.is_empty() {
            match self.rows() {
                Ok(step) => return step,
                Err(why) => self.owe(why),
            }
        }
        self.owed.take().map(Step::All)
    }

    /// The rows of all announcements that follow upon the applied state without a gap.
    fn rows(&mut self) -> Result<Option<Step>, Why> {
        let Some(applied) = &mut self.applied else {
            return Err(Why::Told);
        };
        let mut names = BTreeSet::new();
        let mut last = applied.revision;
        while let Some(hint) = self.hints.pop_front() {
            self.names -= hint.names.as_ref().map_or(0, Vec::len);
            if *hint.epoch != *applied.epoch {
                return Err(Why::Epoch);
            }
            if hint.revision <= last {
                continue;
            }
            if self.held {
                return Err(Why::Held);
            }
            if hint.revision != last + 1 {
                return Err(Why::Gap);
            }
            last = hint.revision;
            names.extend(hint.names.ok_or(Why::Nameless)?);
        }
        if names.is_empty() {
            applied.revision = last;
            return Ok(None);
        }
        let epoch = Arc::clone(&applied.epoch);
        let mark = Mark {
            epoch,
            revision: last,
        };
        Ok(Some(Step::Rows(names.into_iter().collect(), mark)))
    }

    /// Rows were read for `mark` from a table in the state `found`: whether they are to be applied.
    pub fn rows_read(&mut self, mark: Mark, found: Option<&Mark>) -> bool {
        match found {
            Some(found) if found.epoch == mark.epoch && found.revision >= mark.revision => {
                self.applied = Some(mark);
                true
            }
            Some(found) if found.epoch == mark.epoch => {
                self.owe(Why::Older);
                false
            }
            _ => {
                self.owe(Why::Epoch);
                false
            }
        }
    }

    /// Whether a table in the state `found` is behind what is applied.
    #[must_use]
    pub fn is_older(&self, found: Option<&Mark>) -> bool {
        let (Some(applied), Some(found)) = (&self.applied, found) else {
            return false;
        };
        applied.epoch == found.epoch && found.revision < applied.revision
    }

    /// The whole table was read in the state `found`, and is applied.
    pub fn all_read(&mut self, found: Option<Mark>) {
        self.applied = found;
        self.held = false;
    }

    /// The whole table was read and is held back: until that ends, rows alone are never applied.
    pub fn hold(&mut self) {
        self.held = true;
    }

    /// The table's state was looked at. A table that is ahead of all announcements is given the time of one more look,
    /// since an announcement comes after the change.
    pub fn looked(&mut self, found: Option<&Mark>) -> Look {
        let before = self.ahead.take();
        let (Some(applied), Some(found)) = (&self.applied, found) else {
            if self.applied.is_some() != found.is_some() {
                self.owe(Why::Epoch);
            }
            return Look::Done;
        };
        if applied.epoch != found.epoch {
            self.owe(Why::Epoch);
        } else if found.revision < applied.revision {
            self.owe(Why::Older);
        } else {
            let heard = self.hints.iter().map(|hint| hint.revision).max();
            let reached = heard.unwrap_or_default().max(applied.revision);
            if before.is_some_and(|before| before > reached) {
                self.unheard = self.unheard.saturating_add(1);
                self.owe(Why::Lost);
            } else if found.revision > reached {
                self.ahead = Some(found.revision);
                return Look::Again;
            }
        }
        Look::Done
    }
}

#[cfg(test)]
#[path = "revision_tests.rs"]
mod tests;
