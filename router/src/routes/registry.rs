//! Owns the routes of every source and publishes what they add up to.
//!
//! Readers take one immutable snapshot and are never in the way of a writer, nor a writer in
//! theirs. Open connections hold no part of the table, so no change can touch them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

use super::diff::{Change, diff};
use super::file::{Edit, RoutesFile};
use super::policy::Policy;
use super::{Route, StateHint, Table};
use crate::addr::BackendAddr;
use crate::host::{Host, Names};

/// Most routes the configuration may hold; and the routes file, or else the REST API, as many.
pub const STATIC_ROUTES_MAX: usize = 100_000;

/// The routes of one source, by host.
pub type Routes = BTreeMap<Host, Arc<Route>>;

/// The routes of every source.
#[derive(Debug, Default)]
pub struct Registry {
    /// What becomes of players on routes that do not say otherwise.
    defaults: Arc<Policy>,
    names: Names,
    owned: Mutex<Owned>,
    table: ArcSwap<Table>,
    changes: watch::Sender<()>,
}

/// Who owns what, in the order in which they come.
#[derive(Debug, Default)]
struct Owned {
    /// Of the configuration, less what the API has changed since.
    flags: Fixed,
    /// Of the routes file, which the API writes; without one, of the API.
    file: Fixed,
    postgres: Routes,
    /// Of the labels of containers.
    docker: Fixed,
}

#[derive(Debug, Default)]
struct Fixed {
    routes: Routes,
    default: Option<Arc<Route>>,
}

