use proptest::prelude::*;

use super::super::offer::tests::{host, route};
use super::super::{StateHint, backends};
use super::*;
use crate::shared_str::SharedStr;

fn pool() -> Pool {
    Pool::new(Names::default())
}

fn excluded(name: &str) -> Offer {
    let excluded = Excluded {
        name: name.into(),
        hosts: Box::default(),
        reason: Reason::Disabled,
    };
    Offer {
        outcome: Err(Arc::new(excluded)),
        ignored: Vec::new(),
    }
}

/// A route of `provider` for `hosts`; of none, the default.
fn offer(provider: Provider, name: &str, hosts: &[&str], backend: &str) -> Offer {
    let first = hosts.first().map(|first| host(first));
    let aliases = hosts.iter().skip(1).map(|alias| host(alias));
    let route = Route {
        provider,
        host: first,
        ..Route::clone(&route(name, "x.example", backend))
    };
    Offer::from(Arc::new(route.with_aliases(aliases.collect())))
}

fn postgres(name: &str, hosts: &[&str]) -> News {
    let provider = Provider::Postgres;
    let backend = format!("{name}:1");
    (
        provider,
        name.into(),
        Some(offer(provider, name, hosts, &backend)),
    )
}

fn gone(name: &str) -> News {
    (Provider::Postgres, name.into(), None)
}

fn names(routes: &[Arc<Route>]) -> Vec<&str> {
    routes.iter().map(|route| &*route.name).collect()
}

#[test]
fn an_alias_that_moves_to_another_server_takes_neither_server_away() {
    let mut pool = pool();
    pool.apply([postgres("b", &["b.example", "both.example"])]);
    let changes = pool.apply([postgres("a", &["a.example", "both.example"])]);

    assert_eq!(names(&changes.come), ["a"]);
    assert!(changes.gone.is_empty(), "b still has its domain");
    let waiting: Vec<_> = pool.waiting(Some(&host("both.example"))).collect();
    assert_eq!(waiting.len(), 1);

    let changes = pool.apply([gone("a")]);
    assert_eq!(names(&changes.gone), ["a"]);
    assert_eq!(pool.table().get("both.example").unwrap().name, "b");
}

#[test]
fn a_server_whose_alias_goes_is_not_gone() {
    let mut pool = pool();
    pool.apply([postgres("a", &["a.example", "alias.example"])]);
    let changes = pool.apply([postgres("a", &["a.example"])]);
    assert_eq!((changes.hosts.len(), changes.gone.len()), (2, 0));
    let changes = pool.apply([gone("a")]);
    assert_eq!(names(&changes.gone), ["a"]);
}

#[test]
fn what_is_said_again_is_no_change_and_keeps_the_route_that_is_there() {
    let mut pool = pool();
    pool.apply([postgres("a", &["a.example"])]);
    let before = Arc::clone(pool.table().get("a.example").unwrap());
    assert!(pool.apply([postgres("a", &["a.example"])]).is_empty());
    assert!(Arc::ptr_eq(pool.table().get("a.example").unwrap(), &before));
}

#[test]
fn turns_go_on_where_a_row_changes_in_other_ways() {
    let mut pool = pool();
    let row = |state, list| {
        let (provider, name, offer) = postgres("a", &["a.example"]);
        let route = offer.unwrap().outcome.unwrap();
        let route = Route {
            state,
            ..(*route).clone()
        };
        let route = route.with_backends(backends::parse(list, 0).unwrap().1);
        (provider, name, Some(Arc::new(route).into()))
    };
    let turn = |pool: &Pool| {
        let route = pool.table().get("a.example").unwrap();
        route.backends().unwrap().turn()
    };
    pool.apply([row(StateHint::Running, "a:1,b:1")]);
    assert_eq!([turn(&pool), turn(&pool)], [0, 1]);
    pool.apply([row(StateHint::Stopped, "a:1,b:1")]);
    assert_eq!(turn(&pool), 2);
    pool.apply([row(StateHint::Stopped, "a:1,b:1 weight=2")]);
    assert_eq!(turn(&pool), 0);
}

#[test]
fn settings_that_are_not_honoured_are_known_as_long_as_their_route() {
    let mut pool = pool();
    let setting = IgnoredSetting {
        column: "hold_max",
        reason: "nonsense".to_owned(),
    };
    let (provider, name, offer) = postgres("a", &["a.example"]);
    let flawed = offer.clone().map(|offer| Offer {
        ignored: vec![setting.clone()],
        ..offer
    });
    pool.apply([(provider, name.clone(), flawed)]);
    assert_eq!(
        pool.ignored(provider).collect::<Vec<_>>(),
        [(&name, &setting)]
    );
    pool.apply([(provider, name, offer)]);
    assert_eq!(pool.ignored(provider).count(), 0);
}

#[test]
fn one_wildcard_too_many_is_excluded_and_finds_room_later() {
    let mut pool = pool();
    let all = (0..=WILDCARDS_MAX).map(|number| {
        let name = format!("{number:05}");
        postgres(&name, &[&format!("*.{name}.example")])
    });
    let all: Vec<_> = all.collect();
    pool.apply(all.iter().cloned());
    assert_eq!(pool.table().len(), WILDCARDS_MAX);
    let left_out: Vec<_> = pool.excluded(Provider::Postgres).collect();
    assert_eq!(&*left_out[0].name, "10000");
    assert!(left_out[0].reason.to_string().contains("limit"));

    pool.apply([gone("00000"), all.last().unwrap().clone()]);
    let counts = pool.counts(Provider::Postgres);
    assert_eq!((counts.active, counts.excluded), (WILDCARDS_MAX, 0));
}

