//! What has to work before anything large is built, with nothing but the standard library: where a [`postgres`]
//! comes from, and [`patience`] with whatever takes its time. And the last word of `cargo test`: what was [`skipped`].

pub mod patience;
pub mod postgres;
pub mod skipped;
mod target;

pub use target::{cargo, target_folder};
