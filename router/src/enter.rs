//! Hands a login over to a backend, or holds the player until a backend takes it.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use crate::addr::BackendAddr;
use crate::connection::{Boxed, Services};
use crate::dial::{dial, dial_until_ready, is_out_of_files};
use crate::error::{ConnectionError, unreachable};
use crate::first_word::{Introduced, NotIn, introduce};
use crate::health::word::Word;
use crate::hold::Hold;
use crate::login::{Guest, LoginEnd};
use crate::ping::knock;
use crate::routes::Route;
use crate::servers::state::Signal;
use crate::wake::{Ticket, WakeError};

/// Pause before a server that let nobody in is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

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
            NotIn::StillStarting => 2,
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
            Self::StillStarting | Self::Closed(_) => true,
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
                && !matches!(this.why, NotIn::StillStarting)
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
            NotIn::StillStarting => Signal::ProbeFailed { begun },
            _ => Signal::DialFailed { begun },
        };
        self.servers.signal(&self.target(route), signal);
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
        let backend = self.dial(hold, at, limit).await?;
        self.let_in(hold, guest, backend, at).await
    }

    fn is_being_stopped(&self, at: &BackendAddr) -> bool {
        let mut stoppers = [&self.scaler, &self.docker].into_iter().flatten();
        stoppers.any(|waker| waker.is_stopping(at.as_str(), at))
    }

    /// Forwards the player, whose route's server nobody plays on then.
    pub(crate) async fn forward(
        &self,
        hold: &mut Hold<'_>,
        address: &BackendAddr,
    ) -> Result<LoginEnd, ConnectionError> {
        let counts = self.in_use.is_for_all();
        let using = counts.then(|| self.in_use.enter(address));
        if self.is_being_stopped(address) {
            return Err(unreachable(
                address,
                io::ErrorKind::ConnectionRefused.into(),
            ));
        }
        let forwarded = async {
            let backend = self.dial(hold, address, self.dial_timeout).await?;
            introduce(hold, backend, false).await
        };
        match forwarded.await {
            Ok(Introduced { backend, said }) => {
                debug!(%address, "forwarded");
                Ok(LoginEnd::Entered {
                    backend,
                    said,
                    playing: None,
                    at: address.clone(),
                    using,
                })
            }
            Err(NotIn::Left) => Err(ConnectionError::ClientLeft),
            Err(NotIn::Unreachable(error)) => Err(unreachable(address, error)),
            Err(NotIn::Closed(error)) => Err(ConnectionError::BackendClosed(error)),
            Err(NotIn::StillStarting) => Err(ConnectionError::ComeBack),
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

    /// Holds the player until the server at `address` lets in, `limit` at most.
    pub(crate) fn wait<'w>(
        &'w self,
        hold: &'w mut Hold<'_>,
        guest: &'w Guest<'_>,
        address: impl Future<Output = Result<BackendAddr, ConnectionError>> + Send + Unpin + 'w,
        limit: Duration,
    ) -> Boxed<'w, Result<LoginEnd, ConnectionError>> {
        Box::pin(async move {
            let mut closed = None;
            let waiting = async {
                let address = hold.until(address).await??;
                loop {
                    let dialling = Box::pin(dial_until_ready(&address, self.dial_timeout));
                    let backend = hold.until(dialling).await?;
                    let backend = backend.map_err(|error| ConnectionError::NotReady {
                        backend: address.clone(),
                        error,
                    })?;
                    hold.settle().await?;
                    match Box::pin(self.let_in(hold, guest, backend, &address)).await {
                        Ok(entered) => {
                            self.status.reached(&guest.route.key());
                            return Ok(entered);
                        }
                        Err(NotIn::Left) => return Err(ConnectionError::ClientLeft),
                        Err(NotIn::StillStarting) => {
                            debug!("it is still starting; trying on");
                            closed = None;
                        }
                        // So does the published port of a container whose server is not up yet.
                        Err(NotIn::Unreachable(error) | NotIn::Closed(error)) => {
                            closed = Some(error);
                        }
                    }
                    hold.until(Box::pin(sleep(RETRY_PAUSE))).await?;
                }
            };
            let waited = tokio::select! {
                waited = timeout(limit, waiting) => waited,
                () = self.stop.cancelled() => return Err(ConnectionError::Stopping),
            };
            waited.unwrap_or_else(|_| {
                Err(closed.map_or(
                    ConnectionError::HeldTooLong(limit),
                    ConnectionError::BackendClosed,
                ))
            })
        })
    }

    /// One attempt within `limit`, with the client kept meanwhile and nothing of it due afterwards.
    async fn dial(
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
        backend: TcpStream,
        address: &BackendAddr,
    ) -> Result<LoginEnd, NotIn> {
        let using = self.using(guest.route, address);
        let listens = guest.holds() || guest.route.backends().is_some();
        let introduced = introduce(hold, backend, listens).await;
        match &introduced {
            // That its port is open proves nothing.
            Ok(Introduced { said, .. }) if !said.is_empty() => {
                self.health.met(address, Some(Word::LetIn));
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
        })
    }
}
