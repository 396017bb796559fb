//! The contract: what each request does and which status answers it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::Desk;
use super::answer::{self, Problem};
use crate::faults::{Faults, HANG_MAX, MALFORMED_JSON, Verdict};
use crate::journal;
use crate::manager::Refused;
use crate::server::Started;
use crate::spec::ServerSpec;

/// The header that carries the key.
const KEY_HEADER: &str = "x-api-key";

type Answer = Result<Response, Problem>;

pub(crate) fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/healthz", get(async || Json(json!({ "status": "ok" }))))
        .route("/servers", get(list))
        .route("/servers/{name}", get(poll).put(put_server).delete(remove))
        .route("/servers/{name}/start", post(start))
        .route("/servers/{name}/stop", post(stop))
        .route(
            "/servers/{name}/faults",
            put(set_faults).delete(clear_faults),
        )
        .route(
            "/faults",
            put(set_faults_of_all).delete(clear_faults_of_all),
        )
        .fallback(async || Problem(StatusCode::NOT_FOUND, "no such path".to_owned()))
        .method_not_allowed_fallback(async || {
            Problem(
                StatusCode::METHOD_NOT_ALLOWED,
                "no such method here".to_owned(),
            )
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&desk), admit))
        .with_state(desk)
}

/// Notes the request, and lets it pass if its key is right or none is asked for.
async fn admit(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    let key = request.headers().get(KEY_HEADER);
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    desk.journal.note(journal::Request {
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().map(str::to_owned),
        api_key: key.map(text),
        at: tokio::time::Instant::now().into_std(),
    });
    let open = request.uri().path() == "/healthz";
    let known = match (&desk.token, key) {
        (None, _) => true,
        (Some(token), Some(key)) => same(token.expose().as_bytes(), key.as_bytes()),
        (Some(_), None) => false,
    };
    if open || known {
        return next.run(request).await;
    }
    let reason = "the X-API-Key header is missing or wrong";
    Problem(StatusCode::UNAUTHORIZED, reason.to_owned()).into_response()
}

/// Compares in a time that depends on the lengths alone.
fn same(secret: &[u8], given: &[u8]) -> bool {
    let differences = secret
        .iter()
        .zip(given)
        .fold(0, |sum, (a, b)| sum | (a ^ b));
    secret.len() == given.len() && std::hint::black_box(differences) == 0
}

/// The `{name}` of the path.
struct Name(String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let wrong = |_| Problem(StatusCode::BAD_REQUEST, "the name is not UTF-8".to_owned());
        path.map(|Path(name)| Self(name)).map_err(wrong)
    }
}

/// How long the answer may wait for a change: `?wait=` in seconds, or the preference of that name
/// (RFC 7240), at most [`answer::WAIT_MAX`]. What is no number asks for nothing.
struct Wait(Duration);

impl<S: Send + Sync> FromRequestParts<S> for Wait {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let query = parts.uri.query().unwrap_or_default().split('&');
        let prefer = parts.headers.get_all("prefer").iter();
        let prefer = prefer.filter_map(|value| value.to_str().ok());
        let mut wishes = query.chain(prefer.flat_map(|value| value.split([',', ';'])));
        let seconds = wishes.find_map(|wish| wish.trim().strip_prefix("wait=")?.parse().ok());
        let wait = Duration::from_secs(seconds.unwrap_or_default());
        Ok(Self(wait.min(answer::WAIT_MAX)))
    }
}

async fn list(State(desk): State<Arc<Desk>>) -> Json<Value> {
    let servers = desk.manager.all_seen();
    Json(servers.iter().map(answer::server).collect())
}

