//! `check-db --fix`: applies `schema.sql`, or says what this role lacks for it.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, Client};

use crate::config::values::short;
use crate::postgres::connect::{Link, connect};
use crate::postgres::dsn::Dsn;
use crate::postgres::explain;
use crate::postgres::schema::Finding;

/// What is applied, in one transaction.
pub const SCHEMA: &str = include_str!("../../schema.sql");

/// How long somebody's lock on the table is waited for; whoever comes next waits behind us.
const LOCK_TIMEOUT: &str = "10s";
/// How long it may take: a million rows are looked through for domains that are there twice.
const FIX_TIMEOUT: Duration = Duration::from_secs(300);
/// Most warnings of the server that are told.
const WARNINGS_MAX: usize = 20;

/// What this role may not do, of what it takes.
const LACKING: &str = "WITH place AS (SELECT COALESCE((SELECT relnamespace::regnamespace FROM pg_class
        WHERE oid = to_regclass('servers')), current_schema()::regnamespace) AS home)
    SELECT 'ownership of table ' || relation || ', which belongs to ' || relowner::regrole
        FROM pg_class, unnest(ARRAY['servers', 'automc_memory', 'automc_revision', 'automc_pending']) AS relation
        WHERE oid = to_regclass(relation) AND NOT pg_has_role(relowner, 'MEMBER')
    UNION ALL SELECT 'ownership of function ' || proname || ', which belongs to ' || proowner::regrole
        FROM pg_proc, place WHERE pronamespace = home AND proname LIKE 'automc\\_%'
        AND NOT pg_has_role(proowner, 'MEMBER')
    UNION ALL SELECT 'a schema to create tables in: '
        || COALESCE('GRANT CREATE ON SCHEMA ' || home || ' TO ' || current_user, 'there is none in search_path')
        FROM place WHERE NOT COALESCE(has_schema_privilege(home, 'CREATE'), false)";

/// Applies [`SCHEMA`] to the database. All of it is applied, or nothing.
pub async fn fix(dsn: &Dsn) -> Vec<Finding> {
    let (client, link) = match connect(dsn).await {
        Ok(connected) => connected,
        Err(error) => return vec![failed(&format!("no connection to {dsn}: {error}"))],
    };
    let (tell, mut warnings) = mpsc::channel(WARNINGS_MAX);
    let driver = tokio::spawn(drive(link, tell));
    let applied = timeout(FIX_TIMEOUT, apply(&client)).await;
    let applied = applied.unwrap_or_else(|_| {
        vec![failed(&format!(
            "it took over {}, and was given up",
            short(FIX_TIMEOUT)
        ))]
    });
    // Ends the connection, and with it what is not committed.
    drop(client);
    driver.abort();
    let warned = std::iter::from_fn(|| warnings.try_recv().ok());
    warned.map(Finding::warning).chain(applied).collect()
}

async fn apply(client: &Client) -> Vec<Finding> {
    let lacking = match lacking(client).await {
        Ok(lacking) => lacking,
        Err(error) => return vec![failed(&explain(&error))],
    };
    if !lacking.is_empty() {
        let lacks = |what: String| failed(&format!("this role lacks {what}"));
        return lacking.into_iter().map(lacks).collect();
    }
    let statements = format!("SET lock_timeout = '{LOCK_TIMEOUT}'; {SCHEMA}");
    match client.batch_execute(&statements).await {
        Ok(()) => vec![Finding::good(
            "schema.sql is applied; routers that are connected read the table anew",
        )],
        Err(error) => vec![failed(&explain(&error))],
    }
}

async fn lacking(client: &Client) -> Result<Vec<String>, tokio_postgres::Error> {
    let rows = client.query(LACKING, &[]).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

fn failed(reason: &str) -> Finding {
    Finding::error(format!(
        "schema.sql is not applied, and nothing is changed: {reason}"
    ))
}

/// Takes down what the server warns of; what does not fit is left out.
async fn drive(mut link: Link, tell: mpsc::Sender<String>) {
    while let Some(Ok(message)) = link.next().await {
        if let AsyncMessage::Notice(notice) = message
            && notice.severity() == "WARNING"
        {
            drop(tell.try_send(notice.message().to_owned()));
        }
    }
}
