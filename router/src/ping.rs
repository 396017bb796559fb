//! The router's own status ping: asks a backend what its server list shows.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use crate::addr::BackendAddr;
use crate::dial::{dial, dial_to};
use crate::protocol::handshake::{Handshake, Intent};
use crate::protocol::status::{StatusRequest, pong, text_in};
use crate::protocol::{DecodeError, FRAME_BYTES_MAX, frame_length};
use crate::proxy_protocol::{Ends, Version, header};
use crate::shared_str::SharedStr;

/// Longest status, in bytes, that everybody may have in memory who asks for one: modded servers say
/// more than a client would take.
pub const SMALL_BYTES_MAX: usize = 256 * 1024;
/// How long a server may take to answer a ping once it has shown its status.
pub const PONG_TIMEOUT: Duration = Duration::from_secs(1);
/// What comes back with the pong.
const PAYLOAD: [u8; 8] = *b"automc->";
/// The protocol number of a pinger that speaks no particular version.
pub const ANY_PROTOCOL: i32 = -1;
/// That of 1.8, which mcstatus says unless it is told another: what servers meet every day that turn away a
/// pinger of no particular version.
const WELL_KNOWN_PROTOCOL: i32 = 47;
/// A status without an icon fits.
const FIRST_READ_BYTES: usize = 1024;

