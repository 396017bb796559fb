//! What the log says of the table's changes.

use std::sync::Arc;

use tracing::{info, warn};

use crate::routes::diff::Change;
use crate::routes::offer::{Excluded, Reason};
use crate::routes::pool::Changes;
use crate::routes::{Route, overrides};
use crate::shared_str::SharedStr;

/// Most lines logged about the changes of one read.
const CHANGE_LINES_MAX: usize = 100;

/// Tells what changed.
pub(super) fn tell(changes: &Changes) {
    let hosts = &changes.hosts;
    for change in hosts.iter().take(CHANGE_LINES_MAX) {
        match change {
            Change::Add(host, route) => info!("automc route +: {host} → {}", arrow(route)),
            Change::Remove(host, route) => info!("automc route -: {host} → {}", arrow(route)),
            Change::Change(host, old, new) => {
                info!("automc route ~: {host} {}", what_changed(old, new));
            }
        }
    }
    if let Some(more @ 1..) = hosts.len().checked_sub(CHANGE_LINES_MAX) {
        info!("automc: and {more} more route changes");
    }
    for (name, setting) in changes.ignored.iter().take(CHANGE_LINES_MAX) {
        warn!("automc: row {name:?}: {setting}");
    }
    let on_purpose = |row: &&Arc<Excluded>| row.reason == Reason::Disabled;
    let excluded = changes.excluded.iter().filter(|row| !on_purpose(row));
    for row in excluded.take(CHANGE_LINES_MAX) {
        warn!("automc: row {:?} is not routed: {}", row.name, row.reason);
    }
    for shadowed in changes.shadowed.iter().take(CHANGE_LINES_MAX) {
        warn!(
            "automc: row {:?} is not routed: {shadowed}",
            shadowed.loser.name
        );
    }
}

fn arrow(route: &Route) -> String {
    let server = route.server().map_or("", SharedStr::as_str);
    format!("{} ({server})", route.leads_to())
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
