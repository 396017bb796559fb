//! Owns the routes of every source and publishes what they add up to.
//!
//! Readers take one immutable snapshot and are never in the way of a writer, nor a writer in
//! theirs. Open connections hold no part of the table, so no change can touch them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

use super::diff::{Change, diff};
use super::policy::Policy;
use super::{Route, StateHint, Table};
use crate::addr::BackendAddr;
use crate::host::Host;

/// Most routes the REST API and the configuration may hold.
pub const STATIC_ROUTES_MAX: usize = 100_000;

/// The routes of one source, by host.
pub type Routes = BTreeMap<Host, Arc<Route>>;

/// The routes of every source.
#[derive(Debug, Default)]
pub struct Registry {
    /// What becomes of players on routes that do not say otherwise.
    defaults: Arc<Policy>,
    owned: Mutex<Owned>,
    table: ArcSwap<Table>,
    changes: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Owned {
    fixed: Routes,
    postgres: Routes,
    default: Option<Arc<Route>>,
}

/// What came of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Removed,
    /// There was none.
    NotFound,
    /// There is one, and it belongs to the table in Postgres.
    OwnedByPostgres,
}

/// More than [`STATIC_ROUTES_MAX`] routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more fixed routes than {STATIC_ROUTES_MAX}, which is the limit")]
pub struct Full;

impl Registry {
    /// A registry that begins with the configuration's routes; of two for one host the later wins.
    ///
    /// # Errors
    /// [`Full`] when there are too many.
    pub fn new(
        mapping: impl IntoIterator<Item = (Host, BackendAddr)>,
        default: Option<BackendAddr>,
        defaults: Arc<Policy>,
    ) -> Result<Self, Full> {
        let registry = Self {
            defaults,
            ..Self::default()
        };
        {
            let mut owned = registry.owned();
            let routes = mapping.into_iter();
            owned.fixed = routes
                .map(|(host, backend)| (host.clone(), registry.fixed(Some(host), backend)))
                .collect();
            if owned.fixed.len() > STATIC_ROUTES_MAX {
                return Err(Full);
            }
            owned.default = default.map(|backend| registry.fixed(None, backend));
            registry.publish(&owned);
        }
        Ok(registry)
    }

    /// The policy of fixed routes, and of rows without settings of their own.
    #[must_use]
    pub fn defaults(&self) -> &Arc<Policy> {
        &self.defaults
    }

    /// The routes of this moment.
    #[must_use]
    pub fn table(&self) -> Guard<Arc<Table>> {
        self.table.load()
    }

    /// Gets word of every change of the routes from now on.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Replaces the routes of Postgres in one step; what changed comes back.
    pub fn replace_postgres(&self, routes: Routes) -> Vec<Change<Host, Arc<Route>>> {
        let mut owned = self.owned();
        let changes = diff(&owned.postgres, &routes);
        if !changes.is_empty() {
            owned.postgres = routes;
            self.publish(&owned);
        }
        changes
    }

    /// The routes of Postgres that are not in force because a fixed route comes first.
    #[must_use]
    pub fn shadowed(&self) -> Vec<Arc<Route>> {
        let owned = self.owned();
        let shadowed = owned
            .postgres
            .iter()
            .filter(|(host, _)| owned.fixed.contains_key(*host));
        shadowed.map(|(_, route)| Arc::clone(route)).collect()
    }

    /// Adds or replaces a fixed route.
    ///
    /// # Errors
    /// [`Full`] when it would be one too many.
    pub fn set(&self, host: Host, backend: BackendAddr) -> Result<(), Full> {
        let mut owned = self.owned();
        if owned.fixed.len() >= STATIC_ROUTES_MAX && !owned.fixed.contains_key(&host) {
            return Err(Full);
        }
        let route = self.fixed(Some(host.clone()), backend);
        owned.fixed.insert(host, route);
        self.publish(&owned);
        Ok(())
    }

    /// Removes a fixed route.
    pub fn remove(&self, host: &str) -> Removal {
        let mut owned = self.owned();
        if owned.fixed.remove(host).is_some() {
            self.publish(&owned);
            Removal::Removed
        } else if owned.postgres.contains_key(host) {
            Removal::OwnedByPostgres
        } else {
            Removal::NotFound
        }
    }

    /// Sets the backend of host names without a route.
    pub fn set_default(&self, backend: BackendAddr) {
        let mut owned = self.owned();
        owned.default = Some(self.fixed(None, backend));
        self.publish(&owned);
    }

    /// Removes the backend of host names without a route; whether there was one.
    pub fn remove_default(&self) -> bool {
        let mut owned = self.owned();
        let there_was = owned.default.take().is_some();
        self.publish(&owned);
        there_was
    }

    fn owned(&self) -> MutexGuard<'_, Owned> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fixed routes come before those of Postgres.
    fn publish(&self, owned: &Owned) {
        let merged = owned.postgres.iter().chain(&owned.fixed);
        let hosts = merged
            .map(|(host, route)| (host.clone(), Arc::clone(route)))
            .collect();
        self.table.store(Arc::new(Table {
            hosts,
            default: owned.default.clone(),
        }));
        self.changes.send_replace(());
    }

