//! Many at once: players of one server, and servers with a player each.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::Options;
use super::stage::{Joining, Stage, last_in, named};
use crate::bench::say;
use crate::bench::stats::millis;
use crate::usage::{Usage, Used};

/// How long the crowd's server boots. The router has to see that nobody is there before it takes
/// an answer for the server's.
const BOOT: Duration = Duration::from_secs(1);
/// How long many servers boot, all at once.
const BOOT_OF_MANY: Duration = Duration::from_secs(5);

/// What came of a crowd that waited for one server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Crowd {
    pub(super) players: usize,
    /// From ready to the last in.
    pub(super) last: Duration,
    /// Starts that were asked for.
    pub(super) starts: usize,
}

/// Players who wait for one server, which then begins to answer.
pub(super) async fn one_server(options: &Options) -> Result<Crowd> {
    let stage = Stage::start(&options.router).await?;
    let (asleep, player) = stage.table.asleep("crowded").await?;
    let mut joining = Joining::new();
    for number in 0..options.players {
        stage.join(named(&player, number), &mut joining);
    }
    stage.until_waiting(options.players).await?;
    sleep(BOOT).await;

    let ready = Instant::now();
    let backend = asleep.wake("crowded")?;
    let last = last_in(joining).await?.saturating_duration_since(ready);

    let (starts, _) = stage.manager.counts();
    ensure!(starts == 1, "{starts} starts of one server");
    ensure!(
        backend.logins().len() == options.players,
        "more logins than players"
    );
    Ok(Crowd {
        players: options.players,
        last,
        starts,
    })
}

/// What came of servers that woke at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Many {
    servers: usize,
    /// From the first ready to the last in.
    last: Duration,
    /// From the first player's coming until the first was ready.
    waking: Used,
    /// From then until the last in.
    joining: Used,
}

/// Servers with a player each, who come at once; the servers begin to answer at once.
pub(super) async fn many_servers(options: &Options) -> Result<Many> {
    say(&format!("{} servers at once", options.servers));
    let stage = Stage::start(&options.router).await?;
    let mut sleepers = Vec::new();
    for number in 0..options.servers {
        sleepers.push(stage.table.asleep(&format!("many{number}")).await?);
    }
    let usage = || Usage::now(&[stage.pid()], &[]);
    let begin = usage()?;
    let mut joining = Joining::new();
    for (_, player) in &sleepers {
        stage.join(player.clone(), &mut joining);
    }
    stage.until_waiting(1).await?;
    // What probes and polls cost meanwhile is part of the figure.
    sleep(BOOT_OF_MANY).await;

    let (first, ready) = (Instant::now(), usage()?);
    let mut backends = Vec::new();
    for (asleep, _) in sleepers {
        backends.push(asleep.wake("one of many")?);
    }
    let last = last_in(joining).await?.saturating_duration_since(first);
    let end = usage()?;

    let (starts, _) = stage.manager.counts();
    ensure!(
        starts == options.servers,
        "{starts} starts of {} servers",
        options.servers
    );
    Ok(Many {
        servers: options.servers,
        last,
        waking: ready.since(&begin),
        joining: end.since(&ready),
    })
}

impl Many {
    pub(super) fn json(&self) -> Value {
        let used = |used: Used| json!({ "router_cpu_s": used.target.as_secs_f64(), "took_s": used.took.as_secs_f64() });
        json!({
            "servers": self.servers,
            "last_in_ms": millis(self.last),
            "while_booting": used(self.waking),
            "letting_in": used(self.joining),
        })
    }
}

impl fmt::Display for Crowd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (last, starts) = (millis(self.last), self.starts);
        write!(formatter, "last in after {last:.0} ms, starts {starts}")
    }
}

impl fmt::Display for Many {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = millis(self.last);
        let [waking, took, joining] = [self.waking.target, self.waking.took, self.joining.target];
        write!(
            formatter,
            "last in after {last:.0} ms; router CPU {:.2} s in {:.1} s of booting, {:.2} s letting in",
            waking.as_secs_f64(),
            took.as_secs_f64(),
            joining.as_secs_f64()
        )
    }
}
