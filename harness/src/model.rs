//! Stories of what may happen to the `servers` table, and what the routes must be afterwards.
//!
//! The rules are written down here once more, from the documents and not from the router's code,
//! so that the two can disagree.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Result;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any};
use proptest::prop_oneof;
use proptest::sample::{Index, select};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// Most steps of a story.
pub const STEPS_MAX: usize = 24;

// Few enough of each that rows collide. By bytes, `B` comes before `a`.
const NAMES: [&str; 4] = ["a", "B", "b", "é"];
const DOMAINS: [Option<&str>; 11] = [
    Some("a.example"),
    Some("b.example"),
    Some("A.Example"),
    Some("a.example."),
    Some("B.EXAMPLE."),
    Some("c.example"),
    Some("*.example"),
    Some("*.EXAMPLE."),
    Some("two words"),
    Some(""),
    None,
];
const ALIASES: [Option<&str>; 7] = [
    Some("b.example"),
    Some("C.example., a.example,c.example"),
    Some("*.example"),
    Some("d.example\n*.d.example"),
    Some("two words"),
    Some(" , "),
    None,
];
const ADDRESSES: [&str; 6] = [
    "10.0.0.1:1",
    "10.0.0.2:2",
    "host.internal:25565",
    "portless",
    "$1.internal:1",
    "",
];
const STATES: [&str; 3] = ["stopped", "running", "what nobody knows"];
const ENABLED: [Option<bool>; 3] = [Some(true), None, Some(false)];

type Name = &'static str;

