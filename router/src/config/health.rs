//! The setting of health: how often backends are asked how they are.

use std::time::Duration;

use super::settings::{Key, Settings};
use super::text;
use crate::health::schedule::{Checks, INTERVAL};

const NAME: &str = "automc_health_interval";
pub(super) const KEYS: &[Key] = &[text(
    NAME,
    "",
    "How often each backend is asked how it is, all the time; 0 for never; unset: only while somebody is interested",
)];
/// Shorter than this is a load and no check.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// Who is asked.
pub(super) fn checks(
    settings: &mut Settings,
    within: impl Fn(&str) -> Result<Duration, String>,
) -> Checks {
    let checks = settings.parse(NAME, |text| {
        let interval = within(text)?;
        if interval.is_zero() {
            Ok(Checks::Never)
        } else if interval >= INTERVAL_MIN {
            Ok(Checks::Always(interval))
        } else {
            Err(format!("{text:?} is too short: 100ms or more, or 0"))
        }
    });
    checks.unwrap_or(Checks::OfInterest(INTERVAL))
}
