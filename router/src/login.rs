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
use crate::servers::{Session, Snapshot, Waiter};
use crate::wake::permit::{Claim, Refused};
use crate::wake::{Ticket, WakeError, Wanted};

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
        let returned = Box::pin(self.returned(&mut hold, login, route, bearer)).await?;
        let guest = Guest {
            login,
            route,
            bearer,
            returned,
        };
        // What comes before the long part takes no room in it.
        if let Some(end) = Box::pin(self.unless_asleep(&mut hold, &guest)).await? {
            return Ok(end);
        }
        self.wake(&mut hold, &guest).await
    }

    /// Where a login ends whose server is not woken for it; `None` for one that has to be.
    async fn unless_asleep(
        &self,
        hold: &mut Hold<'_>,
        guest: &Guest<'_>,
    ) -> Result<Option<LoginEnd>, ConnectionError> {
        let route = guest.route;
        let limit = route.policy.hold_max;
        if let Some(address) = self.recent(guest) {
            let address = std::future::ready(Ok(address));
            match self.wait(hold, route, address, limit).await {
                Err(ConnectionError::NotReady { .. } | ConnectionError::BackendClosed(_)) => {}
                outcome => return outcome.map(Some),
            }
        }
        let wakes = self.waker.is_some() && route.server.is_some();
        if wakes && route.state.is_not_running() {
            return Ok(None);
        }
        let error = match self.enter(hold, route).await {
            Ok(end) => return Ok(Some(end)),
            // That this process has too many files open says nothing about the server.
            Err(NotIn::Unreachable(error)) if is_out_of_files(&error) => {
                return Err(unreachable(&route.backend, error));
            }
            Err(NotIn::StillStarting) => {
                let address = std::future::ready(Ok(route.backend.clone()));
                let waited = self.wait(hold, route, address, limit).await;
                return waited.map(Some);
            }
            Err(NotIn::Unreachable(error) | NotIn::Closed(error)) if wakes => {
                debug!(%error, "dial failed; waking");
                return Ok(None);
            }
            Err(NotIn::Unreachable(error)) => unreachable(&route.backend, error),
            Err(NotIn::Closed(error)) => ConnectionError::BackendClosed(error),
        };
        self.elsewhere(hold, route, error).await.map(Some)
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

    /// Has the server started, and does with the player what the route says.
    async fn wake(
        &self,
        hold: &mut Hold<'_>,
        guest: &Guest<'_>,
    ) -> Result<LoginEnd, ConnectionError> {
        let route = guest.route;
        let Some((waker, wanted)) = self.waker.as_ref().zip(Wanted::of(route)) else {
            return Err(ConnectionError::ComeBack);
        };
        let target = self.target(route);
        let Snapshot { eta, retry_in, .. } = self.servers.snapshot(&target);
        let permitted = guest.returned || retry_in.is_some() || waker.is_waking(&wanted.server);
        if !permitted && let Err(refused) = self.permit(guest) {
            let elsewhere = self.elsewhere(hold, route, refused.into());
            return Box::pin(elsewhere).await;
        }
        let chain = join::chain(
            &route.policy,
            Waiting {
                protocol: guest.login.handshake.protocol,
                eta,
                returned: guest.returned,
            },
        );
        let (mut waiter, mut failed) = (None::<Waiter>, None);
        for attempt in chain.attempts {
            let outcome = match attempt {
                Attempt::Hold(_, limit) => {
                    waiter.get_or_insert_with(|| self.servers.wait(&target));
                    let address = Box::pin(self.woken(waker.join(wanted.clone()), route));
                    Box::pin(self.wait(hold, route, address, limit)).await
                }
                Attempt::Transfer(limit) => {
                    waiter.get_or_insert_with(|| self.servers.wait(&target));
                    let address = Box::pin(self.woken(waker.join(wanted.clone()), route));
                    let moved = Box::pin(self.transfer(hold, guest, address, limit)).await;
                    return moved.map(|()| {
                        end(waiter, HeldEnd::Transferred);
                        LoginEnd::Transferred
                    });
                }
                Attempt::Forward(address) => {
                    // The start goes on without this player.
                    let begun = waker.poke(wanted.clone());
                    let entered = Box::pin(self.forward(hold, route, address)).await;
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
                Err(error @ (ConnectionError::ClientLeft | ConnectionError::Stopping)) => {
                    return Err(error);
                }
                Err(error) => failed = Some(error),
            }
        }
        end(waiter, HeldEnd::Kicked);
        let error = failed.unwrap_or_else(|| {
            let too_long = eta.filter(|_| chain.too_long);
            come_back(waker.poke(wanted), too_long)
        });
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
        address: impl Future<Output = Result<BackendAddr, ConnectionError>> + Unpin,
        limit: Duration,
    ) -> Result<LoginEnd, ConnectionError> {
        let waiting = async {
            let address = hold.until(address).await??;
            let closed_until = Instant::now() + READY_WINDOW;
            loop {
                hold.settle().await?;
                let dialling = Box::pin(dial_until_ready(&address, self.dial_timeout));
                let backend = hold.until(dialling).await?;
                let backend = backend.map_err(|error| ConnectionError::NotReady {
                    backend: address.clone(),
                    error,
                })?;
                hold.settle().await?;
                match Box::pin(self.let_in(hold, route, backend)).await {
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
                hold.until(Box::pin(sleep(RETRY_PAUSE))).await?;
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
            let dialled = Box::pin(dial(&route.backend, self.dial_timeout)).await;
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

/// What a player reads who does not wait for a start that takes `too_long`, or for any.
fn come_back<T>(begun: Result<T, WakeError>, too_long: Option<Duration>) -> ConnectionError {
    match (begun, too_long) {
        (Err(error), _) => error.into(),
        (Ok(_), Some(eta)) => ConnectionError::LongStart(eta),
        (Ok(_), None) => ConnectionError::ComeBack,
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
