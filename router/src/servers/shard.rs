//! A part of the table of servers. Most servers only have their row's word: of those little is kept, since there may be
//! as many as rows; of others there is an entry each.
//!
//! Pure.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use hashbrown::HashTable;

use super::entry::{Change, Entry};
use super::state::{Signal, Spent, State};
use super::{SERVERS_MAX, SHARDS, Target};
use crate::moment::Moment;
use crate::routes::StateHint;
use crate::shared_str::SharedStr;

/// Most entries of one part.
pub(super) const ENTRIES_MAX: usize = SERVERS_MAX / SHARDS;
/// How long a part that found no room does not look for it again.
const NO_ROOM_PAUSE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Shard {
    servers: HashTable<Server>,
    hasher: RandomState,
    began: Instant,
    /// How many of them are [`Slot::Known`].
    known: usize,
    /// Time spent by servers that were forgotten.
    gone: Spent,
    /// Room is not looked for before.
    full_until: Option<Instant>,
}

/// A server, and what it is kept by.
#[derive(Debug)]
struct Server {
    name: SharedStr,
    slot: Slot,
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
    since: Moment,
}

impl Resting {
    fn entry(self, began: Instant) -> Entry {
        Entry::new(self.hint, self.wakeable, self.since.instant(began))
    }
}

impl Slot {
    fn spent(&self, began: Instant, now: Instant) -> Spent {
        match self {
            Self::Resting(resting) => resting.entry(began).spent(now),
            Self::Known(entry) => entry.spent(now),
        }
    }
}

impl Shard {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            servers: HashTable::new(),
            hasher: RandomState::new(),
            began: now,
            known: 0,
            gone: Spent::default(),
            full_until: None,
        }
    }

    fn server(&self, name: &str) -> Option<&Server> {
        let hash = self.hasher.hash_one(name);
        self.servers.find(hash, |server| server.name == *name)
    }

    fn server_mut(&mut self, name: &str) -> Option<&mut Server> {
        let hash = self.hasher.hash_one(name);
        self.servers.find_mut(hash, |server| server.name == *name)
    }

    /// Keeps a server that is not kept yet.
    fn insert(&mut self, server: Server) {
        let hasher = &self.hasher;
        let hash = |server: &Server| hasher.hash_one(server.name.as_str());
        self.servers.insert_unique(hash(&server), server, hash);
    }

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
    pub(super) fn spent(&self, now: Instant) -> impl Iterator<Item = (&SharedStr, Spent)> {
        let servers = self.servers.iter();
        servers.map(move |Server { name, slot }| (name, slot.spent(self.began, now)))
    }

    /// Hears the table's word of a server that is routed; `name` is what it is kept by.
    pub(super) fn routed(
        &mut self,
        name: &SharedStr,
        target: &Target<'_>,
        now: Instant,
    ) -> Option<Change> {
        let since = Moment::new(self.began, now);
        match self.server_mut(name) {
            None => {
                self.insert(Server {
                    name: name.clone(),
                    slot: Slot::Resting(Resting {
                        hint: target.hint,
                        wakeable: target.wakeable,
                        since,
                    }),
                });
                return None;
            }
            Some(server) => {
                // The new route's, or else this would be all that is left of the old one.
                server.name = name.clone();
                if let Slot::Resting(resting) = &mut server.slot
                    && resting.hint == target.hint
                {
                    resting.wakeable = target.wakeable;
                    return None;
                }
            }
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
    ) -> Option<(SharedStr, &mut Entry)> {
        if self.entry(target.server).is_none() {
            if !self.has_room(now) && !held {
                return None;
            }
            let slot = Slot::Known(Box::new(self.unknown(target, now)));
            match self.server_mut(target.server) {
                Some(server) => server.slot = slot,
                None => self.insert(Server {
                    name: target.server.into(),
                    slot,
                }),
            }
            self.known += 1;
        }
        let server = self.server_mut(target.server)?;
        match &mut server.slot {
            Slot::Known(entry) => Some((server.name.clone(), entry)),
            Slot::Resting(_) => None,
        }
    }

    /// The entry of a server, if there is one.
    pub(super) fn entry(&mut self, server: &str) -> Option<&mut Entry> {
        match &mut self.server_mut(server)?.slot {
            Slot::Known(entry) => Some(entry),
            Slot::Resting(_) => None,
        }
    }

    /// The state of a server, and since when, if anything was heard of it.
    pub(super) fn state(&self, server: &str) -> Option<(State, Instant)> {
        Some(match &self.server(server)?.slot {
            Slot::Known(entry) => entry.state(),
            Slot::Resting(resting) => resting.entry(self.began).state(),
        })
    }

    /// What an entry of a server would be that has none; from the row's word, if that was heard.
    pub(super) fn unknown(&self, target: &Target<'_>, now: Instant) -> Entry {
        match self.server(target.server).map(|server| &server.slot) {
            Some(Slot::Resting(resting)) => resting.entry(self.began),
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

    fn forget(&mut self, name: &str, now: Instant) {
        let hash = self.hasher.hash_one(name);
        let found = self.servers.find_entry(hash, |server| server.name == *name);
        if let Ok(found) = found {
            let (Server { slot, .. }, _) = found.remove();
            self.known -= usize::from(matches!(slot, Slot::Known(_)));
            self.gone = self.gone.plus(slot.spent(self.began, now));
        }
    }

    fn has_room(&mut self, now: Instant) -> bool {
        if self.known < ENTRIES_MAX {
            return true;
        }
        if self.full_until.is_some_and(|until| now < until) {
            return false;
        }
        let (gone, began) = (&mut self.gone, self.began);
        self.servers.retain(|Server { slot, .. }| {
            let keep = match slot {
                Slot::Known(entry) => !entry.is_at_rest(),
                Slot::Resting(_) => true,
            };
            if !keep {
                *gone = gone.plus(slot.spent(began, now));
            }
            keep
        });
        let slots = self.servers.iter().map(|server| &server.slot);
        self.known = slots.filter(|slot| matches!(slot, Slot::Known(_))).count();
        let room = self.known < ENTRIES_MAX;
        self.full_until = (!room).then(|| now + NO_ROOM_PAUSE);
        room
    }
}
