//! From a command line to settings, with the messages and exit codes both binaries share.

use std::io::Write;
use std::process::ExitCode;

use super::flag_order::flags_first;
use super::go_flags;
use super::settings::{ConfigError, Settings, Spec};

/// Exit code of settings that cannot be used (`EX_USAGE` of sysexits.h).
pub const USAGE: u8 = 64;

/// Parses the process's arguments, written as for clap or as for Go, and merges them with its environment and the file they name.
///
/// # Errors
/// The exit code when there is nothing more to do: `--help` and `--version` have been answered,
/// or what is wrong has been printed.
pub fn settings(
    spec: &Spec,
    command: clap::Command,
) -> Result<(clap::ArgMatches, Settings), ExitCode> {
    let program = command.get_name().to_owned();
    let arguments = go_flags::for_clap(std::env::args_os(), |flag| spec.takes_value(flag));
    // Else a flag that lacks its value takes the sub-command for it.
    let command = spec.flags(command).subcommand_precedence_over_arg(true);
    let arguments = flags_first(&command, arguments);
    let matches = command.try_get_matches_from(arguments);
    let matches = matches.map_err(|message| {
        // A closed standard output is no concern.
        drop(message.print());
        ExitCode::from(if message.use_stderr() { USAGE } else { 0 })
    })?;
    match spec.load(&matches, environment()) {
        Ok(settings) => Ok((matches, settings)),
        Err(error) => Err(refuse(&program, &error)),
    }
}

/// Prints what is wrong with the settings; the exit code that goes with it.
#[must_use]
pub fn refuse(program: &str, error: &ConfigError) -> ExitCode {
    for problem in &error.0 {
        drop(writeln!(std::io::stderr(), "{program}: {problem}"));
    }
    ExitCode::from(USAGE)
}

/// The environment; a variable that is not UTF-8 is no setting.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}
