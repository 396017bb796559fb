//! What the engine is asked for, each within a time and a length.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum as Inspected, ContainerSummary,
    ContainerSummaryStateEnum as Listed, EndpointSettings, EventMessage, PortSummaryTypeEnum,
};
use bollard::query_parameters::{
    EventsOptionsBuilder, ListContainersOptionsBuilder, StopContainerOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use futures_core::Stream;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::labels::{HOST, Life, Network, Seen};
use super::link::{ANSWER_BYTES_MAX, Budget, Link};
use crate::config::DockerConfig;
use crate::config::values::short;

/// How long a container has to end by itself before it is killed, in seconds: mc-router's.
const STOP_GRACE_SECONDS: i32 = 60;
/// Longest time from one event's end to the next one's, in bytes.
const EVENT_BYTES_MAX: u64 = 256 * 1024;
/// Longest reason of the engine's that is told, in characters.
const REASON_CHARS_MAX: usize = 300;
/// What changes a route. Others, such as those of health checks, are many.
const EVENTS: [&str; 11] = [
    "create",
    "start",
    "die",
    "stop",
    "destroy",
    "pause",
    "unpause",
    "rename",
    "update",
    "connect",
    "disconnect",
];

/// Why the engine did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// It said so.
    #[error("the engine answered {status}{}: {reason}", hint(*.status))]
    Refused {
        /// The status.
        status: u16,
        /// Its reason.
        reason: String,
    },
    /// No answer in time.
    #[error("{what} took over {}", short(*.limit))]
    TimedOut {
        /// What took so long.
        what: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// No engine, or one that does not make sense.
    #[error("{0}")]
    Broken(String),
}

/// What proxies in front of the engine answer to what they do not let through.
fn hint(status: u16) -> &'static str {
    match status {
        403 => " (does the proxy before it allow that?)",
        _ => "",
    }
}

impl From<Error> for EngineError {
    fn from(error: Error) -> Self {
        let cut = |text: &str| text.chars().take(REASON_CHARS_MAX).collect::<String>();
        match error {
            Error::DockerResponseServerError {
                status_code,
                message,
            } => Self::Refused {
                status: status_code,
                reason: cut(message.trim()),
            },
            error => {
                let mut text = error.to_string();
                let mut source = std::error::Error::source(&error);
                while let Some(cause) = source {
                    let cause_text = cause.to_string();
                    if !text.contains(&cause_text) {
                        text = format!("{text}: {cause_text}");
                    }
                    source = cause.source();
                }
                Self::Broken(cut(&text))
            }
        }
    }
}

/// One engine.
#[derive(Debug)]
pub struct Engine {
    docker: Docker,
    link: Arc<Link>,
    limit: Duration,
}

/// The engine's events, of which only that there was one is told.
pub struct Events {
    stream: Pin<Box<dyn Stream<Item = Result<EventMessage, Error>> + Send>>,
    budget: Budget,
    opened: Arc<Notify>,
    limit: Duration,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Events")
    }
}

impl Engine {
    /// Prepares to ask; connects to nothing yet.
    ///
    /// # Errors
    /// The library does not take the address, which is a bug.
    pub fn new(config: &DockerConfig) -> Result<Self, EngineError> {
        let link = Arc::new(Link {
            at: config.socket.clone(),
            version: config.api_version.clone(),
        });
        let own = Arc::clone(&link);
        let send = move |request: BollardRequest| {
            let link = Arc::clone(&own);
            async move { link.send(request, Budget::new(ANSWER_BYTES_MAX)).await }
        };
        Ok(Self {
            docker: client(send)?,
            link,
            limit: config.timeout,
        })
    }

    /// Every container with a label of ours, whether it runs or not.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn list(&self) -> Result<Vec<Seen>, EngineError> {
        let filters = HashMap::from([("label", vec![HOST])]);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        let list = self.docker.list_containers(Some(options));
        let list = within("listing containers", self.limit, list).await?;
        Ok(list.into_iter().map(listed).collect())
    }

    /// One container.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn inspect(&self, name: &str) -> Result<Seen, EngineError> {
        let inspect = self.docker.inspect_container(name, None);
        let seen = within("inspecting a container", self.limit, inspect).await?;
        Ok(inspected(name, seen))
    }

    /// Starts a container; one that runs stays as it is.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn start(&self, name: &str) -> Result<(), EngineError> {
        let start = self.docker.start_container(name, None);
        within("starting a container", self.limit, start).await
    }

    /// Has a paused container go on.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn unpause(&self, name: &str) -> Result<(), EngineError> {
        let unpause = self.docker.unpause_container(name);
        within("unpausing a container", self.limit, unpause).await
    }

    /// Stops a container, and comes back when it has ended. One that has not ended by itself after
    /// [`STOP_GRACE_SECONDS`] is killed.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn stop(&self, name: &str) -> Result<(), EngineError> {
        let options = StopContainerOptionsBuilder::new()
            .t(STOP_GRACE_SECONDS)
            .build();
        let grace = Duration::from_secs(u64::from(STOP_GRACE_SECONDS.unsigned_abs()));
        let stop = self.docker.stop_container(name, Some(options));
        within("stopping a container", self.limit + grace, stop).await
    }

    /// The events from now on. The request is sent by the first [`Events::next`].
    ///
    /// # Errors
    /// The library does not take the address, which is a bug.
    pub fn events(&self) -> Result<Events, EngineError> {
        let (budget, opened) = (Budget::new(EVENT_BYTES_MAX), Arc::<Notify>::default());
        let (link, left, told) = (Arc::clone(&self.link), budget.clone(), Arc::clone(&opened));
        let send = move |request: BollardRequest| {
            let (link, left, told) = (Arc::clone(&link), left.clone(), Arc::clone(&told));
            async move {
                let head = link.send(request, left).await;
                told.notify_one();
                head
            }
        };
        let types = vec!["container", "network"];
        let filters = HashMap::from([("type", types), ("event", EVENTS.to_vec())]);
        let options = EventsOptionsBuilder::new().filters(&filters).build();
        Ok(Events {
            stream: Box::pin(client(send)?.events(Some(options))),
            budget,
            opened,
            limit: self.limit,
        })
    }
}

