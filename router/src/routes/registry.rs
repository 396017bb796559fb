//! Owns what every source offers and publishes what it adds up to.
//!
//! Readers take one immutable snapshot and are never in the way of a writer, nor a writer in
//! theirs. Open connections hold no part of the table, so no change can touch them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

use super::Route;
use super::file::{Edit, RoutesFile};
use super::offer::{Offer, Outcome as Offered, Provider};
use super::policy::Policy;
use super::pool::{Changes, Pool};
use super::table::Table;
use crate::addr::BackendAddr;
use crate::host::{Host, Names};
use crate::journal::Journal;
use crate::shared_str::SharedStr;

/// Most routes the configuration may hold; and the routes file, or else the REST API, as many.
pub const STATIC_ROUTES_MAX: usize = 100_000;

/// The name of a default route among the fixed ones; no host is called so.
const DEFAULT: &str = "";

/// The routes of every source.
#[derive(Debug)]
pub struct Registry {
    /// What becomes of players on routes that do not say otherwise.
    defaults: Arc<Policy>,
    names: Names,
    pool: Mutex<Pool>,
    table: ArcSwap<Table>,
    changes: watch::Sender<()>,
    journal: Arc<Journal>,
    heard: Mutex<BTreeMap<Provider, Heard>>,
}

/// What was last heard of a source.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// When it last said something, if only that nothing has changed.
    pub at: Option<SystemTime>,
    /// Why nothing could be heard of it since.
    pub error: Option<String>,
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

impl Default for Registry {
    fn default() -> Self {
        Self::with(Arc::default(), Names::default())
    }
}

impl Registry {
    /// One without routes.
    #[must_use]
    pub fn with(defaults: Arc<Policy>, names: Names) -> Self {
        Self {
            defaults,
            names,
            pool: Mutex::new(Pool::new(names)),
            table: ArcSwap::from_pointee(Table::new(names)),
            changes: watch::Sender::default(),
            journal: Arc::default(),
            heard: Mutex::default(),
        }
    }

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
        let registry = Self::with(defaults, names);
        let mapping: BTreeMap<_, _> = mapping.into_iter().collect();
        if mapping.len() > STATIC_ROUTES_MAX {
            return Err(Full);
        }
        let offers = registry.fixed(Provider::Configuration, mapping, default);
        registry.replace(Provider::Configuration, offers);
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

    /// What happened to the routes, and whatever else is taken down there.
    #[must_use]
    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// What was last heard of `provider`.
    #[must_use]
    pub fn heard(&self, provider: Provider) -> Heard {
        self.heard_of().get(&provider).cloned().unwrap_or_default()
    }

