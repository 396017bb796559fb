//! What happens to servers and to who waits for them, for whoever wants to know.

use std::time::SystemTime;

use tokio::sync::broadcast;
use tracing::{debug, info};

use super::counters::HeldEnd;
use super::state::{State, WakeEnd};
use crate::shared_str::SharedStr;

/// Events a slow listener may lag behind; the oldest are lost to it, and it is told how many.
pub const EVENTS_KEPT: usize = 1_024;

/// One thing that happened.
#[derive(Debug, Clone)]
pub struct Event {
    /// When.
    pub at: SystemTime,
    /// To which server: its name, else its host.
    pub server: SharedStr,
    /// What.
    pub kind: EventKind,
}

impl Event {
    /// Writes it to the log: changes of state at info, the rest at debug.
    pub fn log(&self) {
        let server = self.server.escape_debug();
        match self.kind {
            EventKind::State { from, to } => {
                let (from, to) = (from.name(), to.name());
                info!(name = %server, "automc: {from} → {to}");
            }
            kind => debug!(name = %server, ?kind, "automc: event"),
        }
    }
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// Its state changed.
    State {
        /// The state before.
        from: State,
        /// The state since.
        to: State,
    },
    /// A wake began.
    WakeBegun,
    /// A wake ended.
    WakeEnded(WakeEnd),
    /// A player began to wait.
    Held,
    /// A player's wait ended.
    HeldEnded(HeldEnd),
}

/// Where events go. Sending never waits: it does nothing while nobody listens, and who does not
/// keep up loses the oldest.
#[derive(Debug)]
pub(super) struct Events {
    sender: broadcast::Sender<Event>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            sender: broadcast::Sender::new(EVENTS_KEPT),
        }
    }
}

impl Events {
    pub(super) fn send(&self, server: &SharedStr, kind: EventKind) {
        if self.sender.receiver_count() == 0 {
            return;
        }
        let event = Event {
            at: SystemTime::now(),
            server: server.clone(),
            kind,
        };
        // The last listener may have gone meanwhile.
        drop(self.sender.send(event));
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.sender.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::broadcast::error::TryRecvError;

    #[test]
    fn who_listens_hears_and_who_lags_loses_the_oldest() {
        let (events, server) = (Events::default(), SharedStr::from("a"));
        events.send(&server, EventKind::Held);
        let mut listener = events.subscribe();
        assert_eq!(listener.try_recv().unwrap_err(), TryRecvError::Empty);

        events.send(&server, EventKind::WakeBegun);
        assert_eq!(listener.try_recv().unwrap().kind, EventKind::WakeBegun);

        (0..EVENTS_KEPT + 3).for_each(|_| events.send(&server, EventKind::Held));
        assert_eq!(listener.try_recv().unwrap_err(), TryRecvError::Lagged(3));
        assert_eq!(listener.try_recv().unwrap().kind, EventKind::Held);
    }
}
