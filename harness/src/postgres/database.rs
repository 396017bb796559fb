//! Databases for tests: fresh, uniquely named, made quickly from a template.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::timeout;
use tokio_postgres::Client;
use tracing::warn;

use super::access::{Access, random};
use crate::fnv::Hash;

/// The table and its triggers, as a user applies them.
pub const SCHEMA: &str = include_str!("../../../schema.sql");

/// For making a database, with the template on the first time, or for dropping one.
const DATABASE_DEADLINE: Duration = Duration::from_secs(60);
/// Held while the template is made: other test processes may share the server.
const TEMPLATE_LOCK: i64 = 0x6175_746f_6d63;

/// What happens to a database when its test is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Afterwards {
    /// Nothing: the server goes away soon.
    Keep,
    /// It is dropped in the background, to save room.
    Drop,
    /// It is dropped before the test goes on: the server belongs to somebody.
    DropAndWait,
}

/// A database of one test; dropping it drops the database and ends its sessions,
/// except on a private server, where it goes with the server.
#[derive(Debug)]
pub struct Database {
    name: String,
    access: Arc<Access>,
    afterwards: Afterwards,
}

impl Database {
    pub(super) async fn create(
        access: &Arc<Access>,
        template: &str,
        afterwards: Afterwards,
    ) -> Result<Self> {
        let name = format!("automc_{}_{:016x}", std::process::id(), random());
        let make = format!("CREATE DATABASE {name} TEMPLATE {template}");
        run(access, &make)
            .await
            .context("make a database for a test")?;
        Ok(Self {
            name,
            access: Arc::clone(access),
            afterwards,
        })
    }

    /// Its name on the server.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A URL for it, at the server's address of this moment, with `sslmode=disable`.
    #[must_use]
    pub fn dsn(&self) -> String {
        self.access.dsn(self.access.addr(), &self.name)
    }

    /// A connection to it; the driver is a task of the current runtime and ends with the client.
    ///
    /// # Errors
    /// When the server cannot be reached within 10 s.
    pub async fn client(&self) -> Result<Client> {
        self.access.connect(&self.name).await
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.afterwards == Afterwards::Keep {
            return;
        }
        let access = Arc::clone(&self.access);
        let drop_it = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        // The test's runtime may be going down.
        let dropper = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let dropped = runtime
                .context("a runtime")
                .and_then(|runtime| runtime.block_on(run(&access, &drop_it)));
            if let Err(error) = dropped {
                warn!("{drop_it}: {error:#}");
            }
        });
        if self.afterwards == Afterwards::DropAndWait && dropper.join().is_err() {
            warn!("the thread that drops {} panicked", self.name);
        }
    }
}

/// Makes the template with the schema unless it is there, and hands back its name.
///
/// The name tells the schema's text, so that a server that is kept never serves an old one.
pub(super) async fn template(access: &Access) -> Result<String> {
    let name = format!("automc_template_{:016x}", fingerprint(SCHEMA));
    let made = timeout(DATABASE_DEADLINE, make_template(access, &name));
    made.await
        .context("no template in time")?
        .context("make the template database")?;
    Ok(name)
}

async fn make_template(access: &Access, name: &str) -> Result<()> {
    let admin = access.connect(access.maintenance()).await?;
    let lock = "SELECT pg_advisory_lock($1)";
    admin.execute(lock, &[&TEMPLATE_LOCK]).await?;
    let there = "SELECT FROM pg_database WHERE datname = $1";
    if admin.query_opt(there, &[&name]).await?.is_some() {
        return Ok(());
    }
    // Renamed when whole: whoever is killed half-way leaves no half template under the real name.
    let draft = format!("{name}_draft");
    let drop_draft = format!("DROP DATABASE IF EXISTS {draft} WITH (FORCE)");
    admin.batch_execute(&drop_draft).await?;
    let make = format!("CREATE DATABASE {draft} TEMPLATE template0");
    admin.batch_execute(&make).await?;
    let inside = access.connect(&draft).await?;
    inside.batch_execute(SCHEMA).await?;
    drop(inside);
    // A session inside would make copies fail. Ours may still be ending, so it is ended for sure.
    let shut = format!("ALTER DATABASE {draft} ALLOW_CONNECTIONS false");
    admin.batch_execute(&shut).await?;
    let end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
        WHERE datname = $1 AND backend_type = 'client backend'";
    admin.execute(end, &[&draft]).await?;
    let rename = format!("ALTER DATABASE {draft} RENAME TO {name}");
    admin.batch_execute(&rename).await?;
    Ok(())
}

async fn run(access: &Access, statement: &str) -> Result<()> {
    let work = async {
        let admin = access.connect(access.maintenance()).await?;
        admin.batch_execute(statement).await?;
        Ok(())
    };
    timeout(DATABASE_DEADLINE, work)
        .await
        .with_context(|| format!("not done within {DATABASE_DEADLINE:?}"))?
}

fn fingerprint(text: &str) -> u64 {
    let mut hash = Hash::default();
    hash.update(text.as_bytes());
    hash.value()
}
