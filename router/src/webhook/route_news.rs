//! What changed about routes, as a webhook is told of it.
//!
//! Pure.

use std::collections::BTreeMap;

use super::event::EventKind;
use crate::addr::BackendAddr;
use crate::host::Host;
use crate::routes::diff::{Change, diff};
use crate::routes::table::Table;
use crate::shared_str::SharedStr;

/// The routes that have been told of. It begins with none, so that the first news are all there are.
#[derive(Debug, Default)]
pub struct RouteNews {
    hosts: BTreeMap<Host, BackendAddr>,
    default: Option<BackendAddr>,
}

/// One piece of news: what, of which host, and to which backend.
pub type News = (EventKind, SharedStr, Option<BackendAddr>);

impl RouteNews {
    /// What is new in `table`. A route that leads elsewhere was removed and added.
    pub fn of(&mut self, table: &Table) -> Vec<News> {
        let hosts = table.iter();
        let hosts = hosts.map(|(host, route)| (host.clone(), route.backend.clone()));
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
        let default = table.default_route().map(|route| route.backend.clone());
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
    use crate::host::Names;
    use crate::routes::registry::Registry;

    fn told(news: &mut RouteNews, routes: &[(&str, &str)], default: Option<&str>) -> Vec<String> {
        let address = |text: &str| BackendAddr::parse(text).unwrap();
        let route = |(host, backend): &(&str, &str)| (Host::parse(host).unwrap(), address(backend));
        let (routes, default) = (routes.iter().map(route), default.map(address));
        let registry = Registry::new(routes, default, Arc::default(), Names::default()).unwrap();
        let line = |(kind, host, backend): News| {
            let backend = backend.map(|backend| backend.to_string());
            format!("{} {host} {}", kind.name(), backend.unwrap_or_default())
        };
        let told = news.of(&registry.table());
        told.into_iter().map(line).collect()
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
}
