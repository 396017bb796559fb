//! What `GET /metrics` says of the sync with Postgres.

use prometheus::Registry;

use super::metrics::{by_label, counter, gauge};
use crate::postgres::revision::{Mark, Why};
use crate::postgres::status::Snapshot;

/// How the sync with Postgres stands.
pub(super) fn add(registry: &Registry, sync: &Snapshot) -> prometheus::Result<()> {
    by_label(
        registry,
        "automc_sync_full_reads_total",
        "Reads of the whole table, by reason",
        "reason",
        Why::ALL
            .iter()
            .map(|why| (why.name(), sync.whole.get(why).copied().unwrap_or_default())),
    )?;
    counter(
        registry,
        "automc_sync_reads_total",
        "Reads that were applied, of the table or of some of its rows",
        sync.syncs,
    )?;
    counter(
        registry,
        "automc_sync_notifications_total",
        "Notifications of changes of the table",
        sync.notifications,
    )?;
    let revision = |mark: Option<&Mark>| mark.map_or(0, |mark| mark.revision);
    let held = sync.held.map(|held| held.effect.lost);
    let gauges = [
        (
            "automc_sync_connected",
            "Whether the connection to Postgres is up and listening",
            u64::from(sync.connected),
        ),
        (
            "automc_sync_revision",
            "The revision of the table that is applied; 0 where none are counted",
            revision(sync.applied.as_ref()),
        ),
        (
            "automc_sync_revision_seen",
            "The newest revision of the table that was seen",
            revision(sync.seen.as_ref()),
        ),
        (
            "automc_sync_held",
            "Whether a read of the table is held back",
            u64::from(held.is_some()),
        ),
        (
            "automc_sync_held_routes",
            "Routes that would go if it were applied",
            held.map_or(0, |lost| u64::try_from(lost).unwrap_or(u64::MAX)),
        ),
        (
            "automc_sync_stale",
            "Whether the table was not read since the start, and its routes are those of the snapshot file",
            u64::from(sync.stale.is_some()),
        ),
    ];
    for (name, help, value) in gauges {
        gauge(registry, name, help, value)?;
    }
    let Some(age) = sync.last_sync.and_then(|at| at.elapsed().ok()) else {
        return Ok(());
    };
    gauge(
        registry,
        "automc_sync_age_seconds",
        "Seconds since the last read of the table, or of some of its rows",
        age.as_secs(),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::SystemTime;

    use super::*;
    use crate::postgres::guard::Effect;
    use crate::postgres::status::Held;

    #[test]
    fn what_is_applied_held_back_and_read_is_told() {
        let mark = |revision| {
            let epoch = "epoch".into();
            Some(Mark { epoch, revision })
        };
        let now = SystemTime::now();
        let effect = Effect {
            routes: 300,
            lost: 200,
            ..Effect::default()
        };
        let sync = Snapshot {
            connected: true,
            syncs: 7,
            whole: BTreeMap::from([(Why::Gap, 2)]),
            applied: mark(5),
            seen: mark(6),
            held: Some(Held {
                effect,
                since: now,
                until: now,
                confirmed: false,
            }),
            ..Snapshot::default()
        };
        let registry = Registry::new();
        add(&registry, &sync).unwrap();
        let text = prometheus::TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap();
        for line in [
            "automc_sync_connected 1",
            "automc_sync_reads_total 7",
            "automc_sync_full_reads_total{reason=\"gap\"} 2",
            "automc_sync_full_reads_total{reason=\"lost\"} 0",
            "automc_sync_revision 5",
            "automc_sync_revision_seen 6",
            "automc_sync_held 1",
            "automc_sync_held_routes 200",
            "automc_sync_stale 0",
        ] {
            assert!(text.lines().any(|own| own == line), "no {line} in\n{text}");
        }
    }
}
