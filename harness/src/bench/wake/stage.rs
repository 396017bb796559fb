//! What every measurement of wakes begins with: a router, a table, a server-manager that follows
//! the script, and players who wait.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::eventually::eventually;
use crate::manager::Manager;
use crate::player::{Player, Session};
use crate::router::Settings;
use crate::table::Table;

/// Longest wait for anything.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);

pub(super) struct Stage {
    pub(super) manager: Manager,
    pub(super) table: Table,
}

/// Players on their way in.
pub(super) type Joining = JoinSet<Result<(Session, Instant)>>;

impl Stage {
    /// A router with the poll interval it has unless told otherwise, which wakes for everybody;
    /// the server-manager says `starting` of every server until it is told something else.
    pub(super) async fn start(program: &Path) -> Result<Self> {
        let manager = Manager::start().await;
        let settings = Settings::new()
            .env("AUTOMC_WAKER_URL", manager.url())
            .env("AUTOMC_WAKE_PER_ADDRESS", "off")
            .env("AUTOMC_WAKE_PER_NAME", "off");
        let table = Table::start_program(program, settings).await?;
        table.router.at.ready(DEADLINE).await?;
        Ok(Self { manager, table })
    }

    /// Has `player` join, and take note of when it is in.
    pub(super) fn join(&self, player: Player, joining: &mut Joining) {
        let players = self.table.router.at.players;
        joining.spawn(async move {
            let session = player.enter(players).await?;
            Ok((session, Instant::now()))
        });
    }

    /// Waits until `players` wait for each server of the table.
    pub(super) async fn until_waiting(&self, players: usize) -> Result<()> {
        eventually("players to wait", DEADLINE, async || {
            let path = format!("http://{}/servers", self.table.router.at.api);
            let servers = crate::http::get(&path).await?.json()?;
            let servers = servers.as_object().context("GET /servers is no object")?;
            for (name, server) in servers {
                let waiting = server.get("waiting").and_then(Value::as_u64);
                let waiting = waiting.unwrap_or_default();
                ensure!(waiting == u64::try_from(players)?, "{waiting} for {name}");
            }
            Ok(())
        })
        .await
    }

    /// Takes every server out of the table.
    pub(super) async fn clear(&self) -> Result<()> {
        self.table.sql.batch_execute("DELETE FROM servers").await?;
        eventually("an empty table", DEADLINE, async || {
            let routes = self.table.router.at.routes().await?;
            ensure!(routes.is_empty(), "{} routes", routes.len());
            Ok(())
        })
        .await
    }

    /// The router's process.
    pub(super) fn pid(&self) -> u32 {
        self.table.router.process.pid()
    }
}

/// A player of another name.
pub(super) fn named(player: &Player, number: usize) -> Player {
    Player {
        name: format!("Player{number}"),
        ..player.clone()
    }
}

/// When the last of them was in; their sessions last until then.
pub(super) async fn last_in(joining: Joining) -> Result<Instant> {
    let mut sessions = Vec::new();
    for joined in joining.join_all().await {
        sessions.push(joined?);
    }
    let last = sessions.iter().map(|(_, at)| *at).max();
    last.context("nobody joined")
}
