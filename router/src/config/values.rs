//! Texts to the values that settings hold, with reasons a reader can act on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::durations::go_duration;

/// A duration such as `2s`, `1m30s` or `1.5h`, within `min..=max`: in Go's form, or in humantime's, which
/// allows blanks and longer units (`1day 2hours`).
///
/// # Errors
/// A number without a unit (but for `0`), anything else that is no duration, or one out of bounds.
pub fn duration(text: &str, min: Duration, max: Duration) -> Result<Duration, String> {
    let value = match go_duration(text.trim()) {
        Some(value) => value,
        None => humantime::parse_duration(text).map_err(|error| {
            format!("{text:?} is not a duration such as 2s, 1m30s, 1.5h or 100ms: {error}")
        })?,
    };
    if value < min || value > max {
        let (min, max) = (short(min), short(max));
        return Err(format!("{text:?} is out of bounds: {min} to {max}"));
    }
    Ok(value)
}

/// `1m30s`, the way the settings are written.
#[must_use]
pub fn short(duration: Duration) -> String {
    humantime::format_duration(duration)
        .to_string()
        .replace(' ', "")
}

/// `true` or `false`, also as `1` and `0`, `t` and `f`, `yes` and `no`, `on` and `off`.
///
/// # Errors
/// Anything else.
pub fn switch(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "t" | "yes" | "on" => Ok(true),
        "false" | "0" | "f" | "no" | "off" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

/// A whole number within `min..=max`.
///
/// # Errors
/// Anything else.
pub fn number<T>(text: &str, min: T, max: T) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + Copy + std::fmt::Display,
{
    match text.trim().parse::<T>() {
        Ok(value) if value >= min && value <= max => Ok(value),
        _ => Err(format!("{text:?} is not a number from {min} to {max}")),
    }
}

/// Where to listen: `host:port` with an IP address or `localhost`; a port alone, with or
/// without its colon, means loopback.
///
/// # Errors
/// Anything else.
pub fn binding(text: &str) -> Result<SocketAddr, String> {
    let wrong = || format!("{text:?} is not an address to listen on, such as 127.0.0.1:25590");
    let (host, port) = text
        .trim()
        .rsplit_once(':')
        .unwrap_or_else(|| ("", text.trim()));
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let ip = match host {
        "" | "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        "*" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => host.trim_matches(['[', ']']).parse().map_err(|_| wrong())?,
    };
    Ok(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn durations_are_read_as_people_write_them() {
        let read = |text| duration(text, Duration::ZERO, HOUR);
        assert_eq!(read("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(read("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(read("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(read("0.5h"), Ok(Duration::from_secs(1800)), "Go's");
        assert_eq!(read("0"), Ok(Duration::ZERO), "Go's");
        assert_eq!(read("1min 30sec"), Ok(Duration::from_secs(90)), "ours");
        for text in ["5", "", "abc", "2h", "-1s"] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_binding_without_a_host_is_loopback() {
        for (text, address) in [
            ("25590", "127.0.0.1:25590"),
            (":25590", "127.0.0.1:25590"),
            ("localhost:1", "127.0.0.1:1"),
            ("0.0.0.0:1", "0.0.0.0:1"),
            ("[::]:1", "[::]:1"),
            ("*:1", "[::]:1"),
        ] {
            assert_eq!(binding(text), Ok(address.parse().unwrap()), "{text}");
        }
        assert!(binding("nowhere").is_err());
    }

    proptest! {
        #[test]
        fn a_duration_comes_back_from_its_short_form(millis in 1_u64..3_600_000) {
            let value = Duration::from_millis(millis);
            prop_assert_eq!(duration(&short(value), Duration::ZERO, HOUR), Ok(value));
        }
    }
}
