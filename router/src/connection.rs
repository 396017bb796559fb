//! One client's way through the router, told in order.
//!
//! greeting → look up → status: answer, from the backend's own; login: dial, else wake and dial →
//! relay.
//! Nothing here waits for Postgres, the API or metrics.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug};

use crate::answer;
use crate::closing::Closing;
use crate::config::Motd;
use crate::dial::{dial, dial_until_ready, is_out_of_files};
use crate::error::ConnectionError;
use crate::greet::greet;
use crate::protocol::greeting::Greeting;
use crate::protocol::handshake::Handshake;
use crate::protocol::legacy::LegacyPing;
use crate::relay::counters::Counters;
use crate::relay::{End, Relayed, Side, relay};
use crate::routes::registry::Registry;
use crate::routes::{Route, StateHint};
use crate::status::answer::overlay;
use crate::status::cache::StatusCache;
use crate::status::live::Question;
use crate::wake::{WakeError, Waker};

/// Longest dial for a status of a server that is said not to run: its player list must not hang.
pub const HINTED_DIAL_TIMEOUT: Duration = Duration::from_millis(300);
/// Most bytes a waiting client may send ahead; reading stops there.
pub const EARLY_BYTES_MAX: usize = 32 * 1024;
/// Text of a status ping for a host without a route.
const UNKNOWN_HOST_TEXT: &str = "§7There is no server of this name here.";
/// Text of a status ping whose backend is away and cannot be woken.
const UNREACHABLE_TEXT: &str = "§7This server is not reachable at the moment.";

/// Text of a status ping while there is no place for anybody.
const FULL_TEXT: &str = "§7Too many players are connected here.";

/// What every connection shares.
#[derive(Debug)]
pub struct Services {
    /// The routes.
    pub registry: Arc<Registry>,
    /// Starts sleeping servers, if there is a server-manager.
    pub waker: Option<Arc<Waker>>,
    /// What the server list shows.
    pub status: Arc<StatusCache>,
    /// Status texts.
    pub motd: Motd,
    /// What sessions move.
    pub counters: Arc<Counters>,
    /// Limit of one dial.
    pub dial_timeout: Duration,
    /// Cancelled when the router begins to stop.
    pub stop: CancellationToken,
}

/// What a connection came to.
#[derive(Debug)]
pub enum Served {
    /// A player's session.
    Joined(Relayed),
    /// A status ping; `None` when the router answered it itself.
    Pinged(Option<Relayed>),
}

/// Where the first part of the way leads.
enum Way {
    /// On to this backend, which has the player's greeting.
    Session(TcpStream),
    /// Nowhere: it was a ping, and it is done.
    Pinged(Option<Relayed>),
}

/// Serves one client from its first byte to its last.
///
/// # Errors
/// Why a login did not reach its server; the player has been told.
pub async fn serve(
    client: &mut TcpStream,
    services: &Services,
    closing: &mut Closing,
) -> Result<Served, ConnectionError> {
    let span = closing.span();
    // What greeting, waking and dialling take is given back before the long part.
    let way = Box::pin(services.find_way(client, closing).instrument(span.clone()));
    let mut backend = match way.await? {
        Way::Session(backend) => backend,
        Way::Pinged(session) => return Ok(Served::Pinged(session)),
    };
    drop(span);
    let session = relay(client, &mut backend, &services.counters).await;
    drop(backend);
    Box::pin(part(client, session)).await
}

/// Tells a client that there is no place for it.
///
/// # Errors
/// [`ConnectionError::Full`] for a login; the player has been told.
pub async fn refuse(
    client: &mut TcpStream,
    closing: &mut Closing,
) -> Result<Served, ConnectionError> {
    let (greeting, raw) = greet(client).await?;
    match greeting {
        Greeting::Legacy(ping) => answer::legacy_ping(client, &ping, FULL_TEXT).await?,
        Greeting::Status { handshake, length } => {
            let early = raw.get(length..).unwrap_or_default();
            answer::status(client, early, handshake.protocol, FULL_TEXT).await?;
        }
        Greeting::Login { player, .. } => {
            closing.player(&player);
            tell(client, &ConnectionError::Full).await;
            return Err(ConnectionError::Full);
        }
    }
    Ok(Served::Pinged(None))
}