/// What one source may say of one name.
fn offers() -> impl Strategy<Value = News> {
    let provider = prop::sample::select(&Provider::ALL[..]);
    let hosts = prop::collection::btree_set(
        prop::sample::select(&["a", "b", "c", "*.a", "*.b"][..]),
        0..3,
    );
    let outcome = prop::option::weighted(0.8, prop::option::weighted(0.8, hosts));
    (provider, "[nm]", outcome, "[hi]:1").prop_map(|(provider, name, outcome, backend)| {
        let offer = outcome.map(|hosts| match hosts {
            Some(hosts) => {
                let hosts: Vec<_> = hosts.into_iter().collect();
                offer(provider, &name, &hosts, &backend)
            }
            None => excluded(&name),
        });
        (provider, name.into(), offer)
    })
}

/// Everything that is said, and by whom.
type Said = BTreeMap<(Provider, SharedStr), Offer>;

/// The rules, written down once more: for each host the route of the first that wants it.
fn in_force(said: &Said) -> BTreeMap<Option<Host>, Arc<Route>> {
    let mut winners = BTreeMap::new();
    for route in said
        .values()
        .filter_map(|offer| offer.outcome.as_ref().ok())
    {
        for host in route.hosts() {
            winners
                .entry(host.cloned())
                .or_insert_with(|| Arc::clone(route));
        }
    }
    winners
}

fn seen(table: &Table) -> BTreeMap<Option<Host>, Arc<Route>> {
    let hosts = table
        .iter()
        .map(|(host, route)| (Some(host.clone()), Arc::clone(route)));
    let default = table.default_route().map(|route| (None, Arc::clone(route)));
    hosts.chain(default).collect()
}

proptest! {
    #[test]
    fn the_first_source_wins_and_nothing_is_lost_or_left_over(
        steps in prop::collection::vec(prop::collection::vec(offers(), 1..5), 1..12)
    ) {
        let (mut pool, mut said) = (pool(), Said::new());
        for step in steps {
            let before = seen(pool.table());
            for (provider, name, offer) in &step {
                match offer {
                    Some(offer) => drop(said.insert((*provider, name.clone()), offer.clone())),
                    None => drop(said.remove(&(*provider, name.clone()))),
                }
            }
            let changes = pool.apply(step);

            let now = in_force(&said);
            prop_assert_eq!(seen(pool.table()), now.clone());
            // What changed is what differs, no more.
            let mut replayed: BTreeMap<_, _> = before.clone();
            for change in &changes.hosts {
                match change {
                    Change::Add(host, new) | Change::Change(host, _, new) => replayed.insert(Some(host.clone()), Arc::clone(new)),
                    Change::Remove(host, _) => replayed.remove(&Some(host.clone())),
                };
            }
            prop_assert_eq!(changes.default_changed(), before.get(&None) != now.get(&None));
            replayed.remove(&None);
            replayed.extend(now.get(&None).map(|new| (None, Arc::clone(new))));
            prop_assert_eq!(replayed, now.clone());
            let keys = |routes: &BTreeMap<_, Arc<Route>>| -> HashSet<_> { routes.values().map(|route| route.key()).collect() };
            let gone: HashSet<_> = changes.gone.iter().map(|route| route.key()).collect();
            let expected: HashSet<_> = keys(&before).difference(&keys(&now)).cloned().collect();
            prop_assert_eq!(gone, expected);
            // Every entry is counted once, and every claim is in force or waits.
            for provider in Provider::ALL {
                let mine: Vec<_> = said.iter().filter(|((by, _), _)| *by == provider).collect();
                let counts = pool.counts(provider);
                prop_assert_eq!(counts.active + counts.shadowed + counts.excluded, mine.len());
                let none = mine.iter().filter(|(_, offer)| offer.outcome.is_err()).count();
                prop_assert_eq!(counts.excluded, none);
            }
            let claims: usize = said.values().filter_map(|offer| offer.outcome.as_ref().ok())
                .map(|route| route.hosts().count()).sum();
            prop_assert_eq!(pool.shadowed().count() + now.len(), claims);
            prop_assert!(pool.contested.values().all(|waiting| !waiting.is_empty()));
        }
    }

    #[test]
    fn a_whole_read_leaves_what_it_says_and_nothing_else(first in prop::collection::vec(offers(), 0..8), second in prop::collection::vec(offers(), 0..8)) {
        let mut pool = pool();
        pool.apply(first);
        let others: usize = [Provider::Configuration, Provider::File].map(|other| pool.entries(other).count()).iter().sum();
        let mut said = Said::new();
        let mut whole = Vec::new();
        for offer in second.into_iter().filter_map(|(provider, _, offer)| offer.filter(|_| provider == Provider::Postgres)) {
            said.entry((Provider::Postgres, name(&offer.outcome).clone())).or_insert_with(|| offer.clone());
            whole.push(offer);
        }
        let news = pool.whole(Provider::Postgres, whole);
        pool.apply(news);
        let mine: BTreeMap<_, _> = pool.entries(Provider::Postgres).map(|entry| (name(entry).clone(), entry.clone())).collect();
        let expected: BTreeMap<_, _> = said.into_iter().map(|((_, name), offer)| (name, offer.outcome)).collect();
        prop_assert_eq!(mine, expected);
        prop_assert_eq!(pool.entries(Provider::Configuration).count() + pool.entries(Provider::File).count(), others);
    }
}
