//! Which addresses players are on, by whatever route or way they came: who was forwarded to a lobby
//! plays there too. Who is about to is counted with them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::idle::Seen;
use crate::addr::BackendAddr;

/// The addresses that players are on, or were a while ago.
#[derive(Debug, Default)]
pub struct InUse {
    places: Mutex<HashMap<BackendAddr, Place>>,
}

#[derive(Debug, Default)]
struct Place {
    players: usize,
    left: Option<Instant>,
}

/// One player's session; it is over when this is dropped.
#[derive(Debug)]
pub struct Using {
    places: Arc<InUse>,
    address: BackendAddr,
}

impl InUse {
    /// A player's session at `address` begins.
    #[must_use]
    pub fn enter(self: &Arc<Self>, address: &BackendAddr) -> Using {
        self.lock().entry(address.clone()).or_default().players += 1;
        Using {
            places: Arc::clone(self),
            address: address.clone(),
        }
    }

    /// What this tells of `address`.
    #[must_use]
    pub fn seen(&self, address: &BackendAddr) -> Seen {
        let places = self.lock();
        let place = places.get(address);
        Seen {
            used: place.is_some_and(|place| place.players > 0),
            last: place.and_then(|place| place.left),
            ..Seen::default()
        }
    }

    /// Forgets where nobody has been for `after`. To be called now and then: this is what bounds it.
    pub fn forget(&self, after: Duration, now: Instant) {
        let gone = |left: Instant| now.saturating_duration_since(left) > after;
        self.lock()
            .retain(|_, place| place.players > 0 || !place.left.is_some_and(gone));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BackendAddr, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Using {
    fn drop(&mut self) {
        if let Some(place) = self.places.lock().get_mut(&self.address) {
            place.players = place.players.saturating_sub(1);
            place.left = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_used_until_the_last_has_left_and_then_forgotten() {
        let (places, minute) = (Arc::new(InUse::default()), Duration::from_secs(60));
        let [lobby, other] = ["lobby:1", "other:1"].map(|text| BackendAddr::parse(text).unwrap());
        let (first, second) = (places.enter(&lobby), places.enter(&lobby));
        drop(first);
        assert!(places.seen(&lobby).used && !places.seen(&other).used);
        places.forget(Duration::ZERO, Instant::now() + minute);
        drop(second);
        let seen = places.seen(&lobby);
        assert!(!seen.used && seen.last.is_some());
        let left = seen.last.unwrap();
        places.forget(minute, left + minute);
        assert_eq!(places.seen(&lobby), seen);
        places.forget(minute, left + minute * 2);
        assert!(places.lock().is_empty());
    }
}
