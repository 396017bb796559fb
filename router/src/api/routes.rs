//! Lists and changes routes, in mc-router's shapes and status codes.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::listing::{self, Detail};
use super::{Api, Refusal};
use crate::addr::BackendAddr;
use crate::routes::Route;
use crate::routes::file::Edit;
use crate::routes::file_keeper::ChangeError;
use crate::routes::registry::Outcome;
use crate::servers::Target;

/// One route as it is listed.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listed {
    backend: String,
    /// All of them, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    backends: Vec<String>,
    /// The name its server is started by; empty when it cannot be.
    scaling_target: String,
    /// What is known of its server.
    state: &'static str,
}

/// Every route by its hosts, as mc-router does; with a parameter of [`listing`]'s, in detail.
pub(super) async fn list(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let query = query.unwrap_or_default();
    if listing::is_detailed(&query)? {
        return Ok(Json(listing::list(api, &query).await?).into_response());
    }
    let table = api.registry.table();
    let listed = table.iter();
    let listed = listed.map(|(host, route)| (host.to_string(), Listed::of(&api, route)));
    Ok(Json(listed.collect::<BTreeMap<_, _>>()).into_response())
}

/// The route of one host, whatever its spelling, or of this name; the default route has no host.
pub(super) async fn show(
    State(api): State<Api>,
    Path(host): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Detail>, Refusal> {
    listing::show(&api, &host, query.as_deref().unwrap_or_default()).map(Json)
}

impl Listed {
    fn of(api: &Api, route: &Route) -> Self {
        let seen = api.servers.snapshot(&Target::of(route, api.starters));
        Self {
            backend: route.backend.to_string(),
            backends: match route.backends() {
                Some(_) => route.addresses().map(ToString::to_string).collect(),
                None => Vec::new(),
            },
            scaling_target: route.server_name().unwrap_or_default().to_owned(),
            state: seen.state.name(),
        }
    }
}

fn no_route(key: &str) -> Refusal {
    Refusal(StatusCode::NOT_FOUND, format!("no route for {key:?}"))
}

/// With the spellings of Go's encoder, too: mc-router does not mind the case of keys.
#[derive(serde::Deserialize)]
struct Added {
    #[serde(
        rename = "serverAddress",
        alias = "serveraddress",
        alias = "ServerAddress",
        default
    )]
    server_address: String,
    #[serde(alias = "Backend", default)]
    backend: String,
}

pub(super) async fn add(State(api): State<Api>, body: Bytes) -> Result<StatusCode, Refusal> {
    let added: Added = json(&body)?;
    let host = api.registry.names().parse(&added.server_address);
    let host = host.map_err(|error| bad("serverAddress", &error))?;
    let backend = BackendAddr::parse(&added.backend).map_err(|error| bad("backend", &error))?;
    api.fixed.change(Edit::Set(host, backend)).await?;
    Ok(StatusCode::CREATED)
}

pub(super) async fn remove(
    State(api): State<Api>,
    Path(host): Path<String>,
) -> Result<StatusCode, Refusal> {
    let key = api.registry.names().key(&host).into_owned();
    match api.fixed.change(Edit::Remove(key.clone())).await? {
        Outcome::Done => Ok(StatusCode::OK),
        Outcome::NotFound => Err(no_route(&key)),
        Outcome::OwnedByPostgres => Err(Refusal(
            StatusCode::CONFLICT,
            format!(
                "the route for {key:?} comes from Postgres; delete or disable its row in servers"
            ),
        )),
        Outcome::OwnedByDocker => Err(Refusal(
            StatusCode::CONFLICT,
            format!("the route for {key:?} comes from a container; change its labels"),
        )),
    }
}

#[derive(serde::Deserialize)]
struct Default {
    #[serde(alias = "Backend", default)]
    backend: String,
}

pub(super) async fn set_default(
    State(api): State<Api>,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    let default: Default = json(&body)?;
    let backend = BackendAddr::parse(&default.backend).map_err(|error| bad("backend", &error))?;
    api.fixed.change(Edit::Default(Some(backend))).await?;
    Ok(StatusCode::OK)
}

pub(super) async fn show_default(State(api): State<Api>) -> Result<Json<Listed>, Refusal> {
    let table = api.registry.table();
    let route = table.default_route().ok_or_else(no_default)?;
    Ok(Json(Listed::of(&api, route)))
}

pub(super) async fn remove_default(State(api): State<Api>) -> Result<StatusCode, Refusal> {
    match api.fixed.change(Edit::Default(None)).await? {
        Outcome::Done => Ok(StatusCode::OK),
        Outcome::NotFound | Outcome::OwnedByPostgres | Outcome::OwnedByDocker => Err(no_default()),
    }
}

fn no_default() -> Refusal {
    let reason = "there is no default route".to_owned();
    Refusal(StatusCode::NOT_FOUND, reason)
}

/// A change that is not made at all: neither in force nor in the routes file.
impl From<ChangeError> for Refusal {
    fn from(error: ChangeError) -> Self {
        let status = match error {
            ChangeError::Full(_) | ChangeError::TooLarge => StatusCode::INSUFFICIENT_STORAGE,
            ChangeError::Unreadable(_) | ChangeError::NotWritten(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Self(status, error.to_string())
    }
}

/// The content type is not looked at, since mc-router never did.
fn json<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        Refusal(
            StatusCode::BAD_REQUEST,
            format!("the body is not the JSON due: {error}"),
        )
    })
}

fn bad(field: &str, error: &dyn std::error::Error) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, format!("{field}: {error}"))
}
