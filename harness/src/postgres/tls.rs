//! TLS on a private server, with a certificate of the test's choice.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Postgres;
use crate::eventually::eventually;
use crate::skip;

/// From the request to reload until new connections are served with the new settings.
const RELOAD_DEADLINE: Duration = Duration::from_secs(20);

impl Postgres {
    /// Whether the server was built with TLS. If not, the test is noted as skipped.
    ///
    /// # Errors
    /// The server cannot be asked, or no test may be skipped.
    pub async fn has_tls(&self) -> Result<bool> {
        let admin = self.access.connect(self.access.maintenance()).await?;
        let query = "SELECT setting <> '' FROM pg_settings WHERE name = 'ssl_library'";
        if admin.query_one(query, &[]).await?.try_get(0)? {
            return Ok(true);
        }
        skip(&format!("{} was built without TLS", self.what())).map(|()| false)
    }

    /// Makes a private server offer TLS, by a certificate with its chain and its key, both PEM;
    /// plain connections go on. Called again, it changes the certificate.
    ///
    /// The files are written by the server, so it may as well run in a container.
    ///
    /// # Errors
    /// When the server is shared or not running, or does not take the pair.
    pub async fn offer_tls(&self, certificate: &str, key: &str) -> Result<()> {
        self.own()?;
        let admin = self.access.connect(self.access.maintenance()).await?;
        // It refuses a key that others may read.
        for (pem, file) in [(certificate, "server.crt"), (key, "server.key")] {
            ensure!(!pem.contains(['$', '\\']), "{file} is not PEM");
            let write = format!(
                "COPY (SELECT regexp_split_to_table($pem${pem}$pem$, '\n')) \
                 TO PROGRAM 'umask 077 && cat >{file}'"
            );
            admin.batch_execute(&write).await.context(file)?;
        }
        admin.batch_execute("ALTER SYSTEM SET ssl = on").await?;
        let loaded = "SELECT pg_conf_load_time(), current_setting('ssl') = 'on'";
        let before: std::time::SystemTime = admin.query_one(loaded, &[]).await?.try_get(0)?;
        admin.batch_execute("SELECT pg_reload_conf()").await?;
        // A session has the settings its server process had when it began.
        eventually("the settings to be loaded", RELOAD_DEADLINE, async || {
            let admin = self.access.connect(self.access.maintenance()).await?;
            let row = admin.query_one(loaded, &[]).await?;
            let now: std::time::SystemTime = row.try_get(0)?;
            ensure!(now > before, "not loaded yet");
            ensure!(row.try_get::<_, bool>(1)?, "TLS is off");
            Ok(())
        })
        .await
    }
}
