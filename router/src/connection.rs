//! One client's way through the router, told in order.
//!
//! greeting → look up → status: answer ([`crate::server_list`]); login: dial, else wake and hold
//! ([`crate::login`]) → relay.
//! Nothing here waits for Postgres, the API or metrics.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::instrument::Instrumented;
use tracing::{Instrument, debug};

use crate::addr::BackendAddr;
use crate::admit::limits::Wish;
use crate::admit::{Admission, Verdict};
use crate::answer;
use crate::closing::Closing;
use crate::config::Proxies;
use crate::error::ConnectionError;
use crate::flood::Flood;
use crate::greet::Opening;
use crate::health::Health;
use crate::health::word::Word;
use crate::hold::cookie::Signer;
use crate::host::Host;
use crate::login::{Login, LoginEnd};
use crate::metrics::{self, Metrics};
use crate::newer::Newer;
use crate::protocol::greeting::Greeting;
use crate::relay::counters::Counters;
use crate::relay::{End, Relayed, Side, relay};
use crate::routes::Route;
use crate::routes::registry::Registry;
use crate::servers::state::Signal;
use crate::servers::{Servers, Session, Starter, Starters, Target};
use crate::shared_str::SharedStr;
use crate::socket;
use crate::status::answer::overlay;
use crate::status::cache::StatusCache;
use crate::texts::message::Message;
use crate::texts::template::Fields;
use crate::texts::{Text, Texts};
use crate::throttle::Throttle;
use crate::wake::Waker;
use crate::wake::in_use::InUse;
use crate::wake::permit::Permits;
use crate::webhook::Notifier;

/// A part of a way that may last, or is seldom taken, in memory of its own. An `async fn` has room
/// for each of its arguments twice; what is returned as this has it once.
pub(crate) type Boxed<'f, T> = Pin<Box<dyn Future<Output = T> + Send + 'f>>;

/// What every connection shares.
#[derive(Debug)]
pub struct Services {
    /// Who gets in.
    pub admission: Arc<Admission>,
    /// The routes.
    pub registry: Arc<Registry>,
    /// Starts sleeping servers, if there is a server-manager.
    pub waker: Option<Arc<Waker>>,
    /// Starts servers that no server-manager knows, if there is a webhook for that.
    pub scaler: Option<Arc<Waker>>,
    /// Starts containers, if Docker is asked for routes.
    pub docker: Option<Arc<Waker>>,
    /// Who plays at which address, where that makes a difference.
    pub in_use: Arc<InUse>,
    /// Who may have it start them.
    pub permits: Mutex<Permits>,
    /// How many lines there are of connections that came to nothing.
    pub flood: Arc<Flood>,
    /// Which versions are newer than is known.
    pub newer: Newer,
    /// What is known of every server.
    pub servers: Arc<Servers>,
    /// How healthy backends are.
    pub health: Arc<Health>,
    /// Which backends let players in one after the other.
    pub throttle: Throttle,
    /// What the server list shows.
    pub status: Arc<StatusCache>,
    /// Signs the cookies of players who are transferred.
    pub signer: Signer,
    /// Tells a webhook who comes and leaves, if there is one.
    pub notifier: Option<Arc<Notifier>>,
    /// What sessions move.
    pub counters: Arc<Counters>,
    /// What connections come to.
    pub metrics: Arc<Metrics>,
    /// Whose PROXY headers count; `None` when none are expected.
    pub proxies: Option<Proxies>,
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
    /// A player who waited, and was sent here once more.
    Transferred,
    /// A status ping; `None` when the router answered it itself.
    Pinged(Option<Relayed>),
}

/// Where the first part of the way leads.
pub(crate) enum Onward {
    /// On to this backend, which has the player's greeting.
    Session {
        backend: TcpStream,
        /// What it said in answer.
        said: Vec<u8>,
        /// There if it is the route's own server.
        playing: Option<Session>,
        counted: Option<metrics::Session>,
    },
    /// Nowhere: the player has been sent here once more.
    Transferred,
    /// Nowhere: it was a ping, and it is done.
    Pinged(Option<Relayed>),
}

