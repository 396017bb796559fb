//! A lean Minecraft Java Edition router.

pub mod addr;
pub mod config;
pub mod host;
pub mod log;
pub mod postgres;
pub mod protocol;
mod tls;
pub mod wake;
