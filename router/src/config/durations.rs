//! Durations as Go programs read them (pkg.go.dev/time, `ParseDuration`).

use std::time::Duration;

/// Units by their names, in nanoseconds; the micro sign is there as U+00B5 and as the Greek letter.
const UNITS: &[(&str, u128)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", NANOS),
    ("m", 60 * NANOS),
    ("h", 3_600 * NANOS),
];
/// Nanoseconds of a second.
const NANOS: u128 = 1_000_000_000;
/// Digits that count on either side of a point: as many as fit next to the largest unit.
const DIGITS_MAX: usize = 20;

/// `1h30m`, `1.5h`, `100ms`, `1µs`, `+2s` or `0`: numbers with units, one after the other and without blanks.
/// What is below a nanosecond is dropped. Anything else is `None`, and so are negative durations and
/// numbers of more than 20 digits.
#[must_use]
pub fn go_duration(text: &str) -> Option<Duration> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if text == "0" {
        return Some(Duration::ZERO);
    }
    if text.is_empty() {
        return None;
    }
    let (mut rest, mut nanos) = (text, 0_u128);
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (part, after) = after.strip_prefix('.').map_or(("", after), digits);
        let number = after.find(|letter: char| letter.is_ascii_digit() || letter == '.');
        let (unit, after) = after.split_at(number.unwrap_or(after.len()));
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
        nanos = nanos.checked_add(counted(whole, part, *unit)?)?;
        rest = after;
    }
    let seconds = u64::try_from(nanos / NANOS).ok()?;
    Some(Duration::new(seconds, u32::try_from(nanos % NANOS).ok()?))
}

/// The digits that `text` begins with, and what comes after them.
fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|letter: char| !letter.is_ascii_digit());
    text.split_at(end.unwrap_or(text.len()))
}

/// `whole.part` times `unit`.
fn counted(whole: &str, part: &str, unit: u128) -> Option<u128> {
    if whole.is_empty() && part.is_empty() {
        return None;
    }
    let number = |digits: &str| match digits.len() {
        0 => Some(0_u128),
        1..=DIGITS_MAX => digits.parse().ok(),
        _ => None,
    };
    let scale = 10_u128.checked_pow(u32::try_from(part.len()).ok()?)?;
    let below = number(part)?.checked_mul(unit)? / scale;
    number(whole)?.checked_mul(unit)?.checked_add(below)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_those_of_go() {
        for (text, nanos) in [
            ("0", 0),
            ("+0", 0),
            ("0s", 0),
            ("5s", 5_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("90s", 90_000_000_000),
            ("100ms", 100_000_000),
            ("1µs", 1_000),
            ("1μs", 1_000),
            ("1us", 1_000),
            ("7ns", 7),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("1m0.25s", 60_250_000_000),
            ("0.9ns", 0),
            ("2s1h", 3_602_000_000_000),
            ("0.33333333333333333333h", 1_199_999_999_999),
        ] {
            assert_eq!(
                go_duration(text),
                Some(Duration::from_nanos(nanos)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_duration_of_go_is_none() {
        for text in [
            "",
            "+",
            "-",
            "5",
            "s",
            ".s",
            ".",
            "1..5s",
            "1.5.5s",
            "-5s",
            "- 5s",
            "++5s",
            "5 s",
            "1h 30m",
            "5S",
            "5sec",
            "5d",
            "1e3s",
            "٣s",
            "5s ",
            "1h30",
            "999999999999999999999s",
            "99999999999999999999h",
        ] {
            assert_eq!(go_duration(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_duration_in_parts_is_their_sum(hours in 0_u64..10_000, minutes in 0_u64..10_000, micros in 0_u64..u64::from(u32::MAX)) {
            let nanos = hours * 3_600_000_000_000 + minutes * 60_000_000_000 + micros * 1_000;
            let seconds = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
            let text = format!("{hours}h{minutes}m{seconds}s");
            prop_assert_eq!(go_duration(&text), Some(Duration::from_nanos(nanos)));
        }

        #[test]
        fn no_text_does_harm(text in "[-+0-9.hmsunµ ]{0,60}|\\PC{0,30}") {
            let _ = go_duration(&text);
        }
    }
}
