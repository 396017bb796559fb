//! What the `servers` table looks like, and whether that will do.
//!
//! The older documents describe three shapes of the table; all are read. What is missing or
//! forbidden is told in words an operator can act on.

use tokio_postgres::Client;

use super::CHANNEL;
use crate::routes::row::Row;

/// Most rows that are read.
pub const ROWS_MAX: usize = 1_000_000;

/// Columns without which there are no routes.
const NEEDED: [&str; 3] = ["name", "domain", "address"];
/// Columns a change of which should be announced, if they exist.
const ANNOUNCED: [&str; 5] = ["name", "domain", "address", "state", "enabled"];

// Bits of pg_trigger.tgtype, from src/include/catalog/pg_trigger.h.
const ON_INSERT: i16 = 1 << 2;
const ON_DELETE: i16 = 1 << 3;
const ON_UPDATE: i16 = 1 << 4;
const ON_TRUNCATE: i16 = 1 << 5;

/// One column of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, as SQL writes it.
    pub kind: String,
    /// Whether this role may read it.
    pub readable: bool,
}

/// One trigger on the table that notifies the channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// Its name.
    pub name: String,
    /// `pg_trigger.tgtype`.
    pub events: i16,
    /// The columns after `UPDATE OF`; empty means every column.
    pub columns: Vec<String>,
    /// `false` when `ALTER TABLE … DISABLE TRIGGER` is in force.
    pub enabled: bool,
}

/// What the catalogue says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// Who this connection is.
    pub role: String,
    /// Whether the table is there for this role.
    pub table: bool,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its triggers that notify the channel.
    pub triggers: Vec<Trigger>,
    /// Whether the server is a standby, on which LISTEN does not work.
    pub standby: bool,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Nothing is wrong.
    Good,
    /// Routes come, but late or not all.
    Warning,
    /// No routes can come.
    Error,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What is so, and what to do about it.
    pub text: String,
}

/// Asks the catalogue.
///
/// # Errors
/// Whatever the connection fails with.
pub async fn inspect(client: &Client) -> Result<Facts, tokio_postgres::Error> {
    let general = client
        .query_one(
            "SELECT current_user::text, to_regclass('servers') IS NOT NULL, pg_is_in_recovery()",
            &[],
        )
        .await?;
    let columns = client
        .query(
            "SELECT attname::text, format_type(atttypid, atttypmod), \
                    has_column_privilege(attrelid, attnum, 'SELECT') \
             FROM pg_attribute \
             WHERE attrelid = to_regclass('servers') AND attnum > 0 AND NOT attisdropped",
            &[],
        )
        .await?;
    let triggers = client
        .query(
            "SELECT t.tgname::text, t.tgtype, t.tgenabled <> 'D', \
                    ARRAY(SELECT a.attname::text FROM pg_attribute a \
                          WHERE a.attrelid = t.tgrelid AND a.attnum = ANY (t.tgattr::int2[])) \
             FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid \
             WHERE t.tgrelid = to_regclass('servers') AND NOT t.tgisinternal \
               AND strpos(p.prosrc, $1) > 0",
            &[&CHANNEL],
        )
        .await?;
    let column = |row: &tokio_postgres::Row| {
        Ok(Column {
            name: row.try_get(0)?,
            kind: row.try_get(1)?,
            readable: row.try_get(2)?,
        })
    };
    let trigger = |row: &tokio_postgres::Row| {
        Ok(Trigger {
            name: row.try_get(0)?,
            events: row.try_get(1)?,
            enabled: row.try_get(2)?,
            columns: row.try_get(3)?,
        })
    };
    Ok(Facts {
        role: general.try_get(0)?,
        table: general.try_get(1)?,
        standby: general.try_get(2)?,
        columns: columns
            .iter()
            .map(column)
            .collect::<Result<_, tokio_postgres::Error>>()?,
        triggers: triggers
            .iter()
            .map(trigger)
            .collect::<Result<_, tokio_postgres::Error>>()?,
    })
}

impl Facts {
    fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The query that reads every row, whatever shape the table has.
    #[must_use]
    pub fn query(&self) -> String {
        let state = match self.column("state") {
            Some(column) if column.readable => "state::text",
            _ => "NULL::text",
        };
        let enabled = match self.column("enabled") {
            Some(_) => "enabled",
            None => "NULL::boolean",
        };
        let limit = ROWS_MAX + 1;
        format!(
            "SELECT name::text, domain::text, address::text, {state}, {enabled} FROM servers LIMIT {limit}"
        )
    }

