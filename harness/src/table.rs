//! A `servers` table of its own, and the router process that lives by it; who wakes the servers, if
//! anybody, is up to the settings.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio_postgres::Client;

use crate::backend::Asleep;
use crate::binaries;
use crate::manager::Manager;
use crate::player::Player;
use crate::postgres::{Database, Postgres};
use crate::router::{RouterProcess, Settings};

/// Longest time until a row is a route.
const ROUTE_DEADLINE: Duration = Duration::from_secs(20);

/// A table and its router. For everything else at once there is [`crate::world`].
#[derive(Debug)]
pub struct Table {
    /// The router.
    pub router: RouterProcess,
    /// The router's database.
    pub database: Database,
    /// A connection to the database.
    pub sql: Client,
}

impl Table {
    /// A router with `settings` and an empty table; `state` may be NULL in it.
    ///
    /// # Errors
    /// No Postgres is to be had, or the router does not start.
    pub async fn start(settings: Settings) -> Result<Self> {
        Self::start_program(&binaries::router().await?, settings).await
    }

    /// The same with the router's binary at `program`.
    ///
    /// # Errors
    /// As for [`Self::start`].
    pub async fn start_program(program: &Path, settings: Settings) -> Result<Self> {
        let database = Postgres::shared().await?.database().await?;
        let sql = database.client().await?;
        sql.batch_execute("ALTER TABLE servers ALTER state DROP NOT NULL")
            .await?;
        let router = RouterProcess::start_program(program, settings.database(&database)).await?;
        Ok(Self {
            router,
            database,
            sql,
        })
    }

    /// The same with a server-manager through which the router wakes.
    ///
    /// # Errors
    /// As for [`Self::start`].
    pub async fn with_manager(settings: Settings) -> Result<(Manager, Self)> {
        let manager = Manager::start().await;
        let table = Self::start(settings.waker(&manager.url())).await?;
        Ok((manager, table))
    }

    /// Adds a server that sleeps: nobody is at its port, and its row says `stopped`.
    ///
    /// # Errors
    /// No port is to be had, or as for [`Self::server`].
    pub async fn asleep(&self, name: &str) -> Result<(Asleep, Player)> {
        let asleep = Asleep::new()?;
        let player = self.server(name, asleep.addr(), "stopped").await?;
        Ok((asleep, player))
    }

    /// Adds a server that is at `address` and in `state` as far as its row goes, and waits until
    /// it is routed. Whoever is handed back plays on it.
    ///
    /// # Errors
    /// The row is refused, or does not become a route.
    pub async fn server(
        &self,
        name: &str,
        address: SocketAddr,
        state: impl Into<Option<&str>>,
    ) -> Result<Player> {
        self.server_with(name, address, state, &[]).await
    }

    /// The same with settings of its own: columns of the table, and what is in them.
    ///
    /// # Errors
    /// As for [`Self::server`], or there is no such column.
    pub async fn server_with(
        &self,
        name: &str,
        address: SocketAddr,
        state: impl Into<Option<&str>>,
        settings: &[(&str, &str)],
    ) -> Result<Player> {
        let domain = format!("{name}.example.com");
        let address = address.to_string();
        let columns: String = settings.iter().map(|one| format!(", {}", one.0)).collect();
        // Literals, which become whatever type the column has.
        let literal = |text: &str| format!(", '{}'", text.replace('\'', "''"));
        let values: String = settings.iter().map(|one| literal(one.1)).collect();
        let insert = format!(
            "INSERT INTO servers (name, domain, address, state{columns}) \
             VALUES ($1, $2, $3, $4{values})"
        );
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&name, &domain, &address, &state.into()];
        self.sql.execute(&insert, &row).await?;
        self.router
            .at
            .routed(&domain, Some(&address), ROUTE_DEADLINE)
            .await?;
        Ok(Player::new(&domain))
    }

    /// Waits for a line of the router's log that has all `parts`, and hands it back.
    ///
    /// # Errors
    /// There is none in time.
    pub async fn says(&self, parts: &[&str]) -> Result<String> {
        self.router.says(parts).await
    }

    /// The value of one metric now.
    ///
    /// # Errors
    /// The router does not answer, or has no such metric.
    pub async fn metric(&self, name: &str) -> Result<u64> {
        self.router.at.metrics().await?.value(name)
    }

    /// Joins, expects to be refused, and hands back the text, which shows no address.
    ///
    /// # Errors
    /// The player is let in, or the text could show an address.
    pub async fn refusal(&self, player: &Player) -> Result<String> {
        let text = player.refusal(self.router.at.players).await?;
        // Neither a port nor an address can be written without one of these between two characters
        // that are no spaces; the end of a sentence has a space after it.
        let joined = |window: &[char]| match window {
            [before, '.' | ':', after] => !before.is_whitespace() && !after.is_whitespace(),
            _ => false,
        };
        let chars: Vec<_> = text.chars().collect();
        ensure!(!chars.windows(3).any(joined), "{text}");
        ensure!(!text.contains("localhost"), "{text}");
        Ok(text)
    }
}
