//! Has servers stopped, by webhook or by Docker, when nobody has played there for a while.
//!
//! One task looks at all of them now and then; a stop that hangs holds up other stops and nothing else.

use std::cmp::Reverse;
use std::collections::HashMap;
#[cfg(feature = "docker")]
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::flight::Waker;
use super::idle::{Delays, Idle, Seen};
use super::in_use::InUse;
use super::scaler::ScalerClient;
use crate::addr::BackendAddr;
#[cfg(feature = "docker")]
use crate::docker::engine::{Engine, EngineError};
use crate::routes::Route;
use crate::routes::registry::Registry;
use crate::servers::state::Signal;
use crate::servers::{Servers, Starter, Starters, Target};
use crate::shared_str::SharedStr;

/// What stops servers.
#[derive(Debug)]
pub struct Down {
    /// Who is asked to.
    pub stopper: Stopper,
    /// Who starts them again.
    pub waker: Arc<Waker>,
    /// Their routes.
    pub registry: Arc<Registry>,
    /// Who plays and waits.
    pub servers: Arc<Servers>,
    /// Who plays at which address, by whatever way.
    pub in_use: Arc<InUse>,
    /// What can start servers.
    pub starters: Starters,
}

/// Who stops servers.
#[derive(Debug, Clone)]
pub enum Stopper {
    /// A webhook, those that it starts.
    Webhook(Arc<ScalerClient>),
    /// The engine, containers that may be stopped.
    #[cfg(feature = "docker")]
    Docker(Arc<Engine>),
}

impl Stopper {
    /// Whether the server of `route` is looked after. A container that does not run is not: when it is
    /// started by others, it has all the time until it is stopped.
    fn stops(&self, route: &Route, starters: Starters) -> bool {
        match self {
            Self::Webhook(_) => starters.of(route) == Some(Starter::Webhook),
            #[cfg(feature = "docker")]
            Self::Docker(_) => {
                let down = route.container().is_some_and(|own| own.down);
                down && route.state == crate::routes::StateHint::Running
            }
        }
    }

    /// Each server of `routes`, which lead to one `backend`, once, with the route by which it is stopped.
    fn servers<'r>(
        &self,
        backend: &BackendAddr,
        routes: &'r [Arc<Route>],
        last_used: impl Fn(&Route) -> Option<Instant>,
    ) -> Vec<(SharedStr, &'r Arc<Route>)> {
        match self {
            // It knows servers by address, and is asked by the name that was used last.
            Self::Webhook(_) => {
                let host = |route: &Route| Reverse(route.host.clone());
                let by = routes
                    .iter()
                    .max_by_key(|route| (last_used(route), host(route)));
                by.map(|route| (backend.shared(), route))
                    .into_iter()
                    .collect()
            }
            #[cfg(feature = "docker")]
            Self::Docker(_) => {
                let mut known = HashSet::new();
                let keyed = routes.iter().map(|route| (route.key(), route));
                keyed.filter(|(key, _)| known.insert(key.clone())).collect()
            }
        }
    }

    /// # Errors
    /// It was not accepted. One that was asked for, and has no answer in time, may well be.
    async fn stop(&self, route: &Route) -> Result<Answered, String> {
        match self {
            Self::Webhook(client) => client.down(route).await,
            #[cfg(feature = "docker")]
            Self::Docker(engine) => {
                match engine.stop(route.server_name().unwrap_or_default()).await {
                    Ok(()) => Ok(Answered::Yes),
                    Err(EngineError::TimedOut { .. }) => Ok(Answered::NotYet),
                    Err(error) => Err(error.to_string()),
                }
            }
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            #[cfg(feature = "docker")]
            Self::Docker(_) => "docker",
        }
    }
}

/// Whether a stop that was asked for was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// It was accepted.
    Yes,
    /// It has no answer in time: whoever was asked is at it, perhaps, and is not asked again.
    NotYet,
}

/// As many as there are fixed routes.
type Idles = HashMap<SharedStr, Idle>;

