//! Who starts servers: the server-manager that knows them by name, a webhook, or Docker.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::client::ManagerClient;
use super::reply::{PollReply, Polled, StartReply};
use super::scaler::ScalerClient;
use super::wanted::Wanted;
#[cfg(feature = "docker")]
use crate::docker::control::Control;

/// One of the ways to ask for a start.
#[derive(Debug)]
pub enum Manager {
    /// Starts and tells how it goes.
    Rest(Box<ManagerClient>),
    /// Starts, and says no more. It is never polled: its limits have no interval.
    Webhook(Arc<ScalerClient>),
    /// Starts containers, and tells how they are.
    #[cfg(feature = "docker")]
    Docker(Arc<Control>),
}

impl Manager {
    /// Asks for the start, within `limit`. `sent` is notified once somebody has been asked who may take long
    /// to answer.
    pub async fn start(&self, wanted: &Wanted, limit: Duration, sent: &Notify) -> StartReply {
        match self {
            Self::Rest(client) => client.start(&wanted.server, limit, sent).await,
            Self::Webhook(client) => client.up(wanted, limit, sent).await,
            #[cfg(feature = "docker")]
            Self::Docker(control) => control.start(&wanted.server, limit).await,
        }
    }

    /// Asks how it goes, within `limit`; see [`ManagerClient::poll`].
    pub async fn poll(&self, server: &str, wait: Option<Duration>, limit: Duration) -> Polled {
        match self {
            Self::Rest(client) => client.poll(server, wait, limit).await,
            Self::Webhook(_) => PollReply::NotYet.into(),
            #[cfg(feature = "docker")]
            Self::Docker(control) => control.poll(server, limit).await,
        }
    }
}
