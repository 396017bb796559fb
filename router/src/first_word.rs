//! The first packet a backend says to a player who logs in: a server that is still starting kicks,
//! and who waits for it need not see that.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use crate::protocol::login::still_starting;

/// How long a backend's first word is waited for before the relay takes over.
pub const FIRST_WORD_MAX: Duration = Duration::from_secs(3);
/// Longest first packet that is looked at; a kick that is longer is passed on.
const BYTES_MAX: usize = 4 * 1024;
/// An encryption request fits.
const FIRST_READ_BYTES: usize = 512;

/// What a backend said first.
#[derive(Debug)]
pub enum FirstWord {
    /// This, which is for the client; empty when it is the client's turn, or nobody's.
    Said(Vec<u8>),
    /// That it is still starting.
    StillStarting,
    /// Nothing: it closed the connection.
    Closed(io::Error),
}

/// Listens to what `backend` says first. Stops at once when the client goes on talking.
///
/// # Cancel safety
/// Not cancel safe: what was read is lost.
pub async fn listen(client: &TcpStream, backend: &TcpStream) -> FirstWord {
    let deadline = Instant::now() + FIRST_WORD_MAX;
    let mut said = Vec::new();
    loop {
        tokio::select! {
            biased;
            readable = backend.readable() => if let Err(error) = readable {
                return end(said, error);
            },
            _ = client.readable() => return FirstWord::Said(said),
            () = sleep_until(deadline) => return FirstWord::Said(said),
        }
        said.reserve(FIRST_READ_BYTES);
        match backend.try_read_buf(&mut said) {
            Ok(0) => return end(said, io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return end(said, error),
        }
        match still_starting(&said) {
            Some(true) => return FirstWord::StillStarting,
            None if said.len() < BYTES_MAX => {}
            Some(false) | None => return FirstWord::Said(said),
        }
    }
}

/// What was said before the end is passed on; the relay meets the end itself.
fn end(said: Vec<u8>, error: io::Error) -> FirstWord {
    if said.is_empty() {
        FirstWord::Closed(error)
    } else {
        FirstWord::Said(said)
    }
}
