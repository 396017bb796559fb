//! What all sources offer, and which of it is in force.
//!
//! Of several routes for one host the earlier source wins, and within a source the lower name (by bytes). Whoever
//! loses stays known, and is in force as soon as the winner is gone.
//!
//! Pure.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::Route;
use super::backends::going_on;
pub use super::changes::{Changes, Counts, Shadowed};
use super::diff::Change;
use super::offer::{Excluded, IgnoredSetting, Offer, Outcome, Provider, Reason, name};
use super::table::Table;
use super::wildcard::{WILDCARDS_MAX, is_wildcard};
use crate::host::{Host, Names};
use crate::shared_str::SharedStr;

/// What the router makes of everything that sources offer.
#[derive(Debug)]
pub struct Pool {
    sources: [Source; Provider::ALL.len()],
    table: Table,
    /// Routes that want a host which another has; `None` is the default.
    contested: HashMap<Option<Host>, BTreeMap<Rank, Arc<Route>>>,
}

/// What a source says of the entry of this name; `None` if there is nothing any more.
pub type News = (Provider, SharedStr, Option<Offer>);

/// The lower wins.
type Rank = (Provider, SharedStr);

/// What one source says.
#[derive(Debug, Default)]
struct Source {
    entries: HashTable<Outcome>,
    hasher: FixedState,
    /// How many hosts of its routes are patterns.
    wildcards: usize,
    ignored: BTreeMap<SharedStr, Vec<IgnoredSetting>>,
}

impl Source {
    fn get(&self, wanted: &str) -> Option<&Outcome> {
        let hash = self.hasher.hash_one(wanted);
        self.entries.find(hash, |entry| **name(entry) == *wanted)
    }

    /// Puts an entry in, or takes it out; the one that was there comes back.
    fn set(&mut self, wanted: &str, outcome: Option<Outcome>) -> Option<Outcome> {
        let hasher = self.hasher.clone();
        let hash = hasher.hash_one(wanted);
        self.wildcards += outcome.as_ref().map_or(0, wildcards);
        let found = self
            .entries
            .find_entry(hash, |entry| **name(entry) == *wanted);
        let old = match (found, outcome) {
            (Ok(mut entry), Some(outcome)) => Some(std::mem::replace(entry.get_mut(), outcome)),
            (Ok(entry), None) => Some(entry.remove().0),
            (Err(_), Some(outcome)) => {
                let hash_of = |entry: &Outcome| hasher.hash_one(&**name(entry));
                self.entries.insert_unique(hash, outcome, hash_of);
                None
            }
            (Err(_), None) => None,
        };
        self.wildcards -= old.as_ref().map_or(0, wildcards);
        old
    }

    /// Takes down which settings are not honoured; those that were not there come back.
    fn ignore(&mut self, name: &SharedStr, ignored: Vec<IgnoredSetting>) -> Vec<IgnoredSetting> {
        let old = self.ignored.remove(name).unwrap_or_default();
        let new = ignored.iter().filter(|setting| !old.contains(setting));
        let new = new.cloned().collect();
        if !ignored.is_empty() {
            self.ignored.insert(name.clone(), ignored);
        }
        new
    }
}

/// What is to be remembered while entries change.
#[derive(Debug, Default)]
struct Draft {
    /// Whose each host was before it was somebody else's; what counts is the first of each.
    before: Vec<(Option<Host>, Option<Arc<Route>>)>,
    excluded: Vec<Arc<Excluded>>,
    /// Who has to wait for which host, at least for now.
    waiting: Vec<(Option<Host>, Arc<Route>)>,
    ignored: Vec<(SharedStr, IgnoredSetting)>,
}

impl Pool {
    /// An empty one, for names read like this.
    #[must_use]
    pub fn new(names: Names) -> Self {
        Self {
            sources: Default::default(),
            table: Table::new(names),
            contested: HashMap::new(),
        }
    }

    /// What is in force.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// What `provider` says of one of its entries.
    #[must_use]
    pub fn entry(&self, provider: Provider, name: &str) -> Option<&Outcome> {
        self.source(provider)?.get(name)
    }

    /// Everything `provider` says, in no order.
    pub fn entries(&self, provider: Provider) -> impl Iterator<Item = &Outcome> {
        let source = self.source(provider);
        source.into_iter().flat_map(|source| source.entries.iter())
    }

    /// The entries of `provider` that are no routes, in no order.
    pub fn excluded(&self, provider: Provider) -> impl Iterator<Item = &Arc<Excluded>> {
        self.entries(provider)
            .filter_map(|entry| entry.as_ref().err())
    }

    /// The settings of `provider`'s routes that are not honoured, by the names of those.
    pub fn ignored(
        &self,
        provider: Provider,
    ) -> impl Iterator<Item = (&SharedStr, &IgnoredSetting)> {
        let by_name = self.source(provider).map(|source| source.ignored.iter());
        by_name
            .into_iter()
            .flatten()
            .flat_map(|(name, settings)| settings.iter().map(move |setting| (name, setting)))
    }