/// What a client has sent first, all of it as it came, and why it is to be turned away, if it is.
type Greeted = (Greeting, Vec<u8>, Option<ConnectionError>);

/// Serves one client from its first byte to its last.
///
/// # Errors
/// Why a login did not reach its server; the player has been told.
pub async fn serve(
    client: &mut TcpStream,
    services: &Services,
    closing: &mut Closing,
) -> Result<Served, ConnectionError> {
    // What greeting, waking and dialling take is given back before the long part: in a box each, and nothing of it is
    // lent here, since what was lent keeps its room until the end.
    let greeted = Box::pin(services.greet(client, closing)).await?;
    let way = services.onward(client, greeted, closing);
    let (mut backend, said, playing, counted) = match way.await? {
        Onward::Session {
            backend,
            said,
            playing,
            counted,
        } => (backend, said, playing, counted),
        Onward::Transferred => return Ok(Served::Transferred),
        Onward::Pinged(session) => return Ok(Served::Pinged(session)),
    };
    let said_bytes = {
        let words = said;
        client.write_all(&words).await?;
        u64::try_from(words.len()).unwrap_or_default()
    };
    let session = relay(client, &mut backend, said_bytes, &services.counters).await;
    drop((backend, counted));
    let own = playing.is_some();
    drop(playing);
    Box::pin(services.part(client, session, own, closing)).await
}

/// Tells a client why there is no place for it.
///
/// # Errors
/// `error` for a login; the player has been told. A ping of an address that has too much of its own
/// is not answered.
pub async fn refuse(
    client: &mut TcpStream,
    services: &Services,
    closing: &mut Closing,
    error: ConnectionError,
) -> Result<Served, ConnectionError> {
    let (greeting, raw, turned) = services.greet(client, closing).await?;
    let error = turned.unwrap_or(error);
    let refused = services.refused(client, closing, greeting, raw, error);
    refused.await.map(|()| Served::Pinged(None))
}

impl Services {
    /// Tells a client why there is no place for it. A login comes to nothing; a ping has its answer then.
    async fn refused(
        &self,
        client: &mut TcpStream,
        closing: &mut Closing,
        greeting: Greeting,
        raw: Vec<u8>,
        error: ConnectionError,
    ) -> Result<(), ConnectionError> {
        let texts = &self.registry.defaults().texts;
        let full = texts.render(Text::Full, None, &Fields::default());
        closing.greeted(&greeting);
        match greeting {
            Greeting::Login { .. } => {
                self.tell(client, &error, closing).await;
                return Err(error);
            }
            _ if matches!(error, ConnectionError::AddressBusy { .. }) => return Err(error),
            Greeting::Legacy(ping) => answer::legacy_ping(client, &ping, &full.to_legacy()).await?,
            Greeting::Status { handshake, length } => {
                let early = raw.get(length..).unwrap_or_default();
                let frame = overlay(None, handshake.protocol, &full.to_component(), &[]);
                answer::status_frame(client, early, &frame).await?;
            }
        }
        Ok(())
    }

    /// Whether the client's address is only known once its header is read.
    pub(crate) fn may_be_proxy(&self, peer: IpAddr) -> bool {
        let proxies = self.proxies.as_ref();
        proxies.is_some_and(|proxies| proxies.believe(peer.to_canonical()))
    }

    /// The client's greeting, counted: who says nothing at all is no client.
    async fn greet(
        &self,
        client: &mut TcpStream,
        closing: &mut Closing,
    ) -> Result<Greeted, ConnectionError> {
        let greeted = self.greeting(client, closing).await;
        self.metrics.connected(&greeted);
        greeted
    }

