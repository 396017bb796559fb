//! The settings of waking: the server-manager, and how many wakes a client may cause.

use std::time::Duration;

use super::secret::Secret;
use super::settings::{Key, Kind, Settings};
use super::text;
use crate::rate::Rate;
use crate::wake::client::BaseUrl;

pub(super) const KEYS: &[Key] = &[
    text(
        "automc_waker_url",
        "",
        "Base URL of the server-manager that starts sleeping servers",
    ),
    Key {
        name: "automc_waker_token",
        kind: Kind::Secret,
        default: None,
        help: "Sent to the server-manager as X-API-Key",
    },
    text(
        "automc_waker_poll_interval",
        "2s",
        "How often a starting server's state is asked for",
    ),
    text(
        "automc_waker_timeout",
        "1m30s",
        "How long a server may take to start",
    ),
    text(
        "automc_wake_per_address",
        "30/10m",
        "How many wakes one client address (of IPv6, one /64) may cause in what time; or off",
    ),
    text(
        "automc_wake_per_name",
        "10/10m",
        "How many wakes one player name may cause in what time; or off",
    ),
];

/// The server-manager.
#[derive(Debug, Clone)]
pub struct WakerConfig {
    /// What every request's path is appended to.
    pub url: BaseUrl,
    /// Sent as `X-API-Key`, if set.
    pub token: Option<Secret>,
    /// Least time between two polls of one server.
    pub poll_interval: Duration,
    /// Longest time from the start to running.
    pub timeout: Duration,
}

/// The server-manager, if there is one.
pub(super) fn waker(
    settings: &mut Settings,
    interval: impl Fn(&str) -> Result<Duration, String>,
    timeout: impl Fn(&str) -> Result<Duration, String>,
) -> Option<WakerConfig> {
    let poll_interval = settings
        .parse("automc_waker_poll_interval", interval)
        .unwrap_or_default();
    let timeout = settings
        .parse("automc_waker_timeout", timeout)
        .unwrap_or_default();
    let token = |text: &str| {
        // Never quoted: the value is a secret.
        let sendable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if sendable {
            Ok(Secret::new(text))
        } else {
            Err("not a value an HTTP header can carry")
        }
    };
    let token = settings.parse("automc_waker_token", token);
    let url = settings.parse("automc_waker_url", BaseUrl::parse)?;
    Some(WakerConfig {
        url,
        token,
        poll_interval,
        timeout,
    })
}

/// A limit of wakes, or none.
pub(super) fn rate(text: &str) -> Result<Option<Rate>, String> {
    match text.trim() {
        "off" => Ok(None),
        text => Rate::parse(text).map(Some),
    }
}
