//! How healthy every route is.
//!
//! What is known is kept by backend address, since that is what a dial or a ping proves something of:
//! [`Health::of`]. A route's health is that of its backend, or the best of several, and the state of its server together:
//! [`Health::of_route`]. States are only read here, and never learn of a check; so no check keeps a
//! server up, or puts off that it is stopped.
//!
//! What is decided lives in [`word`], [`ladder`], [`ring`] and [`schedule`]; [`monitor`] asks.

pub mod ladder;
pub mod monitor;
pub mod ring;
pub mod schedule;
pub mod word;

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use crate::addr::BackendAddr;
use crate::moment::Moment;
use crate::routes::Route;
use crate::routes::table::Table;
use crate::servers::state::Machine;
use crate::servers::{Servers, Starters, Target};
use ladder::{By, Record, Server, Status, Step};
use ring::{Part, Place, Slot};
use schedule::{Checks, SOON_MAX};
use word::Word;

/// Most backends that are watched; of those beyond nothing is known.
pub const BACKENDS_MAX: usize = 256 * 1024;
/// Parts of the ring with a lock each, so that who writes them anew is in nobody's way for long.
const PARTS: usize = 64;
/// Places of one part.
const PART_PLACES: u64 = (1 << 32) / 64;

/// How healthy the backends of all routes are.
#[derive(Debug)]
pub struct Health {
    /// Who is asked, and how often.
    checks: Checks,
    began: Instant,
    hasher: RandomState,
    parts: [Mutex<Part>; PARTS],
    count: AtomicUsize,
    /// Who is to be looked at: suspects, which are asked again soon, and whom players found well again.
    suspects: mpsc::Sender<BackendAddr>,
}

/// What changed about a backend, by what was heard from it and the state of its server together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthChange {
    /// Its address.
    pub backend: BackendAddr,
    /// A route that leads there.
    pub route: Arc<Route>,
    /// How it was.
    pub from: Status,
    /// How it is.
    pub to: Status,
    /// Why.
    pub detail: &'static str,
}

/// What is known of a backend, by what was heard from it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// How it is.
    pub status: Status,
    /// Why.
    pub detail: &'static str,
    /// How long it has been well, if it is.
    pub uptime: Option<Duration>,
    /// How long it took to answer its last status request.
    pub latency: Option<Duration>,
    /// Time since it was last heard to be well.
    pub seen: Option<Duration>,
    /// Time since it was last heard of: the age of all this.
    pub heard: Option<Duration>,
    /// Bad words in a row.
    pub failures: u8,
}

