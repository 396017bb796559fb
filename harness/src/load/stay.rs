//! Players who stay until told to leave: idle ones, and those who join and download.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::behaviour::{Behaviour, Way};
use super::door::{Door, Ticket};
use super::job::{Report, Said};
use super::parent::{Parent, say};
use super::transfer::transfer;

/// What an idle player has sent before.
const PACKET: [u8; 64] = [0x5a; 64];

/// See [`super::job::Job::Hold`].
pub(super) async fn hold(door: &Door, parent: &mut Parent, players: usize) -> Result<Report> {
    let (mut streams, trouble) = door.enter_many(Behaviour::Echo, players).await;
    for stream in &mut streams {
        there_and_back(stream).await.context("one who was in")?;
    }
    let trouble = trouble.map(|error| format!("{error:#}"));
    say(&Said::Ready(streams.len(), trouble))?;
    let begin = Instant::now();
    parent.word("begin").await?;
    say(&Said::Measuring)?;
    parent.word("end").await?;
    for stream in &mut streams {
        there_and_back(stream).await.context("one who stayed")?;
    }
    say(&Said::Measured)?;
    Ok(Report {
        units: u64::try_from(streams.len())?,
        took: begin.elapsed(),
        ..Report::default()
    })
}

async fn there_and_back(stream: &mut TcpStream) -> Result<()> {
    let mut back = [0; PACKET.len()];
    stream.write_all(&PACKET).await?;
    stream.read_exact(&mut back).await?;
    ensure!(back == PACKET, "another echo");
    Ok(())
}

/// See [`super::job::Job::Downloads`].
pub(super) async fn downloads(
    door: &Door,
    parent: &mut Parent,
    at_once: usize,
    bytes: u64,
) -> Result<Report> {
    let ticket = door.ticket(Behaviour::Transfer(Way::Down, bytes));
    parent.ready(0).await?;
    let (done, mut working) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
    for _ in 0..at_once {
        working.spawn(download(ticket.clone(), bytes, Arc::clone(&done)));
    }
    say(&Said::Measuring)?;
    let begin = Instant::now();
    tokio::select! {
        word = parent.word("end") => word?,
        Some(ended) = working.join_next() => ended??,
    }
    let (took, units) = (begin.elapsed(), done.load(Relaxed));
    say(&Said::Measured)?;
    Ok(Report {
        units,
        bytes: (0, units * bytes),
        took,
        ..Report::default()
    })
}

async fn download(ticket: Ticket, bytes: u64, done: Arc<AtomicU64>) -> Result<()> {
    loop {
        let mut stream = ticket.enter().await?;
        transfer(&mut stream, Way::Down, bytes).await?;
        done.fetch_add(1, Relaxed);
    }
}
