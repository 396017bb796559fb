//! Hands a login over to a backend, or holds the player until a backend takes it.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tracing::debug;

use crate::addr::BackendAddr;
use crate::connection::{Boxed, Services};
use crate::dial::{dial, dial_until_ready, is_out_of_files};
use crate::error::{ConnectionError, throttled};
use crate::first_word::{Introduced, NotIn, introduce};
use crate::health::word::Word;
use crate::hold::Hold;
use crate::login::{Guest, LoginEnd};
use crate::ping::knock;
use crate::routes::Route;
use crate::servers::state::Signal;
use crate::shared_str::SharedStr;
use crate::throttle::pace::Gate;
use crate::throttle::{Attempt, Kick};
use crate::wake::{Ticket, WakeError, Wanted};

/// Pause before a server that let nobody in is tried again.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A backend that did not let a player in.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) why: NotIn,
    pub(crate) at: BackendAddr,
}

impl Failed {
    /// Of several, one that is about to be ready is worth waiting for; else what is known of the first listed is
    /// of use to those who wait for its server.
    fn tells_more_than(&self, other: &Self, route: &Route) -> bool {
        let rank = |of: &Self| match of.why {
            NotIn::StillStarting | NotIn::Throttled(_) => 2,
            _ if of.at == route.backend => 1,
            _ => 0,
        };
        rank(self) > rank(other)
    }
}

impl NotIn {
    /// Whether it says something of the backend, rather than of the client or this process.
    fn is_the_backends(&self) -> bool {
        match self {
            Self::Left => false,
            Self::Unreachable(error) => !is_out_of_files(error),
            Self::StillStarting | Self::Throttled(_) | Self::Closed(_) => true,
        }
    }
}

impl Services {
    /// Dials the backends of the route until one lets the player in, and takes note of what came of it.
    pub(crate) async fn enter(
        &self,
        hold: &mut Hold<'_>,
        guest: &Guest<'_>,
    ) -> Result<LoginEnd, Failed> {
        let route = guest.route;
        let begun = Instant::now().into_std();
        let mut round = self.round(route, guest.address);
        let mut failed: Option<Failed> = None;
        while let Some((at, limit)) = round.next() {
            let why = match self.try_at(hold, guest, &at, limit).await {
                Ok(entered) => {
                    self.status.reached(&route.key());
                    self.servers.signal(&self.target(route), Signal::DialOk);
                    return Ok(entered);
                }
                Err(why) => why,
            };
            let this = Failed { why, at };
            if !this.why.is_the_backends() {
                return Err(this);
            }
            if let Some(scaler) = &self.scaler
                && !matches!(this.why, NotIn::StillStarting | NotIn::Throttled(_))
            {
                scaler.forget(&route.key(), &this.at);
            }
            if route.backends().is_some() {
                debug!(backend = %this.at, why = ?this.why, "not let in");
            }
            failed = Some(match failed {
                Some(earlier) if earlier.tells_more_than(&this, route) => earlier,
                _ => this,
            });
        }
        let failed = failed.unwrap_or_else(|| Failed {
            why: NotIn::Unreachable(io::ErrorKind::TimedOut.into()),
            at: route.backend.clone(),
        });
        let signal = match failed.why {
            NotIn::StillStarting => Some(Signal::ProbeFailed { begun }),
            // Perhaps nobody was asked.
            NotIn::Throttled(_) => None,
            _ => Some(Signal::DialFailed { begun }),
        };
        if let Some(signal) = signal {
            self.servers.signal(&self.target(route), signal);
        }
        Err(failed)
    }

    /// Dials one backend of the route, and hands the player over if it takes them.
    async fn try_at(
        &self,
        hold: &mut Hold<'_>,
        guest: &Guest<'_>,
        at: &BackendAddr,
        limit: Duration,
    ) -> Result<LoginEnd, NotIn> {
        // Who comes at the same time sees that this one is on its way here.
        let _using = self.using(guest.route, at);
        if guest.route.backends().is_some() && self.is_being_stopped(at) {
            let refused = io::ErrorKind::ConnectionRefused;
            return Err(NotIn::Unreachable(refused.into()));
        }
        let gate = gate(hold, guest, at);
        let attempt = if guest.holds() {
            self.throttle.now(gate).map_err(NotIn::Throttled)?
        } else {
            self.throttle.regardless(gate)
        };
        let backend = self.dial(hold, at, limit).await?;
        self.let_in(hold, guest, (backend, at), attempt).await
    }

