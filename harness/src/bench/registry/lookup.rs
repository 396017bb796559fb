//! What one look-up costs, clean-up included, and what one change does to the table, in this process.

use std::fmt;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use automc_router::host::Names;
use automc_router::routes::offer::{Offer, Provider};
use automc_router::routes::overrides::Policies;
use automc_router::routes::registry::Registry;
use automc_router::routes::row::{self, Row};
use serde_json::{Value, json};

use super::rows;
use crate::usage::held;

/// Hosts that are asked for in turn, at random over all: as many as are busy at the same time, and so many that no cache
/// has them.
const ASKED: [usize; 2] = [1_000, 1 << 16];
/// Routes that the registry is given at once.
const PART: usize = 1_000;
/// How often all of it is done.
const ROUNDS: usize = 7;
/// Look-ups of one round.
const LOOKUPS: usize = 1 << 20;
/// From one change to the next while hosts are looked up: as many changes as in the storm.
const BETWEEN: Duration = Duration::from_millis(1);
/// Changes of one round.
const CHANGES: usize = 200;

/// Medians over rounds, with the quickest and slowest.
#[derive(Debug, Clone)]
pub(super) struct Figures {
    /// Of the registry alone.
    pub(super) bytes_per_route: u64,
    busy: [Duration; 3],
    /// The same hosts, while another thread changes one route after the other.
    changing: [Duration; 3],
    any: [Duration; 3],
    change: [Duration; 3],
}

impl Figures {
    pub(super) fn json(&self) -> Value {
        let nanos = |figures: &[Duration; 3]| figures.map(|time| time.as_secs_f64() * 1e9);
        json!({
            "registry_bytes_per_route": self.bytes_per_route,
            "busy_ns_min_median_max": nanos(&self.busy),
            "busy_while_changing_ns_min_median_max": nanos(&self.changing),
            "any_ns_min_median_max": nanos(&self.any),
            "change_us": self.change.map(|time| time.as_secs_f64() * 1e6),
        })
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [busy, all] = ASKED;
        let figures = [self.busy, self.changing, self.any];
        let [calm, changing, any] = figures.map(|figures| {
            let [low, median, high] = figures.map(|time| time.as_nanos());
            format!("{median} ns ({low}–{high})")
        });
        write!(
            formatter,
            "{calm} for {busy} hosts, {changing} while routes change, {any} for {all} hosts; a change takes {:.1?}",
            self.change[1]
        )
    }
}

fn offer(number: usize, address: String, policies: &mut Policies) -> Offer {
    let row = Row {
        name: Some(rows::name(number)),
        domain: Some(rows::domain(number)),
        address: Some(address),
        state: Some("stopped".to_owned()),
        ..Row::default()
    };
    row::offer(row, policies, Names::default())
}

/// Hosts as clients write them: mostly clean, some with capitals, a dot at the end, or Forge's mark.
fn asked(rows: usize, count: usize) -> Vec<String> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 16).unwrap_or_default()
    };
    let hosts = (0..count).map(|number| {
        let host = rows::domain(random() % rows.max(1));
        match number % 8 {
            0 => host.to_uppercase(),
            1 => format!("{host}."),
            2 => format!("{host}\0FML3\0"),
            _ => host,
        }
    });
    hosts.collect()
}

fn ordered(mut rounds: Vec<Duration>) -> [Duration; 3] {
    rounds.sort_unstable();
    let at = |index: usize| rounds.get(index).copied().unwrap_or_default();
    [
        at(0),
        at(rounds.len() / 2),
        at(rounds.len().saturating_sub(1)),
    ]
}

/// Fills a registry with `rows` routes and asks it.
pub(super) fn measure(rows: usize) -> Result<Figures> {
    let me = [std::process::id()];
    let before = held(&me)?.0;
    let registry = Registry::default();
    let mut policies = Policies::over(registry.defaults().clone());
    // A part at a time, so that what is held in between is small beside what stays.
    for begin in (0..rows).step_by(PART) {
        let part = begin..rows.min(begin + PART);
        let offers = part.map(|number| {
            let offer = offer(number, rows::address(number), &mut policies);
            (rows::name(number).into(), Some(offer))
        });
        let offers: Vec<_> = offers.collect();
        registry.update(Provider::Postgres, offers);
    }
    let held = held(&me)?.0.saturating_sub(before);
    let asked = ASKED.map(|count| asked(rows, count));
    let [busy, any] = &asked;
    let [mut calm, mut changing, mut cold, mut changes] = [const { Vec::new() }; 4];
    for round in 0..ROUNDS {
        look(&registry, busy, &mut calm)?;
        look(&registry, any, &mut cold)?;
        let backends = (0..).map(|number| format!("h{round}-{number}.example:1"));
        let began = Instant::now();
        change(
            &registry,
            rows,
            &mut policies,
            backends.clone().take(CHANGES),
        );
        changes.push(began.elapsed() / u32::try_from(CHANGES)?);

        let (registry, policies, done) = (&registry, &mut policies, AtomicBool::new(false));
        thread::scope(|scope| {
            let backends = backends.take_while(|_| !done.load(Ordering::Relaxed));
            let paced = backends.inspect(|_| thread::park_timeout(BETWEEN));
            scope.spawn(|| change(registry, rows, policies, paced));
            let looked = look(registry, busy, &mut changing);
            done.store(true, Ordering::Relaxed);
            looked
        })?;
    }
    // Memory that is free again would be what the next size is made of, and its figure too small.
    std::mem::forget((registry, asked));
    Ok(Figures {
        bytes_per_route: held / u64::try_from(rows)?.max(1),
        busy: ordered(calm),
        changing: ordered(changing),
        any: ordered(cold),
        change: ordered(changes),
    })
}

/// Asks for [`LOOKUPS`] of `hosts`.
fn look(registry: &Registry, hosts: &[String], rounds: &mut Vec<Duration>) -> Result<()> {
    let begin = Instant::now();
    let mut found = 0;
    for host in hosts.iter().cycle().take(LOOKUPS) {
        // As a connection does: the table of this moment, every time.
        found += usize::from(black_box(registry.table().lookup(black_box(host))).is_some());
    }
    rounds.push(begin.elapsed() / u32::try_from(LOOKUPS)?);
    ensure!(found == LOOKUPS, "{found} of {LOOKUPS} hosts were found");
    Ok(())
}

/// Has one row after the other lead to the next of `backends`.
fn change(
    registry: &Registry,
    rows: usize,
    policies: &mut Policies,
    backends: impl Iterator<Item = String>,
) {
    for (number, backend) in backends.enumerate() {
        let number = (number * 7919) % rows.max(1);
        let offer = offer(number, backend, policies);
        let news = [(rows::name(number).into(), Some(offer))];
        black_box(registry.update(Provider::Postgres, news));
    }
}
