//! Starting sleeping servers through the server-manager.

pub mod client;
pub mod flight;
pub mod machine;

pub use flight::{Ticket, Waker};
pub use machine::WakeError;