/// What is owed to a player whose server has gone.
async fn part(client: &mut TcpStream, session: Relayed) -> Result<Served, ConnectionError> {
    match session.end {
        End::Failed(Side::Backend, error) if session.down == 0 => {
            let error = ConnectionError::BackendClosed(error);
            tell(client, &error).await;
            return Err(error);
        }
        _ if session.client_open => {
            if let Err(error) = answer::farewell(client).await {
                debug!(%error, "farewell");
            }
        }
        _ => {}
    }
    Ok(Served::Joined(session))
}

async fn tell(client: &mut TcpStream, error: &ConnectionError) {
    if let Some(text) = error.player_message()
        && let Err(error) = answer::disconnect(client, text).await
    {
        debug!(%error, "the player could not be told");
    }
}

impl Services {
    async fn find_way(
        &self,
        client: &mut TcpStream,
        closing: &mut Closing,
    ) -> Result<Way, ConnectionError> {
        let (greeting, mut raw) = greet(client).await?;
        match greeting {
            Greeting::Legacy(ping) => self.legacy(client, &ping, &raw, closing).await,
            Greeting::Status { handshake, length } => {
                self.status(client, &handshake, &raw, length, closing).await
            }
            Greeting::Login { handshake, player } => {
                closing.player(&player);
                let outcome = self.login(client, &handshake, &mut raw, closing).await;
                if let Err(error) = &outcome {
                    tell(client, error).await;
                }
                outcome
            }
        }
    }

    async fn login(
        &self,
        client: &TcpStream,
        handshake: &Handshake,
        raw: &mut Vec<u8>,
        closing: &mut Closing,
    ) -> Result<Way, ConnectionError> {
        let route = self
            .find(&handshake.address, closing)
            .ok_or(ConnectionError::UnknownHost)?;
        let mut backend = self.reach(client, &route, raw).await?;
        self.status.reached(&route.key());
        if let Ok(address) = backend.peer_addr() {
            closing.backend(address);
        }
        backend
            .write_all(raw)
            .await
            .map_err(ConnectionError::BackendClosed)?;
        Ok(Way::Session(backend))
    }

    /// Dials first and wakes second, so that a dead server-manager takes no running server down.
    async fn reach(
        &self,
        client: &TcpStream,
        route: &Route,
        raw: &mut Vec<u8>,
    ) -> Result<TcpStream, ConnectionError> {
        let unreachable = |error| ConnectionError::Unreachable {
            backend: route.backend.clone(),
            error,
        };
        let (Some(waker), Some(server)) = (&self.waker, &route.server) else {
            return dial(&route.backend, self.dial_timeout)
                .await
                .map_err(unreachable);
        };
        if !route.state.is_not_running() {
            match dial(&route.backend, self.dial_timeout).await {
                Ok(backend) => return Ok(backend),
                // That this process has too many files open says nothing about the server.
                Err(error) if is_out_of_files(&error) => return Err(unreachable(error)),
                Err(error) => debug!(%error, "dial failed; waking"),
            }
        }
        tokio::select! {
            backend = self.wake(waker, server, route) => backend,
            () = left(client, raw) => Err(ConnectionError::ClientLeft),
            () = self.stop.cancelled() => Err(ConnectionError::Stopping),
        }
    }

    async fn wake(
        &self,
        waker: &Arc<Waker>,
        server: &Arc<str>,
        route: &Route,
    ) -> Result<TcpStream, ConnectionError> {
        let address = match waker.join(server).outcome().await {
            Ok(address) => address.unwrap_or_else(|| route.backend.clone()),
            // The table may be wrong about a server it calls stopped, and then nobody has dialled.
            Err(
                error @ (WakeError::Broken(_) | WakeError::Denied(_) | WakeError::TimedOut { .. }),
            ) if route.state.is_not_running() => {
                return dial(&route.backend, self.dial_timeout)
                    .await
                    .map_err(|_| error.into());
            }
            Err(error) => return Err(error.into()),
        };
        dial_until_ready(&address, self.dial_timeout)
            .await
            .map_err(|error| ConnectionError::NotReady {
                backend: address,
                error,
            })
    }

