//! Where a backend listens: `host:port`, checked once and then carried as it is.

use std::fmt;

use crate::shared_str::SharedStr;

/// Longest host part, in bytes: the limit of the domain name system.
const HOST_BYTES_MAX: usize = 253;

/// The address of a backend: a host name or an IP address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendAddr {
    text: SharedStr,
}

/// Why a text is not the address of a backend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddr {
    /// Nothing at all.
    #[error("the address is empty")]
    Empty,
    /// No port.
    #[error("the address {0:?} has no port; write host:port")]
    NoPort(String),
    /// A port that is none.
    #[error("the port in the address {0:?} is not a number from 1 to 65535")]
    Port(String),
    /// A host part that is empty, too long, or has characters no host has.
    #[error(
        "the host in the address {0:?} is neither a name nor an IP address (write IPv6 as [::1]:25565)"
    )]
    Host(String),
}

impl BackendAddr {
    /// Checks `text`; spaces around it are dropped.
    ///
    /// # Errors
    /// See [`InvalidAddr`].
    pub fn parse(text: &str) -> Result<Self, InvalidAddr> {
        let text = text.trim();
        if text.is_empty() {
            return Err(InvalidAddr::Empty);
        }
        let shown = || text.chars().take(HOST_BYTES_MAX).collect::<String>();
        let (host, port) = text
            .rsplit_once(':')
            .ok_or_else(|| InvalidAddr::NoPort(shown()))?;
        let port_is_digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        match port.parse::<u16>() {
            Ok(1..) if port_is_digits => {}
            _ if host.contains(':') && !host.ends_with(']') => {
                return Err(InvalidAddr::Host(shown()));
            }
            _ => return Err(InvalidAddr::Port(shown())),
        }
        let valid = match host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                !host.is_empty()
                    && host.len() <= HOST_BYTES_MAX
                    && host
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
            }
        };
        if valid {
            Ok(Self { text: text.into() })
        } else {
            Err(InvalidAddr::Host(shown()))
        }
    }

    /// Checks `text`, in which `$1` to `$9` stand for what `stars` stars of a host name stand for. Without one it
    /// is an address like any other.
    ///
    /// # Errors
    /// See [`InvalidAddr`].
    pub fn template(text: &str, stars: usize) -> Result<Self, InvalidAddr> {
        let text = text.trim();
        if !text.contains('$') {
            return Self::parse(text);
        }
        // Something must be left for what is filled in.
        Self::parse(&fill(text, &vec!["x"; stars]))?;
        Ok(Self { text: text.into() })
    }

    /// Whether something has to be filled in before anybody can be dialled.
    #[must_use]
    pub fn is_template(&self) -> bool {
        self.text.contains('$')
    }

    /// The address with `captures` filled in.
    ///
    /// # Errors
    /// See [`InvalidAddr`]: they make no address.
    pub fn filled(&self, captures: &[&str]) -> Result<Self, InvalidAddr> {
        Self::parse(&fill(&self.text, captures))
    }

    /// `host:port`, as the resolver takes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host alone, and its port; an IPv6 address without its brackets.
    #[must_use]
    pub fn parts(&self) -> (&str, u16) {
        // What is no address any more has port 0, where nobody listens.
        let (host, port) = self.text.rsplit_once(':').unwrap_or((&self.text, ""));
        let bare = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        (bare.unwrap_or(host), port.parse().unwrap_or_default())
    }

    /// The same without a copy.
    #[must_use]
    pub fn shared(&self) -> SharedStr {
        self.text.clone()
    }

    /// The same address, kept where `text` is.
    pub(crate) fn in_place(self, text: SharedStr) -> Self {
        debug_assert_eq!(self.text, text);
        Self { text }
    }
}

/// Puts `captures` in the place of `$1` to `$9`; a `$` without one stays.
fn fill(text: &str, captures: &[&str]) -> String {
    let mut pieces = text.split('$');
    let mut filled = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let digit = piece.chars().next().and_then(|char| char.to_digit(10));
        let index = digit.and_then(|digit| usize::try_from(digit).ok()?.checked_sub(1));
        match index.and_then(|index| captures.get(index)) {
            Some(capture) => {
                filled.push_str(capture);
                filled.push_str(piece.get(1..).unwrap_or_default());
            }
            None => {
                filled.push('$');
                filled.push_str(piece);
            }
        }
    }
    filled
}

impl fmt::Display for BackendAddr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_both_kinds_of_ip_address_pass() {
        for text in [
            "127.0.0.1:25565",
            "mc-1.internal:1",
            "a_b:65535",
            "[::1]:25565",
            " h:3 ",
        ] {
            assert_eq!(BackendAddr::parse(text).unwrap().as_str(), text.trim());
        }
    }

    #[test]
    fn what_a_star_stands_for_is_filled_in_if_that_makes_an_address() {
        let address = BackendAddr::template(" $2.$1-mc.internal:25565", 2).unwrap();
        assert!(address.is_template());
        let filled = address.filled(&["a", "b"]).unwrap();
        assert_eq!(filled.as_str(), "b.a-mc.internal:25565");
        for captures in [
            &["a", "b:1"][..],
            &["a", "$1"],
            &["a"],
            &[&"a".repeat(250), "b"],
        ] {
            assert!(address.filled(captures).is_err(), "{captures:?}");
        }
        for (text, stars) in [
            ("$2.x:1", 1),
            ("$0.x:1", 1),
            ("$.x:1", 1),
            ("h:$1", 1),
            ("$1.x", 1),
            ("$a:1", 1),
        ] {
            assert!(BackendAddr::template(text, stars).is_err(), "{text}");
        }
        assert!(!BackendAddr::template("h:1", 1).unwrap().is_template());
        assert!(BackendAddr::parse("$1.x:1").is_err());
    }

    #[test]
    fn what_cannot_be_dialled_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "empty"),
            ("backend", "no port"),
            ("backend:", "port"),
            ("backend:0", "port"),
            ("backend:+25565", "port"),
            ("backend:65536", "port"),
            (":25565", "host"),
            ("::1:25565", "host"),
            ("[::g]:25565", "host"),
            ("back end:25565", "host"),
            ("http://x:80", "host"),
        ] {
            let error = BackendAddr::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }
}
