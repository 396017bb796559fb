//! HTTP for talking to the router's API and to server-managers.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{HeaderMap, Method, Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest time one request may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Largest answer: a hundred thousand routes fit.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A status, headers and a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as text.
    pub body: String,
}

impl Answer {
    /// The header `name`, where it is there and a text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// It is none.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_str(&self.body).with_context(|| format!("not JSON: {:?}", self.body))
    }
}

/// A connection that takes one request after the other.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Connection {
    /// Connects to `host:port`.
    ///
    /// # Errors
    /// There is nobody.
    pub async fn open(host: &str) -> Result<Self> {
        let connect = async {
            let stream = TcpStream::connect(host).await?;
            stream.set_nodelay(true)?;
            let (sender, connection) = handshake(TokioIo::new(stream)).await?;
            // Ends when the sender is dropped; what goes wrong shows in the requests.
            tokio::spawn(async move { drop(connection.await) });
            Ok(Self {
                sender,
                host: host.to_owned(),
            })
        };
        timeout(TIMEOUT, connect)
            .await
            .with_context(|| format!("{host} does not answer"))?
    }

    /// Sends a request and reads its answer whole.
    ///
    /// # Errors
    /// No answer, or none in time.
    pub async fn request(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("Host", &self.host);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into()))?;
        let exchange = async {
            self.sender.ready().await?;
            let response = self.sender.send_request(request).await?;
            let status = response.status().as_u16();
            let headers = response.headers().clone();
            let body = Limited::new(response.into_body(), BODY_BYTES_MAX)
                .collect()
                .await;
            let body = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
            Ok(Answer {
                status,
                headers,
                body: String::from_utf8_lossy(&body).into_owned(),
            })
        };
        timeout(TIMEOUT, exchange)
            .await
            .context("no answer in time")?
    }
}

/// Sends `body` to `url` by `method`, with `headers`, over a connection of its own.
///
/// # Errors
/// No answer, or none in time.
pub async fn request(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Answer> {
    let uri: Uri = url.parse()?;
    ensure!(uri.scheme_str() == Some("http"), "{url} is no http URL");
    let host = uri.host().with_context(|| format!("{url} has no host"))?;
    let host = format!("{host}:{}", uri.port_u16().unwrap_or(80));
    let path = uri
        .path_and_query()
        .map_or("/", hyper::http::uri::PathAndQuery::as_str);
    let mut connection = Connection::open(&host).await?;
    connection
        .request(method, path, headers, body)
        .await
        .with_context(|| format!("request to {url}"))
}

/// `GET url`.
///
/// # Errors
/// No answer, or none in time.
pub async fn get(url: &str) -> Result<Answer> {
    request(Method::GET, url, &[], Bytes::new()).await
}
