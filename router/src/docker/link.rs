//! Connections to the engine: one for each request, over a socket that gives no more than so many bytes.
//!
//! The library reads answers to their end, so the end is here.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bollard::BollardRequest;
use bollard::errors::Error;
use hyper::Response;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

use crate::config::EngineAddr;
use crate::dial::dial;
use crate::http_client::say_length;

/// Longest answer, headers included.
pub const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Longest time to connect to an engine in the network.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Most that is read ahead of what was understood, in bytes.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// How many bytes may yet be read.
#[derive(Debug, Clone)]
pub(super) struct Budget(Arc<AtomicU64>);

impl Budget {
    pub(super) fn new(bytes: u64) -> Self {
        Self(Arc::new(AtomicU64::new(bytes)))
    }

    pub(super) fn refill(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    /// Takes what was read; whether it was there.
    fn take(&self, bytes: usize) -> bool {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let left = |left: u64| left.checked_sub(bytes);
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
        taken.is_ok()
    }
}

/// The way to one engine.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) at: EngineAddr,
    /// The version of its API that is asked for; without one, its newest.
    pub(super) version: Option<String>,
}

impl Link {
    /// Sends one request and comes back with the head of its answer, which is `budget` long at most.
    pub(super) async fn send(
        &self,
        request: BollardRequest,
        budget: Budget,
    ) -> Result<Response<Incoming>, Error> {
        match &self.at {
            EngineAddr::Unix(path) => {
                let socket = UnixStream::connect(path).await?;
                self.speak(socket, request, budget).await
            }
            EngineAddr::Tcp(address) => {
                let socket = dial(address, CONNECT_TIMEOUT).await?;
                self.speak(socket, request, budget).await
            }
        }
    }

    async fn speak(
        &self,
        socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        mut request: BollardRequest,
        budget: Budget,
    ) -> Result<Response<Incoming>, Error> {
        let path = request
            .uri()
            .path_and_query()
            .map_or("/", |path| path.as_str());
        let version = self.version.as_ref().map(|version| format!("/v{version}"));
        *request.uri_mut() = format!("{}{path}", version.unwrap_or_default()).parse()?;
        request
            .headers_mut()
            .insert(HOST, HeaderValue::from_static("docker"));
        say_length(&mut request);
        let socket = TokioIo::new(Bounded { socket, budget });
        let (mut requests, connection) = http1::Builder::new()
            .max_buf_size(BUFFER_BYTES_MAX)
            .handshake(socket)
            .await?;
        // It ends with the answer, or when nobody wants that any more. What is wrong with it, the reader is told.
        tokio::spawn(connection);
        Ok(requests.send_request(request).await?)
    }
}

/// A socket whose reads come out of a budget.
struct Bounded<S> {
    socket: S,
    budget: Budget,
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        std::task::ready!(Pin::new(&mut self.socket).poll_read(context, buffer))?;
        let read = buffer.filled().len().saturating_sub(before);
        Poll::Ready(if self.budget.take(read) {
            Ok(())
        } else {
            Err(io::Error::other("the answer is longer than any should be"))
        })
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
