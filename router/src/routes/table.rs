//! One immutable set of routes, as a connection sees it.
//!
//! Exact hosts are in 4,096 small hash tables under two levels of nodes, all of them shared with the set before: a
//! change of one route copies two nodes and one small table, however many routes there are.
//!
//! Pure.

use std::array;
use std::borrow::Cow;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::Route;
use super::wildcard::{Captures, Wildcards, is_wildcard};
use crate::host::{Host, Names};

/// Children of a node: the square of it is how many small tables there are.
const WIDTH: usize = 64;
/// Bits of the hash that choose a child.
const BITS: u32 = WIDTH.trailing_zeros();

/// An immutable set of routes, as one connection sees it.
#[derive(Debug, Clone, Default)]
pub struct Table {
    exact: Exact,
    wildcards: Arc<Wildcards>,
    default: Option<Arc<Route>>,
    names: Names,
}

/// How a host came by its route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match<'t> {
    /// It is the host of a route.
    Exact,
    /// It matches this pattern.
    Wildcard(&'t Host),
    /// It is nobody's, so the default route has it.
    Default,
}

impl Table {
    /// An empty one, for names read like this.
    #[must_use]
    pub fn new(names: Names) -> Self {
        Self {
            names,
            ..Self::default()
        }
    }

    /// The route for a server address as a client sent it: an exact host, else the best wildcard, else the
    /// default. Only a wildcard that uses what its stars stand for makes a route anew.
    #[must_use]
    pub fn lookup(&self, address: &str) -> Option<Cow<'_, Arc<Route>>> {
        self.explain(address).map(|(_, route)| route)
    }

    /// The same, and how it was found.
    #[must_use]
    pub fn explain(&self, address: &str) -> Option<(Match<'_>, Cow<'_, Arc<Route>>)> {
        let found = self.names.look_up(address, |host| {
            if let Some(route) = self.exact.get(host) {
                return Some((Match::Exact, Cow::Borrowed(route)));
            }
            if self.wildcards.is_empty() {
                return None;
            }
            let (pattern, route, captures) = self.wildcards.find(host)?;
            let route = if route.backend.is_template() {
                Cow::Owned(Arc::new(filled(route, host, &captures)?))
            } else {
                Cow::Borrowed(route)
            };
            Some((Match::Wildcard(pattern), route))
        });
        found.or_else(|| Some((Match::Default, Cow::Borrowed(self.default.as_ref()?))))
    }

    /// The route of this very host or pattern, cleaned up.
    #[must_use]
    pub fn get(&self, host: &str) -> Option<&Arc<Route>> {
        if is_wildcard(host) {
            self.wildcards.get(host)
        } else {
            self.exact.get(host)
        }
    }

    /// The route of clients that name no host.
    #[must_use]
    pub fn default_route(&self) -> Option<&Arc<Route>> {
        self.default.as_ref()
    }

    /// How names are read.
    #[must_use]
    pub fn names(&self) -> Names {
        self.names
    }

    /// The patterns in force.
    #[must_use]
    pub fn wildcards(&self) -> &Wildcards {
        &self.wildcards
    }

    /// Every route with a host or a pattern, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Host, &Arc<Route>)> {
        self.exact.iter().chain(self.wildcards.iter())
    }

    /// How many hosts and patterns there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.exact.len + self.wildcards.len()
    }

    /// Whether there is no route with a host.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts the route of a host, a pattern, or (`None`) the default in, or takes it out.
    pub(super) fn set(&mut self, host: Option<&Host>, route: Option<Arc<Route>>) {
        match host {
            None => self.default = route,
            Some(host) if is_wildcard(host.as_str()) => {
                Arc::make_mut(&mut self.wildcards).set(host, route);
            }
            Some(host) => self.exact.set(host, route),
        }
    }
}

/// The route of a wildcard for one host: `$1` and the like are what the stars stand for. `None` if that is no
/// address any more.
fn filled(route: &Route, host: &str, captures: &Captures<'_>) -> Option<Route> {
    Some(Route {
        host: Some(Host::parse(host).ok()?),
        backend: route.backend.filled(captures).ok()?,
        ..route.clone()
    })
}

/// What is at one place of a small table.
#[derive(Debug, Clone)]
struct Entry {
    hash: u64,
    host: Host,
    route: Arc<Route>,
}

/// A small hash table in one piece of memory, so that a look-up waits for it once. What collides is in the next free
/// place; a quarter of the places or more are free.
type Leaf = [Option<Entry>];
type Branch = [Arc<Leaf>; WIDTH];

