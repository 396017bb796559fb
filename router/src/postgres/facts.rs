//! What the `servers` table looks like, and whether that will do.
//!
//! The older documents describe three shapes of the table; all are read. What is missing or
//! forbidden is told in words an operator can act on.

use super::CHANNEL;
use crate::routes::overrides::Setting;
use crate::routes::row::TEXT_BYTES_MAX;

/// Most rows that are read.
pub const ROWS_MAX: usize = 1_000_000;
/// What to do about most of it.
const REMEDY: &str = "apply schema.sql (automc-router check-db --fix)";

/// Columns without which there are no routes.
const NEEDED: [&str; 3] = ["name", "domain", "address"];
/// Columns a change of which should be announced, if they exist.
const ANNOUNCED: [&str; 6] = ["name", "domain", "address", "state", "enabled", "aliases"];

// Bits of pg_trigger.tgtype, from src/include/catalog/pg_trigger.h.
const FOR_EACH_ROW: i16 = 1;
const ON_INSERT: i16 = 1 << 2;
const ON_DELETE: i16 = 1 << 3;
const ON_UPDATE: i16 = 1 << 4;
const ON_TRUNCATE: i16 = 1 << 5;
const EVENTS: [(i16, &str); 4] = [
    (ON_INSERT, "INSERT"),
    (ON_UPDATE, "UPDATE"),
    (ON_DELETE, "DELETE"),
    (ON_TRUNCATE, "TRUNCATE"),
];

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

/// When a trigger fires, as `pg_trigger.tgenabled` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fires {
    /// For ordinary sessions.
    Ordinary,
    /// For replicas alone: subscriptions, and sessions that are told to be one.
    Replica,
    /// For both.
    Always,
    /// Never: it is disabled.
    Never,
}

impl Fires {
    /// What the catalogue's letter says.
    #[must_use]
    pub fn of_letter(letter: &str) -> Self {
        match letter {
            "O" => Self::Ordinary,
            "R" => Self::Replica,
            "A" => Self::Always,
            _ => Self::Never,
        }
    }

    fn for_ordinary(self) -> bool {
        matches!(self, Self::Ordinary | Self::Always)
    }

    fn for_replicas(self) -> bool {
        matches!(self, Self::Replica | Self::Always)
    }
}

/// One trigger on the table that has to do with the channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// Its name.
    pub name: String,
    /// `pg_trigger.tgtype`.
    pub events: i16,
    /// The columns a change of which it sees; empty means every column.
    pub columns: Vec<String>,
    /// When it fires.
    pub fires: Fires,
    /// Whether it leaves the announcement to the end of the transaction, which then gets a revision;
    /// the triggers of the older documents notify by themselves.
    pub notes: bool,
}

impl Trigger {
    /// Whether it is the one for rows that arrive by replication, where nothing else fires.
    fn is_for_replicas(&self) -> bool {
        self.notes && self.events & FOR_EACH_ROW != 0
    }
}

/// What there is to count revisions with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Revision {
    /// Nothing: the table is as older documents have it.
    #[default]
    Missing,
    /// It is there, and not for this role.
    Hidden,
    /// It is there, and this role sees no row in it.
    Empty,
    /// It is there.
    Readable,
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
    /// Its triggers that have to do with the channel.
    pub triggers: Vec<Trigger>,
    /// Whether what they note is announced when a transaction ends.
    pub announced: bool,
    /// What there is to count revisions with.
    pub revision: Revision,
    /// Whether row level security keeps every row of it from this role.
    pub rows_hidden: bool,
    /// A number for the table, its columns and triggers: another one says to look at them again.
    pub shape: i64,
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

impl Finding {
    /// What is as it should be.
    #[must_use]
    pub fn good(text: impl Into<String>) -> Self {
        Self::new(Severity::Good, text)
    }

    /// What costs some routes, or time.
    #[must_use]
    pub fn warning(text: impl Into<String>) -> Self {
        Self::new(Severity::Warning, text)
    }

    /// What keeps routes from coming.
    #[must_use]
    pub fn error(text: impl Into<String>) -> Self {
        Self::new(Severity::Error, text)
    }

    fn new(severity: Severity, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { severity, text }
    }
}

