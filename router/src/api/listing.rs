//! Routes in detail: where each comes from, whether it is in force and if not why, and when it changed. Bounded, since
//! there may be a million; only what is shown is copied while the sources wait.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;

use super::health::Full;
use super::query::{Query, refused};
use super::{Api, Refusal};
use crate::host::Host;
use crate::routes::Route;
use crate::routes::offer::{Excluded, Provider};
use crate::routes::pool::{Counts, Pool};
use crate::routes::table::Table;
use crate::servers::{State as ServerState, Target};
use crate::shared_str::SharedStr;

/// How many routes are listed at once unless asked otherwise.
const LIMIT_DEFAULT: usize = 1_000;
/// Most that are.
const LIMIT_MAX: usize = 10_000;

/// Unique, and the order in which routes are listed.
type Key = (Provider, SharedStr);
/// When entries last changed.
type Times = HashMap<Key, SystemTime>;

/// One entry of a source.
#[derive(Debug, Clone)]
pub(super) enum Item {
    /// It has at least one of its hosts.
    Active(Arc<Route>),
    /// Others have all of its hosts.
    Shadowed(Arc<Route>, String),
    /// It is no route.
    Excluded(Provider, Arc<Excluded>),
}

/// One entry as it is listed.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Detail {
    name: String,
    provider: &'static str,
    pool: &'static str,
    /// `null` for a default route.
    domain: Option<String>,
    aliases: Vec<String>,
    /// The rest is `null` for what is no route.
    backend: Option<String>,
    scheme: Option<&'static str>,
    host: Option<String>,
    port: Option<u16>,
    /// The name its server is started by; empty when it cannot be.
    scaling_target: String,
    state: Option<&'static str>,
    health: Option<Full>,
    /// Why it is not in force, in a word and in words.
    reason: Option<&'static str>,
    text: Option<String>,
    /// RFC 3339, UTC; if that is not remembered, when its source was last heard of.
    last_change: Option<String>,
}

/// What `GET /routes` answers in detail.
#[derive(serde::Serialize)]
pub(super) struct Details {
    total: usize,
    routes: Vec<Detail>,
    /// What to ask for after these.
    next: Option<String>,
}

/// How a source is.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Source {
    active: usize,
    shadowed: usize,
    excluded: usize,
    last_sync: Option<String>,
    error: Option<String>,
}

/// How a source is, and its routes.
#[derive(serde::Serialize)]
pub(super) struct SourceRoutes {
    #[serde(flatten)]
    source: Source,
    #[serde(flatten)]
    details: Details,
}

/// What is asked for.
#[derive(Debug, Clone, Default)]
struct Wanted {
    excluded: bool,
    provider: Option<Provider>,
    state: Option<ServerState>,
    limit: usize,
    after: Option<Key>,
}

impl Wanted {
    /// By the parameters of a request.
    fn of(query: Query<'_>) -> Result<Self, Refusal> {
        let provider = query.get("provider")?.map(|name| source_called(&name));
        let state = query.get("state")?.map(|name| {
            let state = ServerState::ALL
                .into_iter()
                .find(|state| state.name() == name);
            state.ok_or_else(|| refused(format!("there is no state {name:?}")))
        });
        let after = query.get("after")?.map(|text| {
            let (source, name) = text.split_once('/').unwrap_or((&text, ""));
            Ok((source_called(source)?, SharedStr::from(name)))
        });
        let after: Option<Result<Key, Refusal>> = after;
        Ok(Self {
            excluded: include_excluded(query)?,
            provider: provider.transpose()?,
            state: state.transpose()?,
            limit: query.limit(LIMIT_DEFAULT, LIMIT_MAX)?,
            after: after.transpose()?,
        })
    }

    fn has(&self, provider: Provider) -> bool {
        self.provider.is_none_or(|wanted| wanted == provider)
    }
}

fn source_called(name: &str) -> Result<Provider, Refusal> {
    let names = || Provider::ALL.map(Provider::name).join(", ");
    let refuse = || refused(format!("there is no provider {name:?}, only {}", names()));
    Provider::called(name).ok_or_else(refuse)
}

