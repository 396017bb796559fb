//! The `harness` binary: the demo, the smoke test of a running stack, the conformance table,
//! the benchmarks, and the soak.

use std::io::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use automc_router::log::{LogConfig, LogFormat, init};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use harness::backend::Backend;
use harness::bench::relay::{self, Options};
use harness::soak::{self, Span};
use harness::{bench, binaries, conformance, demo, smoke};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
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
    match start(&matches) {
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
            Command::new("conformance")
                .about("What mc-router's users rely on, row by row, over any binary with its flags")
                .arg(
                    Arg::new("router-bin")
                        .long("router-bin")
                        .value_name("PATH")
                        .value_parser(value_parser!(PathBuf))
                        .help("The router [default: this workspace's]"),
                ),
        )
        .subcommand(
            Command::new("bench")
                .about("Measures the release build, prints figures, writes JSON and SVG")
                .arg(
                    Arg::new("out")
                        .long("out")
                        .default_value("target/bench")
                        .value_parser(value_parser!(PathBuf))
                        .global(true)
                        .help("Folder for *.json and *.svg"),
                )
                .subcommand(relay())
                .subcommand(routes())
                .subcommand(status())
                .subcommand(wake()),
        )
        .subcommand(soak_command())
        .subcommand(server())
        .subcommand(
            Command::new("load")
                .about("A part of the load that `bench` and `soak` make")
                .hide(true)
                .subcommand_required(true)
                .subcommand(Command::new("server"))
                .subcommand(Command::new("players").arg(Arg::new("order").required(true))),
        )
}

/// What runs in a test's container.
fn server() -> Command {
    let text = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).required(true).help(help)
    };
    let port = text("port", "Where it listens, on every address");
    let linger = text("linger", "How many milliseconds it goes on after SIGTERM");
    Command::new("server")
        .about("A server that lets everybody in, until SIGTERM")
        .hide(true)
        .arg(text("name", "What its status shows"))
        .arg(port.value_parser(value_parser!(u16)))
        .arg(linger.value_parser(value_parser!(u64)))
}

async fn serve(server: &ArgMatches) -> anyhow::Result<()> {
    let name = server
        .get_one::<String>("name")
        .cloned()
        .unwrap_or_default();
    let port = server.get_one::<u16>("port").copied().unwrap_or_default();
    let linger = server.get_one::<u64>("linger").copied().unwrap_or_default();
    // The first process of a container has no such thing unless it asks for it.
    let mut end = signal(SignalKind::terminate())?;
    let _backend = Backend::start_at(&name, (Ipv4Addr::UNSPECIFIED, port).into()).await?;
    end.recv().await;
    tokio::time::sleep(Duration::from_millis(linger)).await;
    Ok(())
}

fn routes() -> Command {
    let number = |name: &'static str, default: &'static str, help: &'static str| {
        let argument = Arg::new(name).long(name).help(help).default_value(default);
        argument.value_parser(value_parser!(usize))
    };
    Command::new("routes")
        .about("First sync, memory, look-ups, changes and storms of tables of any size")
        .arg(
            number(
                "sizes",
                "100,10000,100000,1000000",
                "Rows, one table for each",
            )
            .value_delimiter(','),
        )
        .arg(number(
            "storm",
            "100000",
            "Rows of the table in the storm; 0 for none",
        ))
}

fn soak_command() -> Command {
    let number = |name: &'static str, default: &'static str, help: &'static str| {
        let argument = Arg::new(name).long(name).help(help);
        argument.default_value(default)
    };
    let path = |name: &'static str, help: &'static str| {
        let argument = Arg::new(name).long(name).help(help);
        argument.value_parser(value_parser!(PathBuf))
    };
    Command::new("soak")
        .about("Proves that the release build loses no byte and leaves nothing behind")
        .arg(
            number(
                "idle",
                "10000",
                "Players who log in and stay, or as many as files allow",
            )
            .value_parser(value_parser!(usize)),
        )
        .arg(
            number(
                "active",
                "500",
                "Players who come, talk and go, over and over",
            )
            .value_parser(value_parser!(usize)),
        )
        .arg(number("minutes", "10", "For how long").value_parser(value_parser!(u32).range(1..)))
        .arg(path(
            "router",
            "Another router's binary than the release build",
        ))
        .arg(path("out", "Folder for soak.json and soak.svg").default_value("target/soak"))
}

fn relay() -> Command {
    let many = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .action(ArgAction::Append)
            .help(help)
    };
    let number = |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help);
    Command::new("relay")
        .about("The relay beside direct connections, HAProxy, nginx and other routers")
        .arg(
            number("rounds", "How many times everything is measured")
                .default_value("5")
                .value_parser(value_parser!(usize)),
        )
        .arg(many("mode", "Only this load; repeatable").value_parser(relay::mode_names()))
        .arg(many("target", "Only this target; repeatable"))
        .arg(
            many("peer", "A router with mc-router's flags; repeatable")
                .value_name("name=path")
                .value_parser(relay::peer),
        )
        .arg(
            number("paced-players", "Players who send at an even pace")
                .default_value("500")
                .value_parser(value_parser!(usize)),
        )
        .arg(
            number(
                "idle-players",
                "Players who do nothing [default: 10000, or what files allow]",
            )
            .value_parser(value_parser!(usize)),
        )
        .arg(
            number("bulk-bytes", "Bytes moved in bulk in one run")
                .default_value("2000000000")
                .value_parser(value_parser!(u64)),
        )
}

