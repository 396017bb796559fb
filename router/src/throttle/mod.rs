//! Lets players try a throttled backend one after the other, first come, first served: [`pace`] decides, and who is to
//! wait sleeps here.
//!
//! In the beginning everybody tries at once: most backends have no throttle, or none for this router's address.

pub mod pace;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::info;

use crate::config::values::short;
use pace::{Gate, Pace, Ticket, Try, Turn};

/// What the first packet of a backend was that turned somebody away: a whole frame.
pub type Kick = Arc<[u8]>;

/// The gates of all backends.
#[derive(Debug, Default)]
pub struct Throttle {
    pace: Mutex<Pace<Arc<Notify>>>,
}

/// A try at a backend. Dropped before anything else is told, it counts as made once the backend has
/// [heard of it](Self::begins).
#[derive(Debug)]
pub struct Attempt<'t> {
    throttle: &'t Throttle,
    gate: Gate,
    ticket: Ticket,
    /// What it has come to if nothing more is told; `None` once it is over.
    so_far: Option<Try>,
}

impl Throttle {
    /// A try now.
    ///
    /// # Errors
    /// It would be too soon; what the backend says to those who come too soon.
    pub fn now(&self, gate: Gate) -> Result<Attempt<'_>, Kick> {
        let now = Instant::now().into_std();
        let mut pace = self.lock();
        let ticket = pace.ticket();
        if let (Turn::At(_) | Turn::Behind, _) = pace.turn(&gate, ticket, now) {
            pace.left(&gate, ticket);
            if let Some(said) = pace.said(&gate, now) {
                return Err(said);
            }
        }
        drop(pace);
        Ok(self.attempt(gate, ticket))
    }

    /// A try now, whatever the pace, of a player who cannot be kept.
    pub fn regardless(&self, gate: Gate) -> Attempt<'_> {
        let ticket = self.lock().ticket();
        self.attempt(gate, ticket)
    }

    /// A try when it is this player's turn, `pause` from now at the earliest. The order is that of the calls.
    ///
    /// # Cancel safety
    /// Cancel safe; the place is given up.
    pub async fn turn(&self, gate: Gate, pause: Duration) -> Attempt<'_> {
        let place = {
            let ticket = self.lock().ticket();
            Place {
                throttle: self,
                gate,
                ticket,
            }
        };
        if !pause.is_zero() {
            sleep(pause).await;
        }
        loop {
            let (turn, others) = {
                let now = Instant::now().into_std();
                let mut pace = self.lock();
                let (turn, waiters) = pace.turn(&place.gate, place.ticket, now);
                // From under the lock on, no news is missed.
                (turn, waiters.map(Notify::notified_owned))
            };
            match (turn, others) {
                (Turn::At(at), Some(others)) => tokio::select! {
                    () = sleep_until(at.into()) => {}
                    () = others => {}
                },
                (Turn::Behind, Some(others)) => others.await,
                _ => return self.attempt(place.gate.clone(), place.ticket),
            }
        }
    }

    /// What the backend says to those who come too soon, if it is known to.
    pub fn said(&self, gate: &Gate) -> Option<Kick> {
        self.lock().said(gate, Instant::now().into_std())
    }

    fn attempt(&self, gate: Gate, ticket: Ticket) -> Attempt<'_> {
        Attempt {
            throttle: self,
            gate,
            ticket,
            so_far: Some(Try::NotMade),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pace<Arc<Notify>>> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// The backend gets the player's greeting now.
    pub fn begins(&mut self) {
        self.so_far = Some(Try::Made);
    }

    /// The backend has said something else.
    pub fn passed(mut self) {
        self.so_far = Some(Try::Passed);
    }

    /// It came too soon.
    pub fn throttled(mut self, said: &Kick) {
        self.so_far = Some(Try::Throttled(Arc::clone(said)));
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let Some(outcome) = self.so_far.take() else {
            return;
        };
        let now = Instant::now().into_std();
        let (waiters, slower) = {
            let mut pace = self.throttle.lock();
            let before = pace.gap(&self.gate, now);
            let waiters = pace.ended(&self.gate, self.ticket, outcome, now);
            let after = pace.gap(&self.gate, now);
            (waiters, after.filter(|_| after != before))
        };
        if let Some(gap) = slower {
            let backend = &self.gate.backend;
            info!(%backend, every = short(gap), "the backend throttles logins: players get in one after the other");
        }
        if let Some(waiters) = waiters {
            waiters.notify_waiters();
        }
    }
}

/// A place among those who wait, until it is dropped.
struct Place<'t> {
    throttle: &'t Throttle,
    gate: Gate,
    ticket: Ticket,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let waiters = self.throttle.lock().left(&self.gate, self.ticket);
        if let Some(waiters) = waiters {
            waiters.notify_waiters();
        }
    }
}
