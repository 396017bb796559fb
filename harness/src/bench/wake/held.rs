//! What the router keeps for a player who waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, bail};
use tokio::task::JoinSet;

use super::Options;
use super::stage::{DEADLINE, Stage, named};
use crate::bench::say;
use crate::eventually::eventually;
use crate::player::Player;
use crate::usage::settled;

/// Bytes of the router's resident memory for each of many, beyond what one and the wake take.
pub(super) async fn measure(options: &Options) -> Result<f64> {
    say(&format!("{} held players", options.held));
    let stage = Stage::start(&options.router).await?;
    let (_asleep, player) = stage.table.asleep("held").await?;
    let mut held = Held::default();
    let pids = [stage.pid()];
    held.grow(&stage, &player, 1).await?;
    let (one, _) = settled(&pids).await?;
    held.grow(&stage, &player, 1 + options.held).await?;
    let (all, _) = settled(&pids).await?;
    let bytes = u32::try_from(all.saturating_sub(one))?;
    Ok(f64::from(bytes) / f64::from(u32::try_from(options.held)?))
}

#[derive(Default)]
struct Held {
    waiting: JoinSet<Result<()>>,
    heard: Arc<AtomicUsize>,
}

impl Held {
    /// Has players come until there are `players`, and waits until each has heard the router.
    async fn grow(&mut self, stage: &Stage, player: &Player, players: usize) -> Result<()> {
        for number in self.waiting.len()..players {
            let (player, heard) = (named(player, number), Arc::clone(&self.heard));
            let at = stage.table.router.at.players;
            self.waiting.spawn(async move {
                let mut session = player.knock(at).await?;
                if session.step().await?.is_none() {
                    heard.fetch_add(1, Ordering::Relaxed);
                }
                bail!("a held player: {:?}", session.wait().await?)
            });
        }
        stage.until_waiting(players).await?;
        eventually("everybody to hear the router", DEADLINE, async || {
            let heard = self.heard.load(Ordering::Relaxed);
            (heard == players)
                .then_some(())
                .ok_or_else(|| format!("{heard} of {players}"))
        })
        .await
    }
}
