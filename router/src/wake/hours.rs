//! The hours of the week at which a server may be woken, on the clock of one place.
//!
//! A window is the time between two moments, its first reading of the clock and its last. Where
//! the clock is put forward past one of the two, the moment is as much later; where it is put
//! back over one, the first of the two readings counts.

use std::time::{Duration, SystemTime};

use jiff::civil::{Date, Weekday};
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

/// Most windows of one schedule.
pub const WINDOWS_MAX: usize = 50;
/// How many days ahead the next opening is looked for: a window of one day of the week, which the
/// clock's change may swallow once.
const DAYS_AHEAD: i32 = 15;
const DAY_MINUTES: i64 = 24 * 60;
const DAY_NAMES: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];

/// Windows of the week, and where the clock hangs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    windows: Vec<Window>,
    zone: TimeZone,
}

/// From a time of day to a later one, or to an earlier one of the day after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    /// The days it begins on; the lowest bit is Monday's.
    days: u8,
    /// Minutes after midnight.
    from: i64,
    /// Minutes after the same midnight; up to two days.
    to: i64,
}

impl Hours {
    /// Reads windows such as `mon-fri 08:00-22:00` or `10:00-02:00`, which is every day's. The
    /// last may carry the zone of them all, a fixed offset (`+02:00`) or a name of the time zone
    /// database (`Europe/Berlin`); without one, the clock is UTC's.
    ///
    /// # Errors
    /// Which window is none, or that there is no such zone.
    pub fn parse(windows: &[String]) -> Result<Self, String> {
        if windows.is_empty() || windows.len() > WINDOWS_MAX {
            let count = windows.len();
            return Err(format!("{count} windows are not from 1 to {WINDOWS_MAX}"));
        }
        let mut hours = Self {
            windows: Vec::new(),
            zone: TimeZone::UTC,
        };
        for (index, text) in windows.iter().enumerate() {
            let mut words: Vec<&str> = text.split_ascii_whitespace().collect();
            // The zone is what comes after the times.
            if words.len() > 1
                && let [.., times, name] = words[..]
                && times.starts_with(|first: char| first.is_ascii_digit())
            {
                if index + 1 < windows.len() {
                    return Err(format!("{name:?}: the zone comes after the last window"));
                }
                hours.zone = zone(name)?;
                words.pop();
            }
            let window = window(&words);
            let wrong = || format!("{text:?} is not a window such as mon-fri 08:00-22:00");
            hours.windows.push(window.ok_or_else(wrong)?);
        }
        Ok(hours)
    }

    /// How long it is until the next opening; `None` when it is open at `at`.
    #[must_use]
    pub fn opens_in(&self, at: SystemTime) -> Option<Duration> {
        // Years with five digits: no clock is that wrong, and whoever reads it gets in.
        let now = Timestamp::try_from(at).ok()?;
        let mut day = now.to_zoned(self.zone.clone()).date().yesterday().ok()?;
        let mut next: Option<Timestamp> = None;
        for _ in -1..=DAYS_AHEAD {
            for window in &self.windows {
                let Some((from, to)) = self.on(window, day) else {
                    continue;
                };
                if from <= now && now < to {
                    return None;
                }
                if now < from {
                    next = Some(next.map_or(from, |next| next.min(from)));
                }
            }
            if next.is_some() {
                break;
            }
            day = day.tomorrow().ok()?;
        }
        let far = Duration::from_secs(u64::from(DAYS_AHEAD.unsigned_abs()) * 24 * 60 * 60);
        Some(next.map_or(far, |next| now.duration_until(next).unsigned_abs()))
    }

    /// The moments between which `window` of `day` is open; `None` where the clock leaves none.
    fn on(&self, window: &Window, day: Date) -> Option<(Timestamp, Timestamp)> {
        let bit = day.weekday().to_monday_zero_offset();
        if window.days & (1 << bit) == 0 {
            return None;
        }
        let midnight = day.at(0, 0, 0, 0);
        let moment = |minutes| {
            let reading = midnight.checked_add(SignedDuration::from_mins(minutes));
            self.zone.to_timestamp(reading.ok()?).ok()
        };
        let (from, to) = (moment(window.from)?, moment(window.to)?);
        (from < to).then_some((from, to))
    }
}

