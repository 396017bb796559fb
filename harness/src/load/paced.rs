//! Players who send at an even pace, whether their packets come back or not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::{JoinSet, spawn_blocking};

use super::behaviour::Behaviour;
use super::door::Door;
use super::job::{Report, Said};
use super::latency::{Latency, nanos};
use super::parent::{Parent, say};

/// From the order to begin to the first packet that is due.
const LEAD_IN: Duration = Duration::from_millis(20);
/// Bytes of a packet that hold when it was sent.
const STAMP_BYTES: usize = 8;

/// Who sends what when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) players: usize,
    pub(super) per_second: u32,
    pub(super) bytes: usize,
    pub(super) warm_up: u32,
    pub(super) packets: u32,
}

impl Pace {
    fn period(&self) -> Duration {
        Duration::from_secs(1) / self.per_second.max(1)
    }

    /// When each player's turn comes within a period, and whose turn it is, in order.
    ///
    /// At random as among real players, but the same in every run.
    fn turns(&self) -> Vec<(Duration, usize)> {
        let mut state = 1_u32;
        let mut turns: Vec<_> = (0..self.players)
            .map(|player| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (
                    self.period().mul_f64(f64::from(state) / 2_f64.powi(32)),
                    player,
                )
            })
            .collect();
        turns.sort_unstable();
        turns
    }

    /// When the first packet that counts is due, after the first of all.
    fn opening(&self) -> Duration {
        self.period() * self.warm_up
    }
}

/// See [`super::job::Job::Paced`].
pub(super) async fn run(door: &Door, parent: &mut Parent, pace: Pace) -> Result<Report> {
    ensure!(pace.bytes >= STAMP_BYTES, "packets of {} bytes", pace.bytes);
    let mut streams = Vec::with_capacity(pace.players);
    for stream in door.enter_all(Behaviour::Echo, pace.players).await? {
        // The runtime learns here that it can be written to, from any thread.
        stream.ready(Interest::WRITABLE).await?;
        streams.push(Arc::new(stream));
    }
    parent.ready(pace.players).await?;
    let origin = Instant::now() + LEAD_IN;
    let mut reading = JoinSet::new();
    for stream in &streams {
        reading.spawn(read(Arc::clone(stream), pace, origin));
    }
    let sending = spawn_blocking(move || send(&streams, pace, origin));
    tokio::time::sleep_until((origin + pace.opening()).into()).await;
    say(&Said::Measuring)?;
    let mut late = sending.await??;
    let mut all = Vec::with_capacity(late.len());
    while let Some(samples) = reading.join_next().await {
        all.extend(samples??);
    }
    say(&Said::Measured)?;
    let units = u64::try_from(all.len())?;
    let moved = units * u64::try_from(pace.bytes)?;
    Ok(Report {
        units,
        bytes: (moved, moved),
        took: origin.elapsed().saturating_sub(pace.opening()),
        latency: Some(Latency::of(&mut all)?),
        late: Some(Latency::of(&mut late)?),
    })
}

/// Sends everybody's packets from a thread of its own: the runtime's timers know no less than a
/// millisecond, and would send what is due within one at once. How late each was that counts.
fn send(streams: &[Arc<TcpStream>], pace: Pace, origin: Instant) -> Result<Vec<u32>> {
    let turns = pace.turns();
    let mut packet = vec![0x5a; pace.bytes];
    let mut late = Vec::new();
    for number in 0..pace.warm_up + pace.packets {
        for (phase, player) in &turns {
            let due = origin + pace.period() * number + *phase;
            wait(due);
            let now = Instant::now();
            let stamp = now.saturating_duration_since(origin).as_nanos();
            if let Some(head) = packet.first_chunk_mut() {
                *head = u64::try_from(stamp)?.to_be_bytes();
            }
            let stream = streams.get(*player).context("no such player")?;
            let sent = stream.try_write(&packet).context("send")?;
            ensure!(sent == packet.len(), "the socket is full");
            if number >= pace.warm_up {
                late.push(nanos(now.saturating_duration_since(due)));
            }
        }
    }
    Ok(late)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a thread of its own, and its sleep is more precise than the runtime's"
)]
fn wait(due: Instant) {
    let left = due.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        std::thread::sleep(left);
    }
}

/// Reads one player's packets back; the times of those that count.
async fn read(stream: Arc<TcpStream>, pace: Pace, origin: Instant) -> Result<Vec<u32>> {
    let mut samples = Vec::with_capacity(usize::try_from(pace.packets)?);
    let (mut buffer, mut filled) = (vec![0; pace.bytes], 0);
    for number in 0..pace.warm_up + pace.packets {
        while filled < pace.bytes {
            stream.readable().await?;
            let room = buffer.get_mut(filled..).unwrap_or_default();
            match stream.try_read(room) {
                Ok(0) => anyhow::bail!("the connection ended at packet {number}"),
                Ok(length) => filled += length,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("echo"),
            }
        }
        filled = 0;
        let now = Instant::now().saturating_duration_since(origin);
        let stamp = buffer.first_chunk().copied().unwrap_or_default();
        let sent = Duration::from_nanos(u64::from_be_bytes(stamp));
        if number >= pace.warm_up {
            samples.push(nanos(now.saturating_sub(sent)));
        }
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_one_turn_a_period_and_always_the_same() {
        let pace = Pace {
            players: 500,
            per_second: 10,
            bytes: 64,
            warm_up: 10,
            packets: 50,
        };
        let turns = pace.turns();
        assert_eq!(turns, pace.turns());
        assert!(turns.is_sorted());
        assert!(turns.iter().all(|(phase, _)| *phase < pace.period()));
        let mut players: Vec<_> = turns.iter().map(|(_, player)| *player).collect();
        players.sort_unstable();
        assert_eq!(players, (0..500).collect::<Vec<_>>());
        // All over the period: not one tenth of it is empty.
        for tenth in 0..10 {
            let from = pace.period() / 10 * tenth;
            let within = |phase: &Duration| (from..from + pace.period() / 10).contains(phase);
            assert!(turns.iter().any(|(phase, _)| within(phase)), "{tenth}");
        }
        assert_eq!(pace.opening(), Duration::from_secs(1));
    }
}
