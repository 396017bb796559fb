//! Counts by name, of which there are never more than a bound: some names are made up by players.
//!
//! Over the bound, those that nobody uses make room, longest unused first, and what they counted goes
//! to one count of all others; so sums stay true whatever is dropped.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts by `K`.
#[derive(Debug)]
pub struct Series<K> {
    max: usize,
    table: Mutex<Table<K>>,
}

#[derive(Debug)]
struct Table<K> {
    tallies: HashMap<K, Kept>,
    others: Arc<Tally>,
    /// Grows by one with every count.
    turn: u64,
    /// Room is not looked for before, since there was next to none.
    full_until: u64,
}

#[derive(Debug)]
struct Kept {
    tally: Arc<Tally>,
    used: u64,
}

#[derive(Debug, Default)]
struct Tally {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// What was counted under one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted<K> {
    /// The name; `None` is all others.
    pub name: Option<K>,
    /// How many began.
    pub begun: u64,
    /// How many of those go on.
    pub open: u64,
}

/// Something that was counted, and goes on until this is dropped.
#[derive(Debug)]
pub struct Open(Arc<Tally>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Relaxed);
    }
}

impl Tally {
    fn counted<K>(&self, name: Option<K>) -> Counted<K> {
        // Ended first, so that nothing ends that never began.
        let ended = self.ended.load(Relaxed);
        let begun = self.begun.load(Relaxed);
        let open = begun.saturating_sub(ended);
        Counted { name, begun, open }
    }
}

impl<K: Eq + Hash + Ord + Clone> Series<K> {
    /// Counts under `max` names at most.
    #[must_use]
    pub fn new(max: usize) -> Self {
        let table = Table {
            tallies: HashMap::new(),
            others: Arc::default(),
            turn: 0,
            full_until: 0,
        };
        Self {
            max,
            table: Mutex::new(table),
        }
    }

    /// Counts one more under `name`.
    #[must_use]
    pub fn begin(&self, name: K) -> Open {
        let tally = self.table().tally(name, self.max);
        tally.begun.fetch_add(1, Relaxed);
        Open(tally)
    }

    /// What was counted, by name; all others last, where there are any.
    #[must_use]
    pub fn counted(&self) -> Vec<Counted<K>> {
        let table = self.table();
        let own = table.tallies.iter();
        let mut counted: Vec<_> = own
            .map(|(name, kept)| kept.tally.counted(Some(name.clone())))
            .collect();
        let others = table.others.counted(None);
        drop(table);
        counted.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        counted.extend((others.begun > 0).then_some(others));
        counted
    }

    fn table(&self) -> MutexGuard<'_, Table<K>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Table<K> {
    fn tally(&mut self, name: K, max: usize) -> Arc<Tally> {
        self.turn += 1;
        if let Some(kept) = self.tallies.get_mut(&name) {
            kept.used = self.turn;
            return Arc::clone(&kept.tally);
        }
        if self.tallies.len() >= max && !self.has_made_room(max) {
            return Arc::clone(&self.others);
        }
        let (tally, used) = (Arc::default(), self.turn);
        let kept = Kept { tally, used };
        let tally = Arc::clone(&kept.tally);
        self.tallies.insert(name, kept);
        tally
    }

    /// Drops the longer unused half of what is not in use. Where that is little, the next names
    /// do not look again: a look costs as much as there are names.
    fn has_made_room(&mut self, max: usize) -> bool {
        if self.turn < self.full_until {
            return false;
        }
        // Only under this lock do counts get one more holder.
        let idle = |kept: &Kept| Arc::strong_count(&kept.tally) == 1;
        let mut unused: Vec<u64> = self
            .tallies
            .values()
            .filter(|kept| idle(kept))
            .map(|kept| kept.used)
            .collect();
        unused.sort_unstable();
        let many = unused.len();
        if many < max / 8 {
            self.full_until = self.turn + u64::try_from(max / 8).unwrap_or_default();
        }
        let Some(&newest) = unused.get(many.saturating_sub(1) / 2) else {
            return false;
        };
        let others = &self.others;
        self.tallies.retain(|_, kept| {
            let keep = kept.used > newest || !idle(kept);
            if !keep {
                let begun = kept.tally.begun.load(Relaxed);
                others.begun.fetch_add(begun, Relaxed);
                others.ended.fetch_add(begun, Relaxed);
            }
            keep
        });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX: usize = 16;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn sums_stay_true_and_names_within_their_bound(
            story in proptest::collection::vec((0_u32..60, any::<bool>()), 0..300)
        ) {
            let series = Series::new(MAX);
            let mut open = Vec::new();
            for (name, stays) in &story {
                let one = series.begin(*name);
                if *stays {
                    open.push(one);
                } else if open.len() > 20 {
                    open.remove(0);
                }
                let counted = series.counted();
                prop_assert!(counted.iter().filter(|one| one.name.is_some()).count() <= MAX);
            }
            let counted = series.counted();
            prop_assert_eq!(counted.iter().map(|one| one.begun).sum::<u64>(), story.len() as u64);
            prop_assert_eq!(counted.iter().map(|one| one.open).sum::<u64>(), open.len() as u64);
        }
    }

    #[test]
    fn who_is_in_use_keeps_a_name_and_the_longest_unused_loses_it() {
        let series = Series::new(MAX);
        let _in_use = series.begin(0);
        for name in 1..100 {
            drop(series.begin(name));
        }

        let counted = series.counted();
        let has = |name| counted.iter().any(|one| one.name == Some(name));
        assert!(has(0) && has(99) && !has(1), "{counted:?}");
    }

    #[test]
    fn where_every_name_is_in_use_new_ones_are_counted_as_others() {
        let series = Series::new(MAX);
        let open: Vec<_> = (0..100).map(|name| series.begin(name)).collect();

        let counted = series.counted();
        assert_eq!(counted.len(), MAX + 1);
        let others = counted.last().unwrap();
        assert_eq!((others.name, others.begun, others.open), (None, 84, 84));
        drop(open);
        assert!(series.counted().iter().all(|one| one.open == 0));
    }
}