    /// Every route that wants a host which another has, in no order.
    pub fn shadowed(&self) -> impl Iterator<Item = Shadowed> {
        let claims = self.contested.iter().flat_map(|(host, waiting)| {
            let routes = waiting.values();
            routes.map(move |route| (host.clone(), Arc::clone(route)))
        });
        claims.filter_map(|(host, loser)| self.shadow(host, loser))
    }

    /// Whose host it is, if it is not `loser`'s any more, or now.
    fn shadow(&self, host: Option<Host>, loser: Arc<Route>) -> Option<Shadowed> {
        let waits = self.contested.get(&host)?.get(&rank(&loser))?;
        let winner = Arc::clone(self.winner(host.as_ref())?);
        Arc::ptr_eq(waits, &loser).then_some(Shadowed {
            host,
            loser,
            winner,
        })
    }

    /// The routes that want `host` and do not have it, the next in line first.
    pub fn waiting(&self, host: Option<&Host>) -> impl Iterator<Item = &Arc<Route>> {
        let waiting = self.contested.get(&host.cloned());
        waiting.into_iter().flat_map(BTreeMap::values)
    }

    /// Whether `route` has at least one of its hosts.
    #[must_use]
    pub fn is_active(&self, route: &Arc<Route>) -> bool {
        route.hosts().any(|host| self.has(route, host))
    }

    /// The routes of `provider` that have none of their hosts, by name. Only who lost a host can be one.
    #[must_use]
    pub fn without_host(&self, provider: Provider) -> BTreeMap<&SharedStr, &Arc<Route>> {
        let waiting = self.contested.values().flat_map(BTreeMap::values);
        let mine = waiting.filter(|route| route.provider == provider && !self.is_active(route));
        mine.map(|route| (&route.name, route)).collect()
    }

    /// Counted anew, so that nothing can be counted that is not there.
    #[must_use]
    pub fn counts(&self, provider: Provider) -> Counts {
        let mut counts = Counts {
            shadowed: self.without_host(provider).len(),
            ..Counts::default()
        };
        for entry in self.entries(provider) {
            match entry {
                Ok(_) => counts.active += 1,
                Err(_) => counts.excluded += 1,
            }
        }
        counts.active -= counts.shadowed;
        counts
    }

    /// What it takes to make `offers` everything that `provider` has to say. Of two entries with one name the first
    /// counts.
    #[must_use]
    pub fn whole(&self, provider: Provider, offers: Vec<Offer>) -> Vec<News> {
        let mut seen = HashSet::with_capacity(offers.len());
        let mut news = Vec::with_capacity(offers.len());
        for offer in offers {
            let name = name(&offer.outcome).clone();
            if seen.insert(name.clone()) {
                news.push((provider, name, Some(offer)));
            }
        }
        let known = self.entries(provider).map(name);
        let gone = known.filter(|name| !seen.contains(*name));
        news.extend(gone.map(|name| (provider, name.clone(), None)));
        news
    }

    /// Takes what sources have to say; what changed of the routes in force comes back.
    pub fn apply(&mut self, news: impl IntoIterator<Item = News>) -> Changes {
        let mut draft = Draft::default();
        for (provider, name, offer) in news {
            self.put(provider, &name, offer, &mut draft);
        }
        self.changes(draft)
    }

    fn source(&self, provider: Provider) -> Option<&Source> {
        self.sources.get(provider as usize)
    }

    fn winner(&self, host: Option<&Host>) -> Option<&Arc<Route>> {
        match host {
            Some(host) => self.table.get(host.as_str()),
            None => self.table.default_route(),
        }
    }

    fn put(
        &mut self,
        provider: Provider,
        name: &SharedStr,
        offer: Option<Offer>,
        draft: &mut Draft,
    ) {
        let Some(source) = self.sources.get_mut(provider as usize) else {
            return;
        };
        let (outcome, ignored) = match offer {
            Some(Offer { outcome, ignored }) => (Some(outcome), ignored),
            None => (None, Vec::new()),
        };
        let ignored = source.ignore(name, ignored).into_iter();
        draft
            .ignored
            .extend(ignored.map(|setting| (name.clone(), setting)));
        let known = source.get(name);
        let outcome = outcome.map(|outcome| {
            let room = WILDCARDS_MAX + known.map_or(0, wildcards) - source.wildcards;
            if wildcards(&outcome) <= room {
                outcome
            } else {
                Err(one_wildcard_too_many(&outcome))
            }
        });
        if known == outcome.as_ref() {
            return;
        }
        let old = known.and_then(|known| known.as_deref().ok());
        let outcome = outcome.map(|outcome| outcome.map(|route| going_on(route, old)));
        let new = match &outcome {
            Some(Ok(route)) => Some(Arc::clone(route)),
            Some(Err(excluded)) => {
                draft.excluded.push(Arc::clone(excluded));
                None
            }
            None => None,
        };
        let old = source.set(name, outcome).and_then(Result::ok);
        if let Some(old) = old {
            for host in old.hosts() {
                self.leave(host, &old, draft);
            }
        }
        if let Some(new) = new {
            for host in new.hosts() {
                self.claim(host, &new, draft);
            }
        }
    }

