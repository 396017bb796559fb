//! A reader of the router's server-sent events.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::http::Answer;

/// Longest time the next event may take: signs of life come every 15 s.
const TIMEOUT: Duration = Duration::from_secs(30);

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its id, where it has one.
    pub id: Option<u64>,
    /// What it is called.
    pub event: String,
    /// What it says.
    pub data: Value,
}

/// The events of a router, as long as this is kept.
#[derive(Debug)]
pub struct Events {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    body: Incoming,
    text: String,
}

impl Events {
    /// Asks for them; after the event `last`, if that is told.
    ///
    /// # Errors
    /// No answer.
    pub async fn open(api: SocketAddr, last: Option<&str>) -> Result<Self> {
        let opening = async {
            let stream = TcpStream::connect(api).await?;
            let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
            // Ends with the body; what goes wrong shows there.
            tokio::spawn(async move { drop(connection.await) });
            let mut request = Request::get("/events").header("Host", api.to_string());
            if let Some(last) = last {
                request = request.header("Last-Event-ID", last);
            }
            let response = sender
                .send_request(request.body(Empty::<Bytes>::new())?)
                .await?;
            Ok(Self {
                status: response.status().as_u16(),
                headers: response.headers().clone(),
                body: response.into_body(),
                text: String::new(),
            })
        };
        timeout(TIMEOUT, opening)
            .await
            .context("no answer in time")?
    }

    /// The next event, signs of life aside; `None` once there are no more.
    ///
    /// # Errors
    /// None in time, or what is no event.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            let Some((block, rest)) = self.text.split_once("\n\n") else {
                let frame = timeout(TIMEOUT, self.body.frame()).await;
                let Some(frame) = frame.context("no event in time")? else {
                    return Ok(None);
                };
                if let Ok(data) = frame?.into_data() {
                    self.text += std::str::from_utf8(&data)?;
                }
                continue;
            };
            let (block, rest) = (block.to_owned(), rest.to_owned());
            self.text = rest;
            if !block.starts_with(':') {
                return Ok(Some(event(&block)?));
            }
        }
    }

    /// The head of the answer, and the first event as it was sent.
    ///
    /// # Errors
    /// None in time.
    pub async fn first(mut self) -> Result<Answer> {
        let frame = timeout(TIMEOUT, self.body.frame()).await?;
        let data = frame.context("no event")??.into_data().unwrap_or_default();
        Ok(Answer {
            status: self.status,
            headers: self.headers,
            body: String::from_utf8(data.to_vec())?,
        })
    }
}

fn event(block: &str) -> Result<Event> {
    let field = |name: &str| {
        let mut lines = block.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    Ok(Event {
        id: field("id").map(str::parse).transpose()?,
        event: field("event").context(block.to_owned())?.to_owned(),
        data: serde_json::from_str(field("data").context(block.to_owned())?)?,
    })
}
