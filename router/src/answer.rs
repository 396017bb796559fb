//! What a client is told by the router itself, and how such a connection ends.

use std::future::ready;
use std::io;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::protocol::legacy::{self, LegacyPing};
use crate::protocol::status::{self, Shown, StatusRequest};
use crate::protocol::{DecodeError, STATUS_FRAME_BYTES_MAX, decode_frame, login};

/// Longest time a status conversation may take.
pub const STATUS_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest that a pong is kept back.
pub const WAY_MAX: Duration = Duration::from_secs(2);
/// Before the end of a conversation, a pong that is kept back is sent after all.
const PONG_RESERVE: Duration = Duration::from_millis(500);
/// What is less is not waited for: clients count in milliseconds, as timers do.
const WAY_MIN: Duration = Duration::from_millis(1);
/// How long a told client may take to close its side.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);
/// Most bytes of a told client that are read and thrown away.
const FAREWELL_BYTES_MAX: u64 = 64 * 1024;

/// Answers status requests and pings with a text of the router's own; see [`status_frame`].
///
/// # Errors
/// As for [`status_frame`].
pub async fn status<'a, S>(
    client: &mut S,
    early: &[u8],
    protocol: i32,
    shown: impl Into<Shown<'a>>,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    status_frame(client, early, &status::response(protocol, shown)).await
}

/// Answers status requests with `frame`, a whole packet, and pings at once; see
/// [`status_from_afar`].
///
/// # Errors
/// As for [`status_from_afar`].
pub async fn status_frame<S>(client: &mut S, early: &[u8], frame: &[u8]) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    status_from_afar(client, early, frame, ready(Duration::ZERO)).await
}

/// Answers status requests with `frame`, a whole packet, and pings so late that the client counts the
/// `way` behind the router as well, [`WAY_MAX`] at most; `early` is what the client sent after its handshake.
///
/// # Errors
/// The connection failed, or something else than a status request came.
pub async fn status_from_afar<S, W>(
    client: &mut S,
    early: &[u8],
    frame: &[u8],
    way: W,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
    W: Future<Output = Duration>,
{
    let end = Instant::now() + STATUS_TIMEOUT;
    let conversation = async {
        let mut buffer = Vec::with_capacity(early.len().max(STATUS_FRAME_BYTES_MAX));
        buffer.extend_from_slice(early);
        // A status request and a ping at most, each optional.
        for _ in 0..2 {
            let Some(request) = next_request(client, &mut buffer).await? else {
                break;
            };
            match request {
                StatusRequest::Status => client.write_all(frame).await?,
                StatusRequest::Ping(payload) => {
                    keep_back(way, end - PONG_RESERVE).await;
                    client.write_all(&status::pong(payload)).await?;
                    return Ok::<_, io::Error>(buffer.is_empty());
                }
            }
        }
        Ok(false)
    };
    let all_read = timeout_at(end, conversation)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    // A ping is the last thing to come, so that the socket can be closed at once.
    if all_read {
        return Ok(());
    }
    farewell(client).await
}

/// Waits as long as the way takes, but not beyond `end`.
async fn keep_back(way: impl Future<Output = Duration>, end: Instant) {
    let begun = Instant::now();
    let end = end.min(begun + WAY_MAX);
    if let Ok(way) = timeout_at(end, way).await
        && way >= WAY_MIN
    {
        sleep_until(end.min(begun + way)).await;
    }
}

async fn next_request<S: AsyncRead + Unpin>(
    client: &mut S,
    buffer: &mut Vec<u8>,
) -> io::Result<Option<StatusRequest>> {
    let invalid = |error: DecodeError| io::Error::new(io::ErrorKind::InvalidData, error);
    loop {
        if let Some((body, length)) =
            decode_frame(buffer, STATUS_FRAME_BYTES_MAX).map_err(invalid)?
        {
            let request = StatusRequest::decode(body).map_err(invalid)?;
            buffer.drain(..length);
            return Ok(Some(request));
        }
        if client.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// Answers a ping from before 1.7.
///
/// # Errors
/// The connection failed.
pub async fn legacy_ping<S>(client: &mut S, ping: &LegacyPing, text: &str) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    client.write_all(&legacy::response(ping, text)).await?;
    farewell(client).await
}

/// Tells a player why there is no way in, by a text component.
///
/// # Errors
/// The connection failed.
pub async fn refuse<S>(client: &mut S, component: &Value) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    refuse_with(client, &login::disconnect_with(component)).await
}

/// Tells a player why there is no way in, by a whole login disconnect.
///
/// # Errors
/// The connection failed.
pub async fn refuse_with<S>(client: &mut S, disconnect: &[u8]) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    client.write_all(disconnect).await?;
    farewell(client).await
}

/// Tells a player why there is no way in.
///
/// # Errors
/// The connection failed.
pub async fn disconnect<S>(client: &mut S, text: &str) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    refuse_with(client, &login::disconnect(text)).await
}