    /// `route` wants `host`.
    fn claim(&mut self, host: Option<&Host>, route: &Arc<Route>, draft: &mut Draft) {
        let loser = match self.winner(host).cloned() {
            Some(winner) if rank(&winner) < rank(route) => Some(Arc::clone(route)),
            winner => {
                self.set(host, Some(Arc::clone(route)), draft);
                winner
            }
        };
        if let Some(loser) = loser {
            draft.waiting.push((host.cloned(), Arc::clone(&loser)));
            let waiting = self.contested.entry(host.cloned()).or_default();
            waiting.insert(rank(&loser), loser);
        }
    }

    /// `route` wants `host` no more.
    fn leave(&mut self, host: Option<&Host>, route: &Arc<Route>, draft: &mut Draft) {
        let has_it = self.has(route, host);
        let mut next = None;
        if let Entry::Occupied(mut waiting) = self.contested.entry(host.cloned()) {
            if has_it {
                next = waiting.get_mut().pop_first().map(|(_, next)| next);
            } else {
                waiting.get_mut().remove(&rank(route));
            }
            if waiting.get().is_empty() {
                waiting.remove();
            }
        }
        if has_it {
            self.set(host, next, draft);
        }
    }

    fn has(&self, route: &Arc<Route>, host: Option<&Host>) -> bool {
        let winner = self.winner(host);
        winner.is_some_and(|winner| Arc::ptr_eq(winner, route))
    }

    /// Whether a route in force leads to the server of `gone`. Names are what servers go by, but for routes of a
    /// pattern.
    fn leads_to(&self, gone: &Route) -> bool {
        let key = gone.key();
        let same = Provider::ALL.map(|provider| self.entry(provider, &key));
        let own = self.entry(gone.provider, &gone.name);
        let mut routes = same.into_iter().chain([own]).flatten().flatten();
        routes.any(|route| route.key() == key && self.is_active(route))
    }

    fn set(&mut self, host: Option<&Host>, route: Option<Arc<Route>>, draft: &mut Draft) {
        let winner = self.winner(host).cloned();
        draft.before.push((host.cloned(), winner));
        self.table.set(host, route);
    }

    fn changes(&self, mut draft: Draft) -> Changes {
        draft.before.sort_by(|(a, _), (b, _)| a.cmp(b));
        draft
            .before
            .dedup_by(|(later, _), (first, _)| later == first);
        let mut changes = Changes {
            excluded: draft.excluded,
            shadowed: draft
                .waiting
                .into_iter()
                .filter_map(|(host, loser)| self.shadow(host, loser))
                .collect(),
            ignored: draft.ignored,
            ..Changes::default()
        };
        let (mut come, mut went) = (Vec::new(), Vec::new());
        for (host, old) in draft.before {
            let new = self.winner(host.as_ref()).cloned();
            if old == new {
                continue;
            }
            come.extend(new.clone());
            went.extend(old.clone());
            let Some(host) = host else {
                changes.default_routes = (old, new);
                continue;
            };
            changes.hosts.extend(match (old, new) {
                (Some(old), Some(new)) => Some(Change::Change(host, old, new)),
                (Some(old), None) => Some(Change::Remove(host, old)),
                (None, Some(new)) => Some(Change::Add(host, new)),
                (None, None) => None,
            });
        }
        let mut told = HashSet::new();
        come.retain(|route| told.insert(Arc::as_ptr(route)));
        went.retain(|route| told.insert(Arc::as_ptr(route)));
        let keys: HashSet<_> = come.iter().map(|route| route.key()).collect();
        went.retain(|route| !keys.contains(&route.key()) && !self.leads_to(route));
        (changes.come, changes.gone) = (come, went);
        changes
    }
}

fn hosts(outcome: &Outcome) -> impl Iterator<Item = &Host> {
    outcome.iter().flat_map(|route| route.hosts()).flatten()
}

/// How many hosts of a route are patterns.
fn wildcards(outcome: &Outcome) -> usize {
    let patterns = hosts(outcome).filter(|host| is_wildcard(host.as_str()));
    patterns.count()
}

/// Its next full read may find room.
fn one_wildcard_too_many(outcome: &Outcome) -> Arc<Excluded> {
    let reason = format!("there are {WILDCARDS_MAX} wildcards already, which is the limit");
    Arc::new(Excluded {
        name: name(outcome).clone(),
        hosts: hosts(outcome).cloned().collect(),
        reason: Reason::Domain(reason.into()),
    })
}

fn rank(route: &Route) -> Rank {
    (route.provider, route.name.clone())
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
