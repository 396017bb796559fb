//! What the router is told: every setting with its default, checked once at start.

mod admit;
mod api;
pub mod cli;
pub mod compat;
mod defaults;
mod docker;
pub mod durations;
mod file;
pub mod flag_order;
pub mod go_flags;
mod health;
mod metrics;
#[cfg(feature = "ngrok")]
mod ngrok;
mod postgres;
mod proxy;
mod routes;
mod scaler;
pub mod secret;
pub mod settings;
pub mod values;
mod waker;
mod webhook;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::addr::BackendAddr;
use crate::health::schedule::Checks;
use crate::host::{Host, Names};
use crate::log::{LogConfig, LogFormat};
use crate::rate::Rate;
use crate::routes::policy::Policy;
pub use admit::AdmitConfig;
pub use api::TOKEN_BYTES_MIN;
use docker::docker;
pub use docker::{DockerConfig, EngineAddr};
pub use metrics::InfluxConfig;
#[cfg(feature = "ngrok")]
pub use ngrok::NgrokConfig;
pub use postgres::PostgresConfig;
use postgres::postgres;
pub use proxy::Proxies;
pub use routes::RoutesConfig;
pub use scaler::ScalerConfig;
use scaler::scaler;
use secret::Secret;
use settings::{ConfigError, Key, Kind, Settings, Spec};
use values::{binding, duration, number, switch};
pub use waker::WakerConfig;
use waker::{rate, waker};
pub use webhook::WebhookConfig;
use webhook::webhook;

/// Shortest secret that signs cookies, in bytes: a client that has one can try as many as it likes.
const COOKIE_SECRET_BYTES_MIN: usize = 16;

/// Every setting of the router.
pub const SPEC: Spec = Spec {
    groups: &[
        KEYS,
        postgres::KEYS,
        routes::KEYS,
        admit::KEYS,
        waker::KEYS,
        scaler::KEYS,
        #[cfg(feature = "docker")]
        docker::KEYS,
        webhook::KEYS,
        defaults::KEYS,
        proxy::KEYS,
        api::KEYS,
        metrics::KEYS,
        health::KEYS,
        #[cfg(feature = "ngrok")]
        ngrok::KEYS,
    ],
    env_prefix: "",
    ignored: compat::IGNORED,
};

const KEYS: &[Key] = &[
    text(
        "port",
        "25565",
        "Port players connect to; 0 picks a free one",
    ),
    Key {
        name: "mapping",
        kind: Kind::List,
        default: None,
        help: "Fixed route host=backend:port; repeatable, or separated by commas or line ends",
    },
    text(
        "default",
        "",
        "Backend host:port for host names without a route",
    ),
    text(
        "backend_dial_timeout",
        "2s",
        "How long one connection attempt to a backend may take",
    ),
    text(
        "max_connections",
        "10000",
        "Connections served at once; more are closed at once",
    ),
    text(
        "shutdown_grace",
        "20s",
        "How long players may finish after SIGTERM",
    ),
    Key {
        name: "automc_cookie_secret",
        kind: Kind::Secret,
        default: None,
        help: "Signs the cookies of transfers; unset: random at each start",
    },
    text(
        "automc_state_file",
        "",
        "File that remembers servers' last statuses and how long they took to start",
    ),
    text(
        "automc_status_ttl",
        "5s",
        "How long a backend's answer to a status ping is used again",
    ),
    text(
        "auto_scale_asleep_motd",
        "",
        "Status text of a sleeping server",
    ),
    text(
        "auto_scale_loading_motd",
        "",
        "Status text of a starting server",
    ),
    motd(
        "use_asleep_motd",
        "Like auto-scale-asleep-motd; alone: a friendly text",
    ),
    motd(
        "use_loading_motd",
        "Like auto-scale-loading-motd; alone: a friendly text",
    ),
    text("log_level", "info", "error, warn, info, debug or trace"),
    text("log_format", "text", "text or json"),
    Key {
        name: "debug",
        kind: Kind::Switch,
        default: None,
        help: "Same as log-level debug",
    },
    Key {
        name: "trace",
        kind: Kind::Switch,
        default: None,
        help: "Same as log-level trace",
    },
];

const fn text(name: &'static str, default: &'static str, help: &'static str) -> Key {
    let default = if default.is_empty() {
        None
    } else {
        Some(default)
    };
    Key {
        name,
        kind: Kind::Text,
        default,
        help,
    }
}

const fn motd(name: &'static str, help: &'static str) -> Key {
    Key {
        name,
        kind: Kind::SwitchOrText,
        default: None,
        help,
    }
}

