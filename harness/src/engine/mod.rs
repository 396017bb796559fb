//! A real Docker engine for tests: containers with a server of ours inside, behind a [`proxy`] that shows a
//! router only those; and a [`fake`] one that misbehaves.
//!
//! Where no engine answers, the tests that need one are skipped.

pub mod fake;
pub mod proxy;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testcontainers::bollard::models::{
    ContainerCreateBody, EndpointSettings, HostConfig, NetworkConnectRequest, NetworkCreateRequest,
    NetworkingConfig, RestartPolicy, RestartPolicyNameEnum,
};
use testcontainers::bollard::query_parameters::{
    CreateContainerOptionsBuilder, StopContainerOptionsBuilder,
};
use testcontainers::bollard::{API_DEFAULT_VERSION, Docker};
use tokio::process::Command;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use xtask::postgres::engine_of_environment;

use crate::binaries;
use crate::eventually::eventually;
use crate::reaper::Reaper;
use crate::skip;

/// The label by which a test finds its own containers.
pub const OWNER: &str = "automc-test";
/// An engine that is there answers at once.
const ENGINE_DEADLINE: Duration = Duration::from_secs(5);
/// For one thing that is asked of it.
const DEADLINE: Duration = Duration::from_secs(30);
/// An image with nothing inside; what runs is this machine's, mounted.
const IMAGE: &str = "automc-test-empty:1";
/// What a program of this machine needs, read-only.
const SYSTEM: [&str; 4] = ["/usr", "/lib", "/lib64", "/bin"];

/// Removes container or network (`$3`) `$1` from the engine at `$2`. A network may wait for its containers.
const REAP: &str = r#"
export DOCKER_HOST="$2"
case $3 in
container) docker rm --force --volumes "$1" ;;
network)
    for try in 1 2 3 4 5 6 7 8 9 10; do
        docker network rm "$1" && exit
        sleep 1
    done
    ;;
esac
"#;

/// Whether there is the image.
static PREPARED: OnceCell<Result<(), String>> = OnceCell::const_new();

/// This test's part of an engine.
#[derive(Debug)]
pub struct Engine {
    docker: Docker,
    host: String,
    /// Nobody else's.
    id: String,
}

/// A container; dropping it removes it.
#[derive(Debug)]
pub struct Container {
    docker: Docker,
    /// Its name.
    pub name: String,
    _reaper: Reaper,
}

/// A network; dropping it removes it.
#[derive(Debug)]
pub struct Network {
    docker: Docker,
    /// Its name.
    pub name: String,
    /// Its identifier.
    pub id: String,
    _reaper: Reaper,
}

/// What a container is like.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    labels: HashMap<String, String>,
    network: Option<String>,
    alias: Option<String>,
    exposed: Vec<String>,
    port: Option<u16>,
    linger: Duration,
}

impl Wish {
    /// With `mc-router.host`.
    #[must_use]
    pub fn host(hosts: &str) -> Self {
        Self::default().label("host", hosts)
    }

