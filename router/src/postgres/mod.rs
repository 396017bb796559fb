//! Everything about the database: where it is, how to reach it, what is read from it and when.

mod attempt;
pub mod connect;
pub mod dsn;
pub mod facts;
pub mod guard;
mod hearing;
mod news;
pub mod pace;
mod parameters;
mod reading;
pub mod revision;
pub mod schema;
pub mod snapshot;
mod snapshot_file;
pub mod source;
pub mod status;
pub mod trouble;

/// The channel a change of the table is announced on.
pub const CHANNEL: &str = "automc_routes_changed";

/// The text of a driver error with its causes; the driver's own Display leaves them out.
#[must_use]
pub fn explain(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        let hint = db
            .hint()
            .map(|hint| format!(" ({hint})"))
            .unwrap_or_default();
        return format!(
            "{}: {} [{}]{hint}",
            db.severity(),
            db.message(),
            db.code().code()
        );
    }
    crate::causes::with_causes(error)
}
