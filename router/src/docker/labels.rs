//! What the labels of containers say: which hosts lead to one, where it listens, and whether it may be
//! started and stopped.
//!
//! Pure. The labels are mc-router's. A container that cannot be routed is set aside with the reason; a
//! label that cannot be honoured, and that the route can do without, is left at its default and told.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use crate::addr::BackendAddr;
use crate::config::values::{duration, number, switch};
use crate::host::{Host, Names};
use crate::routes::policy::Policy;
use crate::routes::{Container, Route, StateHint};
use crate::texts::template::Template;
use crate::texts::{Text, Texts};

/// The label without which a container is no server of ours.
pub const HOST: &str = "mc-router.host";
/// What all labels begin with.
const PREFIX: &str = "mc-router.";
/// Where Minecraft listens.
const DEFAULT_PORT: u16 = 25565;
/// Most host names of one container.
pub const HOSTS_MAX: usize = 100;
/// Most containers with a label, of those that come first by name.
pub const CONTAINERS_MAX: usize = 10_000;
/// Most problems that are told of all together.
pub const PROBLEMS_MAX: usize = 1_000;
/// Longest name of a container, in bytes.
const NAME_BYTES_MAX: usize = 255;
/// How long a container may be said to take to start.
const WAIT_BOUNDS: (Duration, Duration) =
    (Duration::from_millis(10), Duration::from_secs(24 * 60 * 60));
/// Longest piece of a label that is quoted, in characters.
const QUOTED_CHARS_MAX: usize = 200;
/// Shortest piece of an identifier that names a network.
const ID_CHARS_MIN: usize = 12;

/// Every label there is; the one for a delay of restarts means something in Swarm alone.
const KNOWN: &[&str] = &[
    "host",
    "port",
    "default",
    "network",
    "auto-scale-up",
    "auto-scale-down",
    "auto-scale-asleep-motd",
    "auto-scale-loading-motd",
    "auto-scale-failed-motd",
    "auto-scale-restart-delay-motd",
    "auto-scale-wait-timeout",
];

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

/// The routes that containers make.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// By host.
    pub routes: BTreeMap<Host, Arc<Route>>,
    /// Of hosts without a route.
    pub default: Option<Arc<Route>>,
    /// What is wrong, a sentence each: of containers that are not routed, and of labels.
    pub problems: Vec<String>,
}

impl Selection {
    /// The routes of all `containers`; of two for one host the first by name wins.
    #[must_use]
    pub fn of(mut containers: Vec<Seen>, defaults: &Defaults) -> Self {
        let mut selection = Self::default();
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        if containers.len() > CONTAINERS_MAX {
            let problem =
                format!("there are more than {CONTAINERS_MAX} containers; the rest is not routed");
            selection.problems.push(problem);
            containers.truncate(CONTAINERS_MAX);
        }
        for seen in &containers {
            let mut problems = Vec::new();
            match Labelled::of(seen, defaults, &mut problems) {
                Ok(Some(labelled)) => selection.add(labelled, &mut problems),
                Ok(None) => {}
                Err(reason) => problems.push(format!("it is not routed: {reason}")),
            }
            let name = quoted(&seen.name);
            let told = problems
                .into_iter()
                .map(|problem| format!("container {name}: {problem}"));
            selection.problems.extend(told);
        }
        selection.problems.truncate(PROBLEMS_MAX);
        selection
    }

    fn add(&mut self, labelled: Labelled, problems: &mut Vec<String>) {
        let Labelled {
            hosts,
            is_default,
            route,
        } = labelled;
        let name = |route: &Route| {
            route
                .container
                .as_ref()
                .map_or("", |own| own.name())
                .to_owned()
        };
        for host in hosts {
            match self.routes.entry(host) {
                Entry::Vacant(free) => {
                    let host = Some(free.key().clone());
                    free.insert(Arc::new(Route {
                        host,
                        ..route.clone()
                    }));
                }
                Entry::Occupied(taken) => {
                    let (host, winner) = (taken.key(), name(taken.get()));
                    problems.push(format!(
                        "its host {host} is taken by {winner:?}, first by name"
                    ));
                }
            }
        }
        match &self.default {
            None if is_default => self.default = Some(Arc::new(route)),
            Some(winner) if is_default => {
                let winner = name(winner);
                problems.push(format!(
                    "the default route is taken by {winner:?}, first by name"
                ));
            }
            _ => {}
        }
    }
}

/// What one container's labels come to.
struct Labelled {
    hosts: Vec<Host>,
    is_default: bool,
    /// Without a host.
    route: Route,
}

