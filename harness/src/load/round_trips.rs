//! Closed loops: round trips on open connections, connects, and pings of the server list.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::behaviour::Behaviour;
use super::door::{Door, Ticket};
use super::job::{Report, Said, Span};
use super::latency::{Latency, nanos};
use super::parent::{Parent, say};
use super::ping::Ping;

/// Room for the samples of one player, so that a run seldom has to make more.
const SAMPLES: usize = 16 * 1024;

/// What of a closed loop counts.
#[derive(Debug, Clone, Copy)]
enum Window {
    Time { begin: Instant, end: Instant },
    Count(u64),
}

/// Times of the units that count.
#[derive(Debug)]
struct Loop {
    window: Window,
    samples: Vec<u32>,
}

impl Loop {
    fn new(window: Window) -> Self {
        let samples = Vec::with_capacity(SAMPLES);
        Self { window, samples }
    }

    /// Notes a unit; whether there shall be another.
    fn note(&mut self, begin: Instant, end: Instant) -> bool {
        match self.window {
            Window::Time { begin: from, .. } if begin < from => true,
            Window::Time { end: until, .. } if end > until => false,
            window => {
                self.samples
                    .push(nanos(end.saturating_duration_since(begin)));
                !matches!(window, Window::Count(count) if !self.wants(count))
            }
        }
    }

    fn wants(&self, count: u64) -> bool {
        u64::try_from(self.samples.len()).is_ok_and(|done| done < count)
    }
}

/// See [`super::job::Job::RoundTrips`].
pub(super) async fn run(
    door: &Door,
    parent: &mut Parent,
    (players, bytes): (usize, usize),
    span: Span,
) -> Result<Report> {
    let streams = door.enter_all(Behaviour::Echo, players).await?;
    parent.ready(players).await?;
    let (window, mut working) = (window(span), JoinSet::new());
    for stream in streams {
        working.spawn(round_trips(stream, bytes, Loop::new(window)));
    }
    let (units, took, latency) = watch(window, working).await?;
    let moved = units * u64::try_from(bytes)?;
    Ok(Report {
        units,
        bytes: (moved, moved),
        took,
        latency: Some(latency),
        late: None,
    })
}

/// See [`super::job::Job::Connects`].
pub(super) async fn connects(
    door: &Door,
    parent: &mut Parent,
    at_once: usize,
    span: Span,
) -> Result<Report> {
    let ticket = door.ticket(Behaviour::Echo);
    parent.ready(0).await?;
    let (window, mut working) = (window(span), JoinSet::new());
    for _ in 0..at_once {
        working.spawn(enter_and_leave(ticket.clone(), Loop::new(window)));
    }
    let (units, took, latency) = watch(window, working).await?;
    Ok(Report {
        units,
        took,
        latency: Some(latency),
        ..Report::default()
    })
}

/// See [`super::job::Job::Pings`].
pub(super) async fn pings(
    door: &Door,
    parent: &mut Parent,
    at_once: usize,
    span: Span,
) -> Result<Report> {
    // Everybody is shown the same, so one answer tells how long it is.
    let ping = Arc::new(Ping::learn(door).await?);
    parent.ready(0).await?;
    let (window, mut working) = (window(span), JoinSet::new());
    for _ in 0..at_once {
        let (ping, mut all) = (Arc::clone(&ping), Loop::new(window));
        working.spawn(async move {
            loop {
                let begin = Instant::now();
                ping.send().await?;
                if !all.note(begin, Instant::now()) {
                    return Ok(all.samples);
                }
            }
        });
    }
    let (units, took, latency) = watch(window, working).await?;
    let down = units * u64::try_from(ping.status.len())?;
    Ok(Report {
        units,
        bytes: (0, down),
        took,
        latency: Some(latency),
        late: None,
    })
}

fn window(span: Span) -> Window {
    let now = Instant::now();
    match span {
        Span::Time(warm_up, time) => Window::Time {
            begin: now + warm_up,
            end: now + warm_up + time,
        },
        Span::Count(count) => Window::Count(count),
    }
}

/// Tells the parent when the window opens and closes, and gathers what came of it.
async fn watch(
    window: Window,
    mut working: JoinSet<Result<Vec<u32>>>,
) -> Result<(u64, Duration, Latency)> {
    let opened = match window {
        Window::Time { begin, .. } => begin,
        Window::Count(_) => Instant::now(),
    };
    let mut all = Vec::new();
    let mut opening = std::pin::pin!(tokio::time::sleep_until(opened.into()));
    let mut open = false;
    loop {
        tokio::select! {
            () = &mut opening, if !open => {
                say(&Said::Measuring)?;
                open = true;
            }
            done = working.join_next() => match done {
                Some(samples) => all.extend(samples??),
                None => break,
            }
        }
    }
    if !open {
        // So few that they were done before the clock said so.
        say(&Said::Measuring)?;
    }
    let took = match window {
        Window::Time { begin, end } => end - begin,
        Window::Count(_) => opened.elapsed(),
    };
    say(&Said::Measured)?;
    Ok((u64::try_from(all.len())?, took, Latency::of(&mut all)?))
}

/// Packets are numbered, so that one that comes back twice, late or spoilt is told.
async fn round_trips(mut stream: TcpStream, bytes: usize, mut all: Loop) -> Result<Vec<u32>> {
    let (mut packet, mut back) = (vec![0x5a; bytes], vec![0; bytes]);
    let mut begin = Instant::now();
    for number in 0_u64.. {
        if let Some(head) = packet.first_chunk_mut() {
            *head = number.to_be_bytes();
        }
        stream.write_all(&packet).await.context("send")?;
        stream.read_exact(&mut back).await.context("echo")?;
        ensure!(back == packet, "another echo than packet {number}");
        let end = Instant::now();
        if !all.note(begin, end) {
            break;
        }
        begin = end;
    }
    Ok(all.samples)
}

async fn enter_and_leave(ticket: Ticket, mut all: Loop) -> Result<Vec<u32>> {
    loop {
        let begin = Instant::now();
        let stream = ticket.enter().await?;
        let more = all.note(begin, Instant::now());
        drop(stream);
        if !more {
            return Ok(all.samples);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_in_the_window_counts() {
        let second = Duration::from_secs(1);
        let start = Instant::now();
        let at = |seconds: u32| start + second * seconds;
        let (begin, end) = (at(2), at(4));
        let mut all = Loop::new(Window::Time { begin, end });
        assert!(all.note(at(0), at(1)), "warm-up");
        assert!(all.note(at(1), at(3)), "begun too early");
        assert!(all.note(at(2), at(3)));
        assert!(all.note(at(3), at(4)));
        assert!(!all.note(at(4), at(5)), "too late");
        assert_eq!(all.samples, [1_000_000_000; 2]);
    }

    #[test]
    fn a_count_is_kept() {
        let now = Instant::now();
        let mut all = Loop::new(Window::Count(2));
        assert!(all.note(now, now));
        assert!(!all.note(now, now));
    }
}
