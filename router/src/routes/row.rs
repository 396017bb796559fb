//! Rows of the `servers` table to routes; what cannot be one is set aside with the reason.

use std::sync::Arc;

use super::offer::{Excluded, IgnoredSetting, Offer, Provider, Reason};
use super::overrides::{Overrides, Policies, SETTING_BYTES_MAX, items};
use super::policy::Policy;
use super::{Route, StateHint, backends, wildcard};
use crate::host::{Host, Names};

/// Longest server name, in bytes.
pub const SERVER_NAME_BYTES_MAX: usize = 255;
/// Most aliases of one row.
pub const ALIASES_MAX: usize = 100;

/// Longest text of one column, in bytes.
pub const TEXT_BYTES_MAX: usize = SETTING_BYTES_MAX;

/// One row, in the shape every version of the table can be read into.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    /// `name`.
    pub name: Option<String>,
    /// `domain`.
    pub domain: Option<String>,
    /// `aliases`; `None` where the column is missing.
    pub aliases: Option<String>,
    /// `address`.
    pub address: Option<String>,
    /// `state`; `None` where the column is missing.
    pub state: Option<String>,
    /// `enabled`; `None` where the column is missing, which counts as true.
    pub enabled: Option<bool>,
    /// The columns of settings that are there and not NULL.
    pub overrides: Overrides,
}

/// What the rows of a whole table come to; see [`offer`].
#[must_use]
pub fn offers(rows: Vec<Row>, defaults: &Arc<Policy>, names: Names) -> Vec<Offer> {
    let mut policies = Policies::over(Arc::clone(defaults));
    let rows = rows.into_iter();
    rows.map(|row| offer(row, &mut policies, names)).collect()
}

/// What one row comes to: a route, or why it is none. What it does not set is as in the defaults of `policies`.
#[must_use]
pub fn offer(mut row: Row, policies: &mut Policies, names: Names) -> Offer {
    let (policy, ignored) = policies.of(std::mem::take(&mut row.overrides));
    let name = row.name.take().unwrap_or_default();
    match route(&row, &name, policy, names) {
        Ok(route) => {
            let ignored = ignored.into_iter().map(|(setting, reason)| IgnoredSetting {
                column: setting.column(),
                reason,
            });
            Offer {
                outcome: Ok(Arc::new(route)),
                ignored: ignored.collect(),
            }
        }
        Err(reason) => Offer {
            outcome: Err(Arc::new(Excluded {
                name: name.into(),
                hosts: wanted(&row, names),
                reason,
            })),
            ignored: Vec::new(),
        },
    }
}

fn route(row: &Row, name: &str, policy: Arc<Policy>, names: Names) -> Result<Route, Reason> {
    if row.enabled == Some(false) {
        return Err(Reason::Disabled);
    }
    check(name)?;
    let domain = row.domain.as_deref().unwrap_or_default();
    if domain.is_empty() {
        return Err(Reason::NoDomain);
    }
    let address = row.address.as_deref().unwrap_or_default();
    if address.is_empty() {
        return Err(Reason::NoAddress);
    }
    let aliases = row.aliases.as_deref().unwrap_or_default();
    bounded(domain, aliases, address)?;
    let (host, aliases, stars) =
        hosts(domain, aliases, names).map_err(|reason| Reason::Domain(reason.into()))?;
    let (backend, backends) =
        backends::parse(address, stars).map_err(|reason| Reason::Address(reason.into()))?;
    let state = row.state.as_deref().map(StateHint::parse);
    let route = Route {
        provider: Provider::Postgres,
        // One name cannot stand for as many servers as there are addresses.
        managed: !backend.is_template(),
        state: state.unwrap_or_default(),
        ..Route::fixed(Some(host), backend, policy)
    };
    Ok(route
        .named(name)
        .with_aliases(aliases)
        .with_backends(backends))
}

/// The hosts of a row that is no route.
fn wanted(row: &Row, names: Names) -> Box<[Host]> {
    let aliases = items(row.aliases.as_deref().unwrap_or_default()).unwrap_or_default();
    let domain = row.domain.as_deref().unwrap_or_default();
    let texts = std::iter::once(domain).chain(aliases.iter().map(String::as_str));
    let hosts = texts.take(1 + ALIASES_MAX);
    hosts.filter_map(|text| names.parse(text).ok()).collect()
}

fn check(name: &str) -> Result<(), Reason> {
    let refused = |reason: String| Err(Reason::Name(reason.into()));
    if name.is_empty() {
        return refused("it has no name".to_owned());
    }
    if name.len() > SERVER_NAME_BYTES_MAX {
        let length = name.len();
        return refused(format!(
            "its name is {length} bytes, over {SERVER_NAME_BYTES_MAX}"
        ));
    }
    if name.chars().any(char::is_control) {
        return refused("its name has a control character".to_owned());
    }
    Ok(())
}

