//! Who starts servers: the server-manager that knows them by name, or a webhook.

use std::sync::Arc;
use std::time::Duration;

use super::client::ManagerClient;
use super::reply::{PollReply, Polled, StartReply};
use super::scaler::ScalerClient;
use super::wanted::Wanted;

/// One of the two ways to ask for a start.
#[derive(Debug)]
pub enum Manager {
    /// Starts and tells how it goes.
    Rest(Box<ManagerClient>),
    /// Starts, and says no more. It is never polled: its limits have no interval.
    Webhook(Arc<ScalerClient>),
}

impl Manager {
    /// Asks for the start, within `limit`.
    pub async fn start(&self, wanted: &Wanted, limit: Duration) -> StartReply {
        match self {
            Self::Rest(client) => client.start(&wanted.server, limit).await,
            Self::Webhook(client) => client.up(wanted, limit).await,
        }
    }

    /// Asks how it goes, within `limit`; see [`ManagerClient::poll`].
    pub async fn poll(&self, server: &str, wait: Option<Duration>, limit: Duration) -> Polled {
        match self {
            Self::Rest(client) => client.poll(server, wait, limit).await,
            Self::Webhook(_) => PollReply::NotYet.into(),
        }
    }
}
