//! The world around the router: real Postgres, real processes, real sockets.
//!
//! In order of need: [`postgres`] and a [`chaos`] proxy before it, [`router`] as a [`process`] or
//! inside, [`backend`]s and [`player`]s, [`clients`] and servers that others have written, a [`manager`]
//! that wakes servers by script or fails to, [`events`] as they are told, containers of an [`engine`], [`eventually`] for whatever takes its time, a [`table`] with
//! its router, a whole [`world`], the table of [`conformance`] with mc-router, and [`load`] of more players than one process can hold, which
//! [`mod@bench`] measures with and [`soak`] lets talk for long.

pub mod backend;
pub mod bench;
pub mod binaries;
pub mod chaos;
pub mod clients;
pub mod conformance;
pub mod demo;
pub mod engine;
pub mod events;
pub mod eventually;
mod fnv;
pub mod http;
pub mod load;
pub mod manager;
pub mod metrics;
pub mod model;
pub mod names;
mod nbt;
pub mod player;
pub mod postgres;
pub mod process;
mod reaper;
pub mod receiver;
mod room;
pub mod router;
pub mod sieve;
pub mod smoke;
pub mod soak;
pub mod table;
pub mod throttle;
pub mod tools;
mod usage;
pub mod world;

/// Notes that the test of this thread cannot be tried here, and why; `cargo test` tells at its end.
///
/// # Errors
/// `CI` is set and `AUTOMC_TEST_SKIPS` is not: then nothing may be skipped.
pub fn skip(reason: &str) -> anyhow::Result<()> {
    xtask::skipped::note(reason).map_err(anyhow::Error::msg)
}