fn include_excluded(query: Query<'_>) -> Result<bool, Refusal> {
    match query.get("include")?.as_deref() {
        None => Ok(false),
        Some("excluded") => Ok(true),
        Some(other) => Err(refused(format!(
            "include is excluded, or not there; not {other:?}"
        ))),
    }
}

/// The first of what was added, in the order of keys.
#[derive(Debug, Default)]
struct First {
    total: usize,
    /// How many come after the one that was named.
    rest: usize,
    items: BTreeMap<Key, Item>,
}

impl First {
    fn add(
        &mut self,
        wanted: &Wanted,
        provider: Provider,
        name: &SharedStr,
        item: impl FnOnce() -> Item,
    ) {
        self.total += 1;
        let is_before = |key: &Key| (provider, name) <= (key.0, &key.1);
        if wanted.after.as_ref().is_some_and(is_before) {
            return;
        }
        self.rest += 1;
        if self.items.len() >= wanted.limit {
            // It would be the first to go.
            if self
                .items
                .last_key_value()
                .is_none_or(|(last, _)| !is_before(last))
            {
                return;
            }
            self.items.pop_last();
        }
        self.items.insert((provider, name.clone()), item());
    }
}

/// Whether `host` is the first of `route`'s hosts that is in force, so that each route counts once.
fn is_first(table: &Table, route: &Arc<Route>, host: Option<&Host>) -> bool {
    let has = |host: Option<&Host>| {
        let winner = match host {
            Some(host) => table.get(host.as_str()),
            None => table.default_route(),
        };
        winner.is_some_and(|winner| Arc::ptr_eq(winner, route))
    };
    route.aliases().is_empty() || route.hosts().find(|host| has(*host)) == Some(host)
}

impl Api {
    /// The state of the server of `route`.
    fn state_of(&self, route: &Route) -> ServerState {
        let target = Target::of(route, self.starters);
        self.servers.snapshot(&target).state
    }

    /// What is wanted of everything there is.
    fn items(&self, wanted: &Wanted) -> First {
        let mut first = First::default();
        let is_in = |route: &Route| {
            wanted
                .state
                .is_none_or(|state| self.state_of(route) == state)
        };
        let (table, shadowed) = self.registry.read(|pool| {
            let mut shadowed = Vec::new();
            let providers = Provider::ALL.into_iter().filter(|p| wanted.has(*p));
            for provider in providers.filter(|_| wanted.excluded) {
                shadowed.extend(pool.without_host(provider).into_values().cloned());
                for entry in pool.excluded(provider).filter(|_| wanted.state.is_none()) {
                    let item = || Item::Excluded(provider, Arc::clone(entry));
                    first.add(wanted, provider, &entry.name, item);
                }
            }
            (pool.table().clone(), shadowed)
        });
        for route in shadowed.iter().filter(|route| is_in(route)) {
            let item = || Item::Shadowed(Arc::clone(route), whose(&table, route));
            first.add(wanted, route.provider, &route.name, item);
        }
        let default = table.default_route().map(|route| (None, route));
        let all = table.iter().map(|(host, route)| (Some(host), route));
        for (host, route) in all.chain(default) {
            if wanted.has(route.provider) && is_first(&table, route, host) && is_in(route) {
                let item = || Item::Active(Arc::clone(route));
                first.add(wanted, route.provider, &route.name, item);
            }
        }
        first
    }

    fn details(&self, wanted: &Wanted) -> Details {
        let First { total, rest, items } = self.items(wanted);
        let last = items.last_key_value().map(|(key, _)| key);
        let next = last.filter(|_| items.len() < rest);
        let next = next.map(|(provider, name)| format!("{}/{name}", provider.name()));
        let times = self.registry.journal().last_changes();
        Details {
            total,
            routes: items
                .values()
                .map(|item| self.detail(item, &times))
                .collect(),
            next,
        }
    }