    /// With the label `mc-router.` and `name`.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels
            .insert(format!("mc-router.{name}"), value.to_owned());
        self
    }

    /// In this network, by this name there.
    #[must_use]
    pub fn network(mut self, network: &str, alias: &str) -> Self {
        self.network = Some(network.to_owned());
        self.alias = Some(alias.to_owned());
        self
    }

    /// Its server listens on this port.
    #[must_use]
    pub fn listening(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Its server goes on for so long when it is told to end.
    #[must_use]
    pub fn lingering(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// It says that it exposes this port.
    #[must_use]
    pub fn exposing(mut self, port: u16) -> Self {
        self.exposed.push(format!("{port}/tcp"));
        self
    }
}

impl Engine {
    /// The engine, if one answers and can be used. Otherwise the test is noted as skipped.
    ///
    /// # Errors
    /// There is none, and no test may be skipped.
    pub async fn find() -> Result<Option<Self>> {
        match Self::usable().await {
            Ok(engine) => Ok(Some(engine)),
            Err(reason) => skip(&format!("no Docker engine: {reason}")).map(|()| None),
        }
    }

    async fn usable() -> Result<Self, String> {
        let host = engine_of_environment();
        let docker = match host.strip_prefix("unix://") {
            Some(path) => Docker::connect_with_unix(path, 120, API_DEFAULT_VERSION),
            None => Docker::connect_with_http(&host, 120, API_DEFAULT_VERSION),
        };
        let docker = docker.map_err(|error| error.to_string())?;
        match timeout(ENGINE_DEADLINE, docker.ping()).await {
            Ok(answer) => answer.map_err(|error| error.to_string())?,
            Err(_) => return Err(format!("{host} does not answer")),
        };
        PREPARED.get_or_init(|| prepare(&host)).await.clone()?;
        let id = format!("{}-{:08x}", std::process::id(), crate::postgres::random());
        Ok(Self { docker, host, id })
    }

    /// A proxy before it that shows this test's containers and no others.
    ///
    /// # Errors
    /// No port is to be had.
    pub async fn proxy(&self) -> Result<proxy::EngineProxy> {
        proxy::EngineProxy::start(&self.host, &self.id).await
    }

    fn name(&self, name: &str) -> String {
        format!("{OWNER}-{}-{name}", self.id)
    }

    fn reaper(&self, kind: &str, name: &str) -> Result<Reaper> {
        Reaper::arm(REAP, [name, &self.host, kind])
    }

    /// Makes a container that does not run yet. `name` is for this test, and what its server shows.
    ///
    /// # Errors
    /// The engine does not.
    pub async fn create(&self, name: &str, wish: Wish) -> Result<Container> {
        let (full, program) = (self.name(name), binaries::harness().await?);
        let reaper = self.reaper("container", &full)?;
        let mut labels = wish.labels;
        labels.insert(OWNER.to_owned(), self.id.clone());
        let here = SYSTEM.iter().filter(|path| PathBuf::from(path).exists());
        let mut binds: Vec<_> = here.map(|path| format!("{path}:{path}:ro")).collect();
        binds.push(format!("{}:/harness:ro", program.display()));
        let port = wish.port.unwrap_or(25565).to_string();
        let linger = wish.linger.as_millis().to_string();
        let command = [
            "/harness", "server", "--name", name, "--port", &port, "--linger", &linger,
        ];
        let endpoint = EndpointSettings {
            aliases: wish.alias.map(|alias| vec![alias]),
            ..EndpointSettings::default()
        };
        let networks = wish
            .network
            .iter()
            .map(|network| (network.clone(), endpoint.clone()));
        let body = ContainerCreateBody {
            image: Some(IMAGE.to_owned()),
            cmd: Some(command.map(str::to_owned).to_vec()),
            labels: Some(labels),
            exposed_ports: Some(wish.exposed),
            host_config: Some(HostConfig {
                binds: Some(binds),
                network_mode: wish.network.clone(),
                restart_policy: Some(RestartPolicy {
                    name: Some(RestartPolicyNameEnum::NO),
                    maximum_retry_count: None,
                }),
                ..HostConfig::default()
            }),
            networking_config: Some(NetworkingConfig {
                endpoints_config: Some(networks.collect()),
            }),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::new().name(&full).build();
        let created = self.docker.create_container(Some(options), body);
        timeout(DEADLINE, created)
            .await?
            .context("create a container")?;
        Ok(Container {
            docker: self.docker.clone(),
            name: full,
            _reaper: reaper,
        })
    }

    /// The same, and starts it.
    ///
    /// # Errors
    /// The engine does not.
    pub async fn run(&self, name: &str, wish: Wish) -> Result<Container> {
        let container = self.create(name, wish).await?;
        container.start().await?;
        Ok(container)
    }

    /// Makes a network.
    ///
    /// # Errors
    /// The engine does not.
    pub async fn network(&self, name: &str) -> Result<Network> {
        let full = self.name(name);
        let reaper = self.reaper("network", &full)?;
        let request = NetworkCreateRequest {
            name: full.clone(),
            ..NetworkCreateRequest::default()
        };
        let made = timeout(DEADLINE, self.docker.create_network(request)).await??;
        Ok(Network {
            docker: self.docker.clone(),
            name: full,
            id: made.id,
            _reaper: reaper,
        })
    }
}

impl Container {
    /// Starts it.
    ///
    /// # Errors
    /// The engine does not.
    pub async fn start(&self) -> Result<()> {
        let start = self.docker.start_container(&self.name, None);
        Ok(timeout(DEADLINE, start).await??)
    }

    /// Stops it, and waits for that.
    ///
    /// # Errors
    /// The engine does not.
    pub async fn stop(&self) -> Result<()> {
        let options = StopContainerOptionsBuilder::new().t(10).build();
        let stop = self.docker.stop_container(&self.name, Some(options));
        Ok(timeout(DEADLINE, stop).await??)
    }

    /// Has it stand still.
    ///
    /// # Errors
    /// The engine does not.
    pub async fn pause(&self) -> Result<()> {
        Ok(timeout(DEADLINE, self.docker.pause_container(&self.name)).await??)
    }

    /// How it is, in the engine's word.
    ///
    /// # Errors
    /// The engine does not tell.
    pub async fn state(&self) -> Result<String> {
        let inspect = self.docker.inspect_container(&self.name, None);
        let state = timeout(DEADLINE, inspect).await??.state;
        let status = state.and_then(|state| state.status);
        Ok(status.context("no state")?.to_string())
    }

    /// Waits until it is in this state.
    ///
    /// # Errors
    /// It is not within `deadline`.
    pub async fn is(&self, state: &str, deadline: Duration) -> Result<()> {
        eventually(
            &format!("{} to be {state}", self.name),
            deadline,
            async || {
                let now = self.state().await?;
                ensure!(now == state, "it is {now}");
                Ok(())
            },
        )
        .await
    }

    /// Its address in `network`, else in its only one.
    ///
    /// # Errors
    /// It has none.
    pub async fn address(&self, network: Option<&str>) -> Result<IpAddr> {
        let inspect = self.docker.inspect_container(&self.name, None);
        let settings = timeout(DEADLINE, inspect).await??.network_settings;
        let networks = settings.and_then(|settings| settings.networks);
        let networks = networks.unwrap_or_default();
        let endpoint = match network {
            Some(network) => networks.get(network),
            None => networks.values().next(),
        };
        let address = endpoint.and_then(|endpoint| endpoint.ip_address.as_ref());
        Ok(address.context("no address")?.parse()?)
    }
}

impl Network {
    /// Has `container` in it, too.
    ///
    /// # Errors
    /// The engine does not.
    pub async fn connect(&self, container: &Container) -> Result<()> {
        let request = NetworkConnectRequest {
            container: container.name.clone(),
            ..NetworkConnectRequest::default()
        };
        let connect = self.docker.connect_network(&self.name, request);
        Ok(timeout(DEADLINE, connect).await??)
    }
}

/// Makes the image: nothing, in a tar file.
async fn prepare(host: &str) -> Result<(), String> {
    let script = format!(
        "docker image inspect {IMAGE} >/dev/null 2>&1 || \
         tar -c --files-from /dev/null | docker import - {IMAGE} >/dev/null"
    );
    let output = Command::new("sh")
        .arg("-c")
        .arg(script)
        .env("DOCKER_HOST", host)
        .output()
        .await;
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "no image for tests: {}",
            String::from_utf8_lossy(&output.stderr)
        )),
        Err(error) => Err(format!("no image for tests: {error}")),
    }
}
