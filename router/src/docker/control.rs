//! Starts containers for players, and stops them.
//!
//! A start waits for a stop of ours that is under way: the engine would say that the container runs, and then
//! it would not.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tracing::warn;

use super::engine::{Engine, EngineError};
use super::labels::{Life, Seen};
use crate::config::values::short;
use crate::routes::Container;
use crate::wake::reply::{PollReply, Polled, StartReply};

/// Starts and stops the containers of one engine.
#[derive(Debug)]
pub struct Control {
    engine: Arc<Engine>,
    /// The names of those that are being stopped; bounded by the routes.
    stopping: watch::Sender<HashSet<String>>,
}

/// A stop under way; it is over when this is dropped.
struct Stopping<'c>(&'c Control, &'c str);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        let Self(control, name) = *self;
        control.stopping.send_modify(|names| {
            names.remove(name);
        });
    }
}

impl Control {
    /// Of the containers of `engine`.
    #[must_use]
    pub fn new(engine: Arc<Engine>) -> Arc<Self> {
        let stopping = watch::Sender::default();
        Arc::new(Self { engine, stopping })
    }

    /// The names of the containers that are being stopped.
    #[must_use]
    pub fn stopping(&self) -> watch::Receiver<HashSet<String>> {
        self.stopping.subscribe()
    }

    /// Starts the container of this [`Route::key`](crate::routes::Route::key), or has it go on, within `limit`.
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
        let mut stopping = self.stopping.subscribe();
        // The sender is ours, so that there is an end of waiting.
        drop(stopping.wait_for(|names| !names.contains(name)).await);
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

    /// Stops a container, and comes back when it has ended.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn stop(&self, key: &str) -> Result<(), EngineError> {
        let name = Container::name_of(key);
        self.stopping.send_modify(|names| {
            names.insert(name.to_owned());
        });
        let _stopping = Stopping(self, name);
        self.engine.stop(name).await
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
