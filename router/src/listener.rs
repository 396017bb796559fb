//! Accepts clients up to a limit, each in a task of its own, and lets them finish when told to stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::admit::{Place, Turned, Verdict};
use crate::closing::Closing;
use crate::connection::{Services, refuse, serve};
use crate::error::ConnectionError;

/// Pause after an accept error that is nobody's fault in particular, such as a full file table.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Clients over the limit who are told so at once; more are closed without a word.
pub const REFUSALS_MAX: usize = 256;
/// Least time between two warnings about the same trouble.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// How many clients there may be, on all workers together.
#[derive(Debug)]
pub struct Places {
    max: usize,
    sessions: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
}

impl Places {
    /// Room for `max` clients, and for [`REFUSALS_MAX`] who are told that there is none.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            max,
            sessions: Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS))),
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
        }
    }
}

/// Accepts until the services' `stop` is cancelled, then closes the listener. Clients go on, in
/// tasks of the same runtime that `clients` keeps track of, until they end.
pub async fn run(
    listener: TcpListener,
    services: Arc<Services>,
    places: Arc<Places>,
    clients: TaskTracker,
) {
    let mut broken = Seldom::default();
    let stop = services.stop.clone();
    let mut door = Door {
        services,
        places,
        clients,
        full: Seldom::default(),
    };
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => door.accepted(stream, peer),
            Err(error) if is_one_clients_fault(&error) => debug!(%error, "accept"),
            Err(error) => {
                broken.warn(|| warn!("cannot accept connections: {error}; trying on"));
                stop.run_until_cancelled(tokio::time::sleep(ACCEPT_PAUSE))
                    .await;
            }
        }
    }
}

/// Where one worker's clients come in.
struct Door {
    services: Arc<Services>,
    places: Arc<Places>,
    clients: TaskTracker,
    full: Seldom,
}

impl Door {
    /// Serves a client in a task of its own, or tells it why not, or neither. Waits for nothing.
    fn accepted(&mut self, mut stream: TcpStream, peer: SocketAddr) {
        let verdict = if self.services.may_be_proxy(peer.ip()) {
            Verdict::In(Place::uncounted())
        } else {
            self.services.admission.knock(peer.ip())
        };
        let (of_address, why) = match verdict {
            Verdict::In(of_address) => (of_address, None),
            Verdict::Told(of_address, why) => (of_address, Some(why)),
            Verdict::Closed => return,
        };
        let why = match why {
            Some(why) => why,
            None => match Arc::clone(&self.places.sessions).try_acquire_owned() {
                Ok(place) => {
                    let services = Arc::clone(&self.services);
                    let mut closing = Closing::new(peer);
                    self.clients.spawn(async move {
                        client(&mut stream, &mut closing, &services).await;
                        // Bound to a name before the wait, they would have room twice.
                        drop((closing, stream, place, of_address));
                    });
                    return;
                }
                Err(_) => self.full(),
            },
        };
        if let Ok(place) = Arc::clone(&self.places.refusals).try_acquire_owned() {
            let services = Arc::clone(&self.services);
            self.clients.spawn(async move {
                let told = no_client(stream, peer, &services, why);
                services.stop.run_until_cancelled(told).await;
                drop((place, of_address));
            });
        }
    }

    fn full(&mut self) -> ConnectionError {
        let max = self.places.max;
        self.full.warn(|| {
            warn!("{max} clients are connected, the limit (max_connections); turning others away");
        });
        self.services.admission.count(Turned::Full);
        ConnectionError::Full
    }
}

/// Errors that concern the one connection that would have been accepted: accept(2), "Error handling".
fn is_one_clients_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// One client, from its first byte to its closing line. All is lent: an `async fn` has room for what it
/// is given twice.
async fn client(stream: &mut TcpStream, closing: &mut Closing, services: &Services) {
    let outcome = serve(stream, services, closing).await;
    services.metrics.ended(&outcome);
    closing.finish(&outcome, &services.flood);
}

/// The same for one there is no place for.
async fn no_client(
    mut stream: TcpStream,
    peer: SocketAddr,
    services: &Services,
    why: ConnectionError,
) {
    let mut closing = Closing::new(peer);
    let outcome = refuse(&mut stream, services, &mut closing, why).await;
    services.metrics.ended(&outcome);
    closing.finish(&outcome, &services.flood);
}

/// A warning that is not repeated for [`WARNING_INTERVAL`].
#[derive(Debug, Default)]
pub(crate) struct Seldom(Option<Instant>);

impl Seldom {
    pub(crate) fn warn(&mut self, warn: impl FnOnce()) {
        if self.0.is_none_or(|at| at.elapsed() >= WARNING_INTERVAL) {
            self.0 = Some(Instant::now());
            warn();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::login::LoginEnd;

    /// What the future that comes of `three` or `five` takes.
    fn of_three<A, B, C, F>(_: fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    fn of_five<A, B, C, D, E, F: Future<Output = Result<LoginEnd, ConnectionError>>>(
        _: fn(A, B, C, D, E) -> F,
    ) -> usize {
        size_of::<F>()
    }

    /// An idle player takes under 2 KB and a held one 4 KB, sockets and all; a value too many that is lent across a
    /// wait is seen here, and otherwise only in `harness bench relay --mode idle` and `bench wake`.
    #[test]
    fn who_plays_or_waits_takes_little() {
        let playing = of_three(client);
        assert!(playing <= 400, "{playing}");
        let waiting = of_five(Services::login);
        assert!(waiting <= 752, "{waiting}");
    }
}
