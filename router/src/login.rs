//! The way of a login: dial, else wake; and while the server is not ready, what its route does
//! with players. How one is handed over or held is in [`crate::enter`].
//!
//! Nothing here waits for Postgres, the API or metrics.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::net::TcpStream;
use tokio::time::Instant;
use tracing::debug;

use crate::addr::BackendAddr;
use crate::closing::Closing;
use crate::connection::Services;
use crate::dial::is_out_of_files;
use crate::enter::Failed;
use crate::error::{ConnectionError, throttled, unreachable};
use crate::first_word::NotIn;
use crate::hold::cookie::Bearer;
use crate::hold::schedule::Way;
use crate::hold::{Hold, Left};
use crate::join::{self, Attempt, Chain, Waiting};
use crate::protocol::handshake::{Handshake, Intent};
use crate::protocol::version;
use crate::routes::Route;
use crate::routes::policy::Join;
use crate::servers::counters::{HeldEnd, Refusal};
use crate::servers::state::State;
use crate::servers::{Session, Waiter};
use crate::throttle::Kick;
use crate::wake::in_use::Using;
use crate::wake::permit::{Claim, Refused};
use crate::wake::probing::ProbeReply;
use crate::wake::{Waker, Wanted};

/// Who logs in.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) handshake: Handshake,
    /// The name the client claims.
    pub(crate) player: String,
    /// The UUID it claims, where its version tells.
    pub(crate) uuid: Option<u128>,
}

impl Login {
    /// Who it claims to be, from `address`.
    fn claim(&self, address: IpAddr) -> Claim<'_> {
        Claim {
            name: &self.player,
            uuid: self.uuid,
            address,
        }
    }
}

/// What a login comes to.
pub(crate) enum LoginEnd {
    /// A backend has the player's greeting.
    Entered {
        backend: TcpStream,
        /// What it said in answer.
        said: Vec<u8>,
        /// None of a player who was forwarded, since nobody plays on the route's own server.
        playing: Option<Session>,
        /// The address that was dialled.
        at: BackendAddr,
        /// Counts the player there, if that makes a difference.
        using: Option<Using>,
        /// Whether the player has waited for the server to start.
        waited: bool,
    },
    /// The client has been sent here once more.
    Transferred,
}

/// A login on its way.
pub(crate) struct Guest<'g> {
    pub(crate) login: &'g Login,
    pub(crate) route: &'g Arc<Route>,
    /// Where the client connects from.
    pub(crate) address: IpAddr,
    /// Whether the player has proved to have waited here.
    pub(crate) returned: bool,
}

/// What a login comes to before anything is woken.
enum Before {
    Ended(LoginEnd),
    /// The server does not run.
    Asleep(Knock),
}

