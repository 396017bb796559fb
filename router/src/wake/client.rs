//! HTTP to the server-manager: its two requests, and what its answers mean.
//!
//! The wire format stays in this file. Statuses and JSON become [`StartReply`] and
//! [`PollReply`]; what follows from them is decided in [`super::machine`].

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, HeaderValue, InvalidHeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::sync::Notify;

use super::reply::{PollReply, Polled, StartReply};
use crate::addr::BackendAddr;
use crate::causes::with_causes;
use crate::config::WakerConfig;
use crate::http_client::{AGENT, HttpClient, HttpError, Problem, ask, client, within};

/// Longest time one poll may take, answer included, and a wait it asks for aside.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer that is read.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Everything but RFC 3986's unreserved characters is escaped in a server's name.
const NAME_ESCAPES: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What every request's path is appended to: `http` or `https`, a host, and maybe a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    /// Without a slash at the end.
    text: String,
    https: bool,
}

impl BaseUrl {
    /// Checks `text`; slashes at its end are dropped.
    ///
    /// # Errors
    /// No `http` or `https` URL, or one with a user, a query or a fragment. The text is not
    /// repeated, since a user part may hold a password.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let uri: Uri = text
            .trim()
            .parse()
            .map_err(|_| "not a URL such as http://server-manager:8080")?;
        let https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err("the URL must begin with http:// or https://"),
        };
        let authority = uri
            .authority()
            .map(hyper::http::uri::Authority::as_str)
            .unwrap_or_default();
        if authority.contains('@') {
            return Err("the URL may not hold a user or password; use AUTOMC_WAKER_TOKEN");
        }
        if uri.query().is_some() || text.contains('#') {
            return Err("the URL may have no query and no fragment");
        }
        Ok(Self {
            text: text.trim().trim_end_matches('/').to_owned(),
            https,
        })
    }

    fn of(&self, server: &str, rest: &str) -> Result<Uri, hyper::http::uri::InvalidUri> {
        // A name of dots alone would otherwise be taken for a step in the path.
        let name = match server {
            "." => "%2E".to_owned(),
            ".." => "%2E%2E".to_owned(),
            name => utf8_percent_encode(name, NAME_ESCAPES).to_string(),
        };
        format!("{}/servers/{name}{rest}", self.text).parse()
    }
}

/// A client of one server-manager.
#[derive(Debug)]
pub struct ManagerClient {
    http: HttpClient,
    base: BaseUrl,
    token: Option<HeaderValue>,
}

