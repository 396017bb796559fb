//! One wake per server, shared by everybody who waits for it.
//!
//! The first waiter starts the wake, every waiter gets its outcome, and when the last one leaves
//! before the server-manager accepted the start, it is called off, unless somebody means to come
//! back ([`Waker::poke`]). A start that was accepted, or is under way, is followed to its end: the server boots
//! anyway. Polls, probes and news of the table go on side by side: none waits for another.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::error::WakeError;
use super::landed::Landed;
use super::machine::{Limits, Outcome, Phase, Ready, Step, Wake};
use super::manager::Manager;
use super::prober::{Names, Prober};
use super::stops::{Stopping, Stops};
use super::wanted::Wanted;
use crate::addr::BackendAddr;
use crate::config::values::short;
use crate::routes::registry::Registry;
use crate::servers::state::WakeEnd;
use crate::servers::{Servers, Waking};
use crate::shared_str::SharedStr;

/// How long after a wake its address is known to players who prove that they waited for it.
pub const RETURN_WINDOW: Duration = Duration::from_secs(60);

/// How long the address that a webhook gave is dialled first, if it was never found dead.
const ADDRESS_MEMORY: Duration = Duration::from_secs(24 * 60 * 60);

/// Wakes servers through one server-manager.
#[derive(Debug)]
pub struct Waker {
    client: Manager,
    limits: Limits,
    registry: Arc<Registry>,
    servers: Arc<Servers>,
    stop: CancellationToken,
    /// Where wakes run: not with the workers that serve clients.
    runtime: Handle,
    prober: Prober,
    stops: Stops,
    flights: Mutex<Flights>,
}

/// Bounded by the table: only servers of routes are woken, one entry each.
#[derive(Debug, Default)]
struct Flights {
    /// Wakes under way.
    flying: HashMap<SharedStr, Flight>,
    /// How the last ones ended; looked through whenever one ends, for what is too old.
    landed: HashMap<SharedStr, Landed>,
}

#[derive(Debug)]
struct Flight {
    outcome: watch::Receiver<Option<Outcome>>,
    waiters: usize,
    accepted: bool,
    /// Somebody who does not wait means to come back.
    kept: bool,
    call_off: CancellationToken,
}

/// One waiter's place; dropping it gives the place up.
#[derive(Debug)]
pub struct Ticket {
    waker: Arc<Waker>,
    server: SharedStr,
    outcome: watch::Receiver<Option<Outcome>>,
}

/// What the task of a flight holds.
struct Pilot {
    waker: Arc<Waker>,
    wanted: Wanted,
    outcome: watch::Sender<Option<Outcome>>,
    call_off: CancellationToken,
    /// Tells everybody else how it goes; taken when it ends.
    waking: Option<Waking>,
}

