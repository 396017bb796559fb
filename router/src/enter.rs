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
use crate::routes::policy::Join;
use crate::servers::state::Signal;

/// Pause before a server that let nobody in is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

impl Services {
    /// Dials the backend of the route, and takes note of what came of it.
    pub(crate) async fn enter(
        &self,
        hold: &mut Hold<'_>,
        guest: &Guest<'_>,
    ) -> Result<LoginEnd, NotIn> {
        let route = guest.route;
        let begun = Instant::now().into_std();
        let address = self.backend_of(route);
        let entered = match self.dial(hold, &address).await {
            Ok(backend) => self.let_in(hold, guest, backend, &address).await,
            Err(error) => Err(error),
        };
        let signal = match &entered {
            Err(NotIn::Left) => return entered,
            Err(NotIn::Unreachable(error)) if is_out_of_files(error) => return entered,
            Ok(_) => {
                self.status.reached(&route.key());
                Signal::DialOk
            }
            Err(NotIn::StillStarting) => Signal::ProbeFailed { begun },
            Err(NotIn::Unreachable(_) | NotIn::Closed(_)) => {
                if let Some(scaler) = &self.scaler {
                    scaler.forget(&route.key(), &address);
                }
                Signal::DialFailed { begun }
            }
        };
        self.servers.signal(&self.target(route), signal);
        entered
    }

    /// Forwards the player, whose route's server nobody plays on then.
    pub(crate) async fn forward(
        &self,
        hold: &mut Hold<'_>,
        address: &BackendAddr,
    ) -> Result<LoginEnd, ConnectionError> {
        let _using = self.in_use.as_ref().map(|used| used.enter(address));
        let mut stoppers = [&self.scaler, &self.docker].into_iter().flatten();
        if stoppers.any(|waker| waker.is_stopping(address.as_str(), address)) {
            return Err(unreachable(
                address,
                io::ErrorKind::ConnectionRefused.into(),
            ));
        }
        let forwarded = async {
            let backend = self.dial(hold, address).await?;
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
                })
            }
            Err(NotIn::Left) => Err(ConnectionError::ClientLeft),
            Err(NotIn::Unreachable(error)) => Err(unreachable(address, error)),
            Err(NotIn::Closed(error)) => Err(ConnectionError::BackendClosed(error)),
            Err(NotIn::StillStarting) => Err(ConnectionError::ComeBack),
        }
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

    /// One attempt, with the client kept meanwhile and nothing of it due afterwards.
    async fn dial(&self, hold: &mut Hold<'_>, address: &BackendAddr) -> Result<TcpStream, NotIn> {
        let begun = Instant::now();
        let dialled = hold
            .until(Box::pin(dial(address, self.dial_timeout)))
            .await?;
        let backend = dialled.map_err(|error| {
            self.health.met(address, Word::of_dial(&error));
            NotIn::Unreachable(error)
        })?;
        self.metrics.dialled(begun.elapsed());
        hold.settle().await?;
        Ok(backend)
    }

    /// Hands the greeting over, and hears what the backend says first where the player would be
    /// held on.
    async fn let_in(
        &self,
        hold: &Hold<'_>,
        guest: &Guest<'_>,
        backend: TcpStream,
        address: &BackendAddr,
    ) -> Result<LoginEnd, NotIn> {
        let holds = guest.returned || guest.route.policy.join.contains(&Join::Hold);
        let introduced = introduce(hold, backend, holds).await;
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
        })
    }
}