/// What is longer is not read to its end, so its beginning is not to count either.
fn bounded(domain: &str, aliases: &str, address: &str) -> Result<(), Reason> {
    let long = |text: &str| text.len() > TEXT_BYTES_MAX;
    let over = |what: &str| format!("{what} over {TEXT_BYTES_MAX} bytes").into();
    match () {
        () if long(domain) => Err(Reason::Domain(over("it is"))),
        () if long(aliases) => Err(Reason::Domain(over("its aliases are"))),
        () if long(address) => Err(Reason::Address(over("it is"))),
        () => Ok(()),
    }
}

/// The first host, the others, and how many stars each of them has at least.
fn hosts(domain: &str, aliases: &str, names: Names) -> Result<(Host, Box<[Host]>, usize), String> {
    let parse = |text: &str| names.parse(text).map_err(|error| error.to_string());
    let first = parse(domain)?;
    let mut others = Vec::new();
    for alias in items(aliases)? {
        let alias = parse(&alias)?;
        if alias != first && !others.contains(&alias) {
            others.push(alias);
        }
    }
    if others.len() > ALIASES_MAX {
        let count = others.len();
        return Err(format!("it has {count} aliases, over {ALIASES_MAX}"));
    }
    let mut least = wildcard::stars(&first)?;
    for alias in &others {
        least = least.min(wildcard::stars(alias)?);
    }
    Ok((first, others.into(), least))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::BackendAddr;
    use crate::routes::overrides::Setting;
    use proptest::prelude::*;

    fn offer(row: Row) -> Offer {
        super::offer(row, &mut Policies::over(Arc::default()), Names::default())
    }

    fn reason(row: Row) -> Reason {
        let excluded = offer(row).outcome.unwrap_err();
        excluded.reason.clone()
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
    fn rows_without_domain_address_or_leave_are_none_and_say_why() {
        assert!(offer(row("a", "a.example", "h:1")).outcome.is_ok());
        assert_eq!(reason(row("b", "", "h:1")), Reason::NoDomain);
        let null = Row {
            domain: None,
            ..row("c", "", "h:1")
        };
        assert_eq!(reason(null), Reason::NoDomain);
        assert_eq!(reason(row("d", "d.example", "")), Reason::NoAddress);
        let disabled = Row {
            enabled: Some(false),
            ..row("e", "e.example", "h:1")
        };
        assert_eq!(reason(disabled), Reason::Disabled);
        assert!(
            matches!(reason(row("f", "f example", "h:1")), Reason::Domain(why) if why.contains("' '"))
        );
        assert!(
            matches!(reason(row("g", "g.example", "h")), Reason::Address(why) if why.contains("port"))
        );
    }

    #[test]
    fn the_hosts_of_a_row_that_is_no_route_are_known_as_far_as_they_can_be_told() {
        let excluded = offer(Row {
            enabled: Some(false),
            aliases: Some("b.example, c example, *.D.example.".to_owned()),
            ..row("a", "A.Example.", "")
        });
        let excluded = excluded.outcome.unwrap_err();
        let hosts: Vec<_> = excluded.hosts.iter().map(Host::as_str).collect();
        assert_eq!(hosts, ["a.example", "b.example", "*.d.example"]);
    }

    #[test]
    fn a_name_that_could_forge_a_log_line_is_none() {
        for name in ["a\nb", "", &"a".repeat(256)] {
            assert!(matches!(
                reason(row(name, "a.example", "h:1")),
                Reason::Name(_)
            ));
        }
    }

    #[test]
    fn null_enabled_and_true_enabled_count_the_same() {
        for enabled in [None, Some(true)] {
            let offer = offer(Row {
                enabled,
                ..row("a", "a.example", "h:1")
            });
            assert!(offer.outcome.is_ok());
        }
    }

    #[test]
    fn aliases_are_further_hosts_each_once() {
        let aliases = |text: &str| Row {
            aliases: Some(text.to_owned()),
            ..row("a", "a.example", "h:1")
        };
        for text in [
            "B.example., a.EXAMPLE,,b.example\n*.c.example",
            "{b.example,*.c.example}",
        ] {
            let route = offer(aliases(text)).outcome.unwrap();
            let hosts: Vec<_> = route.hosts().flatten().map(Host::as_str).collect();
            assert_eq!(hosts, ["a.example", "b.example", "*.c.example"], "{text}");
        }
        let many: Vec<_> = (0..=ALIASES_MAX)
            .map(|number| format!("h{number}"))
            .collect();
        for wrong in ["b example", "**.example", &many.join(",")] {
            assert!(
                matches!(reason(aliases(wrong)), Reason::Domain(_)),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_list_that_is_too_long_is_refused_whatever_is_in_it() {
        let long = "b.example,".repeat(TEXT_BYTES_MAX / 10 + 1);
        let aliases = Row {
            aliases: Some(long.clone()),
            ..row("a", "a.example", "h:1")
        };
        let aliases = reason(aliases);
        assert!(matches!(&aliases, Reason::Domain(why) if why.contains("aliases are over 65536")));
        let address = reason(row(
            "a",
            "a.example",
            &format!("h:1{}", ",".repeat(long.len())),
        ));
        assert!(matches!(&address, Reason::Address(why) if why.contains("over 65536")));
    }

    #[test]
    fn every_host_has_the_stars_its_address_uses_and_nobody_wakes_many_servers_by_one_name() {
        let with = |domain: &str, alias: &str, address: &str| {
            offer(Row {
                aliases: Some(alias.to_owned()),
                ..row("a", domain, address)
            })
        };
        let route = with("*.a.example", "*.b.example", "$1.internal:1")
            .outcome
            .unwrap();
        assert_eq!(
            (route.backend.as_str(), route.server()),
            ("$1.internal:1", None)
        );
        let one = with("*.a.example", "", "h:1").outcome.unwrap();
        assert_eq!(one.server_name(), Some("a"));
        for (domain, alias, address) in [
            ("a.example", "", "$1.internal:1"),
            ("*.a.example", "b.example", "$1.internal:1"),
            ("*.a.example", "", "$2.internal:1"),
        ] {
            let reason = with(domain, alias, address).outcome.unwrap_err();
            assert!(
                matches!(reason.reason, Reason::Address(_)),
                "{domain} {address}"
            );
        }
    }

    #[test]
    fn an_address_may_be_a_list_of_backends() {
        let route = offer(row("a", "a.example", "b:1, c:1 weight=2, d:1"));
        let route = route.outcome.unwrap();
        let addresses: Vec<_> = route.addresses().map(BackendAddr::as_str).collect();
        assert_eq!(addresses, ["b:1", "c:1", "d:1"]);
        assert_eq!(route.server_name(), Some("a"));
        let one = offer(row("a", "a.example", "b:1")).outcome.unwrap();
        assert_eq!(one.backends(), None);
        assert_eq!(one.addresses().collect::<Vec<_>>(), [&one.backend]);
        for (address, entry) in [("b:1, c", "\"c\""), ("b:1, c:1 weight=x", "weight=x")] {
            let reason = reason(row("a", "a.example", address));
            assert!(
                matches!(&reason, Reason::Address(why) if why.contains(entry)),
                "{reason}"
            );
        }
    }

    #[test]
    fn rows_share_the_defaults_and_equal_settings_among_them() {
        let defaults = Arc::<Policy>::default();
        let mut policies = Policies::over(Arc::clone(&defaults));
        let mut with = |settings: &[&str]| {
            let settings = settings
                .iter()
                .map(|text| (Setting::HoldMax, (*text).to_owned()));
            let row = Row {
                overrides: settings.collect(),
                ..row("a", "a.example", "h:1")
            };
            let offer = super::offer(row, &mut policies, Names::default());
            (Arc::clone(&offer.outcome.unwrap().policy), offer.ignored)
        };

        let (ten, again) = (with(&["10s"]).0, with(&["10s"]).0);
        assert_eq!(ten.hold_max.as_secs(), 10);
        assert!(Arc::ptr_eq(&ten, &again));
        let (flawed, ignored) = with(&["nonsense"]);
        for same in [with(&[]).0, flawed, with(&["90s"]).0] {
            assert!(Arc::ptr_eq(&same, &defaults));
        }
        assert_eq!(ignored[0].column, "hold_max");
        assert!(
            ignored[0].reason.contains("nonsense"),
            "{}",
            ignored[0].reason
        );
    }

    #[test]
    fn settings_of_rows_that_are_no_routes_are_nobodys_concern() {
        let offer = offer(Row {
            overrides: vec![(Setting::HoldMax, "nonsense".to_owned())],
            ..row("a", "", "h:1")
        });
        assert!(offer.outcome.is_err() && offer.ignored.is_empty());
    }

    proptest! {
        #[test]
        fn every_row_is_a_route_that_can_be_found_or_says_why_not(
            name in ".{0,4}", domain in "[aA.*\0]{0,4}", aliases in "[aA.*,{}\"]{0,8}", address in "[h:1$, w=]{0,7}"
        ) {
            let offer = offer(Row { aliases: Some(aliases), ..row(&name, &domain, &address) });
            match offer.outcome {
                Ok(route) => {
                    prop_assert_eq!(&*route.name, name);
                    let hosts: Vec<_> = route.hosts().flatten().collect();
                    prop_assert!(hosts.iter().all(|host| wildcard::stars(host).is_ok()));
                }
                Err(excluded) => prop_assert!(!excluded.reason.to_string().is_empty()),
            }
        }
    }
}
