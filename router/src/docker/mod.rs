//! Routes from the labels of Docker containers, which are started for players and stopped once nobody
//! plays there.
//!
//! What labels mean is decided in [`labels`]. [`engine`] is a thin shell around the engine's API, over
//! connections whose answers are bounded ([`link`]); [`keeper`] follows the engine and owns the routes;
//! [`control`] starts.

pub mod control;
pub mod engine;
pub mod keeper;
pub mod labels;
pub mod link;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::DockerConfig;
use crate::routes::offer::Provider;
use crate::routes::registry::Registry;
use crate::servers::{Servers, Starters};
use crate::wake::Waker;
use crate::wake::down::{Down, Stopper};
use crate::wake::in_use::InUse;
use crate::wake::machine::Limits;
use crate::wake::manager::Manager;
use control::Control;
use engine::{Engine, EngineError};
use keeper::Keeper;
use labels::Defaults;

/// Most time between two looks at a container that starts; the first ones come sooner.
pub const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// What labels lie over.
fn defaults(config: &DockerConfig, registry: &Registry) -> Defaults {
    Defaults {
        up: config.up,
        down: config.down,
        names: registry.names(),
        policy: Arc::clone(registry.defaults()),
    }
}

/// Gives `registry` the routes that containers have at this moment, without following the engine.
///
/// # Errors
/// [`EngineError`]; then nothing is changed.
pub async fn read_once(config: &DockerConfig, registry: &Registry) -> Result<(), EngineError> {
    let engine = Engine::new(config)?;
    let offers = keeper::offers(&engine, &defaults(config, registry)).await?;
    registry.replace(Provider::Docker, offers);
    Ok(())
}

/// What there is to one engine.
#[derive(Debug)]
pub struct Parts {
    /// Has its containers started.
    pub waker: Arc<Waker>,
    /// Has them stopped.
    pub down: Down,
    /// Follows it.
    pub keeper: Keeper,
}

impl Parts {
    /// Prepares everything and begins nothing. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// See [`Engine::new`].
    pub fn new(
        config: &DockerConfig,
        registry: &Arc<Registry>,
        servers: &Arc<Servers>,
        starters: Starters,
        stop: &CancellationToken,
    ) -> Result<Self, EngineError> {
        let engine = Arc::new(Engine::new(config)?);
        let control = Arc::new(Control::new(Arc::clone(&engine)));
        let limits = Limits {
            poll_interval: Some(POLL_INTERVAL),
            timeout: config.wake_timeout,
        };
        let waker = Waker::new(
            Manager::Docker(control),
            limits,
            Arc::clone(registry),
            Arc::clone(servers),
            stop.clone(),
        );
        let down = Down {
            stopper: Stopper::Docker(Arc::clone(&engine)),
            waker: Arc::clone(&waker),
            registry: Arc::clone(registry),
            servers: Arc::clone(servers),
            in_use: Arc::new(InUse::for_all()),
            starters,
        };
        let keeper = Keeper {
            engine,
            registry: Arc::clone(registry),
            servers: Arc::clone(servers),
            starters,
            defaults: defaults(config, registry),
        };
        Ok(Self {
            waker,
            down,
            keeper,
        })
    }
}
