//! Holds a player in the configuration state (1.20.5), where progress can be shown, and sends the
//! client here once more when the server is ready.
//!
//! Only what no client objects to is sent: keep-alives, a dialog, a cookie, and the transfer or the
//! kick. NeoForge clients look for a brand, feature flags and the end of the configuration, and none of that
//! comes.

use std::io;
use std::net::Shutdown;
use std::pin::pin;
use std::time::Duration;

use serde_json::Value;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::{Instant, interval_at, sleep, timeout};

use super::{Left, cookie, send};
use crate::protocol::configuration::{CONFIGURATION_FRAME_BYTES_MAX, ConfigurationReply};
use crate::protocol::login::{self, LoginReply};
use crate::protocol::versions::Configuration;
use crate::protocol::{decode_frame, dialog};

/// Longest wait for the client to enter the configuration state, and to leave after a transfer.
pub const STATE_CHANGE_MAX: Duration = Duration::from_secs(10);
/// Longest wait for the client to say its language, which it does as soon as it is in that state.
pub const LANGUAGE_MAX: Duration = Duration::from_secs(2);
/// Most that is read of a client in the configuration state; a vanilla one says under a kilobyte.
pub const SAID_BYTES_MAX: usize = 1024 * 1024;
/// Longest locale that is kept, in bytes; `de_de` has five.
const LOCALE_BYTES_MAX: usize = 16;
/// What a client says at first fits, and answers to keep-alives do.
const READ_BYTES: usize = 256;

/// Who is held.
#[derive(Debug, Clone, Copy)]
pub struct Profile<'p> {
    /// The protocol number.
    pub protocol: i32,
    /// The packets of its configuration state.
    pub packets: &'static Configuration,
    /// The name the client claims.
    pub name: &'p str,
    /// The UUID it claims.
    pub uuid: u128,
}

/// The waiting dialog's texts, as components.
#[derive(Debug, Clone)]
pub struct Screen {
    /// Its title.
    pub title: Value,
    /// Its text.
    pub body: Value,
    /// The label of its button.
    pub leave: Value,
}

/// Why a hold ended without an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// The client closed the connection, or says nothing any more.
    Left,
    /// The player chose to leave.
    Clicked,
}

impl From<Left> for Gone {
    fn from(Left: Left) -> Self {
        Self::Left
    }
}

/// A client in the configuration state.
#[derive(Debug)]
pub struct Room<'c> {
    client: &'c TcpStream,
    packets: &'static Configuration,
    tick: Duration,
    locale: Option<Box<str>>,
    buffer: Vec<u8>,
    said: usize,
    clicked: bool,
    next_id: i64,
    heard: Instant,
}

impl<'c> Room<'c> {
    /// Lets the client of `profile` into the configuration state; `tick` from one sign of life to the next.
    ///
    /// # Errors
    /// [`Left`]; also when the client does not follow within [`STATE_CHANGE_MAX`].
    pub async fn enter(
        client: &'c TcpStream,
        profile: Profile<'_>,
        tick: Duration,
    ) -> Result<Self, Left> {
        let mut room = Self {
            client,
            packets: profile.packets,
            tick,
            locale: None,
            buffer: Vec::new(),
            said: 0,
            clicked: false,
            next_id: 0,
            heard: Instant::now(),
        };
        send(
            client,
            &login::success(profile.protocol, profile.uuid, profile.name),
        )?;
        let acknowledged = async {
            loop {
                match room.frame(|body| LoginReply::decode(body) == Ok(LoginReply::Acknowledged))? {
                    Some(true) => return Ok(()),
                    Some(false) => {}
                    None => room.read().await?,
                }
            }
        };
        timeout(STATE_CHANGE_MAX, acknowledged)
            .await
            .unwrap_or(Err(Left))?;
        Ok(room)
    }

    /// The language the client asks for, once it has said so.
    #[must_use]
    pub fn locale(&self) -> Option<&str> {
        self.locale.as_deref()
    }

