//! Host names as look-up keys: one clean-up for what clients send and for what routes say.
//!
//! Clients, mods and proxies decorate the server address: Forge and BungeeCord append fields
//! after a NUL, TCPShield after `///`, Infinity Filter after a backslash, and names that came
//! from an SRV record end in a dot. All of it is for the backend; none of it is the host.

use std::borrow::{Borrow, Cow};
use std::fmt;

use crate::shared_str::SharedStr;

/// Longest host name, in bytes (RFC 1035 allows 253 characters; the protocol 255).
pub const HOST_BYTES_MAX: usize = 255;

/// The key `address` is looked up by; borrowed when it is clean already.
#[must_use]
pub fn lookup_key(address: &str) -> Cow<'_, str> {
    let host = undecorated(address);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

/// How the names of routes and of requests are read; both alike, or they would miss each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Names {
    /// Drops everything up to and including a label `_tcp`, as in `_minecraft._tcp.a.example`.
    pub simplify_srv: bool,
}

impl Names {
    /// The key `address` is looked up by; borrowed when it is clean already.
    #[must_use]
    pub fn key(self, address: &str) -> Cow<'_, str> {
        match lookup_key(address) {
            Cow::Borrowed(host) => Cow::Borrowed(self.simplified(host)),
            Cow::Owned(host) => Cow::Owned(self.simplified(&host).to_owned()),
        }
    }

    /// The host name of a route.
    ///
    /// # Errors
    /// See [`InvalidHost`].
    pub fn parse(self, text: &str) -> Result<Host, InvalidHost> {
        Host::of_key(&self.key(text.trim()))
    }

    /// Looks something up by the key of `address`, for which nothing is allocated. No route has a
    /// name longer than [`HOST_BYTES_MAX`], so nothing is looked up for one.
    pub fn look_up<T>(self, address: &str, look: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let host = self.simplified(undecorated(address));
        let mut key = [0; HOST_BYTES_MAX];
        let key = key.get_mut(..host.len())?;
        key.copy_from_slice(host.as_bytes());
        key.make_ascii_lowercase();
        look(str::from_utf8(key).ok()?)
    }

    /// Of several labels `_tcp` the last counts, so that doing it twice changes nothing.
    fn simplified(self, host: &str) -> &str {
        let (mut begin, mut end) = (0, 0);
        if self.simplify_srv {
            for label in host.split_inclusive('.') {
                end += label.len();
                if label.trim_end_matches('.').eq_ignore_ascii_case("_tcp") {
                    begin = end;
                }
            }
        }
        host.get(begin..).unwrap_or(host)
    }
}

/// `address` without what mods, proxies and the resolver add to it; upper case stays.
#[must_use]
pub fn undecorated(address: &str) -> &str {
    let bytes = address.as_bytes();
    // By hand, in one pass: every connection comes here, and mostly there is nothing to be found.
    let ends = |at: usize, byte: u8| match byte {
        b'\0' | b'\\' => true,
        b'/' => bytes.get(at..).is_some_and(|rest| rest.starts_with(b"///")),
        _ => false,
    };
    let end = bytes
        .iter()
        .enumerate()
        .position(|(at, byte)| ends(at, *byte));
    let host = end.and_then(|end| address.get(..end)).unwrap_or(address);
    host.strip_suffix('.').unwrap_or(host)
}

/// The host name of a route, cleaned up: what [`lookup_key`] gives for every spelling of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(SharedStr);

/// Why a text cannot be the host name of a route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHost {
    /// Nothing left after the clean-up.
    #[error("the host name is empty")]
    Empty,
    /// Over [`HOST_BYTES_MAX`].
    #[error("the host name is {0} bytes long, over the limit of {HOST_BYTES_MAX}")]
    TooLong(usize),
    /// A character no client can send as part of a host name.
    #[error("the host name {host:?} contains {char:?}")]
    Char {
        /// The cleaned-up name.
        host: String,
        /// The first such character.
        char: char,
    },
    /// Clients send international names in their ASCII form.
    #[error(
        "the host name {0:?} is not ASCII; write its punycode form (xn--...), which is what clients send"
    )]
    NotAscii(String),
}

impl Host {
    /// Cleans `text` up, by the [`Names`] that keep every label, and checks what is left.
    ///
    /// # Errors
    /// See [`InvalidHost`].
    pub fn parse(text: &str) -> Result<Self, InvalidHost> {
        Names::default().parse(text)
    }

