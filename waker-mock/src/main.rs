//! The waker-mock binary.
fn main() {}
