//! What the relay needs of a connection: a seam, so that it is tested without sockets.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// One side's connection.
pub(super) trait Stream: Sized {
    /// What bytes are spliced through, where that is possible.
    type Pipe: Through<Self>;

    /// Reads; nothing read is the end.
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>>;
    /// Writes some of `bytes`.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;
    /// Closes the sending half.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Waits until a read may succeed.
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Waits until a write may succeed.
    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// Something that takes bytes from one connection and gives them to another.
pub(super) trait Through<S>: Sized {
    /// An empty one, if it is to be had.
    fn new() -> Option<Self>;
    /// Takes bytes in; none is the source's end.
    fn fill(&self, source: &S) -> io::Result<usize>;
    /// Gives up to `bytes` of them out.
    fn drain(&self, sink: &S, bytes: usize) -> io::Result<usize>;
}

impl Stream for TcpStream {
    #[cfg(target_os = "linux")]
    type Pipe = super::pipe::Pipe;
    #[cfg(not(target_os = "linux"))]
    type Pipe = Never;

    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(self).poll_read(cx, into)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(self).poll_write(cx, bytes)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self).poll_shutdown(cx)
    }

    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(cx)
    }

    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write_ready(cx)
    }
}

/// Where there is no splice(2), everything is copied.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub(super) enum Never {}

#[cfg(not(target_os = "linux"))]
impl Through<TcpStream> for Never {
    fn new() -> Option<Self> {
        None
    }

    fn fill(&self, _: &TcpStream) -> io::Result<usize> {
        match *self {}
    }

    fn drain(&self, _: &TcpStream, _: usize) -> io::Result<usize> {
        match *self {}
    }
}

/// Fills `pipe` as soon as there is something to fill it with.
pub(super) fn poll_fill<S: Stream>(
    source: &mut S,
    cx: &mut Context<'_>,
    pipe: &S::Pipe,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(source.poll_readable(cx))?;
        match pipe.fill(source) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            outcome => return Poll::Ready(outcome),
        }
    }
}

/// Drains `pipe` as soon as there is room.
pub(super) fn poll_drain<S: Stream>(
    sink: &mut S,
    cx: &mut Context<'_>,
    pipe: &S::Pipe,
    bytes: usize,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(sink.poll_writable(cx))?;
        match pipe.drain(sink, bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            outcome => return Poll::Ready(outcome),
        }
    }
}