fn window(words: &[&str]) -> Option<Window> {
    let (days, times) = match words {
        [times] => (0b111_1111, times),
        [days, times] => (days_of(days)?, times),
        _ => return None,
    };
    let (from, to) = times.split_once('-')?;
    let (from, mut to) = (minutes(from)?, minutes(to)?);
    if from == to || from == DAY_MINUTES {
        return None;
    }
    if to < from {
        to += DAY_MINUTES;
    }
    Some(Window { days, from, to })
}

/// `mon-fri`, `fri-mon` or `sun`, as bits.
fn days_of(text: &str) -> Option<u8> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (mut day, last) = (weekday(first)?, weekday(last)?);
    let mut days = 0;
    loop {
        days |= 1 << day.to_monday_zero_offset();
        if day == last {
            return Some(days);
        }
        day = day.next();
    }
}

fn weekday(text: &str) -> Option<Weekday> {
    let name = text.to_ascii_lowercase();
    let is_it = |day: &str| name == day || day.get(..3) == Some(name.as_str());
    let index = DAY_NAMES.iter().position(|day| is_it(day))?;
    Weekday::from_monday_zero_offset(i8::try_from(index).ok()?).ok()
}

/// `08:00`, or `24:00` at the latest, in minutes after midnight.
fn minutes(text: &str) -> Option<i64> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str, digits: std::ops::RangeInclusive<usize>| {
        let is_number = digits.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| text.parse::<i64>().ok()).flatten()
    };
    let (hours, minutes) = (number(hours, 1..=2)?, number(minutes, 2..=2)?);
    let after = hours * 60 + minutes;
    (minutes < 60 && after <= DAY_MINUTES).then_some(after)
}

fn zone(name: &str) -> Result<TimeZone, String> {
    if name.starts_with(['+', '-']) {
        return offset(name)
            .map(TimeZone::fixed)
            .ok_or_else(|| format!("{name:?} is not an offset such as +02:00"));
    }
    TimeZone::get(name).map_err(|_| format!("there is no time zone {name:?}"))
}