impl Waker {
    /// A waker whose wakes end when `stop` is cancelled, hear of changes of the table from
    /// `registry`, and tell `servers` how they go. Must be called within a Tokio runtime, which runs them.
    #[must_use]
    pub fn new(
        client: Manager,
        limits: Limits,
        registry: Arc<Registry>,
        servers: Arc<Servers>,
        stop: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            client,
            limits,
            registry,
            servers,
            stop,
            runtime: Handle::current(),
            prober: Prober::default(),
            stops: Stops::default(),
            flights: Mutex::default(),
        })
    }

    /// Whether a wake of `server` is under way.
    #[must_use]
    pub fn is_waking(&self, server: &str) -> bool {
        self.flights().flying.contains_key(server)
    }

    /// Where `server` was ready at most [`RETURN_WINDOW`] ago, for players who prove that they
    /// waited for that; everybody else goes to the address of the row.
    #[must_use]
    pub fn recent(&self, server: &str) -> Option<BackendAddr> {
        match self.flights().landed.get(server)? {
            Landed::Ready { address, at, .. } if at.elapsed() < RETURN_WINDOW => {
                Some(address.clone())
            }
            _ => None,
        }
    }

    /// Where a webhook said that `server` is, whose route leads to `row`; everybody goes there.
    #[must_use]
    pub fn address(&self, server: &str, row: &BackendAddr) -> Option<BackendAddr> {
        match self.flights().landed.get(server)? {
            Landed::Ready {
                address,
                row: before,
                ..
            } if before == row => Some(address.clone()),
            _ => None,
        }
    }

    /// Begins to stop the server at `backend`, which goes by these names: no start of it is asked
    /// for until that is over.
    pub fn stop(&self, backend: BackendAddr, servers: Vec<SharedStr>) -> Stopping<'_> {
        self.stops.begin(backend, servers)
    }

    /// Whether this server is being stopped: it still answers, perhaps, and will not for long.
    #[must_use]
    pub fn is_stopping(&self, server: &str, backend: &BackendAddr) -> bool {
        self.stops.is_under_way(server, backend, Instant::now())
    }

    /// Whether nobody is let into this server before a start was asked for, since it was stopped.
    #[must_use]
    pub fn is_stopped(&self, server: &str, backend: &BackendAddr) -> bool {
        self.stops.is_stopped(server, backend, Instant::now())
    }

    /// Nobody was there any more.
    pub fn forget(&self, server: &str, gone: &BackendAddr) {
        let landed = &mut self.flights().landed;
        if let Some(Landed::Ready { address, .. }) = landed.get(server)
            && address == gone
        {
            landed.remove(server);
        }
    }

    /// It was stopped: nobody is there any more, wherever that was.
    pub fn forget_all(&self, server: &str) {
        let landed = &mut self.flights().landed;
        if let Some(Landed::Ready { .. }) = landed.get(server) {
            landed.remove(server);
        }
    }

    /// Joins the wake of `wanted`, or begins it. Where the last one failed a moment ago, the
    /// outcome is [`WakeError::BackingOff`].
    #[must_use]
    pub fn join(self: &Arc<Self>, wanted: Wanted) -> Ticket {
        let server = wanted.server.clone();
        let mut flights = self.flights();
        let outcome = match self.board(&mut flights, wanted) {
            Ok(flight) => {
                flight.waiters += 1;
                flight.outcome.clone()
            }
            Err(error) => watch::channel(Some(Err(error))).1,
        };
        drop(flights);
        Ticket {
            waker: Arc::clone(self),
            server,
            outcome,
        }
    }

    /// Joins or begins the wake of `wanted` for somebody who comes back instead of waiting: it is
    /// not called off any more.
    ///
    /// # Errors
    /// [`WakeError::BackingOff`]: nothing is begun.
    pub fn poke(self: &Arc<Self>, wanted: Wanted) -> Result<(), WakeError> {
        let mut flights = self.flights();
        self.board(&mut flights, wanted)?.kept = true;
        Ok(())
    }

    /// The flight of `wanted`, begun if there is none.
    fn board<'f>(
        self: &Arc<Self>,
        flights: &'f mut Flights,
        mut wanted: Wanted,
    ) -> Result<&'f mut Flight, WakeError> {
        let Flights { flying, landed } = flights;
        if !flying.contains_key(&wanted.server) {
            let seen = self.servers.snapshot(&wanted.target());
            if let Some(retry_in) = seen.retry_in
                && let Some(Landed::Failed { error, .. }) = landed.get(&wanted.server)
            {
                return Err(WakeError::BackingOff {
                    attempts: seen.attempts,
                    retry_in,
                    last: Box::new(error.clone()),
                });
            }
            wanted.expected = seen.eta;
        }
        let flight = flying.entry(wanted.server.clone());
        Ok(flight.or_insert_with(|| {
            let call_off = self.stop.child_token();
            let (sender, outcome) = watch::channel(None);
            let pilot = Pilot {
                waker: Arc::clone(self),
                waking: Some(self.servers.wake(&wanted.target())),
                wanted,
                outcome: sender,
                call_off: call_off.clone(),
            };
            self.runtime.spawn(pilot.fly());
            Flight {
                outcome,
                waiters: 0,
                accepted: false,
                kept: false,
                call_off,
            }
        }))
    }

    fn flights(&self) -> MutexGuard<'_, Flights> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pilot {
    async fn fly(mut self) {
        let call_off = self.call_off.clone();
        let outcome = call_off.run_until_cancelled(self.drive()).await;
        let Some(outcome) = outcome else {
            debug!(name = %self.wanted.server, "wake called off");
            // Whoever drops this takes the flight off the table.
            self.outcome.send_replace(Some(Err(WakeError::Stopping)));
            return;
        };
        let server = &self.wanted.server;
        match &outcome {
            Ok(ready) => {
                let (address, sign, took) = (&ready.address, ready.sign, ready.took);
                let (millis, took) = (took.as_secs_f64() * 1e3, short(took));
                info!(json.took_ms = millis, name = %server, backend = %address, ?sign, took, "automc: server is ready");
            }
            Err(error) => warn!(name = %server, %error, "automc: waking failed"),
        }
        if let Some(waking) = self.waking.take() {
            waking.end(end(&outcome));
        }
        self.land(outcome.clone());
        self.outcome.send_replace(Some(outcome));
    }

    /// Carries out what the machine says. Boxes what it waits for: most of it is short-lived.
    async fn drive(&self) -> Outcome {
        let Waker {
            client,
            limits,
            registry,
            prober,
            ..
        } = &*self.waker;
        let server = &self.wanted.server;
        let gone = self.waker.stops.gone(server, &self.wanted.backend).await;
        let wanted = &Wanted {
            shut: gone.or(self.wanted.shut),
            ..self.wanted.clone()
        };
        let mut wake = Wake::new(wanted, *limits, Instant::now());
        let mut changes = registry.changes();
        self.look_up(&mut wake);
        let (names, sent) = (Names::default(), Notify::new());
        let mut shown = (Phase::Asking, None);
        let (mut start, mut poll, mut probe, mut seen) = (None, None, None, None);
        loop {
            let now = Instant::now();
            let left = wake.deadline().saturating_duration_since(now);
            let wait_until = match wake.next(now) {
                Step::Start => {
                    info!(name = %server, "automc: asking the server-manager to start it");
                    start = Some(Box::pin(client.start(wanted, left, &sent)));
                    continue;
                }
                Step::Poll(wait) => {
                    poll = Some(Box::pin(client.poll(server, wait, left)));
                    continue;
                }
                Step::Probe(address) => {
                    probe = Some(Box::pin(prober.probe(address, wanted, &names)));
                    continue;
                }
                Step::WaitUntil(at) => at,
                Step::Done(outcome) => return outcome,
            };
            self.show(&wake, &mut shown);
            tokio::select! {
                biased;
                reply = arrival(&mut start) => {
                    debug!(name = %server, ?reply, "start answered");
                    wake.started(Instant::now(), reply);
                }
                reply = arrival(&mut poll) => {
                    debug!(name = %server, ?reply, "poll answered");
                    wake.polled(Instant::now(), reply);
                }
                reply = arrival(&mut probe) => {
                    if seen.replace(reply) != Some(reply) {
                        debug!(name = %server, ?reply, "probe answered");
                    }
                    wake.probed(Instant::now(), reply);
                }
                () = sent.notified() => wake.sent(Instant::now()),
                Ok(()) = changes.changed() => self.look_up(&mut wake),
                () = tokio::time::sleep_until(wait_until.into()) => {}
            }
        }
    }

    /// Tells the machine what the row says.
    fn look_up(&self, wake: &mut Wake) {
        let Wanted { server, host, .. } = &self.wanted;
        let table = self.waker.registry.table();
        if let Some(route) = table.lookup(host)
            && route.key() == *server
        {
            wake.announced(Instant::now(), route.state, &route.backend);
        }
    }

    /// Lets others see how far it is; `shown` is what they have seen.
    fn show(&self, wake: &Wake, shown: &mut (Phase, Option<u8>)) {
        let (phase, percent) = (wake.phase(), wake.percent());
        let entered = (shown.0 != phase).then_some(phase);
        let news = percent.filter(|_| shown.1 != percent);
        *shown = (phase, percent);
        if let Some(waking) = &self.waking {
            match entered {
                Some(Phase::Settling) => waking.settling(),
                Some(_) if wake.is_started() => waking.accepted(),
                _ => {}
            }
            if let Some(percent) = news {
                waking.progress(f64::from(percent) / 100.0);
            }
        }
        if entered == Some(Phase::Settling) {
            info!(name = %self.wanted.server, "automc: server is running");
        }
        if entered.is_some() && wake.is_started() {
            let Wanted {
                server, backend, ..
            } = &self.wanted;
            self.waker.stops.started(server, backend);
            let mut flights = self.waker.flights();
            // Flights are called off under the same lock, so this one is still in the table.
            if !self.call_off.is_cancelled()
                && let Some(flight) = flights.flying.get_mut(&self.wanted.server)
            {
                flight.accepted = true;
            }
        }
    }

    /// Notes how it ended, and takes the flight off the table in the same moment.
    fn land(&self, outcome: Outcome) {
        let at = Instant::now();
        let server = &self.wanted.server;
        let mut flights = self.waker.flights();
        let landed = match outcome {
            Ok(Ready { address, .. }) => Landed::Ready {
                address,
                at,
                row: self.wanted.backend.clone(),
                kept: match self.waker.client {
                    Manager::Webhook(_) => ADDRESS_MEMORY,
                    _ => RETURN_WINDOW,
                },
            },
            Err(error) => Landed::Failed { error, at },
        };
        flights.landed.retain(|_, landed| !landed.is_stale(at));
        flights.landed.insert(server.clone(), landed);
        self.leave(&mut flights);
    }

    /// Takes this flight off the table, and not one that was begun after it was called off.
    fn leave(&self, flights: &mut Flights) {
        let server = &self.wanted.server;
        self.call_off.cancel();
        let ended = |flight: &Flight| flight.call_off.is_cancelled();
        if flights.flying.get(server).is_some_and(ended) {
            flights.flying.remove(server);
        }
    }
}