/// One statement on the table. Displayed, it is SQL.
#[derive(Clone)]
pub enum Change {
    /// A new row.
    Insert(Name, Option<&'static str>, &'static str, Option<bool>),
    /// Another domain.
    Domain(Name, Option<&'static str>),
    /// Other aliases.
    Aliases(Name, Option<&'static str>),
    /// Another address.
    Address(Name, &'static str),
    /// Another state.
    State(Name, &'static str),
    /// Enabled or not.
    Enabled(Name, Option<bool>),
    /// Another name.
    Rename(Name, Name),
    /// The row goes.
    Delete(Name),
    /// Every row goes.
    Truncate,
    /// Two rows have each other's domain, at once or, deferred, one after the other.
    Swap(Name, Name, bool),
}

/// One thing that happens.
#[derive(Clone)]
pub enum Step {
    /// A change, committed.
    Do(Change),
    /// A change, rolled back.
    Undo(Change),
    /// A change by a session that is a replica, committed.
    Replicate(Change),
    /// Nothing of what the server says arrives until this change was made.
    Stall(Change),
    /// This change is not announced to the router, as far as the story tells.
    Lose(Change),
    /// Whoever tells the story waits until the routes are what they should be.
    Settle,
    /// The network resets the router's connection.
    Cut,
    /// The server ends the router's session.
    Terminate,
}

/// What happens, in order.
#[derive(Clone)]
pub struct Story(pub Vec<Step>);

/// One row, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// `name`.
    pub name: String,
    /// `domain`.
    pub domain: Option<String>,
    /// `aliases`.
    pub aliases: Option<String>,
    /// `address`.
    pub address: String,
    /// `enabled`.
    pub enabled: Option<bool>,
}

/// Stories in which the connection holds.
pub fn calm_stories() -> impl Strategy<Value = Story> {
    vec(steps(), 1..STEPS_MAX).prop_map(Story)
}

/// Stories in which the router loses its connection once.
pub fn rough_stories() -> impl Strategy<Value = Story> {
    let loss = prop_oneof![Just(Step::Cut), Just(Step::Terminate)];
    (vec(steps(), 1..STEPS_MAX), any::<Index>(), loss).prop_map(|(mut steps, at, loss)| {
        steps.insert(at.index(steps.len() + 1), loss);
        Story(steps)
    })
}

/// Stories in which some of what is announced is lost.
pub fn lossy_stories() -> impl Strategy<Value = Story> {
    let steps = prop_oneof![
        2 => steps(),
        1 => changes().prop_map(Step::Lose),
    ];
    vec(steps, 1..STEPS_MAX).prop_map(Story)
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        16 => changes().prop_map(Step::Do),
        1 => changes().prop_map(Step::Undo),
        2 => changes().prop_map(Step::Replicate),
        2 => changes().prop_map(Step::Stall),
        3 => Just(Step::Settle),
    ]
}

fn changes() -> impl Strategy<Value = Change> {
    let name = || select(&NAMES[..]);
    let domain = || select(&DOMAINS[..]);
    let address = || select(&ADDRESSES[..]);
    let enabled = || select(&ENABLED[..]);
    prop_oneof![
        6 => (name(), domain(), address(), enabled())
            .prop_map(|(name, domain, address, enabled)| Change::Insert(name, domain, address, enabled)),
        3 => (name(), domain()).prop_map(|(name, domain)| Change::Domain(name, domain)),
        3 => (name(), select(&ALIASES[..])).prop_map(|(name, aliases)| Change::Aliases(name, aliases)),
        2 => (name(), address()).prop_map(|(name, address)| Change::Address(name, address)),
        1 => (name(), select(&STATES[..])).prop_map(|(name, state)| Change::State(name, state)),
        2 => (name(), enabled()).prop_map(|(name, enabled)| Change::Enabled(name, enabled)),
        2 => (name(), name()).prop_map(|(from, to)| Change::Rename(from, to)),
        2 => name().prop_map(Change::Delete),
        1 => Just(Change::Truncate),
        2 => (name(), name(), any::<bool>()).prop_map(|(one, other, deferred)| Change::Swap(one, other, deferred)),
    ]
}

/// The routes that `rows` add up to: host to address. Of two rows for one host, the first by name wins.
#[must_use]
pub fn routes(rows: &[Row]) -> BTreeMap<String, String> {
    let mut rows: Vec<_> = rows.iter().collect();
    rows.sort_by_key(|row| row.name.as_bytes());
    let mut routes = BTreeMap::new();
    for row in rows {
        let domain = row.domain.as_deref().unwrap_or_default();
        let aliases = row.aliases.as_deref().unwrap_or_default();
        let aliases = aliases
            .split([',', '\n'])
            .filter(|alias| !alias.trim().is_empty());
        let hosts = [domain].into_iter().chain(aliases).map(|host| {
            let host = host.trim();
            host.strip_suffix('.').unwrap_or(host).to_lowercase()
        });
        let hosts: Vec<_> = hosts.collect();
        let filled = !row.address.contains("$1") || hosts.iter().all(|host| host.contains('*'));
        let named = hosts
            .iter()
            .all(|host| !host.is_empty() && !host.contains(' '));
        if named && filled && row.address.contains(':') && row.enabled != Some(false) {
            for host in hosts {
                routes.entry(host).or_insert_with(|| row.address.clone());
            }
        }
    }
    routes
}

/// The rows as they are.
///
/// # Errors
/// The query fails.
pub async fn rows(sql: &Client) -> Result<Vec<Row>> {
    let query = "SELECT name, domain, aliases, address, enabled FROM servers";
    let rows = sql.query(query, &[]).await?;
    let row = |row: &tokio_postgres::Row| {
        Ok(Row {
            name: row.try_get(0)?,
            domain: row.try_get(1)?,
            aliases: row.try_get(2)?,
            address: row.try_get(3)?,
            enabled: row.try_get(4)?,
        })
    };
    rows.iter().map(row).collect()
}

/// Makes a change, and takes it back for `keep = false`. One that would give two rows one name, or one
/// domain where that is forbidden, does nothing.
///
/// # Errors
/// It fails in any other way.
pub async fn make(sql: &Client, change: &Change, keep: bool) -> Result<()> {
    let end = if keep { "COMMIT" } else { "ROLLBACK" };
    let done = sql.batch_execute(&format!("BEGIN; {change}; {end}")).await;
    let taken = [SqlState::UNIQUE_VIOLATION, SqlState::EXCLUSION_VIOLATION];
    match done {
        Err(error) if error.code().is_some_and(|code| taken.contains(code)) => {
            Ok(sql.batch_execute("ROLLBACK").await?)
        }
        done => Ok(done?),
    }
}

/// A text as SQL.
struct Quoted(Option<&'static str>);

impl fmt::Display for Quoted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(text) => write!(formatter, "'{text}'"),
            None => formatter.write_str("NULL"),
        }
    }
}

