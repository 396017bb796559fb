//! Which names are looked up when, and for how long what came of it stands.
//!
//! The system's resolver is asked in a thread for each name, which nobody can call back: for a zone whose servers are
//! dead it takes up to half a minute. So a name is looked up once for all who ask, a zone has so many threads and no more,
//! and whoever would wait for one that is stuck is told so at once.
//!
//! Pure: `now` is passed in; `W` is what whoever waits is told by.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long addresses stand.
pub const FOUND_FRESH: Duration = Duration::from_secs(5);
/// How long it stands that there are none: a container's name appears when it starts.
pub const FAILED_FRESH: Duration = Duration::from_secs(1);
/// A look-up that takes longer is one of a zone in trouble.
pub const SLOW_AFTER: Duration = Duration::from_millis(500);
/// Look-ups at once, a thread each, ...
pub const LOOKUPS_MAX: usize = 320;
/// ... of which so many are kept for names that were found within [`KNOWN_FOR`], ...
pub const KEPT_FOR_KNOWN: usize = 64;
/// ... in one zone (names with the same parent domain), ...
pub const ZONE_LOOKUPS_MAX: usize = 16;
/// ... and of names without a dot, which are each a container's, a machine's or an alias of its own.
pub const BARE_LOOKUPS_MAX: usize = 160;
/// Least time between two looks for somebody's turn where nothing has ended: thousands may wait.
const TICK_MIN: Duration = Duration::from_millis(100);
/// How long it is known that a name was found.
pub const KNOWN_FOR: Duration = Duration::from_secs(3600);
/// Names that wait for a look-up.
pub const WAITING_MAX: usize = 1_024;
/// Names in the table; what failed goes first, then what was found longest ago.
pub const NAMES_MAX: usize = 4_096;

/// What a look-up came to: addresses, with the port 0, or why there are none.
pub type Found = Result<Arc<[SocketAddr]>, Arc<io::Error>>;

/// What to do for whoever asks.
#[derive(Debug)]
pub enum Look<W> {
    /// This is it.
    Known(Found),
    /// Wait: somebody asked before, or there is no place yet.
    Wait(W),
    /// Wait, and begin the look-up.
    Begin(W),
    /// The name's zone is stuck.
    Stuck,
}

/// What else there is to do.
#[derive(Debug)]
pub struct Turn<W> {
    /// Names whose look-up is to begin.
    pub begin: Vec<Box<str>>,
    /// Who waited for a zone that is stuck.
    pub stuck: Vec<W>,
}

#[derive(Debug)]
enum State<W> {
    Idle,
    Waiting(W),
    Running(W),
}

#[derive(Debug)]
struct Name<W> {
    state: State<W>,
    last: Option<(Found, Instant)>,
    /// When addresses of it came in last.
    found: Option<Instant>,
}

impl<W> Name<W> {
    fn fresh(&self, now: Instant) -> Option<&Found> {
        let (found, at) = self.last.as_ref()?;
        let stands = if found.is_ok() {
            FOUND_FRESH
        } else {
            FAILED_FRESH
        };
        (now < *at + stands).then_some(found)
    }

    fn is_known(&self, now: Instant) -> bool {
        self.found.is_some_and(|at| now < at + KNOWN_FOR)
    }

    fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }
}

#[derive(Debug)]
struct Zone {
    running: usize,
    begun: Instant,
}

/// The names that were asked for.
#[derive(Debug)]
pub struct Names<W> {
    names: HashMap<Box<str>, Name<W>>,
    zones: HashMap<Box<str>, Zone>,
    all: Option<Zone>,
    waiting: VecDeque<Box<str>>,
    ticked: Option<Instant>,
}

impl<W> Default for Names<W> {
    fn default() -> Self {
        Self {
            names: HashMap::new(),
            zones: HashMap::new(),
            all: None,
            waiting: VecDeque::new(),
            ticked: None,
        }
    }
}

impl<W: Clone> Names<W> {
    /// What to do for somebody who asks for `name`; `make` is called where nobody did before.
    pub fn look(&mut self, name: &str, now: Instant, make: impl FnOnce() -> W) -> Look<W> {
        if let Some(known) = self.names.get(name) {
            match &known.state {
                State::Waiting(told) | State::Running(told) => return Look::Wait(told.clone()),
                State::Idle => {}
            }
            if let Some(found) = known.fresh(now) {
                return Look::Known(found.clone());
            }
        }
        let may_begin = self.may_begin(name, now);
        if !may_begin && (self.waiting.len() >= WAITING_MAX || self.is_stuck(name, now)) {
            return Look::Stuck;
        }
        self.trim(now);
        let told = make();
        let entry = self.names.entry(name.into()).or_insert(Name {
            state: State::Idle,
            last: None,
            found: None,
        });
        if may_begin {
            entry.state = State::Running(told.clone());
            self.begun(name, now);
            Look::Begin(told)
        } else {
            entry.state = State::Waiting(told.clone());
            self.waiting.push_back(name.into());
            Look::Wait(told)
        }
    }