impl Down {
    /// Stops servers until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        let mut idles = Idles::new();
        let looks = async {
            loop {
                let pause = self.look(&mut idles).await;
                sleep(pause).await;
            }
        };
        stop.run_until_cancelled(looks).await;
    }

    /// Looks at all of them once; comes with the time until the next look.
    async fn look(&self, idles: &mut Idles) -> Duration {
        let mut known = Idles::with_capacity(idles.len());
        let mut delays = Delays::default();
        delays.note(self.registry.defaults().down_after);
        for (backend, routes) in self.by_backend() {
            let mut seen = self.seen(&backend, &routes);
            delays.note(Some(seen.after));
            let last_used = |route: &Route| {
                let snapshot = self.servers.snapshot(&Target::of(route, self.starters));
                snapshot.last_used.max(snapshot.ready_at)
            };
            for (key, route) in self.stopper.servers(&backend, &routes, last_used) {
                let now = Instant::now();
                let mut idle = idles.remove(&key).unwrap_or_else(|| Idle::new(now));
                // A visit that came to nothing since the last stop has not started it.
                let is_stopped = self.waker.is_stopped(&route.key(), &backend);
                if idle.is_due(&seen, now) && !is_stopped {
                    self.stop(route, &mut idle, (&backend, &routes)).await;
                    // Somebody may have come meanwhile.
                    seen = self.seen(&backend, &routes);
                }
                known.insert(key, idle);
            }
        }
        *idles = known;
        self.in_use.forget(delays.longest(), Instant::now());
        delays.pause()
    }

    /// The fixed routes, those to one backend together: whoever plays there by one, uses it for all.
    fn by_backend(&self) -> HashMap<BackendAddr, Vec<Arc<Route>>> {
        let mut routes: HashMap<_, Vec<_>> = HashMap::new();
        let table = self.registry.table();
        let all = table.iter().map(|(_, route)| route);
        let all = all.chain(table.default_route());
        let all = all.filter(|route| !route.backend.is_template());
        for route in all.filter(|route| self.stopper.stops(route, self.starters)) {
            let same = routes.entry(route.backend.clone()).or_default();
            same.push(Arc::clone(route));
        }
        routes
    }

    fn seen(&self, backend: &BackendAddr, routes: &[Arc<Route>]) -> Seen {
        let seen = routes.iter().map(|route| {
            let snapshot = self.servers.snapshot(&Target::of(route, self.starters));
            let seen = Seen::of(&snapshot, &route.policy);
            // An engine knows better than whoever could not reach it.
            let up = seen.up || route.container().is_some();
            Seen { up, ..seen }
        });
        let others = routes.iter().flat_map(|route| route.addresses().skip(1));
        let others = others.map(|other| self.in_use.seen(other));
        seen.chain(others)
            .fold(self.in_use.seen(backend), Seen::and)
    }

    /// Asks for the stop of the server of `route`, to which all of `routes` lead. From before the last
    /// look until it is answered nobody is let in.
    async fn stop(
        &self,
        route: &Route,
        idle: &mut Idle,
        (backend, routes): (&BackendAddr, &[Arc<Route>]),
    ) {
        let servers: Vec<_> = routes.iter().map(|route| route.key()).collect();
        let stopping = self.waker.stop(backend.clone(), servers.clone());
        if !idle.is_due(&self.seen(backend, routes), Instant::now()) {
            return;
        }
        let server = route.key();
        let by = self.stopper.name();
        info!(name = %server, "{by}: nobody plays there any more; asking to stop it");
        let answer = self.stopper.stop(route).await;
        idle.asked(answer.is_ok(), Instant::now());
        match answer {
            Ok(answered) => {
                if answered == Answered::NotYet {
                    warn!(%server, "{by}: no answer yet; it is taken for stopped");
                }
                let said = |server: &SharedStr| self.waker.address(server, backend);
                let said: Vec<_> = servers.iter().filter_map(said).collect();
                let at = said.first().unwrap_or(backend).clone();
                stopping.accepted(at, Instant::now());
                for server in &servers {
                    self.waker.forget_all(server);
                }
                for route in routes {
                    let gone = Signal::DialFailed {
                        begun: Instant::now(),
                    };
                    self.servers.signal(&Target::of(route, self.starters), gone);
                }
            }
            Err(problem) if idle.is_over() => {
                warn!(name = %server, "{by}: it could not be stopped, and is let be: {problem}");
            }
            Err(problem) => warn!(name = %server, "{by}: it could not be stopped: {problem}"),
        }
    }
}
