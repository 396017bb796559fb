//! The way of a status ping: the server's own answer, from the cache or its backend; while it is
//! away, what it showed last with its state over it. Nothing here ever wakes a server.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::addr::BackendAddr;
use crate::answer;
use crate::closing::Closing;
use crate::connection::{Onward, Services};
use crate::dial::{dial, is_out_of_files};
use crate::error::ConnectionError;
use crate::greet::LEGACY_PAUSE;
use crate::health::word::Word;
use crate::protocol::handshake::Handshake;
use crate::protocol::legacy::LegacyPing;
use crate::relay::{End, Relayed, Side, relay};
use crate::routes::{Route, StateHint};
use crate::servers::state::Signal;
use crate::status::answer::overlay;
use crate::status::live::Question;
use crate::texts::Text;
use crate::texts::message::Message;

/// Longest dial for a status of a server that is said not to run: its player list must not hang.
const HINTED_DIAL_TIMEOUT: Duration = Duration::from_millis(300);
/// How long a server may take to answer a ping from before 1.7; the router answers then, for servers
/// that know no such pings. With the pause before, this is less than a second.
const LEGACY_ANSWER_TIMEOUT: Duration = Duration::from_millis(600);
const _: () = assert!(LEGACY_PAUSE.as_millis() + LEGACY_ANSWER_TIMEOUT.as_millis() < 1000);

impl Services {
    /// The route for what a client has asked for, which is taken note of.
    pub(crate) fn find(&self, address: &str, closing: &mut Closing) -> Option<Arc<Route>> {
        let route = self.registry.table().lookup(address).map(Cow::into_owned);
        closing.asked(address, route.as_ref());
        if let Some(route) = &route {
            self.health.interest(route);
        }
        route
    }

    /// Answers a status request; `early` is what came with its handshake.
    pub(crate) async fn status(
        &self,
        client: &mut TcpStream,
        handshake: &Handshake,
        early: &[u8],
        closing: &mut Closing,
    ) -> Result<Onward, ConnectionError> {
        let protocol = handshake.protocol;
        let Some(route) = self.find(&handshake.address, closing) else {
            let text = self.state_text(None).to_component();
            let frame = overlay(None, protocol, &text, &[]);
            answer::status_frame(client, early, &frame).await?;
            return Ok(Onward::Pinged(None));
        };
        let (key, backends) = (route.key(), self.shown(&route, closing.peer()));
        let state = self.state(&route);
        let live = self.status.get(Question {
            key: &key,
            backends: &backends,
            proxy: route.policy.proxy_protocol,
            address: &handshake.address,
            protocol,
            state,
            wakeable: self.target(&route).wakeable,
            dial_limit: self.ping_limit(state),
        });
        if let Some(live) = live.await {
            closing.reached(backends.first().unwrap_or(&route.backend));
            answer::status_from_afar(client, early, live.frame(), live.way()).await?;
        } else {
            let text = self.state_text(Some(&route)).to_component();
            // What a start would take is no promise to anybody before it has begun.
            let hover = self.render(Some(&route), Text::Hover, None, |fields| {
                fields.eta = fields.eta.filter(|_| fields.elapsed.is_some());
            });
            let hover = hover.to_legacy();
            let lines: Vec<_> = hover.lines().collect();
            let known = self.status.last_known(&key, protocol);
            let frame = overlay(known.as_ref(), protocol, &text, &lines);
            answer::status_frame(client, early, &frame).await?;
        }
        Ok(Onward::Pinged(None))
    }

    /// Relays a ping from before 1.7, or answers it.
    pub(crate) async fn legacy(
        &self,
        client: &mut TcpStream,
        ping: &LegacyPing,
        raw: &[u8],
        closing: &mut Closing,
    ) -> Result<Onward, ConnectionError> {
        let route = match ping {
            LegacyPing::V1_6 { address, .. } => self.find(address, closing),
            LegacyPing::Beta | LegacyPing::V1_4 => {
                let route = self.registry.table().default_route().map(Arc::clone);
                route.inspect(|route| self.health.interest(route))
            }
        };
        let asked = ping.asks(raw);
        let relayed = self.relay_ping(client, route.as_deref(), asked, closing);
        if let Some((session, backend)) = relayed.await {
            closing.reached(&backend);
            return Ok(Onward::Pinged(Some(session)));
        }
        let text = self.state_text(route.as_deref()).to_legacy();
        answer::legacy_ping(client, ping, &text).await?;
        Ok(Onward::Pinged(None))
    }

    /// Relays a ping from before 1.7 to its backend if that is up and answers.
    async fn relay_ping(
        &self,
        client: &mut TcpStream,
        route: Option<&Route>,
        asked: &[u8],
        closing: &Closing,
    ) -> Option<(Relayed, BackendAddr)> {
        let route = route?;
        let mut said = self.header(route, client, closing).ok()?;
        said.extend_from_slice(asked);
        let limit = self.ping_limit(self.state(route));
        let begun = Instant::now().into_std();
        let mut round = self.looks(route, closing.peer(), limit);
        let (mut backend, at) = loop {
            let Some((at, limit)) = round.next() else {
                let away = Signal::DialFailed { begun };
                self.servers.signal(&self.target(route), away);
                return None;
            };
            match dial(&at, limit).await {
                Ok(backend) => break (backend, at),
                Err(error) if is_out_of_files(&error) => return None,
                Err(error) => self.health.met(&at, Word::of_dial(&error)),
            }
        };
        backend.write_all(&said).await.ok()?;
        drop(said);
        // A server that knows no such pings waits for more, or hangs up.
        let mut first = [0];
        let answered = timeout(LEGACY_ANSWER_TIMEOUT, backend.peek(&mut first));
        let Ok(Ok(1..)) = answered.await else {
            return None;
        };
        let _counted = self.metrics.session(route, None);
        let session = relay(client, &mut backend, 0, &self.counters).await;
        let silent = matches!(session.end, End::Failed(Side::Backend, _)) && session.down == 0;
        (!silent).then_some((session, at))
    }

    /// How long the dial of a ping may take.
    fn ping_limit(&self, state: StateHint) -> Duration {
        if state.is_not_running() {
            self.dial_timeout.min(HINTED_DIAL_TIMEOUT)
        } else {
            self.dial_timeout
        }
    }

    /// What is said of the server, and known of it here.
    fn state(&self, route: &Route) -> StateHint {
        let waking = self.waker_of(route);
        if waking.is_some_and(|(waker, server)| waker.is_waking(&server)) {
            StateHint::Starting
        } else {
            route.state
        }
    }

    /// The text of a server that does not answer itself.
    fn state_text(&self, route: Option<&Route>) -> Message {
        let text = match route {
            None => Text::UnknownHost,
            Some(route) => {
                let seen = self.servers.snapshot(&self.target(route)).state;
                // It is known to be up, and yet has not answered this time.
                seen.text().unwrap_or(Text::Unreachable)
            }
        };
        self.render(route, text, None, |_| {})
    }
}