    /// The same; before that, whose connection it is, if a trusted proxy says so, and whether that one may
    /// come in, and if not, what it is told.
    async fn greeting(
        &self,
        client: &mut TcpStream,
        closing: &mut Closing,
    ) -> Result<Greeted, ConnectionError> {
        let at_door = !self.may_be_proxy(closing.peer());
        let mut turned = None;
        let mut opening = Opening::new(client);
        if let Some(proxies) = &self.proxies
            && let Some(ends) = opening.header().await?
        {
            let trusted = proxies.believe(closing.peer());
            let client = ends.source;
            let _span = closing.span().entered();
            debug!(%client, trusted, "PROXY header");
            if trusted {
                closing.proxied(ends);
            }
        }
        if !at_door {
            // A load balancer's check has a header and nothing behind it; it is nobody's connection.
            opening.begun().await?;
            match self.admission.knock(closing.peer()) {
                Verdict::In(place) => closing.place(place),
                Verdict::Told(place, error) => {
                    closing.place(place);
                    turned = Some(error);
                }
                Verdict::Closed => return Err(ConnectionError::TurnedAway),
            }
        }
        let (greeting, raw) = opening.greeting().await?;
        Ok((greeting, raw, turned))
    }

    /// From the greeting on.
    fn onward<'w>(
        &'w self,
        client: &'w mut TcpStream,
        (greeting, raw, turned): Greeted,
        closing: &'w mut Closing,
    ) -> Instrumented<Boxed<'w, Result<Onward, ConnectionError>>> {
        let span = closing.span();
        if let Some(error) = turned {
            let refused = self.refused(client, closing, greeting, raw, error);
            let refused: Boxed<'w, _> =
                Box::pin(async move { refused.await.map(|()| Onward::Pinged(None)) });
            return refused.instrument(span);
        }
        self.metrics.greeted(closing.age());
        if let Some(notifier) = &self.notifier {
            closing.notify(notifier, &greeting);
        }
        let way = span.in_scope(|| self.way_of(client, greeting, raw, closing));
        way.instrument(span)
    }

    /// A box for each way: a player who waits in one has no room of the others.
    fn way_of<'w>(
        &'w self,
        client: &'w mut TcpStream,
        greeting: Greeting,
        raw: Vec<u8>,
        closing: &'w mut Closing,
    ) -> Boxed<'w, Result<Onward, ConnectionError>> {
        let wish = match greeting {
            Greeting::Login { .. } => Wish::Login,
            Greeting::Legacy(_) | Greeting::Status { .. } => Wish::Ping,
        };
        if let Err(error) = self.admission.wish(closing.peer(), wish) {
            return Box::pin(async move {
                closing.greeted(&greeting);
                self.tell(client, &error, closing).await;
                Err(error)
            });
        }
        match greeting {
            Greeting::Legacy(ping) => {
                Box::pin(async move { self.legacy(client, &ping, &raw, closing).await })
            }
            Greeting::Status { handshake, length } => Box::pin(async move {
                let early = raw.get(length..).unwrap_or_default();
                self.status(client, &handshake, early, closing).await
            }),
            Greeting::Login {
                handshake,
                player,
                uuid,
            } => {
                closing.player(&player);
                // Pings are over before it matters.
                socket::spread(&SockRef::from(&*client));
                let login = Box::new(Login {
                    handshake,
                    player,
                    uuid,
                });
                self.log_in(client, login, raw, closing)
            }
        }
    }

    /// A login, and what the player reads when it fails.
    fn log_in<'w>(
        &'w self,
        client: &'w mut TcpStream,
        login: Box<Login>,
        raw: Vec<u8>,
        closing: &'w mut Closing,
    ) -> Boxed<'w, Result<Onward, ConnectionError>> {
        Box::pin(async move {
            match self.login(client, &login, raw, closing).await {
                Ok(LoginEnd::Entered {
                    backend,
                    said,
                    playing,
                    at,
                    using,
                    waited,
                }) => {
                    if let Ok(address) = backend.peer_addr() {
                        closing.backend(address);
                    }
                    closing.reached(&at);
                    closing.joined(waited, playing.is_none());
                    self.metrics.joined(closing.age());
                    closing.keep(using);
                    let player = Some((login.player.as_str(), login.uuid));
                    let counted = closing
                        .found()
                        .map(|route| self.metrics.session(route, player));
                    Ok(Onward::Session {
                        backend,
                        said,
                        playing,
                        counted,
                    })
                }
                Ok(LoginEnd::Transferred) => Ok(Onward::Transferred),
                Err(error) => {
                    Box::pin(self.tell(client, &error, closing)).await;
                    Err(error)
                }
            }
        })
    }

    /// What is owed to a player whose server has gone; `own` if it was the route's.
    async fn part(
        &self,
        client: &mut TcpStream,
        session: Relayed,
        own: bool,
        closing: &Closing,
    ) -> Result<Served, ConnectionError> {
        match session.end {
            End::Failed(Side::Backend, error) if session.down == 0 => {
                if let Some(route) = closing
                    .found()
                    .filter(|route| own && route.backends().is_none())
                {
                    let begun = Instant::now().into_std();
                    let away = Signal::DialFailed { begun };
                    self.servers.signal(&self.target(route), away);
                    let address = self.backend_of(route);
                    self.health.met(&address, Some(Word::Closed));
                }
                let error = ConnectionError::BackendClosed(error);
                self.tell(client, &error, closing).await;
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

    async fn tell(&self, client: &mut TcpStream, error: &ConnectionError, closing: &Closing) {
        let route = closing.found().map(Arc::as_ref);
        let told = if let Some(kick) = error.kick() {
            answer::refuse_with(client, kick).await
        } else if let Some(message) = self.message(route, error, None) {
            answer::refuse(client, &message.to_component()).await
        } else {
            return;
        };
        if let Err(error) = told {
            debug!(%error, "the player could not be told");
        }
    }

    /// What a player of `route` reads about `error`, in the language of `locale` where it is known.
    pub(crate) fn message(
        &self,
        route: Option<&Route>,
        error: &ConnectionError,
        locale: Option<&str>,
    ) -> Option<Message> {
        let text = error.text()?;
        Some(self.render(route, text, locale, |fields| error.fill(fields)))
    }

    /// A text of `route`, with what is known of its server; `fill` may know better.
    pub(crate) fn render(
        &self,
        route: Option<&Route>,
        text: Text,
        locale: Option<&str>,
        fill: impl FnOnce(&mut Fields<'_>),
    ) -> Message {
        let Some(route) = route else {
            let texts: &Texts = &self.registry.defaults().texts;
            let mut fields = Fields::default();
            fill(&mut fields);
            return texts.render(text, locale, &fields);
        };
        let target = self.target(route);
        let seen = self.servers.snapshot(&target);
        let host = route.host.as_ref().map(Host::as_str);
        let mut fields = seen.fields(route.server_name().or(host));
        fill(&mut fields);
        route.policy.texts.render(text, locale, &fields)
    }

    /// The server of `route`, as it goes by in [`Services::servers`].
    pub(crate) fn target<'r>(&self, route: &'r Route) -> Target<'r> {
        Target::of(route, self.starters())
    }

    fn starters(&self) -> Starters {
        Starters {
            manager: self.waker.is_some(),
            webhook: self.scaler.is_some(),
        }
    }

    /// Who starts the server of `route`, and by which name it goes there.
    pub(crate) fn waker_of(&self, route: &Route) -> Option<(&Arc<Waker>, SharedStr)> {
        let waker = match self.starters().of(route)? {
            Starter::Manager => &self.waker,
            Starter::Webhook => &self.scaler,
            Starter::Docker => &self.docker,
        };
        waker.as_ref().map(|waker| (waker, route.key()))
    }

    /// Where the server of `route` is: where a webhook said, else where the route says.
    pub(crate) fn backend_of(&self, route: &Route) -> BackendAddr {
        let by_webhook = self.starters().of(route) == Some(Starter::Webhook);
        let scaler = self.scaler.as_ref().filter(|_| by_webhook);
        let said = scaler.and_then(|scaler| scaler.address(&route.key(), &route.backend));
        said.unwrap_or_else(|| route.backend.clone())
    }
}
