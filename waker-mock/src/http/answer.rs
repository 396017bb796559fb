//! Bodies in and out: JSON, bounded in size and time, and one shape for errors.

use std::time::Duration;

use automc_router::config::values;
use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::manager::{Refused, Seen};

/// Largest body of a request, in bytes.
pub(crate) const BODY_BYTES_MAX: usize = 64 * 1024;
/// Longest time the body of a request may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest time a poll waits for a change.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(25);

/// A refusal with its reason, as `{"error":"…"}`.
#[derive(Debug)]
pub(crate) struct Problem(pub(crate) StatusCode, pub(crate) String);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.0, axum::Json(json!({ "error": self.1 }))).into_response()
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unknown => Self(StatusCode::NOT_FOUND, "no such server".to_owned()),
            Refused::Conflict(reason) => Self(StatusCode::CONFLICT, reason),
            Refused::Invalid(reason) => Self(StatusCode::BAD_REQUEST, reason),
            Refused::Full(reason) => Self(StatusCode::INSUFFICIENT_STORAGE, reason),
        }
    }
}

/// Reads a JSON object; no body at all is an empty one.
pub(crate) async fn read<T: DeserializeOwned>(body: Body) -> Result<T, Problem> {
    let reading = timeout(BODY_TIMEOUT, axum::body::to_bytes(body, BODY_BYTES_MAX));
    let bytes = match reading.await {
        Ok(Ok(bytes)) if bytes.is_empty() => Bytes::from_static(b"{}"),
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => {
            let reason = format!("the body is over {BODY_BYTES_MAX} bytes or incomplete");
            return Err(Problem(StatusCode::PAYLOAD_TOO_LARGE, reason));
        }
        Err(_) => {
            let reason = "the body took too long".to_owned();
            return Err(Problem(StatusCode::REQUEST_TIMEOUT, reason));
        }
    };
    serde_json::from_slice(&bytes)
        .map_err(|error| Problem(StatusCode::BAD_REQUEST, error.to_string()))
}

/// A body that says JSON and may be none.
pub(crate) fn raw(text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// One server in the words of the contract; `address` is missing while unknown.
pub(crate) fn server(seen: &Seen) -> Value {
    let mut value = json!({
        "name": *seen.name,
        "domain": seen.spec.domain,
        "state": seen.state.as_str(),
    });
    if let Some(object) = value.as_object_mut() {
        if let Some(address) = &seen.address {
            object.insert("address".to_owned(), json!(address));
        }
        if let Some(percent) = seen.percent.filter(|_| !seen.faults.plain) {
            object.insert("progress".to_owned(), json!(f64::from(percent) / 100.0));
        }
        if let Some(delay) = seen.spec.boot_delay {
            object.insert("boot_delay".to_owned(), json!(values::short(delay)));
        }
        let faults = json!(seen.faults);
        if faults != json!({}) {
            object.insert("faults".to_owned(), faults);
        }
    }
    value
}

/// The same as the answer to a poll, which offers to wait for a change.
pub(crate) fn polled(seen: &Seen) -> Value {
    let mut value = server(seen);
    if let Some(object) = value.as_object_mut()
        && !seen.faults.plain
    {
        object.insert("maxWait".to_owned(), json!(WAIT_MAX.as_secs()));
    }
    value
}
