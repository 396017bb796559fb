//! The way of a login: dial, else wake; and while the server is not ready, what its route does
//! with players.
//!
//! Nothing here waits for Postgres, the API or metrics.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use crate::addr::BackendAddr;
use crate::closing::Closing;
use crate::connection::Services;
use crate::dial::{READY_WINDOW, dial, dial_until_ready, is_out_of_files};
use crate::error::ConnectionError;
use crate::first_word::{Introduced, NotIn, introduce};
use crate::hold::cookie::Bearer;
use crate::hold::schedule::Way;
use crate::hold::{Hold, Left};
use crate::host::lookup_key;
use crate::join::{self, Attempt, Waiting};
use crate::protocol::handshake::{Handshake, Intent};
use crate::protocol::version;
use crate::routes::Route;
use crate::routes::policy::Join;
use crate::servers::counters::{HeldEnd, Refusal};
use crate::servers::state::Signal;
use crate::servers::{Session, Waiter};
use crate::wake::permit::{Claim, Refused};
use crate::wake::{Ticket, WakeError, Waker, Wanted};

/// Pause before a server that let nobody in is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

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
    /// A backend has the player's greeting, and said this in answer.
    Entered(TcpStream, Vec<u8>, Session),
    /// The client has been sent here once more.
    Transferred,
}

