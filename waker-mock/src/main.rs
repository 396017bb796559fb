//! The waker-mock binary: settings, signals and exit codes.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use automc_router::config::cli::{refuse, settings};
use automc_router::stop::{Signals, run_to_its_end};
use tokio_util::sync::CancellationToken;
use tracing::error;
use waker_mock::config::SPEC;
use waker_mock::{Config, WakerMock};

const NAME: &str = "waker-mock";

fn main() -> ExitCode {
    let command = clap::Command::new(NAME)
        .version(env!("CARGO_PKG_VERSION"))
        .about("The reference server-manager to develop automc-router against");
    let settings = match settings(&SPEC, command) {
        Ok((_, settings)) => settings,
        Err(code) => return code,
    };
    let config = match Config::read(settings) {
        Ok(config) => config,
        Err(error) => return refuse(NAME, &error),
    };
    automc_router::log::init(config.log);
    match run_to_its_end(run(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            error!("{problem:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Config) -> anyhow::Result<()> {
    let signals = Signals::new().context("signals")?;
    let waker = WakerMock::start(config).await?;
    // On standard output whatever the log level, for scripts that chose port 0.
    drop(writeln!(
        std::io::stdout(),
        "waker-mock listens on {}",
        waker.url()
    ));
    let (stop, now) = (CancellationToken::new(), CancellationToken::new());
    tokio::spawn(signals.watch(stop.clone(), now.clone()));
    stop.cancelled().await;
    now.run_until_cancelled(waker.shutdown()).await;
    Ok(())
}
