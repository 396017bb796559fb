//! The `harness` binary: the demo, the smoke test of a running stack, and the benchmarks.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use automc_router::log::{LogConfig, LogFormat, init};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use harness::{bench, demo, smoke};

#[tokio::main]
async fn main() -> ExitCode {
    // `cargo demo -- --keep` hands its `--` on, behind the alias's own.
    let arguments = std::env::args_os().enumerate();
    let arguments = arguments.filter(|(place, argument)| *place != 2 || argument != "--");
    let matches = command().get_matches_from(arguments.map(|(_, argument)| argument));
    let level = if matches.get_flag("verbose") {
        tracing::Level::DEBUG
    } else {
        tracing::Level::WARN
    };
    init(LogConfig {
        level,
        format: LogFormat::Text,
    });
    match run(&matches).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(std::io::stderr(), "\nharness: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn command() -> Command {
    let text = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).required(true).help(help)
    };
    Command::new("harness")
        .about("Proves automc-router on real parts")
        .subcommand_required(true)
        .arg(
            Arg::new("verbose")
                .long("verbose")
                .short('v')
                .global(true)
                .action(ArgAction::SetTrue),
        )
        .subcommand(
            Command::new("demo")
                .about("Postgres, waker-mock, router: the main job, told step by step")
                .arg(
                    Arg::new("keep")
                        .long("keep")
                        .action(ArgAction::SetTrue)
                        .help("Leave everything running for a real client"),
                ),
        )
        .subcommand(
            Command::new("smoke")
                .about("Wake a waker-mock server through a router that runs elsewhere")
                .arg(text("router", "Where players connect, host:port"))
                .arg(text("api", "The router's API, http://host:port"))
                .arg(text("host", "The host name of the sleeping server")),
        )
        .subcommand(
            Command::new("bench")
                .about("Measures the release build, prints figures, writes JSON and SVG")
                .arg(
                    Arg::new("out")
                        .long("out")
                        .default_value("target/bench")
                        .value_parser(value_parser!(PathBuf))
                        .help("Folder for figures.json and *.svg"),
                ),
        )
}

async fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    match matches.subcommand() {
        Some(("demo", demo)) => Box::pin(demo::run(demo.get_flag("keep"))).await,
        Some(("smoke", smoke)) => {
            let text = |name: &str| smoke.get_one::<String>(name).cloned().unwrap_or_default();
            for line in smoke::run(&text("router"), &text("api"), &text("host")).await? {
                writeln!(std::io::stdout(), "{line}")?;
            }
            Ok(())
        }
        Some(("bench", bench)) => {
            let out = bench.get_one::<PathBuf>("out").cloned().unwrap_or_default();
            Box::pin(bench::run(&out)).await
        }
        _ => Ok(()),
    }
}
