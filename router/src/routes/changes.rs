//! What a change of the routes comes to, in the terms of whoever hears of it.
//!
//! Pure.

use std::fmt;
use std::sync::Arc;

use super::Route;
use super::diff::Change;
use super::offer::{Excluded, IgnoredSetting};
use crate::host::Host;
use crate::shared_str::SharedStr;

/// What changed of the routes in force.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// By host, in their order.
    pub hosts: Vec<Change<Host, Arc<Route>>>,
    /// The default before and since; none twice if it did not change.
    pub default_routes: (Option<Arc<Route>>, Option<Arc<Route>>),
    /// Routes that are in force now, and were not, or not like this.
    pub come: Vec<Arc<Route>>,
    /// Routes that were in force, and whose server no route in force leads to by that name any more.
    pub gone: Vec<Arc<Route>>,
    /// Entries that are no routes, and were, or for another reason.
    pub excluded: Vec<Arc<Excluded>>,
    /// Routes that lost a host, or never got it, and whose it is instead.
    pub shadowed: Vec<Shadowed>,
    /// Settings that are not honoured, and were, or were not there; by their routes' names.
    pub ignored: Vec<(SharedStr, IgnoredSetting)>,
}

/// A host that one route wants and another has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shadowed {
    /// The host; `None` is the default.
    pub host: Option<Host>,
    /// Who wants it.
    pub loser: Arc<Route>,
    /// Who has it.
    pub winner: Arc<Route>,
}

impl fmt::Display for Shadowed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) => write!(formatter, "its domain {host} is ")?,
            None => formatter.write_str("the default is ")?,
        }
        let Route { name, provider, .. } = &*self.winner;
        if *provider == self.loser.provider {
            write!(formatter, "taken by {name:?}, first by name")
        } else {
            write!(
                formatter,
                "routed by {}, which comes first",
                provider.name()
            )
        }
    }
}

impl Changes {
    /// Whether the default changed.
    #[must_use]
    pub fn default_changed(&self) -> bool {
        let (old, new) = &self.default_routes;
        old != new
    }

    /// Whether nothing changed for anybody who connects.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty() && !self.default_changed()
    }
}

/// How many entries a source has, and of what kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Routes with at least one host in force.
    pub active: usize,
    /// Routes of which every host is another's.
    pub shadowed: usize,
    /// Entries that are no routes.
    pub excluded: usize,
}
