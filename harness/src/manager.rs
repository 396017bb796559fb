//! A server-manager that answers by script and remembers what it was asked, for all the ways in
//! which a real one can go wrong.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, Respond, ResponseTemplate, matchers};

use crate::eventually::eventually;

/// Most requests that are remembered.
const REQUESTS_MAX: usize = 10_000;
/// How long an answer that never comes is held back: longer than any test lasts.
const NEVER: Duration = Duration::from_secs(3600);

/// One answer of the script.
#[derive(Debug, Clone)]
pub struct Reply(ResponseTemplate);

impl Reply {
    /// A status without a body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self(ResponseTemplate::new(status))
    }

    /// 200 with `body`, whatever that is.
    #[must_use]
    pub fn body(body: &str) -> Self {
        Self(ResponseTemplate::new(200).set_body_string(body))
    }

    /// 200 with this JSON.
    #[must_use]
    pub fn json(json: &Value) -> Self {
        Self::body(&json.to_string())
    }

    /// A server in `state`, without an address.
    #[must_use]
    pub fn state(state: &str) -> Self {
        Self::json(&json!({ "state": state }))
    }

    /// A server that runs at `address`.
    #[must_use]
    pub fn running(address: SocketAddr) -> Self {
        Self::json(&json!({ "state": "running", "address": address.to_string() }))
    }

    pub(crate) fn into_template(self) -> ResponseTemplate {
        self.0
    }

    /// No answer at all.
    #[must_use]
    pub fn hang() -> Self {
        Self(ResponseTemplate::new(200).set_delay(NEVER))
    }
}

/// What the router asks for at its start, to see whether it is answered: neither a start nor a poll.
const FIRST: &str = "/servers";

/// One request, as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// When it was answered, or would have been.
    pub at: Instant,
    /// `POST` or `GET`.
    pub method: String,
    /// The path as it was on the wire, escapes included.
    pub path: String,
    /// The values of its `X-API-Key` headers.
    pub api_keys: Vec<String>,
}

#[derive(Debug, Default)]
struct Script {
    starts: VecDeque<Reply>,
    polls: VecDeque<Reply>,
    /// Answers to polls of one server, by the path that is asked for.
    running: HashMap<String, Reply>,
    requests: Vec<Request>,
}

/// A running server-manager. Dropping it closes its port and every connection.
#[derive(Debug)]
pub struct Manager {
    server: MockServer,
    script: Arc<Mutex<Script>>,
}

struct Scripted(Arc<Mutex<Script>>);

impl Manager {
    /// One that accepts every start, and whose servers then are `starting` for ever.
    pub async fn start() -> Self {
        // Not from wiremock's pool: what lingers of one test must not ask in another.
        let server = MockServer::builder().start().await;
        let script = Arc::default();
        let scripted = Scripted(Arc::clone(&script));
        let mock = Mock::given(matchers::any()).respond_with(scripted);
        mock.mount(&server).await;
        let manager = Self { server, script };
        manager.starts([Reply::status(202)]);
        manager.polls([Reply::state("starting")]);
        manager
    }

    /// Its base URL, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.uri()
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        *self.server.address()
    }

    /// The answers to starts from now on; the last one repeats.
    pub fn starts(&self, replies: impl IntoIterator<Item = Reply>) {
        lock(&self.script).starts = replies.into_iter().collect();
    }

    /// The answers to polls from now on; the last one repeats.
    pub fn polls(&self, replies: impl IntoIterator<Item = Reply>) {
        lock(&self.script).polls = replies.into_iter().collect();
    }

    /// Whatever the script says: from now on `server`, whose name needs no escapes, runs at `address`.
    pub fn runs(&self, server: &str, address: SocketAddr) {
        let path = format!("/servers/{server}");
        let running = Reply::running(address);
        lock(&self.script).running.insert(path, running);
    }

    /// Every request so far, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.script).requests.clone()
    }

    /// How many starts and how many polls there were so far.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let requests = self.requests();
        let posts = requests.iter().filter(|request| request.method == "POST");
        let posts = posts.count();
        (posts, requests.len() - posts)
    }

    /// Waits until there were at least `polls` polls.
    ///
    /// # Errors
    /// There were fewer within `deadline`.
    pub async fn polled(&self, polls: usize, deadline: Duration) -> Result<()> {
        eventually("polls", deadline, async || self.counts().1 >= polls).await
    }
}

impl Respond for Scripted {
    fn respond(&self, request: &wiremock::Request) -> ResponseTemplate {
        let mut script = lock(&self.0);
        let text = |value: &hyper::header::HeaderValue| {
            String::from_utf8_lossy(value.as_bytes()).into_owned()
        };
        if request.url.path() == FIRST {
            return ResponseTemplate::new(404);
        }
        let remembered = Request {
            at: Instant::now(),
            method: request.method.to_string(),
            path: request.url.path().to_owned(),
            api_keys: request
                .headers
                .get_all("X-API-Key")
                .iter()
                .map(text)
                .collect(),
        };
        let start = remembered.method == "POST";
        let running = script.running.get(&remembered.path).filter(|_| !start);
        let reply = running.cloned().or_else(|| script.next(start));
        if script.requests.len() < REQUESTS_MAX {
            script.requests.push(remembered);
        }
        reply.map_or_else(|| ResponseTemplate::new(500), |reply| reply.0)
    }
}

impl Script {
    /// The next answer to a start or a poll; the last one repeats.
    fn next(&mut self, start: bool) -> Option<Reply> {
        let replies = if start {
            &mut self.starts
        } else {
            &mut self.polls
        };
        if replies.len() > 1 {
            replies.pop_front()
        } else {
            replies.front().cloned()
        }
    }
}

fn lock(script: &Mutex<Script>) -> MutexGuard<'_, Script> {
    script.lock().unwrap_or_else(PoisonError::into_inner)
}