/// A truth as SQL.
fn truth(value: Option<bool>) -> &'static str {
    match value {
        Some(true) => "true",
        Some(false) => "false",
        None => "NULL",
    }
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, column, value) = match *self {
            Self::Insert(name, domain, address, enabled) => {
                let (domain, enabled) = (Quoted(domain), truth(enabled));
                return write!(
                    formatter,
                    "INSERT INTO servers (name, domain, address, enabled) \
                     VALUES ('{name}', {domain}, '{address}', {enabled})"
                );
            }
            Self::Delete(name) => {
                return write!(formatter, "DELETE FROM servers WHERE name = '{name}'");
            }
            Self::Truncate => return formatter.write_str("TRUNCATE servers"),
            Self::Swap(one, other, false) => {
                return write!(
                    formatter,
                    "UPDATE servers AS s SET domain = o.domain FROM servers AS o \
                     WHERE (s.name, o.name) IN (('{one}', '{other}'), ('{other}', '{one}'))"
                );
            }
            Self::Swap(one, other, true) => {
                return write!(
                    formatter,
                    "SET CONSTRAINTS ALL DEFERRED; \
                     SELECT set_config('story.one', (SELECT domain FROM servers WHERE name = '{one}'), true); \
                     UPDATE servers SET domain = (SELECT domain FROM servers WHERE name = '{other}') \
                     WHERE name = '{one}' AND EXISTS (SELECT FROM servers WHERE name = '{other}'); \
                     UPDATE servers SET domain = current_setting('story.one') \
                     WHERE name = '{other}' AND EXISTS (SELECT FROM servers WHERE name = '{one}')"
                );
            }
            Self::Domain(name, domain) => (name, "domain", Quoted(domain).to_string()),
            Self::Aliases(name, aliases) => (name, "aliases", Quoted(aliases).to_string()),
            Self::Address(name, address) => (name, "address", Quoted(Some(address)).to_string()),
            Self::State(name, state) => (name, "state", Quoted(Some(state)).to_string()),
            Self::Enabled(name, enabled) => (name, "enabled", truth(enabled).to_owned()),
            Self::Rename(name, to) => (name, "name", Quoted(Some(to)).to_string()),
        };
        write!(
            formatter,
            "UPDATE servers SET {column} = {value} WHERE name = '{name}'"
        )
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Do(change) => write!(formatter, "{change};"),
            Self::Undo(change) => write!(formatter, "BEGIN; {change}; ROLLBACK;"),
            Self::Replicate(change) => write!(formatter, "{change}; -- by a replica"),
            Self::Stall(change) => write!(formatter, "{change}; -- while nothing arrives"),
            Self::Lose(change) => write!(formatter, "{change}; -- which the router is not told"),
            Self::Settle => formatter.write_str("-- the routes settle"),
            Self::Cut => formatter.write_str("-- the router's connection is cut"),
            Self::Terminate => formatter.write_str("-- the router's session is terminated"),
        }
    }
}

impl fmt::Debug for Story {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|step| write!(formatter, "\n    {step:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, domain: &str, address: &str) -> Row {
        Row {
            name: name.to_owned(),
            domain: Some(domain.to_owned()),
            aliases: None,
            address: address.to_owned(),
            enabled: None,
        }
    }

    #[test]
    fn the_rules_are_those_of_the_documents() {
        let disabled = Row {
            enabled: Some(false),
            ..row("A", "a.example", "first:1")
        };
        let nameless = Row {
            domain: None,
            ..row("n", "", "h:1")
        };
        let many = Row {
            aliases: Some("a.example, *.Many.example.,".to_owned()),
            ..row("m", "*.m.example", "$1.many:1")
        };
        let wild = Row {
            aliases: Some("*.many.example".to_owned()),
            ..row("w", "*.w.example", "$1.wild:1")
        };
        let rows = [
            many,
            wild,
            row("b", "A.Example.", "second:2"),
            row("a", "a.example", "first:1"),
            row("c", "c.example", ""),
            row("d", "", "h:1"),
            disabled,
            nameless,
        ];
        let routes: Vec<_> = routes(&rows).into_iter().collect();
        let expected = [
            ("*.many.example", "$1.wild:1"),
            ("*.w.example", "$1.wild:1"),
            ("a.example", "first:1"),
        ];
        let expected = expected.map(|(host, address)| (host.to_owned(), address.to_owned()));
        assert_eq!(routes, expected);
    }

    #[test]
    fn a_story_reads_as_sql() {
        let story = Story(vec![
            Step::Do(Change::Insert("a", None, "h:1", Some(true))),
            Step::Cut,
            Step::Undo(Change::Rename("a", "b")),
        ]);
        let told = format!("{story:?}");
        assert_eq!(
            told,
            "
    INSERT INTO servers (name, domain, address, enabled) VALUES ('a', NULL, 'h:1', true);
    -- the router's connection is cut
    BEGIN; UPDATE servers SET name = 'b' WHERE name = 'a'; ROLLBACK;"
        );
    }
}
