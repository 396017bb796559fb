//! The settings of who gets in: client addresses, how much one of them may ask for, players.

use std::path::PathBuf;
use std::time::Duration;

use super::settings::{Key, Kind, Settings};
use super::text;
use super::values::{number, switch};
use super::waker::rate;
use crate::admit::address::{Filter, NETWORKS_MAX};
use crate::admit::limits::Limits;
use crate::host::Names;
use crate::networks::{Networks, network};
use crate::rate::Rate;

/// From so many new connections in a second on, the limit for all is none: nothing accepts as many,
/// and with mc-router, which always has one, large numbers are how it is switched off.
const CONNECTION_RATE_MAX: usize = 100_000;
/// Most connections at once that can be asked for, as for `max_connections`.
const AT_ONCE_MAX: usize = 1_000_000;
/// What `connection_rate_limit` counts over: as with mc-router, what was saved up in one second may
/// come in the next.
const CONNECTION_RATE_PER: Duration = Duration::from_secs(2);

pub(super) const KEYS: &[Key] = &[
    list(
        "clients_to_allow",
        "Addresses or CIDR blocks clients may connect from; repeatable, or separated by commas; unset is everywhere",
    ),
    list(
        "clients_to_deny",
        "Addresses or CIDR blocks clients may not connect from, whatever else is said",
    ),
    text(
        "connection_rate_limit",
        "off",
        "New connections in a second, of all clients together; others are told to come back; or off",
    ),
    text(
        "automc_connections_per_address",
        "1000",
        "Connections at once of one client address (of IPv6, one /64); or off",
    ),
    text(
        "automc_connects_per_address",
        "1000/10s",
        "New connections of one client address in what time; or off",
    ),
    text(
        "automc_logins_per_address",
        "200/10s",
        "Logins of one client address in what time; or off",
    ),
    text(
        "automc_pings_per_address",
        "600/10s",
        "Status pings of one client address in what time; or off",
    ),
    text(
        "auto_scale_allow_deny",
        "",
        "JSON file of players who may wake servers; read again at SIGHUP",
    ),
    switch_key(
        "automc_players_gate_join",
        "The players' file says who may join, too",
    ),
    switch_key("record_logins", "Log every login that is tried"),
];

const fn list(name: &'static str, help: &'static str) -> Key {
    Key {
        kind: Kind::List,
        ..text(name, "", help)
    }
}

const fn switch_key(name: &'static str, help: &'static str) -> Key {
    Key {
        kind: Kind::Switch,
        ..text(name, "", help)
    }
}

/// Who gets in.
#[derive(Debug, Clone, Default)]
pub struct AdmitConfig {
    /// From where.
    pub filter: Filter,
    /// How often, and how many.
    pub limits: Limits,
    /// The players' file, if there is one.
    pub players: Option<PathBuf>,
    /// How host names in it are read.
    pub names: Names,
    /// Whether that file says who may join, and not only who may wake.
    pub gate_join: bool,
    /// Whether logins are logged.
    pub record_logins: bool,
}

/// Reads who gets in.
pub(super) fn admit(settings: &mut Settings, names: Names) -> AdmitConfig {
    let mut networks = |key: &str| {
        let networks = settings.parse_list(key, network);
        if networks.len() > NETWORKS_MAX {
            let count = networks.len();
            settings.problem(format!("{key}: {count} entries, over {NETWORKS_MAX}"));
        }
        Networks::new(&networks)
    };
    let filter = Filter {
        allow: networks("clients_to_allow"),
        deny: networks("clients_to_deny"),
    };
    let limits = Limits {
        at_once: or_off(settings, "automc_connections_per_address", AT_ONCE_MAX),
        connections: settings
            .parse("automc_connects_per_address", rate)
            .flatten(),
        logins: settings.parse("automc_logins_per_address", rate).flatten(),
        pings: settings.parse("automc_pings_per_address", rate).flatten(),
        everybody: or_off(settings, "connection_rate_limit", usize::MAX)
            .filter(|second| *second < CONNECTION_RATE_MAX)
            .map(|second| Rate {
                count: second * 2,
                per: CONNECTION_RATE_PER,
            }),
    };
    let players = settings.parse("auto_scale_allow_deny", str::parse);
    let gate_join = settings
        .parse("automc_players_gate_join", switch)
        .unwrap_or_default();
    if gate_join && players.is_none() {
        settings.problem("automc_players_gate_join: auto_scale_allow_deny names no file");
    }
    AdmitConfig {
        filter,
        limits,
        players,
        names,
        gate_join,
        record_logins: settings.parse("record_logins", switch).unwrap_or_default(),
    }
}

fn or_off(settings: &mut Settings, key: &str, max: usize) -> Option<usize> {
    let read = |text: &str| match text.trim() {
        "off" => Ok(None),
        text => number(text, 1, max).map(Some),
    };
    settings.parse(key, read).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, SPEC};
    use std::net::IpAddr;

    fn read(flags: &[&str]) -> Result<AdmitConfig, String> {
        let command = SPEC.flags(clap::Command::new("automc-router"));
        let flags = std::iter::once("automc-router").chain(flags.iter().copied());
        let matches = command.try_get_matches_from(flags).unwrap();
        let settings = SPEC.load(&matches, []).unwrap();
        let config = Config::read(settings).map_err(|error| error.to_string())?;
        Ok(config.admit)
    }

    #[test]
    fn who_keeps_to_logins_and_pings_is_never_stopped_at_the_door() {
        let limits = read(&[]).unwrap().limits;
        let [connections, logins, pings] =
            [limits.connections, limits.logins, limits.pings].map(Option::unwrap);
        assert!(logins.count + pings.count <= connections.count);
        assert!(
            [logins.per, pings.per]
                .iter()
                .all(|per| *per >= connections.per)
        );
        assert_eq!(limits.everybody, None);
    }

    #[test]
    fn every_limit_can_be_off() {
        let off = [
            "--automc-connections-per-address=off",
            "--automc-connects-per-address=off",
            "--automc-logins-per-address=off",
            "--automc-pings-per-address=off",
            "--connection-rate-limit=1000000",
        ];
        assert_eq!(read(&off).unwrap().limits, Limits::default());
    }

    #[test]
    fn addresses_add_up_and_a_wrong_one_is_refused_by_name() {
        let flags = [
            "--clients-to-deny=192.0.2.1,10.0.0.0/8",
            "--clients-to-deny",
            "2001:db8::/32",
        ];
        let filter = read(&flags).unwrap().filter;
        for address in ["192.0.2.1", "10.9.9.9", "2001:db8::9"] {
            assert!(
                !filter.lets(address.parse::<IpAddr>().unwrap()),
                "{address}"
            );
        }
        for flag in [
            "--clients-to-allow=10.0.0.0/33",
            "--clients-to-deny=a.example",
        ] {
            let error = read(&[flag]).unwrap_err();
            let (name, value) = flag.split_once('=').unwrap();
            assert!(error.contains(name) && error.contains(value), "{error}");
        }
    }

    #[test]
    fn gating_joins_needs_a_file() {
        let error = read(&["--automc-players-gate-join"]).unwrap_err();
        assert!(error.contains("auto_scale_allow_deny"), "{error}");
    }
}
