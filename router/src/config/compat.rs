//! mc-router's flags that have no function here: accepted from the command line and the environment, so
//! that nothing has to be taken out of a set-up, and answered by a warning that says why.
//!
//! Whoever gives one of them a function takes its line out of [`IGNORED`] and adds a key to the settings;
//! as long as it is in both, no command line is accepted in tests.

use std::collections::BTreeMap;

use super::values::switch;

/// A flag without a function.
#[derive(Debug, Clone, Copy)]
pub struct Ignored {
    /// Its name, without dashes before it; in capitals with underscores, its environment variable.
    pub name: &'static str,
    /// Whether it takes a value, or is a truth value.
    pub takes_value: bool,
    /// Why it has no function, or what to use instead; ends a sentence.
    pub why: &'static str,
}

/// What was given of the flags without a function.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Given {
    /// What to warn of, a sentence each. Values are not quoted: some are secrets.
    pub(super) notices: Vec<String>,
    /// What is wrong with them.
    pub(super) problems: Vec<String>,
}

/// Why nothing is discovered in clusters.
const NO_CLUSTER: &str =
    "routes come from MAPPING, the API and AUTOMC_DSN, and no orchestrator is asked for any";
/// Why nothing is discovered in Docker.
#[cfg(not(feature = "docker"))]
const NO_DOCKER: &str = "this router was built without the feature \"docker\"";
/// Why there is no tunnel.
#[cfg(not(feature = "ngrok"))]
const NO_TUNNEL: &str =
    "this build has no tunnel (feature ngrok): run ngrok's own agent and point it at PORT";
/// Every such flag.
pub const IGNORED: &[Ignored] = &[
    // Without a function by design.
    value(
        "cpu-profile",
        "a running router is profiled from outside, such as by perf",
    ),
    value("docker-refresh-interval", "mc-router ignores it, too"),
    truth("in-docker-swarm", NO_CLUSTER),
    truth("in-kube-cluster", NO_CLUSTER),
    value("kube-config", NO_CLUSTER),
    value("kube-namespace", NO_CLUSTER),
    // Docker and tunnels.
    #[cfg(not(feature = "docker"))]
    truth("in-docker", NO_DOCKER),
    #[cfg(not(feature = "docker"))]
    value("docker-socket", NO_DOCKER),
    #[cfg(not(feature = "docker"))]
    value("docker-timeout", NO_DOCKER),
    #[cfg(not(feature = "docker"))]
    value("docker-api-version", NO_DOCKER),
    #[cfg(not(feature = "ngrok"))]
    value("ngrok-token", NO_TUNNEL),
    #[cfg(not(feature = "ngrok"))]
    value("ngrok-remote-addr", NO_TUNNEL),
    #[cfg(not(feature = "docker"))]
    truth("auto-scale-up", NO_DOCKER),
    #[cfg(not(feature = "docker"))]
    truth("auto-scale-down", NO_DOCKER),
    // Metrics.
    value(
        "metrics-rate-limit-period",
        "what is left of the limit is told as it is whenever it is asked for",
    ),
];

const fn value(name: &'static str, why: &'static str) -> Ignored {
    Ignored {
        name,
        takes_value: true,
        why,
    }
}

const fn truth(name: &'static str, why: &'static str) -> Ignored {
    Ignored {
        name,
        takes_value: false,
        why,
    }
}

/// Adds the flags of `table` to `command`; its help does not show them.
pub(super) fn flags(table: &[Ignored], mut command: clap::Command) -> clap::Command {
    for ignored in table {
        let arg = clap::Arg::new(ignored.name).long(ignored.name).hide(true);
        command = command.arg(if ignored.takes_value {
            arg
        } else {
            arg.num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
        });
    }
    command
}

/// What was given of `table`. A truth value that is false asks for nothing, and neither does an empty text.
pub(super) fn given(
    table: &[Ignored],
    flags: &clap::ArgMatches,
    environment: &BTreeMap<String, String>,
) -> Given {
    let mut given = Given::default();
    for ignored in table {
        let variable = ignored.name.replace('-', "_").to_ascii_uppercase();
        let (origin, text) = match flags.get_one::<String>(ignored.name) {
            Some(text) => (format!("--{}", ignored.name), text),
            None => match environment.get(&variable) {
                Some(text) => (format!("environment variable {variable}"), text),
                None => continue,
            },
        };
        let wanted = if ignored.takes_value {
            Ok(!text.is_empty())
        } else {
            switch(text)
        };
        match wanted {
            Ok(true) => given
                .notices
                .push(format!("{origin} has no effect: {}", ignored.why)),
            Ok(false) => {}
            Err(reason) => given.problems.push(format!("{origin}: {reason}")),
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SPEC;

    fn noticed(arguments: &[&str], environment: &[(&str, &str)]) -> Given {
        let command = SPEC.flags(clap::Command::new("router"));
        let arguments = ["router"].into_iter().chain(arguments.iter().copied());
        let matches = command.try_get_matches_from(arguments).unwrap();
        let text = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        given(IGNORED, &matches, &environment.iter().map(text).collect())
    }

    #[test]
    fn a_flag_without_a_function_is_accepted_and_warned_of_without_its_value() {
        let found = noticed(
            &["--kube-config=hunter2", "--in-kube-cluster"],
            &[("CPU_PROFILE", "/tmp/hunter2"), ("IN_DOCKER_SWARM", "True")],
        );
        assert_eq!(found.problems, Vec::<String>::new());
        for named in [
            "--kube-config has no effect: routes come from",
            "--in-kube-cluster has no effect: ",
            "environment variable CPU_PROFILE has no effect: a running router",
            "environment variable IN_DOCKER_SWARM has no effect: ",
        ] {
            let one = |notice: &String| notice.starts_with(named);
            assert!(found.notices.iter().any(one), "{named} in {found:?}");
        }
        assert_eq!(found.notices.len(), 4);
        assert!(!format!("{found:?}").contains("hunter2"));
    }

    #[test]
    fn what_asks_for_nothing_is_not_warned_of() {
        let found = noticed(
            &["--in-kube-cluster=false", "--cpu-profile="],
            &[("IN_KUBE_CLUSTER", "true"), ("IN_DOCKER_SWARM", "F")],
        );
        assert_eq!(found, Given::default());
    }

    #[test]
    fn a_truth_value_that_is_none_is_refused_by_name() {
        let found = noticed(&["--in-kube-cluster=maybe"], &[("IN_DOCKER_SWARM", "soon")]);
        assert_eq!(found.notices, Vec::<String>::new());
        for named in ["--in-kube-cluster: \"maybe\"", "IN_DOCKER_SWARM: \"soon\""] {
            assert!(
                found.problems.iter().any(|problem| problem.contains(named)),
                "{found:?}"
            );
        }
    }

    #[test]
    fn nothing_with_a_function_is_in_the_table_and_nothing_twice() {
        let mut names: Vec<_> = IGNORED
            .iter()
            .map(|ignored| ignored.name.to_owned())
            .collect();
        names.extend(SPEC.keys().map(|key| key.name.replace('_', "-")));
        names.sort();
        for pair in names.windows(2) {
            assert_ne!(pair[0], pair[1], "take it out of IGNORED");
        }
    }
}
