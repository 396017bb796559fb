//! Where log lines go: standard error, as text or as JSON.

use std::io::IsTerminal;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogConfig {
    /// The least important level that is written.
    pub level: tracing::Level,
    /// How.
    pub format: LogFormat,
}

/// Starts logging for the process; a second call changes nothing.
pub fn init(config: LogConfig) {
    // Libraries are chatty at debug and trace; what they say at info and above is for operators.
    let ours = LevelFilter::from_level(config.level);
    let theirs = ours.min(LevelFilter::INFO);
    let filter = Targets::new().with_default(theirs).with_targets([
        ("automc_router", ours),
        ("waker_mock", ours),
        ("harness", ours),
    ]);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    let outcome = match config.format {
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
        LogFormat::Text => registry
            .with(
                layer
                    .with_ansi(std::io::stderr().is_terminal())
                    .with_target(false),
            )
            .try_init(),
    };
    // Already started, by a test or by whoever embeds the router.
    drop(outcome);
}