/// Tokio's clock, so that tests can move it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl Health {
    /// Nothing is known yet. Suspects come out at the other end, for [`monitor::Monitor`].
    #[must_use]
    pub fn new(checks: Checks) -> (Arc<Self>, mpsc::Receiver<BackendAddr>) {
        let (suspects, suspected) = mpsc::channel(SOON_MAX);
        let health = Self {
            checks,
            began: now(),
            hasher: RandomState::new(),
            parts: std::array::from_fn(|_| Mutex::default()),
            count: AtomicUsize::new(0),
            suspects,
        };
        (Arc::new(health), suspected)
    }

    /// Who is asked, and how often.
    #[must_use]
    pub fn checks(&self) -> Checks {
        self.checks
    }

    /// Somebody is interested in the backends of `route`: a player who comes or looks, or a reader of this route. Those
    /// that were not heard of lately are asked soon.
    pub fn interest(&self, route: &Route) {
        let Checks::OfInterest(interval) = self.checks else {
            return;
        };
        let now = Moment::new(self.began, now());
        for backend in route.addresses() {
            let place = self.place(backend);
            if self.part(place).interest(place, now, interval) {
                // Where too many are to be looked at already, its turn comes all the same.
                drop(self.suspects.try_send(backend.clone()));
            }
        }
    }

    /// Somebody has not lost interest in `slot`.
    fn stay_interested(&self, slot: &Slot) {
        if let Checks::OfInterest(interval) = self.checks {
            let now = Moment::new(self.began, now());
            self.part(slot.place())
                .interest(slot.place(), now, interval);
        }
    }

    /// Whether `slot` is to be asked now, if its server may be.
    fn is_wanted(&self, slot: &Slot) -> bool {
        let now = Moment::new(self.began, now());
        let mut part = self.part(slot.place());
        let interest = part.interested(slot.place()).map(|at| now.since(at));
        if interest.is_some_and(|ago| !self.checks.is_interest(ago)) {
            part.lose_interest(slot.place());
        }
        drop(part);
        let record = slot.record.faded(now, self.checks.fade());
        let heard = record.heard().map(|at| now.since(at));
        self.checks.wants(interest, heard, record.is_suspect())
            && !record.is_fresh(self.checks.interval() / 2, now)
    }

    /// What is known of `backend`; `None` if no route leads there, or nobody asks.
    #[must_use]
    pub fn of(&self, backend: &BackendAddr) -> Option<Reading> {
        let record = self.record(backend)?;
        Some(self.reading(&record, record.status(), record.detail()))
    }

    /// How the route is.
    #[must_use]
    pub fn of_route(&self, route: &Route, servers: &Servers, starters: Starters) -> Reading {
        let server = self.server(route, servers, starters);
        let how = |backend: &BackendAddr| {
            let record = self.record(backend).unwrap_or_default();
            (record, ladder::status(&record, &server))
        };
        // It is well as long as one of several backends is.
        let mut all = route.addresses().map(how);
        let well = all.find(|(_, (status, _))| status.is_good());
        let (record, (status, detail)) = well.unwrap_or_else(|| how(&route.backend));
        let mut reading = self.reading(&record, status, detail);
        reading.uptime = status.is_good().then(|| {
            let since = record.good_since().unwrap_or(server.since);
            Moment::new(self.began, now()).since(since)
        });
        reading
    }

    /// How many of the routes of `table` are how, the default among them.
    #[must_use]
    pub fn counts(
        &self,
        table: &Table,
        servers: &Servers,
        starters: Starters,
    ) -> [(Status, u64); Status::ALL.len()] {
        let mut counts = Status::ALL.map(|status| (status, 0));
        let routes = table.iter().map(|(_, route)| route);
        for route in routes.chain(table.default_route()) {
            let status = self.of_route(route, servers, starters).status;
            counts
                .iter_mut()
                .filter(|(of, _)| *of == status)
                .for_each(|(_, count)| *count += 1);
        }
        counts
    }

    /// Hears what became of a dial or a ping for a player: a short look into a table, and
    /// nothing at all where nobody asks. `None` says nothing.
    pub fn met(&self, backend: &BackendAddr, word: Option<Word>) {
        if let Some(word) = word {
            self.heard_by_player(backend, word, None);
        }
    }

    /// Hears that `backend` answered a status request in `latency`.
    pub fn answered(&self, backend: &BackendAddr, latency: Duration) {
        self.heard_by_player(backend, Word::Answered, Some(latency));
    }

    fn heard_by_player(&self, backend: &BackendAddr, word: Word, latency: Option<Duration>) {
        if self.checks == Checks::Never {
            return;
        }
        let step = self.hear(backend, word, By::Player, latency);
        if step.is_some_and(|step| step.suspect || step.from.is_some()) {
            // If too many are to be looked at already, its turn comes all the same.
            drop(self.suspects.try_send(backend.clone()));
        }
    }

    /// Takes a word of `backend`; what that has changed, if it is watched.
    fn hear(
        &self,
        backend: &BackendAddr,
        word: Word,
        by: By,
        latency: Option<Duration>,
    ) -> Option<Step> {
        let now = Moment::new(self.began, now());
        let place = self.place(backend);
        let step = {
            let mut part = self.part(place);
            let slot = part.get_mut(place, backend)?;
            slot.record = slot.record.faded(now, self.checks.fade());
            if let Some(latency) = latency {
                slot.record.took(latency);
            }
            slot.record.hear(word, by, now)
        };
        tell(backend, word, step);
        Some(step)
    }

    /// Watches the backends of the routes of `table` from now on; of the others everything is
    /// forgotten. New ones come back, no more than may be asked out of turn. Of addresses that depend on
    /// what a client asks for nothing is known.
    fn watch(&self, table: &Table) -> Vec<(Place, BackendAddr)> {
        let mut parts: [Vec<Slot>; PARTS] = std::array::from_fn(|_| Vec::new());
        let routes = table.iter().map(|(_, route)| route);
        let routes = routes.chain(table.default_route());
        for route in routes.filter(|route| !route.backend.is_template()) {
            for backend in route.addresses() {
                let place = self.place(backend);
                if let Some(part) = parts.get_mut(part_of(place)) {
                    part.push(Slot::new(place, backend.clone(), Arc::clone(route)));
                }
            }
        }
        let (mut new, mut count) = (Vec::new(), 0);
        for (part, slots) in self.parts.iter().zip(parts) {
            let mut part = lock(part);
            let came = part.replace(slots, BACKENDS_MAX / PARTS);
            count += part.len();
            drop(part);
            let room = SOON_MAX.saturating_sub(new.len());
            new.extend(came.into_iter().take(room));
        }
        self.count.store(count, Ordering::Relaxed);
        new
    }

    /// How many backends are watched.
    #[must_use]
    pub fn watched(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// The next on the ring behind `last`, the first after the last; `None` where there is nobody.
    fn after(&self, last: Option<(Place, &BackendAddr)>) -> Option<Slot> {
        let begin = last.map_or(0, |(place, _)| part_of(place));
        let here = self.parts.get(begin)?;
        if let Some(slot) = lock(here).after(last) {
            return Some(slot.clone());
        }
        let onward = self.parts.iter().cycle().skip(begin + 1).take(PARTS);
        onward.map(lock).find_map(|part| part.after(None).cloned())
    }

    /// This backend, if it is watched.
    fn slot(&self, backend: &BackendAddr) -> Option<Slot> {
        let place = self.place(backend);
        self.part(place).get(place, backend).cloned()
    }

    fn record(&self, backend: &BackendAddr) -> Option<Record> {
        let (place, now) = (self.place(backend), Moment::new(self.began, now()));
        let record = self.part(place).get(place, backend)?.record;
        Some(record.faded(now, self.checks.fade()))
    }

    /// What is new about the backend of `slot` if its server is like this: how it was told to be last, and is now.
    fn news(&self, slot: &Slot, server: &Server) -> Option<HealthChange> {
        let mut part = self.part(slot.place());
        let slot = part.get_mut(slot.place(), &slot.backend)?;
        let now = Moment::new(self.began, now());
        let record = slot.record.faded(now, self.checks.fade());
        let (to, detail) = ladder::status(&record, server);
        let from = slot.record.tell(to)?;
        Some(HealthChange {
            backend: slot.backend.clone(),
            route: Arc::clone(&slot.route),
            from,
            to,
            detail,
        })
    }

    fn server(&self, route: &Route, servers: &Servers, starters: Starters) -> Server {
        let target = Target::of(route, starters);
        let unheard = || Machine::new(target.hint, target.wakeable, self.began).state();
        let known = servers.state(target.server);
        let (state, since) = known.unwrap_or_else(|| (unheard(), self.began));
        Server {
            state,
            since: Moment::new(self.began, since),
            hint: route.state,
            wakeable: target.wakeable,
        }
    }

    fn reading(&self, record: &Record, status: Status, detail: &'static str) -> Reading {
        let now = Moment::new(self.began, now());
        let ago = |then: Option<Moment>| then.map(|then| now.since(then));
        Reading {
            status,
            detail,
            uptime: ago(record.good_since()),
            latency: record.latency(),
            seen: ago(record.seen()),
            heard: ago(record.heard()),
            failures: record.failures(),
        }
    }

    fn place(&self, backend: &BackendAddr) -> Place {
        let [one, two, three, four, ..] = self.hasher.hash_one(backend).to_ne_bytes();
        Place::from_ne_bytes([one, two, three, four])
    }

    fn part(&self, place: Place) -> MutexGuard<'_, Part> {
        let [first, ..] = &self.parts;
        lock(self.parts.get(part_of(place)).unwrap_or(first))
    }
}

/// The parts follow each other as the places do.
fn part_of(place: Place) -> usize {
    usize::try_from(u64::from(place) / PART_PLACES).unwrap_or_default()
}

fn lock(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tell(backend: &BackendAddr, word: Word, step: Step) {
    let Some(from) = step.from else {
        return;
    };
    let detail = word.text();
    match from {
        // What does not answer from the first may well sleep.
        Status::Unknown => debug!(%backend, detail, "backend"),
        _ if word.is_good() => info!(%backend, detail, "backend: healthy again"),
        _ => warn!(%backend, detail, "backend: unhealthy"),
    }
}

#[cfg(test)]
mod tests;
