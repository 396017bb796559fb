//! One read of the table, row by row: what it finds against what is known.
//!
//! Nothing is applied before its end, and only what is new is kept until then, so a read needs memory for what changed
//! (and a word for each row), not for the table.

use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::pin::pin;

use futures_core::Stream;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::facts::{Facts, ROWS_MAX};
use super::guard::{Effect, Loss};
use super::revision::Mark;
use super::schema::{self, Read};
use super::trouble::SyncError;
use crate::routes::offer::{Offer, Outcome, Provider, name};
use crate::routes::overrides::Policies;
use crate::routes::registry::Registry;
use crate::routes::row::{self, Row};
use crate::shared_str::SharedStr;

const POSTGRES: Provider = Provider::Postgres;

/// What a read has found.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The state of the table, where it counts them.
    pub(super) mark: Option<Mark>,
    /// Rows that were read.
    pub(super) rows: usize,
    /// Entries that are new, or other than they were.
    pub(super) changed: HashMap<SharedStr, Offer>,
    /// Entries that are no more.
    pub(super) gone: Vec<SharedStr>,
    /// Routes that would be none.
    pub(super) loss: Loss,
}

impl Reading {
    /// Whether anything is other than it was.
    pub(super) fn is_news(&self) -> bool {
        !(self.changed.is_empty() && self.gone.is_empty())
    }

    /// What comes of it, for [`Registry::update`].
    pub(super) fn news(self) -> impl Iterator<Item = (SharedStr, Option<Offer>)> {
        let changed = self.changed.into_iter();
        let gone = self.gone.into_iter().map(|name| (name, None));
        changed.map(|(name, offer)| (name, Some(offer))).chain(gone)
    }

    /// What it would do to the routes there are.
    pub(super) fn effect(&self, registry: &Registry, older: bool) -> Effect {
        Effect {
            routes: registry
                .read(|pool| pool.entries(POSTGRES).filter(|entry| entry.is_ok()).count()),
            lost: self.loss.count(),
            older,
        }
    }
}

/// Reads all rows or, with `names`, those of these; `keep` gets each of them as it is.
///
/// # Errors
/// The query fails, or there are more rows than [`ROWS_MAX`].
pub(super) async fn read(
    client: &Client,
    facts: &Facts,
    names: Option<&[String]>,
    registry: &Registry,
    policies: &mut Policies,
    mut keep: impl FnMut(&Row),
) -> Result<Reading, SyncError> {
    let names_read = registry.names();
    let mut compare = Comparison::with(registry);
    let parameters = names
        .iter()
        .map(|names| (names as &(dyn ToSql + Sync), Type::TEXT_ARRAY));
    let rows = client
        .query_typed_raw(&facts.query(names.is_some()), parameters)
        .await?;
    let mut rows = pin!(rows);
    let mut mark = None;
    while let Some(found) = poll_fn(|context| rows.as_mut().poll_next(context)).await {
        match schema::row(&found?)? {
            Read::Mark(found) => mark = Some(found),
            Read::Row(row) => {
                keep(&row);
                compare.take(registry, row::offer(row, policies, names_read));
                if compare.reading.rows > ROWS_MAX {
                    return Err(SyncError::TooManyRows);
                }
            }
        }
    }
    let mut reading = match names {
        Some(names) => compare.end_of(registry, names),
        None => compare.end(registry),
    };
    reading.mark = mark;
    Ok(reading)
}

/// Compares rows with what is known, one after the other.
struct Comparison {
    reading: Reading,
    /// The known entries that were met again, by the places of their names. Those stay as long as nobody but this source
    /// changes its entries.
    met: HashSet<usize>,
    /// Routes with settings that are not honoured: whether those are the same is not compared.
    flawed: HashSet<SharedStr>,
}

impl Comparison {
    fn with(registry: &Registry) -> Self {
        let flawed = registry.read(|pool| {
            let names = pool.ignored(POSTGRES).map(|(name, _)| name.clone());
            names.collect()
        });
        Self {
            reading: Reading::default(),
            met: HashSet::new(),
            flawed,
        }
    }

    /// Takes one row. Of two with one name, which only a table without a key can have, the first counts.
    fn take(&mut self, registry: &Registry, offer: Offer) {
        let reading = &mut self.reading;
        reading.rows += 1;
        let known = registry.known(POSTGRES, name(&offer.outcome));
        if let Some(known) = &known {
            if !self.met.insert(place(known)) {
                return;
            }
            let flawed = !offer.ignored.is_empty() || self.flawed.contains(name(known));
            if *known == offer.outcome && !flawed {
                return;
            }
            if known.is_ok() && offer.outcome.is_err() {
                reading.loss.add(name(known));
            }
        }
        let name = name(&offer.outcome).clone();
        reading.changed.entry(name).or_insert(offer);
    }

    /// All rows were read: what was not among them is gone.
    fn end(mut self, registry: &Registry) -> Reading {
        let reading = &mut self.reading;
        registry.read(|pool| {
            for entry in pool.entries(POSTGRES) {
                if !self.met.contains(&place(entry)) {
                    reading.lose(entry);
                }
            }
        });
        self.reading
    }

    /// The rows of `names` were read: those of them that were not there are gone.
    fn end_of(mut self, registry: &Registry, names: &[String]) -> Reading {
        for name in names {
            if let Some(known) = registry.known(POSTGRES, name)
                && !self.met.contains(&place(&known))
            {
                self.reading.lose(&known);
            }
        }
        self.reading
    }
}

impl Reading {
    fn lose(&mut self, entry: &Outcome) {
        if entry.is_ok() {
            self.loss.add(name(entry));
        }
        self.gone.push(name(entry).clone());
    }
}

/// Where the name of an entry is; a number for one that is kept.
fn place(entry: &Outcome) -> usize {
    name(entry).as_ptr().addr()
}
