//! Starting sleeping servers through the server-manager.

pub mod client;
pub mod flight;
pub mod hours;
pub mod machine;
pub mod permit;

pub use flight::{Ticket, Waker};
pub use machine::WakeError;
