//! How this process asks others over HTTP: HTTP/1.1, plain or with TLS, connections kept a while.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::config::values::short;
use crate::tls;

/// What this router calls itself.
pub(crate) const AGENT: &str = concat!("automc-router/", env!("CARGO_PKG_VERSION"));
/// Longest time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Idle connections kept open to one host.
const IDLE_CONNECTIONS_MAX: usize = 16;
/// How long an idle connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Why there can be no client.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// `https` without any trusted authority on this machine.
    #[error(
        "a URL is https, but this machine has no trusted certificates (install ca-certificates)"
    )]
    NoRoots(#[source] std::io::Error),
    /// TLS could not be set up at all.
    #[error("TLS could not be set up")]
    Tls(#[source] rustls::Error),
}

/// A client for any number of hosts; connects to nothing yet. Without `https` it trusts nobody.
pub(crate) fn client(https: bool) -> Result<HttpClient, HttpError> {
    let roots = if https {
        tls::native_roots().map_err(HttpError::NoRoots)?
    } else {
        rustls::RootCertStore::empty()
    };
    let tls = tls::client_config(roots).map_err(HttpError::Tls)?;
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.enforce_http(false);
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .build(
            hyper_rustls::HttpsConnectorBuilder::new()
                .with_tls_config(tls)
                .https_or_http()
                .enable_http1()
                .wrap_connector(connector),
        ))
}

/// Has `exchange` end within `limit`.
pub(crate) async fn within<T>(
    limit: Duration,
    exchange: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let outcome = tokio::time::timeout(limit, exchange).await;
    outcome.unwrap_or_else(|_| Err(format!("no answer within {}", short(limit))))
}
