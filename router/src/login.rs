//! The way of a login: dial, else wake; and while the server is not ready, what its route does
//! with players. How one is handed over or held is in [`crate::enter`].
//!
//! Nothing here waits for Postgres, the API or metrics.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::net::TcpStream;
use tokio::time::Instant;
use tracing::debug;

use crate::addr::BackendAddr;
use crate::closing::Closing;
use crate::connection::Services;
use crate::dial::{dial, is_out_of_files};
use crate::error::{ConnectionError, unreachable};
use crate::first_word::NotIn;
use crate::hold::cookie::Bearer;
use crate::hold::schedule::Way;
use crate::hold::{Hold, Left};
use crate::host::lookup_key;
use crate::join::{self, Attempt, Chain, Waiting};
use crate::protocol::handshake::{Handshake, Intent};
use crate::protocol::version;
use crate::routes::Route;
use crate::routes::policy::Join;
use crate::servers::counters::{HeldEnd, Refusal};
use crate::servers::state::State;
use crate::servers::{Session, Waiter};
use crate::wake::permit::{Claim, Refused};
use crate::wake::{Ticket, WakeError, Waker, Wanted};

/// Who logs in.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) handshake: Handshake,
    /// The name the client claims.
    pub(crate) player: String,
    /// The UUID it claims, where its version tells.
    pub(crate) uuid: Option<u128>,
}

/// What a login comes to.
pub(crate) enum LoginEnd {
    /// A backend has the player's greeting, and said this in answer; there is no session of a
    /// player who was forwarded, since nobody plays on the route's own server.
    Entered(TcpStream, Vec<u8>, Option<Session>),
    /// The client has been sent here once more.
    Transferred,
}

/// A login on its way.
pub(crate) struct Guest<'g> {
    pub(crate) login: &'g Login,
    pub(crate) route: &'g Arc<Route>,
    pub(crate) bearer: Bearer<'g>,
    /// Whether the player has proved to have waited here.
    pub(crate) returned: bool,
}

/// What is known of the backend's door.
enum Door {
    /// Nobody has knocked, for the server is said not to run.
    Untried,
    /// It let nobody in.
    Shut(NotIn),
}

impl From<Left> for ConnectionError {
    fn from(Left: Left) -> Self {
        Self::ClientLeft
    }
}

impl Services {
    /// Dials first and wakes second, so that a dead server-manager takes no running server down.
    pub(crate) async fn login(
        &self,
        client: &TcpStream,
        login: &Login,
        greeting: Vec<u8>,
        closing: &mut Closing,
    ) -> Result<LoginEnd, ConnectionError> {
        let address = &login.handshake.address;
        let route = &self
            .find(address, closing)
            .ok_or(ConnectionError::UnknownHost)?;
        let way = Way::of(login.handshake.protocol, route.policy.compression_hold);
        let mut hold = Hold::new(client, greeting, way, route.policy.tick);
        let host = lookup_key(address);
        let bearer = Bearer {
            address: closing.peer(),
            host: &host,
        };
        let returned = self.returned(&mut hold, login, route, bearer).await?;
        let guest = Guest {
            login,
            route,
            bearer,
            returned,
        };
        if let Some(address) = self.recent(&guest) {
            let address = std::future::ready(Ok(address));
            let limit = join::hold_limit(&route.policy, guest.waiting(&hold, None));
            match self.wait(&mut hold, &guest, address, limit).await {
                Err(ConnectionError::NotReady { .. } | ConnectionError::BackendClosed(_)) => {}
                outcome => return outcome,
            }
        }
        let waker = self.waker.as_ref().zip(Wanted::of(route));
        let door = if waker.is_some() && self.is_away(route) {
            Door::Untried
        } else {
            match self.enter(&mut hold, &guest).await {
                Ok(entered) => return Ok(entered),
                Err(error) => Door::Shut(error),
            }
        };
        match (waker, door) {
            (_, Door::Shut(NotIn::Left)) => Err(ConnectionError::ClientLeft),
            // That this process has too many files open says nothing about the server.
            (_, Door::Shut(NotIn::Unreachable(error))) if is_out_of_files(&error) => {
                Err(unreachable(&route.backend, error))
            }
            (_, Door::Shut(NotIn::StillStarting)) => self.wait_on(&mut hold, &guest).await,
            (Some((waker, wanted)), door) => {
                if let Door::Shut(NotIn::Unreachable(error) | NotIn::Closed(error)) = &door {
                    debug!(%error, "dial failed; waking");
                }
                self.wake(&mut hold, &guest, door, waker, wanted).await
            }
            (None, Door::Shut(NotIn::Unreachable(error))) => {
                let error = unreachable(&route.backend, error);
                self.elsewhere(&mut hold, route, error).await
            }
            (None, Door::Shut(NotIn::Closed(error))) => {
                let error = ConnectionError::BackendClosed(error);
                self.elsewhere(&mut hold, route, error).await
            }
            (None, Door::Untried) => Err(ConnectionError::ComeBack),
        }
    }

