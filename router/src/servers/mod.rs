//! What is known of every server: its state, who waits for it, how long its starts take.
//!
//! Nothing here waits: a method is a short look into a table under a lock. What is decided lives in
//! [`state`], [`history`], [`retry`], [`lease`] and [`entry`]; this keeps one [`entry::Entry`] for
//! each server and hands out guards for those who use one.

pub mod counters;
pub mod entry;
pub mod events;
pub mod history;
pub mod lease;
pub mod retry;
mod shard;
pub mod state;

use std::array;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::broadcast;

use crate::memory::Memory;
use crate::routes::pool::Changes;
use crate::routes::{Route, StateHint};
use crate::shared_str::SharedStr;
use counters::{Counters, HeldEnd, Refusal, SERVERS_TOLD_MAX, Totals};
use entry::{Change, Entry};
use events::{Event, EventKind, Events};
use history::START_MIN;
use shard::Shard;
use state::{Signal, WakeEnd};

pub use entry::Snapshot;
pub use state::State;

/// Most servers of which more is known than their row's word. Over it, those of which nothing is to be remembered make
/// room, and if there are none, only servers that are waited for, played on or woken are added.
pub const SERVERS_MAX: usize = 128 * 1024;
/// Parts of the table with a lock each.
const SHARDS: usize = 16;

/// A server as its route tells of it.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Its name, else its host.
    pub server: &'a str,
    /// The table's word of it; heard by [`Servers::table`], and by others only if nothing
    /// is known of the server yet.
    pub hint: StateHint,
    /// Whether anything can start it.
    pub wakeable: bool,
}

/// What can start servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Starters {
    /// A server-manager, for those it knows by name.
    pub manager: bool,
    /// A webhook, for all others, and for those too where there is no server-manager.
    pub webhook: bool,
}

/// One of those, or the engine of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Starter {
    /// The server-manager.
    Manager,
    /// The webhook.
    Webhook,
    /// The container's engine, which knows it by name.
    Docker,
}

impl Starters {
    /// Who starts the server of `route`: the engine if it is a container that may be started, the
    /// server-manager if the route tells its name there.
    #[must_use]
    pub fn of(self, route: &Route) -> Option<Starter> {
        if let Some(container) = route.container() {
            container.up.then_some(Starter::Docker)
        } else if self.manager && route.managed {
            Some(Starter::Manager)
        } else {
            self.webhook.then_some(Starter::Webhook)
        }
    }
}

impl<'r> Target<'r> {
    /// The server of `route`, which one of `starters` may start.
    #[must_use]
    pub fn of(route: &'r Route, starters: Starters) -> Self {
        Self {
            server: route.key_str(),
            hint: route.state,
            wakeable: starters.of(route).is_some(),
        }
    }
}

/// What is known of all servers.
#[derive(Debug)]
pub struct Servers {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    counters: Counters,
    events: Events,
    memory: Arc<Memory>,
}

