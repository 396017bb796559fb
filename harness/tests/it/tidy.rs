//! Rules about sources and documents that nothing else would hold.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

use automc_router::config::SPEC;
use automc_router::postgres::CHANNEL;

/// Longest source file, tests included.
const LINES_MAX: usize = 500;
/// Files of the router that decide and never act.
const PURE: &[&str] = &[
    "addr.rs",
    "admit/address.rs",
    "admit/limits.rs",
    "admit/players.rs",
    "backoff.rs",
    "balance.rs",
    "config/api.rs",
    "config/compat.rs",
    "config/defaults.rs",
    "config/docker.rs",
    "config/durations.rs",
    "config/flag_order.rs",
    "config/go_flags.rs",
    "config/routes.rs",
    "config/proxy.rs",
    "config/secret.rs",
    "config/values.rs",
    "counts.rs",
    "dial/names.rs",
    "dial/race.rs",
    "docker/labels.rs",
    "error.rs",
    "explain/cleaned.rs",
    "explain/found.rs",
    "explain/mod.rs",
    "explain/words.rs",
    "health/ladder.rs",
    "health/ring.rs",
    "health/schedule.rs",
    "health/word.rs",
    "hold/cookie.rs",
    "moment.rs",
    "hold/inbox.rs",
    "hold/schedule.rs",
    "host.rs",
    "join.rs",
    "journal/ring.rs",
    "memory/model.rs",
    "memory/seen.rs",
    "metrics/histogram.rs",
    "metrics/influx.rs",
    "metrics/influx_answer.rs",
    "metrics/series.rs",
    "networks.rs",
    "postgres/facts.rs",
    "postgres/guard.rs",
    "postgres/pace.rs",
    "postgres/parameters.rs",
    "postgres/revision.rs",
    "postgres/snapshot.rs",
    "protocol/configuration.rs",
    "protocol/dialog.rs",
    "protocol/frame.rs",
    "protocol/greeting.rs",
    "protocol/handshake.rs",
    "protocol/legacy.rs",
    "protocol/login/kick.rs",
    "protocol/login/mod.rs",
    "protocol/nbt.rs",
    "protocol/status.rs",
    "protocol/varint.rs",
    "protocol/version.rs",
    "protocol/versions.rs",
    "proxy_protocol.rs",
    "rate.rs",
    "routes/changes.rs",
    "routes/backends.rs",
    "routes/diff.rs",
    "routes/file.rs",
    "routes/history.rs",
    "routes/offer.rs",
    "routes/overrides.rs",
    "routes/policy.rs",
    "routes/pool.rs",
    "routes/row.rs",
    "routes/table.rs",
    "routes/wildcard.rs",
    "servers/entry.rs",
    "servers/history.rs",
    "servers/lease.rs",
    "servers/retry.rs",
    "servers/shard.rs",
    "servers/state.rs",
    "shared_str.rs",
    "status/answer.rs",
    "status/lenient.rs",
    "status/live.rs",
    "texts/component.rs",
    "texts/language.rs",
    "texts/message.rs",
    "texts/mod.rs",
    "texts/template.rs",
    "throttle/pace.rs",
    "wake/error.rs",
    "wake/hours.rs",
    "wake/idle.rs",
    "wake/machine.rs",
    "wake/permit.rs",
    "wake/polling.rs",
    "wake/probing.rs",
    "wake/reply.rs",
    "wake/starting.rs",
    "wake/wanted.rs",
    "webhook/event.rs",
    "webhook/route_news.rs",
];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = workspace().join(path);
    read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name == "target" || name == ".git");
        if path.is_dir() && !hidden {
            files(&path, ending, found);
        } else if path.extension().is_some_and(|found| found == ending) {
            found.push(path);
        }
    }
}

fn all(ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(&workspace(), ending, &mut found);
    assert!(!found.is_empty());
    found
}

