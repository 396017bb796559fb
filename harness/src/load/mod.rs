//! Load for relays: a server and its players, each part a process of its own, because a process
//! may open 20,000 files and no more on many machines, and so that what they cost can be told apart.
//!
//! The parts are hidden subcommands of the `harness` binary ([`run`]); [`part`] starts and orders them.

pub mod behaviour;
mod door;
pub mod job;
pub mod latency;
mod paced;
mod parent;
pub mod part;
mod ping;
mod round_trips;
mod sequence;
mod server;
mod stay;
mod talk;
mod transfer;
pub mod visit;

use anyhow::{Context, Result};
use automc_router::files::raise_limit;

use door::Door;
use job::{Job, Order, Report, Said};
use paced::Pace;
use parent::{Parent, say};

/// Is a part of load, on this thread alone: the server, or with an order (JSON of
/// [`job::Order`]) its players.
///
/// # Errors
/// The load cannot be made; whoever ordered it is told the same.
pub fn run(order: Option<&str>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let outcome = match order {
        None => runtime.block_on(server::run()),
        Some(order) => {
            let order = serde_json::from_str(order).context("order")?;
            match runtime.block_on(players(order)) {
                Ok(report) => say(&Said::Report(report)),
                Err(error) => say(&Said::Failed(format!("{error:#}"))),
            }
        }
    };
    // Not waiting for a thread that may be sending still.
    runtime.shutdown_background();
    outcome
}

async fn players(Order { at, host, job }: Order) -> Result<Report> {
    let (door, mut parent) = (Door { at, host }, Parent::listen());
    let (door, parent) = (&door, &mut parent);
    raise_limit();
    match job {
        Job::RoundTrips {
            players,
            bytes,
            span,
        } => round_trips::run(door, parent, (players, bytes), span).await,
        Job::Paced {
            players,
            per_second,
            bytes,
            warm_up,
            packets,
        } => {
            let pace = Pace {
                players,
                per_second,
                bytes,
                warm_up,
                packets,
            };
            paced::run(door, parent, pace).await
        }
        Job::Transfer {
            players,
            way,
            bytes,
        } => transfer::run(door, parent, players, way, bytes).await,
        Job::Connects { at_once, span } => round_trips::connects(door, parent, at_once, span).await,
        Job::Pings { at_once, span } => round_trips::pings(door, parent, at_once, span).await,
        Job::Downloads { at_once, bytes } => stay::downloads(door, parent, at_once, bytes).await,
        Job::Visits {
            players,
            pause,
            visits,
        } => talk::run(door, parent, players, pause, visits).await,
        Job::Hold { players } => stay::hold(door, parent, players).await,
    }
}
