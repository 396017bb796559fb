//! One wake per server, shared by everybody who waits for it.
//!
//! The first waiter starts the wake, every waiter gets its outcome, and when the last one leaves
//! before the server-manager accepted the start, it is called off. A start that was accepted is
//! followed to its end: the server boots anyway.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::client::ManagerClient;
use super::machine::{Limits, Step, Wake, WakeError};
use crate::addr::BackendAddr;

/// How long a failed wake stands for whoever asks next, however many players click.
pub const FAILED_WAKE_PAUSE: Duration = Duration::from_secs(5);

/// The address that came with `running`, if one did, or why the server did not wake.
pub type Outcome = Result<Option<BackendAddr>, WakeError>;

/// Wakes servers through one server-manager.
#[derive(Debug)]
pub struct Waker {
    client: ManagerClient,
    limits: Limits,
    stop: CancellationToken,
    /// Where wakes run: not with the workers that serve clients.
    runtime: Handle,
    /// Bounded by the table: only servers of routes are woken, one entry each, and an entry
    /// goes when its wake succeeds or `FAILED_WAKE_PAUSE` after it failed.
    flights: Mutex<HashMap<Arc<str>, Flight>>,
}

#[derive(Debug)]
struct Flight {
    outcome: watch::Receiver<Option<Outcome>>,
    waiters: usize,
    accepted: bool,
    call_off: CancellationToken,
}

/// One waiter's place; dropping it gives the place up.
#[derive(Debug)]
pub struct Ticket {
    waker: Arc<Waker>,
    server: Arc<str>,
    outcome: watch::Receiver<Option<Outcome>>,
}

impl Waker {
    /// A waker whose wakes end when `stop` is cancelled. Must be called within a Tokio runtime,
    /// which runs them.
    #[must_use]
    pub fn new(client: ManagerClient, limits: Limits, stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            client,
            limits,
            stop,
            runtime: Handle::current(),
            flights: Mutex::default(),
        })
    }

    /// Whether a wake of `server` is under way.
    #[must_use]
    pub fn is_waking(&self, server: &str) -> bool {
        self.flights()
            .get(server)
            .is_some_and(|flight| flight.outcome.borrow().is_none())
    }

    /// Joins the wake of `server`, or begins it.
    #[must_use]
    pub fn join(self: &Arc<Self>, server: &Arc<str>) -> Ticket {
        let mut flights = self.flights();
        let flight = match flights.entry(Arc::clone(server)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let (sender, outcome) = watch::channel(None);
                let call_off = self.stop.child_token();
                let fly = Arc::clone(self).fly(Arc::clone(server), sender, call_off.clone());
                self.runtime.spawn(fly);
                entry.insert(Flight {
                    outcome,
                    waiters: 0,
                    accepted: false,
                    call_off,
                })
            }
        };
        flight.waiters += 1;
        Ticket {
            waker: Arc::clone(self),
            server: Arc::clone(server),
            outcome: flight.outcome.clone(),
        }
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<Arc<str>, Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fly(
        self: Arc<Self>,
        server: Arc<str>,
        sender: watch::Sender<Option<Outcome>>,
        call_off: CancellationToken,
    ) {
        // Also when this task panics: nobody may join a flight that nobody flies.
        let _landing = Landing {
            waker: &self,
            server: &server,
            call_off: &call_off,
        };
        let drive = self.drive(&server, &call_off);
        let Some(outcome) = call_off.run_until_cancelled(drive).await else {
            debug!(%server, "wake called off");
            sender.send_replace(Some(Err(WakeError::Stopping)));
            return;
        };
        match &outcome {
            Ok(Some(address)) => info!(%server, %address, "automc: server is running"),
            Ok(None) => info!(%server, "automc: server is running, at its table's address"),
            Err(error) => warn!(%server, %error, "automc: waking failed"),
        }
        let failed = outcome.is_err();
        sender.send_replace(Some(outcome));
        if failed {
            let pause = tokio::time::sleep(FAILED_WAKE_PAUSE);
            self.stop.run_until_cancelled(pause).await;
        }
    }

    /// Carries out what the machine says.
    async fn drive(&self, server: &str, call_off: &CancellationToken) -> Outcome {
        let mut wake = Wake::new(server, self.limits, Instant::now());
        loop {
            let now = Instant::now();
            let left = wake.deadline().saturating_duration_since(now);
            match wake.next(now) {
                Step::Start => {
                    info!(%server, "automc: asking the server-manager to start it");
                    let reply = self.client.start(server, left).await;
                    debug!(%server, ?reply, "start answered");
                    wake.started(Instant::now(), reply);
                    if wake.is_started() {
                        self.accepted(server, call_off);
                    }
                }
                Step::Poll => {
                    let reply = self.client.poll(server, left).await;
                    debug!(%server, ?reply, "poll answered");
                    wake.polled(reply);
                }
                Step::WaitUntil(at) => tokio::time::sleep_until(at.into()).await,
                Step::Done(outcome) => return outcome,
            }
        }
    }

    /// Marks this flight, and not one that was begun after it was called off.
    fn accepted(&self, server: &str, call_off: &CancellationToken) {
        let mut flights = self.flights();
        // Flights are called off under the same lock, so this one is still the one in the table.
        if !call_off.is_cancelled()
            && let Some(flight) = flights.get_mut(server)
        {
            flight.accepted = true;
        }
    }

    /// Removes this flight, and not one that was begun after it was called off.
    fn forget(&self, server: &str, call_off: &CancellationToken) {
        call_off.cancel();
        let mut flights = self.flights();
        if flights
            .get(server)
            .is_some_and(|flight| flight.call_off.is_cancelled())
        {
            flights.remove(server);
        }
    }
}

/// Removes a flight when its task ends, however it ends.
struct Landing<'a> {
    waker: &'a Waker,
    server: &'a str,
    call_off: &'a CancellationToken,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.waker.forget(self.server, self.call_off);
    }
}

impl Ticket {
    /// Waits for the outcome.
    ///
    /// # Errors
    /// Why the server did not wake.
    ///
    /// # Cancel safety
    /// Cancel safe; the place is kept until the ticket is dropped.
    pub async fn outcome(&mut self) -> Outcome {
        match self.outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Err(WakeError::Stopping)),
            Err(_) => Err(WakeError::Stopping),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut flights = self.waker.flights();
        let Some(flight) = flights.get_mut(&self.server) else {
            return;
        };
        if !flight.outcome.same_channel(&self.outcome) {
            return;
        }
        flight.waiters -= 1;
        if flight.waiters == 0 && !flight.accepted && flight.outcome.borrow().is_none() {
            flight.call_off.cancel();
            flights.remove(&self.server);
        }
    }
}