    fn of_key(key: &str) -> Result<Self, InvalidHost> {
        if key.is_empty() {
            return Err(InvalidHost::Empty);
        }
        if key.len() > HOST_BYTES_MAX {
            return Err(InvalidHost::TooLong(key.len()));
        }
        if !key.is_ascii() {
            return Err(InvalidHost::NotAscii(key.to_owned()));
        }
        let refused = |char: &char| {
            char.is_ascii_whitespace() || char.is_ascii_control() || "/,=\"'".contains(*char)
        };
        if let Some(char) = key.chars().find(refused) {
            return Err(InvalidHost::Char {
                char,
                host: key.to_owned(),
            });
        }
        Ok(Self(key.into()))
    }

    /// The cleaned-up name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same without a copy.
    #[must_use]
    pub fn shared(&self) -> SharedStr {
        self.0.clone()
    }

    /// The same name, kept where `text` is.
    pub(crate) fn in_place(self, text: SharedStr) -> Self {
        debug_assert_eq!(self.0, text);
        Self(text)
    }
}

impl Borrow<str> for Host {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_decoration_is_taken_off() {
        for address in [
            "a.example",
            "A.Example",
            "a.example.",
            "a.example\0FML\0",
            "a.example\0FML2\0",
            "a.example.\0FML3\0",
            "a.example\0FORGE",
            "a.example\x00203.0.113.7\x00069a79f444e94726a5befca90e38aaf5\x00[]",
            "a.example///203.0.113.7:4711///1700000000",
            "a.example.///203.0.113.7:4711///1700000000",
            "a.example///203.0.113.7:4711///1700000000.",
            "a.example\\GUID\\203.0.113.7",
            "A.EXAMPLE.\\GUID",
        ] {
            assert_eq!(lookup_key(address), "a.example", "{address:?}");
        }
    }

    /// What mc-router drops from requests only, so that its own keys with `_tcp` are never found.
    #[test]
    fn srv_labels_go_from_requests_and_routes_alike_where_that_is_set() {
        let srv = Names { simplify_srv: true };
        let spellings = [
            "_minecraft._tcp.a.example",
            "foo._TCP.A.example.",
            "_tcp.a.example.",
            "_minecraft._tcp._tcp.a.example\0FML\0",
            "a.example",
        ];
        for route in &spellings[..4] {
            let route = srv.parse(route.split('\0').next().unwrap()).unwrap();
            assert_eq!(route.as_str(), "a.example");
            for request in spellings {
                let look = |key: &str| (key == route.as_str()).then_some(&route);
                assert_eq!(srv.look_up(request, look), Some(&route), "{request:?}");
                assert_eq!(srv.key(request), "a.example");
            }
        }
        assert_eq!(srv.key("x_tcp.a.example"), "x_tcp.a.example");
        assert_eq!(srv.parse("_minecraft._tcp"), Err(InvalidHost::Empty));
        let plain = Names::default();
        assert_eq!(plain.key(spellings[0]), spellings[0]);
        assert_eq!(Host::parse(spellings[0]).unwrap().as_str(), spellings[0]);
    }

    #[test]
    fn what_cannot_be_asked_for_cannot_be_a_route() {
        for text in [
            "",
            ".",
            " ",
            "a b",
            "a.example/x",
            "a,b",
            "a=b",
            "münchen.example",
            "\0",
        ] {
            assert!(Host::parse(text).is_err(), "{text:?}");
        }
        assert!(Host::parse(&"a".repeat(256)).is_err());
    }

    proptest! {
        #[test]
        fn a_route_is_found_under_every_spelling_of_its_host(host in "[a-zA-Z0-9][a-zA-Z0-9.-]{0,30}[a-z0-9]") {
            let route = Host::parse(&host).unwrap();
            for address in
                [host.clone(), host.to_ascii_uppercase(), format!("{host}."), format!("{host}\0FML\0")]
            {
                prop_assert_eq!(&*lookup_key(&address), route.as_str());
                let found = Names::default().look_up(&address, |key| (key == route.as_str()).then_some(&route));
                prop_assert_eq!(found, Some(&route));
            }
        }

        #[test]
        fn cleaning_up_twice_changes_nothing(host in "[a-zA-Z0-9.-]{1,30}[a-z0-9]") {
            let once = lookup_key(&host).into_owned();
            prop_assert_eq!(&*lookup_key(&once), &*once);
        }
    }
}
