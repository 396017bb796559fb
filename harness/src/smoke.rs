//! `harness smoke`: whether a router that runs elsewhere wakes a server for a login.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::net::lookup_host;

use crate::eventually::eventually;
use crate::http;
use crate::player::Player;

/// Longest time until the host is routed.
const ROUTE_DEADLINE: Duration = Duration::from_secs(30);

/// Pings and joins `host` through the router at `router` (`host:port`), whose API is at `api`.
/// The server behind it must be a waker-mock's. Returns what happened, a line each.
///
/// # Errors
/// The first thing that is not as it should be.
pub async fn run(router: &str, api: &str, host: &str) -> Result<Vec<String>> {
    let mut told = Vec::new();
    let router = lookup_host(router)
        .await?
        .next()
        .context("the router's address is nowhere")?;
    let backend = eventually(&format!("a route for {host}"), ROUTE_DEADLINE, async || {
        let routes = http::get(&format!("{api}/routes")).await?.json()?;
        routes.get(host).cloned().context("none")
    })
    .await?;
    told.push(format!("{api}/routes has {host}: {backend}"));

    let status = Player::new(host).status(router).await?;
    told.push(format!("its status shows {:?}", status.text()));

    let text = Player::new(host).refusal(router).await?;
    ensure!(
        text.contains("is running"),
        "a login should wake the server, and was told {text:?}"
    );
    told.push(format!("a login woke it; the server itself says {text:?}"));

    let status = Player::new(host).status(router).await?;
    ensure!(
        status.json.pointer("/version/name") != Some(&"automc".into()),
        "its status should be its own now, and is {}",
        status.json
    );
    told.push(format!("its status is its own now: {:?}", status.text()));
    Ok(told)
}
