//! Visits: players who come, talk, go and come again, and the server they talk with. Each end knows
//! every byte the other has to say, and checks that just these come, in order, and no more.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::behaviour::Behaviour;
use super::door::Door;
use super::job::{Report, Said};
use super::parent::{Parent, say};
use super::sequence::{Sequence, number};
use super::visit::{Side, Step, Visit};
use crate::fnv::Hash;

/// Longest wait for the next byte, or for one to be taken.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Most bytes of one read or write.
const CHUNK_BYTES: usize = 64 * 1024;
/// Failures the server remembers: whatever comes later most likely follows from them.
const FAILURES_MAX: usize = 3;

/// How long players wait before a packet, from nothing to twice this.
#[derive(Debug, Clone)]
struct Pace {
    pause: Duration,
    /// Everybody shall come to an end: no more pauses, no more visits.
    hurry: CancellationToken,
}

impl Pace {
    /// Waits; for how long is as random as `dice`.
    async fn wait(&self, dice: u64) {
        let share = u32::try_from(dice >> 32).unwrap_or(u32::MAX);
        let pause = self.pause.mul_f64(f64::from(share) / 2_f64.powi(31));
        self.hurry.run_until_cancelled(sleep(pause)).await;
    }
}

/// One end of a visit.
struct End<'a> {
    side: Side,
    read: ReadHalf<'a>,
    write: WriteHalf<'a>,
    says: Sequence,
    hears: Ear,
}

/// What an end hears.
struct Ear {
    expected: Sequence,
    due: Hash,
    came: Hash,
}

/// Has one end of `stream` play its part of `visit`, at a pace if it has one; bytes said and heard.
async fn talk(
    stream: &mut TcpStream,
    visit: Visit,
    side: Side,
    pace: Option<&Pace>,
) -> Result<(u64, u64)> {
    let other = match side {
        Side::Player => Side::Server,
        Side::Server => Side::Player,
    };
    let script = visit.script();
    let (read, write) = stream.split();
    let mut end = End {
        side,
        read,
        write,
        says: Sequence::new(visit.seed(side)),
        hears: Ear {
            expected: Sequence::new(visit.seed(other)),
            due: Hash::default(),
            came: Hash::default(),
        },
    };
    for (place, step) in (0_u64..).zip(script.steps) {
        if let Some(pace) = pace {
            pace.wait(number(visit.seed(side), place)).await;
        }
        end.step(step).await?;
    }
    if script.leaves == side {
        end.leave().await?;
        end.hears.hear(&mut end.read, script.tail).await?;
        end.hears.end(&mut end.read).await?;
    } else {
        end.hears.end(&mut end.read).await?;
        speak(&mut end.write, &mut end.says, script.tail).await?;
        end.leave().await?;
    }
    Ok((end.says.offset(), end.hears.expected.offset()))
}

impl End<'_> {
    async fn step(&mut self, step: Step) -> Result<()> {
        let (read, write) = (&mut self.read, &mut self.write);
        let (says, hears) = (&mut self.says, &mut self.hears);
        match (step, self.side) {
            (Step::Packet(up, down), Side::Player) => {
                speak(write, says, up).await?;
                hears.hear(read, down).await
            }
            (Step::Packet(up, down), Side::Server) => {
                hears.hear(read, up).await?;
                speak(write, says, down).await
            }
            (Step::Burst(up, down), side) => {
                let (mine, theirs) = match side {
                    Side::Player => (up, down),
                    Side::Server => (down, up),
                };
                let both =
                    async { tokio::try_join!(speak(write, says, mine), hears.hear(read, theirs)) };
                both.await.map(drop)
            }
        }
    }

    async fn leave(&mut self) -> Result<()> {
        self.write.shutdown().await.context("close its half")
    }
}

/// Says the next `bytes` bytes.
async fn speak(write: &mut WriteHalf<'_>, says: &mut Sequence, bytes: u64) -> Result<()> {
    let (mut left, mut chunk) = (bytes, chunk(bytes));
    while left > 0 {
        let part = part(&mut chunk, left);
        let from = says.offset();
        says.take(part);
        timeout(SILENCE_MAX, write.write_all(part))
            .await
            .with_context(|| format!("nobody took the bytes from {from} within {SILENCE_MAX:?}"))?
            .with_context(|| format!("say the bytes from {from}"))?;
        left -= u64::try_from(part.len())?;
    }
    Ok(())
}

impl Ear {
    /// Hears just the next `bytes` bytes.
    async fn hear(&mut self, read: &mut ReadHalf<'_>, bytes: u64) -> Result<()> {
        let from = self.expected.offset();
        let range = format!("bytes {from}..{}", from + bytes);
        let (mut left, mut chunk, mut expected) = (bytes, chunk(bytes), chunk(bytes));
        while left > 0 {
            let came = timeout(SILENCE_MAX, read.read(part(&mut chunk, left))).await;
            let came = came
                .with_context(|| format!("{left} of {range} did not come within {SILENCE_MAX:?}"))?
                .with_context(|| format!("{left} of {range} did not come"))?;
            ensure!(came > 0, "the end came before {left} of {range}");
            left -= u64::try_from(came)?;
            self.came.update(chunk.get(..came).unwrap_or_default());
            let expected = expected.get_mut(..came).unwrap_or_default();
            self.expected.take(expected);
            self.due.update(expected);
        }
        ensure!(self.came == self.due, "{range} are not what was said");
        Ok(())
    }