/// The settings of one run, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Port players connect to; 0 picks a free one.
    pub port: u16,
    /// Where the REST API listens, if anywhere.
    pub api_binding: Option<SocketAddr>,
    /// What requests to it must carry, if anything.
    pub api_token: Option<Secret>,
    /// The tunnel that players come through instead of the port, if there is to be one.
    #[cfg(feature = "ngrok")]
    pub ngrok: Option<NgrokConfig>,
    /// Where metrics are written, if anywhere.
    pub influx: Option<InfluxConfig>,
    /// Fixed routes.
    pub mapping: Vec<(Host, BackendAddr)>,
    /// Backend for host names without a route.
    pub default: Option<BackendAddr>,
    /// The routes file, and how names are read.
    pub routes: RoutesConfig,
    /// Limit of one connection attempt to a backend.
    pub backend_dial_timeout: Duration,
    /// Connections served at once.
    pub max_connections: usize,
    /// Who gets in.
    pub admit: AdmitConfig,
    /// Whose PROXY headers count; `None` when none are expected.
    pub proxies: Option<Proxies>,
    /// How long players may finish after the first signal.
    pub shutdown_grace: Duration,
    /// Routes from Postgres, if wanted.
    pub postgres: Option<PostgresConfig>,
    /// The server-manager, if there is one.
    pub waker: Option<WakerConfig>,
    /// What starts the servers of fixed routes, if anything does.
    pub scaler: Option<ScalerConfig>,
    /// The engine whose containers are routes, if there is one.
    pub docker: Option<DockerConfig>,
    /// Who is told of those who come and leave, if anybody is.
    pub webhook: Option<WebhookConfig>,
    /// What becomes of players on routes that do not say otherwise.
    pub defaults: Arc<Policy>,
    /// How many wakes one client address may cause; `None` is no limit.
    pub wake_per_address: Option<Rate>,
    /// How many wakes one player name may cause; `None` is no limit.
    pub wake_per_name: Option<Rate>,
    /// Signs the cookies of transfers; `None` is one made up at each start.
    pub cookie_secret: Option<Secret>,
    /// What is remembered of servers over a restart, if anything.
    pub state_file: Option<PathBuf>,
    /// How long a backend's status answer is used again.
    pub status_ttl: Duration,
    /// Which backends are asked how they are.
    pub checks: Checks,
    /// What is logged and how.
    pub log: LogConfig,
    /// What to warn of at start, a sentence each.
    pub notices: Vec<String>,
}

impl Config {
    /// Reads the merged settings.
    ///
    /// # Errors
    /// Everything that is wrong with them, each with the variable or key it came from.
    pub fn read(mut settings: Settings) -> Result<Self, ConfigError> {
        let within = |min, max| move |text: &str| duration(text, min, max);
        let (milli, minute) = (Duration::from_millis(10), Duration::from_secs(60));
        let (hour, day) = (minute * 60, minute * 60 * 24);
        let routes = routes::routes(&mut settings);
        let admit = admit::admit(&mut settings, routes.names);
        let config = Self {
            port: settings
                .parse("port", |text| number(text, 0, u16::MAX))
                .unwrap_or_default(),
            api_binding: settings.parse("api_binding", binding),
            api_token: settings.parse("api_token", api::token),
            #[cfg(feature = "ngrok")]
            ngrok: ngrok::ngrok(&mut settings),
            influx: metrics::influx(&mut settings, within(milli * 10, day)),
            mapping: settings.parse_list("mapping", |text| mapping(text, routes.names)),
            default: settings.parse("default", BackendAddr::parse),
            routes,
            backend_dial_timeout: settings
                .parse("backend_dial_timeout", within(milli, minute))
                .unwrap_or_default(),
            max_connections: settings
                .parse("max_connections", |text| number(text, 1, 1_000_000))
                .unwrap_or_default(),
            admit,
            proxies: proxy::proxies(&mut settings),
            shutdown_grace: settings
                .parse("shutdown_grace", within(Duration::ZERO, day))
                .unwrap_or_default(),
            postgres: postgres(&mut settings),
            waker: waker(&mut settings, within(milli, hour), within(milli, day)),
            scaler: scaler(&mut settings, within(milli, day)),
            docker: docker(&mut settings, hour),
            webhook: webhook(&mut settings, within(milli, hour)),
            defaults: Arc::new(defaults::policy(&mut settings)),
            wake_per_address: settings.parse("automc_wake_per_address", rate).flatten(),
            wake_per_name: settings.parse("automc_wake_per_name", rate).flatten(),
            cookie_secret: settings.parse("automc_cookie_secret", cookie_secret),
            state_file: settings.parse("automc_state_file", str::parse),
            status_ttl: settings
                .parse("automc_status_ttl", within(Duration::ZERO, hour))
                .unwrap_or_default(),
            checks: health::checks(&mut settings, within(Duration::ZERO, day)),
            log: log(&mut settings),
            notices: settings.notices().to_vec(),
        };
        settings.finish().map(|()| config)
    }
}

fn mapping(text: &str, names: Names) -> Result<(Host, BackendAddr), String> {
    let (host, backend) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} is not of the form host=backend:port"))?;
    let host = names.parse(host).map_err(|error| error.to_string())?;
    let backend = BackendAddr::parse(backend).map_err(|error| error.to_string())?;
    Ok((host, backend))
}

/// Never quoted: the value is a secret.
fn cookie_secret(text: &str) -> Result<Secret, String> {
    match text.len() {
        COOKIE_SECRET_BYTES_MIN.. => Ok(Secret::new(text)),
        _ => Err(format!("shorter than {COOKIE_SECRET_BYTES_MIN} bytes")),
    }
}

fn log(settings: &mut Settings) -> LogConfig {
    let level = |text: &str| match text.trim().to_ascii_lowercase().as_str() {
        "warning" => Ok(tracing::Level::WARN),
        // mc-router's two above errors, at which nothing is logged that runs on.
        "fatal" | "panic" => Ok(tracing::Level::ERROR),
        name => name
            .parse()
            .map_err(|_| format!("{text:?} is not a log level: error, warn, info, debug or trace")),
    };
    let format = |text: &str| match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("{text:?} is not a log format: text or json")),
    };
    let mut chosen = settings
        .parse("log_level", level)
        .unwrap_or(tracing::Level::INFO);
    for (key, level) in [
        ("debug", tracing::Level::DEBUG),
        ("trace", tracing::Level::TRACE),
    ] {
        if settings.parse(key, switch).unwrap_or_default() {
            chosen = chosen.max(level);
        }
    }
    LogConfig {
        level: chosen,
        format: settings
            .parse("log_format", format)
            .unwrap_or(LogFormat::Text),
    }
}

#[cfg(test)]
mod api_tests;
#[cfg(test)]
mod tests;
