//! Keeps a player who waits for a server: the client hears a harmless packet now and then, and
//! what it answers never reaches the backend.

pub mod configuration;
pub mod cookie;
pub mod inbox;
pub mod schedule;

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use crate::protocol::handshake;
use crate::protocol::login::{self, LoginReply};
use inbox::Inbox;
use schedule::{Schedule, Step, Way};

/// The channel of the router's requests: nobody else's, so that every client says "unknown".
pub const CHANNEL: &str = "automc:hold";
/// Longest wait for the last answer once the server is ready.
pub const LAST_ANSWER_MAX: Duration = Duration::from_secs(5);

/// The client has gone, or does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left;

/// A held client. While nothing here is awaited it is not kept.
#[derive(Debug)]
pub struct Hold<'c> {
    client: &'c TcpStream,
    /// What backends hear before anything of the client.
    header: Box<[u8]>,
    inbox: Inbox,
    schedule: Schedule,
    waited: bool,
}

impl<'c> Hold<'c> {
    /// Holds `client`, who has sent `greeting`, from now on.
    #[must_use]
    pub fn new(client: &'c TcpStream, greeting: Vec<u8>, way: Way, tick: Duration) -> Self {
        Self {
            client,
            header: Box::default(),
            inbox: Inbox::new(greeting),
            schedule: Schedule::new(way, tick, Instant::now().into_std()),
            waited: false,
        }
    }

    /// The same with a PROXY header for backends.
    #[must_use]
    pub fn presented(self, header: Vec<u8>) -> Self {
        Self {
            header: header.into(),
            ..self
        }
    }

    /// What backends are to have before anything of the client; often nothing.
    #[must_use]
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// The client itself.
    #[must_use]
    pub fn client(&self) -> &'c TcpStream {
        self.client
    }

    /// What the client sent and the backend is to have.
    #[must_use]
    pub fn for_backend(&self) -> &[u8] {
        self.inbox.for_backend()
    }

    /// Takes note that the client waits for its server from now on.
    pub fn waits(&mut self) {
        self.waited = true;
    }

    /// Whether it has waited for its server.
    #[must_use]
    pub fn has_waited(&self) -> bool {
        self.waited
    }

    /// How long the client has heard nothing.
    #[must_use]
    pub fn silent_for(&self) -> Duration {
        self.schedule.silent_for(Instant::now().into_std())
    }

    /// Keeps the client while `wait` goes on.
    ///
    /// # Errors
    /// [`Left`], before `wait` is done.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn until<T>(
        &mut self,
        // Pinned by the caller: by value it would take its room twice, for as long as it is held.
        mut wait: impl Future<Output = T> + Unpin,
    ) -> Result<T, Left> {
        loop {
            let due = match self.schedule.next(Instant::now().into_std()) {
                Step::WaitUntil(at) => Some(at.into()),
                Step::Wait => None,
                Step::GiveUp => return Err(Left),
                word @ (Step::Request(_) | Step::Compression) => {
                    self.send(word)?;
                    continue;
                }
            };
            tokio::select! {
                biased;
                done = &mut wait => return Ok(done),
                read = read(self.client, &mut self.inbox) => read?,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
            self.take_answer();
        }
    }

    /// Asks the client for the cookie under [`cookie::KEY`], if it has one; only of clients that can
    /// [be transferred](crate::protocol::version::can_transfer).
    ///
    /// # Errors
    /// [`Left`]; also when there is no answer within [`LAST_ANSWER_MAX`].
    pub async fn cookie(&mut self) -> Result<Option<Vec<u8>>, Left> {
        send(self.client, &login::cookie_request(cookie::KEY))?;
        let answer = async {
            loop {
                let told = self.inbox.take(|reply| match reply {
                    LoginReply::CookieResponse { key, payload } if key == cookie::KEY => {
                        Some(payload.map(<[u8]>::to_vec))
                    }
                    _ => None,
                });
                if let Some(told) = told {
                    return Ok(told);
                }
                read(self.client, &mut self.inbox).await?;
            }
        };
        timeout(LAST_ANSWER_MAX, answer).await.unwrap_or(Err(Left))
    }

    /// Has the backend see a login where the client announced a transfer; `false` if it did not.
    pub fn make_login(&mut self) -> bool {
        handshake::make_login(self.inbox.room())
    }

    /// Waits for the answer that is still out, so that the backend's conversation begins with
    /// nothing pending, and has the client hear from the router if it has not for a while.
    ///
    /// # Errors
    /// [`Left`]; also when there is no answer within [`LAST_ANSWER_MAX`].
    pub async fn settle(&mut self) -> Result<(), Left> {
        let deadline = Instant::now() + LAST_ANSWER_MAX;
        loop {
            let word = self.schedule.refresh(Instant::now().into_std());
            self.send(word)?;
            if !self.schedule.is_outstanding() {
                return Ok(());
            }
            tokio::select! {
                read = read(self.client, &mut self.inbox) => read?,
                () = sleep_until(deadline) => return Err(Left),
            }
            self.take_answer();
        }
    }

    fn send(&self, word: Step) -> Result<(), Left> {
        let bytes = match word {
            Step::Request(id) => login::plugin_request(id, CHANNEL, &[]),
            Step::Compression => login::set_compression_off(),
            Step::WaitUntil(_) | Step::Wait | Step::GiveUp => return Ok(()),
        };
        send(self.client, &bytes)
    }

    fn take_answer(&mut self) {
        let schedule = &mut self.schedule;
        if !schedule.has_begun() {
            return;
        }
        let answered = |reply: LoginReply<'_>| match reply {
            LoginReply::PluginResponse { id, .. } => schedule.answered(id).then_some(()),
            _ => None,
        };
        self.inbox.take(answered);
    }
}

/// The little that is said to a held client always fits; one whose window is full has long stopped
/// reading.
fn send(client: &TcpStream, bytes: &[u8]) -> Result<(), Left> {
    match client.try_write(bytes) {
        Ok(written) if written == bytes.len() => Ok(()),
        _ => Err(Left),
    }
}

/// Reads what there is. A client that has sent too much is not read, nor watched, any more.
async fn read(client: &TcpStream, inbox: &mut Inbox) -> Result<(), Left> {
    if inbox.is_full() {
        std::future::pending::<()>().await;
    }
    client.readable().await.map_err(|_| Left)?;
    match client.try_read_buf(inbox.room()) {
        Ok(0) => Err(Left),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(_) => Err(Left),
    }
}