impl Events {
    /// Waits until the engine has begun to tell.
    ///
    /// # Errors
    /// [`EngineError`]; also when it takes longer than a request may.
    pub async fn opened(&mut self) -> Result<(), EngineError> {
        let (opened, limit) = (Arc::clone(&self.opened), self.limit);
        let first = async {
            tokio::select! {
                biased;
                () = opened.notified() => Ok(()),
                event = self.next() => event,
            }
        };
        let what = "asking for events";
        let opened = timeout(limit, first).await;
        opened.unwrap_or(Err(EngineError::TimedOut { what, limit }))
    }

    /// Waits for the next event.
    ///
    /// # Errors
    /// There will be none: the connection has ended, or what came is no event.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn next(&mut self) -> Result<(), EngineError> {
        match poll_fn(|context| self.stream.as_mut().poll_next(context)).await {
            Some(Ok(_)) => {
                self.budget.refill(EVENT_BYTES_MAX);
                Ok(())
            }
            Some(Err(error)) => Err(error.into()),
            None => Err(EngineError::Broken(
                "the engine ended its events".to_owned(),
            )),
        }
    }
}

/// A client whose limits are ours: of time in [`within`], of length in [`Link`].
fn client<F>(send: impl Fn(BollardRequest) -> F + Send + Sync + 'static) -> Result<Docker, Error>
where
    F: Future<Output = Result<hyper::Response<hyper::body::Incoming>, Error>> + Send + 'static,
{
    const NO_LIMIT_SECONDS: u64 = 60 * 60;
    Docker::connect_with_custom_transport(
        send,
        Some("http://docker"),
        NO_LIMIT_SECONDS,
        API_DEFAULT_VERSION,
    )
}

async fn within<T>(
    what: &'static str,
    limit: Duration,
    request: impl Future<Output = Result<T, Error>>,
) -> Result<T, EngineError> {
    match timeout(limit, request).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(EngineError::TimedOut { what, limit }),
    }
}

fn listed(container: ContainerSummary) -> Seen {
    let names = container.names.unwrap_or_default();
    let names = names.iter().map(|name| name.trim_start_matches('/'));
    // Others are what links of other containers call it.
    let name = names
        .filter(|name| !name.contains('/'))
        .min()
        .unwrap_or_default();
    let ports = container.ports.unwrap_or_default().into_iter();
    let tcp = |typ: &Option<PortSummaryTypeEnum>| *typ == Some(PortSummaryTypeEnum::TCP);
    let networks = container
        .network_settings
        .and_then(|settings| settings.networks);
    Seen {
        name: name.to_owned(),
        labels: container.labels.unwrap_or_default(),
        life: match container.state {
            Some(Listed::RUNNING) => Life::Running,
            Some(Listed::PAUSED) => Life::Paused,
            Some(Listed::RESTARTING) => Life::Restarting,
            Some(Listed::CREATED | Listed::EXITED) => Life::Stopped,
            Some(Listed::STOPPING) => Life::Stopping,
            Some(Listed::REMOVING | Listed::DEAD | Listed::EMPTY) | None => Life::Gone,
        },
        networks: self::networks(networks),
        ports: ports
            .filter(|port| tcp(&port.typ))
            .map(|port| port.private_port)
            .collect(),
    }
}

fn inspected(name: &str, container: ContainerInspectResponse) -> Seen {
    let config = container.config.unwrap_or_default();
    let ports = config.exposed_ports.unwrap_or_default();
    let tcp = |port: &String| port.strip_suffix("/tcp").unwrap_or(port).parse().ok();
    let networks = container
        .network_settings
        .and_then(|settings| settings.networks);
    Seen {
        name: name.to_owned(),
        labels: config.labels.unwrap_or_default(),
        life: match container.state.and_then(|state| state.status) {
            Some(Inspected::RUNNING) => Life::Running,
            Some(Inspected::PAUSED) => Life::Paused,
            Some(Inspected::RESTARTING) => Life::Restarting,
            Some(Inspected::CREATED | Inspected::EXITED) => Life::Stopped,
            Some(Inspected::STOPPING) => Life::Stopping,
            Some(Inspected::REMOVING | Inspected::DEAD | Inspected::EMPTY) | None => Life::Gone,
        },
        networks: self::networks(networks),
        ports: ports.iter().filter_map(tcp).collect(),
    }
}

fn networks(networks: Option<HashMap<String, EndpointSettings>>) -> Vec<Network> {
    let network = |(name, endpoint): (String, EndpointSettings)| Network {
        name,
        id: endpoint.network_id.unwrap_or_default(),
        aliases: endpoint.aliases.unwrap_or_default(),
        ipv4: endpoint.ip_address.unwrap_or_default(),
        ipv6: endpoint.global_ipv6_address.unwrap_or_default(),
    };
    networks
        .unwrap_or_default()
        .into_iter()
        .map(network)
        .collect()
}
