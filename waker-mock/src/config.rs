//! What waker-mock is told: every setting with its default, checked once at start.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use automc_router::config::secret::Secret;
use automc_router::config::settings::{ConfigError, Key, Kind, Settings, Spec};
use automc_router::config::values;
use automc_router::log::{LogConfig, LogFormat};
use automc_router::postgres::dsn::Dsn;

use crate::faults::{DELAY_MAX, Faults};
use crate::spec::ServerSpec;

/// Every setting of waker-mock.
pub const SPEC: Spec = Spec {
    groups: &[KEYS],
    env_prefix: "WAKER_MOCK_",
    ignored: &[],
};

const KEYS: &[Key] = &[
    text(
        "listen",
        Some("127.0.0.1:8080"),
        "Address of the HTTP API; a port alone binds loopback",
    ),
    key(
        "token",
        Kind::Secret,
        "The API key; unset: no key is asked for",
    ),
    key(
        "dsn",
        Kind::Secret,
        "Postgres whose servers table is kept up to date",
    ),
    key(
        "server",
        Kind::List,
        "Server name=domain;boot=3s;stop=1s;port_delay=0s;port=25600;address=host:port;lazy; repeatable",
    ),
    key(
        "fault",
        Kind::List,
        "Faults name=refuse_start=503x2;never_running, * for all servers; repeatable",
    ),
    text("boot_delay", Some("5s"), "From the start to running"),
    text("stop_delay", Some("1s"), "From the stop to stopped"),
    text(
        "port_delay",
        Some("0s"),
        "From running to the opening of the game port",
    ),
    text(
        "game_bind",
        Some("127.0.0.1"),
        "IP address the game ports listen on",
    ),
    text(
        "game_ports",
        None,
        "Game ports to take, such as 25600-25699; unset: any free ones",
    ),
    text(
        "advertise_host",
        None,
        "Host in the addresses told; unset: the one listened on",
    ),
    text(
        "log_level",
        Some("info"),
        "error, warn, info, debug or trace",
    ),
    text("log_format", Some("text"), "text or json"),
];

const fn text(name: &'static str, default: Option<&'static str>, help: &'static str) -> Key {
    Key {
        name,
        kind: Kind::Text,
        default,
        help,
    }
}

const fn key(name: &'static str, kind: Kind, help: &'static str) -> Key {
    Key {
        name,
        kind,
        default: None,
        help,
    }
}

/// How long things take where a server does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delays {
    /// From the start to running.
    pub boot: Duration,
    /// From the stop to stopped.
    pub stop: Duration,
    /// From running to the opening of the game port.
    pub port: Duration,
}

/// Where game ports are taken and how they are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GamePorts {
    /// The address they listen on.
    pub bind: IpAddr,
    /// The ports to take; `None`: any free ones.
    pub range: Option<RangeInclusive<u16>>,
    /// The host in the addresses told; `None`: the one listened on.
    pub advertise_host: Option<String>,
}

/// The settings of one run, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the HTTP API listens; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The API key, if one is asked for.
    pub token: Option<Secret>,
    /// The database whose `servers` table is kept up to date, if any.
    pub dsn: Option<Dsn>,
    /// The servers there are from the beginning.
    pub servers: Vec<(String, ServerSpec)>,
    /// Faults from the beginning, by server name or `*`.
    pub faults: Vec<(String, Faults)>,
    /// How long things take where a server does not say.
    pub delays: Delays,
    /// Where game ports are taken.
    pub game_ports: GamePorts,
    /// What the binary logs; the library leaves logging alone.
    pub log: LogConfig,
}

/// The binary's defaults, on a free port.
impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            token: None,
            dsn: None,
            servers: Vec::new(),
            faults: Vec::new(),
            delays: Delays {
                boot: Duration::from_secs(5),
                stop: Duration::from_secs(1),
                port: Duration::ZERO,
            },
            game_ports: GamePorts {
                bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
                range: None,
                advertise_host: None,
            },
            log: LogConfig {
                level: tracing::Level::INFO,
                format: LogFormat::Text,
            },
        }
    }
}

