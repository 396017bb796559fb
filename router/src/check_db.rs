//! `check-db`: whether routes can come from this database, and if not, what to do.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, Client};

use crate::host::Names;
use crate::postgres::connect::{Link, connect};
use crate::postgres::dsn::Dsn;
use crate::postgres::schema::{self, Finding, Severity};
use crate::postgres::{CHANNEL, explain};
use crate::routes::policy::Policy;
use crate::routes::row;

/// How long a notification may take to come back.
const ECHO_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a query may take.
const QUERY_TIMEOUT: Duration = Duration::from_secs(15);
/// The channel of the echo: the real one would make every router read its table again.
const ECHO_CHANNEL: &str = "automc_check";
/// Most set-aside rows that are listed, and as many ignored settings.
const SET_ASIDE_SHOWN_MAX: usize = 20;

/// Looks at everything between the DSN and the routes. Stops at the first thing that makes the
/// rest pointless. Settings of rows are judged as they would be over `defaults`, domains by `names`.
pub async fn check(dsn: Option<&Dsn>, defaults: &Arc<Policy>, names: Names) -> Vec<Finding> {
    let Some(dsn) = dsn else {
        return vec![bad(
            "AUTOMC_DSN is empty or unset, so no routes come from Postgres and no \"automc: pg route \
             sync started\" is logged; set it to postgres://user:password@host:5432/database",
        )];
    };
    let (client, link) = match connect(dsn).await {
        Ok(connected) => connected,
        Err(error) => {
            return vec![bad(format!(
                "no connection to {dsn}: {error}; until there is one, the router logs \"automc pgsync \
                 disconnected; reconnecting\" (try psql \"$AUTOMC_DSN\" -c 'SELECT 1')"
            ))];
        }
    };
    let mut findings = vec![good(format!("connected to {dsn}"))];
    let (echo, mut echoes) = mpsc::channel(1);
    let driver = tokio::spawn(drive(link, echo));
    let rest = async {
        findings.extend(table(&client, defaults, names).await);
        findings.push(channel(&client, &mut echoes).await);
    };
    if timeout(QUERY_TIMEOUT, rest).await.is_err() {
        findings.push(bad(format!(
            "no answer within {QUERY_TIMEOUT:?}; is something holding a lock?"
        )));
    }
    driver.abort();
    findings
}

fn good(text: impl Into<String>) -> Finding {
    Finding {
        severity: Severity::Good,
        text: text.into(),
    }
}

fn bad(text: impl Into<String>) -> Finding {
    Finding {
        severity: Severity::Error,
        text: text.into(),
    }
}

async fn drive(mut link: Link, echo: mpsc::Sender<()>) {
    while let Some(Ok(message)) = link.next().await {
        if let AsyncMessage::Notification(notification) = message
            && notification.channel() == ECHO_CHANNEL
        {
            // One echo is enough; a full channel has it already.
            let _ = echo.try_send(());
        }
    }
}

async fn table(client: &Client, defaults: &Arc<Policy>, names: Names) -> Vec<Finding> {
    let facts = match schema::inspect(client).await {
        Ok(facts) => facts,
        Err(error) => {
            return vec![bad(format!(
                "the catalogue cannot be read: {}",
                explain(&error)
            ))];
        }
    };
    let mut findings = facts.findings();
    if findings
        .iter()
        .any(|finding| finding.severity == Severity::Error)
    {
        return findings;
    }
    let rows = client.query_typed(&facts.query(), &[]).await;
    match rows.and_then(|rows| rows.iter().map(schema::row).collect::<Result<Vec<_>, _>>()) {
        Err(error) => findings.push(bad(format!(
            "table servers cannot be read: {}",
            explain(&error)
        ))),
        Ok(rows) => {
            let selection = row::select(rows, defaults, names);
            let (routes, others) = (selection.routes.len(), selection.set_aside.len());
            findings.push(good(format!("{routes} routes; {others} rows set aside")));
            for row in selection.set_aside.iter().take(SET_ASIDE_SHOWN_MAX) {
                let severity = if row.reason == row::DISABLED {
                    Severity::Good
                } else {
                    Severity::Warning
                };
                let text = format!("row {:?} is not routed: {}", row.name, row.reason);
                findings.push(Finding { severity, text });
            }
            for ignored in selection.ignored.iter().take(SET_ASIDE_SHOWN_MAX) {
                findings.push(Finding {
                    severity: Severity::Warning,
                    text: ignored.to_string(),
                });
            }
        }
    }
    findings
}

async fn channel(client: &Client, echoes: &mut mpsc::Receiver<()>) -> Finding {
    let sent = client
        .batch_execute(&format!(
            "LISTEN {CHANNEL}; LISTEN {ECHO_CHANNEL}; NOTIFY {ECHO_CHANNEL}"
        ))
        .await;
    if let Err(error) = sent {
        return bad(format!("LISTEN {CHANNEL} fails: {}", explain(&error)));
    }
    // A pooler may deliver the echo to nobody until the next query on the same session.
    match timeout(ECHO_TIMEOUT, echoes.recv()).await {
        Ok(Some(())) => good(format!(
            "notifications arrive; listening on {CHANNEL} works"
        )),
        Ok(None) => bad("the connection ended before a notification came back"),
        Err(_) => bad(
            "notifications do not arrive; LISTEN does not work through a pooler in transaction mode \
             (PgBouncer), so point AUTOMC_DSN at Postgres itself",
        ),
    }
}
