//! The pipe that bytes are spliced through, without a visit to this process.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use rustix::pipe::{
    PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice,
};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::PIPES_MAX;
use super::stream::Through;

/// Smallest pipe worth having. The system hands out one of two pages once its user has too much
/// memory in pipes (`pipe-user-pages-soft`, pipe(7)), and copying is cheaper than that.
const PIPE_BYTES_MIN: usize = 64 * 1024;
/// What a pipe is asked to hold, and most bytes of one splice, since a pipe's slots may hold more
/// than a page each. Where the system refuses, it holds what it does.
const PIPE_BYTES: usize = 256 * 1024;

/// An empty pipe, or the bytes of one direction.
#[derive(Debug)]
pub(super) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    _place: Place,
}

/// One of [`PIPES_MAX`] places, given back when dropped.
#[derive(Debug)]
struct Place;

static TAKEN: AtomicUsize = AtomicUsize::new(0);

impl Place {
    fn take() -> Option<Self> {
        let place = Self;
        // A place too many is given back at once.
        (TAKEN.fetch_add(1, Relaxed) < PIPES_MAX).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        TAKEN.fetch_sub(1, Relaxed);
    }
}

impl Through<TcpStream> for Pipe {
    fn new() -> Option<Self> {
        let place = Place::take()?;
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        let size = fcntl_setpipe_size(&write, PIPE_BYTES)
            .or_else(|_| fcntl_getpipe_size(&write))
            .ok()?;
        let pipe = Self {
            read,
            write,
            _place: place,
        };
        (size >= PIPE_BYTES_MIN).then_some(pipe)
    }

    fn fill(&self, source: &TcpStream) -> io::Result<usize> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        source.try_io(Interest::READABLE, || {
            Ok(splice(source, None, &self.write, None, PIPE_BYTES, flags)?)
        })
    }

    fn drain(&self, sink: &TcpStream, bytes: usize) -> io::Result<usize> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        sink.try_io(Interest::WRITABLE, || {
            Ok(splice(&self.read, None, sink, None, bytes, flags)?)
        })
    }
}
