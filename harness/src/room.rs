//! Room for connections in the kernel's table of tracked ones, where rules of a firewall (a Docker
//! engine's, for one) have it keep one: a closed connection stays in it for two minutes, and once it
//! is full no new one is let through, on loopback either.

use std::fs::read_to_string;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::sleep;

use crate::bench::say;

/// Entries one run takes: 10,000 players or connects, twice, and some.
const ENTRIES: u64 = 30_000;
/// How often the table is looked at, and how many times at most.
const LOOKS: (Duration, u32) = (Duration::from_secs(2), 120);

/// Waits until there is room for one run.
pub(crate) async fn room() -> Result<()> {
    let (pause, looks) = LOOKS;
    for look in 0..looks {
        // No such file: nothing is tracked.
        let (Some(count), Some(max)) = (entries("count"), entries("max")) else {
            return Ok(());
        };
        if count + ENTRIES <= max {
            return Ok(());
        }
        if look == 0 {
            say(&format!(
                "    waiting: {count} of {max} tracked connections; \
                 net.netfilter.nf_conntrack_tcp_timeout_time_wait says how long"
            ));
        }
        sleep(pause).await;
    }
    bail!(
        "no room for {ENTRIES} tracked connections within {:?}",
        pause * looks
    )
}

fn entries(which: &str) -> Option<u64> {
    let text = read_to_string(format!("/proc/sys/net/netfilter/nf_conntrack_{which}"));
    text.ok()?.trim().parse().ok()
}
