//! The settings of routes from Docker, under mc-router's names.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::settings::{Key, Kind, Settings};
use super::text;
use super::values::{duration, switch};
use crate::addr::BackendAddr;

#[cfg_attr(
    not(feature = "docker"),
    expect(dead_code, reason = "without the feature its flags are ignored ones")
)]
pub(super) const KEYS: &[Key] = &[
    switched(
        "in_docker",
        "Take routes from the labels of Docker containers",
    ),
    text(
        "docker_socket",
        "unix:///var/run/docker.sock",
        "Docker's engine, or a proxy before it: unix:///path or tcp://host:port",
    ),
    text(
        "docker_timeout",
        "10s",
        "How long one request to it may take; a number alone is seconds",
    ),
    text(
        "docker_api_version",
        "",
        "The version of its API, such as 1.41; unset is its newest",
    ),
    switched(
        "auto_scale_up",
        "Start containers whose labels do not say otherwise",
    ),
    switched(
        "auto_scale_down",
        "Stop containers whose labels do not say otherwise",
    ),
];

/// Where Docker's API is without encryption when no port is given.
const TCP_PORT: u16 = 2375;

const fn switched(name: &'static str, help: &'static str) -> Key {
    Key {
        kind: Kind::Switch,
        ..text(name, "", help)
    }
}

/// Where an engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineAddr {
    /// On a socket of this machine.
    Unix(PathBuf),
    /// In the network, without encryption.
    Tcp(BackendAddr),
}

impl fmt::Display for EngineAddr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(formatter, "unix://{}", path.display()),
            Self::Tcp(address) => write!(formatter, "tcp://{address}"),
        }
    }
}

/// The engine that routes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerConfig {
    /// Where it is.
    pub socket: EngineAddr,
    /// Longest time of one request, a stop's grace aside.
    pub timeout: Duration,
    /// The version of its API; `None` for its newest.
    pub api_version: Option<String>,
    /// Whether containers are started whose labels do not say otherwise.
    pub up: bool,
    /// Whether containers are stopped whose labels do not say otherwise.
    pub down: bool,
    /// How long one may take to start if its labels do not say.
    pub wake_timeout: Duration,
}

/// The engine, if routes are to come from one.
pub(super) fn docker(settings: &mut Settings, hour: Duration) -> Option<DockerConfig> {
    let milli = Duration::from_millis(10);
    let wanted = settings.parse("in_docker", switch).unwrap_or_default();
    let socket = settings.parse("docker_socket", engine);
    let timeout = settings.parse("docker_timeout", |text| limit(text, milli, hour));
    let api_version = settings.parse("docker_api_version", version);
    let up = settings.parse("auto_scale_up", switch).unwrap_or_default();
    let down = settings
        .parse("auto_scale_down", switch)
        .unwrap_or_default();
    if !wanted {
        return None;
    }
    let within = |text: &str| duration(text, milli, hour * 24);
    let wake_timeout = settings.parse("automc_waker_timeout", within);
    Some(DockerConfig {
        socket: socket?,
        timeout: timeout.unwrap_or_default(),
        api_version,
        up,
        down,
        wake_timeout: wake_timeout.unwrap_or_default(),
    })
}

/// As `DOCKER_HOST` has it; a path alone is a socket.
fn engine(text: &str) -> Result<EngineAddr, String> {
    let text = text.trim();
    if let Some(address) = text
        .strip_prefix("tcp://")
        .or_else(|| text.strip_prefix("http://"))
    {
        let address = address.trim_end_matches('/');
        let named = BackendAddr::parse(address);
        let parsed = named.or_else(|error| {
            BackendAddr::parse(&format!("{address}:{TCP_PORT}")).map_err(|_| error)
        });
        return parsed
            .map(EngineAddr::Tcp)
            .map_err(|error| error.to_string());
    }
    match text.strip_prefix("unix://").unwrap_or(text) {
        path if path.starts_with('/') => Ok(EngineAddr::Unix(path.into())),
        _ => Err(format!(
            "{text:?} is neither unix:///path nor tcp://host:port (TLS is not spoken)"
        )),
    }
}

/// mc-router takes seconds, where 0 stands for no limit; there is always one here.
fn limit(text: &str, min: Duration, max: Duration) -> Result<Duration, String> {
    match text.trim().parse::<u32>() {
        Ok(0) => duration("10s", min, max),
        Ok(seconds) => duration(&format!("{seconds}s"), min, max),
        Err(_) => duration(text, min, max),
    }
}

fn version(text: &str) -> Result<String, String> {
    let digits = |part: &str| {
        (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    let text = text.trim().trim_start_matches('v');
    match text.split_once('.') {
        Some((major, minor)) if digits(major) && digits(minor) => Ok(text.to_owned()),
        _ => Err(format!("{text:?} is no version such as 1.41")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_named_as_docker_names_it() {
        let unix = |path: &str| Ok(EngineAddr::Unix(path.into()));
        let tcp = |text: &str| Ok(EngineAddr::Tcp(BackendAddr::parse(text).unwrap()));
        assert_eq!(engine("unix:///run/docker.sock"), unix("/run/docker.sock"));
        assert_eq!(engine(" /run/docker.sock "), unix("/run/docker.sock"));
        assert_eq!(engine("tcp://proxy:2376"), tcp("proxy:2376"));
        assert_eq!(engine("tcp://proxy"), tcp("proxy:2375"));
        assert_eq!(engine("http://[::1]:2375/"), tcp("[::1]:2375"));
        for wrong in [
            "",
            "proxy:2375",
            "https://proxy:2376",
            "ssh://proxy",
            "unix://",
            "tcp://",
            "tcp://a b:1",
        ] {
            assert!(engine(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_timeout_in_go_seconds_and_a_version_are_read() {
        let (min, max) = (Duration::from_millis(10), Duration::from_secs(3600));
        let read = |text| limit(text, min, max);
        assert_eq!(read("5"), Ok(Duration::from_secs(5)));
        assert_eq!(read("0"), Ok(Duration::from_secs(10)));
        assert_eq!(read("1m30s"), Ok(Duration::from_secs(90)));
        assert!(read("soon").is_err() && read("3601").is_err());
        assert_eq!(version("1.41").as_deref(), Ok("1.41"));
        assert_eq!(version("v1.41").as_deref(), Ok("1.41"));
        for wrong in ["1", "1.x", "1.41/../..", "", "1.41.2"] {
            assert!(version(wrong).is_err(), "{wrong:?}");
        }
    }
}
