//! Takes notifications out of what a Postgres server says, for a proxy between it and a client.
//!
//! Reference: <https://www.postgresql.org/docs/current/protocol-message-formats.html>: every message of the server is a byte
//! that tells its kind, four bytes of length, which count themselves, and the rest. Connections without TLS only.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The kind of a `NotificationResponse`.
const NOTIFICATION: u8 = b'A';
/// Kind and length.
const HEADER_BYTES: usize = 5;

/// Which notifications get lost, for all connections of a proxy.
#[derive(Debug, Default)]
pub struct Losing {
    every: AtomicU64,
    seen: AtomicU64,
    lost: AtomicU64,
}

impl Losing {
    /// Loses one in `every` from now on; 0 is none.
    pub fn one_in(&self, every: u64) {
        self.every.store(every, Ordering::SeqCst);
    }

    /// How many were lost.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::SeqCst)
    }

    /// How many there were.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::SeqCst)
    }

    fn loses(&self) -> bool {
        let number = self.seen.fetch_add(1, Ordering::SeqCst);
        let every = self.every.load(Ordering::SeqCst);
        let loses = every != 0 && number.is_multiple_of(every);
        self.lost.fetch_add(u64::from(loses), Ordering::SeqCst);
        loses
    }
}

/// What one server says to one client, from its first byte on.
#[derive(Debug)]
pub struct Sieve {
    losing: Arc<Losing>,
    /// What is there of the next message's header.
    header: Vec<u8>,
    /// How much of the message is still to come.
    rest: usize,
    /// Whether it gets lost.
    loses: bool,
}

impl Sieve {
    /// One that loses what `losing` says.
    #[must_use]
    pub fn new(losing: Arc<Losing>) -> Self {
        Self {
            losing,
            header: Vec::with_capacity(HEADER_BYTES),
            rest: 0,
            loses: false,
        }
    }

    /// What is left of `bytes`.
    pub fn pass(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let mut left = Vec::with_capacity(bytes.len());
        while let Some(first) = bytes.first() {
            if self.rest == 0 {
                self.header.push(*first);
                bytes = bytes.get(1..).unwrap_or_default();
                if let [kind, length @ ..] = &*self.header
                    && let Ok(length) = <[u8; 4]>::try_from(length)
                {
                    self.loses = *kind == NOTIFICATION && self.losing.loses();
                    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or_default();
                    self.rest = length.saturating_sub(4);
                    if !self.loses {
                        left.extend_from_slice(&self.header);
                    }
                    self.header.clear();
                }
                continue;
            }
            let (now, later) = bytes.split_at(self.rest.min(bytes.len()));
            if !self.loses {
                left.extend_from_slice(now);
            }
            self.rest -= now.len();
            bytes = later;
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[kind][..], &length, body].concat()
    }

    proptest! {
        #[test]
        fn notifications_get_lost_and_nothing_else_in_whatever_pieces_it_comes(
            messages in proptest::collection::vec((prop_oneof![Just(b'A'), Just(b'D'), Just(b'Z')], any::<Vec<u8>>()), 0..20),
            piece in 1_usize..50, every in 0_u64..4,
        ) {
            let losing = Arc::new(Losing::default());
            losing.one_in(every);
            let mut sieve = Sieve::new(Arc::clone(&losing));
            let (mut said, mut wanted, mut notifications) = (Vec::new(), Vec::new(), 0);
            for (kind, body) in messages {
                let message = message(kind, &body);
                let lost = kind == b'A' && every != 0 && notifications % every == 0;
                notifications += u64::from(kind == b'A');
                said.extend_from_slice(&message);
                if !lost {
                    wanted.extend(message);
                }
            }
            let left: Vec<_> = said.chunks(piece).flat_map(|piece| sieve.pass(piece)).collect();
            prop_assert_eq!(left, wanted);
            prop_assert_eq!(losing.lost(), if every == 0 { 0 } else { notifications.div_ceil(every) });
        }
    }
}
