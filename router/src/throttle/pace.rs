//! Who may try a backend next that turns logins away when one follows too soon after another.
//!
//! CraftBukkit, Spigot and Paper (`settings.connection-throttle`, 4 s by default) count from the last login of an
//! address, whether it was let in or not, and see one address for all players: the router's. So one throttled player
//! who tries on keeps everybody out. A backend that was never seen to do so has no pace.
//!
//! Pure: `now` in; a permission, or an instant, out.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::addr::BackendAddr;

/// From the end of one try to the next at first: the 4 s of servers, and a little for clocks and networks.
pub const GAP: Duration = Duration::from_millis(4_100);
/// The longest it becomes, half as long again each time it was too short.
pub const GAP_MAX: Duration = Duration::from_secs(30);
/// How long a throttle is remembered after its last kick.
pub const MEMORY: Duration = Duration::from_secs(600);
/// Most gates at once; one more makes the one be forgotten that has been quiet for longest.
pub const GATES_MAX: usize = 4_096;

/// Whose logins a backend counts together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Gate {
    /// Where the backend is.
    pub backend: BackendAddr,
    /// The player's address where a PROXY header tells it; else everybody comes from the router's.
    pub client: Option<IpAddr>,
}

/// A place in the order of those who wait, whichever gate they wait at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// Whether one may try now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Now. Whatever comes of it is to be told ([`Pace::ended`]).
    Go,
    /// Not before this instant; others are not before this one.
    At(Instant),
    /// Others come first.
    Behind,
}

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Try {
    /// The backend knows nothing of it: it was not reached, or the player had gone.
    NotMade,
    /// Turned away by the throttle, with this first packet.
    Throttled(Arc<[u8]>),
    /// Not turned away by the throttle.
    Passed,
    /// Anything else.
    Made,
}

/// The gates with a pace. `W` is how those are reached who wait at one.
#[derive(Debug, Default)]
pub struct Pace<W> {
    gates: HashMap<Gate, Line<W>>,
    tickets: u64,
}

#[derive(Debug)]
struct Line<W> {
    gap: Duration,
    /// The end of the last try, of whoever.
    tried: Instant,
    /// The last kick.
    throttled: Instant,
    /// Who tries now, and the end of the try before.
    trying: Option<(Ticket, Instant)>,
    waiting: BTreeSet<Ticket>,
    /// Whether the one before in turn got in: if the next is turned away, that may be about this player.
    proved: bool,
    /// What the last one was told who was turned away.
    said: Arc<[u8]>,
    waiters: W,
}

impl<W: Clone + Default> Pace<W> {
    /// The next place in the order of all.
    pub fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    /// Asks for a try at `gate`; who is to wait has a place there from then on, until [`Self::left`].
    pub fn turn(&mut self, gate: &Gate, ticket: Ticket, now: Instant) -> (Turn, Option<W>) {
        let Some(line) = self.line(gate, now) else {
            return (Turn::Go, None);
        };
        line.waiting.insert(ticket);
        let due = line.tried + line.gap;
        let turn = if line.trying.is_some() || line.waiting.first() != Some(&ticket) {
            Turn::Behind
        } else if now < due {
            Turn::At(due)
        } else {
            line.waiting.remove(&ticket);
            line.trying = Some((ticket, line.tried));
            Turn::Go
        };
        (turn, Some(line.waiters.clone()))
    }

    /// Gives up a place; who is to look again.
    pub fn left(&mut self, gate: &Gate, ticket: Ticket) -> Option<W> {
        let line = self.gates.get_mut(gate)?;
        line.waiting.remove(&ticket);
        Some(line.waiters.clone())
    }

    /// Takes note of what came of a try, also of one that nobody was asked for; who is to look again.
    pub fn ended(&mut self, gate: &Gate, ticket: Ticket, outcome: Try, now: Instant) -> Option<W> {
        if let Try::Throttled(said) = &outcome
            && self.line(gate, now).is_none()
        {
            self.begin(gate, said, now);
        }
        let line = self.gates.get_mut(gate)?;
        let own = line.trying.take_if(|(trying, _)| *trying == ticket);
        match outcome {
            Try::NotMade => return Some(line.waiters.clone()),
            Try::Made => {}
            Try::Passed => line.proved |= own.is_some(),
            Try::Throttled(said) => {
                line.throttled = now;
                line.said = said;
                // Where somebody has come between, the gap was not too short.
                if own.is_some_and(|(_, before)| before == line.tried) {
                    if !line.proved {
                        line.gap = (line.gap * 3 / 2).min(GAP_MAX);
                    }
                    line.proved = false;
                }
            }
        }
        line.tried = now;
        Some(line.waiters.clone())
    }

    /// What those are told at `gate` who come too soon, if it has a pace.
    pub fn said(&mut self, gate: &Gate, now: Instant) -> Option<Arc<[u8]>> {
        self.line(gate, now).map(|line| Arc::clone(&line.said))
    }

    /// The time from one try at `gate` to the next, if it has a pace.
    pub fn gap(&mut self, gate: &Gate, now: Instant) -> Option<Duration> {
        self.line(gate, now).map(|line| line.gap)
    }

    fn line(&mut self, gate: &Gate, now: Instant) -> Option<&mut Line<W>> {
        let over = |line: &Line<W>| {
            let quiet = now.saturating_duration_since(line.throttled);
            quiet >= MEMORY && line.waiting.is_empty() && line.trying.is_none()
        };
        if self.gates.get(gate).is_some_and(over) {
            self.gates.remove(gate);
        }
        self.gates.get_mut(gate)
    }

    fn begin(&mut self, gate: &Gate, said: &Arc<[u8]>, now: Instant) {
        if self.gates.len() >= GATES_MAX {
            let quiet = |(_, line): &(&Gate, &Line<W>)| (!line.waiting.is_empty(), line.throttled);
            let quietest = self.gates.iter().min_by_key(quiet);
            if let Some(quietest) = quietest.map(|(gate, _)| gate.clone()) {
                self.gates.remove(&quietest);
            }
        }
        let line = Line {
            gap: GAP,
            tried: now,
            throttled: now,
            trying: None,
            waiting: BTreeSet::new(),
            proved: false,
            said: Arc::clone(said),
            waiters: W::default(),
        };
        self.gates.insert(gate.clone(), line);
    }
}

#[cfg(test)]
#[path = "pace_tests.rs"]
mod tests;