impl Labelled {
    /// `None` for a container that is no server of ours, or that is not up and may not be started.
    fn of(
        seen: &Seen,
        defaults: &Defaults,
        problems: &mut Vec<String>,
    ) -> Result<Option<Self>, String> {
        let Some(hosts) = seen.label("host") else {
            return Ok(None);
        };
        if seen.name.is_empty() || seen.name.len() > NAME_BYTES_MAX {
            return Err("it has no name, or too long a one".to_owned());
        }
        let hosts = host_names(hosts, defaults.names, problems);
        let is_default = seen.switch("default", false, problems);
        if hosts.is_empty() && !is_default {
            return Err(format!("{HOST} has no usable host name"));
        }
        let up = seen.switch("auto-scale-up", defaults.up, problems);
        let down = seen.switch("auto-scale-down", defaults.down, problems);
        let state = match seen.life {
            Life::Running => StateHint::Running,
            Life::Stopping => StateHint::Stopping,
            Life::Restarting => StateHint::Starting,
            Life::Paused | Life::Stopped => StateHint::Stopped,
            Life::Gone => return Ok(None),
        };
        if state != StateHint::Running && !up {
            return Ok(None);
        }
        seen.tell_unknown(problems);
        let backend = match seen.address() {
            Ok(Some(address)) => address,
            Ok(None) if state == StateHint::Running => {
                return Err("it has no address in its network".to_owned());
            }
            // The engine's own name server knows the name once it runs.
            Ok(None) => seen.backend(&seen.name)?,
            Err(reason) => return Err(reason),
        };
        let wait = seen.parsed("auto-scale-wait-timeout", problems, |text| {
            let (least, most) = WAIT_BOUNDS;
            duration(text, least, most)
        });
        let container = Container::new(&seen.name, up, down, wait);
        Ok(Some(Self {
            hosts,
            is_default,
            route: Route {
                host: None,
                backend,
                server: None,
                container: Some(Arc::new(container)),
                state,
                policy: seen.policy(&defaults.policy, problems),
            },
        }))
    }
}

impl Seen {
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
        let wanted = self.label("network").map(str::trim).unwrap_or_default();
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
        match (
            self.label("network").map(str::trim),
            self.networks.as_slice(),
        ) {
            (Some(wanted), networks) if !wanted.is_empty() => {
                let by_name = networks.iter().find(|network| network.name == wanted);
                let found = by_name.or_else(|| networks.iter().find(|network| network.is(wanted)));
                found.ok_or_else(|| {
                    format!(
                        "it is not in the network {} that {PREFIX}network names, but in {}",
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
                "it is in several networks ({}), and no label {PREFIX}network says which",
                names()
            )),
        }
    }

    /// The label's; else Minecraft's, unless the one port that it exposes is another.
    fn port(&self) -> Result<u16, String> {
        if let Some(text) = self.label("port").map(str::trim)
            && !text.is_empty()
        {
            let port = number(text, 1, u16::MAX);
            return port.map_err(|_| format!("{PREFIX}port {} is no port", quoted(text)));
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
        self.labels
            .get(&format!("{PREFIX}{name}"))
            .map(String::as_str)
    }

    fn switch(&self, name: &str, default: bool, problems: &mut Vec<String>) -> bool {
        self.parsed(name, problems, switch).unwrap_or(default)
    }

    /// The value of a label that the route can do without.
    fn parsed<T>(
        &self,
        name: &str,
        problems: &mut Vec<String>,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.label(name)?;
        if text.trim().is_empty() {
            return None;
        }
        match parse(text) {
            Ok(value) => Some(value),
            Err(reason) => {
                let reason: String = reason.chars().take(QUOTED_CHARS_MAX).collect();
                problems.push(format!("label {PREFIX}{name} is left out: {reason}"));
                None
            }
        }
    }

    /// The policy of all, with the texts that labels say over its own.
    fn policy(&self, defaults: &Arc<Policy>, problems: &mut Vec<String>) -> Arc<Policy> {
        let mut own = Texts::default();
        for (name, text) in [
            ("auto-scale-asleep-motd", Text::Asleep),
            ("auto-scale-loading-motd", Text::Starting),
            ("auto-scale-failed-motd", Text::Failed),
        ] {
            let template = self.parsed(name, problems, |text| {
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
    fn tell_unknown(&self, problems: &mut Vec<String>) {
        let names = self
            .labels
            .keys()
            .filter_map(|label| label.strip_prefix(PREFIX));
        let mut unknown: Vec<_> = names.filter(|name| !KNOWN.contains(name)).collect();
        unknown.sort_unstable();
        if let Some(first) = unknown.first() {
            let label = quoted(&format!("{PREFIX}{first}"));
            let more = match unknown.len() - 1 {
                0 => String::new(),
                more => format!(", and {more} more are not"),
            };
            problems.push(format!("label {label} is not known{more}"));
        }
    }
}

impl Network {
    fn is(&self, wanted: &str) -> bool {
        let by_id = wanted.len() >= ID_CHARS_MIN && self.id.starts_with(wanted);
        by_id || self.aliases.iter().any(|alias| alias == wanted)
    }
}

/// The host names of a list with commas or line ends.
fn host_names(text: &str, names: Names, problems: &mut Vec<String>) -> Vec<Host> {
    let mut hosts = Vec::new();
    let items = text.split([',', '\n']).map(str::trim);
    for item in items.filter(|item| !item.is_empty()) {
        if hosts.len() >= HOSTS_MAX {
            problems.push(format!(
                "{HOST} has more than {HOSTS_MAX} names; the rest is left out"
            ));
            break;
        }
        match names.parse(item) {
            Ok(host) if !hosts.contains(&host) => hosts.push(host),
            Ok(_) => {}
            Err(_) if problems.len() >= HOSTS_MAX => {}
            Err(_) => problems.push(format!("{HOST}: {} is no host name", quoted(item))),
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
