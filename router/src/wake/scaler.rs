//! Waking by webhook: the words of mc-router's scaler for routes that no server-manager knows by name.
//!
//! One request starts the server, and its answer may say where that is. Nothing more is ever said of
//! it, so what tells that it runs is its port.

use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::down::Answered;
use super::reply::StartReply;
use super::wanted::Wanted;
use crate::addr::BackendAddr;
use crate::config::ScalerConfig;
use crate::config::values::short;
use crate::host::Host;
use crate::http_client::{Hook, HttpError};
use crate::routes::Route;

/// Asks one webhook.
#[derive(Debug)]
pub struct ScalerClient {
    hook: Hook,
    /// How long the answer to a stop may take.
    timeout: Duration,
}

impl ScalerClient {
    /// Prepares the client; connects to nothing yet.
    ///
    /// # Errors
    /// See [`HttpError`].
    pub fn new(config: &ScalerConfig) -> Result<Self, HttpError> {
        let setting = "AUTO_SCALE_WEBHOOK_URL";
        Ok(Self {
            hook: Hook::new(&config.url, &config.headers, setting)?,
            timeout: config.timeout,
        })
    }

    /// Has the server started, within `limit`; some answer only when it is up. `sent` is notified once it has
    /// been asked.
    pub async fn up(&self, wanted: &Wanted, limit: Duration, sent: &Notify) -> StartReply {
        let request = request("up", &wanted.host, &wanted.backend);
        match self.hook.post(request, limit, sent).await {
            Ok((status, body)) => up_reply(status, &body.unwrap_or_default()),
            Err(problem) => problem.into(),
        }
    }

    /// Has the server of `route` stopped; some answer only when it has ended.
    ///
    /// # Errors
    /// It could not be asked, or the answer is none of success.
    pub async fn down(&self, route: &Route) -> Result<Answered, String> {
        let host = route.host.as_ref().map_or("", Host::as_str);
        let request = request("down", host, &route.backend);
        let sent = Notify::new();
        let answer = timeout(self.timeout, self.hook.post(request, Duration::MAX, &sent)).await;
        match answer {
            Ok(Ok((status, _))) if status.is_success() => Ok(Answered::Yes),
            Ok(Ok((status, _))) => Err(format!("it answered {status}")),
            Ok(Err(problem)) => Err(problem.to_string()),
            Err(_) if timeout(Duration::ZERO, sent.notified()).await.is_ok() => {
                Ok(Answered::NotYet)
            }
            Err(_) => Err(format!("no answer within {}", short(self.timeout))),
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

/// Any 2xx is an acceptance. What cannot be read of an answer says nothing.
fn up_reply(status: StatusCode, body: &[u8]) -> StartReply {
    match status.as_u16() {
        200..=299 => {
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
    fn what_is_no_success_is_a_failure_and_tried_again_where_that_may_help() {
        let reply = |status: u16| up_reply(StatusCode::from_u16(status).unwrap(), b"{}");
        for status in [200, 202, 204] {
            assert_eq!(reply(status), StartReply::Accepted, "{status}");
        }
        for status in [300, 302, 304, 307, 400, 401, 404, 409] {
            assert_eq!(reply(status), StartReply::Denied(status));
        }
        for status in [408, 429, 500, 503, 599] {
            assert!(matches!(reply(status), StartReply::Broken(_)), "{status}");
        }
    }
}