/// A login on its way.
pub(crate) struct Guest<'g> {
    pub(crate) login: &'g Login,
    pub(crate) route: &'g Arc<Route>,
    pub(crate) bearer: Bearer<'g>,
    /// Whether the player has proved to have waited here.
    returned: bool,
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
        let waker = self.waker.as_ref().zip(Wanted::of(route));
        if let Some(address) = self.recent(&guest) {
            let address = std::future::ready(Ok(address));
            let limit = route.policy.hold_max;
            match self.wait(&mut hold, route, address, limit).await {
                Err(ConnectionError::NotReady { .. } | ConnectionError::BackendClosed(_)) => {}
                outcome => return outcome,
            }
        }
        let away = if waker.is_some() && route.state.is_not_running() {
            None
        } else {
            match self.enter(&hold, route).await {
                Ok(end) => return Ok(end),
                Err(error) => Some(error),
            }
        };
        match (waker, away) {
            // That this process has too many files open says nothing about the server.
            (_, Some(NotIn::Unreachable(error))) if is_out_of_files(&error) => {
                Err(unreachable(&route.backend, error))
            }
            (_, Some(NotIn::StillStarting)) => self.still_starting(&mut hold, &guest).await,
            (Some((waker, wanted)), away) => {
                if let Some(NotIn::Unreachable(error) | NotIn::Closed(error)) = away {
                    debug!(%error, "dial failed; waking");
                }
                self.wake(&mut hold, &guest, waker, &wanted).await
            }
            (None, Some(NotIn::Unreachable(error))) => {
                let error = unreachable(&route.backend, error);
                self.elsewhere(&hold, route, error).await
            }
            (None, Some(NotIn::Closed(error))) => {
                let error = ConnectionError::BackendClosed(error);
                self.elsewhere(&hold, route, error).await
            }
            (None, None) => Err(ConnectionError::ComeBack),
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

    /// Dials the backend of `route`, and takes note of what came of it.
    async fn enter(&self, hold: &Hold<'_>, route: &Route) -> Result<LoginEnd, NotIn> {
        let begun = Instant::now().into_std();
        let entered = self.try_in(hold, route, &route.backend).await;
        let signal = match &entered {
            Err(NotIn::Unreachable(error)) if is_out_of_files(error) => return entered,
            Ok(_) => {
                self.status.reached(&route.key());
                Signal::DialOk
            }
            Err(NotIn::StillStarting) => Signal::ProbeFailed { begun },
            Err(NotIn::Unreachable(_) | NotIn::Closed(_)) => Signal::DialFailed { begun },
        };
        self.servers.signal(&self.target(route), signal);
        entered
    }

    async fn try_in(
        &self,
        hold: &Hold<'_>,
        route: &Route,
        address: &BackendAddr,
    ) -> Result<LoginEnd, NotIn> {
        let backend = dial(address, self.dial_timeout)
            .await
            .map_err(NotIn::Unreachable)?;
        self.let_in(hold, route, backend).await
    }

    /// Hands the greeting over, and hears what the backend says first where that decides.
    async fn let_in(
        &self,
        hold: &Hold<'_>,
        route: &Route,
        backend: TcpStream,
    ) -> Result<LoginEnd, NotIn> {
        let holds = route.policy.join.contains(&Join::Hold);
        let Introduced { backend, said } = introduce(hold, backend, holds).await?;
        let playing = self.servers.session(&self.target(route));
        Ok(LoginEnd::Entered(backend, said, playing))
    }

    /// Holds the player whose server is up and says that it is still starting.
    async fn still_starting(
        &self,
        hold: &mut Hold<'_>,
        guest: &Guest<'_>,
    ) -> Result<LoginEnd, ConnectionError> {
        let route = guest.route;
        let waiter = self.servers.wait(&self.target(route));
        let protocol = guest.login.handshake.protocol;
        let (_, limit) = join::hold(&route.policy, protocol, hold.waited());
        let address = std::future::ready(Ok(route.backend.clone()));
        let outcome = match self.wait(hold, route, address, limit).await {
            Err(error @ ConnectionError::HeldTooLong(_)) => {
                let forwarded = self.elsewhere(hold, route, error).await;
                forwarded.map(|entered| (entered, HeldEnd::Forwarded))
            }
            outcome => outcome.map(|entered| (entered, HeldEnd::LetIn)),
        };
        match outcome {
            Ok((entered, ended)) => {
                waiter.end(ended);
                Ok(entered)
            }
            Err(error) => {
                if error.is_kick() {
                    waiter.end(HeldEnd::Kicked);
                }
                Err(error)
            }
        }
    }

    /// Has the server started, and does with the player what the route says.
    async fn wake(
        &self,
        hold: &mut Hold<'_>,
        guest: &Guest<'_>,
        waker: &Arc<Waker>,
        wanted: &Wanted,
    ) -> Result<LoginEnd, ConnectionError> {
        let route = guest.route;
        let target = self.target(route);
        let seen = self.servers.snapshot(&target);
        let permitted = guest.returned || seen.retry_in.is_some();
        if !permitted && !waker.is_waking(&wanted.server) {
            let permit = self.permit(guest);
            if let Err(refused) = permit {
                return self.elsewhere(hold, route, refused.into()).await;
            }
        }
        let chain = join::chain(
            &route.policy,
            Waiting {
                protocol: guest.login.handshake.protocol,
                eta: seen.eta,
                returned: guest.returned,
                waited: hold.waited(),
            },
        );
        let (mut waiter, mut failed) = (None::<Waiter>, None);
        for attempt in chain.attempts {
            let outcome = match attempt {
                Attempt::Hold(_, limit) => {
                    waiter.get_or_insert_with(|| self.servers.wait(&target));
                    let address = self.woken(waker.join(wanted.clone()), route);
                    self.wait(hold, route, address, limit).await
                }
                Attempt::Transfer(limit) => {
                    waiter.get_or_insert_with(|| self.servers.wait(&target));
                    let address = self.woken(waker.join(wanted.clone()), route);
                    let moved = Box::pin(self.transfer(hold, guest, address, limit)).await;
                    match &moved {
                        Ok(()) => end(waiter, HeldEnd::Transferred),
                        Err(error) if error.is_kick() => end(waiter, HeldEnd::Kicked),
                        // Dropped, which says that the wait was abandoned.
                        Err(_) => {}
                    }
                    return moved.map(|()| LoginEnd::Transferred);
                }
                Attempt::Forward(address) => {
                    // The start goes on without this player.
                    let begun = waker.poke(wanted.clone());
                    let entered = self.forward(hold, route, address).await;
                    if entered.is_ok() {
                        end(waiter.take(), HeldEnd::Forwarded);
                    }
                    entered.map_err(|error| begun.err().map_or(error, Into::into))
                }
            };
            match outcome {
                Ok(entered) => {
                    end(waiter, HeldEnd::LetIn);
                    return Ok(entered);
                }
                Err(error) if !error.is_kick() => return Err(error),
                Err(error) => failed = Some(error),
            }
        }
        end(waiter, HeldEnd::Kicked);
        let error = match failed {
            Some(error) => error,
            None => match (waker.poke(wanted.clone()), seen.eta) {
                (Err(error), _) => error.into(),
                (Ok(_), Some(eta)) if chain.too_long => ConnectionError::LongStart(eta),
                (Ok(_), _) => ConnectionError::ComeBack,
            },
        };
        if let ConnectionError::Wake(WakeError::BackingOff { .. }) = &error {
            self.servers.refused(Refusal::BackingOff);
        }
        Err(error)
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
        let refused = permits.may_wake(rules, &claim, now, SystemTime::now());
        if let Err(refused) = &refused {
            self.servers.refused(match refused {
                Refused::Denied => Refusal::Denied,
                Refused::NotListed => Refusal::NotListed,
                Refused::Hours { .. } => Refusal::Hours,
                Refused::TooOften { .. } => Refusal::TooOften,
            });
        }
        refused
    }

    /// Holds the player until the server at `address` lets in, `limit` at most.
    async fn wait(
        &self,
        hold: &mut Hold<'_>,
        route: &Route,
        address: impl Future<Output = Result<BackendAddr, ConnectionError>>,
        limit: Duration,
    ) -> Result<LoginEnd, ConnectionError> {
        let waiting = async {
            let address = hold.until(address).await??;
            let closed_until = Instant::now() + READY_WINDOW;
            loop {
                hold.settle().await?;
                let dialling = dial_until_ready(&address, self.dial_timeout);
                let backend = hold.until(dialling).await?;
                let backend = backend.map_err(|error| ConnectionError::NotReady {
                    backend: address.clone(),
                    error,
                })?;
                hold.settle().await?;
                match self.let_in(hold, route, backend).await {
                    Ok(entered) => {
                        self.status.reached(&route.key());
                        return Ok(entered);
                    }
                    Err(NotIn::StillStarting) => debug!("it is still starting; trying on"),
                    Err(NotIn::Unreachable(error) | NotIn::Closed(error)) => {
                        if Instant::now() > closed_until {
                            return Err(ConnectionError::BackendClosed(error));
                        }
                    }
                }
                hold.until(sleep(RETRY_PAUSE)).await?;
            }
        };
        tokio::select! {
            entered = timeout(limit, waiting) => {
                entered.unwrap_or(Err(ConnectionError::HeldTooLong(limit)))
            }
            () = self.stop.cancelled() => Err(ConnectionError::Stopping),
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
        hold: &Hold<'_>,
        route: &Route,
        error: ConnectionError,
    ) -> Result<LoginEnd, ConnectionError> {
        let forwards = route.policy.join.contains(&Join::Forward);
        match route.policy.forward_to.as_ref().filter(|_| forwards) {
            Some(address) => {
                let forwarded = self.forward(hold, route, address).await;
                forwarded.map_err(|forwarding| {
                    debug!(error = %forwarding, "not forwarded");
                    error
                })
            }
            None => Err(error),
        }
    }

    async fn forward(
        &self,
        hold: &Hold<'_>,
        route: &Route,
        address: &BackendAddr,
    ) -> Result<LoginEnd, ConnectionError> {
        let entered = self.try_in(hold, route, address).await;
        entered.map_err(|error| match error {
            NotIn::Unreachable(error) => unreachable(address, error),
            NotIn::Closed(error) => ConnectionError::BackendClosed(error),
            NotIn::StillStarting => ConnectionError::ComeBack,
        })
    }
}

fn end(waiter: Option<Waiter>, end: HeldEnd) {
    if let Some(waiter) = waiter {
        waiter.end(end);
    }
}

fn unreachable(backend: &BackendAddr, error: io::Error) -> ConnectionError {
    ConnectionError::Unreachable {
        backend: backend.clone(),
        error,
    }
}

pub(crate) fn since_1970() -> Duration {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default()
}
