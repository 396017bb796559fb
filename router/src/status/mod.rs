//! What the server list shows: a backend's own status, asked for once and shown to many; while it is
//! away, the last one it gave with the state's text over it.

pub mod answer;
pub mod cache;
pub mod lenient;
pub mod live;
