//! Hands a login over to another backend than its server: a lobby.

use std::io;
use std::time::Duration;

use tokio::time::timeout;
use tracing::debug;

use crate::addr::BackendAddr;
use crate::connection::Services;
use crate::enter::{RETRY_PAUSE, gate};
use crate::error::{ConnectionError, throttled, unreachable};
use crate::first_word::{Introduced, NotIn, introduce};
use crate::hold::Hold;
use crate::login::{Guest, LoginEnd};
use crate::routes::policy::Join;

impl Services {
    /// Forwards a player whose server is away and is not woken, if the route says so.
    pub(crate) async fn elsewhere(
        &self,
        hold: &mut Hold<'_>,
        guest: &Guest<'_>,
        error: ConnectionError,
    ) -> Result<LoginEnd, ConnectionError> {
        let policy = &guest.route.policy;
        let forwards = policy.join.contains(&Join::Forward);
        match policy.forward_to.as_ref().filter(|_| forwards) {
            Some(address) => {
                let forwarded = self.forward(hold, guest, address).await;
                forwarded.map_err(|forwarding| {
                    debug!(error = %forwarding, "not forwarded");
                    if forwarding.is_final() {
                        forwarding
                    } else {
                        error
                    }
                })
            }
            None => Err(error),
        }
    }

    /// Forwards the player, whose route's server nobody plays on then. A backend that throttles logins is waited for
    /// if the route holds players, as long as it may.
    pub(crate) async fn forward(
        &self,
        hold: &mut Hold<'_>,
        guest: &Guest<'_>,
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
        let limit = guest.holds().then(|| guest.hold_limit(hold));
        let mut kick = None;
        let forwarded = async {
            let mut pause = Duration::ZERO;
            loop {
                let gate = gate(hold, guest, address);
                let attempt = if limit.is_some() {
                    let turn = self.throttle.turn(gate, pause);
                    hold.until(Box::pin(turn)).await?
                } else {
                    self.throttle.regardless(gate)
                };
                let backend = self.dial(hold, address, self.dial_timeout).await?;
                match introduce(hold, backend, limit.is_some(), attempt).await {
                    Err(NotIn::Throttled(said)) => {
                        kick.get_or_insert(said);
                        pause = RETRY_PAUSE;
                    }
                    introduced => return introduced,
                }
            }
        };
        let forwarded = tokio::select! {
            forwarded = within(limit, forwarded) => forwarded,
            () = self.stop.cancelled() => return Err(ConnectionError::Stopping),
        };
        match forwarded {
            Some(Ok(Introduced { backend, said })) => {
                debug!(%address, "forwarded");
                Ok(LoginEnd::Entered {
                    backend,
                    said,
                    playing: None,
                    at: address.clone(),
                    using,
                    waited: hold.has_waited(),
                })
            }
            Some(Err(NotIn::Left)) => Err(ConnectionError::ClientLeft),
            Some(Err(NotIn::Unreachable(error))) => Err(unreachable(address, error)),
            Some(Err(NotIn::Closed(error))) => Err(ConnectionError::BackendClosed(error)),
            Some(Err(NotIn::StillStarting)) => Err(ConnectionError::ComeBack),
            Some(Err(NotIn::Throttled(kick))) => Err(throttled(address, kick)),
            None => {
                let kick = kick.or_else(|| self.throttle.said(&gate(hold, guest, address)));
                let limit = limit.unwrap_or_default();
                Err(kick.map_or(ConnectionError::HeldTooLong(limit), |kick| {
                    throttled(address, kick)
                }))
            }
        }
    }
}

async fn within<T>(limit: Option<Duration>, work: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => timeout(limit, work).await.ok(),
        None => Some(work.await),
    }
}
