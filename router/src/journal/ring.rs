//! The latest things that happened, under ids that only grow, within bounds.
//!
//! Pure. Changes of routes have a ring of their own, so that nothing else makes them forgotten; those of health another one, since
//! there are many when everything comes up.

use std::collections::{HashMap, VecDeque};
use std::time::SystemTime;

use crate::health::HealthChange;
use crate::routes::history::RouteChange;
use crate::routes::offer::Provider;
use crate::servers::State;
use crate::shared_str::SharedStr;

/// Most changes of routes that are remembered.
pub const ROUTE_CHANGES_MAX: usize = 1_000;
/// Most changes of health that are remembered.
pub const HEALTH_CHANGES_MAX: usize = 1_000;
/// Most other things that are remembered.
pub const OTHERS_MAX: usize = 1_000;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A route changed.
    Route(RouteChange),
    /// A server's state changed.
    Server {
        /// Its name, else its host.
        server: SharedStr,
        /// The state before.
        from: State,
        /// The state since.
        to: State,
    },
    /// A backend is healthier, or less so.
    Health(HealthChange),
    /// So many things happened to servers that nobody had the time to take them down.
    Missed(u64),
    /// The connection to Postgres is lost, or back.
    Sync {
        /// Whether it is there.
        connected: bool,
    },
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Greater than that of everything that happened before.
    pub id: u64,
    /// When.
    pub at: SystemTime,
    /// What.
    pub what: What,
}

/// Some entries in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// The entries, the oldest first.
    pub entries: Vec<Entry>,
    /// Whether something that happened since is forgotten, or was never known to this process.
    pub missed: bool,
    /// Up to which id there is nothing more to tell; where to go on.
    pub last: u64,
}

/// What is remembered.
#[derive(Debug)]
pub struct Ring {
    newest: u64,
    routes: Kept,
    health: Kept,
    others: Kept,
}

/// A bounded part of it.
#[derive(Debug)]
struct Kept {
    entries: VecDeque<Entry>,
    max: usize,
    /// The newest id that may have been forgotten.
    forgotten: u64,
}

impl Kept {
    fn new(max: usize, forgotten: u64) -> Self {
        Self {
            entries: VecDeque::new(),
            max,
            forgotten,
        }
    }

    fn push(&mut self, entry: Entry) {
        if self.entries.len() >= self.max
            && let Some(oldest) = self.entries.pop_front()
        {
            self.forgotten = oldest.id;
        }
        self.entries.push_back(entry);
    }

    fn after(&self, id: u64) -> impl Iterator<Item = &Entry> {
        let begin = self.entries.partition_point(|entry| entry.id <= id);
        self.entries.range(begin..)
    }
}

impl Ring {
    /// Nothing happened yet; the next id is the one after `newest`.
    #[must_use]
    pub fn new(newest: u64) -> Self {
        Self {
            newest,
            routes: Kept::new(ROUTE_CHANGES_MAX, newest),
            health: Kept::new(HEALTH_CHANGES_MAX, newest),
            others: Kept::new(OTHERS_MAX, newest),
        }
    }

    /// The id of what happened last.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// Takes down `count` changes of routes; those that would be forgotten at once only use up ids.
    pub fn routes(
        &mut self,
        at: SystemTime,
        count: usize,
        changes: impl Iterator<Item = RouteChange>,
    ) {
        let skipped = count.saturating_sub(ROUTE_CHANGES_MAX);
        if skipped > 0 {
            self.newest += u64::try_from(skipped).unwrap_or_default();
            self.routes.entries.clear();
            self.routes.forgotten = self.newest;
        }
        for change in changes.skip(skipped) {
            self.newest += 1;
            self.routes.push(Entry {
                id: self.newest,
                at,
                what: What::Route(change),
            });
        }
    }

    /// Takes down a change of health.
    pub fn health(&mut self, at: SystemTime, change: HealthChange) {
        self.newest += 1;
        let (id, what) = (self.newest, What::Health(change));
        self.health.push(Entry { id, at, what });
    }

    /// Takes down something else.
    pub fn other(&mut self, at: SystemTime, what: What) {
        self.newest += 1;
        let id = self.newest;
        self.others.push(Entry { id, at, what });
    }

    /// What happened after `id`, at most `limit` of it.
    #[must_use]
    pub fn after(&self, id: u64, limit: usize) -> Page {
        let (begin, is_ours) = self.since(id);
        let all = [&self.routes, &self.health, &self.others];
        let mut left = all.map(|kept| kept.after(begin).peekable());
        let mut entries = Vec::new();
        while entries.len() < limit {
            let next = left
                .iter_mut()
                .filter_map(|kept| Some((kept.peek()?.id, kept)));
            match next
                .min_by_key(|(id, _)| *id)
                .and_then(|(_, kept)| kept.next())
            {
                Some(entry) => entries.push(entry.clone()),
                None => break,
            }
        }
        let missed = !is_ours || all.iter().any(|kept| id < kept.forgotten);
        self.page(entries, missed, limit)
    }

    /// What happened to routes after `id`, at most `limit` of it.
    #[must_use]
    pub fn routes_after(&self, id: u64, limit: usize) -> Page {
        let (begin, is_ours) = self.since(id);
        let entries = self.routes.after(begin).take(limit).cloned();
        let missed = !is_ours || id < self.routes.forgotten;
        self.page(entries.collect(), missed, limit)
    }

    /// The last `limit` things that happened to routes.
    #[must_use]
    pub fn last_routes(&self, limit: usize) -> Page {
        let kept = &self.routes.entries;
        let begin = kept.len().saturating_sub(limit);
        self.page(kept.range(begin..).cloned().collect(), false, usize::MAX)
    }

    fn page(&self, entries: Vec<Entry>, missed: bool, limit: usize) -> Page {
        let last = entries.last().filter(|_| entries.len() >= limit);
        Page {
            last: last.map_or(self.newest, |entry| entry.id),
            entries,
            missed,
        }
    }

    /// When which entry of which source last changed, as far as it is remembered.
    #[must_use]
    pub fn last_changes(&self) -> HashMap<(Provider, SharedStr), SystemTime> {
        let entries = self.routes.entries.iter();
        let changes = entries.filter_map(|entry| match &entry.what {
            What::Route(change) => Some(((change.provider, change.name.clone()), entry.at)),
            _ => None,
        });
        changes.collect()
    }

    /// After which id to begin, and whether `id` can be one of this ring. One from the future is another's: then all
    /// is news.
    fn since(&self, id: u64) -> (u64, bool) {
        if id > self.newest {
            (0, false)
        } else {
            (id, true)
        }
    }
}

#[cfg(test)]
#[path = "ring_tests.rs"]
mod tests;
