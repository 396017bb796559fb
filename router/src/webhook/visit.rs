//! One client, as a webhook is told of it: it connects, or fails to; and leaves if it had connected.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use super::Notifier;
use super::event::{Event, EventKind, Player, Status, backend_of, failure};
use crate::addr::BackendAddr;
use crate::connection::Served;
use crate::error::ConnectionError;
use crate::protocol::greeting::Greeting;
use crate::protocol::legacy::LegacyPing;
use crate::routes::Route;
use crate::shared_str::SharedStr;

/// What is told of one client. Dropped, it tells that the client has left, if it was connected.
#[derive(Debug)]
pub(crate) struct Visit {
    notifier: Arc<Notifier>,
    client: SocketAddr,
    server: SharedStr,
    player: Option<Arc<Player>>,
    /// What it talks to, or has talked to.
    backend: Option<SharedStr>,
    connected: bool,
}

impl Visit {
    /// A visit that begins with `greeting`; nothing is told yet.
    pub(crate) fn new(notifier: &Arc<Notifier>, client: SocketAddr, greeting: &Greeting) -> Self {
        let (address, player) = match greeting {
            Greeting::Login {
                handshake,
                player,
                uuid,
            } => {
                let player = Player {
                    name: player.clone(),
                    uuid: uuid.unwrap_or_default(),
                };
                (handshake.address.as_str(), Some(Arc::new(player)))
            }
            Greeting::Status { handshake, .. } => (handshake.address.as_str(), None),
            Greeting::Legacy(LegacyPing::V1_6 { address, .. }) => (address.as_str(), None),
            Greeting::Legacy(LegacyPing::Beta | LegacyPing::V1_4) => ("", None),
        };
        Self {
            notifier: Arc::clone(notifier),
            client,
            server: notifier.names.key(address).into(),
            player,
            backend: None,
            connected: false,
        }
    }

    /// The client talks to `backend` now, or has been told its words.
    pub(crate) fn reached(&mut self, backend: &BackendAddr) {
        self.backend = Some(backend.shared());
        let event = self.event(EventKind::Connect, Status::Success, None);
        // Nobody is told the end of what was not told to have begun.
        self.connected = self.notifier.tell(event);
    }

    /// It came to `outcome`, on this `route`, if there is one.
    pub(crate) fn ended(
        &mut self,
        route: Option<&Route>,
        outcome: &Result<Served, ConnectionError>,
    ) {
        if self.backend.is_some() {
            return;
        }
        let failed = match outcome {
            Err(error) => failure(error),
            Ok(Served::Pinged(_)) if route.is_none() => failure(&ConnectionError::UnknownHost),
            Ok(Served::Pinged(_)) => {
                let status = Status::FailedBackendConnection;
                Some((status, "the server does not answer".to_owned()))
            }
            Ok(Served::Joined(_) | Served::Transferred) => None,
        };
        if let Some((status, error)) = failed {
            if status == Status::FailedBackendConnection {
                self.backend = route.map(backend_of);
            }
            let event = self.event(EventKind::Connect, status, Some(error));
            self.notifier.tell(event);
        }
    }

    fn event(&self, kind: EventKind, status: Status, error: Option<String>) -> Event {
        Event {
            kind,
            at: SystemTime::now(),
            status,
            client: Some(self.client),
            server: self.server.clone(),
            player: self.player.clone(),
            backend: self.backend.clone(),
            error,
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if self.connected {
            let event = self.event(EventKind::Disconnect, Status::Success, None);
            self.notifier.tell(event);
        }
    }
}
