//! From the moment a server is ready to its player at the server, by each of the signs alone.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::time::{sleep_until, timeout};
use tokio_postgres::types::ToSql;

use super::Options;
use super::stage::{DEADLINE, Joining, Stage};
use crate::backend::{Asleep, Backend};
use crate::bench::say;
use crate::bench::stats::Summary;

/// From the moment everybody waits until the first server of a round is ready.
const BOOT: Duration = Duration::from_secs(1);
/// From one server to the next: with twenty, ready falls anywhere between two polls of the
/// slowest pace.
const EVERY: Duration = Duration::from_millis(200);

/// What tells the router that a server is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// The row becomes `running`, with an address that is new.
    Table,
    /// The row's address begins to answer; nobody says anything.
    Probe,
    /// The server-manager says so when it is asked next, with an address that is new.
    Poll,
}

pub(super) const SIGNS: [Sign; 3] = [Sign::Table, Sign::Probe, Sign::Poll];

impl Sign {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Probe => "probe",
            Self::Poll => "poll",
        }
    }

    /// Whether the router hears of it without asking now and then.
    pub(super) fn is_quick(self) -> bool {
        self == Self::Table
    }
}

/// Times by sign.
#[derive(Debug, Default)]
pub(super) struct Samples([Vec<Duration>; SIGNS.len()]);

impl Samples {
    pub(super) fn of(&self, sign: Sign) -> &[Duration] {
        let mut sets = SIGNS.iter().zip(&self.0);
        let found = sets.find(|(of, _)| **of == sign);
        found
            .map(|(_, samples)| samples.as_slice())
            .unwrap_or_default()
    }
}

/// Measures in turns, all with one router.
pub(super) async fn measure(options: &Options) -> Result<Samples> {
    let stage = Stage::start(&options.router).await?;
    let mut samples = Samples::default();
    for round in 1..=options.rounds {
        for (sign, all) in SIGNS.into_iter().zip(&mut samples.0) {
            let name = |wake| format!("{}-{round}-{wake}", sign.name());
            let names = (0..options.wakes).map(name).collect();
            let some = Box::pin(wake(&stage, sign, names)).await?;
            let summary = Summary::of(&some)?;
            say(&format!("round {round}: {:8} {summary}", sign.name()));
            all.extend(some);
        }
    }
    Ok(samples)
}

/// A server that sleeps, and where it will be.
struct Sleeper {
    name: String,
    place: Place,
}

enum Place {
    /// At the row's address.
    Row(Asleep),
    /// Elsewhere; nobody ever is at the row's address.
    Elsewhere(Asleep, Backend),
}

/// Wakes `names`, one player each, and has them become ready one after the other.
async fn wake(stage: &Stage, sign: Sign, names: Vec<String>) -> Result<Vec<Duration>> {
    let (mut sleepers, mut joining) = (Vec::new(), Joining::new());
    for name in names {
        let (asleep, player) = stage.table.asleep(&name).await?;
        let place = match sign {
            Sign::Probe => Place::Row(asleep),
            Sign::Table | Sign::Poll => Place::Elsewhere(asleep, Backend::start(&name).await?),
        };
        sleepers.push(Sleeper { name, place });
        stage.join(player, &mut joining);
    }
    stage.until_waiting(1).await?;
    let mut due = Instant::now() + BOOT;
    let mut woken = Vec::new();
    for sleeper in sleepers {
        sleep_until(due.into()).await;
        due += EVERY;
        woken.push(sleeper.ready(stage, sign).await?);
    }
    let sessions = timeout(DEADLINE, joining.join_all()).await?;
    sessions.into_iter().collect::<Result<Vec<_>>>()?;
    let samples = woken.iter().map(Woken::sample).collect();
    stage.clear().await?;
    samples
}

/// A server that is ready since an instant.
struct Woken {
    since: Instant,
    backend: Backend,
    _nobody: Option<Asleep>,
}

impl Sleeper {
    /// Makes it ready and has the sign given. The commit of a row counts as part of the wait.
    async fn ready(self, stage: &Stage, sign: Sign) -> Result<Woken> {
        let Self { name, place } = self;
        let since = Instant::now();
        let (backend, nobody) = match place {
            Place::Row(asleep) => (asleep.wake(&name)?, None),
            Place::Elsewhere(nobody, backend) => (backend, Some(nobody)),
        };
        let address = backend.addr();
        match sign {
            Sign::Probe => {}
            Sign::Poll => stage.manager.runs(&name, address),
            Sign::Table => {
                let update = "UPDATE servers SET state = 'running', address = $2 WHERE name = $1";
                let row: [&(dyn ToSql + Sync); 2] = [&name, &address.to_string()];
                let rows = stage.table.sql.execute(update, &row).await?;
                ensure!(rows == 1, "no row of {name}");
            }
        }
        Ok(Woken {
            since,
            backend,
            _nobody: nobody,
        })
    }
}

impl Woken {
    fn sample(&self) -> Result<Duration> {
        let logins = self.backend.logins();
        let login = logins.first().context("nobody logged in")?;
        Ok(login.at.saturating_duration_since(self.since))
    }
}
