//! Rows of the `servers` table to routes; what cannot be one is set aside with the reason.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::overrides::{Overrides, Policies};
use super::policy::Policy;
use super::{Route, StateHint};
use crate::addr::BackendAddr;
use crate::host::{Host, Names};

/// Longest server name, in bytes.
pub const SERVER_NAME_BYTES_MAX: usize = 255;

/// The reason of a row that was switched off on purpose.
pub const DISABLED: &str = "disabled";

/// One row, in the shape every version of the table can be read into.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    /// `name`.
    pub name: Option<String>,
    /// `domain`.
    pub domain: Option<String>,
    /// `address`.
    pub address: Option<String>,
    /// `state`; `None` where the column is missing.
    pub state: Option<String>,
    /// `enabled`; `None` where the column is missing, which counts as true.
    pub enabled: Option<bool>,
    /// The columns of settings that are there and not NULL.
    pub overrides: Overrides,
}

/// A row that is no route, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// The row's name.
    pub name: String,
    /// Why it is no route, for whoever wrote the row.
    pub reason: String,
}

/// A setting of a routed row that is left at its default, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoredSetting {
    /// The row's name.
    pub name: String,
    /// The column.
    pub column: &'static str,
    /// Why it is not honoured, for whoever wrote the row.
    pub reason: String,
}

impl fmt::Display for IgnoredSetting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            column,
            reason,
        } = self;
        write!(
            formatter,
            "row {name:?}: {column} is left at its default: {reason}"
        )
    }
}

/// What a full read of the table adds up to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// The routes, by host.
    pub routes: BTreeMap<Host, Arc<Route>>,
    /// The rows that are none.
    pub set_aside: Vec<SetAside>,
    /// Settings of the routes that are not honoured.
    pub ignored: Vec<IgnoredSetting>,
}

/// Turns rows into routes. Of rows that clean up to one host, the first by name (by bytes)
/// wins, whatever order they come in. What a row does not set is as in `defaults`.
#[must_use]
pub fn select(mut rows: Vec<Row>, defaults: &Arc<Policy>, names: Names) -> Selection {
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    let mut selection = Selection::default();
    let mut policies = Policies::over(defaults);
    for mut row in rows {
        let name = row.name.clone().unwrap_or_default();
        let (policy, ignored) = policies.of(std::mem::take(&mut row.overrides));
        match route(row, policy, names) {
            Ok((host, route)) => match selection.routes.get(&host) {
                None => {
                    selection.routes.insert(host, Arc::new(route));
                    let ignored = ignored.into_iter().map(|(setting, reason)| IgnoredSetting {
                        name: name.clone(),
                        column: setting.column(),
                        reason,
                    });
                    selection.ignored.extend(ignored);
                }
                Some(winner) => {
                    let winner = winner.server.as_deref().unwrap_or_default();
                    let reason = format!("its domain {host} is taken by {winner:?}, first by name");
                    selection.set_aside.push(SetAside { name, reason });
                }
            },
            Err(reason) => selection.set_aside.push(SetAside { name, reason }),
        }
    }
    // Flaws before what was switched off on purpose, since only the first are shown.
    selection
        .set_aside
        .sort_by_key(|row| row.reason == DISABLED);
    selection
}

