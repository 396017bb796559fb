//! A server in a container of its own, through testcontainers.

use std::mem::ManuallyDrop;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use testcontainers::bollard::query_parameters::KillContainerOptionsBuilder;
use testcontainers::core::IntoContainerPort;
use testcontainers::core::client::docker_client_instance;
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};
use tokio::net::TcpStream;
use xtask::postgres::engine_of_environment;

use super::access::{Access, random, resolve};
use crate::eventually::eventually;
use crate::reaper::Reaper;

const PORT: u16 = 5432;
/// From the container's creation to its first answer; it makes its cluster meanwhile.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// For a fast shutdown, or the end after a kill.
const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// It need not survive the machine, but a kill of its own: `synchronous_commit` stays on.
const COMMAND: [&str; 7] = [
    "postgres",
    "-c",
    "fsync=off",
    "-c",
    "full_page_writes=off",
    "-c",
    "max_connections=200",
];

/// Removes the container named `$1` from the engine at `$2`, by whatever there is to talk to an engine.
const REAP: &str = r#"
export DOCKER_HOST="$2"
socket=${2#unix://}
path="/containers/$1?force=true&v=true"
docker rm --force --volumes "$1" ||
    curl --fail --max-time 20 --unix-socket "$socket" --request DELETE "http://engine$path" ||
    perl -MIO::Socket::UNIX -e '
        alarm 20;
        my $engine = IO::Socket::UNIX->new($ARGV[0]) or exit 1;
        print $engine "DELETE $ARGV[1] HTTP/1.0\r\nHost: engine\r\n\r\n";
        exit(<$engine> =~ / 204 / ? 0 : 1)' "$socket" "$path"
"#;

fn generic(image: &str) -> GenericImage {
    let (name, tag) = split_image(image);
    GenericImage::new(name, tag).with_exposed_port(PORT.tcp())
}

/// Name and tag; a colon before the last slash belongs to a registry's port.
fn split_image(image: &str) -> (&str, &str) {
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    }
}

/// A container that the reaper removes.
#[derive(Debug)]
pub(super) struct Container {
    image: String,
    // Its own drop needs a runtime and does nothing for statics; the reaper does the work instead.
    node: ManuallyDrop<ContainerAsync<GenericImage>>,
    _reaper: Reaper,
}

impl Container {
    /// Starts a container and waits until its server answers; `access` gets its address.
    pub(super) async fn start(image: String, access: &Access) -> Result<Self> {
        let name = format!("automc-test-{}-{:08x}", std::process::id(), random());
        let host = engine_of_environment();
        let reaper = Reaper::arm(REAP, [&name, &host])?;
        let node = generic(&image)
            .with_container_name(name)
            .with_env_var("POSTGRES_USER", access.user())
            .with_env_var("POSTGRES_PASSWORD", access.password())
            .with_env_var("POSTGRES_DB", access.maintenance())
            .with_cmd(COMMAND)
            .with_startup_timeout(START_DEADLINE)
            .start()
            .await
            .with_context(|| format!("start a container of {image}"))?;
        let container = Self {
            image,
            node: ManuallyDrop::new(node),
            _reaper: reaper,
        };
        container.wait_ready(access).await?;
        Ok(container)
    }

    pub(super) fn describe(&self) -> String {
        format!("a container of {}", self.image)
    }

    /// Starts a stopped or killed container; the engine may give it another port.
    pub(super) async fn start_again(&self, access: &Access) -> Result<()> {
        self.node.start().await?;
        self.wait_ready(access).await
    }

    /// A fast shutdown, by signal: not every image says how it wants to be stopped.
    pub(super) async fn stop(&self) -> Result<()> {
        self.signal("SIGINT").await
    }

    /// SIGKILL to everything in the container.
    pub(super) async fn kill(&self) -> Result<()> {
        self.signal("SIGKILL").await
    }

    async fn signal(&self, signal: &str) -> Result<()> {
        let how = KillContainerOptionsBuilder::new().signal(signal).build();
        let engine = docker_client_instance().await?;
        engine.kill_container(self.node.id(), Some(how)).await?;
        eventually("the container to end", STOP_DEADLINE, async || {
            anyhow::Ok(!self.node.is_running().await?)?
                .then_some(())
                .context("it is still running")
        })
        .await
    }

    async fn wait_ready(&self, access: &Access) -> Result<()> {
        let answered = eventually("its server to answer", START_DEADLINE, async || {
            let port = self.node.get_host_port_ipv4(PORT).await?;
            // A machine that looks like a container to the library need not be one: where the
            // port is open on loopback, that is the way, and not the engine's bridge.
            let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            if TcpStream::connect(loopback).await.is_ok() {
                access.move_to(loopback);
            } else {
                let host = self.node.get_host().await?.to_string();
                access.move_to(resolve(&host, port).await?);
            }
            access.connect(access.maintenance()).await
        })
        .await;
        if let Err(error) = answered {
            let log = self.node.stderr_to_vec().await.unwrap_or_default();
            return Err(error.context(String::from_utf8_lossy(&log).into_owned()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_split_at_its_tag_and_not_at_a_registrys_port() {
        assert_eq!(split_image("postgres:17"), ("postgres", "17"));
        assert_eq!(split_image("postgres"), ("postgres", "latest"));
        assert_eq!(split_image("host:5000/pg"), ("host:5000/pg", "latest"));
        assert_eq!(split_image("host:5000/pg:17"), ("host:5000/pg", "17"));
        assert_eq!(split_image("pg@sha256:ab"), ("pg@sha256", "ab"));
    }
}