    pub(crate) fn is_being_stopped(&self, at: &BackendAddr) -> bool {
        let mut stoppers = [&self.scaler, &self.docker].into_iter().flatten();
        stoppers.any(|waker| waker.is_stopping(at.as_str(), at))
    }

    /// The server of the route for a wake that `guest` wants; nobody listened there at `shut`.
    pub(crate) fn wanted(
        &self,
        server: &SharedStr,
        guest: &Guest<'_>,
        shut: Option<Instant>,
    ) -> Wanted {
        let (route, own) = (guest.route, guest.login.handshake.protocol);
        let key = route.key();
        let measured = self.health.of(&route.backend);
        Wanted {
            shows_status: self.status.last_known(&key, own).is_some(),
            shut: shut.map(Instant::into_std),
            protocol: Some(self.status.protocol(&key).unwrap_or(own)),
            latency: measured.and_then(|reading| reading.latency),
            dial_limit: self.dial_timeout,
            ..Wanted::new(server, route)
        }
    }

    /// The address for those who waited. The table may be wrong about a server it calls stopped,
    /// and then nobody has dialled it: that is made up for when the server-manager is of no help.
    pub(crate) fn woken<'w>(
        &'w self,
        mut ticket: Ticket,
        guest: &'w Guest<'_>,
    ) -> Boxed<'w, Result<BackendAddr, ConnectionError>> {
        Box::pin(async move {
            let error = match ticket.outcome().await {
                Ok(ready) => return Ok(ready.address),
                Err(error) => error,
            };
            let of_no_help = matches!(
                error.cause(),
                WakeError::Broken(_) | WakeError::Denied(_) | WakeError::TimedOut { .. }
            );
            let route = guest.route;
            if of_no_help && route.state.is_not_running() {
                let proxy = route.policy.proxy_protocol;
                let mut round = self.round(route, guest.address);
                while let Some((address, limit)) = round.next() {
                    if Box::pin(knock(&address, proxy, limit)).await.is_ok() {
                        return Ok(address);
                    }
                }
            }
            Err(error.into())
        })
    }

    /// Holds the player until the server at `address` lets in, `limit` at most; one that throttles logins is tried when
    /// it is this player's turn. `kick` is what a throttled
    /// backend has said to the player so far, if one has.
    pub(crate) fn wait<'w>(
        &'w self,
        hold: &'w mut Hold<'_>,
        guest: &'w Guest<'_>,
        address: impl Future<Output = Result<BackendAddr, ConnectionError>> + Send + Unpin + 'w,
        limit: Duration,
        kick: Option<(BackendAddr, Kick)>,
    ) -> Boxed<'w, Result<LoginEnd, ConnectionError>> {
        Box::pin(async move {
            hold.waits();
            let mut last = Last {
                waits_at: None,
                kick,
                closed: None,
            };
            let waiting = async {
                let address = hold.until(address).await??;
                let gate = gate(hold, guest, &address);
                last.waits_at = Some(gate.clone());
                let mut pause = Duration::ZERO;
                loop {
                    let turn = Box::pin(self.throttle.turn(gate.clone(), pause));
                    let attempt = hold.until(turn).await?;
                    let dialling = Box::pin(dial_until_ready(&address, self.dial_timeout));
                    let backend = hold.until(dialling).await?;
                    let backend = backend.map_err(|error| ConnectionError::NotReady {
                        backend: address.clone(),
                        error,
                    })?;
                    hold.settle().await?;
                    let entering = self.let_in(hold, guest, (backend, &address), attempt);
                    match Box::pin(entering).await {
                        Ok(entered) => {
                            self.status.reached(&guest.route.key());
                            return Ok(entered);
                        }
                        Err(NotIn::Left) => return Err(ConnectionError::ClientLeft),
                        Err(NotIn::StillStarting) => {
                            debug!("it is still starting; trying on");
                            last.closed = None;
                            last.waits_at = None;
                        }
                        Err(NotIn::Throttled(said)) => {
                            debug!("it throttles logins; trying on");
                            last.kick.get_or_insert_with(|| (address.clone(), said));
                        }
                        // So does the published port of a container whose server is not up yet.
                        Err(NotIn::Unreachable(error) | NotIn::Closed(error)) => {
                            last.closed = Some(error);
                            last.waits_at = None;
                        }
                    }
                    pause = RETRY_PAUSE;
                }
            };
            let waited = tokio::select! {
                waited = timeout(limit, waiting) => waited,
                () = self.stop.cancelled() => return Err(ConnectionError::Stopping),
            };
            waited.unwrap_or_else(|_| Err(self.waited_in_vain(last, limit)))
        })
    }

    /// What a wait comes to whose time is over: the first kick, else the throttle's if that is what was waited for.
    fn waited_in_vain(&self, last: Last, limit: Duration) -> ConnectionError {
        let known = |gate: Gate| Some((self.throttle.said(&gate)?, gate.backend));
        if let Some((at, kick)) = last.kick {
            return throttled(&at, kick);
        }
        if let Some((kick, at)) = last.waits_at.and_then(known) {
            return throttled(&at, kick);
        }
        last.closed.map_or(
            ConnectionError::HeldTooLong(limit),
            ConnectionError::BackendClosed,
        )
    }

    /// One attempt within `limit`, with the client kept meanwhile and nothing of it due afterwards.
    pub(crate) async fn dial(
        &self,
        hold: &mut Hold<'_>,
        address: &BackendAddr,
        limit: Duration,
    ) -> Result<TcpStream, NotIn> {
        let begun = Instant::now();
        let dialled = hold.until(Box::pin(dial(address, limit))).await?;
        let backend = dialled.map_err(|error| {
            self.health.met(address, Word::of_dial(&error));
            NotIn::Unreachable(error)
        })?;
        self.metrics.dialled(begun.elapsed());
        hold.settle().await?;
        Ok(backend)
    }

    /// Hands the greeting over, and hears what the backend says first where the player would be
    /// held on, or another backend could be tried.
    async fn let_in(
        &self,
        hold: &Hold<'_>,
        guest: &Guest<'_>,
        (backend, address): (TcpStream, &BackendAddr),
        attempt: Attempt<'_>,
    ) -> Result<LoginEnd, NotIn> {
        let using = self.using(guest.route, address);
        let listens = guest.holds() || guest.route.backends().is_some();
        let introduced = introduce(hold, backend, listens, attempt).await;
        match &introduced {
            // That its port is open proves nothing.
            Ok(Introduced { said, .. }) if !said.is_empty() => {
                self.health.met(address, Some(Word::LetIn));
            }
            Err(NotIn::Throttled(_)) => {
                self.health.met(address, Some(Word::LetIn));
                self.servers
                    .signal(&self.target(guest.route), Signal::DialOk);
            }
            Err(NotIn::Closed(_)) => self.health.met(address, Some(Word::Closed)),
            _ => {}
        }
        let Introduced { backend, said } = introduced?;
        let playing = self.servers.session(&self.target(guest.route));
        Ok(LoginEnd::Entered {
            backend,
            said,
            playing: Some(playing),
            at: address.clone(),
            using,
            waited: hold.has_waited() || guest.returned,
        })
    }
}

/// What was met while a player waited.
struct Last {
    /// Where the player has not had a turn yet, if there are turns.
    waits_at: Option<Gate>,
    /// The first kick of a server that throttles logins.
    kick: Option<(BackendAddr, Kick)>,
    /// How the last connection ended that was ended without a word.
    closed: Option<io::Error>,
}

/// Whose logins `at` counts together with this player's.
pub(crate) fn gate(hold: &Hold<'_>, guest: &Guest<'_>, at: &BackendAddr) -> Gate {
    let told = !hold.header().is_empty();
    Gate {
        backend: at.clone(),
        client: told.then_some(guest.address),
    }
}
