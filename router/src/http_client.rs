//! How this process asks others over HTTP: HTTP/1.1, plain or with TLS, connections kept a while.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tower_service::Service;

use crate::causes::with_causes;
use crate::config::values::short;
use crate::dial::dial_host;
use crate::redirect::{self, REDIRECTS_MAX};
use crate::tls;

/// What this router calls itself.
pub(crate) const AGENT: &str = concat!("automc-router/", env!("CARGO_PKG_VERSION"));
/// Longest time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The same with TLS, however long the answer may take then.
const CONNECTED_TIMEOUT: Duration = Duration::from_secs(10);
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

/// Why there is no answer that is worth a look.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    /// None came; the next time one may.
    #[error("{0}")]
    Broken(String),
    /// It leads elsewhere, and will the next time.
    #[error("{0}")]
    Redirected(String),
}

/// Has `exchange` end within `limit`.
pub(crate) async fn within<T>(
    limit: Duration,
    exchange: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let outcome = tokio::time::timeout(limit, exchange).await;
    let late = |_| Problem::Broken(format!("no answer within {}", short(limit)));
    outcome.map_err(late)?
}

/// Sends `request`, and again where it is redirected within the same host. `setting` is the one that has its
/// URL. `sent` is notified once a connection has it: from then on the other side knows, perhaps.
///
/// # Cancel safety
/// Given up, it closes its connection.
pub(crate) async fn ask(
    http: &HttpClient,
    mut request: Request<Full<Bytes>>,
    setting: &str,
    sent: &Notify,
) -> Result<Response<Incoming>, Problem> {
    say_length(&mut request);
    let (mut parts, body) = request.into_parts();
    for _ in 0..=REDIRECTS_MAX {
        let mut request = Request::new(body.clone());
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = parts.uri.clone();
        *request.headers_mut() = parts.headers.clone();
        let answer = ask_once(http, request, sent).await?;
        let told = (answer.status(), answer.headers().get(LOCATION));
        let next = redirect::next(told, &parts.method, &parts.uri, setting);
        match next.map_err(Problem::Redirected)? {
            Some(next) => parts.uri = next,
            None => return Ok(answer),
        }
    }
    let many = format!("it redirects more than {REDIRECTS_MAX} times");
    Err(Problem::Redirected(many))
}

/// Says of a request without a body that it has none, where one might be expected. RFC 9110, 8.6: servers refuse
/// a POST that does not (lighttpd: 411), and hyper leaves it out.
pub(crate) fn say_length<B: Body>(request: &mut Request<B>) {
    if request.method() == Method::POST && request.body().is_end_stream() {
        let none = HeaderValue::from_static("0");
        request.headers_mut().insert(CONTENT_LENGTH, none);
    }
}

async fn ask_once(
    http: &HttpClient,
    mut request: Request<Full<Bytes>>,
    sent: &Notify,
) -> Result<Response<Incoming>, Problem> {
    let mut connection = capture_connection(&mut request);
    let mut answer = std::pin::pin!(http.request(request));
    let connected = async {
        // None: it will not have any, which the answer says.
        connection.wait_for_connection_metadata().await.is_some()
    };
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        connected = tokio::time::timeout(CONNECTED_TIMEOUT, connected) => {
            match connected {
                Ok(true) => sent.notify_one(),
                Ok(false) => {}
                Err(_) => {
                    let limit = short(CONNECTED_TIMEOUT);
                    return Err(Problem::Broken(format!("no connection within {limit}")));
                }
            }
            answer.await
        }
    };
    answer.map_err(|error| Problem::Broken(with_causes(&error)))
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
    setting: &'static str,
}

impl Hook {
    /// One that sends `headers` with every request; `setting` is the one that has its URL.
    pub(crate) fn new(
        url: &HookUrl,
        headers: &[(HeaderName, HeaderValue)],
        setting: &'static str,
    ) -> Result<Self, HttpError> {
        Ok(Self {
            http: client(url.0.scheme_str() == Some("https"))?,
            url: url.clone(),
            headers: headers.to_vec(),
            setting,
        })
    }

    /// The status of the answer to `json`, and its body unless that is broken or longer than
    /// [`HOOK_ANSWER_BYTES_MAX`]; within `limit`, body included. For `sent` see [`ask`].
    pub(crate) async fn post(
        &self,
        json: Bytes,
        limit: Duration,
        sent: &Notify,
    ) -> Result<(StatusCode, Option<Bytes>), Problem> {
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
                .map_err(|error| Problem::Broken(error.to_string()))?;
            let answer = ask(&self.http, request, self.setting, sent).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), HOOK_ANSWER_BYTES_MAX);
            let body = body.collect().await.ok().map(|body| body.to_bytes());
            Ok((status, body))
        };
        within(limit, exchange).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_without_a_body_says_so_and_nothing_else_does() {
        for (method, body, expected) in [
            (Method::POST, "", Some("0")),
            (Method::POST, "x", None),
            (Method::GET, "", None),
        ] {
            let mut request = Request::new(Full::new(Bytes::from(body)));
            *request.method_mut() = method.clone();
            say_length(&mut request);
            let length = request.headers().get(CONTENT_LENGTH);
            let length = length.map(|length| length.to_str().unwrap());
            assert_eq!(length, expected, "{method} {body:?}");
        }
    }

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
