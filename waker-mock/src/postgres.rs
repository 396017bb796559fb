//! Writes every change into the `servers` table, as a real server-manager does, and outlives
//! the database.

use std::sync::Arc;
use std::time::Duration;

use automc_router::postgres::connect::connect_and_drive;
use automc_router::postgres::dsn::Dsn;
use automc_router::postgres::explain;
use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::outbox::{Change, Outbox};

/// Longest time to write one row.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// First and longest pause between two attempts to connect; it doubles in between.
const PAUSE_BOUNDS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

const UPSERT: &str = "INSERT INTO servers (name, domain, address, state) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (name) DO UPDATE SET domain = excluded.domain, address = excluded.address, \
     state = excluded.state";
const UPDATE: &str = "UPDATE servers SET address = $2, state = $3 WHERE name = $1";
const DELETE: &str = "DELETE FROM servers WHERE name = $1";

/// Writes until `stop`, then what is left if the database is there.
pub(crate) async fn write(dsn: Dsn, outbox: Arc<Outbox>, stop: CancellationToken) {
    let mut pause = PAUSE_BOUNDS.0;
    while !stop.is_cancelled() {
        let connection = stop.run_until_cancelled(connect_and_drive(&dsn)).await;
        let outcome = match connection {
            None => return,
            Some(Err(error)) => Err(error.into()),
            Some(Ok(client)) => {
                info!(database = %dsn, "writing states into the servers table");
                pause = PAUSE_BOUNDS.0;
                drain(&client, &outbox, &stop).await
            }
        };
        if let Err(error) = outcome {
            warn!(database = %dsn, error = format!("{error:#}"), retry_in = ?pause, "the table is behind");
            stop.run_until_cancelled(tokio::time::sleep(pause)).await;
            pause = (pause * 2).min(PAUSE_BOUNDS.1);
        }
    }
}

async fn drain(client: &Client, outbox: &Outbox, stop: &CancellationToken) -> anyhow::Result<()> {
    loop {
        while let Some((name, change)) = outbox.take() {
            let written = timeout(WRITE_TIMEOUT, write_one(client, &name, &change)).await;
            match written.map_err(anyhow::Error::from) {
                Ok(Ok(())) => {}
                Ok(Err(error)) if never_fits(&error) => {
                    warn!(server = %name, error = explain(&error), "the table does not take this server");
                }
                Ok(Err(error)) => {
                    outbox.put_back(name, change);
                    anyhow::bail!("not written: {}", explain(&error));
                }
                Err(error) => {
                    outbox.put_back(name, change);
                    return Err(error.context("not written in time"));
                }
            }
        }
        if stop.is_cancelled() {
            return Ok(());
        }
        tokio::select! {
            () = outbox.filled() => {}
            () = stop.cancelled() => {}
        }
    }
}

async fn write_one(
    client: &Client,
    name: &str,
    change: &Change,
) -> Result<(), tokio_postgres::Error> {
    let written = match change {
        None => client.execute(DELETE, &[&name]).await,
        Some(row) => match &row.domain {
            Some(domain) => {
                let values: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
                    [&name, domain, &row.address, &row.state];
                client.execute(UPSERT, &values).await
            }
            None => {
                client
                    .execute(UPDATE, &[&name, &row.address, &row.state])
                    .await
            }
        },
    };
    written.map(drop)
}

/// Tried again, the same row would be refused again: a domain that is taken, for one.
fn never_fits(error: &tokio_postgres::Error) -> bool {
    let class = |state: &SqlState| state.code().get(..2).map(str::to_owned);
    let class = error.code().and_then(class);
    matches!(class.as_deref(), Some("22" | "23"))
}
