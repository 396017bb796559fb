//! Who may wake a server: by name and UUID, by the hour, and how often.
//!
//! Names and UUIDs are what the client says of itself, before anybody has checked it: these rules
//! save starts, they guard nothing. A client that joins a wake under way causes none, so it is
//! only asked about where a new one would begin.

use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use super::hours::Hours;
use crate::rate::{Rate, Recent, client_of};
use crate::servers::counters::Refusal;
use crate::shared_str::SharedStr;

/// Most players on one list.
pub const PLAYERS_MAX: usize = 1_000;
/// Longest name of a player, in characters, as in the protocol's Login Start.
pub const NAME_CHARS_MAX: usize = 16;
/// Most wakes that are remembered of addresses, and as many of names; the oldest are forgotten.
pub const WAKES_MAX: usize = 16_384;

/// The rules of one route.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WakeRules {
    /// Who may; nobody in particular means everybody.
    pub allow: Vec<Player>,
    /// Who may not, whatever else is said.
    pub deny: Vec<Player>,
    /// When; `None` is always.
    pub hours: Option<Hours>,
}

/// A player on a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Player {
    /// By name, in lower case.
    Name(Box<str>),
    /// By UUID.
    Uuid(u128),
}

/// Who asks, as far as is known before a login is done.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'c> {
    /// The name in Login Start.
    pub name: &'c str,
    /// The UUID in Login Start, where the protocol has one.
    pub uuid: Option<u128>,
    /// Where the client connects from.
    pub address: IpAddr,
}

/// Why somebody may not wake a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// On the list of those who may not.
    #[error("this player may not wake this server")]
    Denied,
    /// Not on the list of those who may.
    #[error("only some players may wake this server")]
    NotListed,
    /// At another hour.
    #[error("this server may not be woken for another {opens_in:?}")]
    Hours {
        /// Until it may be.
        opens_in: Duration,
    },
    /// Too many wakes by this address or name.
    #[error("too many servers woken; not for another {retry_in:?}")]
    TooOften {
        /// Until it may be.
        retry_in: Duration,
    },
}

impl From<&Refused> for Refusal {
    fn from(refused: &Refused) -> Self {
        match refused {
            Refused::Denied => Self::Denied,
            Refused::NotListed => Self::NotListed,
            Refused::Hours { .. } => Self::Hours,
            Refused::TooOften { .. } => Self::TooOften,
        }
    }
}

/// What was woken lately, and by whom.
#[derive(Debug)]
pub struct Permits {
    by_address: Recent<IpAddr>,
    by_name: Recent<SharedStr>,
}

impl Permits {
    /// Nothing woken yet; `None` is no limit.
    #[must_use]
    pub fn new(per_address: Option<Rate>, per_name: Option<Rate>) -> Self {
        Self {
            by_address: Recent::new(per_address, WAKES_MAX),
            by_name: Recent::new(per_name, WAKES_MAX),
        }
    }

    /// Whether a new wake may begin; if so, it is counted. `wall_clock` tells the hours, `now` how
    /// long ago something was.
    ///
    /// # Errors
    /// The first reason against it; a refused wake is not counted.
    pub fn may_wake(
        &mut self,
        rules: &WakeRules,
        claim: &Claim<'_>,
        now: Instant,
        wall_clock: SystemTime,
    ) -> Result<(), Refused> {
        if rules.deny.iter().any(|player| player.is(claim)) {
            return Err(Refused::Denied);
        }
        if !rules.allow.is_empty() && !rules.allow.iter().any(|player| player.is(claim)) {
            return Err(Refused::NotListed);
        }
        let hours = rules.hours.as_ref();
        if let Some(opens_in) = hours.and_then(|hours| hours.opens_in(wall_clock)) {
            return Err(Refused::Hours { opens_in });
        }
        let address = client_of(claim.address);
        let name: SharedStr = claim.name.to_ascii_lowercase().into();
        let waits = [
            self.by_address.wait(&address, now),
            self.by_name.wait(&name, now),
        ];
        if let Some(retry_in) = waits.into_iter().flatten().max() {
            return Err(Refused::TooOften { retry_in });
        }
        self.by_address.count(address, now);
        self.by_name.count(name, now);
        Ok(())
    }
}

impl Player {
    fn is(&self, claim: &Claim<'_>) -> bool {
        match self {
            Self::Name(name) => name.eq_ignore_ascii_case(claim.name),
            Self::Uuid(uuid) => claim.uuid == Some(*uuid),
        }
    }
}

/// Reads players by name or UUID, with or without dashes.
///
/// # Errors
/// What is neither, none at all, or more than [`PLAYERS_MAX`].
pub fn players(items: &[String]) -> Result<Vec<Player>, String> {
    if items.is_empty() || items.len() > PLAYERS_MAX {
        let count = items.len();
        return Err(format!("{count} players are not from 1 to {PLAYERS_MAX}"));
    }
    items.iter().map(|item| player(item)).collect()
}

/// One player, by name or UUID.
pub(crate) fn player(text: &str) -> Result<Player, String> {
    if let Some(uuid) = uuid(text) {
        return Ok(Player::Uuid(uuid));
    }
    let is_name = (1..=NAME_CHARS_MAX).contains(&text.chars().count())
        && !text.chars().any(|c| c.is_whitespace() || c.is_control());
    if is_name {
        Ok(Player::Name(text.to_ascii_lowercase().into()))
    } else {
        Err(format!("{text:?} is neither a player's name nor a UUID"))
    }
}

/// A UUID, with or without dashes.
pub(crate) fn uuid(text: &str) -> Option<u128> {
    let dashes: Vec<_> = text.match_indices('-').map(|(index, _)| index).collect();
    let is_shaped = dashes.is_empty() || dashes == [8, 13, 18, 23];
    let digits = text.replace('-', "");
    let is_uuid = is_shaped && digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    is_uuid
        .then(|| u128::from_str_radix(&digits, 16).ok())
        .flatten()
}

#[cfg(test)]
#[path = "permit_tests.rs"]
mod tests;
