//! What the `servers` table looks like, and whether that will do.
//!
//! The older documents describe three shapes of the table; all are read. What is missing or
//! forbidden is told in words an operator can act on.

use tokio_postgres::Client;

use super::CHANNEL;
use crate::routes::overrides::Setting;
use crate::routes::row::Row;

/// Most rows that are read.
pub const ROWS_MAX: usize = 1_000_000;

/// Columns without which there are no routes.
const NEEDED: [&str; 3] = ["name", "domain", "address"];
/// Columns a change of which should be announced, if they exist.
const ANNOUNCED: [&str; 6] = ["name", "domain", "address", "state", "enabled", "aliases"];

/// The columns every query begins with; settings follow.
const FIXED_COLUMNS: usize = 6;

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
    /// `false` after `ALTER TABLE … DISABLE TRIGGER`, or `ENABLE REPLICA TRIGGER`, which keeps it
    /// from seeing ordinary changes.
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
            "SELECT t.tgname::text, t.tgtype, t.tgenabled IN ('O', 'A'), \
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
        let aliases = match self.column("aliases") {
            Some(column) if column.readable => "aliases::text",
            _ => "NULL::text",
        };
        let settings = Setting::ALL.into_iter().map(Setting::column);
        let settings: String = settings
            .filter(|name| self.column(name).is_some_and(|column| column.readable))
            .map(|name| format!(", {name}::text AS {name}"))
            .collect();
        let limit = ROWS_MAX + 1;
        format!(
            "SELECT name::text, domain::text, address::text, {state}, {enabled}, {aliases}{settings} \
             FROM servers LIMIT {limit}"
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
            findings.extend(self.hidden_settings());
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

    /// Settings that are there and without effect.
    fn hidden_settings(&self) -> Option<Finding> {
        let columns = Setting::ALL
            .into_iter()
            .filter_map(|setting| self.column(setting.column()));
        let hidden: Vec<_> = columns
            .filter(|column| !column.readable)
            .map(|column| column.name.as_str())
            .collect();
        let (role, names) = (&self.role, hidden.join(", "));
        (!hidden.is_empty()).then(|| Finding {
            severity: Severity::Warning,
            text: format!(
                "role {role} may not read {names} of table servers, so the defaults count; \
                 as its owner: GRANT SELECT ON servers TO {role};"
            ),
        })
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
        let disabled = self.triggers.iter().filter(|trigger| !trigger.enabled);
        let mut findings: Vec<_> = disabled
            .map(|trigger| {
                let name = &trigger.name;
                warning(format!(
                    "trigger {name} is disabled; ALTER TABLE servers ENABLE TRIGGER {name};"
                ))
            })
            .collect();
        if live.is_empty() {
            if findings.is_empty() {
                findings.push(warning(format!(
                    "no trigger on servers notifies {CHANNEL}, so changes take up to a minute; apply schema.sql"
                )));
            }
            return findings;
        }
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
        let settings = Setting::ALL.map(Setting::column);
        let unseen: Vec<_> = ANNOUNCED
            .into_iter()
            .chain(settings)
            .filter(|column| self.column(column).is_some() && !seen(column))
            .collect();
        if !updates.is_empty() && !unseen.is_empty() {
            let columns = unseen.join(", ");
            findings.push(warning(format!(
                "no trigger announces a change of {columns}, so it takes up to a minute; apply schema.sql"
            )));
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
    let mut overrides = Vec::new();
    for (index, column) in row.columns().iter().enumerate().skip(FIXED_COLUMNS) {
        if let (Some(setting), Some(text)) =
            (Setting::of_column(column.name()), row.try_get(index)?)
        {
            overrides.push((setting, text));
        }
    }
    Ok(Row {
        name: row.try_get(0)?,
        domain: row.try_get(1)?,
        address: row.try_get(2)?,
        state: row.try_get(3)?,
        enabled: row.try_get(4)?,
        aliases: row.try_get(5)?,
        overrides,
    })
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
