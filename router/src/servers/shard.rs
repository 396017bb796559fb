//! A part of the table of servers. Most servers only have their row's word: of those little is kept, since there may be
//! as many as rows; of others there is an entry each.
//!
//! Pure.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::entry::{Change, Entry};
use super::state::{Signal, Spent, State};
use super::{SERVERS_MAX, SHARDS, Target};
use crate::routes::StateHint;

/// Most entries of one part.
pub(super) const ENTRIES_MAX: usize = SERVERS_MAX / SHARDS;
/// How long a part that found no room does not look for it again.
const NO_ROOM_PAUSE: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Shard {
    slots: HashMap<Arc<str>, Slot>,
    /// How many of them are [`Slot::Known`].
    known: usize,
    /// Time spent by servers that were forgotten.
    gone: Spent,
    /// Room is not looked for before.
    full_until: Option<Instant>,
}

#[derive(Debug)]
enum Slot {
    Resting(Resting),
    Known(Box<Entry>),
}

/// A routed server of which nothing is known but its row's word.
#[derive(Debug, Clone, Copy)]
struct Resting {
    hint: StateHint,
    wakeable: bool,
    since: Instant,
}

impl Resting {
    fn of(target: &Target<'_>, since: Instant) -> Self {
        Self {
            hint: target.hint,
            wakeable: target.wakeable,
            since,
        }
    }

    fn entry(self) -> Entry {
        Entry::new(self.hint, self.wakeable, self.since)
    }
}

impl Slot {
    fn spent(&self, now: Instant) -> Spent {
        match self {
            Self::Resting(resting) => resting.entry().spent(now),
            Self::Known(entry) => entry.spent(now),
        }
    }
}

impl Shard {
    /// How many servers there is an entry of.
    #[cfg(test)]
    pub(super) fn known(&self) -> usize {
        self.known
    }

    /// Time spent by servers that were forgotten.
    pub(super) fn gone(&self) -> Spent {
        self.gone
    }

    /// Every server, and the time it spent in states until `now`.
    pub(super) fn spent(&self, now: Instant) -> impl Iterator<Item = (&Arc<str>, Spent)> {
        let slots = self.slots.iter();
        slots.map(move |(server, slot)| (server, slot.spent(now)))
    }

    /// Hears the table's word of a server that is routed; `server` is what it is kept by.
    pub(super) fn routed(
        &mut self,
        server: &Arc<str>,
        target: &Target<'_>,
        now: Instant,
    ) -> Option<Change> {
        match self.slots.get_mut(&**server) {
            None => {
                let slot = Slot::Resting(Resting::of(target, now));
                self.slots.insert(Arc::clone(server), slot);
                return None;
            }
            Some(Slot::Resting(resting)) if resting.hint == target.hint => {
                resting.wakeable = target.wakeable;
                return None;
            }
            Some(_) => {}
        }
        let (_, entry) = self.enter(target, true, now)?;
        entry.set_routed(true);
        entry.hear(Signal::Table(target.hint), now)
    }

    /// The entry of a server, which there is from then on: there is always room for somebody who is `held`.
    pub(super) fn enter(
        &mut self,
        target: &Target<'_>,
        held: bool,
        now: Instant,
    ) -> Option<(Arc<str>, &mut Entry)> {
        if !matches!(self.slots.get(target.server), Some(Slot::Known(_))) {
            if !self.has_room(now) && !held {
                return None;
            }
            let entry = match self.slots.get(target.server) {
                Some(Slot::Resting(resting)) => resting.entry(),
                _ => Entry::new(target.hint, target.wakeable, now),
            };
            let name = self.slots.get_key_value(target.server);
            let name = name.map_or_else(|| target.server.into(), |(name, _)| Arc::clone(name));
            self.slots.insert(name, Slot::Known(Box::new(entry)));
            self.known += 1;
        }
        let name = Arc::clone(self.slots.get_key_value(target.server)?.0);
        Some((name, self.entry(target.server)?))
    }

    /// The entry of a server, if there is one.
    pub(super) fn entry(&mut self, server: &str) -> Option<&mut Entry> {
        match self.slots.get_mut(server)? {
            Slot::Known(entry) => Some(entry),
            Slot::Resting(_) => None,
        }
    }

    /// The state of a server, and since when, if anything was heard of it.
    pub(super) fn state(&self, server: &str) -> Option<(State, Instant)> {
        Some(match self.slots.get(server)? {
            Slot::Known(entry) => entry.state(),
            Slot::Resting(resting) => resting.entry().state(),
        })
    }

    /// What an entry of a server would be that has none; from the row's word, if that was heard.
    pub(super) fn unknown(&self, target: &Target<'_>, now: Instant) -> Entry {
        match self.slots.get(target.server) {
            Some(Slot::Resting(resting)) => resting.entry(),
            _ => Entry::new(target.hint, target.wakeable, now),
        }
    }

    /// No route leads to a server any more: it is forgotten, at once or when nobody holds it any more.
    pub(super) fn unrouted(&mut self, server: &str, now: Instant) {
        if let Some(entry) = self.entry(server) {
            entry.set_routed(false);
            self.forget_unrouted(server, now);
        } else {
            self.forget(server, now);
        }
    }

    /// Forgets a server that is not routed any more, unless somebody holds it.
    pub(super) fn forget_unrouted(&mut self, server: &str, now: Instant) {
        if self
            .entry(server)
            .is_some_and(|entry| !entry.is_routed() && !entry.is_held())
        {
            self.forget(server, now);
        }
    }

    fn forget(&mut self, server: &str, now: Instant) {
        if let Some(slot) = self.slots.remove(server) {
            self.known -= usize::from(matches!(slot, Slot::Known(_)));
            self.gone = self.gone.plus(slot.spent(now));
        }
    }

    fn has_room(&mut self, now: Instant) -> bool {
        if self.known < ENTRIES_MAX {
            return true;
        }
        if self.full_until.is_some_and(|until| now < until) {
            return false;
        }
        let gone = &mut self.gone;
        self.slots.retain(|_, slot| {
            let keep = match slot {
                Slot::Known(entry) => !entry.is_at_rest(),
                Slot::Resting(_) => true,
            };
            if !keep {
                *gone = gone.plus(slot.spent(now));
            }
            keep
        });
        let known = self
            .slots
            .values()
            .filter(|slot| matches!(slot, Slot::Known(_)));
        self.known = known.count();
        let room = self.known < ENTRIES_MAX;
        self.full_until = (!room).then(|| now + NO_ROOM_PAUSE);
        room
    }
}
