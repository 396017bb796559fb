//! Rows of the `servers` table to routes; what cannot be one is set aside with the reason.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Route, StateHint};
use crate::addr::BackendAddr;
use crate::host::Host;

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
}

/// A row that is no route, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// The row's name.
    pub name: String,
    /// Why it is no route, for whoever wrote the row.
    pub reason: String,
}

/// What a full read of the table adds up to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// The routes, by host.
    pub routes: BTreeMap<Host, Arc<Route>>,
    /// The rows that are none.
    pub set_aside: Vec<SetAside>,
}

/// Turns rows into routes. Of rows that clean up to one host, the first by name (by bytes)
/// wins, whatever order they come in.
#[must_use]
pub fn select(mut rows: Vec<Row>) -> Selection {
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    let mut selection = Selection::default();
    for row in rows {
        let name = row.name.clone().unwrap_or_default();
        match route(row) {
            Ok((host, route)) => match selection.routes.get(&host) {
                None => drop(selection.routes.insert(host, Arc::new(route))),
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

fn route(row: Row) -> Result<(Host, Route), String> {
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
    let host = Host::parse(&domain).map_err(|error| error.to_string())?;
    let backend = BackendAddr::parse(&address).map_err(|error| error.to_string())?;
    let route = Route {
        host: Some(host.clone()),
        backend,
        server: Some(name.into()),
        state: row
            .state
            .as_deref()
            .map(StateHint::parse)
            .unwrap_or_default(),
        policy: Arc::default(),
    };
    Ok((host, route))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
