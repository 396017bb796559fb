//! Who has a host name, who else asks for it, and who only nearly does.
//!
//! Pure: what is copied out of the routes is no more than what is shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cleaned::{Cleaned, clean_up};
use crate::host::Host;
use crate::routes::Route;
use crate::routes::offer::{Excluded, Provider};
use crate::routes::pool::{Pool, Shadowed};
use crate::routes::table::Match;
use crate::routes::wildcard::captures;

/// Most of each kind that are shown.
pub const SHOWN_MAX: usize = 20;

/// How a host name came by its route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// It is the host of a route.
    Exact,
    /// By this pattern, in which the stars stood for these.
    Wildcard(Host, Vec<String>),
    /// It is nobody's, so the default route has it.
    Default,
    /// Not at all.
    Nobody,
}

/// What the routes say of one host name.
#[derive(Debug, Clone)]
pub struct Found {
    /// The name, cleaned up.
    pub cleaned: Cleaned,
    /// How it came by its route.
    pub how: How,
    /// The route, with what stars stood for in its address.
    pub route: Option<Arc<Route>>,
    /// Routes that ask for the same host or pattern and do not have it, the next in line first.
    pub losers: Vec<Shadowed>,
    /// Patterns that match as well, the best first.
    pub others: Vec<(Host, Arc<Route>)>,
    /// The best pattern that matches and whose address is none with what its stars stand for.
    pub unfilled: Option<(Host, Arc<Route>)>,
    /// A pattern that would match if a star stood for more or less than one label.
    pub beside: Option<Host>,
    /// Entries that ask for it and are no routes, by source and name.
    pub excluded: Vec<(Provider, Arc<Excluded>)>,
    /// Routes that are called so by their source, and have other hosts.
    pub namesakes: Vec<Arc<Route>>,
}

impl Found {
    /// Looks everything up that has to do with `address`, as a client would send it.
    #[must_use]
    pub fn look(pool: &Pool, address: &str) -> Self {
        let table = pool.table();
        let cleaned = clean_up(table.names(), address);
        let key = cleaned.key.as_str();
        let found = table.explain(address);
        let route = found.as_ref().map(|(_, route)| Arc::clone(route.as_ref()));
        let how = match found {
            None => How::Nobody,
            Some((Match::Exact, _)) => How::Exact,
            Some((Match::Default, _)) => How::Default,
            Some((Match::Wildcard(pattern), _)) => {
                let stars = captures(pattern.as_str(), key).unwrap_or_default();
                let stars = stars.into_iter().map(str::to_owned);
                How::Wildcard(pattern.clone(), stars.collect())
            }
        };
        let unmatched = matches!(how, How::Default | How::Nobody);
        let mut found = Self {
            losers: losers(pool, &how, key),
            others: Vec::new(),
            unfilled: None,
            beside: unmatched.then(|| beside(pool, key)).flatten(),
            excluded: excluded(pool, key),
            namesakes: namesakes(pool, key),
            how,
            route,
            cleaned,
        };
        found.patterns(pool);
        found
    }

    /// Sorts out the patterns that match.
    fn patterns(&mut self, pool: &Pool) {
        if self.cleaned.is_too_long {
            return;
        }
        let mut all = pool.table().wildcards().matches(&self.cleaned.key);
        match self.how {
            // A look-up ends at the best pattern, whatever comes of it.
            How::Default | How::Nobody => {
                let best = all.next();
                self.unfilled = best.map(|(pattern, route, _)| (pattern.clone(), route.clone()));
            }
            How::Wildcard(..) => drop(all.next()),
            How::Exact => {}
        }
        let others = all.map(|(pattern, route, _)| (pattern.clone(), Arc::clone(route)));
        self.others = others.take(SHOWN_MAX).collect();
    }
}

fn losers(pool: &Pool, how: &How, key: &str) -> Vec<Shadowed> {
    let host = match how {
        How::Exact => Host::parse(key).ok(),
        How::Wildcard(pattern, _) => Some(pattern.clone()),
        How::Default => None,
        How::Nobody => return Vec::new(),
    };
    let winner = match &host {
        Some(host) => pool.table().get(host.as_str()),
        None => pool.table().default_route(),
    };
    let Some(winner) = winner else {
        return Vec::new();
    };
    let waiting = pool.waiting(host.as_ref()).take(SHOWN_MAX);
    let losers = waiting.map(|loser| Shadowed {
        host: host.clone(),
        loser: Arc::clone(loser),
        winner: Arc::clone(winner),
    });
    losers.collect()
}

fn excluded(pool: &Pool, key: &str) -> Vec<(Provider, Arc<Excluded>)> {
    let asks = |host: &Host| host.as_str() == key || captures(host.as_str(), key).is_some();
    let mut found = BTreeMap::new();
    for provider in Provider::ALL {
        for entry in pool.excluded(provider) {
            if *entry.name == *key || entry.hosts.iter().any(asks) {
                found.insert((provider, entry.name.clone()), entry.clone());
                if found.len() > SHOWN_MAX {
                    found.pop_last();
                }
            }
        }
    }
    let found = found.into_iter();
    found
        .map(|((provider, _), entry)| (provider, entry))
        .collect()
}

/// Whoever asks by the name of a server finds out its host.
fn namesakes(pool: &Pool, key: &str) -> Vec<Arc<Route>> {
    let entries = Provider::ALL.map(|provider| pool.entry(provider, key));
    let routes = entries.into_iter().flatten().flatten();
    let other = |route: &&Arc<Route>| !route.hosts().flatten().any(|host| host.as_str() == key);
    routes.filter(other).map(Arc::clone).collect()
}

/// The first pattern `*.a` where `key` is `a`, or ends in `.a`.
fn beside(pool: &Pool, key: &str) -> Option<Host> {
    let patterns = pool.table().wildcards().iter().map(|(pattern, _)| pattern);
    let near = patterns.filter(|pattern| {
        let parent = pattern.as_str().strip_prefix("*.");
        let end = parent.and_then(|parent| key.strip_suffix(parent));
        end.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            && captures(pattern.as_str(), key).is_none()
    });
    near.min().cloned()
}
