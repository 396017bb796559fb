//! The command line as Go's `flag` package reads it, in the words of clap.
//!
//! mc-router's flags are written `-flag value`, `-flag=value`, `--flag value` or `--flag=value`, those
//! for truth values `-flag` or `-flag=false`, and whatever follows a flag that takes a value is that
//! value, dashes or not (pkg.go.dev/flag, "Command line flag syntax"). Everything else is clap's:
//! sub-commands, its short flags of one letter, and what is refused.

use std::ffi::OsString;

/// `arguments`, the program's name first, with two dashes before every long flag, and with an equals
/// sign before the value of each flag that `takes_value`, which is asked by its name without dashes.
/// Nothing is changed after `--`.
pub fn for_clap(
    arguments: impl IntoIterator<Item = OsString>,
    takes_value: impl Fn(&str) -> bool,
) -> Vec<OsString> {
    let mut arguments = arguments.into_iter();
    let mut rewritten: Vec<OsString> = arguments.next().into_iter().collect();
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            rewritten.push(argument);
            break;
        }
        let Some(flag) = argument.to_str().and_then(long_flag) else {
            rewritten.push(argument);
            continue;
        };
        let mut whole = OsString::from(format!("--{flag}"));
        if !flag.contains('=') && takes_value(flag) {
            // Without a value after it, clap says that one is missing.
            if let Some(value) = arguments.next() {
                whole.push("=");
                whole.push(value);
            }
        }
        rewritten.push(whole);
    }
    rewritten.extend(arguments);
    rewritten
}

/// A long flag without its dashes, and with its value if that is part of it. With a single dash, a name
/// of one letter is a short flag.
fn long_flag(argument: &str) -> Option<&str> {
    let single = argument.strip_prefix('-')?;
    let flag = single.strip_prefix('-').unwrap_or(single);
    let name = flag.split('=').next().unwrap_or_default();
    let short = flag.len() == single.len() && name.chars().nth(1).is_none();
    let wrong = name.is_empty() || name.starts_with('-');
    (!short && !wrong).then_some(flag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rewritten(arguments: &[&str]) -> Vec<String> {
        let all = std::iter::once("program").chain(arguments.iter().copied());
        let all = for_clap(all.map(OsString::from), |name| {
            ["port", "mapping"].contains(&name)
        });
        let texts = all.into_iter().map(|text| text.into_string().unwrap());
        texts.skip(1).collect()
    }

    #[test]
    fn a_single_dash_is_as_good_as_two() {
        for (given, meant) in [
            (&["-port", "1"][..], &["--port=1"][..]),
            (&["--port", "1"], &["--port=1"]),
            (&["-port=1"], &["--port=1"]),
            (&["--port=1", "-debug"], &["--port=1", "--debug"]),
            (&["-debug=false"], &["--debug=false"]),
            (&["-port="], &["--port="]),
            (
                &["-mapping", "a=b", "-mapping=c=d"],
                &["--mapping=a=b", "--mapping=c=d"],
            ),
            // What follows is the value, whatever it looks like.
            (
                &["-port", "-debug", "-debug"],
                &["--port=-debug", "--debug"],
            ),
            (&["-port", "--", "-debug"], &["--port=--", "--debug"]),
            (&["-nonsense", "1"], &["--nonsense", "1"]),
            (&["-port"], &["--port"]),
        ] {
            assert_eq!(rewritten(given), meant, "{given:?}");
        }
    }

    #[test]
    fn what_is_claps_own_stays_as_it_is() {
        for given in [
            &["-h"][..],
            &["-V"],
            &["-h=1"],
            &["check-db"],
            &["-"],
            &["---port", "1"],
            &["-=1"],
            &["--=1"],
            &["--", "-port", "1"],
        ] {
            assert_eq!(rewritten(given), given, "{given:?}");
        }
        assert_eq!(for_clap([], |_| true), Vec::<OsString>::new());
    }

    proptest! {
        #[test]
        fn every_way_to_write_a_flag_means_the_same(
            name in "[a-z][a-z-]{1,20}",
            value in "(-{0,3}[a-z0-9=:. -]{0,12})|\\PC{0,20}",
            more in proptest::collection::vec("-{0,2}[a-z]{1,6}(=[a-z]{0,3})?", 0..4),
        ) {
            let parsed = |flag: &[String]| {
                let program = std::iter::once("program".to_owned());
                let all = program.chain(flag.iter().cloned()).chain(more.iter().cloned());
                for_clap(all.map(OsString::from), |asked| asked == name)
            };
            let meant = parsed(&[format!("--{name}={value}")]);
            prop_assert_eq!(&meant[1], &OsString::from(format!("--{name}={value}")));
            prop_assert_eq!(&parsed(&[format!("-{name}={value}")]), &meant);
            prop_assert_eq!(&parsed(&[format!("-{name}"), value.clone()]), &meant);
            prop_assert_eq!(&parsed(&[format!("--{name}"), value]), &meant);
            // Once is enough.
            prop_assert_eq!(&for_clap(meant.clone(), |asked| asked == name), &meant);
        }
    }
}
