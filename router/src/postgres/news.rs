//! What the log says of the table's changes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::host::Host;
use crate::routes::diff::Change;
use crate::routes::offer::{Excluded, IgnoredSetting, Reason};
use crate::routes::pool::{Changes, Shadowed};
use crate::routes::{Route, overrides};
use crate::shared_str::SharedStr;

/// Most lines logged within [`SPAN`] about changes of the table: in a storm of changes, writing a line for each would
/// cost more than the changes.
const LINES_MAX: usize = 100;
const SPAN: Duration = Duration::from_secs(1);

/// Tells what changed.
#[derive(Debug, Default)]
pub(super) struct Teller {
    begun: Option<Instant>,
    lines: usize,
}

impl Teller {
    /// Tells what a read at `now` has changed; what is wrong with rows comes first.
    pub(super) fn tell(&mut self, changes: &Changes, now: Instant) {
        let on_purpose = |row: &&Arc<Excluded>| row.reason == Reason::Disabled;
        let excluded = changes.excluded.iter().filter(|row| !on_purpose(row));
        let lines = changes.ignored.iter().map(Line::Ignored);
        let lines = lines.chain(excluded.map(Line::Excluded));
        let lines = lines.chain(changes.shadowed.iter().map(Line::Shadowed));
        let lines = lines.chain(changes.hosts.iter().map(Line::Host));
        let mut untold: usize = 0;
        for line in lines {
            if self.has_room(now) {
                line.log();
            } else {
                untold += 1;
            }
        }
        if untold > 0 {
            info!("automc: and {untold} more changes");
        }
    }

    /// Whether there may be one more line.
    fn has_room(&mut self, now: Instant) -> bool {
        if self.begun.is_none_or(|begun| now >= begun + SPAN) {
            (self.begun, self.lines) = (Some(now), 0);
        }
        let has_room = self.lines < LINES_MAX;
        self.lines += usize::from(has_room);
        has_room
    }
}

/// What one line is about.
enum Line<'c> {
    Host(&'c Change<Host, Arc<Route>>),
    Ignored(&'c (SharedStr, IgnoredSetting)),
    Excluded(&'c Arc<Excluded>),
    Shadowed(&'c Shadowed),
}

impl Line<'_> {
    fn log(&self) {
        match self {
            Self::Host(Change::Add(host, route)) => {
                let (name, backend) = (name(route), route.leads_to());
                info!(json.host = %host, json.name = name, json.backend = %backend, "automc route +: {host} → {}", arrow(route));
            }
            Self::Host(Change::Remove(host, route)) => {
                let (name, backend) = (name(route), route.leads_to());
                info!(json.host = %host, json.name = name, json.backend = %backend, "automc route -: {host} → {}", arrow(route));
            }
            Self::Host(Change::Change(host, old, new)) => {
                let (name, backend) = (name(new), new.leads_to());
                let what = what_changed(old, new);
                info!(json.host = %host, json.name = name, json.backend = %backend, "automc route ~: {host} {what}");
            }
            Self::Ignored((name, setting)) => warn!("automc: row {name:?}: {setting}"),
            Self::Excluded(row) => {
                warn!("automc: row {:?} is not routed: {}", row.name, row.reason);
            }
            Self::Shadowed(shadowed) => warn!(
                "automc: row {:?} is not routed: {shadowed}",
                shadowed.loser.name
            ),
        }
    }
}

fn name(route: &Route) -> &str {
    route.server().map_or("", SharedStr::as_str)
}

fn arrow(route: &Route) -> String {
    format!("{} ({})", route.leads_to(), name(route))
}

/// `→ 127.0.0.1:1 (a), has other settings: hold_max`: where it leads or else its state, and settings.
fn what_changed(old: &Route, new: &Route) -> String {
    let mut parts = Vec::new();
    if old.leads_to() != new.leads_to() || old.server() != new.server() {
        parts.push(format!("→ {}", arrow(new)));
    } else if old.state != new.state {
        parts.push(format!("is {:?}", new.state));
    }
    let settings = overrides::differences(&old.policy, &new.policy);
    if !settings.is_empty() {
        parts.push(format!("has other settings: {}", settings.join(", ")));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_fills_no_log_and_the_next_change_is_told_again() {
        let mut teller = Teller::default();
        let begin = Instant::now();
        let told = |teller: &mut Teller, millis| {
            let now = begin + Duration::from_millis(millis);
            (0..LINES_MAX * 2).filter(|_| teller.has_room(now)).count()
        };
        assert_eq!(told(&mut teller, 0), LINES_MAX);
        assert_eq!(told(&mut teller, 999), 0);
        assert_eq!(told(&mut teller, 1_000), LINES_MAX);
    }
}
