//! Has servers of fixed routes stopped by webhook when nobody has played there for a while.
//!
//! One task looks at all of them now and then; a stop that hangs holds up other stops and nothing else.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::flight::Waker;
use super::idle::{Idle, Seen};
use super::in_use::InUse;
use super::scaler::ScalerClient;
use crate::addr::BackendAddr;
use crate::routes::Route;
use crate::routes::registry::Registry;
use crate::servers::{Servers, Starter, Starters, Target};

/// A look is taken ten times within the time after which a server is stopped, within these bounds.
const LOOK_BOUNDS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// What stops servers.
#[derive(Debug)]
pub struct Down {
    /// Who is asked to.
    pub client: Arc<ScalerClient>,
    /// How long nobody has played.
    pub after: Duration,
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

/// As many as there are fixed routes.
type Idles = HashMap<Arc<str>, Idle>;

impl Down {
    /// Stops servers until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        let (least, most) = LOOK_BOUNDS;
        let pause = (self.after / 10).clamp(least, most);
        let mut idles = Idles::new();
        let looks = async {
            loop {
                self.look(&mut idles).await;
                sleep(pause).await;
            }
        };
        stop.run_until_cancelled(looks).await;
    }

    async fn look(&self, idles: &mut Idles) {
        let mut known = Idles::with_capacity(idles.len());
        for (backend, routes) in self.by_backend() {
            let mut seen = self.seen(&backend, &routes);
            for route in &routes {
                let (key, now) = (route.key(), Instant::now().into_std());
                let mut idle = idles.remove(&key).unwrap_or_else(|| Idle::new(now));
                if idle.is_due(&seen, self.after, now) {
                    let taken = self.stop(route).await;
                    idle.asked(taken, Instant::now().into_std());
                    if idle.is_over() && !taken {
                        warn!(server = %key, "webhook: stopping it was given up");
                    }
                    // Somebody may have come meanwhile.
                    seen = self.seen(&backend, &routes);
                }
                known.insert(key, idle);
            }
        }
        *idles = known;
        self.in_use.forget(self.after, Instant::now().into_std());
    }

    /// The fixed routes, those to one backend together: whoever plays there by one, uses it for all.
    fn by_backend(&self) -> HashMap<BackendAddr, Vec<Arc<Route>>> {
        let mut routes: HashMap<_, Vec<_>> = HashMap::new();
        let table = self.registry.table();
        let all = table.iter().map(|(_, route)| route);
        let all = all.chain(table.default_route());
        let by_webhook = |route: &&Arc<Route>| self.starters.of(route) == Some(Starter::Webhook);
        for route in all.filter(by_webhook) {
            let same = routes.entry(route.backend.clone()).or_default();
            same.push(Arc::clone(route));
        }
        routes
    }

    fn seen(&self, backend: &BackendAddr, routes: &[Arc<Route>]) -> Seen {
        let seen = routes.iter().map(|route| {
            let snapshot = self.servers.snapshot(&Target::of(route, self.starters));
            Seen::of(&snapshot, route.policy.min_online)
        });
        seen.fold(self.in_use.seen(backend), Seen::and)
    }

    /// Asks for the stop of the server of `route`; whether that was taken.
    async fn stop(&self, route: &Route) -> bool {
        let server = route.key();
        info!(%server, "webhook: nobody plays there any more; asking to stop it");
        if let Err(problem) = self.client.down(route).await {
            warn!(%server, "webhook: it could not be stopped: {problem}");
            return false;
        }
        if let Some(gone) = self.waker.address(&server, &route.backend) {
            self.waker.forget(&server, &gone);
        }
        true
    }
}
