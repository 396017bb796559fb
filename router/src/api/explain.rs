//! `GET /explain?host=`: why a host name leads where it does, or nowhere.

use axum::Json;
use axum::extract::{RawQuery, State};

use super::Api;
use super::Refusal;
use super::query::{Query, refused};
use crate::explain::found::Found;
use crate::explain::offline::known;
use crate::explain::{ADDRESS_BYTES_MAX, Explanation};

pub(super) async fn show(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Json<Explanation>, Refusal> {
    let host = Query(query.as_deref().unwrap_or_default()).get("host")?;
    let host = host.ok_or_else(|| refused("say which: /explain?host=play.example.com"))?;
    if host.len() > ADDRESS_BYTES_MAX {
        return Err(refused(format!(
            "host is longer than {ADDRESS_BYTES_MAX} bytes, which is more than any client can send"
        )));
    }
    let found = api.registry.read(|pool| Found::look(pool, &host));
    let known = |route: &_| known(&api.servers, api.starters, route);
    Ok(Json(Explanation::of(&found, known)))
}