/// What came of a change that the REST API wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is made.
    Done,
    /// There is no such route to remove.
    NotFound,
    /// There is one to remove, and it belongs to the table in Postgres.
    OwnedByPostgres,
    /// There is one to remove, and it belongs to a container's labels.
    OwnedByDocker,
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
        names: Names,
    ) -> Result<Self, Full> {
        let registry = Self {
            defaults,
            names,
            ..Self::default()
        };
        {
            let mut owned = registry.owned();
            owned.flags = registry.fixed(mapping, default);
            if owned.flags.routes.len() > STATIC_ROUTES_MAX {
                return Err(Full);
            }
            registry.publish(&owned);
        }
        Ok(registry)
    }

    /// How names are read.
    #[must_use]
    pub fn names(&self) -> Names {
        self.names
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

    /// Replaces the routes of containers in one step; what changed of their hosts comes back, and
    /// whether their default did.
    pub fn replace_docker(
        &self,
        routes: Routes,
        default: Option<Arc<Route>>,
    ) -> (Vec<Change<Host, Arc<Route>>>, bool) {
        let mut owned = self.owned();
        let changes = diff(&owned.docker.routes, &routes);
        let default_changed = owned.docker.default != default;
        if default_changed || !changes.is_empty() {
            owned.docker = Fixed { routes, default };
            self.publish(&owned);
        }
        (changes, default_changed)
    }

    /// The routes of Postgres that are not in force because a fixed route comes first.
    #[must_use]
    pub fn shadowed(&self) -> Vec<Arc<Route>> {
        let owned = self.owned();
        let shadowed = owned
            .postgres
            .iter()
            .filter(|(host, _)| owned.fixed().any(|fixed| fixed.contains_key(*host)));
        shadowed.map(|(_, route)| Arc::clone(route)).collect()
    }

    /// What the routes file would say if it said what is owned by it, or by the API.
    #[must_use]
    pub fn file(&self) -> RoutesFile {
        let owned = self.owned();
        let each = |(host, route): (&Host, &Arc<Route>)| (host.clone(), route.backend.clone());
        RoutesFile {
            mappings: owned.file.routes.iter().map(each).collect(),
            default: owned
                .file
                .default
                .as_ref()
                .map(|route| route.backend.clone()),
            ..RoutesFile::default()
        }
    }

    /// Replaces what the routes file owns in one step; what changed of its hosts comes back, and
    /// whether its default did.
    pub fn replace_file(&self, file: RoutesFile) -> (Vec<Change<Host, Arc<Route>>>, bool) {
        let mut owned = self.owned();
        let new = self.fixed(file.mappings, file.default);
        let changes = diff(&owned.file.routes, &new.routes);
        let default_changed = owned.file.default != new.default;
        if default_changed || !changes.is_empty() {
            owned.file = new;
            self.publish(&owned);
        }
        (changes, default_changed)
    }

    /// Replaces what the routes file owns by `file`, in which `edit` has been made, and takes away
    /// what the configuration says of the same host, so that the API's word is in force.
    pub fn edit(&self, file: RoutesFile, edit: &Edit) -> Outcome {
        let mut owned = self.owned();
        let old = std::mem::replace(&mut owned.file, self.fixed(file.mappings, file.default));
        let outcome = match edit {
            Edit::Set(host, _) => {
                owned.flags.routes.remove(host);
                Outcome::Done
            }
            Edit::Default(new) => {
                let of_flags = owned.flags.default.take().is_some();
                if new.is_some() || of_flags || old.default.is_some() {
                    Outcome::Done
                } else {
                    Outcome::NotFound
                }
            }
            Edit::Remove(host) => {
                let host = host.as_str();
                let of_flags = owned.flags.routes.remove(host).is_some();
                if of_flags || old.routes.contains_key(host) {
                    Outcome::Done
                } else if owned.postgres.contains_key(host) {
                    Outcome::OwnedByPostgres
                } else if owned.docker.routes.contains_key(host) {
                    Outcome::OwnedByDocker
                } else {
                    Outcome::NotFound
                }
            }
        };
        self.publish(&owned);
        outcome
    }

    fn owned(&self) -> MutexGuard<'_, Owned> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The later a source, the more its word counts.
    fn publish(&self, owned: &Owned) {
        let (flags, file) = (&owned.flags, &owned.file);
        let merged = owned.docker.routes.iter().chain(&owned.postgres);
        let merged = merged.chain(&file.routes);
        let hosts = merged
            .chain(&flags.routes)
            .map(|(host, route)| (host.clone(), Arc::clone(route)))
            .collect();
        let defaults = [&flags.default, &file.default, &owned.docker.default];
        self.table.store(Arc::new(Table {
            hosts,
            default: defaults.into_iter().flatten().next().cloned(),
            names: self.names,
        }));
        self.changes.send_replace(());
    }

    fn fixed(
        &self,
        mapping: impl IntoIterator<Item = (Host, BackendAddr)>,
        default: Option<BackendAddr>,
    ) -> Fixed {
        let route = |host: Option<Host>, backend| {
            Arc::new(Route {
                host,
                backend,
                server: None,
                container: None,
                state: StateHint::Unknown,
                policy: Arc::clone(&self.defaults),
            })
        };
        Fixed {
            routes: mapping
                .into_iter()
                .map(|(host, backend)| (host.clone(), route(Some(host), backend)))
                .collect(),
            default: default.map(|backend| route(None, backend)),
        }
    }
}

