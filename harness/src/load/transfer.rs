//! Bytes in bulk: the two halves both ends are made of, and the players' job.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, yield_now};

use super::behaviour::{Behaviour, GO, RECEIPT_BYTES, Way};
use super::door::Door;
use super::job::{Report, Said};
use super::parent::{Parent, say};

/// Bytes of one write.
const CHUNK_BYTES: usize = 64 * 1024;
/// Most bytes thrown away in one go.
const THROWN_AWAY_BYTES: usize = 256 * 1024;

/// Writes `bytes` bytes; others get their turn after every chunk.
pub(super) async fn send(mut to: impl AsyncWrite + Unpin, bytes: u64) -> Result<()> {
    let chunk = vec![0x5a; CHUNK_BYTES];
    let mut left = bytes;
    while left > 0 {
        let length = usize::try_from(left).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        let part = chunk.get(..length).unwrap_or_default();
        to.write_all(part).await.context("send")?;
        left -= u64::try_from(length)?;
        yield_now().await;
    }
    Ok(())
}

/// Takes `bytes` bytes, never more; how many came before the end, if it came first.
///
/// They are counted and thrown away in the kernel (`MSG_TRUNC`, tcp(7)): players sit at other
/// machines, and what their copies cost would hide what the relay costs.
pub(super) async fn receive(from: &TcpStream, bytes: u64) -> Result<u64> {
    let mut room = vec![0; THROWN_AWAY_BYTES];
    let mut received = 0;
    while received < bytes {
        let most =
            usize::try_from(bytes - received).map_or(room.len(), |left| left.min(room.len()));
        let part = room.get_mut(..most).unwrap_or_default();
        let length = from.async_io(Interest::READABLE, || {
            Ok(recv(from, &mut *part, RecvFlags::TRUNC)?.1)
        });
        let length = length.await.context("receive")?;
        if length == 0 {
            break;
        }
        received += u64::try_from(length)?;
        yield_now().await;
    }
    Ok(received)
}

/// Moves `bytes` each way that `way` says, and checks both ends' counts.
pub(super) async fn transfer(stream: &mut TcpStream, way: Way, bytes: u64) -> Result<()> {
    let (up, down) = way.split(bytes);
    let (mut read, mut write) = stream.split();
    write.write_u8(GO).await?;
    let (received, ()) = tokio::try_join!(receive(read.as_ref(), down), send(&mut write, up))?;
    ensure!(received == down, "{received} of {down} bytes came");
    let mut receipt = [0; RECEIPT_BYTES];
    read.read_exact(&mut receipt).await.context("receipt")?;
    let arrived = u64::from_be_bytes(receipt);
    ensure!(arrived == up, "{arrived} of {up} bytes arrived");
    Ok(())
}

/// See [`super::job::Job::Transfer`].
pub(super) async fn run(
    door: &Door,
    parent: &mut Parent,
    players: usize,
    way: Way,
    bytes: u64,
) -> Result<Report> {
    let streams = door
        .enter_all(Behaviour::Transfer(way, bytes), players)
        .await?;
    parent.ready(players).await?;
    say(&Said::Measuring)?;
    let begin = Instant::now();
    let mut moving = JoinSet::new();
    for mut stream in streams {
        moving.spawn(async move { transfer(&mut stream, way, bytes).await });
    }
    while let Some(moved) = moving.join_next().await {
        moved??;
    }
    let took = begin.elapsed();
    say(&Said::Measured)?;
    let (up, down) = way.split(bytes);
    let players = u64::try_from(players)?;
    Ok(Report {
        units: players,
        bytes: (up * players, down * players),
        took,
        ..Report::default()
    })
}