fn route(row: Row, policy: Arc<Policy>, names: Names) -> Result<(Host, Route), String> {
    if row.enabled == Some(false) {
        return Err(DISABLED.to_owned());
    }
    let name = row
        .name
        .filter(|name| !name.is_empty())
        .ok_or("it has no name")?;
    if name.len() > SERVER_NAME_BYTES_MAX {
        let length = name.len();
        return Err(format!(
            "its name is {length} bytes, over {SERVER_NAME_BYTES_MAX}"
        ));
    }
    if name.chars().any(char::is_control) {
        return Err("its name has a control character".to_owned());
    }
    let domain = row
        .domain
        .filter(|domain| !domain.is_empty())
        .ok_or("it has no domain")?;
    let address = row
        .address
        .filter(|address| !address.is_empty())
        .ok_or("it has no address")?;
    let host = names.parse(&domain).map_err(|error| error.to_string())?;
    let backend = BackendAddr::parse(&address).map_err(|error| error.to_string())?;
    let route = Route {
        host: Some(host.clone()),
        backend,
        server: Some(name.into()),
        container: None,
        state: row
            .state
            .as_deref()
            .map(StateHint::parse)
            .unwrap_or_default(),
        policy,
    };
    Ok((host, route))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::overrides::Setting;
    use proptest::prelude::*;

    fn select(rows: Vec<Row>) -> Selection {
        super::select(rows, &Arc::default(), Names::default())
    }

    fn row(name: &str, domain: &str, address: &str) -> Row {
        let text = |text: &str| Some(text.to_owned());
        Row {
            name: text(name),
            domain: text(domain),
            address: text(address),
            ..Row::default()
        }
    }

    #[test]
    fn rows_without_domain_address_or_leave_are_set_aside_with_the_reason() {
        let disabled = Row {
            enabled: Some(false),
            ..row("e", "e.example", "h:1")
        };
        let selection = select(vec![
            row("a", "a.example", "h:1"),
            row("b", "", "h:1"),
            Row {
                domain: None,
                ..row("c", "", "h:1")
            },
            row("d", "d.example", ""),
            disabled,
            row("f", "f example", "h:1"),
            row("g", "g.example", "h"),
        ]);

        assert_eq!(selection.routes.len(), 1);
        let reasons: Vec<_> = selection
            .set_aside
            .iter()
            .map(|row| row.reason.as_str())
            .collect();
        assert_eq!(
            reasons[..3],
            ["it has no domain", "it has no domain", "it has no address"]
        );
        assert!(
            reasons[3].contains("' '") && reasons[4].contains("port"),
            "{reasons:?}"
        );
        assert_eq!(reasons[5..], [DISABLED], "what is on purpose comes last");
    }

    #[test]
    fn a_name_that_could_forge_a_log_line_is_set_aside() {
        let selection = select(vec![row("a\nb", "a.example", "h:1")]);
        assert_eq!(selection.set_aside.len(), 1);
    }

    #[test]
    fn null_enabled_and_true_enabled_count_the_same() {
        for enabled in [None, Some(true)] {
            let selection = select(vec![Row {
                enabled,
                ..row("a", "a.example", "h:1")
            }]);
            assert_eq!(selection.routes.len(), 1);
        }
    }

    #[test]
    fn rows_share_the_defaults_and_equal_settings_among_them() {
        let defaults = Arc::<Policy>::default();
        let with = |name: &str, hold_max: &str| Row {
            overrides: vec![(Setting::HoldMax, hold_max.to_owned())],
            ..row(name, &format!("{name}.example"), "h:1")
        };
        let selection = super::select(
            vec![
                row("a", "a.example", "h:1"),
                with("b", "10s"),
                with("c", "10s"),
                with("d", "nonsense"),
                with("e", "90s"),
            ],
            &defaults,
            Names::default(),
        );

        let policies: Vec<_> = selection
            .routes
            .values()
            .map(|route| &route.policy)
            .collect();
        assert_eq!(policies[1].hold_max.as_secs(), 10);
        assert!(Arc::ptr_eq(policies[1], policies[2]));
        for same in [0, 3, 4] {
            assert!(Arc::ptr_eq(policies[same], &defaults), "{same}");
        }
        let [ignored] = &selection.ignored[..] else {
            panic!("{:?}", selection.ignored)
        };
        assert_eq!((&*ignored.name, ignored.column), ("d", "hold_max"));
        assert!(ignored.reason.contains("nonsense"), "{}", ignored.reason);
    }

    #[test]
    fn settings_of_rows_that_are_set_aside_are_nobodys_concern() {
        let selection = select(vec![Row {
            overrides: vec![(Setting::HoldMax, "nonsense".to_owned())],
            ..row("a", "", "h:1")
        }]);
        assert_eq!((selection.set_aside.len(), selection.ignored.len()), (1, 0));
    }

    proptest! {
        #[test]
        fn the_first_by_name_wins_one_host_in_whatever_order_rows_come(
            rows in Just(vec![
                row("b", "a.example", "b:1"), row("a", "A.Example.", "a:1"), row("c", "a.EXAMPLE", "c:1"),
            ]).prop_shuffle()
        ) {
            let selection = select(rows);
            prop_assert_eq!(selection.routes.len(), 1);
            prop_assert_eq!(selection.routes.values().next().unwrap().backend.as_str(), "a:1");
            prop_assert_eq!(selection.set_aside.len(), 2);
        }

        #[test]
        fn every_row_is_a_route_or_set_aside(
            rows in proptest::collection::vec(("[ab]{0,2}", "[aA.\0]{0,3}", "[h:1]{0,4}"), 0..20)
        ) {
            let count = rows.len();
            let rows = rows.iter().map(|(name, domain, address)| row(name, domain, address));
            let selection = select(rows.collect());
            prop_assert_eq!(selection.routes.len() + selection.set_aside.len(), count);
        }
    }
}