    /// Whether the player proves to have waited here before. Backends see such a player log in,
    /// unless the route says that they are to see a transfer.
    async fn returned(
        &self,
        hold: &mut Hold<'_>,
        login: &Login,
        route: &Route,
        bearer: Bearer<'_>,
    ) -> Result<bool, ConnectionError> {
        let policy = &route.policy;
        if login.handshake.intent != Intent::Transfer
            || !version::can_transfer(login.handshake.protocol)
            || !policy.join.contains(&Join::Transfer)
        {
            return Ok(false);
        }
        let Some(cookie) = hold.cookie().await? else {
            return Ok(false);
        };
        let returned = self.signer.is_good(&cookie, bearer, since_1970());
        if returned && !policy.keep_transfer_intent {
            hold.make_login();
        }
        Ok(returned)
    }

    /// Where the server of a player who waited for it was ready a moment ago.
    fn recent(&self, guest: &Guest<'_>) -> Option<BackendAddr> {
        let server = guest.route.server.as_ref().filter(|_| guest.returned)?;
        self.waker.as_ref()?.recent(server)
    }

    /// Whether the row says that the server does not run, and nothing newer is known: its address
    /// may be another server's by now.
    fn is_away(&self, route: &Route) -> bool {
        let seen = || self.servers.snapshot(&self.target(route)).state;
        let server = route.server.as_ref();
        let elsewhere = |waker: &Arc<Waker>| {
            let recent = server.and_then(|server| waker.recent(server));
            recent.is_some_and(|address| address != route.backend)
        };
        route.state.is_not_running()
            && (seen() != State::Running || self.waker.as_ref().is_some_and(elsewhere))
    }

    /// Has the server started, and does with the player what the route says.
    async fn wake(
        &self,
        hold: &mut Hold<'_>,
        guest: &Guest<'_>,
        door: Door,
        waker: &Arc<Waker>,
        mut wanted: Wanted,
    ) -> Result<LoginEnd, ConnectionError> {
        let route = guest.route;
        let protocol = guest.login.handshake.protocol;
        wanted.shows_status = self.status.last_known(&route.key(), protocol).is_some();
        let seen = self.servers.snapshot(&self.target(route));
        let chain = join::chain(&route.policy, guest.waiting(hold, seen.eta));
        let untried = match door {
            // The row may be wrong, and nobody who is not to wait would ever learn of it.
            Door::Untried if !chain.begins_with_a_wait() => {
                if let Some(entered) = self.try_row(hold, guest).await? {
                    return Ok(entered);
                }
                false
            }
            Door::Untried => true,
            Door::Shut(_) => false,
        };
        // Who joins a start that is under way, or comes before the next one, wakes nothing.
        let starts = seen.retry_in.is_none()
            && !matches!(seen.state, State::Starting | State::Settling)
            && !waker.is_waking(&wanted.server);
        let permit = if guest.returned || !starts {
            Ok(())
        } else {
            self.permit(guest)
        };
        if let Err(refused) = permit {
            if untried && let Some(entered) = self.try_row(hold, guest).await? {
                return Ok(entered);
            }
            self.servers.refused(match refused {
                Refused::Denied => Refusal::Denied,
                Refused::NotListed => Refusal::NotListed,
                Refused::Hours { .. } => Refusal::Hours,
                Refused::TooOften { .. } => Refusal::TooOften,
            });
            return self.elsewhere(hold, route, refused.into()).await;
        }
        let (error, waiter) = match self.attempt(hold, guest, &chain, waker, &wanted).await {
            (Ok(end), _) => return Ok(end),
            (Err(error), waiter) => (error, waiter),
        };
        let error = match error {
            Some(error) => error,
            None => match (waker.poke(wanted), seen.eta) {
                (Err(error), _) => error.into(),
                (Ok(()), Some(eta)) if chain.too_long => ConnectionError::LongStart(eta),
                (Ok(()), _) => ConnectionError::ComeBack,
            },
        };
        Err(self.kicked(waiter, error))
    }

    /// Takes note of how a wait ended that let nobody in; who left has dropped a place.
    fn kicked(&self, waiter: Option<Waiter>, error: ConnectionError) -> ConnectionError {
        if error.is_kick() {
            end(waiter, HeldEnd::Kicked);
        }
        if error.is_backing_off() {
            self.servers.refused(Refusal::BackingOff);
        }
        error
    }

    /// Knocks at the row's address after all.
    async fn try_row(
        &self,
        hold: &mut Hold<'_>,
        guest: &Guest<'_>,
    ) -> Result<Option<LoginEnd>, ConnectionError> {
        match self.enter(hold, guest).await {
            Ok(entered) => Ok(Some(entered)),
            Err(NotIn::Left) => Err(ConnectionError::ClientLeft),
            Err(_) => Ok(None),
        }
    }