#[derive(Debug, Clone)]
struct Exact {
    root: Arc<[Arc<Branch>; WIDTH]>,
    /// Operators choose the hosts, so its seed need not be a secret.
    hasher: FixedState,
    len: usize,
}

impl Default for Exact {
    fn default() -> Self {
        let leaf: Arc<Leaf> = Arc::new([]);
        let branch = Arc::new(array::from_fn(|_| Arc::clone(&leaf)));
        Self {
            root: Arc::new(array::from_fn(|_| Arc::clone(&branch))),
            hasher: FixedState::default(),
            len: 0,
        }
    }
}

/// Which child of a node at `level` the hash leads to; by its upper bits, since the small tables use its lower ones.
fn child(hash: u64, level: u32) -> usize {
    let bits = (hash >> (u64::BITS - (level + 1) * BITS)) % WIDTH as u64;
    usize::try_from(bits).unwrap_or_default()
}

/// The places where `hash` may be in a table of this length, in order; each of them once.
fn places(hash: u64, length: usize) -> impl Iterator<Item = usize> {
    let first = ((hash & u64::from(u32::MAX)) * length as u64) >> u32::BITS;
    let first = usize::try_from(first).unwrap_or_default();
    (first..length).chain(0..first)
}

/// The place of `host` in `leaf`, or else of the first free place for it; `None` if there is none.
fn place(leaf: &Leaf, hash: u64, host: &str) -> Option<Result<usize, usize>> {
    for place in places(hash, leaf.len()) {
        match leaf.get(place)? {
            None => return Some(Err(place)),
            Some(entry) if entry.hash == hash && entry.host.as_str() == host => {
                return Some(Ok(place));
            }
            Some(_) => {}
        }
    }
    None
}

/// A table of `length` places with `entries`.
fn leaf(length: usize, entries: Vec<Entry>) -> Arc<Leaf> {
    let mut leaf: Vec<Option<Entry>> = Vec::new();
    leaf.resize(length, None);
    for entry in entries {
        let free =
            places(entry.hash, length).find(|place| leaf.get(*place).is_some_and(Option::is_none));
        if let Some(place) = free.and_then(|place| leaf.get_mut(place)) {
            *place = Some(entry);
        }
    }
    leaf.into()
}

impl Exact {
    fn get(&self, host: &str) -> Option<&Arc<Route>> {
        let hash = self.hasher.hash_one(host);
        let leaf = self.root.get(child(hash, 0))?.get(child(hash, 1))?;
        let place = place(leaf, hash, host)?.ok()?;
        leaf.get(place)?.as_ref().map(|entry| &entry.route)
    }

