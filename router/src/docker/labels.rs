//! What the labels of containers say: which hosts lead to one, where it listens, and whether it may be
//! started and stopped.
//!
//! Pure. The labels are mc-router's. A container that cannot be routed is set aside with the reason; a
//! label that cannot be honoured, and that the route can do without, is left at its default and told.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use crate::addr::BackendAddr;
use crate::config::values::{duration, number, switch};
use crate::host::{Host, Names};
use crate::routes::offer::{Excluded, IgnoredSetting, Offer, Provider, Reason};
use crate::routes::policy::Policy;
use crate::routes::wildcard::stars;
use crate::routes::{Container, Route, StateHint};
use crate::texts::template::Template;
use crate::texts::{Text, Texts};

/// The label without which a container is no server of ours.
pub const HOST: &str = "mc-router.host";
const PORT: &str = "mc-router.port";
const NETWORK: &str = "mc-router.network";
const DEFAULT: &str = "mc-router.default";
const UP: &str = "mc-router.auto-scale-up";
const DOWN: &str = "mc-router.auto-scale-down";
const WAIT: &str = "mc-router.auto-scale-wait-timeout";
/// Labels that are texts.
const TEXTS: [(&str, Text); 3] = [
    ("mc-router.auto-scale-asleep-motd", Text::Asleep),
    ("mc-router.auto-scale-loading-motd", Text::Starting),
    ("mc-router.auto-scale-failed-motd", Text::Failed),
];
/// Means something in Swarm alone.
const RESTART_DELAY: &str = "mc-router.auto-scale-restart-delay-motd";
/// What all of them begin with.
const PREFIX: &str = "mc-router.";
/// What the route of hosts that nobody has is called, after its container's.
const OF_DEFAULT: &str = "/default";
/// Where Minecraft listens.
const DEFAULT_PORT: u16 = 25565;
/// Most host names of one container.
pub const HOSTS_MAX: usize = 100;
/// Most wrong ones of those that are told.
const WRONG_HOSTS_MAX: usize = 10;
/// Most containers with a label, of those that come first by name.
pub const CONTAINERS_MAX: usize = 10_000;
/// Longest name of a container, in bytes.
const NAME_BYTES_MAX: usize = 255;
/// How long a container may be said to take to start.
const WAIT_BOUNDS: (Duration, Duration) =
    (Duration::from_millis(10), Duration::from_secs(24 * 60 * 60));
/// Longest piece of a label that is quoted, in characters.
const QUOTED_CHARS_MAX: usize = 200;
/// Shortest piece of an identifier that names a network.
const ID_CHARS_MIN: usize = 12;

/// How a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Life {
    /// Its process runs.
    Running,
    /// Its process is there, and stands still.
    Paused,
    /// It ended, and the engine starts it again.
    Restarting,
    /// It does not run: it never did, or has ended.
    Stopped,
    /// It is on its way down.
    Stopping,
    /// It is being removed, is beyond rescue, or nothing is known.
    #[default]
    Gone,
}

/// One network that a container is in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Its identifier.
    pub id: String,
    /// What the container is called there.
    pub aliases: Vec<String>,
    /// The container's address there, empty while it does not run.
    pub ipv4: String,
    /// The same for IPv6.
    pub ipv6: String,
}

/// What the engine says of one container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// Its name, without a slash before it.
    pub name: String,
    /// Its labels.
    pub labels: HashMap<String, String>,
    /// How it is.
    pub life: Life,
    /// Its networks.
    pub networks: Vec<Network>,
    /// The TCP ports that it exposes, as far as they are told.
    pub ports: Vec<u16>,
}

/// What stands for containers whose labels do not say otherwise.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// Whether they may be started.
    pub up: bool,
    /// Whether they may be stopped.
    pub down: bool,
    /// How host names are read.
    pub names: Names,
    /// What becomes of players.
    pub policy: Arc<Policy>,
}

/// What all `containers` have to offer; those that are no servers of ours, and those that are not up and may
/// not be started, nothing. Over [`CONTAINERS_MAX`] the rest is left out.
#[must_use]
pub fn offers(mut containers: Vec<Seen>, defaults: &Defaults) -> Vec<Offer> {
    containers.sort_by(|a, b| a.name.cmp(&b.name));
    containers.truncate(CONTAINERS_MAX);
    let offered = containers.iter().flat_map(|seen| seen.offers(defaults));
    offered.collect()
}

/// A label that is not honoured, and why.
fn ignored(label: &'static str, reason: impl Into<String>) -> IgnoredSetting {
    let reason = reason.into();
    let column = label;
    IgnoredSetting { column, reason }
}