    /// Takes down why nothing can be heard of `provider`; its routes stay.
    pub fn failed(&self, provider: Provider, error: String) {
        self.heard_of().entry(provider).or_default().error = Some(error);
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

    /// Shows everything that is offered, also what is not in force. Sources wait meanwhile; connections do not.
    pub fn read<T>(&self, look: impl FnOnce(&Pool) -> T) -> T {
        look(&self.pool())
    }

    /// What `provider` said last of one of its entries.
    #[must_use]
    pub fn known(&self, provider: Provider, name: &str) -> Option<Offered> {
        self.pool().entry(provider, name).cloned()
    }

    /// Takes `offers` for everything that `provider` has to say, in one step; what changed comes back.
    pub fn replace(&self, provider: Provider, offers: Vec<Offer>) -> Changes {
        self.change(provider, |pool| {
            let news = pool.whole(provider, offers);
            pool.apply(news)
        })
    }

    /// Takes what `provider` has to say of some of its entries, in one step; what changed comes back. Of those that
    /// are `None` there is nothing any more.
    pub fn update(
        &self,
        provider: Provider,
        offers: impl IntoIterator<Item = (SharedStr, Option<Offer>)>,
    ) -> Changes {
        let news = offers.into_iter();
        let news = news.map(|(name, offer)| (provider, name, offer));
        self.change(provider, |pool| pool.apply(news))
    }

    /// What the routes file would say if it said what is owned by it, or by the API.
    #[must_use]
    pub fn file(&self) -> RoutesFile {
        let pool = self.pool();
        let mut file = RoutesFile::default();
        for route in pool.entries(Provider::File).flatten() {
            match &route.host {
                Some(host) => drop(file.mappings.insert(host.clone(), route.backend.clone())),
                None => file.default = Some(route.backend.clone()),
            }
        }
        file
    }

    /// Replaces what the routes file owns in one step; what changed comes back.
    pub fn replace_file(&self, file: RoutesFile) -> Changes {
        let offers = self.fixed(Provider::File, file.mappings, file.default);
        self.replace(Provider::File, offers)
    }

    /// Replaces what the routes file owns by `file`, in which `edit` has been made, and takes away
    /// what the configuration says of the same host, so that the API's word is in force.
    pub fn edit(&self, file: RoutesFile, edit: &Edit) -> Outcome {
        let name = match edit {
            Edit::Set(host, _) => host.as_str(),
            Edit::Default(_) => DEFAULT,
            Edit::Remove(host) => host,
        };
        let sets = matches!(edit, Edit::Set(..) | Edit::Default(Some(_)));
        let offers = self.fixed(Provider::File, file.mappings, file.default);
        let mut outcome = Outcome::NotFound;
        self.change(Provider::File, |pool| {
            let is_there = |provider| pool.entry(provider, name).is_some();
            if sets || is_there(Provider::Configuration) || is_there(Provider::File) {
                outcome = Outcome::Done;
            } else if let Some(route) = pool.table().get(name) {
                outcome = match route.provider {
                    Provider::Docker => Outcome::OwnedByDocker,
                    _ => Outcome::OwnedByPostgres,
                };
            }
            let mut news = pool.whole(Provider::File, offers);
            news.push((Provider::Configuration, name.into(), None));
            pool.apply(news)
        });
        outcome
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heard_of(&self) -> MutexGuard<'_, BTreeMap<Provider, Heard>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes what `change` makes of the routes by the word of `provider`, if that is anything.
    fn change(&self, provider: Provider, change: impl FnOnce(&mut Pool) -> Changes) -> Changes {
        let mut pool = self.pool();
        let changes = change(&mut pool);
        if !changes.is_empty() {
            self.table.store(Arc::new(pool.table().clone()));
            self.changes.send_replace(());
        }
        // Under the lock of the pool, so that it is in the order in which it happened.
        self.journal.routes(provider, &changes);
        let heard = Heard {
            at: Some(SystemTime::now()),
            error: None,
        };
        self.heard_of().insert(provider, heard);
        changes
    }

    fn fixed(
        &self,
        provider: Provider,
        mapping: impl IntoIterator<Item = (Host, BackendAddr)>,
        default: Option<BackendAddr>,
    ) -> Vec<Offer> {
        let mapping = mapping
            .into_iter()
            .map(|(host, backend)| (Some(host), backend));
        let default = default.map(|backend| (None, backend));
        let routes = mapping.chain(default).map(|(host, backend)| {
            let policy = Arc::clone(&self.defaults);
            Arc::new(Route {
                provider,
                ..Route::fixed(host, backend, policy)
            })
        });
        routes.map(Offer::from).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::offer::tests::{host, route};
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

    fn addr(text: &str) -> BackendAddr {
        BackendAddr::parse(text).unwrap()
    }

    fn replace_postgres(registry: &Registry, routes: Vec<Arc<Route>>) -> Changes {
        let offers = routes.into_iter().map(Offer::from);
        registry.replace(Provider::Postgres, offers.collect())
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
        replace_postgres(&registry, vec![route("s", "pg.example", "pg:1")]);

        assert_eq!(
            backend_of(&registry, "fixed.example").as_deref(),
            Some("fixed:1")
        );
        assert_eq!(
            backend_of(&registry, "PG.example.").as_deref(),
            Some("pg:1")
        );

        replace_postgres(&registry, vec![]);
        assert_eq!(backend_of(&registry, "pg.example"), None);
        assert_eq!(
            backend_of(&registry, "fixed.example").as_deref(),
            Some("fixed:1")
        );
    }

    #[test]
    fn containers_come_last_and_keep_to_themselves() {
        let registry = Registry::default();
        let of_container = |name: &str, at: Option<&str>| {
            let container = Container::new("one", true, true, None);
            let fixed = Route::fixed(at.map(host), addr("docker:1"), Arc::default());
            let route = Route {
                name: name.into(),
                provider: Provider::Docker,
                ..fixed
            };
            Offer::from(Arc::new(route.with_container(container)))
        };
        let offers = [
            of_container("one", Some("a.example")),
            of_container("two", Some("b.example")),
            of_container("three", None),
        ];
        registry.replace(Provider::Docker, offers.into());
        replace_postgres(&registry, vec![route("s", "a.example", "pg:1")]);
        let backend = |host| backend_of(&registry, host).unwrap();
        assert_eq!(backend("a.example"), "pg:1");
        assert_eq!(backend("b.example"), "docker:1");
        assert_eq!(backend("c.example"), "docker:1", "its default");
        assert_eq!(remove(&registry, "b.example"), Outcome::OwnedByDocker);
        set_default(&registry, "lobby:1");
        assert_eq!(backend("c.example"), "lobby:1");

        registry.replace(Provider::Docker, vec![]);

        assert_eq!(backend("a.example"), "pg:1");
        assert_eq!(backend("b.example"), "lobby:1");
    }

    #[test]
    fn a_fixed_route_comes_first_and_gives_way_when_removed() {
        let registry = Registry::default();
        replace_postgres(&registry, vec![route("s", "a.example", "pg:1")]);
        set(&registry, "a.example", "fixed:1");

        assert_eq!(
            backend_of(&registry, "a.example").as_deref(),
            Some("fixed:1")
        );
        assert_eq!(registry.read(|pool| pool.shadowed().count()), 1);
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
        let route = route("s", "a.example", "pg:1");
        replace_postgres(&registry, vec![Arc::clone(&route)]);
        let policy = Policy {
            compression_hold: true,
            ..Policy::default()
        };
        let changed = Route {
            policy: Arc::new(policy),
            ..(*route).clone()
        };

        let changes = replace_postgres(&registry, vec![Arc::new(changed)]);

        assert_eq!(changes.hosts.len(), 1);
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