    /// Keeps the client while `wait` goes on, with a screen that is made anew at every tick.
    ///
    /// # Errors
    /// [`Gone`], before `wait` is done.
    pub async fn until<T>(
        &mut self,
        wait: impl Future<Output = T>,
        screen: impl Fn(Option<&str>) -> Screen,
    ) -> Result<T, Gone> {
        let mut wait = pin!(wait);
        // The client's language comes at once, so that the first screen is in it.
        let mut ticks = interval_at(Instant::now() + self.tick / 20, self.tick);
        loop {
            tokio::select! {
                biased;
                done = &mut wait => return Ok(done),
                read = self.read() => {
                    read?;
                    self.hear()?;
                    if self.clicked {
                        return Err(Gone::Clicked);
                    }
                }
                _ = ticks.tick() => {
                    // A client may be frozen for a while by what it loads.
                    if self.heard.elapsed() > self.tick * 3 {
                        return Err(Gone::Left);
                    }
                    self.tell(&screen(self.locale()))?;
                }
            }
        }
    }

    fn tell(&mut self, screen: &Screen) -> Result<(), Left> {
        self.next_id += 1;
        send(self.client, &self.packets.keep_alive(self.next_id))?;
        let body = std::slice::from_ref(&screen.body);
        let dialog = || dialog::waiting(&screen.title, body, &screen.leave);
        // A text too deep for NBT is not shown; the wait goes on.
        if let Ok(Some(frame)) = self.packets.show_dialog(dialog) {
            send(self.client, &frame)?;
        }
        Ok(())
    }

    /// Sends the client to `host` and `port` with `cookie`, and waits for it to go.
    ///
    /// # Errors
    /// [`Left`]: it went before.
    pub async fn transfer(mut self, host: &str, port: u16, cookie: &[u8]) -> Result<(), Left> {
        if let Some(frame) = self.packets.store_cookie(cookie::KEY, cookie) {
            send(self.client, &frame)?;
        }
        send(self.client, &self.packets.transfer(host, port))?;
        self.leave().await;
        Ok(())
    }

    /// Waits for the language of a client that is told something at once, [`LANGUAGE_MAX`] at most.
    pub async fn hear_language(&mut self) {
        let heard = async {
            while self.hear().is_ok() && self.locale.is_none() && self.read().await.is_ok() {}
        };
        // Without it there is a language for everybody.
        drop(timeout(LANGUAGE_MAX, heard).await);
    }

    /// Shows `component` and ends it: closes our side, as servers do, for clients that wait for it.
    pub async fn kick(mut self, component: &Value) {
        if let Ok(frame) = self.packets.disconnect(component)
            && send(self.client, &frame).is_ok()
            && SockRef::from(self.client).shutdown(Shutdown::Write).is_ok()
        {
            self.leave().await;
        }
    }

    /// Reads on until the client closes: a socket that is closed with unread bytes is reset.
    async fn leave(&mut self) {
        let gone = async {
            while self.read().await.is_ok() {
                self.buffer.clear();
            }
        };
        tokio::select! {
            () = gone => {}
            () = sleep(STATE_CHANGE_MAX) => {}
        }
    }

    fn hear(&mut self) -> Result<(), Left> {
        let (mut locale, mut clicked) = (None, false);
        let packets = self.packets;
        while self
            .frame(|body| match packets.decode(body) {
                Ok(ConfigurationReply::ClientInformation { locale: told }) => {
                    locale = Some(told)
                        .filter(|told| told.len() <= LOCALE_BYTES_MAX)
                        .map(Box::from);
                }
                Ok(ConfigurationReply::Clicked(dialog::LEAVE)) => clicked = true,
                _ => {}
            })?
            .is_some()
        {}
        if locale.is_some() {
            self.locale = locale;
        }
        self.clicked |= clicked;
        Ok(())
    }

    /// Takes the next whole frame out, if there is one, and hands back what `look` made of it.
    fn frame<T>(&mut self, look: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, Left> {
        let frame = decode_frame(&self.buffer, CONFIGURATION_FRAME_BYTES_MAX).map_err(|_| Left)?;
        let Some((body, length)) = frame else {
            return Ok(None);
        };
        let looked = look(body);
        self.buffer.drain(..length);
        Ok(Some(looked))
    }

    async fn read(&mut self) -> Result<(), Left> {
        self.client.readable().await.map_err(|_| Left)?;
        self.buffer.reserve(READ_BYTES);
        match self.client.try_read_buf(&mut self.buffer) {
            Ok(0) => Err(Left),
            Ok(read) => {
                self.heard = Instant::now();
                self.said += read;
                if self.said > SAID_BYTES_MAX {
                    Err(Left)
                } else {
                    Ok(())
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(_) => Err(Left),
        }
    }
}