impl Seen {
    /// One route by its hosts, and one for hosts that nobody has, if it is to be that.
    fn offers(&self, defaults: &Defaults) -> Vec<Offer> {
        let mut ignored = Vec::new();
        let (hosts, is_default, route) = match self.labelled(defaults, &mut ignored) {
            Ok(Some(labelled)) => labelled,
            Ok(None) => return Vec::new(),
            Err(reason) => {
                let name = Container::new(&self.name, false, false, None).key();
                let reason = Reason::Labels(reason.into());
                let hosts = self.label(HOST).unwrap_or_default();
                let hosts = host_names(hosts, defaults.names, &mut Vec::new()).into();
                let excluded = Excluded {
                    name,
                    hosts,
                    reason,
                };
                let outcome = Err(Arc::new(excluded));
                return vec![Offer { outcome, ignored }];
            }
        };
        let mut routes = Vec::new();
        if is_default {
            routes.push(Route {
                name: format!("{}{OF_DEFAULT}", route.name).into(),
                ..route.clone()
            });
        }
        if let Some((first, others)) = hosts.split_first() {
            let route = Route {
                host: Some(first.clone()),
                ..route
            };
            routes.push(route.with_aliases(others.into()));
        }
        let offer = |route| Offer::from(Arc::new(route));
        let mut offers: Vec<_> = routes.into_iter().map(offer).collect();
        if let Some(last) = offers.last_mut() {
            last.ignored = ignored;
        }
        offers
    }

    /// Its hosts, whether it is the default, and its route without a host. `None` for a container that
    /// is no server of ours, or that is not up and may not be started.
    fn labelled(
        &self,
        defaults: &Defaults,
        wrong: &mut Vec<IgnoredSetting>,
    ) -> Result<Option<(Vec<Host>, bool, Route)>, String> {
        let Some(hosts) = self.label(HOST) else {
            return Ok(None);
        };
        if self.name.is_empty() || self.name.len() > NAME_BYTES_MAX {
            return Err("it has no name, or too long a one".to_owned());
        }
        let hosts = host_names(hosts, defaults.names, wrong);
        let is_default = self.switch(DEFAULT, false, wrong);
        if hosts.is_empty() && !is_default {
            return Err(format!("{HOST} has no usable host name"));
        }
        let up = self.switch(UP, defaults.up, wrong);
        let down = self.switch(DOWN, defaults.down, wrong);
        let state = match self.life {
            Life::Running => StateHint::Running,
            Life::Stopping => StateHint::Stopping,
            Life::Restarting => StateHint::Starting,
            Life::Paused | Life::Stopped => StateHint::Stopped,
            Life::Gone => return Ok(None),
        };
        if state != StateHint::Running && !up {
            return Ok(None);
        }
        self.tell_unknown(wrong);
        let backend = match self.address()? {
            Some(address) => address,
            None if state == StateHint::Running => {
                return Err("it has no address in its network".to_owned());
            }
            // The engine's own name server knows the name once it runs.
            None => self.backend(&self.name)?,
        };
        let wait = self.parsed(WAIT, wrong, |text| {
            let (least, most) = WAIT_BOUNDS;
            duration(text, least, most)
        });
        let container = Container::new(&self.name, up, down, wait);
        let policy = self.policy(&defaults.policy, wrong);
        let route = Route {
            name: container.key(),
            provider: Provider::Docker,
            state,
            ..Route::fixed(None, backend, policy)
        };
        Ok(Some((hosts, is_default, route.with_container(container))))
    }

