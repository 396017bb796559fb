//! Which addresses players are on, by whatever route or way they came: who was forwarded to a lobby
//! plays there too. Who is on the way there uses an address as well, without playing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::idle::Seen;
use crate::addr::BackendAddr;

/// The addresses that players are on, or were a while ago.
#[derive(Debug, Default)]
pub struct InUse {
    /// For whoever stops servers: everybody counts, and who left is remembered.
    for_all: bool,
    places: Mutex<HashMap<BackendAddr, Place>>,
}

#[derive(Debug, Default)]
struct Place {
    players: usize,
    /// Who is on the way there.
    coming: usize,
    left: Option<Instant>,
}

/// One player's session, or way to one; it is over when this is dropped.
#[derive(Debug)]
pub struct Using {
    places: Arc<InUse>,
    address: BackendAddr,
    plays: bool,
}

impl Place {
    fn count(&mut self, plays: bool) -> &mut usize {
        if plays {
            &mut self.players
        } else {
            &mut self.coming
        }
    }

    fn is_used(&self) -> bool {
        self.players + self.coming > 0
    }
}

impl InUse {
    /// For whoever stops servers where nobody plays; calls [`Self::forget`].
    #[must_use]
    pub fn for_all() -> Self {
        Self {
            for_all: true,
            ..Self::default()
        }
    }

    /// Whether everybody is to be counted, and not only where players are shared out.
    #[must_use]
    pub fn is_for_all(&self) -> bool {
        self.for_all
    }

    /// A player's session at `address` begins.
    #[must_use]
    pub fn enter(self: &Arc<Self>, address: &BackendAddr) -> Using {
        self.count(address, true)
    }

    /// A player is on the way to `address`, or to whatever its server comes to.
    #[must_use]
    pub fn approach(self: &Arc<Self>, address: &BackendAddr) -> Using {
        self.count(address, false)
    }

    fn count(self: &Arc<Self>, address: &BackendAddr, plays: bool) -> Using {
        let mut places = self.lock();
        *places.entry(address.clone()).or_default().count(plays) += 1;
        drop(places);
        Using {
            places: Arc::clone(self),
            address: address.clone(),
            plays,
        }
    }

    /// How many play at `address`, as far as they are counted.
    #[must_use]
    pub fn players(&self, address: &BackendAddr) -> usize {
        self.lock().get(address).map_or(0, |place| place.players)
    }

    /// What this tells of `address`.
    #[must_use]
    pub fn seen(&self, address: &BackendAddr) -> Seen {
        let places = self.lock();
        let place = places.get(address);
        Seen {
            used: place.is_some_and(Place::is_used),
            last: place.and_then(|place| place.left),
            ..Seen::default()
        }
    }

    /// Forgets where nobody has been for `after`. To be called now and then: this is what bounds it.
    pub fn forget(&self, after: Duration, now: Instant) {
        let gone = |left: Instant| now.saturating_duration_since(left) > after;
        self.lock()
            .retain(|_, place| place.is_used() || !place.left.is_some_and(gone));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BackendAddr, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Using {
    fn drop(&mut self) {
        let mut places = self.places.lock();
        if let Some(place) = places.get_mut(&self.address) {
            let count = place.count(self.plays);
            *count = count.saturating_sub(1);
            place.left = Some(Instant::now());
            if !self.places.for_all && !place.is_used() {
                places.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_used_until_the_last_has_left_and_then_forgotten() {
        let (places, minute) = (Arc::new(InUse::for_all()), Duration::from_secs(60));
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

    #[test]
    fn who_is_on_the_way_uses_an_address_and_does_not_play_there() {
        let (places, lobby) = (
            Arc::new(InUse::default()),
            BackendAddr::parse("a:1").unwrap(),
        );
        let coming = places.approach(&lobby);
        assert_eq!(
            (places.players(&lobby), places.seen(&lobby).used),
            (0, true)
        );
        let playing = places.enter(&lobby);
        drop(coming);
        assert_eq!(
            (places.players(&lobby), places.seen(&lobby).used),
            (1, true)
        );
        drop(playing);
        assert!(places.lock().is_empty(), "nobody asks who was there");
    }
}
