//! What InfluxDB is told, in its line protocol, by mc-router's measurements: counts are what came since
//! the last write (field `count`), levels are what is (field `value`).

use std::collections::HashMap;
use std::hash::Hash;

use super::series::Counted;
use super::{Player, Reading, host_label, player_labels};

/// A tag and its value.
type Tag<'t> = (&'t str, &'t str);

/// The lines of `now`, with `tags` on each, `base` being what was written last. `nanos` are those
/// since 1970.
#[must_use]
pub fn lines(now: &Reading, base: &Reading, tags: &[(String, String)], nanos: u128) -> String {
    let mut lines = Lines {
        text: String::new(),
        tags,
        nanos,
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
    nanos: u128,
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
            self.line(measurement, tags, "count", came);
        }
    }

    fn level(&mut self, measurement: &str, tags: &[Tag<'_>], value: u64) {
        self.line(measurement, tags, "value", value);
    }

    /// A number without a suffix is a float, as mc-router's are; a field keeps its type for ever.
    fn line(&mut self, measurement: &str, tags: &[Tag<'_>], field: &str, value: u64) {
        self.text.push_str(measurement);
        let own = self.tags.iter();
        let own = own.map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in own.chain(tags.iter().copied()) {
            self.text.push(',');
            escape(&mut self.text, name);
            self.text.push('=');
            escape(&mut self.text, value);
        }
        let end = format!(" {field}={value} {}\n", self.nanos);
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
            lines(&now, &base, &tags, 5).lines().collect::<Vec<_>>(),
            [
                "mc_router_errors,zone=eu\\ west,type=read count=3 5",
                "mc_router_connections,zone=eu\\ west,side=frontend count=2 5",
                "mc_router_connections_active,zone=eu\\ west value=2 5",
                "mc_router_rate_limit_available,zone=eu\\ west value=9 5",
                "mc_router_connections,zone=eu\\ west,side=backend,host=a.example count=3 5",
                "mc_router_server_active_connections,zone=eu\\ west,server_address=a.example value=2 5",
                "mc_router_connections,zone=eu\\ west,side=backend,host=gone.example count=1 5",
                "mc_router_server_active_connections,zone=eu\\ west,server_address=gone.example value=0 5",
            ]
        );
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
        let text = lines(&now, &Reading::default(), &[], 5);

        let login = text.lines().find(|line| line.contains("logins")).unwrap();
        assert_eq!(
            login,
            "mc_router_server_logins,player_name=a\\ b\\,c\\=d/?mc_router_errors\\ count\\=9,\
             player_uuid=00000000-0000-0000-0000-000000000001,server_address=a.example count=1 5"
        );
        assert_eq!(text.lines().count(), 3);
    }
}
