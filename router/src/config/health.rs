//! The setting of health: how often backends are asked how they are.

use std::time::Duration;

use super::settings::{Key, Settings};
use super::text;

pub(super) const KEYS: &[Key] = &[text(
    "automc_health_interval",
    "30s",
    "How often each backend is asked how it is; 0 for never",
)];
/// Shorter than this is a load and no check.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// From one check of a backend to the next; zero for none at all.
pub(super) fn interval(
    settings: &mut Settings,
    within: impl Fn(&str) -> Result<Duration, String>,
) -> Duration {
    let interval = settings.parse("automc_health_interval", |text| {
        let interval = within(text)?;
        if interval.is_zero() || interval >= INTERVAL_MIN {
            Ok(interval)
        } else {
            Err(format!("{text:?} is too short: 100ms or more, or 0"))
        }
    });
    interval.unwrap_or_default()
}