    /// Hears that there is no more.
    async fn end(&self, read: &mut ReadHalf<'_>) -> Result<()> {
        let offset = self.expected.offset();
        let mut surplus = [0; 1];
        let came = timeout(SILENCE_MAX, read.read(&mut surplus)).await;
        let came = came
            .with_context(|| format!("no end after byte {offset} within {SILENCE_MAX:?}"))?
            .with_context(|| format!("no end after byte {offset}"))?;
        ensure!(came == 0, "bytes after the last, from {offset} on");
        Ok(())
    }
}

/// Room for `bytes` bytes, or as many of them as are moved in one go.
fn chunk(bytes: u64) -> Vec<u8> {
    vec![0; usize::try_from(bytes).map_or(CHUNK_BYTES, |bytes| bytes.min(CHUNK_BYTES))]
}

/// As much of a chunk as `left` bytes need.
fn part(chunk: &mut [u8], left: u64) -> &mut [u8] {
    let length = usize::try_from(left).map_or(chunk.len(), |left| left.min(chunk.len()));
    chunk.get_mut(..length).unwrap_or_default()
}

/// See [`super::job::Job::Visits`].
pub(super) async fn run(
    door: &Door,
    parent: &mut Parent,
    players: u32,
    pause: Duration,
    visits: Option<u32>,
) -> Result<Report> {
    parent.ready(0).await?;
    let hurry = CancellationToken::new();
    let mut talking = JoinSet::new();
    for player in 0..players {
        let hurry = hurry.clone();
        talking.spawn(come_and_go(
            door.clone(),
            player,
            Pace { pause, hurry },
            visits.unwrap_or(u32::MAX),
        ));
    }
    say(&Said::Measuring)?;
    let (begin, mut report) = (Instant::now(), Report::default());
    loop {
        tokio::select! {
            word = parent.word("end"), if !hurry.is_cancelled() => {
                word?;
                hurry.cancel();
            }
            ended = talking.join_next() => match ended {
                Some(ended) => add(&mut report, &ended??),
                None => break,
            },
        }
    }
    say(&Said::Measured)?;
    report.took = begin.elapsed();
    Ok(report)
}

async fn come_and_go(door: Door, player: u32, pace: Pace, visits: u32) -> Result<Report> {
    let mut report = Report::default();
    for number in 0..visits {
        let visit = Visit { player, number };
        pace.wait(visit.seed(Side::Player)).await;
        if pace.hurry.is_cancelled() {
            break;
        }
        let ticket = door.ticket(Behaviour::Visit(visit));
        let outcome = async {
            let mut stream = ticket.enter().await?;
            talk(&mut stream, visit, Side::Player, Some(&pace)).await
        };
        let outcome = outcome.await;
        let (up, down) = outcome.with_context(|| seen(visit, Side::Player))?;
        let bytes = (up, down);
        let one = Report {
            units: 1,
            bytes,
            ..Report::default()
        };
        add(&mut report, &one);
    }
    Ok(report)
}

fn add(all: &mut Report, one: &Report) {
    all.units += one.units;
    all.bytes.0 += one.bytes.0;
    all.bytes.1 += one.bytes.1;
}

fn seen(visit: Visit, side: Side) -> String {
    let (player, number) = (visit.player, visit.number);
    let by = match side {
        Side::Player => "from the server",
        Side::Server => "from the player",
    };
    format!("player {player}, visit {number}, {by}")
}

/// The server's side of all visits.
#[derive(Debug, Clone, Default)]
pub(super) struct Visits {
    going_on: TaskTracker,
    tally: Arc<Mutex<(Report, Vec<String>)>>,
}

impl Visits {
    /// Talks with a player who has been welcomed.
    pub(super) async fn host(&self, mut stream: TcpStream, visit: Visit) {
        let _going_on = self.going_on.token();
        let talked = talk(&mut stream, visit, Side::Server, None).await;
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        let (report, failures) = &mut *tally;
        match talked.with_context(|| seen(visit, Side::Server)) {
            Ok((down, up)) => {
                let bytes = (up, down);
                let one = Report {
                    units: 1,
                    bytes,
                    ..Report::default()
                };
                add(report, &one);
            }
            Err(error) if failures.len() < FAILURES_MAX => failures.push(format!("{error:#}")),
            Err(_) => {}
        }
    }

    /// What came of them, once all have ended.
    pub(super) async fn outcome(&self) -> Said {
        self.going_on.close();
        let ended = timeout(SILENCE_MAX, self.going_on.wait()).await;
        let (report, mut failures) = {
            let tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.clone()
        };
        if ended.is_err() {
            failures.push(format!("{} visits do not end", self.going_on.len()));
        }
        if failures.is_empty() {
            Said::Report(report)
        } else {
            Said::Failed(failures.join("; "))
        }
    }
}
