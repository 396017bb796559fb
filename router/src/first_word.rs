//! Hands a player's greeting to a backend, and hears its first packet: a server kicks that is still
//! starting, or throttles logins, and who can wait for it need not see that.

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use crate::hold::{Hold, Left};
use crate::protocol::login::{FirstPacket, first_packet};
use crate::throttle::{Attempt, Kick};

/// How long a backend's first word is waited for before the relay takes over.
pub const FIRST_WORD_MAX: Duration = Duration::from_secs(3);
/// Longest first packet that is looked at; a kick that is longer is passed on.
const BYTES_MAX: usize = 4 * 1024;
/// An encryption request fits.
const FIRST_READ_BYTES: usize = 512;

/// A backend that has a player's greeting.
#[derive(Debug)]
pub struct Introduced {
    /// The connection to it.
    pub backend: TcpStream,
    /// What it said already, which is for the client; empty when it is the client's turn, or
    /// nobody's.
    pub said: Vec<u8>,
}

/// Why a backend did not let a player in; the connection to it is gone.
#[derive(Debug)]
pub enum NotIn {
    /// It cannot be reached.
    Unreachable(io::Error),
    /// It kicked with the word that it is still starting.
    StillStarting,
    /// It throttles logins, and kicked with these words; or it is known to, and was not tried.
    Throttled(Kick),
    /// It took the connection and ended it without a byte.
    Closed(io::Error),
    /// It was not tried to the end: the client has gone.
    Left,
}

impl From<Left> for NotIn {
    fn from(Left: Left) -> Self {
        Self::Left
    }
}

/// Hands over what the client has sent, behind the PROXY header if there is one; with `listens`, hears what the backend says first.
///
/// Stops listening when the client goes on talking, and after [`FIRST_WORD_MAX`]. `attempt` learns what came of it.
///
/// # Errors
/// See [`NotIn`].
pub async fn introduce(
    hold: &Hold<'_>,
    mut backend: TcpStream,
    listens: bool,
    mut attempt: Attempt<'_>,
) -> Result<Introduced, NotIn> {
    attempt.begins();
    if !hold.header().is_empty() {
        let header = backend.write_all(hold.header());
        header.await.map_err(NotIn::Closed)?;
    }
    let greeting = backend.write_all(hold.for_backend());
    greeting.await.map_err(NotIn::Closed)?;
    let said = if listens {
        match listen(hold.client(), &backend).await {
            Err(NotIn::Throttled(kick)) => {
                attempt.throttled(&kick);
                return Err(NotIn::Throttled(kick));
            }
            heard => heard?,
        }
    } else {
        Vec::new()
    };
    if !said.is_empty() {
        attempt.passed();
    }
    Ok(Introduced { backend, said })
}

async fn listen(client: &TcpStream, backend: &TcpStream) -> Result<Vec<u8>, NotIn> {
    let deadline = Instant::now() + FIRST_WORD_MAX;
    let mut said = Vec::new();
    // To look for bytes: that the client is `readable` may still stand for what has been read.
    let mut byte = [0];
    loop {
        tokio::select! {
            biased;
            readable = backend.readable() => if let Err(error) = readable {
                return end(said, error);
            },
            _ = client.peek(&mut byte) => return Ok(said),
            () = sleep_until(deadline) => return Ok(said),
        }
        said.reserve(FIRST_READ_BYTES);
        match backend.try_read_buf(&mut said) {
            Ok(0) => return end(said, io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return end(said, error),
        }
        match first_packet(&said) {
            Some(FirstPacket::StillStarting) => return Err(NotIn::StillStarting),
            Some(FirstPacket::Throttled) => return Err(NotIn::Throttled(said.into())),
            None if said.len() < BYTES_MAX => {}
            Some(FirstPacket::Other) | None => return Ok(said),
        }
    }
}

/// What was said before the end is passed on; the relay meets the end itself.
fn end(said: Vec<u8>, error: io::Error) -> Result<Vec<u8>, NotIn> {
    if said.is_empty() {
        Err(NotIn::Closed(error))
    } else {
        Ok(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::BackendAddr;
    use crate::hold::CHANNEL;
    use crate::hold::schedule::{FIRST_ID, TICK, Way};
    use crate::protocol::login::{disconnect, plugin_request};
    use crate::protocol::{encode_frame, varint};
    use crate::throttle::Throttle;
    use crate::throttle::pace::Gate;
    use std::net::Ipv4Addr;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio::time;

    /// The two ends of a connection.
    async fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let dialled = TcpStream::connect(listener.local_addr().unwrap());
        let (one, other) = tokio::try_join!(dialled, listener.accept()).unwrap();
        (one, other.0)
    }

    fn gate() -> Gate {
        Gate {
            backend: BackendAddr::parse("b:1").unwrap(),
            client: None,
        }
    }

    #[tokio::test]
    async fn a_kick_is_heard_though_the_client_has_only_just_answered() {
        let (mut client, held) = connection().await;
        let (backend, mut server) = connection().await;
        let greeting = encode_frame(0, b"hello");
        let mut hold = Hold::new(&held, greeting.clone(), Way::Requests, TICK);
        held.writable().await.unwrap();
        time::pause();
        time::advance(TICK / 2).await;
        time::resume();
        let mut word = plugin_request(FIRST_ID, CHANNEL, &[]);
        let heard = hold.until(Box::pin(client.read_exact(&mut word))).await;
        heard.unwrap().unwrap();
        let mut answer = Vec::new();
        varint::encode(FIRST_ID, &mut answer);
        answer.push(0);
        let answer = encode_frame(2, &answer);
        let (settled, answered) = tokio::join!(hold.settle(), client.write_all(&answer));
        settled.unwrap();
        answered.unwrap();

        let kicks = async {
            server.read_exact(&mut greeting.clone()).await.unwrap();
            let kick = disconnect("Server is still starting!");
            server.write_all(&kick).await.unwrap();
        };
        let throttle = Throttle::default();
        let (introduced, ()) = tokio::join!(
            introduce(&hold, backend, true, throttle.regardless(gate())),
            kicks
        );

        assert!(matches!(introduced, Err(NotIn::StillStarting)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_goes_on_talking_is_not_kept_waiting_for_the_servers_word() {
        let (mut client, held) = connection().await;
        let (backend, _server) = connection().await;
        let hold = Hold::new(&held, b"hello".to_vec(), Way::Silence, TICK);
        client.write_all(b"more").await.unwrap();
        let (begun, throttle) = (Instant::now(), Throttle::default());

        let introduced = introduce(&hold, backend, true, throttle.regardless(gate()))
            .await
            .unwrap();

        assert_eq!((introduced.said, begun.elapsed()), (vec![], Duration::ZERO));
    }
}
