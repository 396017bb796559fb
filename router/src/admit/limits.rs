//! How much one client address may ask for: connections at once, connections, logins and pings
//! within a time. Of IPv6 one /64 counts as one address.
//!
//! A client meets its limits in two places: at the door, before it has said a word, and when it has
//! said what it wants. Logins and pings are counted apart, so that refreshing a long server list
//! delays no login.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::rate::{Rate, Recent, client_of};

/// Most connections that are remembered for one kind of limit, of all addresses; the oldest are
/// forgotten. That takes 8 MB at most, and only once clients have come from thousands of addresses.
pub const REMEMBERED_MAX: usize = 32_768;
/// Clients of one address over its limit who are told so at once; more are closed without a word.
pub const TOLD_PER_ADDRESS_MAX: usize = 8;

/// The limits of one client address, and one for all; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Connections at once.
    pub at_once: Option<usize>,
    /// New connections.
    pub connections: Option<Rate>,
    /// Logins.
    pub logins: Option<Rate>,
    /// Status pings.
    pub pings: Option<Rate>,
    /// New connections of all addresses together.
    pub everybody: Option<Rate>,
}

impl Limits {
    /// Whether anything is counted at the door.
    #[must_use]
    pub fn at_the_door(&self) -> bool {
        self.at_once.is_some() || self.connections.is_some() || self.everybody.is_some()
    }
}

/// What is to be done with a client at the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knock {
    /// It may come in, and has a place until it is given back.
    In,
    /// It is told that its address has too many connections; it has a place until then.
    Crowded,
    /// It is told that too many come, whoever it is; it has a place until then.
    Busy,
    /// Its address has too many connections, and enough clients who are told so.
    TooMany,
    /// Its address connects too often.
    TooOften,
}

/// What a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// To play.
    Login,
    /// To see the status.
    Ping,
}

/// What every address has asked for of late.
#[derive(Debug)]
pub struct Tables {
    limits: Limits,
    /// Addresses with open connections, so never more than those.
    open: HashMap<IpAddr, usize>,
    connections: Recent<IpAddr>,
    logins: Recent<IpAddr>,
    pings: Recent<IpAddr>,
    everybody: Recent<()>,
}

impl Tables {
    /// Nobody has come yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let all = limits.everybody.map_or(0, |rate| rate.count);
        Self {
            open: HashMap::new(),
            connections: Recent::new(limits.connections, REMEMBERED_MAX),
            logins: Recent::new(limits.logins, REMEMBERED_MAX),
            pings: Recent::new(limits.pings, REMEMBERED_MAX),
            everybody: Recent::new(limits.everybody, all),
            limits,
        }
    }

    /// A client of `address` is at the door.
    pub fn knock(&mut self, address: IpAddr, now: Instant) -> Knock {
        let client = client_of(address);
        if self.connections.wait(&client, now).is_some() {
            return Knock::TooOften;
        }
        self.connections.count(client, now);
        let max = self.limits.at_once.unwrap_or(usize::MAX);
        let open = self.open.get(&client).copied().unwrap_or_default();
        if open >= max.saturating_add(TOLD_PER_ADDRESS_MAX) {
            return Knock::TooMany;
        }
        self.open.insert(client, open + 1);
        if open >= max {
            return Knock::Crowded;
        }
        if self.everybody.wait(&(), now).is_some() {
            return Knock::Busy;
        }
        self.everybody.count((), now);
        Knock::In
    }

    /// How many more may connect now, whoever they are; `None` where there is no limit.
    #[must_use]
    pub fn left(&self, now: Instant) -> Option<usize> {
        self.everybody.left(&(), now)
    }

    /// A client of `address` that had a place has gone.
    pub fn gone(&mut self, address: IpAddr) {
        let client = client_of(address);
        if let Some(open) = self.open.get_mut(&client) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                self.open.remove(&client);
            }
        }
    }

    /// A client of `address` says what it wants; if it may, that is counted.
    ///
    /// # Errors
    /// Too much of it: how long until it may.
    pub fn wish(&mut self, address: IpAddr, wish: Wish, now: Instant) -> Result<(), Duration> {
        let client = client_of(address);
        let counted = match wish {
            Wish::Login => &mut self.logins,
            Wish::Ping => &mut self.pings,
        };
        match counted.wait(&client, now) {
            Some(wait) => Err(wait),
            None => {
                counted.count(client, now);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