impl Facts {
    fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The query that reads every row or, for `named`, those of the names `$1`, whatever shape the table has. Where
    /// revisions are counted, one more row tells the one that all others are of.
    #[must_use]
    pub fn query(&self, named: bool) -> String {
        let text = |name: &str| match self.column(name) {
            Some(column) if column.readable => bounded(name),
            _ => "NULL::text".to_owned(),
        };
        let [name, domain, address] = NEEDED.map(bounded);
        let (state, aliases) = (text("state"), text("aliases"));
        let enabled = match self.column("enabled") {
            Some(_) => "enabled",
            None => "NULL::boolean",
        };
        let settings = Setting::ALL.into_iter().map(Setting::column);
        let settings =
            settings.filter(|name| self.column(name).is_some_and(|column| column.readable));
        let (mut values, mut nulls) = (String::new(), String::new());
        for name in settings {
            values.push_str(&format!(", {} AS {name}", bounded(name)));
            nulls.push_str(&format!(", NULL::text AS {name}"));
        }
        let filter = match self.column("name") {
            _ if !named => "",
            // Anything else would keep the index from being used.
            Some(name) if name.kind == "text" || name.kind.starts_with("character varying") => {
                " WHERE name = ANY ($1)"
            }
            _ => " WHERE name::text = ANY ($1)",
        };
        let limit = ROWS_MAX + 1;
        let rows = format!(
            "SELECT {name}, {domain}, {address}, {state}, {enabled}, {aliases}, FALSE{values} \
             FROM servers{filter} LIMIT {limit}"
        );
        // One statement, so that both are of one moment.
        match self.revision {
            Revision::Readable => format!(
                "SELECT epoch, revision::text, NULL, NULL, NULL::boolean, NULL, TRUE{nulls} \
                 FROM automc_revision UNION ALL ({rows})"
            ),
            Revision::Missing | Revision::Hidden | Revision::Empty => rows,
        }
    }

