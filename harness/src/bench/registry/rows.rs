//! Rows by the thousand: the same in a table of Postgres and in memory.

use anyhow::Result;
use tokio_postgres::Client;

/// Where row `number` leads at first.
pub(super) fn address(number: usize) -> String {
    format!(
        "10.{}.{}.{}:25565",
        number >> 16 & 255,
        number >> 8 & 255,
        number & 255
    )
}

/// The host of row `number`.
pub(super) fn domain(number: usize) -> String {
    format!("server-{number}.play.example.com")
}

/// The name of row `number`.
pub(super) fn name(number: usize) -> String {
    format!("server-{number}")
}

/// Fills the table.
pub(super) async fn insert(sql: &Client, rows: usize) -> Result<()> {
    sql.batch_execute(&format!(
        "INSERT INTO servers (name, domain, address, state) \
         SELECT 'server-' || n, 'server-' || n || '.play.example.com', \
                '10.' || (n >> 16 & 255) || '.' || (n >> 8 & 255) || '.' || (n & 255) || ':25565', 'stopped' \
         FROM generate_series(0, {rows} - 1) n; ANALYZE servers;"
    ))
    .await?;
    Ok(())
}
