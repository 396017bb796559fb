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

    /// What is remembered of it goes by this.
    #[must_use]
    pub fn key(&self) -> Arc<str> {
        Arc::clone(&self.key)
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
    /// What its source calls it, once; for most the host, for rows their name.
    pub name: Arc<str>,
    /// Where it comes from.
    pub provider: Provider,
    /// The host name or pattern, cleaned up; `None` for the default route.
    pub host: Option<Host>,
    /// Further host names and patterns that lead here.
    pub aliases: Box<[Host]>,
    /// Where its server listens; of several backends the first.
    pub backend: BackendAddr,
    /// All of them, where there are several.
    pub backends: Option<Arc<Backends>>,
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
    /// A route that somebody configured, without a name for a server-manager; of no host, the default.
    #[must_use]
    pub fn fixed(host: Option<Host>, backend: BackendAddr, policy: Arc<Policy>) -> Self {
        Self {
            name: host.as_ref().map_or_else(|| Arc::from(""), Host::shared),
            provider: Provider::Configuration,
            host,
            aliases: Box::default(),
            backend,
            backends: None,
            server: None,
            container: None,
            state: StateHint::Unknown,
            policy,
        }
    }

    /// What is remembered of its server goes by this: the container's or server's name, else the
    /// host, else the backend. Copies nothing.
    #[must_use]
    pub fn key(&self) -> Arc<str> {
        if let Some(container) = &self.container {
            return container.key();
        }
        match (&self.server, &self.host) {
            (Some(server), _) => Arc::clone(server),
            (None, Some(host)) => host.shared(),
            (None, None) => self.backend.shared(),
        }
    }

    /// Every backend, the first one first.
    pub fn addresses(&self) -> impl Iterator<Item = &BackendAddr> {
        let all = self.backends.iter().flat_map(|backends| backends.list());
        let others = all.skip(1).map(|other| &other.address);
        [&self.backend].into_iter().chain(others)
    }

    /// Where it leads, as its source has it.
    #[must_use]
    pub fn leads_to(&self) -> String {
        match &self.backends {
            Some(backends) => backends.to_string(),
            None => self.backend.to_string(),
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
    pub fn server_name(&self) -> Option<&str> {
        let container = self.container.as_ref().map(|container| container.name());
        container.or(self.server.as_deref())
    }

    /// Every host and pattern that leads here; `None` stands for those that nobody has.
    pub fn hosts(&self) -> impl Iterator<Item = Option<&Host>> {
        let aliases = self.aliases.iter().map(Some);
        [self.host.as_ref()].into_iter().chain(aliases)
    }
}
