//! The front of `cargo demo`: finds a Postgres, says which, has the rest built, and hands over to `harness demo`.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, IsTerminal, Write, stderr, stdout};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::spawn;
use std::time::{Duration, Instant};

use xtask::patience::Lines;
use xtask::postgres::{FORCE_VARIABLE, Found, find, wish};
use xtask::{cargo, target_folder};

const USAGE: &str = "\
The main job on real parts, told step by step with times.

Usage: cargo demo [-- [--keep] [--verbose]]

  --keep         leave everything running for a real client, until Ctrl-C
  -v, --verbose  log more

Which Postgres: AUTOMC_TEST_DSN, else a Docker engine, else server programs of this machine, else fetched ones.
";
/// For wrong arguments, by sysexits(3).
const WRONG_USAGE: u8 = 64;
/// How long to wait for a line of cargo's before the clock is looked at.
const LOOK: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let mut arguments: Vec<_> = std::env::args_os().skip(1).collect();
    match arguments.first() {
        Some(first) if first == "demo" => drop(arguments.remove(0)),
        _ => return usage("the one task is `demo`"),
    }
    // `cargo demo -- --keep` hands its `--` on, behind the alias's own.
    arguments.retain(|argument| argument != "--");
    for argument in &arguments {
        match argument.to_str() {
            Some("--keep" | "-v" | "--verbose") => {}
            Some("-h" | "--help") => {
                say(USAGE);
                return ExitCode::SUCCESS;
            }
            _ => return usage(&format!("there is no argument {}", argument.display())),
        }
    }
    match demo(&arguments) {
        Ok(never) => match never {},
        Err(error) => {
            drop(writeln!(stderr(), "\ncargo demo: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn usage(wrong: &str) -> ExitCode {
    drop(write!(stderr(), "cargo demo: {wrong}\n\n{USAGE}"));
    ExitCode::from(WRONG_USAGE)
}

fn say(text: &str) {
    drop(writeln!(stdout(), "{text}"));
}

/// Ends by becoming another program, unless something fails.
fn demo(arguments: &[OsString]) -> Result<std::convert::Infallible, String> {
    say(
        "▸ Looking for a Postgres: AUTOMC_TEST_DSN, a Docker engine, this machine's programs, fetched ones",
    );
    let found = find(&wish()?, None, &say)?;
    if let Found::Programs {
        instead: Some(reason),
        ..
    } = &found
    {
        say(&format!("  {reason}"));
    }
    say(&format!("  Postgres will be {}", found.describe()));
    let target = target_folder()?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let profile = program.parent().ok_or("this program is in no folder")?;
    build(&target, profile)?;
    let mut harness = Command::new(profile.join("harness"));
    harness.arg("demo").args(arguments);
    if let Some(kind) = found.forced() {
        harness.env(FORCE_VARIABLE, kind);
    }
    Err(format!("{}: {}", profile.display(), harness.exec()))
}

/// Builds the workspace in this program's own profile, and says how it goes.
fn build(target: &Path, profile: &Path) -> Result<(), String> {
    say(
        "\n▸ Building the router, waker-mock and the harness: some minutes the first time (about ten on two slow cores), then seconds",
    );
    let begin = Instant::now();
    let mut cargo = cargo();
    cargo
        .args(["build", "--workspace", "--bins", "--target-dir"])
        .arg(target);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let status = if stderr().is_terminal() {
        // Its own bar moves all the time.
        cargo.status()
    } else {
        told(&mut cargo)
    };
    let status = status.map_err(|error| format!("cargo does not start: {error}"))?;
    if !status.success() {
        return Err("the workspace does not build; see above".to_owned());
    }
    say(&format!(
        "  built  [{:.1} s]",
        begin.elapsed().as_secs_f64()
    ));
    Ok(())
}

/// Passes on what cargo says, and says something itself while cargo is silent.
fn told(cargo: &mut Command) -> std::io::Result<std::process::ExitStatus> {
    let mut child = cargo.stderr(Stdio::piped()).spawn()?;
    let (sender, lines) = channel();
    if let Some(stream) = child.stderr.take() {
        // Ends with cargo, or with whoever has inherited its standard error.
        spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
    }
    let mut waits = Lines::begin();
    let mut last = String::new();
    loop {
        match lines.recv_timeout(LOOK) {
            Ok(line) => {
                drop(writeln!(stderr(), "{line}"));
                waits.put_off();
                last = line;
            }
            Err(RecvTimeoutError::Timeout) => {
                let after = last.trim();
                waits.tell(&format!("building; the last that began: {after}"), &say);
            }
            Err(RecvTimeoutError::Disconnected) => return child.wait(),
        }
    }
}