fn offset(text: &str) -> Option<Offset> {
    let (back, time) = match text.strip_prefix('-') {
        Some(time) => (true, time),
        None => (false, text.strip_prefix('+')?),
    };
    let seconds = i32::try_from(minutes(time)? * 60).ok()?;
    Offset::from_seconds(if back { -seconds } else { seconds }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hours(text: &str) -> Result<Hours, String> {
        let windows: Vec<_> = text.split(',').map(str::to_owned).collect();
        Hours::parse(&windows)
    }

    fn at(text: &str) -> SystemTime {
        text.parse::<Timestamp>().unwrap().into()
    }

    /// `None` when open, else minutes.
    fn opens_in(schedule: &str, time: &str) -> Option<u64> {
        let opens_in = hours(schedule).unwrap().opens_in(at(time));
        opens_in.map(|wait| wait.as_secs() / 60)
    }

    #[test]
    fn a_window_is_open_from_its_first_minute_until_before_its_last() {
        // 2026-01-05 is a Monday.
        for (time, expected) in [
            ("2026-01-05T07:59:00Z", Some(1)),
            ("2026-01-05T08:00:00Z", None),
            ("2026-01-05T21:59:59Z", None),
            ("2026-01-05T22:00:00Z", Some(10 * 60)),
            ("2026-01-09T22:00:00Z", Some((2 * 24 + 10) * 60)),
        ] {
            assert_eq!(opens_in("mon-fri 08:00-22:00", time), expected, "{time}");
        }
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_it_begins_on() {
        let schedule = "Sat-Sunday 10:00-02:00";
        assert_eq!(opens_in(schedule, "2026-01-05T01:59:00Z"), None, "Sunday's");
        assert_eq!(
            opens_in(schedule, "2026-01-05T02:00:00Z"),
            Some((5 * 24 + 8) * 60)
        );
        assert_eq!(opens_in(schedule, "2026-01-10T01:00:00Z"), Some(9 * 60));
        assert_eq!(
            opens_in("fri-mon 00:00-24:00", "2026-01-06T00:00:00Z"),
            Some(3 * 24 * 60)
        );
        assert_eq!(opens_in("22:00-00:00", "2026-01-06T23:59:59Z"), None);
    }

    #[test]
    fn the_clock_is_that_of_the_zone_also_when_it_is_changed() {
        let time = "2026-07-06T06:30:00Z";
        assert_eq!(opens_in("08:00-22:00", time), Some(90));
        assert_eq!(opens_in("08:00-22:00 +02:00", time), None);
        assert_eq!(opens_in("08:00-22:00 -01:30", time), Some(180));
        let berlin = "mon-fri 09:00-10:00,sat-sun 08:00-22:00 Europe/Berlin";
        assert_eq!(opens_in(berlin, "2026-03-28T07:00:00Z"), None, "winter");
        // The clock goes forward in the night between.
        assert_eq!(opens_in(berlin, "2026-03-28T21:00:00Z"), Some(9 * 60));
        assert_eq!(opens_in(berlin, "2026-03-29T06:00:00Z"), None, "summer");
        // 02:30 is left out that night: the window is the hour that follows.
        let night = "sun 02:30-03:30 Europe/Berlin";
        assert_eq!(
            opens_in(night, "2026-03-29T01:00:00Z"),
            Some(6 * 24 * 60 + 23 * 60 + 30)
        );
    }

    #[test]
    fn a_day_that_has_begun_goes_on_when_the_clock_is_put_back_over_midnight() {
        // At one minute past, to 23:01 of the Saturday.
        let schedule = "sun 00:00-12:00 America/St_Johns";
        assert_eq!(opens_in(schedule, "2010-11-07T02:29:00Z"), Some(1));
        assert_eq!(opens_in(schedule, "2010-11-07T02:45:00Z"), None);
    }

    #[test]
    fn what_is_no_schedule_is_refused_by_name() {
        for (text, reason) in [
            ("", "\"\" is not a window"),
            ("mon-fri", "not a window"),
            ("xyz 08:00-22:00", "not a window"),
            ("8-22", "not a window"),
            ("08:00-08:00", "not a window"),
            ("08:60-09:00", "not a window"),
            ("24:00-25:00", "not a window"),
            ("+8:00-09:00", "not a window"),
            ("mon tue 08:00-09:00", "not a window"),
            ("08:00-22:00 Mars/Olympus", "no time zone \"Mars/Olympus\""),
            ("08:00-22:00 +99:00", "not an offset"),
            ("08:00-09:00 UTC,10:00-11:00", "after the last window"),
        ] {
            let error = hours(text).unwrap_err();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
        let many = vec!["08:00-09:00".to_owned(); WINDOWS_MAX + 1];
        assert!(Hours::parse(&many).is_err());
    }

    fn schedules() -> impl Strategy<Value = Hours> {
        let window = (0..7_usize, 0..7_usize, 0..1440_u32, 0..1439_u32).prop_map(
            |(first, last, from, step)| {
                let to = (from + 1 + step) % 1440;
                let time = |minutes: u32| format!("{:02}:{:02}", minutes / 60, minutes % 60);
                let days = format!("{}-{}", DAY_NAMES[first], DAY_NAMES[last]);
                format!("{days} {}-{}", time(from), time(to))
            },
        );
        let zones = proptest::sample::select(vec![
            "UTC",
            "-03:30",
            "Europe/Berlin",
            "America/New_York",
            // The clock is put back to midnight, over it, and by half an hour.
            "America/Havana",
            "America/Santiago",
            "Australia/Lord_Howe",
        ]);
        (proptest::collection::vec(window, 1..4), zones).prop_map(|(mut windows, zone)| {
            if let Some(last) = windows.last_mut() {
                *last = format!("{last} {zone}");
            }
            Hours::parse(&windows).unwrap()
        })
    }

    proptest! {
        #[test]
        fn it_opens_exactly_when_it_says_and_not_before(
            hours in schedules(), minute in 0..2 * 366 * 1440_u64, part in 0.0..1.0_f64
        ) {
            let now = at("2026-01-01T00:00:00Z") + Duration::from_secs(minute * 60);
            if let Some(wait) = hours.opens_in(now) {
                prop_assert!(!wait.is_zero());
                prop_assert_eq!(hours.opens_in(now + wait), None);
                let before = wait.mul_f64(part).min(wait - Duration::from_secs(1));
                prop_assert_eq!(hours.opens_in(now + before), Some(wait - before));
            }
        }
    }
}
