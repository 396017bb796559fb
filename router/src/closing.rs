//! The lines that say what a connection came to: one when a player has joined, and one when it ends, however.
//!
//! What clients say of themselves is a [`word`] there.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{Span, debug, error, field::Empty, field::display, info, info_span};

use crate::addr::BackendAddr;
use crate::admit::Place;
use crate::config::values::short;
use crate::connection::Served;
use crate::error::ConnectionError;
use crate::flood::Flood;
use crate::host::{Host, lookup_key, undecorated};
use crate::log::word;
use crate::protocol::greeting::Greeting;
use crate::proxy_protocol::Ends;
use crate::routes::Route;
use crate::wake::in_use::Using;
use crate::webhook::Notifier;
use crate::webhook::visit::Visit;

/// What is known of a connection. Dropped before it is finished, it says that the connection was
/// cut.
#[derive(Debug)]
pub struct Closing {
    peer: SocketAddr,
    /// What the client has connected to, where a proxy says so; takes no room where none does.
    destination: Option<Box<SocketAddr>>,
    begin: Instant,
    route: Option<Arc<Route>>,
    /// The host that was asked for, where the route has another name, or there is none.
    asked: Option<Box<str>>,
    player: Option<Box<str>>,
    backend: Option<SocketAddr>,
    /// What a webhook is told, if there is one.
    visit: Option<Box<Visit>>,
    /// That the player is at an address, where that matters.
    using: Option<Box<Using>>,
    said: bool,
    /// Its place among the connections of its address, where that came with a header.
    place: Place,
}

impl Closing {
    /// A connection from `peer` that begins now.
    #[must_use]
    pub fn new(peer: SocketAddr) -> Self {
        Self {
            peer: SocketAddr::new(peer.ip().to_canonical(), peer.port()),
            destination: None,
            begin: Instant::now(),
            route: None,
            asked: None,
            player: None,
            backend: None,
            visit: None,
            using: None,
            said: false,
            place: Place::uncounted(),
        }
    }

    /// Where the client connects from; as a trusted proxy says, if one stands before it.
    #[must_use]
    pub fn peer(&self) -> IpAddr {
        self.peer.ip()
    }