/// Why a backend did not answer a ping.
#[derive(Debug, thiserror::Error)]
pub enum PingError {
    /// Its port is not open, or it is not there at all.
    #[error("it cannot be reached: {0}")]
    Dial(#[source] io::Error),
    /// It took the connection and ended it, or did not answer in time.
    #[error("it does not answer: {0}")]
    Silent(#[source] io::Error),
    /// It answered something else than a status.
    #[error("its answer is no status: {0}")]
    Decode(#[from] DecodeError),
}

/// What to ask, of whom.
#[derive(Debug, Clone)]
pub struct Ping {
    /// The backend.
    pub backend: BackendAddr,
    /// The host name the handshake names.
    pub host: SharedStr,
    /// The protocol number the handshake names; servers that speak several answer in kind.
    pub protocol: i32,
    /// The PROXY header it hears first, if any. It names this router as the client: it is the one who
    /// asks, and servers have been seen to fail at headers that name nobody (`LOCAL`).
    pub proxy: Option<Version>,
}

/// The protocol number of a ping of our own: the one that is `known` to that server, and where none is, or it was
/// `unanswered` so often in a row, by turns one that it may like better.
#[must_use]
pub fn number(known: Option<i32>, unanswered: u8) -> i32 {
    let (first, second) = match known {
        Some(known) => (known, ANY_PROTOCOL),
        None => (ANY_PROTOCOL, WELL_KNOWN_PROTOCOL),
    };
    if unanswered.is_multiple_of(2) {
        first
    } else {
        second
    }
}

/// Whether anybody takes connections at `backend`, asked by one that goes away again. Where a PROXY
/// header is wanted it has one, as those of a load balancer that checks its servers have: a server
/// complains of connections without.
///
/// # Errors
/// Nobody does, within `limit`.
pub(crate) async fn knock(
    backend: &BackendAddr,
    proxy: Option<Version>,
    limit: Duration,
) -> io::Result<()> {
    let mut stream = dial(backend, limit).await?;
    let header = own_header(proxy, &stream)?;
    stream.write_all(&header).await
}

/// The header that names this router as the client of `stream`; nothing where none is wanted.
fn own_header(proxy: Option<Version>, stream: &TcpStream) -> io::Result<Vec<u8>> {
    let Some(version) = proxy else {
        return Ok(Vec::new());
    };
    let (source, destination) = (stream.local_addr()?, stream.peer_addr()?);
    let ends = Ends {
        source,
        destination,
    };
    header(version, ends)
}

/// A status, and the way it came.
#[derive(Debug)]
pub struct Answered {
    /// As the backend wrote it, a whole packet.
    pub frame: Vec<u8>,
    /// There for one of more than [`SMALL_BYTES_MAX`] bytes: its place among such.
    pub place: Option<OwnedSemaphorePermit>,
    /// From the question to the whole answer.
    pub took: Duration,
    stream: TcpStream,
}

impl Answered {
    /// How long a ping takes to the backend and back, as a client in its place would see it; `None` where
    /// none comes back within [`PONG_TIMEOUT`].
    pub async fn measure(mut self) -> Option<Duration> {
        let begun = Instant::now();
        let exchange = async {
            let ping = StatusRequest::Ping(PAYLOAD).encode();
            self.stream.write_all(&ping).await.ok()?;
            let mut back = pong(PAYLOAD);
            self.stream.read_exact(&mut back).await.ok()?;
            (back == pong(PAYLOAD)).then(|| begun.elapsed())
        };
        timeout(PONG_TIMEOUT, exchange).await.ok().flatten()
    }
}

impl Ping {
    /// One attempt: the status as the backend wrote it, a whole packet; of one of more than
    /// [`SMALL_BYTES_MAX`] bytes the beginning.
    ///
    /// # Errors
    /// See [`PingError`]; `dial_limit` for the connection, `limit` for everything together.
    pub async fn send(&self, dial_limit: Duration, limit: Duration) -> Result<Vec<u8>, PingError> {
        let deadline = Instant::now() + limit;
        let stream = dial(&self.backend, dial_limit.min(limit)).await;
        self.ask(stream.map_err(PingError::Dial)?, deadline).await
    }

    /// The same where the backend's name has been looked up before.
    ///
    /// # Errors
    /// As for [`Self::send`].
    pub async fn send_to(
        &self,
        addresses: &[SocketAddr],
        dial_limit: Duration,
        limit: Duration,
    ) -> Result<Vec<u8>, PingError> {
        let deadline = Instant::now() + limit;
        let stream = dial_to(addresses, dial_limit.min(limit)).await;
        self.ask(stream.map_err(PingError::Dial)?, deadline).await
    }

    /// One attempt: the whole status, whatever its length. A long one waits for a place among `large`.
    ///
    /// # Errors
    /// As for [`Self::send`].
    pub async fn fetch(
        &self,
        dial_limit: Duration,
        limit: Duration,
        large: &Arc<Semaphore>,
    ) -> Result<Answered, PingError> {
        let deadline = Instant::now() + limit;
        let stream = dial(&self.backend, dial_limit.min(limit)).await;
        let mut stream = stream.map_err(PingError::Dial)?;
        let exchange = async {
            let asked = self.begin(&mut stream).await?;
            let mut place = None;
            let (mut frame, length) = beginning(&mut stream).await?;
            if frame.len() < length {
                let places = Arc::clone(large).acquire_owned().await;
                place = Some(places.map_err(|_| PingError::Silent(io::ErrorKind::Other.into()))?);
                frame.reserve_exact(length - frame.len());
                read_to(&mut stream, &mut frame, length).await?;
                frame.truncate(length);
                text_in(&frame)?;
            }
            Ok((frame, place, asked.elapsed()))
        };
        let (frame, place, took) = within(deadline, exchange).await?;
        Ok(Answered {
            frame,
            place,
            took,
            stream,
        })
    }

    async fn ask(&self, mut stream: TcpStream, deadline: Instant) -> Result<Vec<u8>, PingError> {
        let exchange = async {
            self.begin(&mut stream).await?;
            beginning(&mut stream).await
        };
        within(deadline, exchange).await.map(|(frame, _)| frame)
    }

    /// Asks for the status; when that was.
    async fn begin(&self, stream: &mut TcpStream) -> Result<Instant, PingError> {
        let (_, port) = self.backend.parts();
        let handshake = Handshake {
            protocol: self.protocol,
            address: self.host.to_string(),
            port,
            intent: Intent::Status,
        };
        let header = own_header(self.proxy, stream).map_err(PingError::Silent)?;
        let asked = [header, handshake.encode(), StatusRequest::Status.encode()].concat();
        stream.write_all(&asked).await.map_err(PingError::Silent)?;
        Ok(Instant::now())
    }
}

/// Reads a status, of one of more than [`SMALL_BYTES_MAX`] bytes the beginning; how long it is in all.
async fn beginning(stream: &mut TcpStream) -> Result<(Vec<u8>, usize), PingError> {
    let mut frame = Vec::with_capacity(FIRST_READ_BYTES);
    let length = loop {
        match frame_length(&frame, FRAME_BYTES_MAX)? {
            Some(length) => break length,
            None => read(stream, &mut frame).await?,
        }
    };
    read_to(stream, &mut frame, length.min(SMALL_BYTES_MAX)).await?;
    if frame.len() >= length {
        // Nobody asked for what follows.
        frame.truncate(length);
        text_in(&frame)?;
    }
    Ok((frame, length))
}

/// Reads until there are `length` bytes in all.
async fn read_to(
    stream: &mut TcpStream,
    bytes: &mut Vec<u8>,
    length: usize,
) -> Result<(), PingError> {
    while bytes.len() < length {
        read(stream, bytes).await?;
    }
    Ok(())
}

/// Reads once.
async fn read(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<(), PingError> {
    match stream.read_buf(bytes).await {
        Ok(0) => Err(PingError::Silent(io::ErrorKind::UnexpectedEof.into())),
        Ok(_) => Ok(()),
        Err(error) => Err(PingError::Silent(error)),
    }
}

async fn within<T>(
    deadline: Instant,
    exchange: impl Future<Output = Result<T, PingError>>,
) -> Result<T, PingError> {
    let timed_out = |_| Err(PingError::Silent(io::ErrorKind::TimedOut.into()));
    timeout_at(deadline, exchange)
        .await
        .unwrap_or_else(timed_out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::greet::greet;
    use crate::protocol::greeting::Greeting;
    use crate::protocol::status;
    use tokio::net::TcpListener;

    async fn listen() -> (TcpListener, Ping) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let backend = BackendAddr::parse(&listener.local_addr().unwrap().to_string()).unwrap();
        let (host, protocol) = ("a.example".into(), 769);
        let ping = Ping {
            backend,
            host,
            protocol,
            proxy: None,
        };
        (listener, ping)
    }

    const LIMIT: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_server_that_answers_is_told_who_is_asked_for() {
        let (listener, ping) = listen().await;
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (greeting, _) = greet(&mut stream).await.unwrap();
            let answer = status::response(769, "up");
            // Byte by byte, as a slow network may.
            for byte in answer {
                stream.write_all(&[byte]).await.unwrap();
            }
            greeting
        });

        let frame = ping.send(LIMIT, LIMIT).await.unwrap();

        assert_eq!(frame, status::response(769, "up"));
        let Greeting::Status { handshake, .. } = asked.await.unwrap() else {
            panic!("no status handshake")
        };
        assert_eq!(
            (handshake.protocol, &*handshake.address),
            (769, "a.example")
        );
    }

    #[tokio::test]
    async fn a_closed_port_is_told_from_a_port_that_is_silent() {
        let (listener, ping) = listen().await;
        drop(listener);
        let outcome = ping.send(LIMIT, LIMIT).await;
        assert!(matches!(outcome, Err(PingError::Dial(_))), "{outcome:?}");

        let (listener, ping) = listen().await;
        let accepted = tokio::spawn(async move { drop(listener.accept().await) });
        let outcome = ping.send(LIMIT, LIMIT).await;
        assert!(matches!(outcome, Err(PingError::Silent(_))), "{outcome:?}");
        accepted.await.unwrap();

        let (_listener, ping) = listen().await;
        let outcome = ping.send(LIMIT, Duration::from_millis(20)).await;
        assert!(matches!(outcome, Err(PingError::Silent(_))), "{outcome:?}");
    }

    #[tokio::test]
    async fn an_answer_that_is_no_status_is_told_as_such() {
        let (listener, ping) = listen().await;
        let answering = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(&[0xFF; 6]).await.unwrap();
            stream
        });
        let outcome = ping.send(LIMIT, LIMIT).await;
        assert!(matches!(outcome, Err(PingError::Decode(_))), "{outcome:?}");
        drop(answering.await.unwrap());
    }
}