impl Config {
    /// Reads the merged settings.
    ///
    /// # Errors
    /// Everything that is wrong with them, each with the variable or key it came from.
    pub fn read(mut settings: Settings) -> Result<Self, ConfigError> {
        let base = Self::default();
        let delay = |text: &str| values::duration(text, Duration::ZERO, DELAY_MAX);
        let config = Self {
            listen: settings
                .parse("listen", values::binding)
                .unwrap_or(base.listen),
            token: settings.parse("token", |text| Ok::<_, String>(Secret::new(text))),
            dsn: settings.parse("dsn", Dsn::parse),
            servers: settings.parse_list("server", ServerSpec::parse),
            faults: settings.parse_list("fault", named_faults),
            delays: Delays {
                boot: settings
                    .parse("boot_delay", delay)
                    .unwrap_or(base.delays.boot),
                stop: settings
                    .parse("stop_delay", delay)
                    .unwrap_or(base.delays.stop),
                port: settings
                    .parse("port_delay", delay)
                    .unwrap_or(base.delays.port),
            },
            game_ports: GamePorts {
                bind: settings
                    .parse("game_bind", ip)
                    .unwrap_or(base.game_ports.bind),
                range: settings.parse("game_ports", ports),
                advertise_host: settings.parse("advertise_host", host),
            },
            log: LogConfig {
                level: settings.parse("log_level", level).unwrap_or(base.log.level),
                format: settings
                    .parse("log_format", format)
                    .unwrap_or(base.log.format),
            },
        };
        for (name, _) in &config.faults {
            if name != "*" && !config.servers.iter().any(|(server, _)| server == name) {
                settings.problem(format!("fault: there is no server {name:?}"));
            }
        }
        settings.finish().map(|()| config)
    }
}

fn named_faults(text: &str) -> Result<(String, Faults), String> {
    let (name, faults) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} is not of the form name=fault"))?;
    Ok((name.trim().to_owned(), Faults::parse(faults)?))
}

fn ip(text: &str) -> Result<IpAddr, String> {
    text.trim()
        .parse()
        .map_err(|_| format!("{text:?} is not an IP address"))
}

fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let wrong = || format!("{text:?} is not a range of ports such as 25600-25699");
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| values::number(text, 1, u16::MAX).map_err(|_| wrong());
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        return Err(wrong());
    }
    Ok(first..=last)
}

fn host(text: &str) -> Result<String, String> {
    let bad = |char: char| char.is_whitespace() || char.is_control() || char == '/';
    if text.is_empty() || text.contains(bad) {
        return Err(format!("{text:?} is not a host name or IP address"));
    }
    Ok(text.to_owned())
}

fn level(text: &str) -> Result<tracing::Level, String> {
    text.trim()
        .parse()
        .map_err(|_| format!("{text:?} is not a log level: error, warn, info, debug or trace"))
}

fn format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("{text:?} is not a log format: text or json")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(flags: &[&str], environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let command = SPEC.flags(clap::Command::new("waker-mock"));
        let flags = std::iter::once("waker-mock").chain(flags.iter().copied());
        let environment = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::read(SPEC.load(&command.get_matches_from(flags), environment)?)
    }

    #[test]
    fn without_settings_the_defaults_of_library_and_binary_are_one() {
        let (read, own) = (read(&[], &[]).unwrap(), Config::default());

        assert_eq!(read.listen, "127.0.0.1:8080".parse().unwrap());
        assert_eq!(read.delays, own.delays);
        assert_eq!(read.game_ports, own.game_ports);
        assert_eq!(read.log, own.log);
    }

    #[test]
    fn servers_come_from_flags_and_environment_together() {
        let config = read(
            &[
                "--server",
                "a=a.test;boot=3s",
                "--server",
                "b=b.test",
                "--fault",
                "a=hang_poll",
            ],
            &[
                ("WAKER_MOCK_SERVER", "c=c.test,d=d.test"),
                ("WAKER_MOCK_TOKEN", "12345"),
            ],
        )
        .unwrap();

        let names: Vec<&str> = config
            .servers
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, ["c", "d", "a", "b"]);
        assert_eq!(config.token.unwrap().expose(), "12345");
        assert_eq!(config.faults.len(), 1);
    }

    #[test]
    fn what_is_wrong_is_said_with_where_it_came_from() {
        for (flags, reason) in [
            (["--game-ports", "25700-25600"], "--game-ports"),
            (["--boot-delay", "5"], "not a duration"),
            (["--fault", "x=never_running"], "no server \"x\""),
            (["--game-bind", "localhost"], "not an IP address"),
        ] {
            let error = read(&flags, &[]).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        let error = read(
            &[],
            &[("WAKER_MOCK_DSN", "postgres://u:hush@h/d?sslmode=x")],
        );
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("WAKER_MOCK_DSN") && !error.contains("hush"),
            "{error}"
        );
    }
}