/// Why there can be no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// HTTP or TLS could not be set up.
    #[error("AUTOMC_WAKER_URL: {0}")]
    Http(#[from] HttpError),
    /// A token that no HTTP header can carry.
    #[error("AUTOMC_WAKER_TOKEN cannot be sent in an HTTP header")]
    Token(#[source] InvalidHeaderValue),
}

impl ManagerClient {
    /// Prepares the client; connects to nothing yet.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn new(config: &WakerConfig) -> Result<Self, ClientError> {
        let token = config.token.as_ref().map(|token| {
            let mut value = HeaderValue::from_str(token.expose())?;
            value.set_sensitive(true);
            Ok(value)
        });
        Ok(Self {
            http: client(config.url.https)?,
            base: config.url.clone(),
            token: token.transpose().map_err(ClientError::Token)?,
        })
    }

    /// Where it is, without its scheme and path.
    #[must_use]
    pub fn host(&self) -> &str {
        let (_, rest) = self.base.text.split_once("://").unwrap_or_default();
        rest.split('/').next().unwrap_or_default()
    }

    /// `GET /servers`, which starts nothing and of which only the status counts: any is an answer.
    ///
    /// # Errors
    /// There is none in time, or one that leads elsewhere.
    pub async fn answers(&self) -> Result<StatusCode, String> {
        let exchange = async {
            let uri = format!("{}/servers", self.base.text).parse();
            let uri = uri.map_err(|error: hyper::http::uri::InvalidUri| {
                Problem::Broken(error.to_string())
            })?;
            let response = self
                .exchange(Method::GET, uri, None, &Notify::new())
                .await?;
            Ok(response.status())
        };
        let answer = within(REQUEST_TIMEOUT, exchange).await;
        answer.map_err(|problem| problem.to_string())
    }

    /// `POST /servers/{server}/start`, within `limit`; some answer only when the server is up. The status
    /// says it all; a body is not read. `sent` is notified once the server-manager has been asked.
    pub async fn start(&self, server: &str, limit: Duration, sent: &Notify) -> StartReply {
        let exchange = async {
            let asked = self.send(Method::POST, server, "/start", None, sent);
            Ok(start_reply(asked.await?.status()))
        };
        within(limit, exchange)
            .await
            .unwrap_or_else(StartReply::from)
    }

    /// `GET /servers/{server}`, within `limit`. With a `wait`, of whole seconds, the
    /// server-manager is asked to answer only when there is a change or that time has passed.
    pub async fn poll(&self, server: &str, wait: Option<Duration>, limit: Duration) -> Polled {
        let exchange = async {
            let sent = Notify::new();
            let response = self.send(Method::GET, server, "", wait, &sent).await?;
            let status = response.status();
            if !status.is_success() {
                return Ok(poll_refusal(status).into());
            }
            let body = Limited::new(response.into_body(), BODY_BYTES_MAX)
                .collect()
                .await;
            let body = body.map_err(|error| Problem::Broken(with_causes(&*error)))?;
            Ok(poll_reply(&body.to_bytes()))
        };
        let most = REQUEST_TIMEOUT + wait.unwrap_or_default();
        within(limit.min(most), exchange)
            .await
            .unwrap_or_else(|problem| PollReply::Broken(problem.to_string()).into())
    }

    async fn send(
        &self,
        method: Method,
        server: &str,
        rest: &str,
        wait: Option<Duration>,
        sent: &Notify,
    ) -> Result<Response<Incoming>, Problem> {
        let wait = wait.map(|wait| format!("wait={}", wait.as_secs()));
        let query = wait.as_ref().map(|wait| format!("?{wait}"));
        let rest = [rest, query.as_deref().unwrap_or_default()].concat();
        let uri = self
            .base
            .of(server, &rest)
            .map_err(|error| Problem::Broken(error.to_string()))?;
        self.exchange(method, uri, wait, sent).await
    }

    async fn exchange(
        &self,
        method: Method,
        uri: Uri,
        wait: Option<String>,
        sent: &Notify,
    ) -> Result<Response<Incoming>, Problem> {
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(wait) = wait {
            // RFC 7240, which has a name for it; the query is for those who know only that.
            request = request.header("Prefer", wait);
        }
        if let Some(token) = &self.token {
            request = request.header("X-API-Key", token);
        }
        let request = request
            .header(USER_AGENT, AGENT)
            .header(ACCEPT, "application/json")
            .body(Full::<Bytes>::default())
            .map_err(|error| Problem::Broken(error.to_string()))?;
        ask(&self.http, request, "AUTOMC_WAKER_URL", sent).await
    }
}

impl From<Problem> for StartReply {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Broken(reason) => Self::Broken(reason),
            Problem::Redirected(reason) => Self::Redirected(reason),
        }
    }
}

fn start_reply(status: StatusCode) -> StartReply {
    match status.as_u16() {
        200..=299 | 409 => StartReply::Accepted,
        429 | 500..=599 => StartReply::Broken(format!("it answered {status}")),
        other => StartReply::Denied(other),
    }
}

/// What the server-manager says of one server. Fields it adds are no concern of ours.
#[derive(serde::Deserialize)]
struct ServerJson {
    state: String,
    #[serde(default)]
    address: Option<Value>,
    #[serde(default)]
    progress: Option<Value>,
    #[serde(default, rename = "maxWait")]
    max_wait: Option<Value>,
}

