//! What is said of a table, by what the catalogue says.

use super::*;

fn column(name: &str) -> Column {
    let kind = if name == "enabled" { "boolean" } else { "text" };
    Column {
        name: name.to_owned(),
        kind: kind.to_owned(),
        readable: true,
    }
}

fn trigger(events: i16, columns: &[&str]) -> Trigger {
    Trigger {
        name: "automc_servers_route_notify".to_owned(),
        events,
        columns: columns.iter().map(|&name| name.to_owned()).collect(),
        enabled: true,
    }
}

fn good() -> Facts {
    Facts {
        role: "router".to_owned(),
        table: true,
        columns: ANNOUNCED.map(column).to_vec(),
        triggers: vec![trigger(
            ON_INSERT | ON_UPDATE | ON_DELETE | ON_TRUNCATE,
            &[],
        )],
        standby: false,
    }
}

fn worst(facts: &Facts) -> (Severity, String) {
    let texts = |severity| {
        let findings = facts.findings();
        let of = findings
            .iter()
            .filter(move |finding| finding.severity == severity);
        of.map(|finding| finding.text.clone())
            .collect::<Vec<_>>()
            .join("\n")
    };
    let order = [Severity::Error, Severity::Warning, Severity::Good];
    order
        .map(|severity| (severity, texts(severity)))
        .into_iter()
        .find(|(_, text)| !text.is_empty())
        .unwrap()
}

#[test]
fn a_complete_table_has_nothing_wrong_with_it() {
    assert_eq!(worst(&good()).0, Severity::Good);
}

#[test]
fn what_keeps_routes_away_is_told_with_what_to_do() {
    let table = Facts {
        table: false,
        columns: vec![],
        ..good()
    };
    let standby = Facts {
        standby: true,
        ..good()
    };
    let mut lacking = good();
    lacking.columns.retain(|column| column.name != "domain");
    let mut forbidden = good();
    forbidden.columns[2].readable = false;
    let mut mistyped = good();
    mistyped.columns[4].kind = "integer".to_owned();
    for (facts, words) in [
        (table, "schema.sql"),
        (standby, "primary"),
        (lacking, "no column domain"),
        (forbidden, "GRANT SELECT ON servers TO router"),
        (mistyped, "boolean"),
    ] {
        let (severity, text) = worst(&facts);
        assert_eq!(severity, Severity::Error);
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn gaps_in_the_announcements_are_warnings() {
    let none = Facts {
        triggers: vec![],
        ..good()
    };
    let mut disabled = good();
    disabled.triggers[0].enabled = false;
    let mut one_disabled = disabled.clone();
    one_disabled.triggers.push(trigger(ON_TRUNCATE, &[]));
    let no_truncate = Facts {
        triggers: vec![trigger(ON_INSERT | ON_UPDATE | ON_DELETE, &[])],
        ..good()
    };
    let seed = trigger(
        ON_INSERT | ON_UPDATE | ON_DELETE | ON_TRUNCATE,
        &["domain", "address", "state", "enabled"],
    );
    let no_name = Facts {
        triggers: vec![seed],
        ..good()
    };
    for (facts, words) in [
        (none, "no trigger on servers"),
        (disabled, "ENABLE TRIGGER"),
        (one_disabled, "ENABLE TRIGGER"),
        (no_truncate, "TRUNCATE"),
        (no_name, "a change of name"),
    ] {
        let (severity, text) = worst(&facts);
        assert_eq!(severity, Severity::Warning);
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn missing_optional_columns_read_as_null() {
    let mut facts = good();
    facts
        .columns
        .retain(|column| !["state", "enabled"].contains(&column.name.as_str()));
    assert!(
        facts
            .query()
            .contains("NULL::text, NULL::boolean, NULL::text FROM servers")
    );
    assert_ne!(worst(&facts).0, Severity::Error);
}

#[test]
fn settings_are_read_where_they_are_and_may_be() {
    let mut facts = good();
    facts
        .columns
        .extend(["hold_max", "texts", "settle"].map(column));
    facts.columns[6].readable = false;
    let query = facts.query();
    assert!(
        query.contains(
            "enabled, NULL::text, hold_max::text AS hold_max, settle::text AS settle FROM"
        ),
        "{query}"
    );
    let (severity, text) = worst(&facts);
    assert_eq!(severity, Severity::Warning);
    assert!(text.contains("may not read texts of"), "{text}");

    facts.columns[6].readable = true;
    assert_eq!(worst(&facts).0, Severity::Good);
    facts.triggers[0].columns = ANNOUNCED.map(str::to_owned).to_vec();
    let (severity, text) = worst(&facts);
    assert_eq!(severity, Severity::Warning);
    assert!(
        text.contains("a change of hold_max, settle, texts,"),
        "{text}"
    );
}