fn status() -> Command {
    let number = |name: &'static str, default: &'static str, help: &'static str| {
        let argument = Arg::new(name).long(name).help(help);
        argument.default_value(default)
    };
    Command::new("status")
        .about("Pings of the server list, answered from what the router knows")
        .arg(
            number("rounds", "5", "How many times everything is measured")
                .value_parser(value_parser!(usize)),
        )
        .arg(number("at-once", "32", "Pings under way at once").value_parser(value_parser!(usize)))
        .arg(
            number("seconds", "5", "For how long in one round")
                .value_parser(value_parser!(u32).range(1..)),
        )
}

fn wake() -> Command {
    let number = |name: &'static str, default: &'static str, help: &'static str| {
        let argument = Arg::new(name).long(name).help(help);
        argument
            .default_value(default)
            .value_parser(value_parser!(usize))
    };
    Command::new("wake")
        .about("From a server that is ready to its players in, and what they cost until then")
        .arg(number(
            "rounds",
            "10",
            "How many times signs and crowd are measured",
        ))
        .arg(number(
            "wakes",
            "20",
            "Servers that wake by one sign in one round",
        ))
        .arg(number("players", "1000", "Players who wait for one server"))
        .arg(number("servers", "200", "Servers that wake at once"))
        .arg(number(
            "held",
            "2000",
            "Players who are held while memory is looked at",
        ))
}

/// Load has the process to itself, on one thread; everything else shares a runtime of many.
fn start(matches: &ArgMatches) -> anyhow::Result<()> {
    if let Some(("load", load)) = matches.subcommand() {
        let players = load.subcommand_matches("players");
        let order = players.and_then(|players| players.get_one::<String>("order"));
        return harness::load::run(order.map(String::as_str));
    }
    tokio::runtime::Runtime::new()?.block_on(run(matches))
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
        Some(("server", server)) => serve(server).await,
        Some(("conformance", options)) => conform(options.get_one::<PathBuf>("router-bin")).await,
        Some(("bench", bench)) => {
            let out = bench.get_one::<PathBuf>("out").cloned().unwrap_or_default();
            match bench.subcommand() {
                Some(("status", status)) => {
                    let number = |name: &str| status.get_one::<usize>(name).copied();
                    let seconds = status.get_one::<u32>("seconds").copied();
                    let options = bench::status::Options {
                        router: binaries::release_router().await?,
                        harness: std::env::current_exe()?,
                        out,
                        rounds: number("rounds").unwrap_or_default(),
                        at_once: number("at-once").unwrap_or_default(),
                        time: Duration::from_secs(1) * seconds.unwrap_or_default(),
                    };
                    Box::pin(bench::status::run(&options)).await
                }
                Some(("routes", routes)) => {
                    let number = |name: &str| routes.get_one::<usize>(name).copied();
                    let sizes = routes.get_many::<usize>("sizes").unwrap_or_default();
                    let options = bench::registry::Options {
                        router: binaries::release_router().await?,
                        out,
                        sizes: sizes.copied().collect(),
                        storm: number("storm").unwrap_or_default(),
                    };
                    Box::pin(bench::registry::run(&options)).await
                }
                Some(("wake", wake)) => Box::pin(bench::wake::run(&wakes(out, wake).await?)).await,
                Some((_, relay)) => Box::pin(relay::run(&options(out, relay))).await,
                None => Box::pin(bench::run(&out)).await,
            }
        }
        Some(("soak", soak)) => Box::pin(soak::run(&soak_options(soak).await?)).await,
        _ => Ok(()),
    }
}

async fn conform(router: Option<&PathBuf>) -> anyhow::Result<()> {
    let router = match router {
        Some(router) => router.clone(),
        None => binaries::router().await?,
    };
    // Whoever reads no more still gets the exit code.
    let say = |row: &conformance::Row| drop(writeln!(std::io::stdout(), "{}", row.line()));
    let report = Box::pin(conformance::run(&router, say)).await?;
    writeln!(std::io::stdout(), "{}", report.sum())?;
    let failed = report.failed();
    anyhow::ensure!(failed == 0, "{failed} rows failed");
    Ok(())
}

async fn wakes(out: PathBuf, wake: &ArgMatches) -> anyhow::Result<bench::wake::Options> {
    let number = |name: &str| wake.get_one::<usize>(name).copied().unwrap_or_default();
    Ok(bench::wake::Options {
        router: binaries::release_router().await?,
        out,
        rounds: number("rounds"),
        wakes: number("wakes"),
        players: number("players"),
        servers: number("servers"),
        held: number("held"),
    })
}

async fn soak_options(soak: &ArgMatches) -> anyhow::Result<soak::Options> {
    let number = |name: &str| soak.get_one::<usize>(name).copied();
    let path = |name: &str| soak.get_one::<PathBuf>(name).cloned();
    let minutes = soak.get_one::<u32>("minutes").copied().unwrap_or_default();
    Ok(soak::Options {
        router: match path("router") {
            Some(router) => router,
            None => binaries::release_router().await?,
        },
        harness: std::env::current_exe()?,
        out: path("out").unwrap_or_default(),
        idle: number("idle").unwrap_or_default(),
        active: number("active").unwrap_or_default(),
        span: Span::Time(Duration::from_secs(60) * minutes),
    })
}

fn options(out: PathBuf, relay: &ArgMatches) -> Options {
    let names = |name: &str| {
        let names = relay.get_many::<String>(name).unwrap_or_default();
        names.cloned().collect()
    };
    let number = |name: &str| relay.get_one::<usize>(name).copied();
    let peers = relay.get_many("peer").unwrap_or_default();
    Options {
        out,
        rounds: number("rounds").unwrap_or_default(),
        modes: names("mode"),
        targets: names("target"),
        peers: peers.cloned().collect(),
        paced_players: number("paced-players").unwrap_or_default(),
        idle_players: number("idle-players"),
        bulk_bytes: relay.get_one("bulk-bytes").copied().unwrap_or_default(),
    }
}
