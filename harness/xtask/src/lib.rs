//! What has to work before anything large is built, with nothing but the standard library; and the last word of `cargo test`.

pub mod skipped;
