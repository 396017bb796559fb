//! Starting sleeping servers through the server-manager.

pub mod client;
pub mod error;
pub mod flight;
pub mod hours;
pub mod machine;
pub mod permit;
pub mod polling;
pub mod prober;
pub mod probing;
#[cfg(test)]
mod simulated;
pub mod wanted;

pub use error::WakeError;
pub use flight::{Ticket, Waker};
pub use machine::{Outcome, Phase, Ready, Sign};
pub use wanted::Wanted;