    /// Takes what came of the look-up of `name`; who waited for it.
    pub fn ended(&mut self, name: &str, found: Found, now: Instant) -> Option<W> {
        let entry = self.names.get_mut(name)?;
        let State::Running(told) = std::mem::replace(&mut entry.state, State::Idle) else {
            return None;
        };
        if found.is_ok() {
            entry.found = Some(now);
        }
        entry.last = Some((found, now));
        if let Some(all) = &mut self.all {
            all.running = all.running.saturating_sub(1);
        }
        let zone = zone(name);
        if let Some(of) = self.zones.get_mut(zone) {
            of.running = of.running.saturating_sub(1);
            if of.running == 0 {
                self.zones.remove(zone);
            }
        }
        Some(told)
    }

    /// The same as [`Self::turn`], for whoever waits to ask every [`SLOW_AFTER`].
    pub fn tick(&mut self, now: Instant) -> Turn<W> {
        if self.ticked.is_some_and(|at| now < at + TICK_MIN) {
            return Turn {
                begin: Vec::new(),
                stuck: Vec::new(),
            };
        }
        self.ticked = Some(now);
        self.turn(now)
    }

    /// Whose turn it is of those who wait, and who waits in vain: to be asked after an end.
    pub fn turn(&mut self, now: Instant) -> Turn<W> {
        let (mut begin, mut stuck) = (Vec::new(), Vec::new());
        for name in std::mem::take(&mut self.waiting) {
            let (may_begin, is_stuck) = (self.may_begin(&name, now), self.is_stuck(&name, now));
            if !may_begin && !is_stuck {
                self.waiting.push_back(name);
                continue;
            }
            let Some(entry) = self.names.get_mut(&name) else {
                continue;
            };
            let State::Waiting(told) = std::mem::replace(&mut entry.state, State::Idle) else {
                continue;
            };
            if may_begin {
                entry.state = State::Running(told);
                self.begun(&name, now);
                begin.push(name);
            } else {
                stuck.push(told);
            }
        }
        Turn { begin, stuck }
    }

    fn begun(&mut self, name: &str, now: Instant) {
        let one_more = |zone: &mut Zone| {
            zone.running += 1;
            zone.begun = now;
        };
        let none = || Zone {
            running: 0,
            begun: now,
        };
        one_more(self.all.get_or_insert_with(none));
        one_more(self.zones.entry(zone(name).into()).or_insert_with(none));
    }

    /// How many may run in all, and in the zone of `name`, for that to be one more.
    fn places(&self, name: &str, now: Instant) -> (usize, usize) {
        let in_zone = match zone(name) {
            "" => BARE_LOOKUPS_MAX,
            _ => ZONE_LOOKUPS_MAX,
        };
        if self.names.get(name).is_some_and(|name| name.is_known(now)) {
            (LOOKUPS_MAX, 2 * in_zone)
        } else {
            (LOOKUPS_MAX - KEPT_FOR_KNOWN, in_zone)
        }
    }

    fn may_begin(&self, name: &str, now: Instant) -> bool {
        let (in_all, in_zone) = self.places(name, now);
        let running = |zone: Option<&Zone>| zone.map_or(0, |zone| zone.running);
        running(self.all.as_ref()) < in_all && running(self.zones.get(zone(name))) < in_zone
    }

    /// Whether there is no place for `name`, and none came free lately.
    fn is_stuck(&self, name: &str, now: Instant) -> bool {
        let (in_all, in_zone) = self.places(name, now);
        let stuck = |zone: Option<&Zone>, places| {
            zone.is_some_and(|zone| zone.running >= places && now >= zone.begun + SLOW_AFTER)
        };
        stuck(self.all.as_ref(), in_all) || stuck(self.zones.get(zone(name)), in_zone)
    }

    /// Makes room for one more name.
    fn trim(&mut self, now: Instant) {
        if self.names.len() < NAMES_MAX {
            return;
        }
        self.names
            .retain(|_, name| !name.is_idle() || name.fresh(now).is_some() || name.is_known(now));
        if self.names.len() < NAMES_MAX {
            return;
        }
        self.names
            .retain(|_, name| !name.is_idle() || name.found.is_some());
        if self.names.len() < NAMES_MAX {
            return;
        }
        let mut found: Vec<_> = self.names.values().filter_map(|name| name.found).collect();
        found.sort_unstable();
        let middle = found.get(found.len() / 2).copied();
        self.names
            .retain(|_, name| !name.is_idle() || name.found > middle);
    }
}

/// The zone of `name`: its parent domain, and nothing where it has none.
fn zone(name: &str) -> &str {
    let bare = name.strip_suffix('.').unwrap_or(name);
    bare.split_once('.').map_or("", |(_, parent)| parent)
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
