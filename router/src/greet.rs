//! Reads a client's greeting off its connection, and the PROXY header before it where there may be
//! one, both under one deadline, and keeps every byte of the greeting.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

use crate::config::values::short;
use crate::protocol::DecodeError;
use crate::protocol::greeting::{GREETING_BYTES_MAX, Greeting, Progress, parse};
use crate::protocol::legacy::LEGACY_PING_BYTES_MAX;
use crate::proxy_protocol::{self, Ends, HEADER_BYTES_MAX, HeaderError};

/// Longest time from the accepted connection to the complete greeting.
pub const GREETING_TIMEOUT: Duration = Duration::from_secs(5);
/// How long legacy pings that may go on wait for the next byte; clients of 1.6 send theirs in pieces.
pub const LEGACY_PAUSE: Duration = Duration::from_millis(300);
/// Most bytes read before a greeting is complete.
const BYTES_MAX: usize = if GREETING_BYTES_MAX > LEGACY_PING_BYTES_MAX {
    GREETING_BYTES_MAX
} else {
    LEGACY_PING_BYTES_MAX
};
/// A vanilla handshake and login start fit.
const FIRST_READ_BYTES: usize = 256;

/// Why there is no greeting.
#[derive(Debug, thiserror::Error)]
pub enum GreetError {
    /// The client closed or reset the connection before the first byte of its own, a PROXY header aside, as
    /// health checks of load balancers and port scans do.
    #[error("closed without a word")]
    Silent,
    /// The client closed the connection in the middle.
    #[error("closed in the middle of its greeting")]
    Truncated,
    /// [`GREETING_TIMEOUT`] passed.
    #[error("no complete greeting within {}", short(GREETING_TIMEOUT))]
    TimedOut,
    /// It begins with a PROXY header that cannot be read.
    #[error("{0}")]
    Header(#[from] HeaderError),
    /// What it sent is not Minecraft.
    #[error("not a Minecraft greeting: {0}")]
    Decode(#[from] DecodeError),
    /// The connection failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Reads until the greeting is complete: what it says, and every byte that was read.
///
/// # Errors
/// See [`GreetError`].
pub async fn greet<S: AsyncRead + Unpin>(
    stream: &mut S,
) -> Result<(Greeting, Vec<u8>), GreetError> {
    Opening::new(stream).greeting().await
}

/// The beginning of a connection, which has to be complete within [`GREETING_TIMEOUT`].
#[derive(Debug)]
pub struct Opening<'s, S> {
    stream: &'s mut S,
    raw: Vec<u8>,
    deadline: Instant,
}

impl<'s, S: AsyncRead + Unpin> Opening<'s, S> {
    /// Of `stream`, which has just been accepted.
    pub fn new(stream: &'s mut S) -> Self {
        Self {
            stream,
            raw: Vec::with_capacity(FIRST_READ_BYTES),
            deadline: Instant::now() + GREETING_TIMEOUT,
        }
    }

    /// Takes the PROXY header away, if there is one: whose connection it is, if it says so.
    ///
    /// # Errors
    /// See [`GreetError`].
    pub async fn header(&mut self) -> Result<Option<Ends>, GreetError> {
        loop {
            match proxy_protocol::read(&self.raw)? {
                proxy_protocol::Progress::Absent => return Ok(None),
                proxy_protocol::Progress::Complete(ends, length) => {
                    // What a long one took is given back.
                    self.raw = self.raw.split_off(length);
                    return Ok(ends);
                }
                proxy_protocol::Progress::More => {}
            }
            match timeout_at(self.deadline, self.read(HEADER_BYTES_MAX)).await {
                Ok(read) => self.went_on(read)?,
                Err(_) => return Err(GreetError::TimedOut),
            }
        }
    }

    /// Waits for the first byte behind the header.
    ///
    /// # Errors
    /// See [`GreetError`].
    pub async fn begun(&mut self) -> Result<(), GreetError> {
        while self.raw.is_empty() {
            match timeout_at(self.deadline, self.read(BYTES_MAX)).await {
                Ok(read) => self.went_on(read)?,
                Err(_) => return Err(GreetError::TimedOut),
            }
        }
        Ok(())
    }

    /// Reads until the greeting is complete: what it says, and every byte of it and behind it that
    /// was read.
    ///
    /// # Errors
    /// See [`GreetError`].
    pub async fn greeting(mut self) -> Result<(Greeting, Vec<u8>), GreetError> {
        loop {
            let (until, otherwise) = match parse(&self.raw)? {
                Progress::Complete(greeting) => return Ok((greeting, self.raw)),
                Progress::More => (self.deadline, None),
                Progress::CompleteUnlessMore(greeting) => {
                    let pause = Instant::now() + LEGACY_PAUSE;
                    (self.deadline.min(pause), Some(greeting))
                }
            };
            let read = timeout_at(until, self.read(BYTES_MAX)).await;
            match (read, otherwise) {
                (Ok(Ok(0)) | Err(_), Some(greeting)) => return Ok((greeting, self.raw)),
                (Ok(read), _) => self.went_on(read)?,
                (Err(_), None) => return Err(GreetError::TimedOut),
            }
        }
    }

    /// Reads once, as long as there are fewer than `most` bytes in all; how many came.
    async fn read(&mut self, most: usize) -> io::Result<usize> {
        let room = u64::try_from(most.saturating_sub(self.raw.len())).unwrap_or_default();
        let mut limited = (&mut *self.stream).take(room);
        limited.read_buf(&mut self.raw).await
    }

    /// An end in the middle of anything is told from one without a word.
    fn went_on(&self, read: io::Result<usize>) -> Result<(), GreetError> {
        let unsaid = self.raw.is_empty();
        match read {
            Ok(0) if unsaid => Err(GreetError::Silent),
            Ok(0) => Err(GreetError::Truncated),
            Ok(_) => Ok(()),
            Err(error) if unsaid && error.kind() == io::ErrorKind::ConnectionReset => {
                Err(GreetError::Silent)
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::handshake::{Handshake, Intent};
    use crate::protocol::legacy::LegacyPing;
    use tokio::io::AsyncWriteExt;

    fn status_hello() -> Vec<u8> {
        let (protocol, port, intent) = (769, 25565, Intent::Status);
        Handshake {
            protocol,
            address: "a.example".to_owned(),
            port,
            intent,
        }
        .encode()
    }

    #[tokio::test]
    async fn a_greeting_may_come_byte_by_byte_and_every_byte_is_kept() {
        let (mut client, mut server) = tokio::io::duplex(1);
        let bytes = status_hello();
        let sent = bytes.clone();
        let sender = tokio::spawn(async move { client.write_all(&sent).await.map(|()| client) });

        let (greeting, raw) = greet(&mut server).await.unwrap();

        assert!(matches!(greeting, Greeting::Status { .. }));
        assert_eq!(raw, bytes);
        sender.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn what_comes_after_the_greeting_is_kept_too() {
        let (mut client, mut server) = tokio::io::duplex(64);
        let bytes = [status_hello(), vec![1, 0]].concat();
        client.write_all(&bytes).await.unwrap();

        let (_, raw) = greet(&mut server).await.unwrap();

        assert_eq!(raw, bytes);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_drips_is_given_up_at_the_deadline() {
        let (mut client, mut server) = tokio::io::duplex(1);
        tokio::spawn(async move {
            // A frame of a hundred bytes, one a second: every read succeeds in time.
            for byte in std::iter::once(100).chain(std::iter::repeat(0)) {
                if client.write_all(&[byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let begin = Instant::now();

        let outcome = greet(&mut server).await;

        assert!(matches!(outcome, Err(GreetError::TimedOut)), "{outcome:?}");
        assert_eq!(begin.elapsed(), GREETING_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn the_shortest_pings_and_those_that_break_off_stand_after_a_short_pause() {
        let begun_message = [&[0xFE, 0x01, 0xFA, 0, 11][..], b"\0M\0C\0|"].concat();
        for (sent, ping) in [
            (&[0xFE][..], LegacyPing::Beta),
            (&[0xFE, 0x01], LegacyPing::V1_4),
            (&[0xFE, 0x01, 0xFA], LegacyPing::V1_4),
            (&begun_message, LegacyPing::V1_4),
        ] {
            let (mut client, mut server) = tokio::io::duplex(64);
            client.write_all(sent).await.unwrap();
            let begin = Instant::now();

            let (greeting, _) = greet(&mut server).await.unwrap();

            assert_eq!(greeting, Greeting::Legacy(ping));
            assert_eq!(begin.elapsed(), LEGACY_PAUSE);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_ping_that_drips_stands_at_the_deadline_at_the_latest() {
        let (mut client, mut server) = tokio::io::duplex(1);
        tokio::spawn(async move {
            let head = [0xFE, 0x01, 0xFA, 0, 11, 0, b'M', 0, b'C', 0, b'|'];
            for byte in head
                .into_iter()
                .chain(b"\0P\0i\0n\0g\0H\0o".iter().copied())
            {
                client.write_all(&[byte]).await.unwrap();
                tokio::time::sleep(LEGACY_PAUSE - Duration::from_millis(10)).await;
            }
        });
        let begin = Instant::now();

        let (greeting, _) = greet(&mut server).await.unwrap();

        assert_eq!(greeting, Greeting::Legacy(LegacyPing::V1_4));
        assert_eq!(begin.elapsed(), GREETING_TIMEOUT);
    }

    const HEADER: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.1 4711 25565\r\n";

    #[tokio::test(start_paused = true)]
    async fn a_header_may_drip_and_come_late_and_the_greeting_behind_it_is_kept_whole() {
        let (mut client, mut server) = tokio::io::duplex(1);
        let bytes = status_hello();
        let sent = [HEADER, &bytes].concat();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(3)).await;
            for byte in sent {
                client.write_all(&[byte]).await.unwrap();
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });

        let mut opening = Opening::new(&mut server);
        let ends = opening.header().await.unwrap().unwrap();
        let (greeting, raw) = opening.greeting().await.unwrap();

        assert_eq!(ends.source, "203.0.113.7:4711".parse().unwrap());
        assert!(matches!(greeting, Greeting::Status { .. }));
        assert_eq!(raw, bytes);
    }

    #[tokio::test(start_paused = true)]
    async fn header_and_greeting_share_one_deadline() {
        for header in [&HEADER[..20], HEADER] {
            let (mut client, mut server) = tokio::io::duplex(1024);
            let begin = Instant::now();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(3)).await;
                client.write_all(header).await.unwrap();
                tokio::time::sleep(GREETING_TIMEOUT).await;
            });

            let mut opening = Opening::new(&mut server);
            let outcome = match opening.header().await {
                Ok(_) => opening.greeting().await.map(|_| ()),
                Err(error) => Err(error),
            };

            assert!(matches!(outcome, Err(GreetError::TimedOut)), "{outcome:?}");
            assert_eq!(begin.elapsed(), GREETING_TIMEOUT);
        }
    }

    #[tokio::test]
    async fn without_a_header_or_with_one_that_ends_early_nothing_is_lost() {
        let (mut client, mut server) = tokio::io::duplex(64);
        client.write_all(&status_hello()).await.unwrap();
        let mut opening = Opening::new(&mut server);
        assert_eq!(opening.header().await.unwrap(), None);
        assert_eq!(opening.greeting().await.unwrap().1, status_hello());

        for (sent, silent) in [(&HEADER[..20], false), (HEADER, true), (b"", true)] {
            let (mut client, mut server) = tokio::io::duplex(64);
            client.write_all(sent).await.unwrap();
            drop(client);
            let mut opening = Opening::new(&mut server);
            let error = match opening.header().await {
                Ok(_) => opening.greeting().await.unwrap_err(),
                Err(error) => error,
            };
            assert_eq!(matches!(error, GreetError::Silent), silent, "{error:?}");
        }
    }

    /// Says some bytes, and then that the connection was reset.
    struct Reset(&'static [u8]);

    impl AsyncRead for Reset {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            buffer: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            let said = std::mem::take(&mut self.0);
            buffer.put_slice(said);
            std::task::Poll::Ready(if said.is_empty() {
                Err(io::ErrorKind::ConnectionReset.into())
            } else {
                Ok(())
            })
        }
    }

    /// HAProxy 2.6 resets after what it says; a check of version 1 has addresses, of version 2 has none.
    #[tokio::test]
    async fn a_reset_before_the_first_byte_of_minecraft_is_silence_and_later_it_is_none() {
        for (said, silent) in [
            (&b""[..], true),
            (b"PROXY TCP4 127.0.0.1 127.0.0.1 41230 7102\r\n", true),
            (b"PROXY UNKNOWN\r\n", true),
            (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", true),
            (b"PROXY TCP4 127.0", false),
            (b"PROXY UNKNOWN\r\n\x10\0", false),
        ] {
            let mut stream = Reset(said);
            let mut opening = Opening::new(&mut stream);
            let error = match opening.header().await {
                Ok(_) => match opening.begun().await {
                    Ok(()) => opening.greeting().await.unwrap_err(),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            assert_eq!(matches!(error, GreetError::Silent), silent, "{said:?}");
        }
    }

    #[tokio::test]
    async fn closing_early_is_told_from_closing_silently() {
        let (client, mut server) = tokio::io::duplex(8);
        drop(client);
        assert!(matches!(greet(&mut server).await, Err(GreetError::Silent)));

        let (mut client, mut server) = tokio::io::duplex(8);
        client.write_all(&[16, 0]).await.unwrap();
        drop(client);
        assert!(matches!(
            greet(&mut server).await,
            Err(GreetError::Truncated)
        ));
    }
}