    /// Everything there is to say about the table, good and bad.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = self.errors();
        if findings.is_empty() {
            findings.push(Finding {
                severity: Severity::Good,
                text: format!("table servers can be read by role {}", self.role),
            });
            findings.extend(self.announcements());
        }
        findings
    }

    /// What keeps routes from coming at all.
    fn errors(&self) -> Vec<Finding> {
        let mut texts = Vec::new();
        if self.standby {
            texts.push(
                "the server is a standby, and LISTEN does not work there; point AUTOMC_DSN at the primary \
                 (target_session_attrs=read-write picks it from several hosts)"
                    .to_owned(),
            );
        }
        if !self.table {
            texts.push(format!(
                "there is no table servers in the search path of role {}; apply schema.sql: \
                 psql \"$AUTOMC_DSN\" -f schema.sql",
                self.role
            ));
        } else {
            for name in NEEDED {
                if self.column(name).is_none() {
                    texts.push(format!(
                        "table servers has no column {name}; apply schema.sql"
                    ));
                }
            }
            let hidden = |column: &&Column| {
                !column.readable
                    && (NEEDED.contains(&column.name.as_str()) || column.name == "enabled")
            };
            for column in self.columns.iter().filter(hidden) {
                texts.push(format!(
                    "role {role} may not read column {} of table servers; as its owner: \
                     GRANT SELECT ON servers TO {role};",
                    column.name,
                    role = self.role
                ));
            }
            if let Some(column) = self
                .column("enabled")
                .filter(|column| column.kind != "boolean")
            {
                texts.push(format!(
                    "column enabled is {}, and must be boolean",
                    column.kind
                ));
            }
        }
        texts
            .into_iter()
            .map(|text| Finding {
                severity: Severity::Error,
                text,
            })
            .collect()
    }

    /// Whether changes are announced; if not, they are only seen by the next full read.
    fn announcements(&self) -> Vec<Finding> {
        let live: Vec<_> = self
            .triggers
            .iter()
            .filter(|trigger| trigger.enabled)
            .collect();
        let warning = |text: String| Finding {
            severity: Severity::Warning,
            text,
        };
        if live.is_empty() {
            let disabled = self.triggers.first().map(|trigger| {
                let name = &trigger.name;
                format!("trigger {name} is disabled; ALTER TABLE servers ENABLE TRIGGER {name};")
            });
            return vec![warning(disabled.unwrap_or_else(|| {
                format!(
                    "no trigger on servers notifies {CHANNEL}, so changes take up to a minute; apply schema.sql"
                )
            }))];
        }
        let mut findings = Vec::new();
        for (event, name) in [
            (ON_INSERT, "INSERT"),
            (ON_UPDATE, "UPDATE"),
            (ON_DELETE, "DELETE"),
            (ON_TRUNCATE, "TRUNCATE"),
        ] {
            if !live.iter().any(|trigger| trigger.events & event != 0) {
                findings.push(warning(format!(
                    "no trigger announces {name}, so it takes up to a minute; apply schema.sql"
                )));
            }
        }
        let updates: Vec<_> = live
            .iter()
            .filter(|trigger| trigger.events & ON_UPDATE != 0)
            .collect();
        let seen = |column: &str| {
            updates.iter().any(|trigger| {
                trigger.columns.is_empty() || trigger.columns.iter().any(|name| name == column)
            })
        };
        for column in ANNOUNCED {
            if !updates.is_empty() && self.column(column).is_some() && !seen(column) {
                findings.push(warning(format!(
                    "no trigger announces a change of {column}, so it takes up to a minute; apply schema.sql"
                )));
            }
        }
        if findings.is_empty() {
            let text = format!("trigger {} announces every change", names(&live));
            findings.push(Finding {
                severity: Severity::Good,
                text,
            });
        }
        findings
    }
}

fn names(triggers: &[&Trigger]) -> String {
    triggers
        .iter()
        .map(|trigger| trigger.name.as_str())
        .collect::<Vec<_>>()
        .join(" and ")
}

/// Reads one row of [`Facts::query`].
///
/// # Errors
/// A column of a type that cannot be read.
pub fn row(row: &tokio_postgres::Row) -> Result<Row, tokio_postgres::Error> {
    Ok(Row {
        name: row.try_get(0)?,
        domain: row.try_get(1)?,
        address: row.try_get(2)?,
        state: row.try_get(3)?,
        enabled: row.try_get(4)?,
    })
}

#[cfg(test)]
mod tests {
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
                .contains("NULL::text, NULL::boolean FROM servers")
        );
        assert_ne!(worst(&facts).0, Severity::Error);
    }
}
