//! Settings' flags count wherever they are written: before a sub-command, behind it, behind its operand.
//!
//! Pure. clap knows the flags of settings only before a sub-command. Its global flags would not do: of a list
//! given before and behind, it keeps one part without a word.

use std::ffi::{OsStr, OsString};

use clap::Command;

/// `arguments`, the program's name first and as [`super::go_flags::for_clap`] leaves them, with the flags
/// that are none of the sub-command's own put before it, in their order. Nothing is moved from behind `--`.
pub fn flags_first(command: &Command, arguments: Vec<OsString>) -> Vec<OsString> {
    let named = |argument: &OsString| command.find_subcommand(argument);
    let words = arguments.iter().enumerate().skip(1);
    let mut words = words.take_while(|(_, word)| *word != "--");
    let Some((place, subcommand)) = words.find_map(|(place, word)| Some((place, named(word)?)))
    else {
        return arguments;
    };
    let mut all = arguments.into_iter();
    let mut first: Vec<_> = all.by_ref().take(place).collect();
    let mut rest: Vec<_> = all.by_ref().take(1).collect();
    let mut all = all.peekable();
    while let Some(mut argument) = all.next() {
        if argument == "--" {
            rest.push(argument);
            break;
        }
        match long_name(&argument).filter(|flag| !is_own(subcommand, flag)) {
            None => rest.push(argument),
            Some(flag) => {
                if may_be_followed(command, flag)
                    && let Some(value) = all.next_if(|next| !is_flag(next))
                {
                    argument.push("=");
                    argument.push(value);
                }
                first.push(argument);
            }
        }
    }
    first.append(&mut rest);
    first.extend(all);
    first
}

fn is_flag(argument: &OsStr) -> bool {
    argument.as_encoded_bytes().starts_with(b"-")
}

/// The name of a long flag, with its value if that is tied to it.
fn long_name(argument: &OsStr) -> Option<&str> {
    argument.to_str()?.strip_prefix("--")
}

fn is_own(subcommand: &Command, flag: &str) -> bool {
    let mut flags = subcommand.get_arguments();
    flag == "help" || flags.any(|own| own.get_long() == Some(flag))
}

/// Whether the flag of this name takes a word behind it, and does without. Those that always take one have theirs
/// tied to them by now.
fn may_be_followed(command: &Command, flag: &str) -> bool {
    let mut flags = command.get_arguments();
    let known = flags.find(|known| known.get_long() == Some(flag));
    known.is_some_and(|known| {
        let least = known.get_num_args().map(|count| count.min_values());
        least == Some(0) && !known.is_require_equals_set()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn command() -> Command {
        let flag = |name: &'static str| clap::Arg::new(name).long(name);
        let perhaps = flag("motd").num_args(0..=1);
        let tied = flag("debug").num_args(0..=1).require_equals(true);
        let own = flag("fix").action(clap::ArgAction::SetTrue);
        Command::new("program")
            .args([flag("port"), perhaps, tied])
            .subcommand(Command::new("explain").arg(clap::Arg::new("host")))
            .subcommand(Command::new("check-db").arg(own))
    }

    fn ordered(arguments: &[&str]) -> Vec<String> {
        let all = std::iter::once("program").chain(arguments.iter().copied());
        let all = flags_first(&command(), all.map(OsString::from).collect());
        let texts = all.into_iter().map(|text| text.into_string().unwrap());
        texts.skip(1).collect()
    }

    #[test]
    fn flags_of_settings_come_before_the_sub_command() {
        for (given, meant) in [
            (
                &["explain", "a", "--port=1"][..],
                &["--port=1", "explain", "a"][..],
            ),
            (
                &["--port=1", "explain", "--debug", "a", "--port=2"],
                &["--port=1", "--debug", "--port=2", "explain", "a"],
            ),
            // A misspelt one is told of by those who know the right ones.
            (
                &["explain", "a", "--prot", "1"],
                &["--prot", "explain", "a", "1"],
            ),
            (
                &["explain", "a", "--motd", "so long", "--debug"],
                &["--motd=so long", "--debug", "explain", "a"],
            ),
            (
                &["explain", "a", "--motd", "--debug"],
                &["--motd", "--debug", "explain", "a"],
            ),
            (
                &["check-db", "--fix", "--port=1"],
                &["--port=1", "check-db", "--fix"],
            ),
            (
                &["explain", "--port=1", "--", "--debug"],
                &["--port=1", "explain", "--", "--debug"],
            ),
            (
                &["explain", "explain", "--port=1"],
                &["--port=1", "explain", "explain"],
            ),
        ] {
            assert_eq!(ordered(given), meant, "{given:?}");
        }
    }

    #[test]
    fn what_is_no_flag_of_settings_stays_where_it_is() {
        for given in [
            &[][..],
            &["--port=1", "--debug"],
            &["--fix"],
            &["explain", "--help"],
            &["explain", "-h", "a"],
            &["check-db", "--fix"],
            &["--", "explain", "--port=1"],
        ] {
            assert_eq!(ordered(given), given, "{given:?}");
        }
        assert_eq!(flags_first(&command(), Vec::new()), Vec::<OsString>::new());
    }

    proptest! {
        #[test]
        fn wherever_flags_stand_they_mean_the_same(
            before in 0..4_usize,
            between in 0..4_usize,
            ports in proptest::collection::vec("[0-9]{1,4}", 4),
        ) {
            let flags: Vec<_> = ports.iter().map(|port| format!("--port={port}")).collect();
            let flags: Vec<_> = flags.iter().map(String::as_str).collect();
            let (front, rest) = flags.split_at(before);
            let (middle, end) = rest.split_at(between.min(rest.len()));
            let given = [front, &["explain"], middle, &["a"], end].concat();
            prop_assert_eq!(ordered(&given), [&flags[..], &["explain", "a"]].concat());
        }
    }
}
