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
        fires: Fires::Always,
        notes: false,
    }
}

fn noting(name: &str, events: i16, fires: Fires) -> Trigger {
    Trigger {
        name: name.to_owned(),
        fires,
        notes: true,
        ..trigger(events, &ANNOUNCED)
    }
}

/// As schema.sql makes it.
fn good() -> Facts {
    let replicated = FOR_EACH_ROW | ON_INSERT | ON_UPDATE | ON_DELETE;
    Facts {
        role: "router".to_owned(),
        table: true,
        columns: ANNOUNCED.map(column).to_vec(),
        triggers: vec![
            noting("deleted", ON_DELETE, Fires::Ordinary),
            noting("inserted", ON_INSERT, Fires::Ordinary),
            noting("replicated", replicated, Fires::Replica),
            noting("truncated", ON_TRUNCATE, Fires::Always),
            noting("updated", ON_UPDATE, Fires::Ordinary),
        ],
        standby: false,
        rows_hidden: false,
        shape: 1,
        announced: true,
        revision: Revision::Readable,
    }
}

/// As schema.sql made it before it counted.
fn uncounted() -> Facts {
    let every = ON_INSERT | ON_UPDATE | ON_DELETE | ON_TRUNCATE;
    Facts {
        triggers: vec![trigger(every | FOR_EACH_ROW, &[])],
        announced: false,
        revision: Revision::Missing,
        ..good()
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
    let (severity, text) = worst(&good());
    assert_eq!(severity, Severity::Good, "{text}");
    assert!(
        text.contains("by deleted, inserted, truncated, updated"),
        "{text}"
    );
    assert!(good().counted());
}

#[test]
fn the_older_tables_are_followed_and_said_to_count_nothing() {
    let (severity, text) = worst(&uncounted());
    assert_eq!(severity, Severity::Warning);
    assert_eq!(
        text,
        "changes are not counted, so the whole table is read for every change; \
         apply schema.sql (automc-router check-db --fix)"
    );
    assert!(!uncounted().counted());
}

#[test]
fn whatever_keeps_revisions_from_counting_is_told_and_they_are_not_relied_on() {
    let hidden = Facts {
        revision: Revision::Hidden,
        ..good()
    };
    let silent = Facts {
        announced: false,
        ..good()
    };
    let mut disabled = good();
    disabled.triggers[4].fires = Fires::Never;
    let mut partial = good();
    partial.triggers[4].columns.retain(|name| name != "domain");
    for (facts, words) in [
        (hidden, "GRANT SELECT ON automc_revision TO router;"),
        (silent, "trigger automc_announce of automc_pending"),
        (disabled, "ALTER TABLE servers ENABLE TRIGGER updated;"),
        (partial, "a change of domain"),
    ] {
        let (severity, text) = worst(&facts);
        assert_eq!(severity, Severity::Warning);
        assert!(text.contains(words), "{text}");
        assert!(!facts.counted(), "{text}");
    }
}

#[test]
fn what_is_missed_of_replicas_or_read_too_often_is_told_though_revisions_count() {
    let mut both = good();
    both.triggers.push(trigger(ON_UPDATE, &[]));
    // As after ALTER TABLE … ENABLE TRIGGER ALL.
    let mut ordinary = good();
    ordinary
        .triggers
        .iter_mut()
        .for_each(|trigger| trigger.fires = Fires::Ordinary);
    let mut disabled = good();
    disabled.triggers[2].fires = Fires::Never;
    for (facts, words) in [
        (both, "automc_servers_route_notify does not count"),
        (ordinary, "what comes by replication"),
        (disabled, "ENABLE REPLICA TRIGGER replicated;"),
    ] {
        let (severity, text) = worst(&facts);
        assert_eq!(severity, Severity::Warning);
        assert!(text.contains(words), "{text}");
        assert!(facts.counted(), "{text}");
    }
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
        ..uncounted()
    };
    let mut disabled = uncounted();
    disabled.triggers[0].fires = Fires::Replica;
    let mut one_disabled = disabled.clone();
    one_disabled.triggers.push(trigger(ON_TRUNCATE, &[]));
    let no_truncate = Facts {
        triggers: vec![trigger(ON_INSERT | ON_UPDATE | ON_DELETE, &[])],
        ..uncounted()
    };
    let seed = trigger(
        ON_INSERT | ON_UPDATE | ON_DELETE | ON_TRUNCATE,
        &["domain", "address", "state", "enabled"],
    );
    let no_name = Facts {
        triggers: vec![seed],
        ..uncounted()
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
fn rows_that_are_kept_from_this_role_are_told_and_so_is_a_revision_without_one() {
    let hidden = Facts {
        rows_hidden: true,
        ..good()
    };
    let empty = Facts {
        revision: Revision::Empty,
        ..good()
    };
    for (facts, words) in [
        (
            &hidden,
            "CREATE POLICY routes ON servers FOR SELECT TO router",
        ),
        (&empty, "sees no row of automc_revision"),
    ] {
        let (severity, text) = worst(facts);
        assert_eq!(severity, Severity::Warning);
        assert!(text.contains(words), "{text}");
    }
    assert!(!empty.counted());
    assert!(!empty.query(false).contains("automc_revision"));
}

#[test]
fn missing_optional_columns_read_as_null() {
    let mut facts = good();
    facts
        .columns
        .retain(|column| !["state", "enabled", "aliases"].contains(&column.name.as_str()));
    assert!(
        facts
            .query(false)
            .contains("NULL::text, NULL::boolean, NULL::text, FALSE FROM servers")
    );
    assert_ne!(worst(&facts).0, Severity::Error);
}

#[test]
fn settings_are_read_where_they_are_and_may_be() {
    let mut facts = good();
    facts
        .columns
        .extend(["hold_max", "texts", "settle"].map(column));
    let seen = ["hold_max", "settle"].map(str::to_owned);
    facts.triggers[4].columns.extend(seen);
    facts.columns[7].readable = false;
    let query = facts.query(false);
    assert!(
        query.contains(
            "aliases::text END, FALSE, CASE WHEN octet_length(hold_max::text) > 65536 THEN left(hold_max::text, 65537) \
             ELSE hold_max::text END AS hold_max, CASE"
        ),
        "{query}"
    );
    assert!(query.contains("END AS settle FROM"), "{query}");
    let (severity, text) = worst(&facts);
    assert_eq!(severity, Severity::Warning);
    assert!(text.contains("may not read texts of"), "{text}");

    facts.columns[7].readable = true;
    let (severity, text) = worst(&facts);
    assert_eq!(severity, Severity::Warning);
    assert!(text.contains("a change of texts,"), "{text}");
    facts.triggers[4].columns.push("texts".to_owned());
    assert_eq!(worst(&facts).0, Severity::Good);
}

#[test]
fn the_revision_is_read_with_the_rows_where_there_is_one() {
    let counted = good().query(true);
    assert!(
        counted.starts_with("SELECT epoch, revision::text,"),
        "{counted}"
    );
    assert!(counted.contains("WHERE name = ANY ($1) LIMIT"), "{counted}");
    assert!(!uncounted().query(true).contains("automc_revision"));
    let mut other = good();
    other.columns[0].kind = "citext".to_owned();
    assert!(other.query(true).contains("WHERE name::text = ANY ($1)"));
}
