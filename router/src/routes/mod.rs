//! Which backend a host name leads to.

pub mod diff;
pub mod file;
pub mod file_keeper;
pub mod file_watch;
pub mod overrides;
pub mod policy;
pub mod registry;
pub mod row;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::addr::BackendAddr;
use crate::host::{Host, Names};
use policy::Policy;

/// What the table says of a server; a hint, since only a dial knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StateHint {
    /// Said to run.
    Running,
    /// Said to be on its way up.
    Starting,
    /// Said to be on its way down.
    Stopping,
    /// Said not to run.
    Stopped,
    /// Said to have ended by itself.
    Failed,
    /// Nothing said, or nothing known.
    #[default]
    Unknown,
}

impl StateHint {
    /// Reads the `state` column; case and spaces do not matter, unknown words say nothing.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.trim().to_ascii_lowercase().as_str() {
            "running" | "online" | "up" => Self::Running,
            "starting" | "booting" | "loading" => Self::Starting,
            "stopping" => Self::Stopping,
            "stopped" | "asleep" | "sleeping" | "offline" | "down" | "exited" => Self::Stopped,
            "crashed" | "failed" | "error" => Self::Failed,
            _ => Self::Unknown,
        }
    }

    /// Whether a dial is not worth waiting for.
    #[must_use]
    pub fn is_not_running(self) -> bool {
        !matches!(self, Self::Running | Self::Unknown)
    }
}

/// A container that a route leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    key: Arc<str>,
    /// Whether it may be started.
    pub up: bool,
    /// Whether it may be stopped.
    pub down: bool,
    /// How long it may take to start, if it says so itself.
    pub wait: Option<Duration>,
}

impl Container {
    /// What comes before the name in the key: no server-manager's name and no host begins like this.
    const PREFIX: &str = "docker/";

    /// The container of this name.
    #[must_use]
    pub fn new(name: &str, up: bool, down: bool, wait: Option<Duration>) -> Self {
        let key = format!("{}{name}", Self::PREFIX).into();
        Self {
            key,
            up,
            down,
            wait,
        }
    }

    /// What the engine calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        Self::name_of(&self.key)
    }

    /// The name in a [`Route::key`] of a container.
    #[must_use]
    pub fn name_of(key: &str) -> &str {
        key.strip_prefix(Self::PREFIX).unwrap_or(key)
    }
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The host name, cleaned up; `None` for the default route.
    pub host: Option<Host>,
    /// Where its server listens.
    pub backend: BackendAddr,
    /// What the server-manager calls the server; `None` when it cannot be woken.
    pub server: Option<Arc<str>>,
    /// The container that it comes from, if it does.
    pub container: Option<Arc<Container>>,
    /// What the table says of it.
    pub state: StateHint,
    /// What becomes of players while it is not ready.
    pub policy: Arc<Policy>,
}

impl Route {
    /// What is remembered of its server goes by this: the container's or server's name, else the
    /// host, else the backend. Copies nothing.
    #[must_use]
    pub fn key(&self) -> Arc<str> {
        if let Some(container) = &self.container {
            return Arc::clone(&container.key);
        }
        match (&self.server, &self.host) {
            (Some(server), _) => Arc::clone(server),
            (None, Some(host)) => host.shared(),
            (None, None) => self.backend.shared(),
        }
    }

    /// The same for a moment.
    #[must_use]
    pub fn key_str(&self) -> &str {
        let container = self.container.as_ref().map(|container| &*container.key);
        let host = self.host.as_ref().map(Host::as_str);
        let name = container.or(self.server.as_deref()).or(host);
        name.unwrap_or(self.backend.as_str())
    }

    /// What its server is called, where that is not the host.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        let container = self.container.as_ref().map(|container| container.name());
        container.or(self.server.as_deref())
    }
}

/// An immutable set of routes, as one connection sees it.
#[derive(Debug, Clone, Default)]
pub struct Table {
    hosts: HashMap<Host, Arc<Route>>,
    default: Option<Arc<Route>>,
    names: Names,
}

impl Table {
    /// The route for a server address as a client sent it: an exact host, else the default.
    #[must_use]
    pub fn lookup(&self, address: &str) -> Option<&Arc<Route>> {
        let found = self.names.look_up(address, |host| self.hosts.get(host));
        found.or(self.default.as_ref())
    }

    /// The route of this very host, cleaned up.
    #[must_use]
    pub fn get(&self, host: &str) -> Option<&Arc<Route>> {
        self.hosts.get(host)
    }

    /// The route of clients that name no host.
    #[must_use]
    pub fn default_route(&self) -> Option<&Arc<Route>> {
        self.default.as_ref()
    }

    /// Every route with a host, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Host, &Arc<Route>)> {
        self.hosts.iter()
    }
}
