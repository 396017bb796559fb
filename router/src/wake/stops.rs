//! Which server is being stopped, or was: who comes meanwhile is let in once that is done and it was started
//! again, and nothing else is asked of it before.
//!
//! That a stop was accepted is not the end of the server: it may take players for a while yet. So nobody is let
//! in without a start from then on ([`STOPPED_MAX`]), and the start is asked for once its port has closed
//! ([`GONE_MAX`]), since whoever is asked any sooner may say that it runs.
//!
//! Whoever logs in says so ([`InUse`](super::in_use::InUse)) before asking here, and whoever stops says so
//! here before looking who is there: one of the two always sees the other.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep;

use crate::addr::BackendAddr;
use crate::dial::dial;
use crate::shared_str::SharedStr;

/// How long after an accepted stop a start waits for the server to be gone.
pub const GONE_MAX: Duration = Duration::from_secs(10);
/// From one look whether it is gone to the next; nobody looks unless somebody waits.
const GONE_PAUSE: Duration = Duration::from_millis(250);
/// Longest time of one look: who does not answer in that has gone.
const GONE_LOOK_MAX: Duration = Duration::from_secs(2);
/// How long after an accepted stop nobody is let in without a start. A server that was started by others since
/// costs a start that changes nothing.
pub const STOPPED_MAX: Duration = Duration::from_secs(10 * 60);
/// Most servers that were stopped within that time; the oldest are forgotten.
const STOPPED_SERVERS_MAX: usize = 4_096;

/// The stop that is under way, if there is one; there is one at a time. And those that were accepted.
#[derive(Debug, Default)]
pub struct Stops {
    all: watch::Sender<All>,
}

#[derive(Debug, Default)]
struct All {
    current: Option<Stop>,
    /// In the order of time.
    accepted: Vec<Accepted>,
}

#[derive(Debug)]
struct Stop {
    backend: BackendAddr,
    servers: Vec<SharedStr>,
}

#[derive(Debug)]
struct Accepted {
    stop: Stop,
    at: Instant,
    /// Where the server is until it is gone.
    address: BackendAddr,
}

impl Stop {
    /// By any of its names, or by its address, under which others may know it.
    fn is_of(&self, server: &str, backend: &BackendAddr) -> bool {
        self.backend == *backend || self.servers.iter().any(|name| **name == *server)
    }
}

impl All {
    fn is_current(&self, server: &str, backend: &BackendAddr) -> bool {
        let current = self.current.as_ref();
        current.is_some_and(|stop| stop.is_of(server, backend))
    }

    /// The last one of this server that was accepted, and not longer ago than `within`.
    fn accepted(
        &self,
        (server, backend): (&str, &BackendAddr),
        within: Duration,
        now: Instant,
    ) -> Option<&Accepted> {
        let of = |one: &&Accepted| one.stop.is_of(server, backend);
        let last = self.accepted.iter().rev().find(of);
        last.filter(|one| now.saturating_duration_since(one.at) < within)
    }
}

/// A stop; it was not to be, or failed, when this is dropped.
#[derive(Debug)]
pub struct Stopping<'s>(&'s Stops);

impl Stops {
    /// Begins to stop the server at `backend`, which routes know by these names. One that was under
    /// way is taken for done.
    pub fn begin(&self, backend: BackendAddr, servers: Vec<SharedStr>) -> Stopping<'_> {
        let stop = Stop { backend, servers };
        self.all.send_modify(|all| all.current = Some(stop));
        Stopping(self)
    }

    /// Whether this server is on its way down.
    #[must_use]
    pub fn is_under_way(&self, server: &str, backend: &BackendAddr, now: Instant) -> bool {
        self.is_within(server, backend, GONE_MAX, now)
    }

    /// Whether this server is on its way down, or was and nobody has asked for a start since.
    #[must_use]
    pub fn is_stopped(&self, server: &str, backend: &BackendAddr, now: Instant) -> bool {
        self.is_within(server, backend, STOPPED_MAX, now)
    }

    fn is_within(&self, server: &str, backend: &BackendAddr, time: Duration, now: Instant) -> bool {
        let all = self.all.borrow();
        all.is_current(server, backend) || all.accepted((server, backend), time, now).is_some()
    }

    /// Where this server is looked for until it is gone, if it is on its way down.
    fn leaving(&self, server: &str, backend: &BackendAddr, now: Instant) -> Option<BackendAddr> {
        let all = self.all.borrow();
        let accepted = all.accepted((server, backend), GONE_MAX, now);
        accepted.map(|one| one.address.clone())
    }

    /// A start of this server was accepted.
    pub fn started(&self, server: &str, backend: &BackendAddr) {
        let is_other = |one: &Accepted| !one.stop.is_of(server, backend);
        self.all.send_if_modified(|all| {
            let before = all.accepted.len();
            all.accepted.retain(is_other);
            all.accepted.len() < before
        });
    }

    /// Waits until the stop of this server was answered.
    async fn answered(&self, server: &str, backend: &BackendAddr) {
        let mut stops = self.all.subscribe();
        let answered = stops.wait_for(|all| !all.is_current(server, backend));
        // The sender is here, so there is no other end than that it is over.
        let _ended = answered.await.is_ok();
    }

    /// Waits until this server is not being stopped, and is gone if it was; when it was seen to be.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn gone(&self, server: &str, backend: &BackendAddr) -> Option<Instant> {
        loop {
            self.answered(server, backend).await;
            let address = self.leaving(server, backend, Instant::now())?;
            if dial(&address, GONE_LOOK_MAX).await.is_err() {
                return Some(Instant::now());
            }
            sleep(GONE_PAUSE).await;
        }
    }
}

impl Stopping<'_> {
    /// It was accepted `now`, of a server that is at `address` until it is gone.
    pub fn accepted(self, address: BackendAddr, now: Instant) {
        self.0.all.send_modify(|all| {
            let Some(stop) = all.current.take() else {
                return;
            };
            let is_recent = |one: &Accepted| now.saturating_duration_since(one.at) < STOPPED_MAX;
            all.accepted.retain(is_recent);
            if all.accepted.len() >= STOPPED_SERVERS_MAX {
                all.accepted.remove(0);
            }
            let at = now;
            all.accepted.push(Accepted { stop, at, address });
        });
    }
}

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0
            .all
            .send_if_modified(|all| all.current.take().is_some());
    }
}

#[cfg(test)]
#[path = "stops_tests.rs"]
mod tests;
