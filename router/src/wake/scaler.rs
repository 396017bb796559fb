//! Waking by webhook: the words of mc-router's scaler for routes that no server-manager knows by name.
//!
//! One request starts the server, and its answer may say where that is. Nothing more is ever said of
//! it, so what tells that it runs is its port.

use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use serde_json::{Value, json};

use super::reply::StartReply;
use super::wanted::Wanted;
use crate::addr::BackendAddr;
use crate::config::ScalerConfig;
use crate::host::Host;
use crate::http_client::{Hook, HttpError};
use crate::routes::Route;

/// Asks one webhook.
#[derive(Debug)]
pub struct ScalerClient {
    hook: Hook,
}

impl ScalerClient {
    /// Prepares the client; connects to nothing yet.
    ///
    /// # Errors
    /// See [`HttpError`].
    pub fn new(config: &ScalerConfig) -> Result<Self, HttpError> {
        let hook = Hook::new(&config.url, &config.headers, config.timeout)?;
        Ok(Self { hook })
    }

    /// Has the server started, within `limit` and the configured timeout.
    pub async fn up(&self, wanted: &Wanted, limit: Duration) -> StartReply {
        let request = request("up", &wanted.host, &wanted.backend);
        match self.hook.post(request, limit).await {
            Ok((status, body)) => up_reply(status, &body.unwrap_or_default()),
            Err(problem) => StartReply::Broken(problem),
        }
    }

    /// Has the server of `route` stopped, within the configured timeout.
    ///
    /// # Errors
    /// No answer, or one from 400 on.
    pub async fn down(&self, route: &Route) -> Result<(), String> {
        let host = route.host.as_ref().map_or("", Host::as_str);
        let request = request("down", host, &route.backend);
        match self.hook.post(request, Duration::MAX).await? {
            (status, _) if status.as_u16() < 400 => Ok(()),
            (status, _) => Err(format!("it answered {status}")),
        }
    }
}

fn request(action: &str, host: &str, backend: &BackendAddr) -> Bytes {
    let request = json!({
        "action": action,
        "serverAddress": host,
        "backend": backend.as_str(),
    });
    Bytes::from(request.to_string())
}

/// Anything below 400 is an acceptance. What cannot be read of an answer says nothing.
fn up_reply(status: StatusCode, body: &[u8]) -> StartReply {
    match status.as_u16() {
        ..400 => {
            let body: Value = serde_json::from_slice(body).unwrap_or_default();
            let address = body.get("backend").and_then(Value::as_str);
            match address.map(BackendAddr::parse) {
                Some(Ok(address)) => StartReply::AcceptedAt(address),
                _ => StartReply::Accepted,
            }
        }
        408 | 429 | 500.. => StartReply::Broken(format!("it answered {status}")),
        denied => StartReply::Denied(denied),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_may_say_where_the_server_is_and_nonsense_says_nothing() {
        let reply = |body: &str| up_reply(StatusCode::OK, body.as_bytes());
        let address = BackendAddr::parse("10.0.0.5:25565").unwrap();
        assert_eq!(
            reply(r#"{"backend":" 10.0.0.5:25565 ","more":1}"#),
            StartReply::AcceptedAt(address)
        );
        for body in [
            "",
            "ok",
            "{",
            "[]",
            "{}",
            r#"{"backend":""}"#,
            r#"{"backend":null}"#,
            r#"{"backend":25565}"#,
            r#"{"backend":"nowhere"}"#,
        ] {
            assert_eq!(reply(body), StartReply::Accepted, "{body}");
        }
    }

    #[test]
    fn from_400_on_it_is_a_failure_and_tried_again_where_that_may_help() {
        let reply = |status: u16| up_reply(StatusCode::from_u16(status).unwrap(), b"{}");
        for status in [200, 202, 204, 302] {
            assert_eq!(reply(status), StartReply::Accepted, "{status}");
        }
        for status in [400, 401, 404, 409] {
            assert_eq!(reply(status), StartReply::Denied(status));
        }
        for status in [408, 429, 500, 503, 599] {
            assert!(matches!(reply(status), StartReply::Broken(_)), "{status}");
        }
    }
}