    fn detail(&self, item: &Item, times: &Times) -> Detail {
        let (route, pool, reason, text) = match item {
            Item::Active(route) => (route, "active", None, None),
            Item::Shadowed(route, text) => {
                (route, "shadowed", Some("shadowed"), Some(text.clone()))
            }
            Item::Excluded(provider, excluded) => return self.no_route(*provider, excluded, times),
        };
        let backend = route.backend.as_str();
        let (host, port) = backend.rsplit_once(':').unwrap_or((backend, ""));
        Detail {
            name: route.name.to_string(),
            provider: route.provider.name(),
            pool,
            domain: route.host.as_ref().map(Host::to_string),
            aliases: route.aliases().iter().map(Host::to_string).collect(),
            backend: Some(backend.to_owned()),
            scheme: Some("minecraft"),
            host: Some(host.trim_matches(['[', ']']).to_owned()),
            port: port.parse().ok(),
            scaling_target: route.server().map_or("", SharedStr::as_str).to_owned(),
            state: Some(self.state_of(route).name()),
            health: matches!(item, Item::Active(_)).then(|| {
                let reading = self.health.of_route(route, &self.servers, self.starters);
                Full::of(&reading)
            }),
            reason,
            text,
            last_change: self.last_change(route.provider, &route.name, times),
        }
    }

    fn no_route(&self, provider: Provider, excluded: &Excluded, times: &Times) -> Detail {
        let mut hosts = excluded.hosts.iter().map(Host::to_string);
        Detail {
            name: excluded.name.to_string(),
            provider: provider.name(),
            pool: "excluded",
            domain: hosts.next(),
            aliases: hosts.collect(),
            backend: None,
            scheme: None,
            host: None,
            port: None,
            scaling_target: String::new(),
            state: None,
            health: None,
            reason: Some(excluded.reason.name()),
            text: Some(excluded.reason.to_string()),
            last_change: self.last_change(provider, &excluded.name, times),
        }
    }

    fn last_change(&self, provider: Provider, name: &SharedStr, times: &Times) -> Option<String> {
        let known = times.get(&(provider, name.clone())).copied();
        known.or_else(|| self.registry.heard(provider).at).map(time)
    }

    /// The entry that has a host, or is called so.
    fn find(&self, host: &str, excluded: bool) -> Result<Item, Refusal> {
        let key = self.registry.names().key(host).into_owned();
        self.registry.read(|pool| {
            let table = pool.table();
            if let Some(route) = table.get(&key) {
                return Ok(Item::Active(Arc::clone(route)));
            }
            let entries = Provider::ALL.map(|provider| (provider, pool.entry(provider, host)));
            let entries = entries
                .into_iter()
                .filter_map(|(p, entry)| Some((p, entry?)));
            let items = entries.map(|(provider, entry)| match entry {
                Ok(route) if pool.is_active(route) => Item::Active(Arc::clone(route)),
                Ok(route) => Item::Shadowed(Arc::clone(route), whose(table, route)),
                Err(entry) => Item::Excluded(provider, Arc::clone(entry)),
            });
            let mut items: Vec<_> = items.collect();
            items.sort_by_key(|item| !matches!(item, Item::Active(_)));
            let why = match items.into_iter().next() {
                Some(item) if excluded || matches!(item, Item::Active(_)) => return Ok(item),
                Some(Item::Shadowed(_, why)) => format!("{host:?} has none of its hosts: {why}"),
                Some(Item::Excluded(_, entry)) => format!("{host:?} is no route: {}", entry.reason),
                Some(Item::Active(_)) | None => format!("no route for {key:?}"),
            };
            Err(Refusal(StatusCode::NOT_FOUND, why))
        })
    }

