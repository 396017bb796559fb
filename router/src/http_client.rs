//! How this process asks others over HTTP: HTTP/1.1, plain or with TLS, connections kept a while.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tower_service::Service;

use crate::causes::with_causes;
use crate::config::values::short;
use crate::dial::dial_host;
use crate::tls;

/// What this router calls itself.
pub(crate) const AGENT: &str = concat!("automc-router/", env!("CARGO_PKG_VERSION"));
/// Longest time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Idle connections kept open to one host.
const IDLE_CONNECTIONS_MAX: usize = 16;
/// How long an idle connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer of a webhook that is read.
pub const HOOK_ANSWER_BYTES_MAX: usize = 4 * 1024;

pub(crate) type HttpClient = Client<HttpsConnector<Dialer>, Full<Bytes>>;

/// Why there can be no client.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// `https` without any trusted authority on this machine.
    #[error(
        "a URL is https, but this machine has no trusted certificates (install ca-certificates)"
    )]
    NoRoots(#[source] io::Error),
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
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .build(
            hyper_rustls::HttpsConnectorBuilder::new()
                .with_tls_config(tls)
                .https_or_http()
                .enable_http1()
                .wrap_connector(Dialer),
        ))
}

/// Connects where a URL says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dialer;

impl Service<Uri> for Dialer {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<TcpStream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let port = match url.scheme_str() {
            Some("https") => 443,
            _ => 80,
        };
        Box::pin(async move {
            let host = url.host().ok_or(io::ErrorKind::InvalidInput)?;
            let bare = host
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'));
            let port = url.port_u16().unwrap_or(port);
            let stream = dial_host(bare.unwrap_or(host), port, CONNECT_TIMEOUT).await?;
            Ok(TokioIo::new(stream))
        })
    }
}

/// Has `exchange` end within `limit`.
pub(crate) async fn within<T>(
    limit: Duration,
    exchange: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let outcome = tokio::time::timeout(limit, exchange).await;
    outcome.unwrap_or_else(|_| Err(format!("no answer within {}", short(limit))))
}

/// The URL of a webhook. Whoever knows it may call it, so it is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct HookUrl(Uri);

impl HookUrl {
    /// Checks `text`.
    ///
    /// # Errors
    /// No `http` or `https` URL, or one with a user. The text is not repeated.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let wrong = "not a URL such as http://example.com/hook";
        let uri: Uri = text.trim().parse().map_err(|_| wrong)?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err("the URL must begin with http:// or https://");
        }
        match uri.authority() {
            None => Err(wrong),
            Some(authority) if authority.as_str().contains('@') => {
                Err("the URL may not hold a user or password")
            }
            Some(_) => Ok(Self(uri)),
        }
    }
}

impl fmt::Debug for HookUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// Posts JSON to one URL.
#[derive(Debug)]
pub(crate) struct Hook {
    http: HttpClient,
    url: HookUrl,
    headers: Vec<(HeaderName, HeaderValue)>,
    timeout: Duration,
}

impl Hook {
    /// One that sends `headers` with every request, each of which may take `timeout`.
    pub(crate) fn new(
        url: &HookUrl,
        headers: &[(HeaderName, HeaderValue)],
        timeout: Duration,
    ) -> Result<Self, HttpError> {
        Ok(Self {
            http: client(url.0.scheme_str() == Some("https"))?,
            url: url.clone(),
            headers: headers.to_vec(),
            timeout,
        })
    }

    /// The status of the answer to `json`, and its body unless that is broken or longer than
    /// [`HOOK_ANSWER_BYTES_MAX`]; within `limit` and the timeout, body included.
    pub(crate) async fn post(
        &self,
        json: Bytes,
        limit: Duration,
    ) -> Result<(StatusCode, Option<Bytes>), String> {
        let exchange = async {
            let mut request = Request::post(self.url.0.clone())
                .header(USER_AGENT, AGENT)
                .header(CONTENT_TYPE, "application/json");
            if let Some(headers) = request.headers_mut() {
                // What the operator says comes first.
                for (name, value) in &self.headers {
                    headers.insert(name, value.clone());
                }
            }
            let request = request
                .body(Full::new(json))
                .map_err(|error| error.to_string())?;
            let answer = self.http.request(request).await;
            let answer = answer.map_err(|error| with_causes(&error))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), HOOK_ANSWER_BYTES_MAX);
            let body = body.collect().await.ok().map(|body| body.to_bytes());
            Ok((status, body))
        };
        within(limit.min(self.timeout), exchange).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_url_is_checked_and_never_shown() {
        let url = HookUrl::parse(" https://example.com/hook/s3cret?key=s3cret ").unwrap();
        assert_eq!(format!("{url:?}"), "***");
        for wrong in [
            "",
            "s3cret",
            "example.com:80/s3cret",
            "ftp://example.com/s3cret",
            "http://s3cret:s3cret@example.com/",
            "http:///s3cret",
        ] {
            let error = HookUrl::parse(wrong).unwrap_err();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