/// Tokio's clock, so that tests can move it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl Servers {
    /// Nothing is known yet but what `memory` has of earlier starts, which learns of new ones.
    #[must_use]
    pub fn new(memory: Arc<Memory>) -> Arc<Self> {
        let now = now();
        Arc::new(Self {
            shards: array::from_fn(|_| Mutex::new(Shard::new(now))),
            hasher: RandomState::new(),
            counters: Counters::default(),
            events: Events::default(),
            memory,
        })
    }

    /// Hears what changed of the routes, and what can start servers. Servers that are
    /// gone are forgotten, except those somebody waits for, plays on or wakes.
    pub fn changed(&self, changes: &Changes, starters: Starters) {
        let now = now();
        for route in &changes.gone {
            self.unroute(Target::of(route, starters).server, now);
        }
        for route in &changes.come {
            self.routed(&route.key(), &Target::of(route, starters), now);
        }
    }

    /// Forgets a server, at once or when nobody holds it any more.
    fn unroute(&self, server: &str, now: Instant) {
        self.shard(server).unrouted(server, now);
    }

    /// Hears what the table says of a server; to be called for every server of a table that is
    /// published, or for those that changed. Reading the same word again is no news.
    pub fn table(&self, target: &Target<'_>) {
        self.routed(&target.server.into(), target, now());
    }

    fn routed(&self, server: &SharedStr, target: &Target<'_>, now: Instant) {
        let mut shard = self.shard(server);
        let changed = shard.routed(server, target, now);
        self.tell(server, changed);
    }

    /// Hears of a dial or a probe.
    ///
    /// Wakes and sessions have guards: [`Servers::wake`] and [`Servers::session`].
    pub fn signal(&self, target: &Target<'_>, signal: Signal) {
        self.within(target, false, |_, entry, now| ((), entry.hear(signal, now)));
    }

    /// What there is to say of a server now.
    #[must_use]
    pub fn snapshot(&self, target: &Target<'_>) -> Snapshot {
        let now = now();
        let mut shard = self.shard(target.server);
        let mut unknown = shard.unknown(target, now);
        let entry = shard.entry(target.server).unwrap_or(&mut unknown);
        if entry.history().is_empty() {
            entry.restore(&self.memory.starts(target.server));
        }
        entry.snapshot(now)
    }

    /// The state of a server, and since when, if anything was heard of it.
    #[must_use]
    pub fn state(&self, server: &str) -> Option<(State, Instant)> {
        self.shard(server).state(server)
    }

    /// Whether somebody waits for a server, plays there, or has it woken.
    #[must_use]
    pub fn is_used(&self, server: &str) -> bool {
        let mut shard = self.shard(server);
        shard.entry(server).is_some_and(|entry| entry.is_held())
    }

    /// A player begins to wait; the place is given up by [`Waiter::end`], or when it is dropped.
    #[must_use]
    pub fn wait(self: &Arc<Self>, target: &Target<'_>) -> Waiter {
        let server = self.hold(target, |server, entry, _| {
            entry.wait();
            self.counters.held();
            self.events.send(server, EventKind::Held);
            None
        });
        Waiter {
            servers: Some(Arc::clone(self)),
            server,
        }
    }

    /// A player's session began, and the server has sent a byte; it lasts until the guard is
    /// dropped.
    #[must_use]
    pub fn session(self: &Arc<Self>, target: &Target<'_>) -> Session {
        let server = self.hold(target, |_, entry, now| {
            entry.hear(Signal::SessionOpened, now)
        });
        Session {
            servers: Arc::clone(self),
            server,
        }
    }

    /// A wake begins; it is over when the guard is: called off, unless [`Waking::end`] says
    /// otherwise. There is one wake of a server at a time: of an older one nothing more is heard.
    #[must_use]
    pub fn wake(self: &Arc<Self>, target: &Target<'_>) -> Waking {
        let mut number = 0;
        let server = self.hold(target, |server, entry, now| {
            let (begun, change) = entry.begin_wake(now);
            number = begun;
            self.events.send(server, EventKind::WakeBegun);
            change
        });
        Waking {
            servers: Arc::clone(self),
            server,
            number,
        }
    }

    /// Counts a login that was not allowed to wake its server.
    pub fn refused(&self, reason: Refusal) {
        self.counters.refused(reason);
    }

    /// What happens from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// The sums until now. Not one instant's: counting goes on meanwhile.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let now = now();
        let mut totals = self.counters.totals();
        let mut asleep = BTreeMap::new();
        for shard in &self.shards {
            let shard = lock(shard);
            totals.spent = totals.spent.plus(shard.gone());
            for (server, spent) in shard.spent(now) {
                totals.spent = totals.spent.plus(spent);
                asleep.insert(server.clone(), spent.asleep);
                if asleep.len() > SERVERS_TOLD_MAX {
                    asleep.pop_last();
                }
            }
        }
        totals.asleep = asleep.into_iter().collect();
        totals
    }

    fn shard(&self, server: &str) -> MutexGuard<'_, Shard> {
        let shards = u64::try_from(SHARDS).unwrap_or(1);
        let place = usize::try_from(self.hasher.hash_one(server) % shards).unwrap_or_default();
        let [first, ..] = &self.shards;
        lock(self.shards.get(place).unwrap_or(first))
    }

    /// Acts on a server's entry, which there is from then on: there is always room for somebody
    /// who is `held`.
    fn within<R>(
        &self,
        target: &Target<'_>,
        held: bool,
        act: impl FnOnce(&SharedStr, &mut Entry, Instant) -> (R, Option<Change>),
    ) -> Option<R> {
        let now = now();
        let mut shard = self.shard(target.server);
        let (server, entry) = shard.enter(target, held, now)?;
        let changed = entry.set_wakeable(target.wakeable, now);
        self.tell(&server, changed);
        let (result, changed) = act(&server, entry, now);
        self.tell(&server, changed);
        Some(result)
    }

    /// Begins to hold a server's entry; comes with the name under which it is kept.
    fn hold(
        &self,
        target: &Target<'_>,
        act: impl FnOnce(&SharedStr, &mut Entry, Instant) -> Option<Change>,
    ) -> SharedStr {
        let name = self.within(target, true, |server, entry, now| {
            let change = act(server, entry, now);
            (server.clone(), change)
        });
        name.unwrap_or_else(|| target.server.into())
    }

    /// Acts on the entry of a server somebody holds.
    fn held(&self, server: &SharedStr, act: impl FnOnce(&mut Entry, Instant) -> Option<Change>) {
        let now = now();
        let mut shard = self.shard(server);
        if let Some(entry) = shard.entry(server) {
            let change = act(entry, now);
            self.tell(server, change);
            shard.forget_unrouted(server, now);
        }
    }

    /// Under the lock, so that the changes of one server are told in order.
    fn tell(&self, server: &SharedStr, change: Option<Change>) {
        if let Some(Change { from, to }) = change {
            self.events.send(server, EventKind::State { from, to });
        }
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A waiting player's place.
#[derive(Debug)]
pub struct Waiter {
    /// `None` once the wait is over.
    servers: Option<Arc<Servers>>,
    server: SharedStr,
}

impl Waiter {
    /// Ends the wait; without it, the player has left.
    pub fn end(mut self, end: HeldEnd) {
        self.over(end);
    }

    fn over(&mut self, end: HeldEnd) {
        let Some(servers) = self.servers.take() else {
            return;
        };
        servers.counters.held_ended(end);
        servers.held(&self.server, |entry, now| {
            entry.wait_over(now);
            servers.events.send(&self.server, EventKind::HeldEnded(end));
            None
        });
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.over(HeldEnd::Abandoned);
    }
}

/// A player's session; it ends when this is dropped.
#[derive(Debug)]
pub struct Session {
    servers: Arc<Servers>,
    server: SharedStr,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.servers.held(&self.server, |entry, now| {
            entry.hear(Signal::SessionClosed, now)
        });
    }
}

