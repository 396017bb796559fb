//! The settings of notifications by webhook. The URL may hold a key, so it is never printed; it has
//! a flag all the same, as with mc-router.

use std::time::Duration;

use super::settings::{Key, Kind, Settings};
use super::text;
use super::values::switch;
use crate::http_client::HookUrl;
use crate::webhook::event::EventKind;

pub(super) const KEYS: &[Key] = &[
    text(
        "webhook_url",
        "",
        "URL that is told who connects and who leaves; unset is off",
    ),
    Key {
        name: "webhook_events",
        kind: Kind::List,
        default: Some("connect,disconnect"),
        help: "What it is told of, also: route-added, route-removed, default-route-set, default-route-removed",
    },
    Key {
        name: "webhook_require_user",
        kind: Kind::Switch,
        default: Some("false"),
        help: "Tell it of players only, not of status pings",
    },
    text(
        "webhook_timeout",
        "30s",
        "How long one request to it may take",
    ),
];

/// Who is told what.
#[derive(Debug, Clone)]
pub struct WebhookConfig {
    /// Where events are posted.
    pub url: HookUrl,
    /// Which.
    pub events: Vec<EventKind>,
    /// Whether events of clients without a player are left out.
    pub require_user: bool,
    /// Longest time of one request.
    pub timeout: Duration,
}

/// The webhook for notifications, if there is one.
pub(super) fn webhook(
    settings: &mut Settings,
    timeout: impl Fn(&str) -> Result<Duration, String>,
) -> Option<WebhookConfig> {
    let events = settings.parse_list("webhook_events", EventKind::parse);
    let require_user = settings
        .parse("webhook_require_user", switch)
        .unwrap_or_default();
    let timeout = settings
        .parse("webhook_timeout", timeout)
        .unwrap_or_default();
    let url = settings.parse("webhook_url", HookUrl::parse)?;
    Some(WebhookConfig {
        url,
        events,
        require_user,
        timeout,
    })
}
