//! Which backend a host name leads to.

pub mod backends;
pub mod changes;
pub mod diff;
pub mod file;
pub mod file_keeper;
pub mod file_watch;
pub mod offer;
pub mod overrides;
pub mod policy;
pub mod pool;
pub mod registry;
pub mod row;
pub mod table;
pub mod wildcard;

use std::sync::Arc;

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
            state: StateHint::Unknown,
            policy,
        }
    }

    /// What is remembered of its server goes by this: the server's name, else the host, else the
    /// backend. Copies nothing.
    #[must_use]
    pub fn key(&self) -> Arc<str> {
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

    /// Every host and pattern that leads here; `None` stands for those that nobody has.
    pub fn hosts(&self) -> impl Iterator<Item = Option<&Host>> {
        let aliases = self.aliases.iter().map(Some);
        [self.host.as_ref()].into_iter().chain(aliases)
    }
}