    fn fixed(&self, host: Option<Host>, backend: BackendAddr) -> Arc<Route> {
        Arc::new(Route {
            host,
            backend,
            server: None,
            state: StateHint::Unknown,
            policy: Arc::clone(&self.defaults),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        Host::parse(text).unwrap()
    }

    fn addr(text: &str) -> BackendAddr {
        BackendAddr::parse(text).unwrap()
    }

    fn from_postgres(text: &str, backend: &str) -> (Host, Arc<Route>) {
        let route = Route {
            host: Some(host(text)),
            backend: addr(backend),
            server: Some("server".into()),
            state: StateHint::Running,
            policy: Arc::default(),
        };
        (host(text), Arc::new(route))
    }

    fn backend_of(registry: &Registry, address: &str) -> Option<String> {
        registry
            .table()
            .lookup(address)
            .map(|route| route.backend.to_string())
    }

    #[test]
    fn sources_live_side_by_side_and_neither_wipes_the_other() {
        let registry = Registry::default();
        registry
            .set(host("fixed.example"), addr("fixed:1"))
            .unwrap();
        registry.replace_postgres(Routes::from([from_postgres("pg.example", "pg:1")]));

        assert_eq!(
            backend_of(&registry, "fixed.example").as_deref(),
            Some("fixed:1")
        );
        assert_eq!(
            backend_of(&registry, "PG.example.").as_deref(),
            Some("pg:1")
        );

        registry.replace_postgres(Routes::new());
        assert_eq!(backend_of(&registry, "pg.example"), None);
        assert_eq!(
            backend_of(&registry, "fixed.example").as_deref(),
            Some("fixed:1")
        );
    }

    #[test]
    fn a_fixed_route_comes_first_and_gives_way_when_removed() {
        let registry = Registry::default();
        registry.replace_postgres(Routes::from([from_postgres("a.example", "pg:1")]));
        registry.set(host("a.example"), addr("fixed:1")).unwrap();

        assert_eq!(
            backend_of(&registry, "a.example").as_deref(),
            Some("fixed:1")
        );
        assert_eq!(registry.shadowed().len(), 1);
        assert_eq!(registry.remove("a.example"), Removal::Removed);
        assert_eq!(backend_of(&registry, "a.example").as_deref(), Some("pg:1"));
        assert_eq!(registry.remove("a.example"), Removal::OwnedByPostgres);
        assert_eq!(registry.remove("b.example"), Removal::NotFound);
    }

    #[test]
    fn unknown_hosts_go_to_the_default_if_there_is_one() {
        let registry = Registry::default();
        assert_eq!(backend_of(&registry, "x.example"), None);
        registry.set_default(addr("lobby:1"));
        assert_eq!(
            backend_of(&registry, "x.example").as_deref(),
            Some("lobby:1")
        );
    }

    #[test]
    fn a_default_that_is_removed_is_in_force_no_more() {
        let registry = Registry::default();
        registry.set_default(addr("lobby:1"));
        assert!(registry.remove_default());
        assert_eq!(backend_of(&registry, "x.example"), None);
        assert!(!registry.remove_default());
    }

    #[test]
    fn fixed_routes_have_the_configured_policy_whenever_they_came() {
        let policy = Arc::new(Policy {
            compression_hold: true,
            ..Policy::default()
        });
        let mapping = [(host("a.example"), addr("a:1"))];
        let registry = Registry::new(mapping, Some(addr("lobby:1")), Arc::clone(&policy)).unwrap();
        registry.set(host("b.example"), addr("b:1")).unwrap();
        let check = |address: &str| {
            let table = registry.table();
            assert!(Arc::ptr_eq(&table.lookup(address).unwrap().policy, &policy));
        };

        check("a.example");
        check("b.example");
        check("x.example");
        registry.set_default(addr("other:1"));
        check("x.example");
    }

    #[test]
    fn a_change_of_the_policy_alone_goes_live() {
        let registry = Registry::default();
        let (key, route) = from_postgres("a.example", "pg:1");
        registry.replace_postgres(Routes::from([(key.clone(), Arc::clone(&route))]));
        let policy = Policy {
            compression_hold: true,
            ..Policy::default()
        };
        let changed = Route {
            policy: Arc::new(policy),
            ..(*route).clone()
        };

        let changes = registry.replace_postgres(Routes::from([(key, Arc::new(changed))]));

        assert_eq!(changes.len(), 1);
        let table = registry.table();
        assert!(table.lookup("a.example").unwrap().policy.compression_hold);
    }

    #[test]
    fn a_snapshot_stays_as_it_was() {
        let registry = Registry::default();
        registry.set(host("a.example"), addr("old:1")).unwrap();
        let before = registry.table();

        registry.set(host("a.example"), addr("new:1")).unwrap();

        assert_eq!(
            before.lookup("a.example").unwrap().backend.as_str(),
            "old:1"
        );
        assert_eq!(backend_of(&registry, "a.example").as_deref(), Some("new:1"));
    }
}