fn poll_refusal(status: StatusCode) -> PollReply {
    match status.as_u16() {
        denied @ (401 | 403 | 404) => PollReply::Denied(denied),
        _ => PollReply::Broken(format!("it answered {status}")),
    }
}

fn poll_reply(body: &[u8]) -> Polled {
    let server: ServerJson = match serde_json::from_slice(body) {
        Ok(server) => server,
        Err(error) => {
            let reason = format!("its answer is not the JSON due: {error}");
            return PollReply::Broken(reason).into();
        }
    };
    let reply = match server.state.trim().to_ascii_lowercase().as_str() {
        "running" => {
            let address = server.address.as_ref().and_then(Value::as_str);
            PollReply::Running(address.and_then(|text| BackendAddr::parse(text).ok()))
        }
        state @ ("failed" | "crashed" | "error") => PollReply::Failed(state.to_owned()),
        _ => PollReply::NotYet,
    };
    let seconds = server.max_wait.as_ref().and_then(Value::as_f64);
    Polled {
        reply,
        percent: server.progress.as_ref().and_then(percent),
        max_wait: seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
    }
}

/// Reads `0.45`, `45`, `"45%"` and `"0.45"`: up to 1 it is a share, above that percent, unless it
/// says so itself. Rounded down; what lies beyond 100 % says nothing.
fn percent(value: &Value) -> Option<u8> {
    let text = value.as_str().map(str::trim);
    let marked = text.and_then(|text| text.strip_suffix('%'));
    let number = match (marked.or(text), value) {
        (Some(text), _) => text.trim().parse().ok()?,
        (None, value) => value.as_f64()?,
    };
    let share = marked.is_none() && number <= 1.0;
    // A little more, so that 0.29 is 29 and not 28.999….
    let number = if share { number * 100.0 } else { number } + 1e-9;
    let valid = (0.0..100.5).contains(&number);
    (0..=100_u8)
        .rev()
        .find(|percent| valid && f64::from(*percent) <= number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_and_slashes_do_not_pile_up() {
        for base in [
            "http://sm:8080/api",
            "http://sm:8080/api/",
            "http://sm:8080/api//",
        ] {
            let url = BaseUrl::parse(base).unwrap();
            for (name, path) in [
                ("test1", "/api/servers/test1/start"),
                ("a b/ü?", "/api/servers/a%20b%2F%C3%BC%3F/start"),
                ("..", "/api/servers/%2E%2E/start"),
            ] {
                assert_eq!(url.of(name, "/start").unwrap().path(), path, "{base}");
            }
        }
        let bare = BaseUrl::parse("http://sm").unwrap();
        assert_eq!(bare.of("x", "").unwrap().to_string(), "http://sm/servers/x");
    }

    #[test]
    fn urls_that_cannot_be_a_base_are_refused() {
        for url in [
            "",
            "sm:8080",
            "ftp://sm",
            "http://u:p@sm",
            "http://sm?x=1",
            "http://sm/#x",
        ] {
            assert!(BaseUrl::parse(url).is_err(), "{url:?}");
        }
    }

    #[test]
    fn a_conflict_is_as_good_as_accepted() {
        for status in [200, 201, 202, 204, 409] {
            assert_eq!(
                start_reply(StatusCode::from_u16(status).unwrap()),
                StartReply::Accepted
            );
        }
        for status in [301, 400, 401, 403, 404, 405, 422] {
            let reply = start_reply(StatusCode::from_u16(status).unwrap());
            assert_eq!(reply, StartReply::Denied(status));
        }
        for status in [429, 500, 502, 503] {
            let reply = start_reply(StatusCode::from_u16(status).unwrap());
            assert!(matches!(reply, StartReply::Broken(_)), "{status}");
        }
    }

    #[test]
    fn a_poll_answer_is_read_leniently_but_not_blindly() {
        let reply = |json: &str| poll_reply(json.as_bytes()).reply;
        let address = BackendAddr::parse("10.0.0.5:25565").ok();
        assert_eq!(
            reply(r#"{"state":"running","address":"10.0.0.5:25565","since":1}"#),
            PollReply::Running(address)
        );
        for json in [
            r#"{"state":"Running"}"#,
            r#"{"state":"running","address":null}"#,
            r#"{"state":"running","address":""}"#,
            r#"{"state":"running","address":"nonsense"}"#,
            r#"{"state":"running","address":["10.0.0.5:25565"]}"#,
        ] {
            assert_eq!(reply(json), PollReply::Running(None), "{json}");
        }
        for state in ["starting", "stopped", "stopping", "whatever"] {
            assert_eq!(
                reply(&format!(r#"{{"state":"{state}"}}"#)),
                PollReply::NotYet
            );
        }
        assert_eq!(
            reply(r#"{"state":"crashed"}"#),
            PollReply::Failed("crashed".to_owned())
        );
        for json in [
            "",
            "{",
            "[]",
            "null",
            r#"{"state":7}"#,
            r#"{"address":"a:1"}"#,
        ] {
            assert!(matches!(reply(json), PollReply::Broken(_)), "{json}");
        }
        assert_eq!(poll_refusal(StatusCode::NOT_FOUND), PollReply::Denied(404));
        assert!(matches!(
            poll_refusal(StatusCode::BAD_GATEWAY),
            PollReply::Broken(_)
        ));
    }

    #[test]
    fn progress_is_read_as_a_share_or_in_percent_and_nonsense_is_none() {
        let read = |progress: &str| {
            let json = format!(r#"{{"state":"starting","progress":{progress}}}"#);
            let polled = poll_reply(json.as_bytes());
            assert_eq!(polled.reply, PollReply::NotYet, "{progress}");
            polled.percent
        };
        for (progress, percent) in [
            ("0", 0),
            ("0.45", 45),
            ("0.29", 29),
            ("1", 100),
            ("1.0", 100),
            ("1.5", 1),
            ("45", 45),
            ("45.9", 45),
            ("100", 100),
            (r#""45%""#, 45),
            (r#"" 45 % ""#, 45),
            (r#""1%""#, 1),
            (r#""0.5%""#, 0),
            (r#""0.45""#, 45),
            (r#""45""#, 45),
        ] {
            assert_eq!(read(progress), Some(percent), "{progress}");
        }
        for nonsense in [
            "null",
            "-1",
            "-0.1",
            "101",
            "1e300",
            "[]",
            "true",
            r#""""#,
            r#""%""#,
            r#""soon""#,
            r#""NaN""#,
            r#""inf""#,
        ] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn an_offer_to_wait_is_read_and_nonsense_is_none() {
        let read = |wait: &str| {
            let json = format!(r#"{{"state":"starting","maxWait":{wait}}}"#);
            poll_reply(json.as_bytes()).max_wait
        };
        assert_eq!(read("30"), Some(Duration::from_secs(30)));
        assert_eq!(read("0.5"), Some(Duration::from_millis(500)));
        for nonsense in ["null", "-1", "1e300", r#""30""#, "[30]", "true"] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
    }

    #[tokio::test]
    async fn a_start_is_judged_by_its_status_though_its_body_never_ends() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let config = WakerConfig {
            url: BaseUrl::parse(&url).unwrap(),
            token: None,
            poll_interval: Duration::from_secs(2),
            timeout: Duration::from_secs(90),
        };
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert_ne!(stream.read(&mut [0; 1024]).await.unwrap(), 0, "the request");
            let head = b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";
            stream.write_all(head).await.unwrap();
            let mut rest = Vec::new();
            drop(stream.read_to_end(&mut rest).await);
        });

        let reply = ManagerClient::new(&config)
            .unwrap()
            .start("x", Duration::from_secs(1), &Notify::new())
            .await;

        assert_eq!(reply, StartReply::Accepted);
    }
}
