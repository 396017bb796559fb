//! What InfluxDB is told, in its line protocol, by mc-router's measurements: counts are what came since
//! the last write (field `count`), levels are what is (field `value`).

use std::collections::HashMap;
use std::hash::Hash;

use super::series::Counted;
use super::{Player, Reading, host_label, player_labels};

/// A tag and its value.
type Tag<'t> = (&'t str, &'t str);

/// Tags that measurements have of their own. Where one has it, a configured tag of that name is left out,
/// as mc-router does: InfluxDB refuses a line with the same tag twice.
pub const OWN_TAGS: [&str; 6] = [
    "host",
    "player_name",
    "player_uuid",
    "server_address",
    "side",
    "type",
];

/// Moments in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// Of what came since the last write: the same until that is written, so that what InfluxDB has kept of a
    /// write that failed is replaced by the next, and not counted twice.
    pub counts: u128,
    /// Of what is.
    pub levels: u128,
}

/// The lines of `now`, with `tags` on each, `base` being what was written last.
#[must_use]
pub fn lines(now: &Reading, base: &Reading, tags: &[(String, String)], at: At) -> String {
    let mut lines = Lines {
        text: String::new(),
        tags,
        at,
    };
    for (failure, count) in &now.failures {
        let before = base.failures.iter().find(|(own, _)| own == failure);
        let before = before.map_or(0, |(_, count)| *count);
        lines.count(
            "mc_router_errors",
            &[("type", failure.name())],
            *count,
            before,
        );
    }
    lines.count("mc_router_transmitted_bytes", &[], now.bytes, base.bytes);
    let side = [("side", "frontend")];
    lines.count("mc_router_connections", &side, now.accepted, base.accepted);
    lines.count("automc_probe_connections", &[], now.probed, base.probed);
    lines.level("mc_router_connections_active", &[], now.sessions_open);
    if let Some(left) = now.rate_left {
        lines.level("mc_router_rate_limit_available", &[], left);
    }
    let before = begun(&base.hosts);
    for counted in &now.hosts {
        let (host, before) = (host_label(counted), before.get(&counted.name));
        let tags = [("side", "backend"), ("host", host)];
        let before = before.copied().unwrap_or_default();
        lines.count("mc_router_connections", &tags, counted.begun, before);
        let tags = [("server_address", host)];
        lines.level("mc_router_server_active_connections", &tags, counted.open);
    }
    let before = begun(&base.players);
    for counted in &now.players {
        let before = before.get(&counted.name).copied().unwrap_or_default();
        lines.player(counted, before);
    }
    lines.text
}

/// What had begun by name.
fn begun<K: Eq + Hash + Clone>(counted: &[Counted<K>]) -> HashMap<Option<K>, u64> {
    let counted = counted.iter();
    counted.map(|one| (one.name.clone(), one.begun)).collect()
}

struct Lines<'l> {
    text: String,
    tags: &'l [(String, String)],
    at: At,
}

