//! What the server does with a player, told by the player's name, and the bytes both begin with.

use anyhow::{Context, Result, bail};
use automc_router::protocol::{encode_frame, put_string};
use serde::{Deserialize, Serialize};

use super::visit::Visit;
use crate::player::Player;

/// Bytes that tell how many the server has received, at the end of a transfer.
pub const RECEIPT_BYTES: usize = 8;
/// What a player sends when its transfer shall begin.
pub const GO: u8 = b'!';

/// Which way a transfer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// From the player to the server.
    Up,
    /// From the server to the player.
    Down,
    /// Both at once.
    Both,
}

/// What the server does once a player is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Sends back what comes.
    Echo,
    /// Waits for [`GO`], moves so many bytes each way, and ends with a receipt.
    Transfer(Way, u64),
    /// Plays its part of a visit.
    Visit(Visit),
}

impl Way {
    const NAMES: [(Self, &'static str); 3] =
        [(Self::Up, "put"), (Self::Down, "get"), (Self::Both, "both")];

    /// Of `bytes` in a transfer, those that go up and those that go down.
    #[must_use]
    pub fn split(self, bytes: u64) -> (u64, u64) {
        match self {
            Self::Up => (bytes, 0),
            Self::Down => (0, bytes),
            Self::Both => (bytes, bytes),
        }
    }
}

impl Behaviour {
    /// The player's name that asks for it: 16 characters for up to 99 GB.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Echo => "echo".to_owned(),
            Self::Visit(visit) => format!("visit-{visit}"),
            Self::Transfer(way, bytes) => {
                let name = Way::NAMES.iter().find(|(known, _)| *known == way);
                format!("{}-{bytes}", name.map_or("", |(_, name)| name))
            }
        }
    }

    /// What the player of this name asks for.
    ///
    /// # Errors
    /// It is nobody's name here.
    pub fn of(name: &str) -> Result<Self> {
        if name == "echo" {
            return Ok(Self::Echo);
        }
        let (way, bytes) = name.split_once('-').with_context(|| name.to_owned())?;
        if way == "visit" {
            return Ok(Self::Visit(Visit::of(bytes)?));
        }
        let Some((way, _)) = Way::NAMES.iter().find(|(_, known)| *known == way) else {
            bail!("no behaviour of the name {name:?}")
        };
        Ok(Self::Transfer(*way, bytes.parse().context("bytes")?))
    }

    /// What the player sends first: handshake and login start.
    #[must_use]
    pub fn greeting(self, host: &str) -> Vec<u8> {
        let mut player = Player::new(host);
        player.name = self.name();
        player.login_bytes()
    }

    /// What the server answers: login success.
    #[must_use]
    pub fn welcome(self) -> Vec<u8> {
        let mut success = vec![0x22; 16];
        put_string(&self.name(), &mut success);
        success.push(0);
        encode_frame(2, &success)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_is_asked_for() {
        for (behaviour, name) in [
            (Behaviour::Echo, "echo"),
            (Behaviour::Transfer(Way::Up, 5), "put-5"),
            (Behaviour::Transfer(Way::Down, 0), "get-0"),
            (
                Behaviour::Transfer(Way::Both, 99_999_999_999),
                "both-99999999999",
            ),
            (
                Behaviour::Visit(Visit {
                    player: 9_999,
                    number: 99_999,
                }),
                "visit-9999-99999",
            ),
        ] {
            assert!(name.len() <= 16, "longer than a player's name");
            assert_eq!(behaviour.name(), name);
            assert_eq!(Behaviour::of(name).unwrap(), behaviour);
        }
        for name in ["", "steve", "get-", "get-x", "set-5"] {
            assert!(Behaviour::of(name).is_err(), "{name:?}");
        }
    }
}
