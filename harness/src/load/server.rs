//! The server behind the relay: lets everybody in and does what the player's name says.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, bail, ensure};
use automc_router::files::raise_limit;
use automc_router::protocol::greeting::{GREETING_BYTES_MAX, Greeting, Progress, parse};
use automc_router::socket::listen;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::yield_now;

use super::behaviour::{Behaviour, GO, RECEIPT_BYTES};
use super::job::Said;
use super::parent::{Parent, say};
use super::talk::Visits;
use super::transfer::{receive, send};

/// Buffer of one echo, and room for a greeting.
const ECHO_BYTES: usize = 4 * 1024;

/// Serves until the parent ends.
pub(super) async fn run() -> Result<()> {
    let mut parent = Parent::listen();
    raise_limit();
    let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    say(&Said::Listening(listener.local_addr()?))?;
    let visits = Visits::default();
    let serving = async {
        loop {
            match listener.accept().await {
                // What goes wrong here is seen by the player, who reports it.
                Ok((stream, _)) => {
                    let visits = visits.clone();
                    drop(tokio::spawn(
                        async move { drop(serve(stream, &visits).await) },
                    ));
                }
                // Out of files, most likely: somebody has to leave first.
                Err(_) => yield_now().await,
            }
        }
    };
    tokio::select! {
        () = serving => Ok(()),
        word = parent.word("end") => {
            word?;
            say(&visits.outcome().await)
        }
    }
}

async fn serve(mut stream: TcpStream, visits: &Visits) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(ECHO_BYTES);
    let behaviour = greeted(&mut stream, &mut buffer).await?;
    stream.write_all(&behaviour.welcome()).await?;
    let (way, bytes) = match behaviour {
        Behaviour::Echo => {
            buffer.resize(ECHO_BYTES, 0);
            return echo(stream, &mut buffer).await;
        }
        Behaviour::Visit(visit) => {
            drop(buffer);
            visits.host(stream, visit).await;
            return Ok(());
        }
        Behaviour::Transfer(way, bytes) => (way, bytes),
    };
    drop(buffer);
    ensure!(stream.read_u8().await? == GO, "no go");
    let (up, down) = way.split(bytes);
    let (read, mut write) = stream.split();
    let (received, ()) = tokio::try_join!(receive(read.as_ref(), up), send(&mut write, down))?;
    let receipt: [u8; RECEIPT_BYTES] = received.to_be_bytes();
    write.write_all(&receipt).await?;
    Ok(write.shutdown().await?)
}

/// Reads the greeting, and nothing after it: players wait for the welcome.
async fn greeted(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<Behaviour> {
    while buffer.len() < GREETING_BYTES_MAX {
        ensure!(stream.read_buf(buffer).await? > 0, "left while greeting");
        if let Progress::Complete(Greeting::Login { player, .. }) = parse(buffer)? {
            return Behaviour::of(&player).context("player");
        }
    }
    bail!("no login")
}

async fn echo(mut stream: TcpStream, buffer: &mut [u8]) -> Result<()> {
    loop {
        let length = stream.read(buffer).await?;
        if length == 0 {
            return Ok(stream.shutdown().await?);
        }
        let bytes = buffer.get(..length).unwrap_or_default();
        stream.write_all(bytes).await?;
    }
}
