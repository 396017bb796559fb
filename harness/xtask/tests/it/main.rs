//! The last word of `cargo test`: which tests were skipped, and why.

use std::error::Error;
use std::io::{Write, stdout};

fn main() -> Result<(), Box<dyn Error>> {
    // Whoever wants a list of tests wants no summary.
    if std::env::args().any(|argument| argument == "--list") {
        return Ok(());
    }
    let summary = xtask::skipped::take()?;
    let text = summary.as_deref().unwrap_or("no test was skipped\n");
    Ok(write!(stdout(), "\n{text}\n")?)
}
