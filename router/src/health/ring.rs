//! The backends of all routes, in an order that nobody outside knows, and what was heard of each.
//!
//! Pure. A part of the ring is a sorted list: 48 bytes for each backend and nothing besides, found by
//! halving. Names and routes are shared with the table of routes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::ladder::Record;
use crate::addr::BackendAddr;
use crate::moment::Moment;
use crate::routes::Route;

/// A place on the ring: a hash of the address, seeded anew by each router.
pub type Place = u32;

/// One backend.
#[derive(Debug, Clone)]
pub struct Slot {
    place: Place,
    /// What was heard of it.
    pub record: Record,
    /// Its address.
    pub backend: BackendAddr,
    /// A route that leads there.
    pub route: Arc<Route>,
}

impl Slot {
    /// A backend at `place` nothing was heard of.
    #[must_use]
    pub fn new(place: Place, backend: BackendAddr, route: Arc<Route>) -> Self {
        Self {
            place,
            record: Record::default(),
            backend,
            route,
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    fn key(&self) -> (Place, &BackendAddr) {
        (self.place, &self.backend)
    }
}

/// A part of the ring.
#[derive(Debug, Default)]
pub struct Part {
    slots: Vec<Slot>,
    /// When somebody was interested last in whoever stands at a place; of most, nobody is.
    interests: BTreeMap<Place, Moment>,
}

impl Part {
    /// Has these backends from now on, `most` of them; what was heard of those that stay is kept. New ones
    /// come back. Of two with one address the first counts.
    pub fn replace(&mut self, mut slots: Vec<Slot>, most: usize) -> Vec<(Place, BackendAddr)> {
        slots.sort_by(|one, other| one.key().cmp(&other.key()));
        slots.dedup_by(|later, first| later.key() == first.key());
        slots.truncate(most);
        slots.shrink_to_fit();
        let mut new = Vec::new();
        let mut old = self.slots.iter().peekable();
        for slot in &mut slots {
            while old.next_if(|old| old.key() < slot.key()).is_some() {}
            match old.next_if(|old| old.key() == slot.key()) {
                Some(old) => slot.record = old.record,
                None => new.push((slot.place, slot.backend.clone())),
            }
        }
        self.slots = slots;
        let mut interests = std::mem::take(&mut self.interests);
        interests.retain(|place, _| self.stands(*place));
        self.interests = interests;
        new
    }

    fn stands(&self, place: Place) -> bool {
        self.slots
            .binary_search_by_key(&place, |slot| slot.place)
            .is_ok()
    }

    /// Somebody is interested at `now` in whoever stands at `place`, if anybody does; whether nobody was for so `long`.
    pub fn interest(&mut self, place: Place, now: Moment, long: Duration) -> bool {
        if !self.stands(place) {
            return false;
        }
        let before = self.interests.insert(place, now);
        before.is_none_or(|before| now.since(before) >= long)
    }

    /// When somebody was interested last in whoever stands at `place`.
    #[must_use]
    pub fn interested(&self, place: Place) -> Option<Moment> {
        self.interests.get(&place).copied()
    }

    /// Nobody is any more.
    pub fn lose_interest(&mut self, place: Place) {
        self.interests.remove(&place);
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The backend of this address.
    #[must_use]
    pub fn get(&self, place: Place, backend: &BackendAddr) -> Option<&Slot> {
        let key = (place, backend);
        let at = self.slots.binary_search_by(|slot| slot.key().cmp(&key));
        self.slots.get(at.ok()?)
    }

    /// The same, for a word of it.
    pub fn get_mut(&mut self, place: Place, backend: &BackendAddr) -> Option<&mut Slot> {
        let key = (place, backend);
        let at = self.slots.binary_search_by(|slot| slot.key().cmp(&key));
        self.slots.get_mut(at.ok()?)
    }

    /// The first backend behind `last`, or at all.
    #[must_use]
    pub fn after(&self, last: Option<(Place, &BackendAddr)>) -> Option<&Slot> {
        let at = last.map(|last| self.slots.partition_point(|slot| slot.key() <= last));
        self.slots.get(at.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::ladder::By;
    use crate::health::word::Word;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::time::Instant;

    fn slot((place, number): (Place, u8)) -> Slot {
        let backend = BackendAddr::parse(&format!("h{number}:1")).unwrap();
        let route = Route::fixed(None, backend.clone(), Arc::default());
        Slot::new(place, backend, Arc::new(route))
    }

    #[test]
    fn a_backend_takes_48_bytes() {
        assert_eq!(size_of::<Slot>(), 48);
    }

    #[test]
    fn an_interest_is_of_those_who_are_there_and_goes_with_them() {
        let (began, minute) = (Instant::now(), Duration::from_secs(60));
        let at = |minutes| Moment::new(began, began + minute * minutes);
        let mut part = Part::default();
        assert!(!part.interest(1, at(1), minute), "nobody is there");
        part.replace(vec![slot((1, 1)), slot((2, 1))], usize::MAX);
        let new = [(1, 1), (1, 1), (2, 1), (3, 2), (3, 1)]
            .map(|(minutes, place)| part.interest(place, at(minutes), minute));
        assert_eq!(new, [true, false, true, true, true]);
        assert_eq!(part.interested(1), Some(at(3)));
        part.replace(vec![slot((2, 1))], usize::MAX);
        assert_eq!(
            (part.interested(1), part.interested(2)),
            (None, Some(at(3)))
        );
        part.lose_interest(2);
        assert_eq!(part.interested(2), None);
    }

    proptest! {
        /// With places that are often the same.
        #[test]
        fn whoever_stays_keeps_what_was_heard_and_has_one_turn_a_round(
            rounds in proptest::collection::vec(
                proptest::collection::vec((0_u32..4, 0_u8..6), 0..20), 1..6
            ),
        ) {
            let now = Moment::new(Instant::now(), Instant::now());
            let (mut part, mut before) = (Part::default(), BTreeSet::new());
            for round in rounds {
                let expected: BTreeSet<_> = round.iter().copied().collect();
                let slots: Vec<_> = round.into_iter().map(slot).collect();
                let new = part.replace(slots, usize::MAX);
                prop_assert_eq!(new.len(), expected.difference(&before).count());
                prop_assert_eq!(part.len(), expected.len());
                let (mut last, mut turns) = (None, 0);
                while let Some(found) = part.after(last.as_ref().map(|(place, one)| (*place, one))) {
                    let key = (found.place(), found.backend.clone());
                    prop_assert!(last.is_none_or(|last| last < key));
                    last = Some(key);
                    turns += 1;
                }
                prop_assert_eq!(turns, expected.len());
                for key in &expected {
                    let wanted = slot(*key);
                    let found = part.get_mut(wanted.place, &wanted.backend).unwrap();
                    let heard = found.record.word() == Word::Answered;
                    prop_assert_eq!(heard, before.contains(key));
                    found.record.hear(Word::Answered, By::Check, now);
                }
                before = expected;
            }
        }

        #[test]
        fn there_are_never_more_than_may_be(count in 0_u8..20, most in 0_usize..10) {
            let mut part = Part::default();
            part.replace((0..count).map(|number| slot((1, number))).collect(), most);
            prop_assert_eq!(part.len(), usize::from(count).min(most));
        }
    }
}
