//! The table `automc_memory`, where it exists and may be written: what other routers learnt comes
//! in, what this one learnt goes out.
//!
//! A connection of its own is opened when there is something to write, and closed again. Trouble is
//! told once and ends nothing.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_postgres::types::Type;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::model::{BYTES_MAX, SERVERS_MAX, Server};
use super::{Memory, now, tell_broken};
use crate::postgres::connect::{ConnectError, connect_and_drive};
use crate::postgres::dsn::Dsn;
use crate::postgres::explain;
use crate::shared_str::SharedStr;

/// Least time between two connections.
pub const PAUSE: Duration = Duration::from_secs(60);
/// Least time after one that failed, or that found no table it may write.
pub const FAILED_PAUSE: Duration = Duration::from_secs(300);
/// Longest time of one connection, from opening it to the last write.
const SESSION_TIMEOUT: Duration = Duration::from_secs(30);
/// The same at the end, when the router waits for it.
const LAST_SESSION_TIMEOUT: Duration = Duration::from_secs(1);
/// Most servers of one write.
const BATCH_SERVERS_MAX: usize = 100;
/// Most bytes of one write, unless one server has more.
const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Rows so much older than the last that was seen are read again: a slow writer's carry the time
/// its transaction began.
const OVERLAP: Duration = Duration::from_secs(60);

/// Whether the table is there, and whether this role may do everything with it that is done here.
const USABLE: &str = "SELECT t IS NOT NULL, coalesce(has_table_privilege(t, 'SELECT') \
     AND has_table_privilege(t, 'INSERT') AND has_table_privilege(t, 'UPDATE'), false) \
     FROM to_regclass('automc_memory') AS t";
/// Newest first, as far as they fit; `$2` rows and `$3` bytes at most.
const READ: &str = "SELECT server, memory, updated FROM (\
         SELECT server, memory::text AS memory, updated, \
                sum(octet_length(memory::text)) OVER (ORDER BY updated DESC, server) AS bytes \
         FROM automc_memory WHERE updated > $1) AS newest \
     WHERE bytes <= $3 ORDER BY updated DESC LIMIT $2";
const WRITE: &str = "INSERT INTO automc_memory (server, memory, updated) \
     SELECT server, memory::jsonb, now() FROM unnest($1, $2) AS news (server, memory) \
     ON CONFLICT (server) DO UPDATE SET memory = excluded.memory, updated = excluded.updated";

/// Why the database was of no use.
#[derive(Debug, thiserror::Error)]
enum StoreError {
    #[error("{0}")]
    Connect(#[from] ConnectError),
    #[error("{}", explain(.0))]
    Query(#[from] tokio_postgres::Error),
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("this role may not SELECT, INSERT and UPDATE it")]
    Forbidden,
    /// Not having it is no trouble.
    #[error("there is no such table")]
    Missing,
}

/// Reads the table once, then writes `memory` to it while there is news, [`PAUSE`] apart, and once
/// more when `stop` is cancelled. What other routers wrote is read before each write.
pub async fn keep(memory: Arc<Memory>, dsn: Dsn, stop: CancellationToken) {
    let mut changes = memory.changed.subscribe();
    let mut store = Store {
        memory,
        dsn,
        read_until: SystemTime::UNIX_EPOCH,
        in_doubt: Vec::new(),
        told: false,
    };
    let following = async {
        loop {
            let pause = if store.session(SESSION_TIMEOUT).await {
                PAUSE
            } else {
                changes.mark_changed();
                FAILED_PAUSE
            };
            tokio::time::sleep(pause).await;
            // The sender is in the memory that the store has.
            drop(changes.changed().await);
        }
    };
    stop.run_until_cancelled(following).await;
    store.doubt();
    let unsaved = store.memory.model().has_changed();
    if unsaved {
        store.session(LAST_SESSION_TIMEOUT).await;
    }
}

struct Store {
    memory: Arc<Memory>,
    dsn: Dsn,
    /// When the newest row that was read was written.
    read_until: SystemTime,
    /// Servers in a write of which it is not known how it ended.
    in_doubt: Vec<SharedStr>,
    told: bool,
}

impl Store {
    /// One connection; whether it did what it was for.
    async fn session(&mut self, limit: Duration) -> bool {
        let exchange = timeout(limit, self.exchange()).await;
        let outcome = exchange.unwrap_or(Err(StoreError::TimedOut(limit)));
        self.doubt();
        match &outcome {
            Ok(()) => self.told = false,
            Err(error @ StoreError::Missing) => debug!("table automc_memory: {error}"),
            Err(error) if self.told => debug!("table automc_memory: {error}"),
            Err(error) => {
                warn!("table automc_memory: {error}; what is remembered is not kept there");
                self.told = true;
            }
        }
        outcome.is_ok()
    }

    async fn exchange(&mut self) -> Result<(), StoreError> {
        let client = connect_and_drive(&self.dsn).await?;
        let limit = SESSION_TIMEOUT.as_millis();
        client
            .batch_execute(&format!("SET statement_timeout = {limit}"))
            .await?;
        let usable = client.query_typed(USABLE, &[]).await?;
        let usable = usable.first().map(|row| (row.get(0), row.get(1)));
        match usable {
            Some((true, true)) => {}
            Some((true, false)) => return Err(StoreError::Forbidden),
            _ => return Err(StoreError::Missing),
        }
        self.read(&client).await?;
        self.write(&client).await
    }

    async fn read(&mut self, client: &Client) -> Result<(), StoreError> {
        let since = self.read_until.checked_sub(OVERLAP);
        let since = since.unwrap_or(SystemTime::UNIX_EPOCH);
        let rows = i64::try_from(SERVERS_MAX).unwrap_or(i64::MAX);
        let bytes = i64::try_from(BYTES_MAX).unwrap_or(i64::MAX);
        let rows = client
            .query_typed(
                READ,
                &[
                    (&since, Type::TIMESTAMPTZ),
                    (&rows, Type::INT8),
                    (&bytes, Type::INT8),
                ],
            )
            .await?;
        let (now, mut broken) = (now(), Vec::new());
        for row in rows {
            let (key, json): (SharedStr, &str) =
                (row.try_get::<_, &str>(0)?.into(), row.try_get(1)?);
            // A clock that is ahead must not hide what comes after.
            let updated = row.try_get::<_, SystemTime>(2)?.min(SystemTime::now());
            self.read_until = self.read_until.max(updated);
            let json = serde_json::from_str(json).unwrap_or_default();
            if let Some(server) = Server::read(&key, &json, now, &mut broken) {
                self.memory.model().merge_row(&key, &server);
            }
        }
        tell_broken("table automc_memory", &broken);
        Ok(())
    }

    async fn write(&mut self, client: &Client) -> Result<(), StoreError> {
        loop {
            let batch = {
                let mut model = self.memory.model();
                model.take_changed(BATCH_SERVERS_MAX, BATCH_BYTES_MAX)
            };
            if batch.is_empty() {
                return Ok(());
            }
            let (keys, memories): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            self.in_doubt = keys;
            let keys: Vec<&str> = self.in_doubt.iter().map(AsRef::as_ref).collect();
            client
                .query_typed(
                    WRITE,
                    &[(&keys, Type::TEXT_ARRAY), (&memories, Type::TEXT_ARRAY)],
                )
                .await?;
            self.in_doubt.clear();
        }
    }

    /// What may not have been written is to be written again.
    fn doubt(&mut self) {
        for key in self.in_doubt.drain(..) {
            self.memory.model().not_written(&key);
        }
    }
}
