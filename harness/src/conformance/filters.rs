//! Which addresses clients may come from.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Report;
use super::process::refused;
use super::subject::Subject;
use crate::backend::Backend;
use crate::player::{Joined, Player};

/// Whom a router with some flags lets in of those who come over loopback.
async fn lets_in(program: &Path, flags: &[&str], backend: &Backend) -> Result<bool> {
    let default = format!("-default={}", backend.addr());
    let flags = [&[&*default], flags].concat();
    let subject = Subject::start(program, &flags, &[]).await?;
    match Player::new("a.example").join(subject.players).await {
        Ok(Joined::In(_)) => Ok(true),
        Ok(other) => bail!("{flags:?}: {other:?} where a close or a welcome was due"),
        // Without a byte.
        Err(_) => Ok(false),
    }
}

/// Holds each of these sets of flags to what is to come of it.
async fn all(program: &Path, backend: &Backend, sets: &[(&[&str], bool)]) -> Result<()> {
    for (flags, expected) in sets {
        let inside = lets_in(program, flags, backend).await?;
        let what = if inside { "let in" } else { "kept out" };
        ensure!(inside == *expected, "{flags:?}: {what}");
    }
    Ok(())
}

pub(super) async fn rows(program: &Path, report: &mut Report) -> Result<()> {
    let backend = Backend::start("server a").await?;
    report
        .same("one address is kept out, and nobody else", async {
            let sets: [(&[&str], _); 2] = [
                (&["-clients-to-deny=192.0.2.1,127.0.0.1"], false),
                (&["-clients-to-deny=192.0.2.1"], true),
            ];
            all(program, &backend, &sets).await
        })
        .await;
    report
        .same("one address is let in, and nobody else", async {
            let sets: [(&[&str], _); 2] = [
                (&["-clients-to-allow", "127.0.0.1"], true),
                (&["-clients-to-allow", "192.0.2.1"], false),
            ];
            all(program, &backend, &sets).await
        })
        .await;
    report
        .same("an address that is none is refused at start", async {
            refused(
                program,
                &["-port=0", "-clients-to-deny=300.0.0.1"],
                "300.0.0.1",
            )
            .await
        })
        .await;
    report
        .better("blocks of IPv4 hold for who comes over IPv4", async {
            let sets: [(&[&str], _); 4] = [
                (&["-clients-to-deny=127.0.0.0/8"], false),
                (&["-clients-to-deny=192.0.2.0/24"], true),
                (&["-clients-to-allow=127.0.0.0/8"], true),
                (&["-clients-to-allow=192.0.2.0/24"], false),
            ];
            all(program, &backend, &sets).await
        })
        .await;
    report
        .better("a denial holds whoever else is allowed", async {
            let flags: &[&str] = &["-clients-to-allow=127.0.0.1", "-clients-to-deny=127.0.0.1"];
            all(program, &backend, &[(flags, false)]).await
        })
        .await;
    report
        .same("behind a proxy its client's address counts", async {
            let default = format!("-default={}", backend.addr());
            let deny = "-clients-to-deny=203.0.113.0/24";
            let flags = [&*default, "-receive-proxy-protocol", deny];
            let subject = Subject::start(program, &flags, &[]).await?;
            for (source, expected) in [("203.0.113.7", false), ("198.51.100.7", true)] {
                let player = Player::new("a.example");
                let mut stream = TcpStream::connect(subject.players).await?;
                let header = format!("PROXY TCP4 {source} 192.0.2.1 4711 25565\r\n");
                stream.write_all(header.as_bytes()).await?;
                // Whoever is kept out may be closed before all is said.
                drop(stream.write_all(&player.login_bytes()).await);
                let mut byte = [0; 1];
                let inside = matches!(stream.read(&mut byte).await, Ok(1));
                ensure!(inside == expected, "{source}");
            }
            Ok(())
        })
        .await;
    Ok(())
}
