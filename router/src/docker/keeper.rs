//! Follows the engine: its events first, then its containers, then those again on every event.
//!
//! Events only say "look again"; what counts is the whole list, which is read every minute anyway. An engine
//! that is lost keeps the routes that its containers had last.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval_at, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::engine::{Engine, EngineError};
use super::labels::{self, CONTAINERS_MAX, Defaults, Seen};
use crate::backoff::Backoff;
use crate::config::values::short;
use crate::host::Host;
use crate::postgres::pace::Pace;
use crate::routes::diff::Change;
use crate::routes::offer::{IgnoredSetting, Offer, Provider};
use crate::routes::pool::Changes;
use crate::routes::registry::Registry;
use crate::routes::{Container, Route};
use crate::servers::{Servers, Starters};
use crate::start;

/// How often the containers are listed without being told of any change.
pub const LIST_INTERVAL: Duration = Duration::from_secs(60);
/// How long after an event the containers are listed once more: an engine tells that a container died
/// before its list does.
pub const ECHO: Duration = Duration::from_millis(500);
/// How long an engine has to be followed before it counts as there: one that only begins to tell is asked
/// later and later.
pub const STEADY: Duration = Duration::from_secs(10);
/// Most containers of one list that are looked at again for their aliases.
const INSPECTED_MAX: usize = 100;
/// Most lines logged about what came of one list.
const LINES_MAX: usize = 100;

/// Follows one engine.
#[derive(Debug)]
pub struct Keeper {
    /// The engine.
    pub engine: Arc<Engine>,
    /// Gets the routes.
    pub registry: Arc<Registry>,
    /// What labels lie over.
    pub defaults: Defaults,
    /// Hear what changed.
    pub servers: Arc<Servers>,
    /// What can start servers.
    pub starters: Starters,
}

impl Keeper {
    /// Follows it until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        let mut backoff = Backoff::reconnect(0.0);
        let (mut pace, mut tells) = (Pace::default(), true);
        let follow = async {
            loop {
                let session = self.session(&mut backoff, &mut pace, &mut tells);
                let Err(error) = session.await else {
                    continue;
                };
                let delay = backoff.next_delay(0.0);
                let wait = short(delay);
                warn!("docker: {error}; the routes of containers stay, asking again in {wait}");
                self.registry.failed(Provider::Docker, error.to_string());
                tells = true;
                tokio::time::sleep(delay).await;
            }
        };
        stop.run_until_cancelled(follow).await;
    }

    /// From the first event to the last; ends well where the engine only ended its events.
    async fn session(
        &self,
        backoff: &mut Backoff,
        pace: &mut Pace,
        tells: &mut bool,
    ) -> Result<(), EngineError> {
        let begun = Instant::now();
        let mut events = self.engine.events()?;
        events.opened().await?;
        self.read(pace).await?;
        if std::mem::take(tells) {
            let routes = self.registry.read(|pool| pool.counts(Provider::Docker));
            let (routes, took) = (routes.active, short(begun.elapsed()));
            info!(
                json.routes = routes,
                "docker: connected, {routes} routes in {took}"
            );
            start::tell_if_none(
                &self.registry,
                "docker",
                "label containers with mc-router.host",
            );
        }
        let (begun, mut steady) = (Instant::now(), Some(Instant::now() + STEADY));
        let mut ticks = interval_at(tokio::time::Instant::now() + LIST_INTERVAL, LIST_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut again = None;
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Ok(()) => again = Some(Instant::now() + ECHO),
                    // Proxies end what was silent for long.
                    Err(error) if begun.elapsed() >= LIST_INTERVAL => {
                        debug!("docker: {error}");
                        return Ok(());
                    }
                    Err(error) => return Err(error),
                },
                () = at(again) => again = None,
                () = at(steady) => {
                    backoff.reset();
                    steady = None;
                    continue;
                }
                _ = ticks.tick() => {}
            }
            sleep_until(pace.due(Instant::now()).into()).await;
            self.read(pace).await?;
        }
    }

    /// Lists the containers and swaps their routes.
    async fn read(&self, pace: &mut Pace) -> Result<(), EngineError> {
        let begin = Instant::now();
        let offers = offers(&self.engine, &self.defaults).await?;
        let changes = self.registry.replace(Provider::Docker, offers);
        log_changes(&changes);
        self.servers.changed(&changes, self.starters);
        let end = Instant::now();
        pace.read(end, end - begin);
        debug!(took = short(end - begin), "docker: containers listed");
        Ok(())
    }
}

/// What the labels of the engine's containers ask for at this moment.
///
/// # Errors
/// [`EngineError`].
pub async fn offers(engine: &Engine, defaults: &Defaults) -> Result<Vec<Offer>, EngineError> {
    let mut seen = engine.list().await?;
    complete(engine, &mut seen).await?;
    let count = seen.len();
    if count > CONTAINERS_MAX {
        warn!("docker: of {count} containers, {CONTAINERS_MAX} are looked at");
    }
    Ok(labels::offers(seen, defaults))
}

/// Looks for the aliases that lists do not have, where a label names one.
async fn complete(engine: &Engine, seen: &mut [Seen]) -> Result<(), EngineError> {
    let lacking = seen
        .iter_mut()
        .filter(|container| container.lacks_aliases());
    for container in lacking.take(INSPECTED_MAX) {
        match engine.inspect(&container.name).await {
            Ok(inspected) => container.networks = inspected.networks,
            // It has gone meanwhile, and there is an event of that.
            Err(EngineError::Refused { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Waits until `at`; for nothing where there is none.
async fn at(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn log_changes(changes: &Changes) {
    let hosts = &changes.hosts;
    for change in hosts.iter().take(LINES_MAX) {
        match change {
            Change::Add(host, route) => tell('+', host, route, &format!("→ {}", arrow(route))),
            Change::Remove(host, route) => tell('-', host, route, &format!("→ {}", arrow(route))),
            Change::Change(host, old, new) if old.backend == new.backend => {
                tell('~', host, new, &format!("is {:?}", new.state));
            }
            Change::Change(host, _, new) => tell('~', host, new, &format!("→ {}", arrow(new))),
        }
    }
    if let Some(more @ 1..) = hosts.len().checked_sub(LINES_MAX) {
        info!("docker: and {more} more route changes");
    }
    if changes.default_changed() {
        info!("docker: hosts without a route have another one");
    }
    for (name, label) in changes.ignored.iter().take(LINES_MAX) {
        let (name, IgnoredSetting { column, reason }) = (Container::name_of(name), label);
        warn!("docker: container {name:?}: label {column}: {reason}");
    }
    for container in changes.excluded.iter().take(LINES_MAX) {
        let name = Container::name_of(&container.name);
        warn!(
            "docker: container {name:?} is not routed: {}",
            container.reason
        );
    }
    for shadowed in changes.shadowed.iter().take(LINES_MAX) {
        let name = shadowed.loser.server_name().unwrap_or_default();
        warn!("docker: container {name:?} is not routed: {shadowed}");
    }
}

fn tell(sign: char, host: &Host, route: &Route, what: &str) {
    let (name, backend) = (route.server_name().unwrap_or_default(), &route.backend);
    info!(json.host = %host, json.name = name, json.backend = %backend, "docker route {sign}: {host} {what}");
}

fn arrow(route: &Route) -> String {
    let name = route.server_name().unwrap_or_default();
    format!("{} ({name}, {:?})", route.backend, route.state)
}