async fn start(State(desk): State<Arc<Desk>>, Name(name): Name) -> Answer {
    let delay = match desk.manager.on_start(&name)? {
        Verdict::Answer(delay) => delay,
        Verdict::Refuse(status, delay) => return refuse(&desk, status, delay).await,
        Verdict::Hang => return hang(&desk).await,
    };
    let started = desk.manager.start(&name)?;
    let body = describe(&desk, &name)?;
    late(&desk, delay).await;
    match started {
        Started::Begun | Started::Queued => Ok((StatusCode::ACCEPTED, body).into_response()),
        Started::Already => {
            let reason = "it is starting or running already";
            Err(Problem(StatusCode::CONFLICT, reason.to_owned()))
        }
    }
}

async fn poll(State(desk): State<Arc<Desk>>, Name(name): Name, Wait(wait): Wait) -> Answer {
    let delay = match desk.manager.on_poll(&name)? {
        Verdict::Answer(delay) => delay,
        Verdict::Refuse(status, delay) => return refuse(&desk, status, delay).await,
        Verdict::Hang => return hang(&desk).await,
    };
    let changed = desk.manager.seen_changed(&name, wait);
    let seen = match desk.stop.run_until_cancelled(changed).await {
        Some(seen) => seen,
        None => desk.manager.seen(&name),
    };
    let mut seen = seen.ok_or(Refused::Unknown)?;
    late(&desk, delay).await;
    if seen.faults.malformed_json {
        return Ok(answer::raw(MALFORMED_JSON));
    }
    seen.address = seen.faults.address(seen.address);
    Ok(Json(answer::polled(&seen)).into_response())
}

async fn stop(State(desk): State<Arc<Desk>>, Name(name): Name) -> Answer {
    desk.manager.stop(&name)?;
    Ok((StatusCode::ACCEPTED, describe(&desk, &name)?).into_response())
}

async fn put_server(State(desk): State<Arc<Desk>>, Name(name): Name, body: Body) -> Answer {
    let spec: ServerSpec = answer::read(body).await?;
    let created = desk.manager.put(&name, spec)?;
    let status = if created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, describe(&desk, &name)?).into_response())
}

async fn remove(State(desk): State<Arc<Desk>>, Name(name): Name) -> Answer {
    desk.manager.remove(&name)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn set_faults(State(desk): State<Arc<Desk>>, Name(name): Name, body: Body) -> Answer {
    let faults: Faults = answer::read(body).await?;
    desk.manager.set_faults(&name, Some(faults))?;
    Ok(describe(&desk, &name)?.into_response())
}

async fn clear_faults(State(desk): State<Arc<Desk>>, Name(name): Name) -> Answer {
    desk.manager.set_faults(&name, None)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn set_faults_of_all(State(desk): State<Arc<Desk>>, body: Body) -> Answer {
    let faults: Faults = answer::read(body).await?;
    desk.manager.set_faults_of_all(faults.clone());
    Ok(Json(faults).into_response())
}

async fn clear_faults_of_all(State(desk): State<Arc<Desk>>) -> StatusCode {
    desk.manager.set_faults_of_all(Faults::default());
    StatusCode::NO_CONTENT
}

fn describe(desk: &Desk, name: &str) -> Result<Json<Value>, Problem> {
    let seen = desk.manager.seen(name).ok_or(Refused::Unknown)?;
    Ok(Json(answer::server(&seen)))
}

async fn late(desk: &Desk, delay: Duration) {
    if !delay.is_zero() {
        let sleep = tokio::time::sleep(delay);
        desk.stop.run_until_cancelled(sleep).await;
    }
}

async fn refuse(desk: &Desk, status: u16, delay: Duration) -> Answer {
    late(desk, delay).await;
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Err(Problem(status, "refused, as the faults ask for".to_owned()))
}

async fn hang(desk: &Desk) -> Answer {
    late(desk, HANG_MAX).await;
    let reason = "no answer, as the faults ask for";
    Err(Problem(StatusCode::GATEWAY_TIMEOUT, reason.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_right_only_as_a_whole() {
        assert!(same(b"secret", b"secret"));
        for given in [&b"secres"[..], b"secre", b"secrets", b""] {
            assert!(!same(b"secret", given));
        }
    }
}