/// Also when the task panics: nobody may join a flight that nobody flies.
impl Drop for Pilot {
    fn drop(&mut self) {
        self.leave(&mut self.waker.flights());
    }
}

/// What a wake came to, for everybody else.
fn end(outcome: &Outcome) -> WakeEnd {
    match outcome.as_ref().map_err(WakeError::cause) {
        Ok(_) => WakeEnd::Ready,
        Err(WakeError::Denied(_)) => WakeEnd::Denied,
        Err(WakeError::Broken(_)) => WakeEnd::Broken,
        Err(WakeError::Failed(_)) => WakeEnd::Failed,
        Err(WakeError::TimedOut { .. } | WakeError::NotReady { .. }) => WakeEnd::TimedOut,
        Err(WakeError::Stopping | WakeError::BackingOff { .. }) => WakeEnd::CalledOff,
    }
}

/// Waits for `request`, if there is one, and takes it away with its answer.
async fn arrival<F: Future>(request: &mut Option<Pin<Box<F>>>) -> F::Output {
    let Some(waiting) = request else {
        return std::future::pending().await;
    };
    let answer = waiting.await;
    *request = None;
    answer
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
        let Some(flight) = flights.flying.get_mut(&self.server) else {
            return;
        };
        if !flight.outcome.same_channel(&self.outcome) {
            return;
        }
        flight.waiters -= 1;
        let over = flight.outcome.borrow().is_some();
        if flight.waiters == 0 && !flight.accepted && !flight.kept && !over {
            flight.call_off.cancel();
            flights.flying.remove(&self.server);
        }
    }
}

#[cfg(test)]
#[path = "flight_tests.rs"]
mod tests;