    fn set(&mut self, host: &Host, route: Option<Arc<Route>>) {
        let hash = self.hasher.hash_one(host.as_str());
        let Some(branch) = Arc::make_mut(&mut self.root).get_mut(child(hash, 0)) else {
            return;
        };
        let Some(leaf) = Arc::make_mut(branch).get_mut(child(hash, 1)) else {
            return;
        };
        match (place(leaf, hash, host.as_str()), route) {
            (Some(Ok(place)), Some(route)) => {
                if let Some(Some(entry)) = Arc::make_mut(leaf).get_mut(place) {
                    entry.route = route;
                }
            }
            (Some(Ok(_)), None) => {
                // Anew, since those behind it may have been put there because of it.
                let mut rest = taken(leaf);
                rest.retain(|entry| entry.host != *host);
                *leaf = self::leaf(length_for(rest.len()), rest);
                self.len -= 1;
            }
            (_, None) => {}
            (free, Some(route)) => {
                let host = host.clone();
                let entry = Entry { hash, host, route };
                let count = leaf.iter().flatten().count() + 1;
                match free {
                    Some(Err(place)) if count + count / 3 <= leaf.len() => {
                        if let Some(place) = Arc::make_mut(leaf).get_mut(place) {
                            *place = Some(entry);
                        }
                    }
                    _ => {
                        let mut all = taken(leaf);
                        all.push(entry);
                        *leaf = self::leaf(length_for(count), all);
                    }
                }
                self.len += 1;
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&Host, &Arc<Route>)> {
        let leaves = self.root.iter().flat_map(|branch| branch.iter());
        let entries = leaves.flat_map(|leaf| leaf.iter().flatten());
        entries.map(|entry| (&entry.host, &entry.route))
    }
}

/// The entries of a table that is made anew: those themselves if nobody else has it.
fn taken(leaf: &mut Arc<Leaf>) -> Vec<Entry> {
    match Arc::get_mut(leaf) {
        Some(leaf) => leaf.iter_mut().filter_map(Option::take).collect(),
        None => leaf.iter().flatten().cloned().collect(),
    }
}

/// Places for `count` entries and some more.
fn length_for(count: usize) -> usize {
    match count {
        0 => 0,
        _ => count + count / 2 + 1,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::offer::tests::{host, route};
    use super::*;
    use proptest::prelude::*;

    fn put(table: &mut Table, text: &str, backend: &str) {
        table.set(Some(&host(text)), Some(route(text, text, backend)));
    }

    fn backend(table: &Table, address: &str) -> Option<String> {
        let route = table.lookup(address)?;
        Some(route.backend.to_string())
    }

    #[test]
    fn exact_hosts_come_before_wildcards_and_both_before_the_default() {
        let mut table = Table::default();
        put(&mut table, "*.example", "star:1");
        put(&mut table, "a.example", "exact:1");
        assert_eq!(backend(&table, "x.test"), None);
        table.set(None, Some(route("default", "d.example", "default:1")));

        for (address, expected) in [
            ("A.example.", "exact:1"),
            ("b.EXAMPLE\0FML3\0", "star:1"),
            ("b.c.example", "default:1"),
            ("", "default:1"),
        ] {
            assert_eq!(
                backend(&table, address).as_deref(),
                Some(expected),
                "{address}"
            );
        }
        assert!(
            matches!(table.explain("b.example"), Some((Match::Wildcard(pattern), _)) if pattern.as_str() == "*.example")
        );
    }

    #[test]
    fn what_a_star_stands_for_is_part_of_the_address() {
        let mut table = Table::default();
        put(&mut table, "*.*.play.example", "$2-$1.internal:25565");
        let found = table.lookup("A.b.play.example").unwrap().into_owned();
        assert_eq!(found.backend.as_str(), "b-a.internal:25565");
        assert_eq!(found.host.as_ref().unwrap().as_str(), "a.b.play.example");
        // A label may be empty in what clients send, or be no part of an address.
        assert_eq!(backend(&table, "a$.b.play.example"), None);
        assert_eq!(backend(&table, ".b.play.example"), None);
    }

    #[test]
    fn a_snapshot_stays_as_it_was_and_shares_what_did_not_change() {
        let mut table = Table::default();
        for number in 0..10_000 {
            put(&mut table, &format!("h{number}.example"), "old:1");
        }
        let before = table.clone();
        put(&mut table, "h5.example", "new:1");
        table.set(Some(&host("h6.example")), None);

        assert_eq!(backend(&before, "h5.example").as_deref(), Some("old:1"));
        assert_eq!(backend(&table, "h5.example").as_deref(), Some("new:1"));
        assert_eq!((before.len(), table.len()), (10_000, 9_999));
        let leaves = |table: &Table| -> Vec<_> {
            let leaves = table.exact.root.iter().flat_map(|branch| branch.iter());
            leaves.map(Arc::as_ptr).collect()
        };
        let (old, new) = (leaves(&before), leaves(&table));
        let copied = old
            .iter()
            .zip(&new)
            .filter(|(old, new)| !std::ptr::addr_eq(**old, **new))
            .count();
        assert!((1..=2).contains(&copied), "{copied}");
    }

    #[test]
    fn hosts_spread_over_all_small_tables() {
        let mut table = Table::default();
        for number in 0..100_000 {
            put(&mut table, &format!("server-{number}.example.com"), "h:1");
        }
        let leaves = table.exact.root.iter().flat_map(|branch| branch.iter());
        let largest = leaves
            .map(|leaf| leaf.iter().flatten().count())
            .max()
            .unwrap();
        assert!(largest < 64, "{largest}");
    }

    proptest! {
        #[test]
        fn it_is_a_map(steps in proptest::collection::vec(("[ab*](\\.[ab]){0,2}", any::<Option<bool>>()), 0..60)) {
            let (mut table, mut model) = (Table::default(), BTreeMap::new());
            for (name, put) in steps {
                let name = host(&name);
                let new = put.map(|put| route("n", name.as_str(), if put { "a:1" } else { "b:1" }));
                table.set(Some(&name), new.clone());
                match new {
                    Some(route) => drop(model.insert(name, route)),
                    None => drop(model.remove(&name)),
                }
                let routes: BTreeMap<_, _> = table.iter().map(|(host, route)| (host.clone(), Arc::clone(route))).collect();
                prop_assert_eq!(table.len(), model.len());
                prop_assert_eq!(&routes, &model);
                for (name, route) in &model {
                    prop_assert_eq!(table.get(name.as_str()), Some(route));
                }
            }
        }
    }
}
