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

/// A duration as logs, errors and the API tell it, and as settings are written: of three significant digits below a
/// minute, and of the two greatest units above: `850ns`, `6.21ms`, `1.53s`, `2m30s`, `26h`.
#[must_use]
pub fn short(duration: Duration) -> String {
    // What is rounded up to the next unit is told in that one.
    const UNITS: [(u128, &str, u128); 4] = [
        (1, "ns", 1_000),
        (1_000, "µs", 1_000),
        (1_000_000, "ms", 1_000),
        (1_000_000_000, "s", 60),
    ];
    const DIGITS: u128 = 1_000;
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    for (size, unit, most) in UNITS {
        for parts in [100, 10, 1] {
            let rounded = (nanos * parts + size / 2) / size;
            if rounded < DIGITS && rounded < most * parts {
                let (whole, rest) = (rounded / parts, rounded % parts);
                let places = usize::from(parts > 1) + usize::from(parts > 10);
                let number = match places {
                    0 => whole.to_string(),
                    places => format!("{whole}.{rest:0places$}"),
                };
                let number = match places {
                    0 => &number,
                    _ => number.trim_end_matches('0').trim_end_matches('.'),
                };
                return format!("{number}{unit}");
            }
        }
    }
    let seconds = (nanos + 500_000_000) / 1_000_000_000;
    let two = |great: u128, unit: &str, small: u128, smaller: &str| match small {
        0 => format!("{great}{unit}"),
        small => format!("{great}{unit}{small}{smaller}"),
    };
    if seconds < 3_600 {
        return two(seconds / 60, "m", seconds % 60, "s");
    }
    let minutes = (seconds + 30) / 60;
    if minutes < 48 * 60 {
        return two(minutes / 60, "h", minutes % 60, "m");
    }
    let hours = (minutes + 30) / 60;
    two(hours / 24, "d", hours % 24, "h")
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

    const YEAR_NANOS: u64 = 365 * 24 * 3_600 * 1_000_000_000;
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
    fn durations_have_one_form_of_three_digits() {
        for (nanos, text) in [
            (0, "0s"),
            (7, "7ns"),
            (999, "999ns"),
            (1_000, "1µs"),
            (12_345, "12.3µs"),
            (6_214_999, "6.21ms"),
            (62_149_999, "62.1ms"),
            (621_499_999, "621ms"),
            (999_600_000, "1s"),
            (1_534_000_000, "1.53s"),
            (1_500_000_000, "1.5s"),
            (2_000_000_000, "2s"),
            (10_040_000_000, "10s"),
            (59_940_000_000, "59.9s"),
            (59_960_000_000, "1m"),
            (150_000_000_000, "2m30s"),
            (3_599_600_000_000, "1h"),
            (5_400_000_000_000, "1h30m"),
            (93_600_000_000_000, "26h"),
            (180_000_000_000_000, "2d2h"),
        ] {
            assert_eq!(short(Duration::from_nanos(nanos)), text, "{nanos}");
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
        fn a_duration_comes_back_from_its_short_form_but_for_what_three_digits_cannot_tell(
            nanos in prop_oneof![1..2_000_u64, 1..2_000_000_000_u64, 1..YEAR_NANOS],
        ) {
            let (value, most) = (Duration::from_nanos(nanos), Duration::MAX);
            let text = short(value);
            let read = duration(&text, Duration::ZERO, most).unwrap();
            prop_assert!(read.abs_diff(value) <= value / 100, "{} is {:?}", text, value);
            let digits = text.chars().filter(char::is_ascii_digit).count();
            prop_assert!(digits <= if value < Duration::from_secs(59) { 3 } else { 5 }, "{}", text);
            prop_assert_eq!(short(read), text);
        }
    }
}
