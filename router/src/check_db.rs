//! `check-db`: whether routes can come from this database, and if not, what to do.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, Client};

use crate::config::values::short;
use crate::host::Names;
use crate::postgres::connect::{Link, connect};
use crate::postgres::dsn::Dsn;
use crate::postgres::schema::{self, Finding, Severity};
use crate::postgres::{CHANNEL, explain};
use crate::routes::offer::{Provider, Reason};
use crate::routes::policy::Policy;
use crate::routes::pool::Pool;
use crate::routes::row::{self, Row};

/// How long a notification may take to come back.
const ECHO_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a query may take.
const QUERY_TIMEOUT: Duration = Duration::from_secs(15);
/// The channel of the echo: the real one would make every router read its table again.
const ECHO_CHANNEL: &str = "automc_check";
/// Most set-aside rows that are listed, and as many ignored settings.
const ROWS_SHOWN_MAX: usize = 20;

/// Looks at everything between the DSN and the routes. Stops at the first thing that makes the
/// rest pointless. Settings of rows are judged as they would be over `defaults`, domains by `names`.
pub async fn check(dsn: Option<&Dsn>, defaults: &Arc<Policy>, names: Names) -> Vec<Finding> {
    let Some(dsn) = dsn else {
        return vec![Finding::error(
            "AUTOMC_DSN is empty or unset, so no routes come from Postgres and no \"automc: pg route \
             sync started\" is logged; set it to postgres://user:password@host:5432/database",
        )];
    };
    let (client, link) = match connect(dsn).await {
        Ok(connected) => connected,
        Err(error) => {
            return vec![Finding::error(format!(
                "no connection to {dsn}: {error}; until there is one, the router logs \"automc pgsync \
                 disconnected; reconnecting\" (try psql \"$AUTOMC_DSN\" -c 'SELECT 1')"
            ))];
        }
    };
    let mut findings = vec![Finding::good(format!("connected to {dsn}"))];
    let (echo, mut echoes) = mpsc::channel(1);
    let driver = tokio::spawn(drive(link, echo));
    let rest = async {
        findings.extend(table(&client, defaults, names).await);
        findings.push(channel(&client, &mut echoes).await);
    };
    if timeout(QUERY_TIMEOUT, rest).await.is_err() {
        findings.push(Finding::error(format!(
            "no answer within {}; is something holding a lock?",
            short(QUERY_TIMEOUT)
        )));
    }
    driver.abort();
    findings
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
            return vec![Finding::error(format!(
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
    match schema::rows(client, &facts).await {
        Err(error) => findings.push(Finding::error(format!(
            "table servers cannot be read: {}",
            explain(&error)
        ))),
        Ok(rows) => {
            findings.extend(rows_add_up(rows, defaults, names));
        }
    }
    findings
}

/// What is told of the rows' routes, and of those that are none.
fn rows_add_up(rows: Vec<Row>, defaults: &Arc<Policy>, names: Names) -> Vec<Finding> {
    let mut pool = Pool::new(names);
    let offers = row::offers(rows, defaults, names);
    let news = pool.whole(Provider::Postgres, offers);
    pool.apply(news);
    let counts = pool.counts(Provider::Postgres);
    let (routes, others) = (counts.active, counts.shadowed + counts.excluded);
    let mut findings = vec![Finding::good(format!(
        "{routes} routes; {others} rows set aside"
    ))];
    let not_routed =
        |name: &str, reason: &dyn Display| format!("row {name:?} is not routed: {reason}");
    let excluded = pool.excluded(Provider::Postgres).map(|row| {
        let text = not_routed(&row.name, &row.reason);
        match row.reason {
            Reason::Disabled => Finding::good(text),
            _ => Finding::warning(text),
        }
    });
    let shadowed = pool.shadowed();
    let shadowed = shadowed.map(|route| Finding::warning(not_routed(&route.loser.name, &route)));
    let mut rows: Vec<_> = excluded.chain(shadowed).collect();
    // Flaws before what was switched off on purpose, since only the first are shown.
    rows.sort_by(|a, b| {
        (b.severity == Severity::Warning, &a.text).cmp(&(a.severity == Severity::Warning, &b.text))
    });
    findings.extend(rows.into_iter().take(ROWS_SHOWN_MAX));
    let ignored = pool.ignored(Provider::Postgres);
    let ignored =
        ignored.map(|(name, setting)| Finding::warning(format!("row {name:?}: {setting}")));
    findings.extend(ignored.take(ROWS_SHOWN_MAX));
    findings
}

async fn channel(client: &Client, echoes: &mut mpsc::Receiver<()>) -> Finding {
    let sent = client
        .batch_execute(&format!(
            "LISTEN {CHANNEL}; LISTEN {ECHO_CHANNEL}; NOTIFY {ECHO_CHANNEL}"
        ))
        .await;
    if let Err(error) = sent {
        return Finding::error(format!("LISTEN {CHANNEL} fails: {}", explain(&error)));
    }
    // A pooler may deliver the echo to nobody until the next query on the same session.
    match timeout(ECHO_TIMEOUT, echoes.recv()).await {
        Ok(Some(())) => Finding::good(format!(
            "notifications arrive; listening on {CHANNEL} works"
        )),
        Ok(None) => Finding::error("the connection ended before a notification came back"),
        Err(_) => Finding::error(
            "notifications do not arrive; LISTEN does not work through a pooler in transaction mode \
             (PgBouncer), so point AUTOMC_DSN at Postgres itself",
        ),
    }
}
