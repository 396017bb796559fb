//! What changed about routes, as a webhook is told of it.
//!
//! Pure.

use std::collections::BTreeMap;

use super::event::{EventKind, backend_of};
use crate::host::Host;
use crate::routes::diff::{Change, diff};
use crate::routes::table::Table;
use crate::shared_str::SharedStr;

/// The routes that have been told of. It begins with none, so that the first news are all there are.
#[derive(Debug, Default)]
pub struct RouteNews {
    hosts: BTreeMap<Host, SharedStr>,
    default: Option<SharedStr>,
}

/// One piece of news: what, of which host, and to which backend, or backends.
pub type News = (EventKind, SharedStr, Option<SharedStr>);

impl RouteNews {
    /// What is new in `table`. A route that leads elsewhere was removed and added.
    pub fn of(&mut self, table: &Table) -> Vec<News> {
        let hosts = table.iter();
        let hosts = hosts.map(|(host, route)| (host.clone(), backend_of(route)));
        let hosts: BTreeMap<_, _> = hosts.collect();
        let added = |host: Host, backend| (EventKind::RouteAdded, host.shared(), Some(backend));
        let removed = |host: &Host| (EventKind::RouteRemoved, host.shared(), None);
        let mut news = Vec::new();
        for change in diff(&self.hosts, &hosts) {
            match change {
                Change::Add(host, backend) => news.push(added(host, backend)),
                Change::Remove(host, _) => news.push(removed(&host)),
                Change::Change(host, _, backend) => {
                    news.extend([removed(&host), added(host, backend)]);
                }
            }
        }
        let default = table.default_route().map(|route| backend_of(route));
        if self.default != default {
            let kind = match default {
                Some(_) => EventKind::DefaultRouteSet,
                None => EventKind::DefaultRouteRemoved,
            };
            news.push((kind, SharedStr::new(), default.clone()));
        }
        (self.hosts, self.default) = (hosts, default);
        news
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::addr::BackendAddr;
    use crate::host::Names;
    use crate::routes::offer::tests::listed;
    use crate::routes::offer::{Offer, Provider};
    use crate::routes::registry::Registry;

    fn lines(told: Vec<News>) -> Vec<String> {
        let line = |(kind, host, backend): News| {
            let backend = backend.as_deref().unwrap_or_default();
            format!("{} {host} {backend}", kind.name())
        };
        told.into_iter().map(line).collect()
    }

    fn told(news: &mut RouteNews, routes: &[(&str, &str)], default: Option<&str>) -> Vec<String> {
        let address = |text: &str| BackendAddr::parse(text).unwrap();
        let route = |(host, backend): &(&str, &str)| (Host::parse(host).unwrap(), address(backend));
        let (routes, default) = (routes.iter().map(route), default.map(address));
        let registry = Registry::new(routes, default, Arc::default(), Names::default()).unwrap();
        lines(news.of(&registry.table()))
    }

    #[test]
    fn what_there_is_comes_first_and_then_what_changes() {
        let mut news = RouteNews::default();
        assert!(told(&mut news, &[], None).is_empty());
        let routes = [("a.example", "a:1"), ("b.example", "b:1")];
        let all = told(&mut news, &routes, Some("lobby:1"));
        let added = ["route-added a.example a:1", "route-added b.example b:1"];
        assert_eq!(all, [&added[..], &["default-route-set  lobby:1"]].concat());
        assert!(told(&mut news, &routes, Some("lobby:1")).is_empty());

        let changed = told(&mut news, &[("a.example", "a:2")], None);
        assert_eq!(
            changed,
            [
                "route-removed a.example ",
                "route-added a.example a:2",
                "route-removed b.example ",
                "default-route-removed  "
            ]
        );
    }
    #[test]
    fn of_several_backends_all_are_told_and_a_change_of_one_is_news() {
        let (mut news, registry) = (RouteNews::default(), Registry::default());
        let mut told = |list| {
            let offer = Offer::from(listed("a", "a.example", list));
            registry.replace(Provider::Postgres, vec![offer]);
            lines(news.of(&registry.table()))
        };
        assert_eq!(told("a:1, a:2"), ["route-added a.example a:1, a:2"]);
        assert!(told("a:1, a:2").is_empty());
        let changed = ["route-removed a.example ", "route-added a.example a:1, a:3"];
        assert_eq!(told("a:1, a:3"), changed);
    }
}
