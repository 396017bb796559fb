//! The server list pings of clients from before 1.7.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::{IDLE_READ_TIMEOUT, connect};

/// Pause after each piece of what is sent in pieces.
const PIECE_PAUSE: Duration = Duration::from_millis(2);

/// The bytes of a 1.6 ping to `host`, with protocol 78.
#[must_use]
pub fn ping_1_6(host: &str) -> Vec<u8> {
    let text = |text: &str| -> Vec<u8> {
        let units: Vec<u16> = text.encode_utf16().collect();
        let length = u16::try_from(units.len()).unwrap_or(u16::MAX);
        let all = std::iter::once(length).chain(units);
        all.flat_map(u16::to_be_bytes).collect()
    };
    let data = [&[78][..], &text(host), &25565_i32.to_be_bytes()].concat();
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
    let head = [&[0xFE, 0x01, 0xFA][..], &text("MC|PingHost")].concat();
    [&head[..], &length.to_be_bytes(), &data].concat()
}

/// A ping from before 1.7: the pieces it is sent in, the fields of the answer out.
///
/// # Errors
/// No answer, or not the packet due.
pub async fn legacy_ping<'a>(
    router: SocketAddr,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<String>> {
    let mut stream = connect(router).await?;
    for piece in pieces {
        stream.write_all(piece).await?;
        // So that it is a segment of its own, and mostly a read of its own.
        tokio::time::sleep(PIECE_PAUSE).await;
    }
    let mut answer = Vec::new();
    timeout(IDLE_READ_TIMEOUT, stream.read_to_end(&mut answer)).await??;
    let [0xFF, _, _, units @ ..] = answer.as_slice() else {
        bail!("answer {answer:x?}")
    };
    let units: Vec<u16> = units
        .chunks_exact(2)
        .map(|pair| {
            pair.iter()
                .fold(0, |unit, byte| unit << 8 | u16::from(*byte))
        })
        .collect();
    let text = String::from_utf16(&units)?;
    let separator = if text.starts_with("§1\0") {
        '\0'
    } else {
        '§'
    };
    Ok(text.split(separator).map(str::to_owned).collect())
}
