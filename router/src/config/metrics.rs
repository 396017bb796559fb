//! The settings of metrics: where they are sent, besides being there for who asks.

use std::time::Duration;

use hyper::Uri;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::secret::Secret;
use super::settings::{Key, Kind, Settings};
use super::text;

pub(super) const KEYS: &[Key] = &[
    text(
        "metrics_backend",
        "discard",
        "discard, expvar, influxdb or prometheus; /metrics and /vars are always there",
    ),
    text(
        "metrics_backend_config_influxdb_addr",
        "",
        "URL of InfluxDB, for metrics-backend influxdb",
    ),
    text(
        "metrics_backend_config_influxdb_interval",
        "1m",
        "How often InfluxDB is written to",
    ),
    Key {
        name: "metrics_backend_config_influxdb_tags",
        kind: Kind::List,
        default: None,
        help: "Tags name=value of all that is written; repeatable, or separated by commas or line ends",
    },
    text(
        "metrics_backend_config_influxdb_database",
        "",
        "Database that is written to",
    ),
    text(
        "metrics_backend_config_influxdb_username",
        "",
        "Who writes; empty: nobody in particular",
    ),
    text(
        "metrics_backend_config_influxdb_password",
        "",
        "Password of who writes; better from the environment or the file",
    ),
    text(
        "metrics_backend_config_influxdb_retention_policy",
        "",
        "Retention policy that is written to; empty: the database's default",
    ),
];

/// InfluxDB (1.x, or the same interface of a later one).
#[derive(Debug, Clone)]
pub struct InfluxConfig {
    /// Where lines are posted, database and retention policy included.
    pub write: Uri,
    /// Who writes, if anybody in particular.
    pub login: Option<(String, Secret)>,
    /// From one write to the next.
    pub interval: Duration,
    /// On every line.
    pub tags: Vec<(String, String)>,
}

/// Where metrics are sent, if anywhere.
pub(super) fn influx(
    settings: &mut Settings,
    interval: impl Fn(&str) -> Result<Duration, String>,
) -> Option<InfluxConfig> {
    const PREFIX: &str = "metrics_backend_config_influxdb";
    let backend = |text: &str| match text.trim() {
        "influxdb" => Ok(true),
        "discard" | "expvar" | "prometheus" => Ok(false),
        _ => Err(format!(
            "{text:?} is not a metrics backend: discard, expvar, influxdb or prometheus"
        )),
    };
    let wanted = settings.parse("metrics_backend", backend);
    let mut texts = |key: &str| settings.parse(&format!("{PREFIX}_{key}"), str::parse::<String>);
    let [database, policy, user, password] =
        ["database", "retention_policy", "username", "password"].map(&mut texts);
    let interval = settings.parse(&format!("{PREFIX}_interval"), interval);
    let mut tags: Vec<(String, String)> = Vec::new();
    for (name, value) in settings.parse_list(&format!("{PREFIX}_tags"), tag) {
        // The last of a name counts, as with mc-router.
        tags.retain(|(known, _)| *known != name);
        tags.push((name, value));
    }
    let addr = settings.parse(&format!("{PREFIX}_addr"), base);
    if !wanted.unwrap_or_default() {
        return None;
    }
    for (key, missing) in [("addr", addr.is_none()), ("database", database.is_none())] {
        if missing {
            settings.problem(format!(
                "metrics_backend is influxdb, which needs {PREFIX}_{key}"
            ));
        }
    }
    let escaped = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let policy = policy.map(|policy| format!("&rp={}", escaped(&policy)));
    let (addr, database) = (addr?, escaped(&database?));
    let write = format!("{addr}/write?db={database}{}", policy.unwrap_or_default());
    Some(InfluxConfig {
        write: write.parse().ok()?,
        login: user.map(|user| (user, Secret::new(password.unwrap_or_default()))),
        interval: interval?,
        tags,
    })
}

/// A URL that paths can be appended to. It is not repeated: it may hold a password.
fn base(text: &str) -> Result<String, &'static str> {
    let wrong = "not a URL such as http://influxdb:8086";
    let uri: Uri = text.trim().parse().map_err(|_| wrong)?;
    let authority = uri.authority().ok_or(wrong)?;
    if authority.as_str().contains('@') {
        return Err("the URL may not hold a user or password; they have settings of their own");
    }
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.query().is_some() {
        return Err("the URL must begin with http:// or https:// and have no query");
    }
    Ok(text.trim().trim_end_matches('/').to_owned())
}

fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, _)) if name.trim() == "time" => {
            Err("no tag may be called time: InfluxDB refuses what has one".to_owned())
        }
        Some((name, value)) if !name.trim().is_empty() && !value.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err(format!("{text:?} is not of the form name=value")),
    }
}
