//! What the table is still to be told: the latest of each server, so that it is bounded and a
//! database that is away for an hour is told the present and not the past.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tracing::warn;

/// Servers that wait to be written; removed ones count too.
pub(crate) const WAITING_MAX: usize = 4 * crate::manager::SERVERS_MAX;

/// What the table is to hold of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// Without one, a row that exists is updated and none is inserted.
    pub(crate) domain: Option<String>,
    pub(crate) address: String,
    pub(crate) state: &'static str,
}

/// A row to write, or `None` for one to delete.
pub(crate) type Change = Option<Row>;

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Mutex<BTreeMap<Arc<str>, Change>>,
    filled: Notify,
}

impl Outbox {
    /// Never waits; replaces what waits for the same server.
    pub(crate) fn put(&self, name: &str, change: Change) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= WAITING_MAX && !waiting.contains_key(name) {
            warn!(server = name, "too much to write; the table misses this");
            return;
        }
        waiting.insert(name.into(), change);
        self.filled.notify_one();
    }

    /// Puts back what could not be written, unless there is something newer.
    pub(crate) fn put_back(&self, name: Arc<str>, change: Change) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.entry(name).or_insert(change);
        self.filled.notify_one();
    }

    /// The next to write, if any waits.
    pub(crate) fn take(&self) -> Option<(Arc<str>, Change)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.pop_first()
    }

    /// Waits until there may be something to write.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(state: &'static str) -> Change {
        Some(Row {
            domain: None,
            address: String::new(),
            state,
        })
    }

    #[test]
    fn the_latest_state_replaces_the_one_that_waits_and_an_older_one_does_not() {
        let outbox = Outbox::default();
        outbox.put("a", row("starting"));
        outbox.put("a", row("running"));
        outbox.put_back("a".into(), row("stopped"));

        assert_eq!(outbox.take(), Some(("a".into(), row("running"))));
        assert_eq!(outbox.take(), None);
    }

    #[test]
    fn the_outbox_takes_no_more_than_its_limit() {
        let outbox = Outbox::default();
        for number in 0..WAITING_MAX + 10 {
            outbox.put(&number.to_string(), None);
        }

        let taken = std::iter::from_fn(|| outbox.take()).count();
        assert_eq!(taken, WAITING_MAX);
    }
}
