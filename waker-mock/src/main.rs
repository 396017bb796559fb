//! The waker-mock binary: settings, signals and exit codes.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info};
use waker_mock::config::SPEC;
use waker_mock::{Config, WakerMock};

/// Exit code of a configuration that cannot be used, as in `sysexits.h`.
const BAD_CONFIGURATION: u8 = 64;

fn main() -> ExitCode {
    let command = clap::Command::new("waker-mock")
        .version(env!("CARGO_PKG_VERSION"))
        .about("The reference server-manager to develop automc-router against");
    let matches = match SPEC.flags(command).try_get_matches() {
        Ok(matches) => matches,
        Err(message) => {
            // Help and version go to standard output; a closed one is no concern.
            drop(message.print());
            return match message.exit_code() {
                0 => ExitCode::SUCCESS,
                _ => ExitCode::from(BAD_CONFIGURATION),
            };
        }
    };
    // A variable that is not UTF-8 is none of ours.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let config = SPEC.load(&matches, environment).and_then(Config::read);
    let config = match config {
        Ok(config) => config,
        Err(problems) => {
            complain(&problems);
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    automc_router::log::init(config.log);
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            error!("{problem:#}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "how to log is part of what is wrong")]
fn complain(problems: &dyn std::fmt::Display) {
    eprintln!("waker-mock: {problems}");
}

#[tokio::main]
async fn run(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("no signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("no signals")?;
    let waker = WakerMock::start(config).await?;
    // On standard output whatever the log level, for scripts that chose port 0.
    drop(writeln!(
        std::io::stdout(),
        "waker-mock listens on {}",
        waker.url()
    ));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!("stopping; a second signal stops now");
    tokio::select! {
        () = waker.shutdown() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
