//! Starts containers for players, and tells how they are.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tracing::warn;

use super::engine::{Engine, EngineError};
use super::labels::{Life, Seen};
use crate::config::values::short;
use crate::routes::Container;
use crate::wake::reply::{PollReply, Polled, StartReply};

/// Starts the containers of one engine, which go by the [`Route::key`](crate::routes::Route::key) of
/// their routes.
#[derive(Debug)]
pub struct Control {
    engine: Arc<Engine>,
}

impl Control {
    /// Of the containers of `engine`.
    #[must_use]
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Starts a container, or has it go on, within `limit`.
    pub async fn start(&self, key: &str, limit: Duration) -> StartReply {
        let name = Container::name_of(key);
        match timeout(limit, self.start_now(name)).await {
            Ok(Ok(())) => StartReply::Accepted,
            Ok(Err(error)) => {
                warn!("docker: container {name:?} could not be started: {error}");
                match status(&error) {
                    Some(status @ (400..=407 | 410..=428)) => StartReply::Denied(status),
                    _ => StartReply::Broken(error.to_string()),
                }
            }
            Err(_) => StartReply::Broken(format!("it did not start within {}", short(limit))),
        }
    }

    async fn start_now(&self, name: &str) -> Result<(), EngineError> {
        match self.engine.inspect(name).await?.life {
            Life::Paused => self.engine.unpause(name).await,
            _ => self.engine.start(name).await,
        }
    }

    /// Asks how it is by now, and where, within `limit`.
    pub async fn poll(&self, key: &str, limit: Duration) -> Polled {
        let inspected = timeout(limit, self.engine.inspect(Container::name_of(key)));
        let reply = match inspected.await {
            Ok(Ok(seen)) => progress(&seen),
            Ok(Err(error)) => match status(&error) {
                Some(status @ (401 | 403 | 404)) => PollReply::Denied(status),
                _ => PollReply::Broken(error.to_string()),
            },
            Err(_) => PollReply::Broken("the engine did not answer in time".to_owned()),
        };
        reply.into()
    }
}

fn status(error: &EngineError) -> Option<u16> {
    match error {
        EngineError::Refused { status, .. } => Some(*status),
        EngineError::TimedOut { .. } | EngineError::Broken(_) => None,
    }
}

/// What a container that was started has come to. Its address is that of this start.
fn progress(seen: &Seen) -> PollReply {
    match (seen.life, seen.address()) {
        (Life::Running, Ok(Some(address))) => PollReply::Running(Some(address)),
        (Life::Running, Ok(None)) => PollReply::Broken("it has no address yet".to_owned()),
        (Life::Running, Err(reason)) => PollReply::Broken(reason),
        (Life::Paused | Life::Restarting | Life::Stopping, _) => PollReply::NotYet,
        (Life::Stopped, _) => PollReply::Failed("exited".to_owned()),
        (Life::Gone, _) => PollReply::Failed("removed".to_owned()),
    }
}