    /// How long it has been connected.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.begin.elapsed()
    }

    /// Takes note of whose connection it is, as the proxy says that has made it.
    pub fn proxied(&mut self, ends: Ends) {
        self.peer = ends.source;
        self.destination = Some(Box::new(ends.destination));
    }

    /// From where to where the client connects; it was accepted at `local`.
    #[must_use]
    pub fn ends(&self, local: SocketAddr) -> Ends {
        Ends {
            source: self.peer,
            destination: self.destination.as_deref().copied().unwrap_or(local),
        }
    }

    /// Keeps its place until it ends.
    pub fn place(&mut self, place: Place) {
        self.place = place;
    }

    /// The route, once it has been found.
    #[must_use]
    pub fn found(&self) -> Option<&Arc<Route>> {
        self.route.as_ref()
    }

    /// A span with what is known.
    #[must_use]
    pub fn span(&self) -> Span {
        let peer = self.peer;
        let span =
            info_span!("conn", %peer, host = Empty, name = Empty, player = Empty, backend = Empty);
        self.tell_host(&span);
        self.tell_route(&span);
        self.tell_player(&span);
        self.tell_backend(&span);
        span
    }

    /// Takes note of the host that was asked for and the route found for it, here and in the current span.
    pub fn asked(&mut self, address: &str, route: Option<&Arc<Route>>) {
        let named = route.and_then(|route| route.host.as_ref());
        if named.is_none_or(|host| host.as_str() != lookup_key(address)) {
            self.asked = Some(word(undecorated(address)).into());
        }
        self.route = route.map(Arc::clone);
        let span = Span::current();
        self.tell_host(&span);
        self.tell_route(&span);
    }

    /// Takes note of what a login says that is not looked up.
    pub fn greeted(&mut self, greeting: &Greeting) {
        if let Greeting::Login {
            handshake, player, ..
        } = greeting
        {
            self.asked(&handshake.address, None);
            self.player(player);
        }
    }

    /// Takes note of the player's name, here and in the current span.
    pub fn player(&mut self, name: &str) {
        self.player = Some(name.into());
        self.tell_player(&Span::current());
    }

    /// Takes note of the backend's address, here and in the current span.
    pub fn backend(&mut self, address: SocketAddr) {
        self.backend = Some(address);
        self.tell_backend(&Span::current());
    }

    /// Has `notifier` told how it goes on.
    pub fn notify(&mut self, notifier: &Arc<Notifier>, greeting: &Greeting) {
        self.visit = Some(Box::new(Visit::new(notifier, self.peer, greeting)));
    }

    /// Keeps that the player is at an address until the connection has ended.
    pub fn keep(&mut self, using: Option<Using>) {
        self.using = using.map(Box::new);
    }

    /// Takes note that the client talks to `backend`, or has been told its words.
    pub fn reached(&mut self, backend: &BackendAddr) {
        if let Some(visit) = &mut self.visit {
            visit.reached(backend);
        }
    }

    fn tell_host(&self, span: &Span) {
        let named = || self.route.as_ref()?.host.as_ref().map(Host::as_str);
        if let Some(host) = self.asked.as_deref().or_else(named) {
            span.record("host", display(host));
        }
    }

    fn tell_route(&self, span: &Span) {
        if let Some(server) = self.route.as_ref().and_then(|route| route.server()) {
            span.record("name", display(server.escape_debug()));
        }
    }

    fn tell_player(&self, span: &Span) {
        if let Some(player) = &self.player {
            span.record("player", display(word(player)));
        }
    }

    fn tell_backend(&self, span: &Span) {
        if let Some(backend) = self.backend {
            span.record("backend", display(backend));
        }
    }

    /// Says that the player has joined the backend, in the current span, and whether after a wait.
    pub fn joined(&self, waited: bool, forwarded: bool) {
        let (took, millis) = self.took();
        let how = if forwarded {
            "joined: forwarded"
        } else {
            "joined"
        };
        info!(json.took_ms = millis, took, waited, "{how}");
    }

    /// Says how it ended: players' connections at info, pings and port scans at debug. Of those that
    /// came to nothing there are only as many lines as `flood` allows.
    pub fn finish(&mut self, outcome: &Result<Served, ConnectionError>, flood: &Arc<Flood>) {
        self.said = true;
        if let Some(visit) = &mut self.visit {
            visit.ended(self.route.as_deref(), outcome);
        }
        let _span = self.span().entered();
        let (took, millis) = self.took();
        match outcome {
            Ok(Served::Joined(session)) => {
                let (up, down, end) = (session.up, session.down, session.end.kind());
                info!(
                    json.took_ms = millis,
                    end,
                    up_bytes = up,
                    down_bytes = down,
                    took,
                    "closed"
                );
            }
            Ok(Served::Pinged(Some(session))) => {
                let (up, down, end) = (session.up, session.down, session.end.kind());
                let text = "closed: ping relayed";
                debug!(
                    json.took_ms = millis,
                    end,
                    up_bytes = up,
                    down_bytes = down,
                    took,
                    "{text}"
                );
            }
            Ok(Served::Transferred) => {
                let end = "transferred";
                info!(
                    json.took_ms = millis,
                    end, took, "closed: sent here once more"
                );
            }
            Ok(Served::Pinged(None)) => {
                let end = "answered";
                debug!(
                    json.took_ms = millis,
                    end, took, "closed: ping answered here"
                );
            }
            Err(
                error @ (ConnectionError::Greet(_)
                | ConnectionError::Io(_)
                | ConnectionError::Busy
                | ConnectionError::AddressBusy { .. }
                | ConnectionError::TooManyPings
                | ConnectionError::TurnedAway),
            ) => {
                debug!(json.took_ms = millis, end = error.kind(), %error, took, "closed");
            }
            Err(error) if flood.tells(error.kind()) => {
                let end = error.kind();
                info!(json.took_ms = millis, end, %error, took, "closed without a session");
            }
            Err(error) => {
                let end = error.kind();
                debug!(json.took_ms = millis, end, %error, took, "closed without a session");
            }
        }
    }

    /// How long it has lasted, for people, and in milliseconds.
    fn took(&self) -> (String, f64) {
        let took = self.age();
        // Microseconds are enough.
        let micros = took.as_secs_f64() * 1e6;
        (short(took), micros.round() / 1e3)
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        if self.said {
            return;
        }
        let _span = self.span().entered();
        let (took, millis) = self.took();
        if std::thread::panicking() {
            error!(
                json.took_ms = millis,
                end = "bug",
                took,
                "closed: a bug in the router, see above"
            );
        } else {
            info!(
                json.took_ms = millis,
                end = "cut",
                took,
                "closed: the router stopped"
            );
        }
    }
}
