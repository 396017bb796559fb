//! `harness bench wake`: how long players wait for no reason once their server is ready, alone and
//! as a crowd, and what they cost while they wait.

mod crowd;
mod held;
mod signs;
mod stage;

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use automc_router::files::raise_limit;
use serde_json::{Value, json};

use super::stats::{Summary, millis};
use super::{plot, say};
use crowd::Crowd;
use signs::{SIGNS, Samples};

/// From ready to the player at the server, by the table or by a probe: the 99th percentile.
const SIGN_GOAL: Duration = Duration::from_millis(50);
/// From ready to the last of a crowd in.
const CROWD_GOAL: Duration = Duration::from_secs(1);
/// Memory of one held player.
const HELD_GOAL_BYTES: f64 = 4096.0;

/// What is measured with what.
#[derive(Debug, Clone)]
pub struct Options {
    /// The router's binary.
    pub router: PathBuf,
    /// Folder for `wake.json` and `wake.svg`.
    pub out: PathBuf,
    /// How many times each sign, and the crowd, are measured.
    pub rounds: usize,
    /// Servers that wake by one sign in one round.
    pub wakes: usize,
    /// Players of the crowd.
    pub players: usize,
    /// Servers that wake at once.
    pub servers: usize,
    /// Players who are held while memory is looked at.
    pub held: usize,
}

/// Measures, prints and writes it all.
///
/// # Errors
/// Something does not start, somebody is not let in, a crowd has its server started more than
/// once, or `out` cannot be written.
pub async fn run(options: &Options) -> Result<()> {
    std::fs::create_dir_all(&options.out)
        .with_context(|| format!("create {}", options.out.display()))?;
    raise_limit();
    let samples = Box::pin(signs::measure(options)).await?;
    let mut crowds = Vec::new();
    for round in 1..=options.rounds {
        let crowd = Box::pin(crowd::one_server(options)).await?;
        say(&format!("round {round}: crowd    {crowd}"));
        crowds.push(crowd);
    }
    let many = Box::pin(crowd::many_servers(options)).await?;
    let bytes = Box::pin(held::measure(options)).await?;

    say("");
    let signs = told_signs(&samples)?;
    let crowd = told_crowd(&crowds)?;
    let what = format!("{} servers at once", options.servers);
    told(&what, &many, None);
    let held = format!("{bytes:.0} B each, {} players", options.held);
    told(
        "memory of a held player",
        &held,
        Some(bytes <= HELD_GOAL_BYTES),
    );
    let figures = json!({
        "ready_to_login_start": signs,
        "crowd": crowd,
        "many_servers": many.json(),
        "held": { "players": options.held, "bytes_each": bytes },
    });
    let sets = SIGNS.map(|sign| (sign.name(), samples.of(sign)));
    plot::distributions(
        &options.out.join("wake.svg"),
        "From ready to the player at the server",
        &sets,
    )?;
    let file = options.out.join("wake.json");
    std::fs::write(&file, format!("{figures:#}\n"))
        .with_context(|| format!("write {}", file.display()))?;
    say(&format!("\nwritten to {}", options.out.display()));
    Ok(())
}

fn told(what: &str, figure: &dyn Display, met: Option<bool>) {
    let verdict = match met {
        Some(true) => "  met",
        Some(false) => "  MISSED",
        None => "",
    };
    say(&format!("{what:26} {figure}{verdict}"));
}

fn told_signs(samples: &Samples) -> Result<Value> {
    let mut figures = serde_json::Map::new();
    for sign in SIGNS {
        let summary = Summary::of(samples.of(sign))?;
        let what = format!("ready, told by {}", sign.name());
        let met = sign.is_quick().then(|| summary.p99() <= SIGN_GOAL);
        told(&what, &summary, met);
        figures.insert(sign.name().to_owned(), summary.json());
    }
    Ok(figures.into())
}

/// All rounds, and the median of them.
fn told_crowd(crowds: &[Crowd]) -> Result<Value> {
    let mut sorted = crowds.to_vec();
    sorted.sort_by_key(|crowd| crowd.last);
    let median = sorted.get(sorted.len() / 2).context("no rounds")?;
    let what = format!("{} players, one server", median.players);
    told(&what, median, Some(median.last <= CROWD_GOAL));
    let lasts: Vec<_> = crowds.iter().map(|crowd| millis(crowd.last)).collect();
    Ok(json!({
        "players": median.players,
        "starts": median.starts,
        "last_in_ms": millis(median.last),
        "rounds_ms": lasts,
    }))
}
