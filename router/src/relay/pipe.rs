//! The pipe that bytes are spliced through, without a visit to this process.

use std::io;
use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::stream::Through;

/// Smallest pipe worth having. The system hands out one of two pages once its user has too much
/// memory in pipes (`pipe-user-pages-soft`, pipe(7)), and copying is cheaper than that.
const PIPE_BYTES_MIN: usize = 64 * 1024;
/// Most bytes of one splice. What a pipe holds is counted in its slots, not in bytes: one slot of
/// a socket's memory may be 32 KiB.
const SPLICE_BYTES_MAX: usize = 1024 * 1024;

/// An empty pipe, or the bytes of one direction.
#[derive(Debug)]
pub(super) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Through<TcpStream> for Pipe {
    fn new() -> Option<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        let size = fcntl_getpipe_size(&write).ok()?;
        (size >= PIPE_BYTES_MIN).then_some(Self { read, write })
    }

    fn fill(&self, source: &TcpStream) -> io::Result<usize> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        source.try_io(Interest::READABLE, || {
            Ok(splice(
                source,
                None,
                &self.write,
                None,
                SPLICE_BYTES_MAX,
                flags,
            )?)
        })
    }

    fn drain(&self, sink: &TcpStream, bytes: usize) -> io::Result<usize> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        sink.try_io(Interest::WRITABLE, || {
            Ok(splice(&self.read, None, sink, None, bytes, flags)?)
        })
    }
}
