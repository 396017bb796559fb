//! Starting sleeping servers through the server-manager, or through a webhook.

pub mod client;
pub mod down;
pub mod error;
pub mod flight;
pub mod hours;
pub mod idle;
pub mod in_use;
mod landed;
pub mod machine;
pub mod manager;
pub mod permit;
pub mod polling;
pub mod prober;
pub mod probing;
pub mod reply;
pub mod scaler;
#[cfg(test)]
mod simulated;
pub mod starting;
pub mod stops;
pub mod wanted;

pub use error::WakeError;
pub use flight::{Ticket, Waker};
pub use machine::{Outcome, Phase, Ready, Sign};
pub use wanted::Wanted;
