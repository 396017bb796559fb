//! Why a connection is given up.

use std::time::Duration;

use tokio::time::timeout;

use super::connect::ConnectError;
use super::explain;
use super::schema::ROWS_MAX;
use super::source::READ_TIMEOUT;
use crate::config::values::short;

/// Why a connection was given up.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// It was never there.
    #[error("{0}")]
    Connect(#[from] ConnectError),
    /// A query failed.
    #[error("{}", explain(.0))]
    Query(#[from] tokio_postgres::Error),
    /// No answer in time.
    #[error("{what} took over {}", short(*.limit))]
    TimedOut {
        /// What took so long.
        what: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// The table was not read in time.
    #[error(
        "the table was not read within {}; is something holding a lock on it?",
        short(READ_TIMEOUT)
    )]
    Slow,
    /// The server ended the connection.
    #[error("the connection ended{0}")]
    Ended(String),
    /// The table cannot be used as it is.
    #[error("{0}")]
    Unusable(String),
    /// More rows than [`ROWS_MAX`].
    #[error("table servers has over {ROWS_MAX} rows, which is the limit")]
    TooManyRows,
}

/// What `query` answers within `limit`.
///
/// # Errors
/// No answer in time, or whatever the connection fails with.
pub(super) async fn within<T>(
    what: &'static str,
    limit: Duration,
    query: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, SyncError> {
    match timeout(limit, query).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(SyncError::TimedOut { what, limit }),
    }
}

/// Why the task that moves the bytes has ended.
pub(super) fn ended_by(
    ended: Result<Result<(), tokio_postgres::Error>, tokio::task::JoinError>,
) -> SyncError {
    match ended {
        Ok(Ok(())) => SyncError::Ended(String::new()),
        Ok(Err(error)) => SyncError::Ended(format!(": {}", explain(&error))),
        Err(error) => SyncError::Ended(format!(": {error}")),
    }
}