    /// Everything there is to say about the table, good and bad.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = self.errors();
        if findings.is_empty() {
            let role = &self.role;
            let text = format!("table servers can be read by role {role}");
            findings.push(Finding::good(text));
            findings.extend(self.hidden_rows().map(Finding::warning));
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
                "there is no table servers in the search path of role {}; {REMEDY}, or \
                 psql \"$AUTOMC_DSN\" -f schema.sql",
                self.role
            ));
        } else {
            for name in NEEDED {
                if self.column(name).is_none() {
                    texts.push(format!("table servers has no column {name}; {REMEDY}"));
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
        texts.into_iter().map(Finding::error).collect()
    }

    /// Rows that are there and not for this role, which looks like an empty table.
    fn hidden_rows(&self) -> Option<String> {
        let role = &self.role;
        self.rows_hidden.then(|| {
            format!(
                "row level security keeps every row of servers from role {role}; as its owner: \
                 CREATE POLICY routes ON servers FOR SELECT TO {role} USING (true);"
            )
        })
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
        (!hidden.is_empty()).then(|| {
            Finding::warning(format!(
                "role {role} may not read {names} of table servers, so the defaults count; \
                 as its owner: GRANT SELECT ON servers TO {role};"
            ))
        })
    }

    /// Whether every change is counted, and can be read row by row by the names that are announced.
    #[must_use]
    pub fn counted(&self) -> bool {
        let live: Vec<_> = self.live().collect();
        self.revision == Revision::Readable
            && self.announced
            && EVENTS.iter().all(|(event, _)| {
                let mut noted = live.iter().filter(|trigger| trigger.notes);
                noted.any(|trigger| trigger.events & event != 0)
            })
            && self.unseen().is_empty()
    }

    /// The triggers that fire for ordinary changes.
    fn live(&self) -> impl Iterator<Item = &Trigger> {
        self.triggers
            .iter()
            .filter(|trigger| trigger.fires.for_ordinary())
    }

    /// Whether changes are announced; if not, they are only seen by the next full read.
    fn announcements(&self) -> Vec<Finding> {
        let live: Vec<_> = self.live().collect();
        let mut findings: Vec<_> = self.disabled().map(Finding::warning).collect();
        if live.is_empty() {
            if findings.is_empty() {
                findings.push(Finding::warning(format!(
                    "no trigger on servers notifies {CHANNEL}, so changes take up to a minute; {REMEDY}"
                )));
            }
            return findings;
        }
        for (event, name) in EVENTS {
            if !live.iter().any(|trigger| trigger.events & event != 0) {
                findings.push(Finding::warning(format!(
                    "no trigger announces {name}, so it takes up to a minute; {REMEDY}"
                )));
            }
        }
        let unseen = self.unseen();
        if !unseen.is_empty() {
            let columns = unseen.join(", ");
            findings.push(Finding::warning(format!(
                "no trigger announces a change of {columns}, so it takes up to a minute; {REMEDY}"
            )));
        }
        findings.extend(self.uncounted().map(Finding::warning));
        if findings.is_empty() {
            let names: Vec<_> = live.iter().map(|trigger| &*trigger.name).collect();
            let text = format!("every change is announced, by {}", names.join(", "));
            findings.push(Finding::good(text));
        }
        findings
    }

    /// Triggers that do not fire for the changes they are there for.
    fn disabled(&self) -> impl Iterator<Item = String> {
        let disabled = self
            .triggers
            .iter()
            .filter(|trigger| match trigger.is_for_replicas() {
                true => trigger.fires == Fires::Never,
                false => !trigger.fires.for_ordinary(),
            });
        disabled.map(|trigger| {
            let (name, replica) = (&trigger.name, trigger.is_for_replicas());
            let kind = if replica { "REPLICA " } else { "" };
            format!("trigger {name} is disabled; ALTER TABLE servers ENABLE {kind}TRIGGER {name};")
        })
    }

    /// Columns that nothing looks at which fires for ordinary updates, where anything does.
    fn unseen(&self) -> Vec<&'static str> {
        let updates: Vec<_> = self
            .live()
            .filter(|trigger| trigger.events & ON_UPDATE != 0)
            .collect();
        let seen = |column: &str| {
            updates.iter().any(|trigger| {
                trigger.columns.is_empty() || trigger.columns.iter().any(|name| name == column)
            })
        };
        let settings = Setting::ALL.map(Setting::column);
        ANNOUNCED
            .into_iter()
            .chain(settings)
            .filter(|column| self.column(column).is_some())
            .filter(|column| !updates.is_empty() && !seen(column))
            .collect()
    }

    /// What keeps changes from being read row by row.
    fn uncounted(&self) -> Option<String> {
        let role = &self.role;
        let noted = || self.triggers.iter().filter(|trigger| trigger.notes);
        let whole = "so the whole table is read for every change";
        let unnoted = self.live().find(|trigger| !trigger.notes);
        let replicas = |event: &i16| {
            noted().any(|trigger| trigger.fires.for_replicas() && trigger.events & event != 0)
        };
        match self.revision {
            Revision::Missing => Some(format!("changes are not counted, {whole}; {REMEDY}")),
            Revision::Hidden => Some(format!(
                "role {role} may not read automc_revision, {whole}; \
                 as its owner: GRANT SELECT ON automc_revision TO {role};"
            )),
            Revision::Empty => Some(format!(
                "role {role} sees no row of automc_revision, {whole}; {REMEDY}, and no row level security on it"
            )),
            Revision::Readable if !self.announced && noted().next().is_some() => Some(format!(
                "trigger automc_announce of automc_pending is missing or disabled, so nothing is announced \
                 and changes take up to a minute; {REMEDY}"
            )),
            Revision::Readable => match unnoted {
                Some(Trigger { name, .. }) => Some(format!(
                    "trigger {name} does not count changes, {whole}; {REMEDY}"
                )),
                None if !EVENTS.iter().all(|(event, _)| replicas(event)) => Some(format!(
                    "no trigger announces what comes by replication, so it takes up to five minutes; {REMEDY}"
                )),
                None => None,
            },
        }
    }
}

/// The text of a column, of which a longer one comes as its beginning: more than [`TEXT_BYTES_MAX`] bytes, so that it is
/// refused, and few enough to be taken.
fn bounded(column: &str) -> String {
    let more = TEXT_BYTES_MAX + 1;
    format!(
        "CASE WHEN octet_length({column}::text) > {TEXT_BYTES_MAX} THEN left({column}::text, {more}) \
         ELSE {column}::text END"
    )
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
