//! What a source says of one of its entries: a route, or why it is none.
//!
//! Pure.

use std::fmt;
use std::sync::Arc;

use super::Route;
use crate::host::Host;
use crate::shared_str::SharedStr;

/// Where routes come from; the earlier a source, the more its word counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provider {
    /// Flags, environment and configuration file.
    Configuration,
    /// The routes file, which the REST API writes; without one, the API's own.
    File,
    /// The table `servers`.
    Postgres,
    /// The labels of containers.
    Docker,
}

impl Provider {
    /// Every one of them, in the order of their preference.
    pub const ALL: [Self; 4] = [
        Self::Configuration,
        Self::File,
        Self::Postgres,
        Self::Docker,
    ];

    /// As the API calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::File => "file",
            Self::Postgres => "postgres",
            Self::Docker => "docker",
        }
    }

    /// The one that the API calls so.
    #[must_use]
    pub fn called(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|provider| provider.name() == name)
    }
}

/// Why an entry is no route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Somebody switched it off.
    Disabled,
    /// It has no name, or one that cannot be.
    Name(Box<str>),
    /// It has no host name.
    NoDomain,
    /// It has no address.
    NoAddress,
    /// A host name that cannot be.
    Domain(Box<str>),
    /// An address that cannot be.
    Address(Box<str>),
    /// A container that its labels do not lead to.
    Labels(Box<str>),
}

impl Reason {
    /// As the API calls it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Name(_) => "invalid_name",
            Self::NoDomain => "missing_domain",
            Self::NoAddress => "missing_address",
            Self::Domain(_) => "invalid_domain",
            Self::Address(_) => "invalid_address",
            Self::Labels(_) => "invalid_labels",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled => formatter.write_str("disabled"),
            Self::NoDomain => formatter.write_str("it has no domain"),
            Self::NoAddress => formatter.write_str("it has no address"),
            Self::Name(text) | Self::Domain(text) | Self::Address(text) | Self::Labels(text) => {
                formatter.write_str(text)
            }
        }
    }
}

/// An entry that is no route, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excluded {
    /// What its source calls it.
    pub name: SharedStr,
    /// The hosts it asks for, as far as they can be told, for whoever misses one of them.
    pub hosts: Box<[Host]>,
    /// Why it is no route, for whoever wrote it.
    pub reason: Reason,
}

/// A route, or why there is none.
pub type Outcome = Result<Arc<Route>, Arc<Excluded>>;

/// A setting of a route that is left at its default, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoredSetting {
    /// The column.
    pub column: &'static str,
    /// Why it is not honoured, for whoever wrote it.
    pub reason: String,
}

impl fmt::Display for IgnoredSetting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { column, reason } = self;
        write!(formatter, "{column} is left at its default: {reason}")
    }
}

/// What a source says of one of its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// A route, or why there is none.
    pub outcome: Outcome,
    /// Settings of the route that are not honoured.
    pub ignored: Vec<IgnoredSetting>,
}

/// What the source calls the entry that came to `outcome`.
#[must_use]
pub fn name(outcome: &Outcome) -> &SharedStr {
    match outcome {
        Ok(route) => &route.name,
        Err(excluded) => &excluded.name,
    }
}

impl From<Arc<Route>> for Offer {
    fn from(route: Arc<Route>) -> Self {
        Self {
            outcome: Ok(route),
            ignored: Vec::new(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::row::{Row, offers};
    use super::*;
    use crate::addr::BackendAddr;
    use crate::host::Names;

    pub(crate) fn host(text: &str) -> Host {
        Host::parse(text).unwrap()
    }

    /// A route of Postgres.
    pub(crate) fn route(name: &str, domain: &str, backend: &str) -> Arc<Route> {
        let backend = BackendAddr::template(backend, 9).unwrap();
        Arc::new(Route {
            provider: Provider::Postgres,
            managed: true,
            ..Route::fixed(Some(host(domain)), backend, Arc::default()).named(name)
        })
    }

    /// The route of a row, whose `address` may list several backends.
    pub(crate) fn listed(name: &str, domain: &str, address: &str) -> Arc<Route> {
        let row = Row {
            name: Some(name.to_owned()),
            domain: Some(domain.to_owned()),
            address: Some(address.to_owned()),
            ..Row::default()
        };
        let offers = offers(vec![row], &Arc::default(), Names::default());
        offers.into_iter().next().unwrap().outcome.unwrap()
    }
}
