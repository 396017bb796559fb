//! What happened to routes, one host or entry at a time.
//!
//! Pure. Nothing is put into words, or copied, before somebody reads it.

use std::fmt;
use std::sync::Arc;

use super::Route;
use super::changes::{Changes, Shadowed};
use super::diff::Change;
use super::offer::{Excluded, Provider};
use crate::host::Host;
use crate::shared_str::SharedStr;

/// What kind of change it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A host leads somewhere that led nowhere.
    Added,
    /// A host leads elsewhere, or its route has other settings.
    Changed,
    /// A host leads nowhere any more.
    Removed,
    /// An entry is no route, or did not get a host that it asks for.
    Excluded,
}

impl Kind {
    /// As the API calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Removed => "removed",
            Self::Excluded => "excluded",
        }
    }
}

/// Why an entry does not have a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It is no route.
    NoRoute(Arc<Excluded>),
    /// Another route has the host.
    Shadowed(Shadowed),
}

impl fmt::Display for Why {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoute(excluded) => excluded.reason.fmt(formatter),
            Self::Shadowed(shadowed) => shadowed.fmt(formatter),
        }
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteChange {
    /// What kind.
    pub kind: Kind,
    /// Whose entry it is now, or was.
    pub provider: Provider,
    /// What that calls it.
    pub name: SharedStr,
    /// The host; `None` for the default, and for entries that are no routes.
    pub host: Option<Host>,
    /// The route that it had.
    pub old: Option<Arc<Route>>,
    /// The route that it has.
    pub new: Option<Arc<Route>>,
    /// Why not, of what is excluded.
    pub why: Option<Why>,
}

impl RouteChange {
    fn of(host: Option<&Host>, old: Option<&Arc<Route>>, new: Option<&Arc<Route>>) -> Option<Self> {
        let route = new.or(old)?;
        let kind = match (old, new) {
            (None, _) => Kind::Added,
            (Some(_), Some(_)) => Kind::Changed,
            (Some(_), None) => Kind::Removed,
        };
        Some(Self {
            kind,
            provider: route.provider,
            name: route.name.clone(),
            host: host.cloned(),
            old: old.cloned(),
            new: new.cloned(),
            why: None,
        })
    }

    fn excluded(provider: Provider, excluded: &Arc<Excluded>) -> Self {
        Self {
            kind: Kind::Excluded,
            provider,
            name: excluded.name.clone(),
            host: None,
            old: None,
            new: None,
            why: Some(Why::NoRoute(Arc::clone(excluded))),
        }
    }

    fn shadowed(shadowed: &Shadowed) -> Self {
        Self {
            kind: Kind::Excluded,
            provider: shadowed.loser.provider,
            name: shadowed.loser.name.clone(),
            host: shadowed.host.clone(),
            old: None,
            new: None,
            why: Some(Why::Shadowed(shadowed.clone())),
        }
    }
}

/// How many changes [`each`] tells.
#[must_use]
pub fn count(changes: &Changes) -> usize {
    changes.hosts.len()
        + usize::from(changes.default_changed())
        + changes.excluded.len()
        + changes.shadowed.len()
}

/// Each of the changes that `provider` made: hosts in their order, the default, what is excluded.
pub fn each(provider: Provider, changes: &Changes) -> impl Iterator<Item = RouteChange> {
    let hosts = changes.hosts.iter().filter_map(|change| match change {
        Change::Add(host, new) => RouteChange::of(Some(host), None, Some(new)),
        Change::Change(host, old, new) => RouteChange::of(Some(host), Some(old), Some(new)),
        Change::Remove(host, old) => RouteChange::of(Some(host), Some(old), None),
    });
    let (old, new) = &changes.default_routes;
    let default = RouteChange::of(None, old.as_ref(), new.as_ref());
    let excluded = changes.excluded.iter();
    let excluded = excluded.map(move |excluded| RouteChange::excluded(provider, excluded));
    let shadowed = changes.shadowed.iter().map(RouteChange::shadowed);
    hosts.chain(default).chain(excluded).chain(shadowed)
}

#[cfg(test)]
mod tests {
    use super::super::offer::tests::{host, listed, route};
    use super::super::offer::{Offer, Reason};
    use super::super::pool::Pool;
    use super::*;
    use crate::host::Names;

    fn told(pool: &mut Pool, news: Vec<(&str, Option<Offer>)>) -> Vec<String> {
        let news = news.into_iter();
        let news = news.map(|(name, offer)| (Provider::Postgres, SharedStr::from(name), offer));
        let changes = pool.apply(news.collect::<Vec<_>>());
        let told: Vec<_> = each(Provider::Postgres, &changes).collect();
        assert_eq!(told.len(), count(&changes));
        let told = told.into_iter().map(|change| {
            let text = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            format!(
                "{} {} {} {} {} {}",
                change.kind.name(),
                change.name,
                text(change.host.map(|host| host.to_string())),
                text(change.old.map(|old| old.leads_to())),
                text(change.new.map(|new| new.leads_to())),
                text(change.why.map(|why| why.to_string())),
            )
        });
        told.collect()
    }

    #[test]
    fn of_several_backends_all_are_told() {
        let mut pool = Pool::new(Names::default());
        let several = |list| Some(Offer::from(listed("b", "a.example", list)));
        for (address, expected) in [
            ("b:1, b:2", "added b a.example - b:1, b:2 -"),
            (
                "b:1, b:3 weight=2",
                "changed b a.example b:1, b:2 b:1, b:3 weight=2 -",
            ),
            ("b:1", "changed b a.example b:1, b:3 weight=2 b:1 -"),
        ] {
            assert_eq!(told(&mut pool, vec![("b", several(address))]), [expected]);
        }
    }

    #[test]
    fn every_change_of_a_host_and_every_exclusion_is_told_once() {
        let mut pool = Pool::new(Names::default());
        let offer = |name, domain, backend| Some(Offer::from(route(name, domain, backend)));
        let disabled = || {
            let excluded = Excluded {
                name: "b".into(),
                hosts: [host("a.example")].into(),
                reason: Reason::Disabled,
            };
            Some(Offer {
                outcome: Err(Arc::new(excluded)),
                ignored: Vec::new(),
            })
        };
        let default = Route {
            name: "d".into(),
            host: None,
            ..Route::clone(&route("d", "x.example", "d:1"))
        };
        let default = Offer::from(Arc::new(default));
        for (news, expected) in [
            (
                vec![("b", offer("b", "a.example", "b:1"))],
                &["added b a.example - b:1 -"][..],
            ),
            (
                vec![("b", offer("b", "a.example", "b:2"))],
                &["changed b a.example b:1 b:2 -"],
            ),
            (
                vec![("a", offer("a", "a.example", "a:1"))],
                &[
                    "changed a a.example b:2 a:1 -",
                    "excluded b a.example - - its domain a.example is taken by \"a\", first by name",
                ],
            ),
            (vec![("b", disabled())], &["excluded b - - - disabled"]),
            (vec![("b", disabled())], &[]),
            (vec![("a", None)], &["removed a a.example a:1 - -"]),
            (vec![("d", Some(default))], &["added d - - d:1 -"]),
            (vec![("d", None)], &["removed d - d:1 - -"]),
        ] {
            assert_eq!(told(&mut pool, news), expected);
        }
    }
}
