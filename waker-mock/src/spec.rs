//! What one server is like: its name, domain, delays and address, as texts and as JSON.

use std::time::Duration;

use automc_router::config::values;
use serde::{Deserialize, Serialize};

use crate::faults::{DELAY_MAX, duration_text};

/// Longest name of a server, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Longest domain or address, in bytes: the limit of the domain name system, and a port.
pub const DOMAIN_BYTES_MAX: usize = 253;

/// One server; everything has a default.
///
/// As JSON, an object with the fields below; durations are texts such as `"3s"`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSpec {
    /// The host name players type. Without one no row is inserted for it, only updated.
    pub domain: Option<String>,
    /// From the start to running; at most a day. `None`: as configured for all.
    #[serde(with = "duration_text", skip_serializing_if = "Option::is_none")]
    pub boot_delay: Option<Duration>,
    /// From the stop to stopped; at most a day. `None`: as configured for all.
    #[serde(with = "duration_text", skip_serializing_if = "Option::is_none")]
    pub stop_delay: Option<Duration>,
    /// From running to the opening of its port; at most a day. `None`: as configured for all.
    #[serde(with = "duration_text", skip_serializing_if = "Option::is_none")]
    pub port_delay: Option<Duration>,
    /// The port to listen on. `None`: a free one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The address to tell. `None`: the one it listens on. Without a `port`, the game server
    /// is somebody else's and nothing listens here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The address is not known before it runs, and is a new one each time; the table holds
    /// one that refuses connections.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub lazy_address: bool,
}

impl ServerSpec {
    /// A server with a domain and a boot delay, and defaults for the rest.
    #[must_use]
    pub fn new(domain: &str, boot_delay: Duration) -> Self {
        Self {
            domain: Some(domain.to_owned()),
            boot_delay: Some(boot_delay),
            ..Self::default()
        }
    }

    /// Reads `name=domain;boot=3s;lazy`; options are `boot`, `stop`, `port_delay`, `port`,
    /// `address` and `lazy`.
    ///
    /// # Errors
    /// What is malformed, out of bounds or unknown.
    pub fn parse(text: &str) -> Result<(String, Self), String> {
        let mut parts = text.split(';').map(str::trim);
        let first = parts.next().unwrap_or_default();
        let (name, domain) = first.split_once('=').unwrap_or((first, ""));
        let mut spec = Self {
            domain: Some(domain.trim().to_owned()).filter(|domain| !domain.is_empty()),
            ..Self::default()
        };
        for option in parts.filter(|part| !part.is_empty()) {
            spec.set(option)?;
        }
        let name = name.trim().to_owned();
        check_name(&name)?;
        spec.check()?;
        Ok((name, spec))
    }

    fn set(&mut self, option: &str) -> Result<(), String> {
        let (key, value) = option.split_once('=').unwrap_or((option, "true"));
        let delay = |text| values::duration(text, Duration::ZERO, DELAY_MAX).map(Some);
        match key.trim() {
            "boot" | "boot_delay" => self.boot_delay = delay(value)?,
            "stop" | "stop_delay" => self.stop_delay = delay(value)?,
            "port_delay" => self.port_delay = delay(value)?,
            "port" => self.port = Some(values::number(value, 1, u16::MAX)?),
            "address" => self.address = Some(value.trim().to_owned()),
            "lazy" | "lazy_address" => self.lazy_address = values::switch(value)?,
            other => {
                return Err(format!(
                    "unknown option {other:?}; known are boot, stop, port_delay, port, address and lazy"
                ));
            }
        }
        Ok(())
    }

    /// # Errors
    /// A domain or an address that cannot be one, delays out of bounds, or port 0.
    pub fn check(&self) -> Result<(), String> {
        if let Some(domain) = &self.domain {
            let bad = |char: char| char.is_whitespace() || char.is_control();
            if domain.is_empty() || domain.len() > DOMAIN_BYTES_MAX || domain.contains(bad) {
                return Err(format!(
                    "domain must be 1 to {DOMAIN_BYTES_MAX} bytes without spaces"
                ));
            }
        }
        if let Some(address) = &self.address {
            check_address(address)?;
        }
        if self.port == Some(0) {
            return Err("port must be 1 to 65535".to_owned());
        }
        let delays = [self.boot_delay, self.stop_delay, self.port_delay];
        if delays.into_iter().flatten().any(|delay| delay > DELAY_MAX) {
            return Err(format!("no delay may exceed {}", values::short(DELAY_MAX)));
        }
        Ok(())
    }

    /// Something here listens for its players.
    pub(crate) fn listens(&self) -> bool {
        self.address.is_none() || self.port.is_some()
    }

    /// The ports and addresses of both are the same.
    pub(crate) fn same_place(&self, other: &Self) -> bool {
        (self.port, &self.address, self.lazy_address)
            == (other.port, &other.address, other.lazy_address)
    }
}

/// # Errors
/// A name that is empty, longer than [`NAME_BYTES_MAX`], or has control characters.
pub fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(char::is_control) {
        return Err(format!(
            "a server's name must be 1 to {NAME_BYTES_MAX} bytes without control characters"
        ));
    }
    Ok(())
}

fn check_address(address: &str) -> Result<(), String> {
    let wrong = || format!("{address:?} is not an address such as 10.0.0.5:25565");
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    values::number(port, 1, u16::MAX).map_err(|_| wrong())?;
    let bad = |char: char| char.is_whitespace() || char.is_control() || char == '/';
    if host.is_empty() || host.len() > DOMAIN_BYTES_MAX || host.contains(bad) {
        return Err(wrong());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_server_is_read_with_its_options() {
        let (name, spec) =
            ServerSpec::parse("survival=survival.example.com;boot=3s;port=25600;lazy").unwrap();

        assert_eq!(name, "survival");
        let domain_and_boot = ServerSpec::new("survival.example.com", Duration::from_secs(3));
        assert_eq!(
            spec,
            ServerSpec {
                port: Some(25600),
                lazy_address: true,
                ..domain_and_boot
            }
        );
        assert_eq!(
            ServerSpec::parse("bare"),
            Ok(("bare".to_owned(), ServerSpec::default()))
        );
    }

    #[test]
    fn what_cannot_be_a_server_is_refused_with_a_reason() {
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        for (text, reason) in [
            ("=a.example.com", "name"),
            (long.as_str(), "name"),
            ("a=b c", "domain"),
            ("a=b;boot=3", "not a duration"),
            ("a=b;boot=25h", "out of bounds"),
            ("a=b;bot=3s", "unknown option"),
            ("a=b;port=0", "not a number"),
            ("a=b;address=10.0.0.5", "not an address"),
            ("a=b;address=10.0.0.5:0", "not an address"),
        ] {
            let error = ServerSpec::parse(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