impl Owned {
    /// The sources that come before Postgres.
    fn fixed(&self) -> impl Iterator<Item = &Routes> {
        [&self.flags.routes, &self.file.routes].into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::Container;

    /// What the API does without a routes file.
    fn edit(registry: &Registry, edit: &Edit) -> Outcome {
        let mut file = registry.file();
        file.apply(edit).unwrap();
        registry.edit(file, edit)
    }

    fn set(registry: &Registry, name: &str, backend: &str) {
        let made = edit(registry, &Edit::Set(host(name), addr(backend)));
        assert_eq!(made, Outcome::Done);
    }

    fn remove(registry: &Registry, name: &str) -> Outcome {
        edit(registry, &Edit::Remove(name.to_owned()))
    }

    fn set_default(registry: &Registry, backend: &str) {
        edit(registry, &Edit::Default(Some(addr(backend))));
    }

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
            container: None,
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
        set(&registry, "fixed.example", "fixed:1");
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
    fn containers_come_last_and_keep_to_themselves() {
        let registry = Registry::default();
        let of_container = |text: &str, backend: &str| {
            let (host, route) = from_postgres(text, backend);
            let container = Some(Arc::new(Container::new("one", true, true, None)));
            let route = Route {
                server: None,
                container,
                ..(*route).clone()
            };
            (host, Arc::new(route))
        };
        let both = [
            of_container("a.example", "docker:1"),
            of_container("b.example", "docker:1"),
        ];
        let default = Some(Arc::clone(&both[0].1));
        registry.replace_docker(Routes::from(both), default);
        registry.replace_postgres(Routes::from([from_postgres("a.example", "pg:1")]));
        let backend = |host| backend_of(&registry, host).unwrap();
        assert_eq!(
            (backend("a.example"), backend("b.example")),
            ("pg:1".into(), "docker:1".into())
        );
        assert_eq!(backend("c.example"), "docker:1", "its default");
        assert_eq!(remove(&registry, "b.example"), Outcome::OwnedByDocker);
        set_default(&registry, "lobby:1");
        assert_eq!(backend("c.example"), "lobby:1");

        let (changes, default_changed) = registry.replace_docker(Routes::new(), None);

        assert_eq!((changes.len(), default_changed), (2, true));
        assert_eq!(backend("a.example"), "pg:1");
        assert_eq!(backend("b.example"), "lobby:1");
    }

    #[test]
    fn a_fixed_route_comes_first_and_gives_way_when_removed() {
        let registry = Registry::default();
        registry.replace_postgres(Routes::from([from_postgres("a.example", "pg:1")]));
        set(&registry, "a.example", "fixed:1");

        assert_eq!(
            backend_of(&registry, "a.example").as_deref(),
            Some("fixed:1")
        );
        assert_eq!(registry.shadowed().len(), 1);
        assert_eq!(remove(&registry, "a.example"), Outcome::Done);
        assert_eq!(backend_of(&registry, "a.example").as_deref(), Some("pg:1"));
        assert_eq!(remove(&registry, "a.example"), Outcome::OwnedByPostgres);
        assert_eq!(remove(&registry, "b.example"), Outcome::NotFound);
    }

    #[test]
    fn unknown_hosts_go_to_the_default_if_there_is_one() {
        let registry = Registry::default();
        assert_eq!(backend_of(&registry, "x.example"), None);
        set_default(&registry, "lobby:1");
        assert_eq!(
            backend_of(&registry, "x.example").as_deref(),
            Some("lobby:1")
        );
    }

    #[test]
    fn a_default_that_is_removed_is_in_force_no_more() {
        let registry = Registry::default();
        set_default(&registry, "lobby:1");
        assert_eq!(edit(&registry, &Edit::Default(None)), Outcome::Done);
        assert_eq!(backend_of(&registry, "x.example"), None);
        assert_eq!(edit(&registry, &Edit::Default(None)), Outcome::NotFound);
    }

    #[test]
    fn fixed_routes_have_the_configured_policy_whenever_they_came() {
        let policy = Arc::new(Policy {
            compression_hold: true,
            ..Policy::default()
        });
        let mapping = [(host("a.example"), addr("a:1"))];
        let registry = Registry::new(
            mapping,
            Some(addr("lobby:1")),
            Arc::clone(&policy),
            Names::default(),
        )
        .unwrap();
        set(&registry, "b.example", "b:1");
        let check = |address: &str| {
            let table = registry.table();
            assert!(Arc::ptr_eq(&table.lookup(address).unwrap().policy, &policy));
        };

        check("a.example");
        check("b.example");
        check("x.example");
        set_default(&registry, "other:1");
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
        set(&registry, "a.example", "old:1");
        let before = registry.table();

        set(&registry, "a.example", "new:1");

        assert_eq!(
            before.lookup("a.example").unwrap().backend.as_str(),
            "old:1"
        );
        assert_eq!(backend_of(&registry, "a.example").as_deref(), Some("new:1"));
    }
}
