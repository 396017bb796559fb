//! Asks the catalogue what the `servers` table looks like, and reads its rows.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row as PgRow};

use super::CHANNEL;
use super::facts::{Column, Fires, Revision, Trigger};
pub use super::facts::{Facts, Finding, ROWS_MAX, Severity};
use super::revision::Mark;
use crate::routes::overrides::Setting;
use crate::routes::row::Row;

/// The column that tells a revision from a row; settings follow.
const MARK_COLUMN: usize = 6;
/// What functions of triggers call that leave the announcement to the end of the transaction.
const NOTE: &str = "automc_changed(";

/// One number for what [`inspect`] looks at and somebody may change without a word: which table it is, its columns and row
/// level security, and which triggers are on; 0 where there is none.
const SHAPE: &str = "COALESCE((SELECT hashtextextended(concat_ws(' ', c.oid, c.relnatts, c.relrowsecurity, \
        (SELECT string_agg(concat(t.oid, t.tgenabled), ' ' ORDER BY t.oid) FROM pg_trigger t \
         WHERE t.tgrelid IN (c.oid, to_regclass('automc_pending')))), 0) \
    FROM pg_class c WHERE c.oid = to_regclass('servers')), 0)";
/// Whether no policy lets this role see any row of the table.
const ROWS_HIDDEN: &str = "COALESCE(row_security_active(to_regclass('servers')) AND NOT EXISTS ( \
        SELECT FROM pg_policy p, unnest(p.polroles) AS r(role) \
        WHERE p.polrelid = to_regclass('servers') AND p.polpermissive AND p.polcmd IN ('r', '*') \
          AND CASE r.role WHEN 0 THEN true ELSE pg_has_role(r.role, 'USAGE') END), false)";

/// Asks the catalogue. Nothing is prepared, which poolers may not bear.
///
/// # Errors
/// Whatever the connection fails with.
pub async fn inspect(client: &Client) -> Result<Facts, tokio_postgres::Error> {
    let general = format!(
        "SELECT current_user::text, to_regclass('servers') IS NOT NULL, pg_is_in_recovery(), \
                has_table_privilege(to_regclass('automc_revision'), 'SELECT'), \
                EXISTS (SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid \
                        WHERE t.tgrelid = to_regclass('automc_pending') AND t.tgenabled = 'A' \
                          AND strpos(p.prosrc, $1) > 0), \
                {ROWS_HIDDEN}, {SHAPE}"
    );
    let general = client
        .query_typed(&general, &[(&CHANNEL, Type::TEXT)])
        .await?;
    let columns = client
        .query_typed(
            "SELECT attname::text, format_type(atttypid, atttypmod), \
                    has_column_privilege(attrelid, attnum, 'SELECT') \
             FROM pg_attribute \
             WHERE attrelid = to_regclass('servers') AND attnum > 0 AND NOT attisdropped",
            &[],
        )
        .await?;
    // What notes changes has no list of columns, but compares them one by one.
    let triggers = client
        .query_typed(
            "SELECT t.tgname::text, t.tgtype, t.tgenabled::text, strpos(p.prosrc, $2) > 0, \
                    ARRAY(SELECT a.attname::text FROM pg_attribute a \
                          WHERE a.attrelid = t.tgrelid AND a.attnum > 0 AND CASE \
                              WHEN strpos(p.prosrc, $2) > 0 THEN strpos(p.prosrc, 'n.' || a.attname) > 0 \
                              ELSE a.attnum = ANY (t.tgattr::int2[]) END) \
             FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid \
             WHERE t.tgrelid = to_regclass('servers') AND NOT t.tgisinternal \
               AND strpos(p.prosrc, $1) > 0 \
             ORDER BY t.tgname",
            &[(&CHANNEL, Type::TEXT), (&NOTE, Type::TEXT)],
        )
        .await?;
    let Some(general) = general.first() else {
        return Ok(Facts::default());
    };
    let revision = match general.try_get(3)? {
        None => Revision::Missing,
        Some(false) => Revision::Hidden,
        Some(true) if marked(client).await? => Revision::Readable,
        Some(true) => Revision::Empty,
    };
    Ok(Facts {
        role: general.try_get(0)?,
        table: general.try_get(1)?,
        standby: general.try_get(2)?,
        revision,
        announced: general.try_get(4)?,
        rows_hidden: general.try_get(5)?,
        shape: general.try_get(6)?,
        columns: each(&columns, |row| {
            Ok(Column {
                name: row.try_get(0)?,
                kind: row.try_get(1)?,
                readable: row.try_get(2)?,
            })
        })?,
        triggers: each(&triggers, |row| {
            Ok(Trigger {
                name: row.try_get(0)?,
                events: row.try_get(1)?,
                fires: Fires::of_letter(row.try_get(2)?),
                notes: row.try_get(3)?,
                columns: row.try_get(4)?,
            })
        })?,
    })
}