#[test]
fn files_that_decide_never_act() {
    for file in PURE {
        let text = read(Path::new("router/src").join(file));
        let code = text.split("#[cfg(test)]").next().unwrap();
        for actor in [
            "tokio::",
            "hyper",
            "tokio_postgres",
            "Instant::now",
            "SystemTime::now",
            "std::env",
            "std::fs",
        ] {
            // `std::io::Error` may be carried, but nothing may be done.
            assert!(!code.contains(actor), "router/src/{file} names {actor}");
        }
    }
}

#[test]
fn no_source_file_outgrows_its_reader() {
    for path in all("rs") {
        let lines = read_to_string(&path).unwrap().lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines", path.display());
    }
}

#[test]
fn the_readme_has_every_setting_and_its_default() {
    let readme = read("README.md");
    for key in SPEC.keys() {
        let variable = format!("`{}`", SPEC.variable(key));
        let row = readme
            .lines()
            .find(|line| line.starts_with('|') && line.contains(&variable));
        let row = row.unwrap_or_else(|| panic!("README.md has no row for {variable}"));
        if let Some(default) = key.default {
            assert!(row.contains(&format!("`{default}`")), "{variable}: {row}");
        }
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    for path in all("md") {
        let text = read_to_string(&path).unwrap();
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            if file.contains("://") {
                continue;
            }
            let target = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file),
            };
            assert!(target.exists(), "{}: {link}", path.display());
            if !heading.is_empty() {
                let found = anchors(&read_to_string(&target).unwrap());
                assert!(found.iter().any(|one| one == heading), "{link}: {found:?}");
            }
        }
    }
}

/// What headings are linked to by: in lower case, with dashes for spaces and no other signs.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let words = line.trim_start_matches('#').trim().to_lowercase();
        let kept = |char: &char| char.is_alphanumeric() || *char == ' ' || *char == '-';
        words
            .chars()
            .filter(kept)
            .collect::<String>()
            .replace(' ', "-")
    };
    headings.map(anchor).collect()
}

#[test]
fn the_schema_announces_on_the_channel_the_router_listens_on() {
    let schema = read("schema.sql");
    assert!(schema.contains(&format!("pg_notify('{CHANNEL}'")));
}

#[test]
fn no_list_of_packages_says_where_they_come_from() {
    for folder in ["harness/clients", "harness/xtask/postgres"] {
        for list in ["package-lock.json", "requirements.txt"] {
            let text = read(Path::new(folder).join(list));
            for place in ["\"resolved\"", "index-url", "find-links"] {
                assert!(!text.contains(place), "{folder}/{list} has {place}");
            }
        }
    }
}

#[test]
fn every_invariant_names_tests_that_exist() {
    let text = read("router/ARCHITECTURE.md");
    let section = text
        .split("## Invariants")
        .nth(1)
        .unwrap()
        .split("\n## ")
        .next()
        .unwrap();
    let sources: String = all("rs")
        .iter()
        .map(|path| read_to_string(path).unwrap())
        .collect();
    let mut named = 0;
    for name in section
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| !name.contains(['/', '.', ' ']))
    {
        let name = name.rsplit("::").next().unwrap();
        assert!(
            sources.contains(&format!("fn {name}(")),
            "no test is called {name}"
        );
        named += 1;
    }
    assert!(
        named >= 15,
        "the table of invariants has gone: {named} tests named"
    );
}

#[test]
fn every_promise_of_the_contract_is_named_by_a_test() {
    let mut found = Vec::new();
    files(&workspace().join("harness/tests"), "rs", &mut found);
    files(&workspace().join("router/src"), "rs", &mut found);
    let tests: String = found
        .iter()
        .map(|path| read_to_string(path).unwrap())
        .collect();
    // 27 became settings; 28 and 29 are about a fork and its CI.
    let promises = (1..=32).filter(|row| ![27, 28, 29].contains(row));
    let missing: Vec<_> = promises
        .map(|row| format!("AMC-{row:02}"))
        .filter(|row| !tests.contains(row.as_str()))
        .collect();
    assert!(missing.is_empty(), "no test names {missing:?}");
}
