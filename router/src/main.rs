//! The `automc-router` binary: reads the settings, runs the router, and turns the outcome into
//! an exit code.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use automc_router::config::cli::{environment, refuse, settings};
use automc_router::config::settings::Spec;
use automc_router::config::{Config, SPEC};
use automc_router::postgres::schema::{Finding, Severity};
use automc_router::run::Router;
use automc_router::stop::{Hangup, Signals, run_to_its_end};
use automc_router::{check_db, explain, files, fix_db, log};
use tracing::{error, warn};

const NAME: &str = "automc-router";
/// What the help of a sub-command ends with.
const SETTINGS: &str =
    "Takes the router's flags as well, before or behind it: see automc-router --help";

fn main() -> ExitCode {
    let command = clap::Command::new(NAME)
        .version(env!("CARGO_PKG_VERSION"))
        .about("Routes Minecraft players by host name; routes live from Postgres, servers woken on login")
        .subcommand(
            clap::Command::new("check-db")
                .about("Check that routes can come from AUTOMC_DSN: connection, table, columns, trigger, channel")
                .arg(
                    clap::Arg::new("fix")
                        .long("fix")
                        .action(clap::ArgAction::SetTrue)
                        .help("Print schema.sql, apply it in one transaction, then check"),
                )
                .after_help(SETTINGS),
        )
        .subcommand(
            clap::Command::new("explain")
                .about("Tell why a host name leads where it does, by reading every source of routes once")
                .arg(
                    clap::Arg::new("host")
                        .value_name("HOST")
                        .required(true)
                        .help("The server address as a player types it, such as play.example.com"),
                )
                .after_help(SETTINGS),
        );
    let (matches, settings) = match settings(&SPEC, command) {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    let config = match Config::read(settings) {
        Ok(config) => config,
        Err(error) => return refuse(NAME, &error),
    };
    log::init(config.log);
    let outcome = match matches.subcommand() {
        Some(("check-db", asked)) => run_to_its_end(checked(&config, asked.get_flag("fix"))),
        Some((_, asked)) => {
            let host = asked.get_one("host").map_or("", String::as_str);
            run_to_its_end(explained(&config, host))
        }
        None => {
            for notice in &config.notices {
                warn!("{notice}");
            }
            warn_of_unknown_variables(&SPEC, environment().map(|(name, _)| name));
            run_to_its_end(run(config))
        }
    };
    outcome.unwrap_or_else(|error| {
        error!("{error:#}");
        ExitCode::FAILURE
    })
}

async fn run(mut config: Config) -> anyhow::Result<ExitCode> {
    let (signals, hangup) = (Signals::new(), Hangup::new());
    let (signals, hangup) = (signals.context("signals")?, hangup.context("signals")?);
    if config.postgres.is_some() && config.waker.is_none() && config.scaler.is_none() {
        warn!("AUTOMC_WAKER_URL is unset: stopped servers are not started");
    }
    if let Some(address) = config.api_binding.filter(|_| config.api_token.is_none())
        && !address.ip().to_canonical().is_loopback()
    {
        warn!("the API on {address} asks for no token: keep it from others, or set API_TOKEN");
    }
    config.max_connections = files::places_within(files::raise_limit(), config.max_connections);
    let router = Router::start(config)?;
    tokio::spawn(signals.watch(router.stop_token(), router.cut_token()));
    tokio::spawn(hangup.watch(router.reload()));
    router.wait().await?;
    Ok(ExitCode::SUCCESS)
}

async fn checked(config: &Config, fix: bool) -> anyhow::Result<ExitCode> {
    let dsn = config.postgres.as_ref().map(|postgres| &postgres.dsn);
    let mut findings = Vec::new();
    if let Some(dsn) = dsn.filter(|_| fix) {
        writeln!(std::io::stdout(), "{}", fix_db::SCHEMA)?;
        findings.extend(fix_db::fix(dsn).await);
    }
    findings.extend(check_db::check(dsn, &config.defaults, config.routes.names).await);
    tell(&findings)
}

async fn explained(config: &Config, host: &str) -> anyhow::Result<ExitCode> {
    let report = explain::offline::report(config, host).await;
    let code = tell(&report.sources)?;
    let mut out = std::io::stdout().lock();
    for step in &report.explanation.steps {
        writeln!(out, "{:<9} {}", step.step, step.text)?;
    }
    Ok(code)
}

/// Prints findings; of a failure the exit code tells.
fn tell(findings: &[Finding]) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    for finding in findings {
        let mark = match finding.severity {
            Severity::Good => "ok   ",
            Severity::Warning => "warn ",
            Severity::Error => "FAIL ",
        };
        writeln!(out, "{mark} {}", finding.text)?;
    }
    let failed = findings
        .iter()
        .any(|finding| finding.severity == Severity::Error);
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// A misspelt variable would otherwise be without effect and without a word.
fn warn_of_unknown_variables(spec: &Spec, names: impl Iterator<Item = String>) {
    let known = |name: &str| spec.keys().any(|key| spec.variable(key) == name);
    // AUTOMC_TEST_ belongs to the tests; a Kubernetes service called automc sets the others.
    let foreign = ["AUTOMC_TEST_", "AUTOMC_SERVICE_", "AUTOMC_PORT"];
    for name in names.filter(|name| name.starts_with("AUTOMC_") && !known(name)) {
        if !foreign.iter().any(|prefix| name.starts_with(prefix)) {
            warn!("environment variable {name} is not a setting and has no effect");
        }
    }
}
