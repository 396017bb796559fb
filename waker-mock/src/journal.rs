//! What was asked over HTTP, so that a test can tell one start from two, or none from one.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Requests that are kept; the oldest go first.
pub const REQUESTS_MAX: usize = 10_000;

/// One request, as it was received; answered or not, with the right key or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST` and so on.
    pub method: String,
    /// Path as it came, escapes included, without the query.
    pub path: String,
    /// What comes after the `?`, if there is one.
    pub query: Option<String>,
    /// The value of `X-API-Key`, if the header was there.
    pub api_key: Option<String>,
    /// When its head had arrived.
    pub at: Instant,
}

/// The latest requests.
#[derive(Debug, Default)]
pub(crate) struct Journal(Mutex<VecDeque<Request>>);

impl Journal {
    pub(crate) fn note(&self, request: Request) {
        let mut requests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if requests.len() == REQUESTS_MAX {
            requests.pop_front();
        }
        requests.push_back(request);
    }

    pub(crate) fn all(&self) -> Vec<Request> {
        let requests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        requests.iter().cloned().collect()
    }

    pub(crate) fn clear(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_keeps_the_latest_requests_and_no_more() {
        let journal = Journal::default();
        for number in 0..=REQUESTS_MAX {
            journal.note(Request {
                method: "GET".to_owned(),
                path: number.to_string(),
                query: None,
                api_key: None,
                at: Instant::now(),
            });
        }

        let kept = journal.all();
        assert_eq!(kept.len(), REQUESTS_MAX);
        assert_eq!(kept.first().unwrap().path, "1");
    }
}