    /// Tries what is to be tried, in order. Comes with what is to be told if nothing let the player
    /// in, if that is known, and with the player's place.
    async fn attempt(
        &self,
        hold: &mut Hold<'_>,
        guest: &Guest<'_>,
        chain: &Chain<'_>,
        waker: &Arc<Waker>,
        wanted: &Wanted,
    ) -> (Result<LoginEnd, Option<ConnectionError>>, Option<Waiter>) {
        let (route, target) = (guest.route, self.target(guest.route));
        let (mut waiter, mut failed) = (None::<Waiter>, None);
        for attempt in &chain.attempts {
            let (outcome, held) = match *attempt {
                Attempt::Hold(limit) => {
                    waiter.get_or_insert_with(|| self.servers.wait(&target));
                    let address = self.woken(waker.join(wanted.clone()), route);
                    let entered = self.wait(hold, guest, address, limit).await;
                    (entered, HeldEnd::LetIn)
                }
                Attempt::Transfer(limit) => {
                    waiter.get_or_insert_with(|| self.servers.wait(&target));
                    let address = self.woken(waker.join(wanted.clone()), route);
                    let moved = Box::pin(self.transfer(hold, guest, address, limit)).await;
                    (moved.map(|()| LoginEnd::Transferred), HeldEnd::Transferred)
                }
                Attempt::Forward(address) => {
                    // The start goes on without this player.
                    if let Err(error) = waker.poke(wanted.clone()) {
                        failed.get_or_insert(error.into());
                    }
                    match self.forward(hold, address).await {
                        // Of more use to the player than what is wrong with the lobby.
                        Err(error) if !error.is_final() => {
                            debug!(%error, "not forwarded");
                            continue;
                        }
                        forwarded => (forwarded, HeldEnd::Forwarded),
                    }
                }
            };
            match outcome {
                Ok(entered) => {
                    end(waiter, held);
                    return (Ok(entered), None);
                }
                Err(error) if error.is_final() => return (Err(Some(error)), waiter),
                Err(error) => failed = Some(error),
            }
        }
        (Err(failed), waiter)
    }

    /// Whether the player may have the server started.
    fn permit(&self, guest: &Guest<'_>) -> Result<(), Refused> {
        let claim = Claim {
            name: &guest.login.player,
            uuid: guest.login.uuid,
            address: guest.bearer.address,
        };
        let now = Instant::now().into_std();
        let mut permits = self.permits.lock().unwrap_or_else(PoisonError::into_inner);
        let rules = &guest.route.policy.wake;
        permits.may_wake(rules, &claim, now, SystemTime::now())
    }

    /// Waits for a server that is up and turns players away because it is still starting.
    async fn wait_on(
        &self,
        hold: &mut Hold<'_>,
        guest: &Guest<'_>,
    ) -> Result<LoginEnd, ConnectionError> {
        let route = guest.route;
        let limit = join::hold_limit(&route.policy, guest.waiting(hold, None));
        let waiter = self.servers.wait(&self.target(route));
        let address = std::future::ready(Ok(route.backend.clone()));
        let outcome = match self.wait(hold, guest, address, limit).await {
            Err(error @ ConnectionError::HeldTooLong(_)) => {
                let forwarded = self.elsewhere(hold, route, error).await;
                forwarded.map(|entered| (entered, HeldEnd::Forwarded))
            }
            outcome => outcome.map(|entered| (entered, HeldEnd::LetIn)),
        };
        match outcome {
            Ok((entered, held)) => {
                waiter.end(held);
                Ok(entered)
            }
            Err(error) => Err(self.kicked(Some(waiter), error)),
        }
    }

    /// The address for those who waited. The table may be wrong about a server it calls stopped,
    /// and then nobody has dialled it: that is made up for when the server-manager is of no help.
    async fn woken(
        &self,
        mut ticket: Ticket,
        route: &Route,
    ) -> Result<BackendAddr, ConnectionError> {
        let error = match ticket.outcome().await {
            Ok(ready) => return Ok(ready.address),
            Err(error) => error,
        };
        let of_no_help = matches!(
            error.cause(),
            WakeError::Broken(_) | WakeError::Denied(_) | WakeError::TimedOut { .. }
        );
        if of_no_help && route.state.is_not_running() {
            let dialled = dial(&route.backend, self.dial_timeout).await;
            if dialled.is_ok() {
                return Ok(route.backend.clone());
            }
        }
        Err(error.into())
    }

    /// Forwards a player whose server is away and is not woken, if the route says so.
    async fn elsewhere(
        &self,
        hold: &mut Hold<'_>,
        route: &Route,
        error: ConnectionError,
    ) -> Result<LoginEnd, ConnectionError> {
        let forwards = route.policy.join.contains(&Join::Forward);
        match route.policy.forward_to.as_ref().filter(|_| forwards) {
            Some(address) => {
                let forwarded = self.forward(hold, address).await;
                forwarded.map_err(|forwarding| {
                    debug!(error = %forwarding, "not forwarded");
                    error
                })
            }
            None => Err(error),
        }
    }
}

impl Guest<'_> {
    fn waiting(&self, hold: &Hold<'_>, eta: Option<Duration>) -> Waiting {
        Waiting {
            protocol: self.login.handshake.protocol,
            eta,
            transferred: self.login.handshake.intent == Intent::Transfer,
            silent_for: hold.silent_for(),
        }
    }
}

fn end(waiter: Option<Waiter>, end: HeldEnd) {
    if let Some(waiter) = waiter {
        waiter.end(end);
    }
}

pub(crate) fn since_1970() -> Duration {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default()
}
