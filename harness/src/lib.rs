//! The world around the router: real Postgres, real processes, real sockets.
//!
//! In order of need: [`postgres`] and a [`chaos`] proxy before it, [`router`] as a [`process`] or
//! inside, [`backend`]s and [`player`]s, a [`manager`] that wakes servers or fails to, all of it in a
//! [`world`], and [`eventually`] for whatever takes its time.

pub mod backend;
pub mod binaries;
pub mod chaos;
pub mod eventually;
pub mod http;
pub mod manager;
pub mod player;
pub mod postgres;
pub mod process;
mod reaper;
pub mod router;
pub mod world;