/// Closes our side and reads the rest of the client's: closing a socket with unread bytes
/// resets it, and the client might never see what it was told.
///
/// # Errors
/// The connection failed.
pub async fn farewell<S: AsyncRead + AsyncWrite + Unpin>(client: &mut S) -> io::Result<()> {
    client.shutdown().await?;
    let mut rest = client.take(FAREWELL_BYTES_MAX);
    let drained = timeout(
        FAREWELL_TIMEOUT,
        tokio::io::copy(&mut rest, &mut tokio::io::sink()),
    )
    .await;
    // It was told; how it leaves is its own affair.
    drop(drained);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Reader;
    use proptest::prelude::*;

    async fn talk(early: &[u8], late: &[u8]) -> (io::Result<()>, Vec<u8>) {
        let (mut client, mut server) = tokio::io::duplex(4096);
        client.write_all(late).await.unwrap();
        client.shutdown().await.unwrap();
        let outcome = status(&mut server, early, 769, "zzz").await;
        drop(server);
        let mut told = Vec::new();
        client.read_to_end(&mut told).await.unwrap();
        (outcome, told)
    }

    #[tokio::test]
    async fn requests_are_answered_wherever_the_bytes_are_cut() {
        let requests = [
            StatusRequest::Status.encode(),
            StatusRequest::Ping(*b"12345678").encode(),
        ]
        .concat();
        for cut in 0..=requests.len() {
            let (early, late) = requests.split_at(cut);

            let (outcome, told) = talk(early, late).await;

            outcome.unwrap();
            let expected = [status::response(769, "zzz"), status::pong(*b"12345678")].concat();
            assert_eq!(told, expected, "cut at {cut}");
        }
    }

    #[tokio::test]
    async fn a_ping_alone_gets_its_pong_and_a_request_alone_its_answer() {
        let (outcome, told) = talk(&[], &StatusRequest::Ping([9; 8]).encode()).await;
        outcome.unwrap();
        assert_eq!(told, status::pong([9; 8]));

        let (outcome, told) = talk(&[], &StatusRequest::Status.encode()).await;
        outcome.unwrap();
        assert_eq!(told, status::response(769, "zzz"));
    }

    /// How long a pong is kept back from a client that pings after `pause`.
    async fn kept_back(pause: Duration, way: impl Future<Output = Duration>) -> Duration {
        let (mut client, mut server) = tokio::io::duplex(4096);
        let pinging = tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            let begun = Instant::now();
            let ping = StatusRequest::Ping(*b"12345678").encode();
            client.write_all(&ping).await.unwrap();
            let mut pong = Vec::new();
            client.read_to_end(&mut pong).await.unwrap();
            assert_eq!(pong, status::pong(*b"12345678"));
            begun.elapsed()
        });
        let answered = status_from_afar(&mut server, &[], b"", way).await;
        answered.unwrap();
        drop(server);
        pinging.await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_pong_is_kept_back_as_long_as_the_way_takes_and_never_too_long() {
        let millis = Duration::from_millis;
        for (pause, way, kept) in [
            (0, 0, 0),
            (0, 80, 80),
            (4_000, 80, 80),
            (0, 60_000, 2_000),
            (4_000, 60_000, 500),
            (4_900, 80, 0),
        ] {
            let (pause, way, kept) = (millis(pause), millis(way), millis(kept));
            assert_eq!(
                kept_back(pause, ready(way)).await,
                kept,
                "{pause:?} {way:?}"
            );
        }
        let micros = Duration::from_micros(900);
        assert_eq!(kept_back(millis(0), ready(micros)).await, millis(0));
        // What is not known yet counts from the ping on, too.
        let late = async {
            tokio::time::sleep(millis(50)).await;
            millis(80)
        };
        assert_eq!(kept_back(millis(0), late).await, millis(80));
        let never = std::future::pending();
        assert_eq!(kept_back(millis(0), never).await, WAY_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_asks_for_nothing_is_given_up() {
        let (_client, mut server) = tokio::io::duplex(64);
        let outcome = status(&mut server, &[], 769, "zzz").await;
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_disconnect_reaches_a_client_that_had_more_to_say() {
        let (mut client, mut server) = tokio::io::duplex(4096);
        client.write_all(&[1; 100]).await.unwrap();
        client.shutdown().await.unwrap();

        disconnect(&mut server, "no").await.unwrap();
        drop(server);

        let mut told = Vec::new();
        client.read_to_end(&mut told).await.unwrap();
        let (body, _) = decode_frame(&told, 100).unwrap().unwrap();
        assert_eq!(Reader::new(body).expect_id(0), Ok(()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn arbitrary_bytes_after_the_handshake_end_the_conversation(bytes: Vec<u8>) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let _ = runtime.block_on(talk(&bytes, &[]));
        }
    }
}