/// What came of dialling the row's address before a wake.
#[derive(Debug, Clone, Copy, Default)]
struct Knock {
    /// It was dialled, or is not to be.
    tried: bool,
    /// When it refused, if it did: nobody listened there.
    shut: Option<Instant>,
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
        let route = &self.admitted(login, closing)?;
        let way = Way::of(login.handshake.protocol, route.policy.compression_hold);
        let header = self.header(route, client, closing)?;
        let hold = Hold::new(client, greeting, way, route.policy.tick);
        let mut hold = hold.presented(header);
        let mut guest = Guest {
            login,
            route,
            address: closing.peer(),
            returned: false,
        };
        // From here on it is not stopped, unless it is already.
        let counts = self.in_use.is_for_all();
        let _using = counts.then(|| self.in_use.approach(&route.backend));
        guest.returned = Box::pin(self.returned(&mut hold, &guest)).await?;
        // What comes before the long part takes no room in it.
        let knock = match Box::pin(self.unless_asleep(&mut hold, &guest)).await? {
            Before::Ended(end) => return Ok(end),
            Before::Asleep(knock) => knock,
        };
        self.wake(&mut hold, &guest, knock).await
    }

    /// The route of a login that may be let in there.
    fn admitted(
        &self,
        login: &Login,
        closing: &mut Closing,
    ) -> Result<Arc<Route>, ConnectionError> {
        let address = &login.handshake.address;
        let claim = login.claim(closing.peer());
        self.admission.record(address, &claim);
        let route = self.find(address, closing);
        let route = route.ok_or(ConnectionError::UnknownHost)?;
        self.admission.may_join(address, &claim)?;
        Ok(route)
    }

    /// The way of a login whose server is not woken for it.
    async fn unless_asleep(
        &self,
        hold: &mut Hold<'_>,
        guest: &Guest<'_>,
    ) -> Result<Before, ConnectionError> {
        let route = guest.route;
        let waker = self.waker_of(route);
        if waker.is_some_and(|(waker, server)| waker.is_stopped(&server, &route.backend)) {
            debug!("it is being stopped, or was; waking it after that");
            return Ok(Before::Asleep(Knock {
                tried: true,
                shut: None,
            }));
        }
        if let Some(address) = self.recent(guest) {
            let address = std::future::ready(Ok(address));
            let limit = guest.hold_limit(hold);
            match self.wait(hold, guest, address, limit, None).await {
                Err(ConnectionError::NotReady { .. } | ConnectionError::BackendClosed(_)) => {}
                outcome => return outcome.map(Before::Ended),
            }
        }
        let wakes = self.waker_of(route).is_some();
        if wakes && self.is_away(route) {
            return Ok(Before::Asleep(Knock::default()));
        }
        let Failed { why, at } = match self.enter(hold, guest).await {
            Ok(end) => return Ok(Before::Ended(end)),
            Err(failed) => failed,
        };
        let error = match why {
            NotIn::Left => return Err(ConnectionError::ClientLeft),
            // That this process has too many files open says nothing about the server.
            NotIn::Unreachable(error) if is_out_of_files(&error) => {
                return Err(unreachable(&at, error));
            }
            NotIn::StillStarting if guest.holds() => {
                return self.wait_on(hold, guest, at, None).await.map(Before::Ended);
            }
            NotIn::Throttled(kick) if guest.holds() => {
                let waited = self.wait_on(hold, guest, at, Some(kick)).await;
                return waited.map(Before::Ended);
            }
            NotIn::StillStarting => ConnectionError::ComeBack,
            NotIn::Throttled(kick) => throttled(&at, kick),
            NotIn::Unreachable(error) if wakes => {
                debug!(%error, "dial failed; waking");
                let nobody = ProbeReply::not_reached(&error).is_absence();
                return Ok(Before::Asleep(Knock {
                    tried: true,
                    shut: nobody.then(Instant::now),
                }));
            }
            NotIn::Closed(error) if wakes => {
                debug!(%error, "the backend closed the connection; waking");
                return Ok(Before::Asleep(Knock {
                    tried: true,
                    shut: None,
                }));
            }
            NotIn::Unreachable(error) => unreachable(&at, error),
            NotIn::Closed(error) => ConnectionError::BackendClosed(error),
        };
        let elsewhere = self.elsewhere(hold, guest, error).await;
        elsewhere.map(Before::Ended)
    }

    /// Whether the player proves to have waited here before. Backends see such a player log in,
    /// unless the route says that they are to see a transfer.
    async fn returned(
        &self,
        hold: &mut Hold<'_>,
        guest: &Guest<'_>,
    ) -> Result<bool, ConnectionError> {
        let (policy, login) = (&guest.route.policy, guest.login);
        if login.handshake.intent != Intent::Transfer
            || !version::can_transfer(login.handshake.protocol)
            || !policy.join.contains(&Join::Transfer)
        {
            return Ok(false);
        }
        let Some(cookie) = hold.cookie().await? else {
            return Ok(false);
        };
        let returned = self.signer.is_good(&cookie, guest.bearer(), since_1970());
        if returned && !policy.keep_transfer_intent {
            hold.make_login();
        }
        Ok(returned)
    }

    /// Where the server of a player who waited for it was ready a moment ago.
    fn recent(&self, guest: &Guest<'_>) -> Option<BackendAddr> {
        let (waker, server) = self.waker_of(guest.route).filter(|_| guest.returned)?;
        waker.recent(&server)
    }

    /// Whether the row says that the server does not run, and nothing newer is known: its address
    /// may be another server's by now.
    fn is_away(&self, route: &Route) -> bool {
        let seen = || self.servers.snapshot(&self.target(route)).state;
        let elsewhere = || {
            let (waker, server) = self.waker_of(route)?;
            let recent = waker.recent(&server);
            Some(recent? != self.backend_of(route))
        };
        route.state.is_not_running()
            && (seen() != State::Running || elsewhere().unwrap_or_default())
    }

    /// Has the server started, and does with the player what the route says.
    async fn wake(
        &self,
        hold: &mut Hold<'_>,
        guest: &Guest<'_>,
        mut knock: Knock,
    ) -> Result<LoginEnd, ConnectionError> {
        let route = guest.route;
        let Some((waker, server)) = self.waker_of(route) else {
            return Err(ConnectionError::ComeBack);
        };
        let wanted = || self.wanted(&server, guest, knock.shut);
        let (eta, starts) = {
            let seen = self.servers.snapshot(&self.target(route));
            let under_way = matches!(seen.state, State::Starting | State::Settling);
            (seen.eta, seen.retry_in.is_none() && !under_way)
        };
        let chain = join::chain(&route.policy, guest.waiting(hold, eta));
        if chain.too_new {
            self.newer.met(guest.login.handshake.protocol);
        }
        // The row may be wrong, and nobody who is not to wait would ever learn of it.
        if !knock.tried && !chain.begins_with_a_wait() {
            knock.tried = true;
            if let Some(entered) = Box::pin(self.try_row(hold, guest)).await? {
                return Ok(entered);
            }
        }
        // Who joins a start that is under way, or comes before the next one, wakes nothing.
        let permit = if guest.returned || !starts {
            Ok(())
        } else {
            self.permit(guest)
        };
        if let Err(refused) = permit {
            if !knock.tried
                && let Some(entered) = Box::pin(self.try_row(hold, guest)).await?
            {
                return Ok(entered);
            }
            self.servers.refused(Refusal::from(&refused));
            return Box::pin(self.elsewhere(hold, guest, refused.into())).await;
        }
        let mut waiter = None;
        let attempts = self.attempt(hold, guest, &chain, (waker, &wanted), &mut waiter);
        let error = match attempts.await {
            Ok(end) => return Ok(end),
            Err(Some(error)) => error,
            Err(None) => match (waker.poke(wanted()), eta) {
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
            Err(Failed { why, at }) => match why {
                NotIn::Left => Err(ConnectionError::ClientLeft),
                NotIn::Throttled(kick) if guest.holds() => {
                    self.wait_on(hold, guest, at, Some(kick)).await.map(Some)
                }
                NotIn::Throttled(kick) => Err(throttled(&at, kick)),
                _ => Ok(None),
            },
        }
    }

    /// Tries what is to be tried, in order; whoever waits has a place in `waiter`.
    ///
    /// # Errors
    /// Nothing let the player in; comes with what is to be told, where that is known.
    async fn attempt(
        &self,
        hold: &mut Hold<'_>,
        guest: &Guest<'_>,
        chain: &Chain<'_>,
        (waker, wanted): (&Arc<Waker>, impl Fn() -> Wanted),
        waiter: &mut Option<Waiter>,
    ) -> Result<LoginEnd, Option<ConnectionError>> {
        let target = self.target(guest.route);
        let mut failed = None;
        for attempt in &chain.attempts {
            let (outcome, held) = match *attempt {
                Attempt::Hold(limit) => {
                    waiter.get_or_insert_with(|| self.servers.wait(&target));
                    let address = self.woken(waker.join(wanted()), guest);
                    let entered = self.wait(hold, guest, address, limit, None).await;
                    (entered, HeldEnd::LetIn)
                }
                Attempt::Transfer(limit, packets) => {
                    waiter.get_or_insert_with(|| self.servers.wait(&target));
                    let address = self.woken(waker.join(wanted()), guest);
                    let moved =
                        Box::pin(self.transfer(hold, guest, address, (limit, packets))).await;
                    (moved.map(|()| LoginEnd::Transferred), HeldEnd::Transferred)
                }
                Attempt::Forward(address) => {
                    // The start goes on without this player.
                    if let Err(error) = waker.poke(wanted()) {
                        failed.get_or_insert_with(|| error.into());
                    }
                    match Box::pin(self.forward(hold, guest, address)).await {
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
                    end(waiter.take(), held);
                    return Ok(entered);
                }
                Err(error) if error.is_final() => return Err(Some(error)),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed)
    }

    /// Whether the player may have the server started.
    fn permit(&self, guest: &Guest<'_>) -> Result<(), Refused> {
        let claim = guest.login.claim(guest.address);
        let host = &guest.login.handshake.address;
        self.admission.may_wake(host, &claim)?;
        let now = Instant::now().into_std();
        let mut permits = self.permits.lock().unwrap_or_else(PoisonError::into_inner);
        let rules = &guest.route.policy.wake;
        permits.may_wake(rules, &claim, now, SystemTime::now())
    }

    /// Waits for a server that is up `at` an address and turns players away because it is still starting, or throttles
    /// logins: then `kick` is what it says.
    async fn wait_on(
        &self,
        hold: &mut Hold<'_>,
        guest: &Guest<'_>,
        at: BackendAddr,
        kick: Option<Kick>,
    ) -> Result<LoginEnd, ConnectionError> {
        let limit = guest.hold_limit(hold);
        let waiter = self.servers.wait(&self.target(guest.route));
        let kick = kick.map(|kick| (at.clone(), kick));
        let address = std::future::ready(Ok(at));
        let outcome = match self.wait(hold, guest, address, limit, kick).await {
            Err(error @ (ConnectionError::HeldTooLong(_) | ConnectionError::Throttled { .. })) => {
                let forwarded = self.elsewhere(hold, guest, error).await;
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
}

impl Guest<'_> {
    pub(crate) fn bearer(&self) -> Bearer<'_> {
        Bearer {
            address: self.address,
            host: &self.login.handshake.address,
        }
    }

    /// Whether the player can be kept until the server is ready.
    pub(crate) fn holds(&self) -> bool {
        let join = &self.route.policy.join;
        let is_too_new = version::is_too_new(self.login.handshake.protocol);
        self.returned || join.contains(&Join::Hold) || is_too_new && join.contains(&Join::Transfer)
    }

    /// How long the player may be held from now on.
    pub(crate) fn hold_limit(&self, hold: &Hold<'_>) -> Duration {
        join::hold_limit(&self.route.policy, self.waiting(hold, None))
    }

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
