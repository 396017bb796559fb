//! Bytes in bulk: the two halves both ends are made of, and the players' job.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, yield_now};

use super::behaviour::{Behaviour, GO, RECEIPT_BYTES, Way};
use super::door::Door;
use super::job::{Report, Said};
use super::parent::{Parent, say};

/// Bytes of one read or write.
const CHUNK_BYTES: usize = 64 * 1024;

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

/// Reads `bytes` bytes, never more; how many came before the end, if it came first.
pub(super) async fn receive(mut from: impl AsyncRead + Unpin, bytes: u64) -> Result<u64> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut received = 0;
    while received < bytes {
        let room =
            usize::try_from(bytes - received).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        let part = chunk.get_mut(..room).unwrap_or_default();
        let length = from.read(part).await.context("receive")?;
        if length == 0 {
            break;
        }
        received += u64::try_from(length)?;
    }
    Ok(received)
}

/// Moves `bytes` each way that `way` says, and checks both ends' counts.
pub(super) async fn transfer(stream: &mut TcpStream, way: Way, bytes: u64) -> Result<()> {
    let (up, down) = way.split(bytes);
    let (mut read, mut write) = stream.split();
    write.write_u8(GO).await?;
    let (received, ()) = tokio::try_join!(receive(&mut read, down), send(&mut write, up))?;
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