impl Lines<'_> {
    fn player(&mut self, counted: &Counted<Player>, before: u64) {
        let labels = player_labels(counted);
        let tags = labels
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        self.count("mc_router_server_logins", &tags, counted.begun, before);
        self.level("mc_router_server_player_active", &tags, counted.open);
    }

    /// Says nothing where nothing came. A name that was dropped meanwhile begins at 0 again.
    fn count(&mut self, measurement: &str, tags: &[Tag<'_>], now: u64, before: u64) {
        let came = now.checked_sub(before).unwrap_or(now);
        if came > 0 {
            self.line(measurement, tags, ("count", came), self.at.counts);
        }
    }

    fn level(&mut self, measurement: &str, tags: &[Tag<'_>], value: u64) {
        self.line(measurement, tags, ("value", value), self.at.levels);
    }

    /// A number without a suffix is a float, as mc-router's are; a field keeps its type for ever.
    fn line(
        &mut self,
        measurement: &str,
        tags: &[Tag<'_>],
        (field, value): (&str, u64),
        nanos: u128,
    ) {
        self.text.push_str(measurement);
        let configured = self.tags.iter();
        let configured = configured.map(|(name, value)| (name.as_str(), value.as_str()));
        let others = configured.filter(|(name, _)| tags.iter().all(|(own, _)| own != name));
        for (name, value) in others.chain(tags.iter().copied()) {
            self.text.push(',');
            escape(&mut self.text, name);
            self.text.push('=');
            escape(&mut self.text, value);
        }
        let end = format!(" {field}={value} {nanos}\n");
        self.text.push_str(&end);
    }
}

/// Commas, equal signs and spaces are escaped, line ends and the like replaced: they cannot be.
/// A backslash is one, but at the end it would escape what follows, and a value may not be empty.
fn escape(text: &mut String, value: &str) {
    for char in value.chars() {
        match char {
            ',' | '=' | ' ' => text.extend(['\\', char]),
            '\\' => text.push('/'),
            char if char.is_control() => text.push('?'),
            char => text.push(char),
        }
    }
    if value.is_empty() {
        text.push('?');
    }
}

#[cfg(test)]
mod tests {
    use super::super::Failure;
    use super::*;

    const AT: At = At {
        counts: 5,
        levels: 9,
    };

    fn host(name: &str, begun: u64, open: u64) -> Counted<crate::shared_str::SharedStr> {
        let name = Some(name.into());
        Counted { name, begun, open }
    }

    #[test]
    fn counts_are_what_came_and_levels_what_is() {
        let base = Reading {
            accepted: 10,
            bytes: 100,
            hosts: vec![host("a.example", 4, 1), host("gone.example", 9, 0)],
            ..Reading::default()
        };
        let now = Reading {
            accepted: 12,
            bytes: 100,
            failures: vec![(Failure::Read, 3), (Failure::Relay, 0)],
            sessions_open: 2,
            rate_left: Some(9),
            hosts: vec![host("a.example", 7, 2), host("gone.example", 1, 0)],
            ..Reading::default()
        };
        let tags = [("zone".to_owned(), "eu west".to_owned())];

        assert_eq!(
            lines(&now, &base, &tags, AT).lines().collect::<Vec<_>>(),
            [
                "mc_router_errors,zone=eu\\ west,type=read count=3 5",
                "mc_router_connections,zone=eu\\ west,side=frontend count=2 5",
                "mc_router_connections_active,zone=eu\\ west value=2 9",
                "mc_router_rate_limit_available,zone=eu\\ west value=9 9",
                "mc_router_connections,zone=eu\\ west,side=backend,host=a.example count=3 5",
                "mc_router_server_active_connections,zone=eu\\ west,server_address=a.example value=2 9",
                "mc_router_connections,zone=eu\\ west,side=backend,host=gone.example count=1 5",
                "mc_router_server_active_connections,zone=eu\\ west,server_address=gone.example value=0 9",
            ]
        );
    }

    #[test]
    fn a_measurements_own_tag_wins_over_a_configured_one_and_no_line_has_a_tag_twice() {
        let players = vec![Counted {
            name: None,
            begun: 1,
            open: 1,
        }];
        let now = Reading {
            accepted: 1,
            probed: 1,
            failures: vec![(Failure::Read, 1)],
            rate_left: Some(1),
            hosts: vec![host("a.example", 1, 1)],
            players,
            ..Reading::default()
        };
        let tags = OWN_TAGS.map(|name| (name.to_owned(), "mine".to_owned()));
        let text = lines(&now, &Reading::default(), &tags, AT);

        let mut own = std::collections::BTreeSet::new();
        for line in text.lines() {
            let (tagged, _) = line.split_once(' ').unwrap();
            let mut names: Vec<_> = tagged.split(',').skip(1).collect();
            assert_eq!(names.len(), OWN_TAGS.len(), "{line}");
            own.extend(names.iter().filter_map(|tag| {
                let (name, value) = tag.split_once('=').unwrap();
                (value != "mine").then(|| name.to_owned())
            }));
            names.sort_unstable();
            names.dedup_by_key(|tag| tag.split('=').next().unwrap().to_owned());
            assert_eq!(names.len(), OWN_TAGS.len(), "{line}");
        }
        assert!(own.iter().eq(OWN_TAGS), "{own:?}");
    }

    #[test]
    fn a_players_name_is_one_value_of_one_line() {
        let name = "a b,c=d\\\nmc_router_errors count=9";
        let player = Player {
            name: name.into(),
            uuid: 1,
            host: "a.example".into(),
        };
        let players = vec![Counted {
            name: Some(player),
            begun: 1,
            open: 1,
        }];
        let now = Reading {
            players,
            ..Reading::default()
        };
        let text = lines(&now, &Reading::default(), &[], AT);

        let login = text.lines().find(|line| line.contains("logins")).unwrap();
        assert_eq!(
            login,
            "mc_router_server_logins,player_name=a\\ b\\,c\\=d/?mc_router_errors\\ count\\=9,\
             player_uuid=00000000-0000-0000-0000-000000000001,server_address=a.example count=1 5"
        );
        assert_eq!(text.lines().count(), 3);
    }
}