fn each<T>(
    rows: &[PgRow],
    read: impl Fn(&PgRow) -> Result<T, tokio_postgres::Error>,
) -> Result<Vec<T>, tokio_postgres::Error> {
    rows.iter().map(read).collect()
}

/// What one row of [`Facts::query`] is.
#[derive(Debug)]
pub enum Read {
    /// The state all the others are of.
    Mark(Mark),
    /// A row of the table.
    Row(Row),
}

/// Reads one row of [`Facts::query`].
///
/// # Errors
/// A column of a type that cannot be read.
pub fn row(row: &PgRow) -> Result<Read, tokio_postgres::Error> {
    if row.try_get(MARK_COLUMN)? {
        let (epoch, revision): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
        return Ok(Read::Mark(mark(epoch, revision)));
    }
    let mut overrides = Vec::new();
    for (index, column) in row.columns().iter().enumerate().skip(MARK_COLUMN + 1) {
        if let (Some(setting), Some(text)) =
            (Setting::of_column(column.name()), row.try_get(index)?)
        {
            overrides.push((setting, text));
        }
    }
    Ok(Read::Row(Row {
        name: row.try_get(0)?,
        domain: row.try_get(1)?,
        address: row.try_get(2)?,
        state: row.try_get(3)?,
        enabled: row.try_get(4)?,
        aliases: row.try_get(5)?,
        overrides,
    }))
}

/// Reads every row once, [`ROWS_MAX`] and one more at most.
///
/// # Errors
/// Whatever the connection fails with, and a column of a type that cannot be read.
pub async fn rows(client: &Client, facts: &Facts) -> Result<Vec<Row>, tokio_postgres::Error> {
    let found = client.query_typed(&facts.query(false), &[]).await?;
    let rows = found.iter().filter_map(|found| match row(found) {
        Ok(Read::Mark(_)) => None,
        Ok(Read::Row(row)) => Some(Ok(row)),
        Err(error) => Some(Err(error)),
    });
    rows.collect()
}

/// Whether there is a row in the table of revisions.
async fn marked(client: &Client) -> Result<bool, tokio_postgres::Error> {
    let query = "SELECT FROM automc_revision LIMIT 1";
    Ok(!client.query_typed(query, &[]).await?.is_empty())
}

/// What is seen at a glance.
#[derive(Debug)]
pub struct Glance {
    /// The table's state, where there is one and it can be read.
    pub mark: Option<Mark>,
    /// As [`Facts::shape`].
    pub shape: i64,
}

/// Looks at the revision, where `facts` have one, and at the table's shape.
///
/// # Errors
/// Whatever the connection fails with.
pub async fn glance(client: &Client, facts: &Facts) -> Result<Glance, tokio_postgres::Error> {
    let none = "(SELECT NULL AS epoch, NULL AS revision)";
    let revision = match facts.revision {
        Revision::Readable => "automc_revision",
        Revision::Missing | Revision::Hidden | Revision::Empty => none,
    };
    let query = format!(
        "SELECT s.shape, r.epoch, r.revision::text FROM (SELECT {SHAPE} AS shape) s LEFT JOIN {revision} r ON TRUE"
    );
    let rows = client.query_typed(&query, &[]).await?;
    let Some(row) = rows.first() else {
        let (mark, shape) = (None, facts.shape);
        return Ok(Glance { mark, shape });
    };
    let (epoch, revision): (Option<&str>, Option<&str>) = (row.try_get(1)?, row.try_get(2)?);
    Ok(Glance {
        mark: epoch
            .zip(revision)
            .map(|(epoch, revision)| mark(epoch, revision)),
        shape: row.try_get(0)?,
    })
}

/// Nothing below zero is ever counted.
fn mark(epoch: &str, revision: &str) -> Mark {
    Mark {
        epoch: epoch.into(),
        revision: revision.parse().unwrap_or_default(),
    }
}
