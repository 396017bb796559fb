//! Where a backend listens: `host:port`, checked once and then carried as it is.

use std::fmt;
use std::sync::Arc;

/// Longest host part, in bytes: the limit of the domain name system.
const HOST_BYTES_MAX: usize = 253;

/// The address of a backend: a host name or an IP address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendAddr {
    text: Arc<str>,
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

    /// `host:port`, as the resolver takes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The same without a copy.
    #[must_use]
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }
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
