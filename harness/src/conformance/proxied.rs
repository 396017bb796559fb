//! The PROXY protocol, as it comes in and as servers get it.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use automc_router::proxy_protocol::{Progress, read};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::Report;
use super::subject::Subject;
use crate::backend::{Backend, Conduct, Record};
use crate::player::{Player, legacy_ping, ping_1_6};
use crate::receiver::Receiver;

const V1: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.1 4711 25565\r\n";
/// 203.0.113.7:4711 to 198.51.100.1:25565.
const ENDS: &[u8] = &[203, 0, 113, 7, 198, 51, 100, 1, 0x12, 0x67, 0x63, 0xDD];
const SOURCE: &str = "203.0.113.7:4711";
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 2: command, family, and what follows.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap_or(u16::MAX).to_be_bytes();
    [V2_SIGNATURE, &[command, family], &length, rest].concat()
}

/// Whose connection it is by the header of version 2 that the server got.
fn source(record: &Record) -> Result<SocketAddr> {
    ensure!(record.header.starts_with(V2_SIGNATURE), "no version 2");
    match read(&record.header)? {
        Progress::Complete(Some(ends), _) => Ok(ends.source),
        other => anyhow::bail!("{other:?}"),
    }
}

/// Logs in behind `header`: whose connection the server was told it is, and the client's own address.
async fn told(
    subject: &Subject,
    backend: &Backend,
    header: &[u8],
) -> Result<(SocketAddr, SocketAddr)> {
    let player = Player::new("a.example");
    let before = backend.logins().len();
    let mut stream = TcpStream::connect(subject.players).await?;
    let own = stream.local_addr()?;
    let sent = [header, &player.login_bytes()].concat();
    stream.write_all(&sent).await?;
    let _session = player.on(stream).enter().await?;
    let logins = backend.logins();
    let login = logins.get(before).context("no login came")?;
    ensure!(login.bytes == player.login_bytes(), "other bytes came");
    Ok((source(login)?, own))
}

pub(super) async fn rows(program: &Path, report: &mut Report) -> Result<()> {
    let proxied = Conduct {
        proxied: true,
        ..Conduct::default()
    };
    let backend = Backend::start_as("server a", proxied).await?;
    sent(program, report, &backend).await;
    received(program, report, &backend).await;
    Ok(())
}

async fn sent(program: &Path, report: &mut Report, backend: &Backend) {
    let default = format!("-default={}", backend.addr());
    let flags = [&*default, "-use-proxy-protocol"];
    let started = Subject::start(program, &flags, &[]).await;
    let Some(subject) = report.started("it starts with -use-proxy-protocol", started) else {
        return;
    };
    report
        .same(
            "servers are told by a header of version 2 whose login it is",
            async {
                let (told, own) = told(&subject, backend, b"").await?;
                ensure!(told == own, "{told} instead of {own}");
                Ok(())
            },
        )
        .await;
    report
        .same("so are pings of every age", async {
            subject.shows("a.example", backend).await?;
            let ping = ping_1_6("a.example");
            let answer = legacy_ping(subject.players, [&ping[..]]).await?;
            ensure!(answer.contains(&backend.name().to_owned()), "{answer:?}");
            let records = backend.records();
            let pings = records.iter().filter(|record| !record.login);
            let sources: Vec<_> = pings.map(source).collect::<Result<_>>()?;
            let all = sources.iter().all(|source| source.ip().is_loopback());
            ensure!(sources.len() == 2 && all, "{sources:?}");
            Ok(())
        })
        .await;
}

async fn received(program: &Path, report: &mut Report, backend: &Backend) {
    let default = format!("-default={}", backend.addr());
    let both = [&*default, "-use-proxy-protocol", "-receive-proxy-protocol"];
    report
        .same("headers of both versions tell whose login it is", async {
            let subject = Subject::start(program, &both, &[]).await?;
            let tlvs = [ENDS, &[4, 0, 2, 7, 7]].concat();
            for header in [V1, &v2(0x21, 0x11, ENDS), &v2(0x21, 0x11, &tlvs)] {
                let (told, _) = told(&subject, backend, header).await?;
                ensure!(told.to_string() == SOURCE, "{header:x?}: {told}");
            }
            Ok(())
        })
        .await;
    report
        .same("a header may be missing", async {
            let subject = Subject::start(program, &both, &[]).await?;
            let (told, own) = told(&subject, backend, b"").await?;
            ensure!(told == own, "{told} instead of {own}");
            Ok(())
        })
        .await;
    report
        .same(
            "only trusted proxies are believed, and others' headers are taken away",
            async {
                for (trusted, believed) in [("192.0.2.0/24", false), ("127.0.0.0/8", true)] {
                    let trusted = format!("-trusted-proxies={trusted}");
                    let flags = [&both[..], &[&trusted]].concat();
                    let subject = Subject::start(program, &flags, &[]).await?;
                    let (told, own) = told(&subject, backend, V1).await?;
                    let right = if believed { SOURCE.parse()? } else { own };
                    ensure!(told == right, "{trusted}: {told} instead of {right}");
                }
                Ok(())
            },
        )
        .await;
    report
        .better(
            "a header that is about no TCP client ends nothing, whoever is to be told of events",
            async {
                let hook = Receiver::start().await?;
                let webhook = format!("-webhook-url={}", hook.url());
                let flags = [&both[..], &[&webhook]].concat();
                let mut subject = Subject::start(program, &flags, &[]).await?;
                for header in [
                    v2(0x21, 0x12, ENDS),
                    v2(0x21, 0x31, &[b'/'; 216]),
                    v2(0x21, 0x00, &[]),
                    v2(0x20, 0x11, ENDS),
                    b"PROXY UNKNOWN\r\n".to_vec(),
                ] {
                    let (told, own) = told(&subject, backend, &header).await?;
                    ensure!(told == own, "{header:x?}: {told} instead of {own}");
                }
                ensure!(subject.process.is_running()?, "it has ended");
                Ok(())
            },
        )
        .await;
}
