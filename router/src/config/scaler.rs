//! The settings of waking by webhook. URL and headers may hold keys, so they are never printed; they
//! have flags all the same, as with mc-router.

use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};

use super::settings::{Key, Kind, Settings};
use super::text;
use crate::http_client::HookUrl;

pub(super) const KEYS: &[Key] = &[
    text(
        "auto_scale_webhook_url",
        "",
        "URL that starts the servers of fixed routes; unset is off",
    ),
    Key {
        name: "auto_scale_webhook_headers",
        kind: Kind::List,
        default: None,
        help: "Headers name=value of requests to it; repeatable, or separated by commas or line ends",
    },
    text(
        "auto_scale_webhook_timeout",
        "30s",
        "How long it may take to answer a stop",
    ),
    text(
        "auto_scale_webhook_wake_timeout",
        "1m",
        "How long it may take to answer a start, and the server to start after that",
    ),
    text(
        "auto_scale_down_after",
        "10m",
        "How long nobody has played on a server when it is told to stop it; or off",
    ),
];

/// What starts the servers of fixed routes.
#[derive(Debug, Clone)]
pub struct ScalerConfig {
    /// Where requests are posted.
    pub url: HookUrl,
    /// Headers of every request; their values do not show when they are printed.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Longest time of a stop's answer.
    pub timeout: Duration,
    /// Longest time to the answer of a start, and from there to the answer of the server's port.
    pub wake_timeout: Duration,
}

/// The webhook that starts servers, if there is one.
pub(super) fn scaler(
    settings: &mut Settings,
    within: impl Fn(&str) -> Result<Duration, String>,
) -> Option<ScalerConfig> {
    let headers = settings.parse_list("auto_scale_webhook_headers", header);
    let timeout = settings
        .parse("auto_scale_webhook_timeout", &within)
        .unwrap_or_default();
    let wake_timeout = settings
        .parse("auto_scale_webhook_wake_timeout", &within)
        .unwrap_or_default();
    let url = settings.parse("auto_scale_webhook_url", HookUrl::parse)?;
    Some(ScalerConfig {
        url,
        headers,
        timeout,
        wake_timeout,
    })
}

/// Never quoted: the value may be a secret.
fn header(text: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    let wrong = "not name=value, as an HTTP header can carry them";
    let (name, value) = text.split_once('=').ok_or(wrong)?;
    let name = name.trim().parse().map_err(|_| wrong)?;
    let mut value = HeaderValue::from_str(value.trim()).map_err(|_| wrong)?;
    value.set_sensitive(true);
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_ends_at_the_first_equals_sign_and_is_never_shown() {
        let read = header("Authorization = Bearer s3cret==").unwrap();
        assert_eq!(
            (read.0.as_str(), read.1.as_bytes()),
            ("authorization", &b"Bearer s3cret=="[..])
        );
        assert!(!format!("{read:?}").contains("s3cret"));
        for wrong in ["s3cret", "=s3cret", "a b=s3cret", "a=s3cret\u{7}"] {
            let error = header(wrong).unwrap_err();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