    /// The sources that are in use.
    fn sources(&self) -> Vec<(Provider, Source)> {
        let counts = |pool: &Pool| Provider::ALL.map(|provider| (provider, pool.counts(provider)));
        let counts = self.registry.read(counts);
        let sources = counts.into_iter().filter_map(|(provider, counts)| {
            let sync = self
                .sync
                .as_ref()
                .filter(|_| provider == Provider::Postgres);
            let heard = self.registry.heard(provider);
            let unused = heard.at.is_none() && heard.error.is_none();
            if sync.is_none() && unused && counts == Counts::default() {
                return None;
            }
            let sync = sync.map(|sync| sync.snapshot()).unwrap_or_default();
            let source = Source {
                active: counts.active,
                shadowed: counts.shadowed,
                excluded: counts.excluded,
                last_sync: sync.last_sync.or(heard.at).map(time),
                error: sync.last_error.or(heard.error),
            };
            Some((provider, source))
        });
        sources.collect()
    }
}

/// Whose the hosts are of a route that has none.
fn whose(table: &Table, route: &Route) -> String {
    let whose = route.hosts().filter_map(|host| {
        let (name, winner) = match host {
            Some(host) => (host.as_str(), table.get(host.as_str())),
            None => ("the default", table.default_route()),
        };
        let winner = winner?;
        let source = winner.provider.name();
        Some(format!("{name} belongs to {:?} of {source}", &*winner.name))
    });
    whose.collect::<Vec<_>>().join(", ")
}

fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}

/// On a thread that nobody waits for: a million routes take a while.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

/// Whether routes are asked for in detail.
pub(super) fn is_detailed(query: &str) -> Result<bool, Refusal> {
    for name in ["include", "provider", "state", "limit", "after"] {
        if Query(query).get(name)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) async fn list(api: Api, query: &str) -> Result<Details, Refusal> {
    let wanted = Wanted::of(Query(query))?;
    aside(move || api.details(&wanted)).await
}

pub(super) fn show(api: &Api, host: &str, query: &str) -> Result<Detail, Refusal> {
    let item = api.find(host, include_excluded(Query(query))?)?;
    if let Item::Active(route) = &item {
        api.health.interest(route);
    }
    Ok(api.detail(&item, &api.registry.journal().last_changes()))
}

pub(super) async fn providers(
    State(api): State<Api>,
) -> Result<Json<BTreeMap<&'static str, Source>>, Refusal> {
    let sources = aside(move || api.sources()).await?.into_iter();
    let sources = sources.map(|(provider, source)| (provider.name(), source));
    Ok(Json(sources.collect()))
}

pub(super) async fn by_provider(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Json<BTreeMap<&'static str, SourceRoutes>>, Refusal> {
    let mut wanted = Wanted::of(Query(query.as_deref().unwrap_or_default()))?;
    let only = wanted.provider;
    let all = aside(move || {
        let mut all = BTreeMap::new();
        for (provider, source) in api.sources() {
            if only.is_none_or(|only| only == provider) {
                wanted.provider = Some(provider);
                let details = api.details(&wanted);
                all.insert(provider.name(), SourceRoutes { source, details });
            }
        }
        all
    });
    Ok(Json(all.await?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::offer::tests::route;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pages_are_all_there_is_in_order_however_it_comes(
            names in proptest::collection::hash_set((0_usize..3, "[a-c]{1,3}"), 0..40), limit in 1_usize..9
        ) {
            let all: BTreeMap<Key, ()> = names.iter().map(|(provider, name)| {
                ((Provider::ALL[*provider], SharedStr::from(name.as_str())), ())
            }).collect();
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let wanted = Wanted { limit, after: after.clone(), ..Wanted::default() };
                let mut first = First::default();
                for (provider, name) in &names {
                    let name = SharedStr::from(name.as_str());
                    first.add(&wanted, Provider::ALL[*provider], &name, || {
                        Item::Active(route(&name, "a.example", "h:1"))
                    });
                }
                prop_assert_eq!(first.total, names.len());
                prop_assert!(first.items.len() <= limit);
                seen.extend(first.items.keys().cloned());
                if first.items.len() == first.rest { break }
                after = seen.last().cloned();
            }
            prop_assert_eq!(seen, all.into_keys().collect::<Vec<_>>());
        }
    }
}
