//! The connection throttle of CraftBukkit, Spigot and Paper, as a stand-in keeps it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// `settings.connection-throttle` where nobody has set it.
pub const CONNECTION_THROTTLE: Duration = Duration::from_secs(4);
/// What is said to a login that comes too soon, unless the owner has put something else.
pub const THROTTLED: &str = "Connection throttled! Please wait before reconnecting.";

/// How a server throttles logins.
#[derive(Debug, Clone, PartialEq)]
pub struct Throttle {
    /// How long after the last login of an address the next one may come.
    pub every: Duration,
    /// What is said to one that comes sooner.
    pub text: Value,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            every: CONNECTION_THROTTLE,
            text: json!({ "text": THROTTLED }),
        }
    }
}

/// The last login of each address.
#[derive(Debug, Default)]
pub struct Tried(Mutex<HashMap<IpAddr, Instant>>);

impl Tried {
    /// Takes note of a login from `address` at `now`, and says whether it is too soon. Each one counts, those that are
    /// turned away as well. (A real server lets 127.0.0.1 in at once; this one is used from nowhere else.)
    pub fn too_soon(&self, address: IpAddr, throttle: &Throttle, now: Instant) -> bool {
        let mut tried = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = tried.insert(address, now);
        last.is_some_and(|last| now.saturating_duration_since(last) < throttle.every)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_login_of_an_address_begins_the_time_anew_also_one_that_is_turned_away() {
        let (tried, throttle, begin) = (Tried::default(), Throttle::default(), Instant::now());
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap());
        for (address, millis, too_soon) in [
            (one, 0, false),
            (other, 1, false),
            (one, 3_999, true),
            (one, 7_998, true),
            (other, 4_001, false),
            (one, 11_998, false),
        ] {
            let now = begin + Duration::from_millis(millis);
            let found = tried.too_soon(address, &throttle, now);
            assert_eq!(found, too_soon, "{address} after {millis} ms");
        }
    }
}
