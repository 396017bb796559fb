//! Notifications: who connects, who leaves, and which routes come and go, told to a webhook.
//!
//! A connection only ever puts an event into a queue, without waiting; one task sends them, one
//! after the other, so that they arrive in the order in which they happened.

pub mod event;
pub mod route_news;
mod sender;
pub(crate) mod visit;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::config::WebhookConfig;
use crate::host::Names;
use crate::http_client::{Hook, HttpError};
use crate::listener::Seldom;
use crate::metrics::Metrics;
use crate::routes::registry::Registry;
use event::{Event, EventKind};
use sender::Sender;

/// Events that wait to be sent. When there is no room the newest are lost: what was told stays a story
/// from its beginning.
pub const QUEUE_MAX: usize = 4_096;
/// Room that only ends of sessions may take, so that who is told to have come is told to have left.
const KEPT_FOR_DISCONNECTS: usize = QUEUE_MAX / 2;

/// Where events go.
#[derive(Debug)]
pub struct Notifier {
    queue: mpsc::Sender<Event>,
    wanted: Vec<EventKind>,
    require_user: bool,
    names: Names,
    lost: Mutex<Lost>,
}

#[derive(Debug)]
struct Lost {
    metrics: Arc<Metrics>,
    warned: Seldom,
}

impl Lost {
    fn new(metrics: &Arc<Metrics>) -> Self {
        Self {
            metrics: Arc::clone(metrics),
            warned: Seldom::default(),
        }
    }

    /// Counts an event that nobody will hear of, and says so now and then.
    fn add(&mut self, why: &str) {
        let lost = self.metrics.event_lost();
        self.warned
            .warn(|| warn!(lost, "webhook: an event is lost: {why}"));
    }
}

impl Notifier {
    /// Starts the task that sends, in `background`; what is lost is counted in `metrics`. Once `end` is cancelled it sends what is left, for
    /// [`FLUSH_TIMEOUT`](sender::FLUSH_TIMEOUT) at most. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// See [`HttpError`].
    pub fn start(
        config: &WebhookConfig,
        registry: &Arc<Registry>,
        metrics: &Arc<Metrics>,
        background: &TaskTracker,
        end: &CancellationToken,
    ) -> Result<Arc<Self>, HttpError> {
        let hook = Hook::new(&config.url, &[], "WEBHOOK_URL")?;
        let (notifier, queue) = Self::new(
            config.events.clone(),
            config.require_user,
            registry.names(),
            metrics,
        );
        let sender = Sender::new(
            (hook, config.timeout),
            queue,
            &config.events,
            Arc::clone(registry),
            Lost::new(metrics),
            end.clone(),
        );
        background.spawn(sender.run());
        Ok(notifier)
    }

    fn new(
        wanted: Vec<EventKind>,
        require_user: bool,
        names: Names,
        metrics: &Arc<Metrics>,
    ) -> (Arc<Self>, mpsc::Receiver<Event>) {
        let (queue, receiver) = mpsc::channel(QUEUE_MAX);
        let notifier = Self {
            queue,
            wanted,
            require_user,
            names,
            lost: Mutex::new(Lost::new(metrics)),
        };
        (Arc::new(notifier), receiver)
    }

    fn wants(&self, kind: EventKind) -> bool {
        self.wanted.contains(&kind)
    }

    /// Has `event` sent if it is wanted; whether the receiver will have no reason to think otherwise.
    fn tell(&self, event: Event) -> bool {
        if !self.wants(event.kind) || (self.require_user && event.player.is_none()) {
            return true;
        }
        let room =
            event.kind == EventKind::Disconnect || self.queue.capacity() > KEPT_FOR_DISCONNECTS;
        let sent = room && self.queue.try_send(event).is_ok();
        if !sent {
            let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
            lost.add("too many wait to be sent");
        }
        sent
    }
}

#[cfg(test)]
mod tests;
