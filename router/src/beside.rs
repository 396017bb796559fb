//! What starts servers, what stops them, and what follows Docker: built here, run beside the players.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, ScalerConfig};
use crate::http_client::HttpError;
use crate::routes::registry::Registry;
use crate::run::StartError;
use crate::servers::{Servers, Starters};
use crate::wake::Waker;
use crate::wake::down::{Down, Stopper};
use crate::wake::in_use::InUse;
use crate::wake::machine::Limits;
use crate::wake::manager::Manager;
use crate::wake::scaler::ScalerClient;

/// What goes on beside the players, from what they share.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    pub(crate) downs: Vec<Down>,
    #[cfg(feature = "docker")]
    keeper: Option<crate::docker::keeper::Keeper>,
}

impl Beside {
    /// Prepares to follow Docker, if that is asked for; comes with who starts its containers.
    #[cfg(feature = "docker")]
    pub(crate) fn docker(
        &mut self,
        config: &Config,
        registry: &Arc<Registry>,
        servers: &Arc<Servers>,
        stop: &CancellationToken,
    ) -> Result<Option<Arc<Waker>>, StartError> {
        let Some(docker) = &config.docker else {
            return Ok(None);
        };
        let parts = crate::docker::Parts::new(docker, registry, servers, starters(config), stop)?;
        self.downs.push(parts.down);
        self.keeper = Some(parts.keeper);
        Ok(Some(parts.waker))
    }

    #[cfg(not(feature = "docker"))]
    #[expect(
        clippy::unnecessary_wraps,
        clippy::unused_self,
        reason = "as with Docker"
    )]
    pub(crate) fn docker(
        &mut self,
        _: &Config,
        _: &Arc<Registry>,
        _: &Arc<Servers>,
        _: &CancellationToken,
    ) -> Result<Option<Arc<Waker>>, StartError> {
        Ok(None)
    }

    /// Has all that stop servers know the same of who plays where.
    pub(crate) fn in_use(&mut self) -> Arc<InUse> {
        let Some(first) = self.downs.first() else {
            return Arc::default();
        };
        let in_use = Arc::clone(&first.in_use);
        for down in &mut self.downs {
            down.in_use = Arc::clone(&in_use);
        }
        in_use
    }

    pub(crate) fn start(
        self,
        tasks: &TaskTracker,
        stop: &CancellationToken,
        end: &CancellationToken,
    ) {
        for down in self.downs {
            tasks.spawn(down.run(stop.clone()));
        }
        #[cfg(feature = "docker")]
        self.keeper
            .map(|keeper| tasks.spawn(keeper.run(end.clone())));
        #[cfg(not(feature = "docker"))]
        let _ = end;
    }
}

/// What starts servers by webhook, and what stops them again.
pub(crate) fn scale(
    scaler: &ScalerConfig,
    config: &Config,
    registry: &Arc<Registry>,
    servers: &Arc<Servers>,
    stop: &CancellationToken,
) -> Result<(Arc<Waker>, Down), HttpError> {
    let client = Arc::new(ScalerClient::new(scaler)?);
    let limits = Limits {
        poll_interval: None,
        timeout: scaler.wake_timeout,
    };
    let waker = Waker::new(
        Manager::Webhook(Arc::clone(&client)),
        limits,
        Arc::clone(registry),
        Arc::clone(servers),
        stop.clone(),
    );
    let down = Down {
        stopper: Stopper::Webhook(client),
        waker: Arc::clone(&waker),
        registry: Arc::clone(registry),
        servers: Arc::clone(servers),
        in_use: Arc::new(InUse::for_all()),
        starters: starters(config),
    };
    Ok((waker, down))
}

/// What can start servers.
pub(crate) fn starters(config: &Config) -> Starters {
    Starters {
        manager: config.waker.is_some(),
        webhook: config.scaler.is_some(),
    }
}
