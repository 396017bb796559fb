//! Hands a player's greeting to a backend, and hears its first packet: a server that is still
//! starting kicks, and who waits for it need not see that.

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use crate::hold::{Hold, Left};
use crate::protocol::login::still_starting;

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

/// Hands over what the client has sent; with `listens`, hears what the backend says first.
///
/// Stops listening when the client goes on talking, and after [`FIRST_WORD_MAX`].
///
/// # Errors
/// See [`NotIn`].
pub async fn introduce(
    hold: &Hold<'_>,
    mut backend: TcpStream,
    listens: bool,
) -> Result<Introduced, NotIn> {
    let greeting = backend.write_all(hold.for_backend());
    greeting.await.map_err(NotIn::Closed)?;
    let said = if listens {
        listen(hold.client(), &backend).await?
    } else {
        Vec::new()
    };
    Ok(Introduced { backend, said })
}

async fn listen(client: &TcpStream, backend: &TcpStream) -> Result<Vec<u8>, NotIn> {
    let deadline = Instant::now() + FIRST_WORD_MAX;
    let (mut said, mut first) = (Vec::new(), [0]);
    loop {
        tokio::select! {
            biased;
            readable = backend.readable() => if let Err(error) = readable {
                return end(said, error);
            },
            // Being readable once is remembered; this looks.
            _ = client.peek(&mut first) => return Ok(said),
            () = sleep_until(deadline) => return Ok(said),
        }
        said.reserve(FIRST_READ_BYTES);
        match backend.try_read_buf(&mut said) {
            Ok(0) => return end(said, io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return end(said, error),
        }
        match still_starting(&said) {
            Some(true) => return Err(NotIn::StillStarting),
            None if said.len() < BYTES_MAX => {}
            Some(false) | None => return Ok(said),
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
