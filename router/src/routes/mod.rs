//! Which backend a host name leads to.

pub mod backends;
pub mod changes;
pub mod diff;
pub mod file;
pub mod file_keeper;
pub mod file_watch;
pub mod history;
pub mod offer;
pub mod overrides;
pub mod policy;
pub mod pool;
pub mod registry;
pub mod row;
pub mod table;
pub mod wildcard;

use std::sync::Arc;
use std::time::Duration;

use crate::addr::BackendAddr;
use crate::host::Host;
use crate::shared_str::{SharedStr, joined};
use backends::Backends;
use offer::Provider;
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
    key: SharedStr,
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

    /// What is remembered of it goes by this.
    #[must_use]
    pub fn key(&self) -> SharedStr {
        self.key.clone()
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

/// One route. There may be as many as rows, so what few of them have is kept apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// What its source calls it, once; for most the host, for rows their name.
    pub name: SharedStr,
    /// The host name or pattern, cleaned up; `None` for the default route.
    pub host: Option<Host>,
    /// Where its server listens; of several backends the first.
    pub backend: BackendAddr,
    /// What becomes of players while it is not ready.
    pub policy: Arc<Policy>,
    /// What few routes have.
    pub more: Option<Box<More>>,
    /// Where it comes from.
    pub provider: Provider,
    /// What the table says of it.
    pub state: StateHint,
    /// Whether a server-manager knows the server, by the name of the route.
    pub managed: bool,
}

/// What few routes have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct More {
    /// Further host names and patterns that lead there.
    pub aliases: Box<[Host]>,
    /// All backends, where there are several.
    pub backends: Option<Arc<Backends>>,
    /// The container that it comes from, if it does.
    pub container: Option<Container>,
}

impl Route {
    /// A route that somebody configured, without a name for a server-manager; of no host, the default.
    #[must_use]
    pub fn fixed(host: Option<Host>, backend: BackendAddr, policy: Arc<Policy>) -> Self {
        Self {
            name: host.as_ref().map_or_else(SharedStr::new, Host::shared),
            host,
            backend,
            policy,
            more: None,
            provider: Provider::Configuration,
            state: StateHint::Unknown,
            managed: false,
        }
    }

    /// The same, called `name` by its source; all of its texts are in one piece of memory.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        let host = self.host.as_ref().map_or("", Host::as_str);
        let [name, host, backend] = joined([name, host, self.backend.as_str()]);
        self.name = name;
        self.host = self.host.map(|old| old.in_place(host));
        self.backend = self.backend.in_place(backend);
        self
    }

    /// The same with further host names and patterns.
    #[must_use]
    pub fn with_aliases(mut self, aliases: Box<[Host]>) -> Self {
        if !aliases.is_empty() {
            self.more.get_or_insert_default().aliases = aliases;
        }
        self
    }

    /// The same with several backends, if there are.
    #[must_use]
    pub fn with_backends(mut self, backends: Option<Arc<Backends>>) -> Self {
        if backends.is_some() {
            self.more.get_or_insert_default().backends = backends;
        }
        self
    }

    /// The same, of a container.
    #[must_use]
    pub fn with_container(mut self, container: Container) -> Self {
        self.more.get_or_insert_default().container = Some(container);
        self
    }

    /// Further host names and patterns that lead here.
    #[must_use]
    pub fn aliases(&self) -> &[Host] {
        self.more.as_ref().map_or(&[], |more| &more.aliases)
    }

    /// All backends, where there are several.
    #[must_use]
    pub fn backends(&self) -> Option<&Arc<Backends>> {
        self.more.as_ref()?.backends.as_ref()
    }

    /// The container that it comes from, if it does.
    #[must_use]
    pub fn container(&self) -> Option<&Container> {
        self.more.as_ref()?.container.as_ref()
    }

    /// What the server-manager calls the server; `None` when it cannot be woken by one.
    #[must_use]
    pub fn server(&self) -> Option<&SharedStr> {
        self.managed.then_some(&self.name)
    }

    /// What is remembered of its server goes by this: the container's or server's name, else the
    /// host, else the backend. Copies nothing.
    #[must_use]
    pub fn key(&self) -> SharedStr {
        if let Some(container) = self.container() {
            return container.key();
        }
        match (self.server(), &self.host) {
            (Some(server), _) => server.clone(),
            (None, Some(host)) => host.shared(),
            (None, None) => self.backend.shared(),
        }
    }

    /// Every backend, the first one first.
    pub fn addresses(&self) -> impl Iterator<Item = &BackendAddr> {
        let all = self.backends().into_iter();
        let all = all.flat_map(|backends| backends.list());
        let others = all.skip(1).map(|other| &other.address);
        [&self.backend].into_iter().chain(others)
    }

    /// Where it leads, as its source has it.
    #[must_use]
    pub fn leads_to(&self) -> String {
        match self.backends() {
            Some(backends) => backends.to_string(),
            None => self.backend.to_string(),
        }
    }

    /// The key for a moment.
    #[must_use]
    pub fn key_str(&self) -> &str {
        let container = self.container().map(|container| &*container.key);
        let server = self.server().map(SharedStr::as_str);
        let host = self.host.as_ref().map(Host::as_str);
        let name = container.or(server).or(host);
        name.unwrap_or(self.backend.as_str())
    }

    /// What its server is called, where that is not the host.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        let container = self.container().map(Container::name);
        container.or_else(|| self.server().map(SharedStr::as_str))
    }

    /// Every host and pattern that leads here; `None` stands for those that nobody has.
    pub fn hosts(&self) -> impl Iterator<Item = Option<&Host>> {
        let aliases = self.aliases().iter().map(Some);
        [self.host.as_ref()].into_iter().chain(aliases)
    }
}