    /// Where the container is reached now; `None` while it has no address.
    ///
    /// # Errors
    /// Its labels do not say which of several networks or ports, or say one that it does not have.
    pub fn address(&self) -> Result<Option<BackendAddr>, String> {
        let network = self.network()?;
        let v4 = network.ipv4.parse::<Ipv4Addr>();
        let v4 = v4.ok().filter(|address| !address.is_unspecified());
        let v6 = network.ipv6.parse::<Ipv6Addr>();
        let v6 = v6.ok().filter(|address| !address.is_unspecified());
        match (v4, v6) {
            (Some(address), _) => self.backend(&address.to_string()).map(Some),
            (None, Some(address)) => self.backend(&format!("[{address}]")).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// Whether its label names a network by what only a closer look shows.
    #[must_use]
    pub fn lacks_aliases(&self) -> bool {
        let wanted = self.label(NETWORK).map(str::trim).unwrap_or_default();
        let named = |network: &Network| network.name == wanted || network.is(wanted);
        !wanted.is_empty() && !self.networks.iter().any(named)
    }

    /// The network that the label names, by name, identifier or alias; without one, the only one.
    fn network(&self) -> Result<&Network, String> {
        let names = || {
            let mut names: Vec<_> = self
                .networks
                .iter()
                .map(|network| quoted(&network.name))
                .collect();
            names.sort();
            names.truncate(QUOTED_CHARS_MAX / 10);
            names.join(", ")
        };
        match (self.label(NETWORK).map(str::trim), self.networks.as_slice()) {
            (Some(wanted), networks) if !wanted.is_empty() => {
                let by_name = networks.iter().find(|network| network.name == wanted);
                let found = by_name.or_else(|| networks.iter().find(|network| network.is(wanted)));
                found.ok_or_else(|| {
                    format!(
                        "it is not in the network {} that {NETWORK} names, but in {}",
                        quoted(wanted),
                        names()
                    )
                })
            }
            (_, [only]) if ["host", "none"].contains(&only.name.as_str()) => Err(format!(
                "in the network {} it has no address of its own",
                only.name
            )),
            (_, [only]) => Ok(only),
            (_, []) => Err("it is in no network".to_owned()),
            (_, _) => Err(format!(
                "it is in several networks ({}), and no label {NETWORK} says which",
                names()
            )),
        }
    }

    /// The label's; else Minecraft's, unless the one port that it exposes is another.
    fn port(&self) -> Result<u16, String> {
        if let Some(text) = self.label(PORT).map(str::trim)
            && !text.is_empty()
        {
            let port = number(text, 1, u16::MAX);
            return port.map_err(|_| format!("{PORT} {} is no port", quoted(text)));
        }
        let mut others = self.ports.iter().filter(|port| **port != DEFAULT_PORT);
        match (self.ports.contains(&DEFAULT_PORT), others.next()) {
            (false, Some(only)) if others.all(|port| port == only) => Ok(*only),
            _ => Ok(DEFAULT_PORT),
        }
    }

    fn backend(&self, host: &str) -> Result<BackendAddr, String> {
        let address = format!("{host}:{}", self.port()?);
        BackendAddr::parse(&address).map_err(|error| error.to_string())
    }

    fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }

    fn switch(&self, label: &'static str, default: bool, wrong: &mut Vec<IgnoredSetting>) -> bool {
        self.parsed(label, wrong, switch).unwrap_or(default)
    }

    /// The value of a label that the route can do without.
    fn parsed<T>(
        &self,
        label: &'static str,
        wrong: &mut Vec<IgnoredSetting>,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.label(label).filter(|text| !text.trim().is_empty())?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(reason) => {
                let reason: String = reason.chars().take(QUOTED_CHARS_MAX).collect();
                wrong.push(ignored(label, reason));
                None
            }
        }
    }

    /// The policy of all, with the texts that labels say over its own.
    fn policy(&self, defaults: &Arc<Policy>, wrong: &mut Vec<IgnoredSetting>) -> Arc<Policy> {
        let mut own = Texts::default();
        for (label, text) in TEXTS {
            let template = self.parsed(label, wrong, |text| {
                // mc-router's name for the time that is left.
                let text = text.replace("\\n", "\n").replace("{duration}", "{eta}");
                Template::lenient(&text).map_err(|error| error.to_string())
            });
            if let Some(template) = template {
                own = own.with(text, template);
            }
        }
        if own == Texts::default() {
            return Arc::clone(defaults);
        }
        Arc::new(Policy {
            texts: Arc::new(own.over(Arc::clone(&defaults.texts))),
            ..Policy::clone(defaults)
        })
    }

    /// A name that is written wrong would have no effect and nobody would know.
    fn tell_unknown(&self, wrong: &mut Vec<IgnoredSetting>) {
        let known = [HOST, PORT, NETWORK, DEFAULT, UP, DOWN, WAIT, RESTART_DELAY];
        let is_known = |label: &&String| {
            known.contains(&label.as_str()) || TEXTS.iter().any(|(text, _)| text == label)
        };
        let ours = self.labels.keys().filter(|label| label.starts_with(PREFIX));
        let mut unknown: Vec<_> = ours.filter(|label| !is_known(label)).collect();
        unknown.sort_unstable();
        if let Some(first) = unknown.first() {
            let more = match unknown.len() - 1 {
                0 => String::new(),
                more => format!(", and {more} more"),
            };
            let reason = format!("there is no label {}{more}", quoted(first));
            wrong.push(ignored("mc-router", reason));
        }
    }
}

impl Network {
    fn is(&self, wanted: &str) -> bool {
        let by_id = wanted.len() >= ID_CHARS_MIN && self.id.starts_with(wanted);
        by_id || self.aliases.iter().any(|alias| alias == wanted)
    }
}

/// The host names and patterns of a list with commas or line ends.
fn host_names(text: &str, names: Names, wrong: &mut Vec<IgnoredSetting>) -> Vec<Host> {
    let mut hosts = Vec::new();
    let items = text.split([',', '\n']).map(str::trim);
    for item in items.filter(|item| !item.is_empty()) {
        if hosts.len() >= HOSTS_MAX {
            wrong.push(ignored(HOST, format!("over {HOSTS_MAX} names")));
            break;
        }
        match names.parse(item) {
            Ok(host) if hosts.contains(&host) => {}
            Ok(host) if stars(&host).is_ok() => hosts.push(host),
            _ if wrong.len() >= WRONG_HOSTS_MAX => {}
            _ => wrong.push(ignored(HOST, format!("{} is no host name", quoted(item)))),
        }
    }
    hosts
}

fn quoted(text: &str) -> String {
    format!(
        "{:?}",
        text.chars().take(QUOTED_CHARS_MAX).collect::<String>()
    )
}

#[cfg(test)]
#[path = "labels_tests.rs"]
mod tests;
