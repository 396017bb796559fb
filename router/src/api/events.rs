//! `GET /events`: what happens to routes, servers, health and the sync, as server-sent events (HTML Living Standard, 9.2).
//!
//! A reader has a task that comes for what is new at the reader's own pace; nobody ever waits for one. It
//! ends when the router begins to stop, and with its connection at the latest.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::history::shown;
use super::query::refused;
use super::{Api, Refusal};
use crate::journal::Journal;
use crate::journal::ring::Page;

/// Most readers at once; the rest of the API's connections are for others.
pub(super) const READERS_MAX: usize = 64;
/// How often a reader hears something.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Most events that are sent in one piece.
const EVENTS_MAX: usize = 64;

pub(super) async fn show(State(api): State<Api>, headers: HeaderMap) -> Result<Response, Refusal> {
    let last = last_event_id(&headers)?;
    let place = Arc::clone(&api.readers.0)
        .try_acquire_owned()
        .map_err(|_| {
            let reason = format!("there are {READERS_MAX} readers of events already");
            Refusal(StatusCode::SERVICE_UNAVAILABLE, reason)
        })?;
    let (pieces, received) = mpsc::channel(1);
    let journal = Arc::clone(api.registry.journal());
    tokio::spawn(feed(journal, last, pieces, place, api.stop.clone()));
    let head = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-cache"),
    ];
    Ok((head, Body::new(Events(received))).into_response())
}

/// After which event the reader wants to go on; an empty id is none.
fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let Some(id) = headers.get("last-event-id").filter(|id| !id.is_empty()) else {
        return Ok(None);
    };
    let number = id.to_str().ok().and_then(|id| id.parse().ok());
    let refuse = || refused("Last-Event-ID is no id of an event");
    number.map(Some).ok_or_else(refuse)
}

/// Sends a reader what happens until it leaves, or the router stops.
async fn feed(
    journal: Arc<Journal>,
    last: Option<u64>,
    pieces: mpsc::Sender<Bytes>,
    _place: OwnedSemaphorePermit,
    stop: CancellationToken,
) {
    let mut news = journal.follow();
    let mut at = last.unwrap_or_else(|| *news.borrow());
    let mut piece = format!("id: {at}\nevent: ready\ndata: {{}}\n\n");
    let reading = async {
        loop {
            if !piece.is_empty() {
                let bytes = Bytes::from(std::mem::take(&mut piece));
                if pieces.send(bytes).await.is_err() {
                    return;
                }
            }
            news.borrow_and_update();
            let page = journal.after(at, EVENTS_MAX);
            at = page.last;
            piece = told(&page);
            if piece.is_empty() {
                tokio::select! {
                    changed = news.changed() => if changed.is_err() { return },
                    () = sleep(HEARTBEAT) => piece.push_str(":\n\n"),
                    () = pieces.closed() => return,
                }
            }
        }
    };
    stop.run_until_cancelled(reading).await;
}

/// Events as they are sent; before them, that some were missed.
fn told(page: &Page) -> String {
    let mut text = String::new();
    if page.missed {
        let why = r#"{"text":"events are forgotten that happened since; look at /routes, /servers and /health/routes"}"#;
        // Without an id of its own: whoever is lost now has still missed them.
        text.push_str("event: lagged\ndata: ");
        text.push_str(why);
        text.push_str("\n\n");
    }
    for entry in &page.entries {
        let (event, data) = shown(entry);
        text += &format!("id: {}\nevent: {event}\ndata: {data}\n\n", entry.id);
    }
    text
}

/// The body of an answer that has no end of its own.
struct Events(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let piece = self.0.poll_recv(context);
        piece.map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
