//! What comes over the wire in another way than most clients send it, and what is not Minecraft at all.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Report;
use super::subject::Subject;
use crate::backend::Backend;
use crate::player::Player;

/// Bytes of a handshake's frame besides its length and its address: packet id, protocol 769, the length of
/// an address of 128 bytes or more, port, next state.
const FRAME_BESIDES: usize = 1 + 2 + 2 + 2 + 1;
/// What others than clients send: a browser, TLS, SSH, a header of PROXY v1 and one of v2, frames that are
/// empty, too long, or half there, and pings from before 1.7 that are none.
const NOISE: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
    b"\x16\x03\x01\x00\xC8\x01\x00\x00\xC4\x03\x03",
    b"SSH-2.0-scan\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C\xC0\0\x02\x01\xC0\0\x02\x02\0\x01\0\x02",
    b"\0",
    b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
    b"\x80\x80\x80\x01",
    b"\x10\x00\x81",
    b"\x05\x00\x04\xFF\xFE\xFD",
    b"\xFE\x01\xFA\x00\x0B",
    b"\xFE\x01\xFA\xFF\xFF",
];

pub(super) async fn rows(program: &Path, report: &mut Report) -> Result<()> {
    let backend = Backend::start("server a").await?;
    let mapping = format!("a.example={}", backend.addr());
    let started = Subject::start(program, &["--mapping", &mapping], &[]).await;
    let Some(mut subject) = report.started("it starts with a mapping", started) else {
        return Ok(());
    };
    frames(&subject, report, &backend).await;
    ends(&subject, report, &backend).await;
    report
        .same("what is not Minecraft ends nothing", async {
            // All at once: each may be waited for as long as a client that says nothing.
            let mut streams = Vec::new();
            for noise in NOISE {
                let mut stream = TcpStream::connect(subject.players).await?;
                stream.write_all(noise).await?;
                stream.shutdown().await?;
                streams.push(stream);
            }
            for mut stream in streams {
                // Whether it is closed or reset is no concern.
                drop(stream.read_to_end(&mut Vec::new()).await);
            }
            ensure!(subject.process.is_running()?, "it has ended");
            subject.leads(&Player::new("a.example"), &backend).await
        })
        .await;
    Ok(())
}

/// A player whose handshake has a frame of this many bytes, its length not counted.
pub(super) fn framed(bytes: usize) -> Player {
    let host = "a.example///";
    let rest = bytes.saturating_sub(FRAME_BESIDES + host.len());
    Player::new(&format!("{host}{}", "x".repeat(rest)))
}

async fn frames(subject: &Subject, report: &mut Report, backend: &Backend) {
    report
        .same("handshakes of 128 bytes and more are led", async {
            for bytes in [136, 200, 253, 255, 256, 4_000] {
                let player = framed(bytes);
                subject.leads(&player, backend).await?;
                subject.shows(&player.address, backend).await?;
            }
            Ok(())
        })
        .await;
    report
        .better(
            "a frame of 254 bytes, which begins like an old ping, is led",
            async {
                for bytes in [254, 382, 510] {
                    subject.leads(&framed(bytes), backend).await?;
                }
                Ok(())
            },
        )
        .await;
    report
        .same("a login that comes byte by byte is led", async {
            let player = Player::new("a.example");
            let before = backend.logins().len();
            let mut stream = TcpStream::connect(subject.players).await?;
            stream.set_nodelay(true)?;
            for byte in player.login_bytes() {
                stream.write_all(&[byte]).await?;
            }
            player.on(stream).enter().await?;
            let logins = backend.logins();
            let login = logins.get(before).context("no login came")?;
            ensure!(
                login.bytes == player.login_bytes(),
                "the server got other bytes"
            );
            Ok(())
        })
        .await;
}

async fn ends(subject: &Subject, report: &mut Report, backend: &Backend) {
    report
        .same(
            "what is sent in the game comes to the server and back",
            async {
                let mut session = Player::new("a.example").enter(subject.players).await?;
                let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(1 << 20).collect();
                ensure!(
                    session.echo(&bytes).await? == bytes,
                    "other bytes came back"
                );
                Ok(())
            },
        )
        .await;
    report
        .better("who closes its sending half still gets the answer", async {
            let mut stream = TcpStream::connect(subject.players).await?;
            stream
                .write_all(&Player::new("a.example").status_bytes())
                .await?;
            stream.shutdown().await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            let text = String::from_utf8_lossy(&answer).into_owned();
            ensure!(text.contains(backend.name()), "{} bytes came", answer.len());
            Ok(())
        })
        .await;
}