/// A wake that is under way; dropped without [`Waking::end`], it was called off.
#[derive(Debug)]
pub struct Waking {
    servers: Arc<Servers>,
    server: SharedStr,
    number: u32,
}

impl Waking {
    /// The server-manager accepted the start.
    pub fn accepted(&self) {
        self.go_on(Signal::WakeAccepted);
    }

    /// The server answers, and its settle delay runs.
    pub fn settling(&self) {
        self.go_on(Signal::WakeSettling);
    }

    /// The start is so far, 0 to 1.
    pub fn progress(&self, progress: f64) {
        self.servers.held(&self.server, |entry, _| {
            entry.set_progress(self.number, progress);
            None
        });
    }

    /// The wake ends: let everybody in, or tell them why not.
    pub fn end(self, end: WakeEnd) {
        self.over(end);
    }

    fn go_on(&self, signal: Signal) {
        self.servers.held(&self.server, |entry, now| {
            entry.go_on(self.number, signal, now)
        });
    }

    /// Does nothing when it is over already.
    fn over(&self, end: WakeEnd) {
        let servers = &self.servers;
        servers.held(&self.server, |entry, now| {
            let (took, change) = entry.end_wake(self.number, end, now)?;
            servers.counters.wake_ended(end, took);
            if end == WakeEnd::Ready && took >= START_MIN {
                servers.memory.remember_start(&self.server, took);
            }
            servers.events.send(&self.server, EventKind::WakeEnded(end));
            change
        });
    }
}

impl Drop for Waking {
    fn drop(&mut self) {
        self.over(WakeEnd::CalledOff);
    }
}

#[cfg(test)]
mod tests;