    async fn status(
        &self,
        client: &mut TcpStream,
        handshake: &Handshake,
        raw: &[u8],
        length: usize,
        closing: &mut Closing,
    ) -> Result<Way, ConnectionError> {
        let route = self.find(&handshake.address, closing);
        let early = raw.get(length..).unwrap_or_default();
        let key = route.as_ref().map(|route| route.key());
        let (mut live, mut known) = (None, None);
        if let (Some(route), Some(key)) = (&route, &key) {
            live = self.status.get(self.question(route, key, handshake)).await;
            if live.is_none() {
                known = self.status.last_known(key, handshake.protocol);
            }
        }
        if let Some(live) = live {
            answer::status_frame(client, early, live.frame()).await?;
        } else {
            let text = serde_json::json!({ "text": self.status_text(route.as_deref()) });
            let frame = overlay(known.as_ref(), handshake.protocol, &text, &[]);
            answer::status_frame(client, early, &frame).await?;
        }
        Ok(Way::Pinged(None))
    }

    fn question<'a>(
        &self,
        route: &'a Route,
        key: &'a Arc<str>,
        handshake: &'a Handshake,
    ) -> Question<'a> {
        let state = self.state(route);
        Question {
            key,
            backend: &route.backend,
            address: &handshake.address,
            protocol: handshake.protocol,
            state,
            dial_limit: self.ping_limit(state),
        }
    }

    /// How long the dial of a ping may take.
    fn ping_limit(&self, state: StateHint) -> Duration {
        if state.is_not_running() {
            self.dial_timeout.min(HINTED_DIAL_TIMEOUT)
        } else {
            self.dial_timeout
        }
    }

    async fn legacy(
        &self,
        client: &mut TcpStream,
        ping: &LegacyPing,
        raw: &[u8],
        closing: &mut Closing,
    ) -> Result<Way, ConnectionError> {
        let route = match ping {
            LegacyPing::V1_6 { address, .. } => self.find(address, closing),
            LegacyPing::Beta | LegacyPing::V1_4 => {
                self.registry.table().default_route().map(Arc::clone)
            }
        };
        if let Some(session) = self.relay_ping(client, route.as_deref(), raw).await {
            return Ok(Way::Pinged(Some(session)));
        }
        answer::legacy_ping(client, ping, self.status_text(route.as_deref())).await?;
        Ok(Way::Pinged(None))
    }

    /// Relays a ping from before 1.7 to its backend if that is up and answers. Never wakes anything.
    async fn relay_ping(
        &self,
        client: &mut TcpStream,
        route: Option<&Route>,
        raw: &[u8],
    ) -> Option<Relayed> {
        let route = route?;
        let limit = self.ping_limit(self.state(route));
        let mut backend = dial(&route.backend, limit).await.ok()?;
        backend.write_all(raw).await.ok()?;
        let session = relay(client, &mut backend, &self.counters).await;
        let silent = matches!(session.end, End::Failed(Side::Backend, _)) && session.down == 0;
        (!silent).then_some(session)
    }

    fn find(&self, address: &str, closing: &mut Closing) -> Option<Arc<Route>> {
        let route = self.registry.table().lookup(address).map(Arc::clone)?;
        closing.route(&route);
        Some(route)
    }

    fn is_waking(&self, route: &Route) -> bool {
        let (Some(waker), Some(server)) = (&self.waker, &route.server) else {
            return false;
        };
        waker.is_waking(server)
    }

    /// What is said of the server, and known of it here.
    fn state(&self, route: &Route) -> StateHint {
        if self.is_waking(route) {
            StateHint::Starting
        } else {
            route.state
        }
    }

    fn status_text(&self, route: Option<&Route>) -> &str {
        let Some(route) = route else {
            return UNKNOWN_HOST_TEXT;
        };
        let wakeable = self.waker.is_some() && route.server.is_some();
        if self.is_waking(route) || route.state == StateHint::Starting {
            &self.motd.loading
        } else if wakeable || route.state.is_not_running() {
            &self.motd.asleep
        } else {
            UNREACHABLE_TEXT
        }
    }
}

/// Ends when the client has closed its connection. What it sends meanwhile is kept for the
/// backend; past [`EARLY_BYTES_MAX`] it is left in the socket, and the client is not watched.
async fn left(client: &TcpStream, raw: &mut Vec<u8>) {
    while raw.len() < EARLY_BYTES_MAX {
        if client.readable().await.is_err() {
            return;
        }
        match client.try_read_buf(raw) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
    std::future::pending::<()>().await;
}
