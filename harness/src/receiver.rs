//! A webhook's receiver that remembers what it was sent and answers by script.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use wiremock::{Mock, MockServer, Respond, ResponseTemplate, matchers};

use crate::eventually::eventually;
use crate::manager::Reply;

/// Most requests that are remembered.
const REQUESTS_MAX: usize = 10_000;

/// One request, as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its body.
    pub json: Value,
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
}

#[derive(Debug, Default)]
struct Script {
    replies: VecDeque<Reply>,
    received: Vec<Received>,
}

/// A running receiver. Dropping it closes its port and every connection.
#[derive(Debug)]
pub struct Receiver {
    server: MockServer,
    script: Arc<Mutex<Script>>,
}

struct Scripted(Arc<Mutex<Script>>);

impl Receiver {
    /// One that takes everything.
    ///
    /// # Errors
    /// No port is to be had.
    pub async fn start() -> Result<Self> {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// The same at `addr`.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn start_at(addr: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(addr)?;
        let server = MockServer::builder().listener(listener).start().await;
        let script = Arc::default();
        let scripted = Scripted(Arc::clone(&script));
        let mock = Mock::given(matchers::any()).respond_with(scripted);
        mock.mount(&server).await;
        let receiver = Self { server, script };
        receiver.replies([Reply::status(204)]);
        Ok(receiver)
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        *self.server.address()
    }

    /// A URL of it, with a key in it.
    #[must_use]
    pub fn url(&self) -> String {
        url(self.addr())
    }

    /// What it answers from now on; the last one repeats.
    pub fn replies(&self, replies: impl IntoIterator<Item = Reply>) {
        lock(&self.script).replies = replies.into_iter().collect();
    }

    /// Every request so far, in order.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        lock(&self.script).received.clone()
    }

    /// Waits until there were `count` requests; their bodies.
    ///
    /// # Errors
    /// There were fewer within `deadline`, or more.
    pub async fn bodies(&self, count: usize, deadline: Duration) -> Result<Vec<Value>> {
        eventually("what a webhook is sent", deadline, async || {
            let received = self.received();
            ensure!(received.len() >= count, "{received:?}");
            Ok(())
        })
        .await?;
        let received = self.received();
        ensure!(received.len() == count, "{received:?}");
        Ok(received.into_iter().map(|one| one.json).collect())
    }
}

/// The URL of a receiver at `addr`, with a key in it.
#[must_use]
pub fn url(addr: SocketAddr) -> String {
    format!("http://{addr}/hook/s3cret?key=s3cret")
}

impl Respond for Scripted {
    fn respond(&self, request: &wiremock::Request) -> ResponseTemplate {
        let mut script = lock(&self.0);
        let header = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.to_string(), value)
        };
        if script.received.len() < REQUESTS_MAX {
            script.received.push(Received {
                json: serde_json::from_slice(&request.body).unwrap_or_default(),
                headers: request.headers.iter().map(header).collect(),
            });
        }
        let reply = if script.replies.len() > 1 {
            script.replies.pop_front()
        } else {
            script.replies.front().cloned()
        };
        reply.map_or_else(|| ResponseTemplate::new(500), Reply::into_template)
    }
}

fn lock(script: &Mutex<Script>) -> MutexGuard<'_, Script> {
    script.lock().unwrap_or_else(PoisonError::into_inner)
}
