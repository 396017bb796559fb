//! A TCP proxy that refuses, stalls, cuts and restores, to stand in front of a real peer.

use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::sieve::{Losing, Sieve};

/// Bytes held per direction of a connection; a full buffer stops the reading.
const BUFFER_BYTES: usize = 16 * 1024;
/// Connections open at once; one more is reset.
const MAX_OPEN: usize = 4096;
/// Connections the kernel may hold before they are accepted.
const BACKLOG: u32 = 1024;

/// A TCP proxy with faults on request; dropping it resets every connection and closes the port.
///
/// It starts passing. Every fault has taken effect when its call returns.
#[derive(Debug)]
pub struct ChaosProxy {
    addr: SocketAddr,
    orders: mpsc::Sender<(Order, oneshot::Sender<io::Result<()>>)>,
    upstream: watch::Sender<SocketAddr>,
    counts: Arc<Counts>,
    losing: Arc<Losing>,
    _end: DropGuard,
}

#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicU64,
    open: AtomicUsize,
}

#[derive(Debug, Clone, Copy)]
enum Order {
    Pass,
    Refuse,
    Stall,
    Cut,
}

impl ChaosProxy {
    /// Listens on a free port of 127.0.0.1 and passes connections on to `upstream`.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(upstream: SocketAddr) -> Result<Self> {
        Self::begin(upstream, false).await
    }

    /// The same in front of Postgres, for connections without TLS; [`losing`](Self::losing) has an effect then.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn before_postgres(upstream: SocketAddr) -> Result<Self> {
        Self::begin(upstream, true).await
    }

    async fn begin(upstream: SocketAddr, of_postgres: bool) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("bind a chaos proxy")?;
        let addr = listener.local_addr()?;
        let (orders, inbox) = mpsc::channel(1);
        let (upstream, upstream_seen) = watch::channel(upstream);
        let counts = Arc::new(Counts::default());
        let losing = Arc::new(Losing::default());
        let end = CancellationToken::new();
        let server = Server {
            addr,
            door: Door::Open(listener),
            flowing: watch::channel(true).0,
            upstream: upstream_seen,
            counts: Arc::clone(&counts),
            losing: of_postgres.then(|| Arc::clone(&losing)),
            cut: end.child_token(),
            carried: TaskTracker::new(),
        };
        tokio::spawn(server.run(inbox, end.clone()));
        Ok(Self {
            addr,
            orders,
            upstream,
            counts,
            losing,
            _end: end.drop_guard(),
        })
    }

    /// Where to connect to; it stays the same for the proxy's whole life.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sends connections made from now on to `addr`; open ones stay where they are.
    pub fn set_upstream(&self, addr: SocketAddr) {
        self.upstream.send_replace(addr);
    }

    /// Accepts connections and moves bytes, also those held back by a stall.
    ///
    /// # Errors
    /// When the port could not be opened again.
    pub async fn pass(&self) -> Result<()> {
        self.order(Order::Pass).await
    }

    /// Refuses new connections for real: the port is kept, but nothing listens on it. Open connections go on.
    ///
    /// # Errors
    /// When the port was lost to somebody else.
    pub async fn refuse(&self) -> Result<()> {
        self.order(Order::Refuse).await
    }

    /// Keeps old and new connections open, but moves no byte and no end-of-stream in either direction.
    /// New connections reach the upstream only after [`pass`](Self::pass).
    ///
    /// # Errors
    /// When the port could not be opened again after a refusal.
    pub async fn stall(&self) -> Result<()> {
        self.order(Order::Stall).await
    }

    /// Resets all open connections, on both sides; what happens to new ones stays as it was.
    ///
    /// # Errors
    /// When the proxy has ended.
    pub async fn cut(&self) -> Result<()> {
        self.order(Order::Cut).await
    }

    /// Which of the server's notifications get lost.
    #[must_use]
    pub fn losing(&self) -> &Losing {
        &self.losing
    }

    /// Ends any fault; another word for [`pass`](Self::pass) that reads well after one.
    ///
    /// # Errors
    /// When the port could not be opened again.
    pub async fn restore(&self) -> Result<()> {
        self.pass().await
    }

    /// Connections accepted since the start.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.counts.accepted.load(Ordering::SeqCst)
    }

    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.counts.open.load(Ordering::SeqCst)
    }

    async fn order(&self, order: Order) -> Result<()> {
        let (reply, done) = oneshot::channel();
        self.orders
            .send((order, reply))
            .await
            .context("the chaos proxy has ended")?;
        done.await
            .context("the chaos proxy has ended")?
            .with_context(|| format!("chaos proxy on {}: {order:?}", self.addr))
    }
}

/// The port: listening, or held without listening so that a connect is refused and nobody else takes it.
enum Door {
    Open(TcpListener),
    Shut(TcpSocket),
    Lost,
}

impl Door {
    async fn accept(&self) -> io::Result<TcpStream> {
        match self {
            Self::Open(listener) => listener.accept().await.map(|(stream, _)| stream),
            Self::Shut(_) | Self::Lost => pending().await,
        }
    }

    fn open(self, addr: SocketAddr) -> io::Result<Self> {
        match self {
            Self::Open(_) => Ok(self),
            Self::Shut(socket) => socket.listen(BACKLOG).map(Self::Open),
            Self::Lost => hold(addr)?.listen(BACKLOG).map(Self::Open),
        }
    }

    fn shut(self, addr: SocketAddr) -> io::Result<Self> {
        if let Self::Shut(_) = self {
            return Ok(self);
        }
        drop(self);
        hold(addr).map(Self::Shut)
    }
}

fn hold(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

struct Server {
    addr: SocketAddr,
    door: Door,
    flowing: watch::Sender<bool>,
    upstream: watch::Receiver<SocketAddr>,
    counts: Arc<Counts>,
    /// What gets lost of what a Postgres says, if it is one.
    losing: Option<Arc<Losing>>,
    /// Cancelled by the next cut, together with every connection made until then.
    cut: CancellationToken,
    carried: TaskTracker,
}

impl Server {
    async fn run(
        mut self,
        mut inbox: mpsc::Receiver<(Order, oneshot::Sender<io::Result<()>>)>,
        end: CancellationToken,
    ) {
        loop {
            tokio::select! {
                biased;
                () = end.cancelled() => return,
                Some((order, reply)) = inbox.recv() => {
                    let done = self.obey(order, &end).await;
                    // Whoever asked may have stopped waiting.
                    drop(reply.send(done));
                }
                accepted = self.door.accept() => match accepted {
                    Ok(client) => self.admit(client),
                    Err(error) => debug!(%error, "chaos proxy: accept failed"),
                },
            }
        }
    }

    async fn obey(&mut self, order: Order, end: &CancellationToken) -> io::Result<()> {
        match order {
            Order::Pass => {
                self.turn(Door::open)?;
                self.flowing.send_replace(true);
            }
            Order::Refuse => {
                self.turn(Door::shut)?;
                self.flowing.send_replace(true);
            }
            Order::Stall => {
                self.flowing.send_replace(false);
                self.turn(Door::open)?;
            }
            Order::Cut => {
                self.cut.cancel();
                self.carried.close();
                self.carried.wait().await;
                self.cut = end.child_token();
                self.carried = TaskTracker::new();
            }
        }
        Ok(())
    }

    fn turn(&mut self, how: fn(Door, SocketAddr) -> io::Result<Door>) -> io::Result<()> {
        let door = std::mem::replace(&mut self.door, Door::Lost);
        self.door = how(door, self.addr)?;
        Ok(())
    }

    fn admit(&self, client: TcpStream) {
        self.counts.accepted.fetch_add(1, Ordering::SeqCst);
        if self.counts.open.load(Ordering::SeqCst) >= MAX_OPEN {
            return reset(&client);
        }
        let open = Open::count(&self.counts);
        let flowing = self.flowing.subscribe();
        let upstream = self.upstream.clone();
        let cut = self.cut.clone();
        let sieve = self.losing.clone().map(Sieve::new);
        self.carried.spawn(async move {
            carry(client, upstream, flowing, cut, sieve).await;
            drop(open);
        });
    }
}

/// Counts a connection as open for as long as it lives.
struct Open(Arc<Counts>);

impl Open {
    fn count(counts: &Arc<Counts>) -> Self {
        counts.open.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(counts))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn carry(
    mut client: TcpStream,
    upstream: watch::Receiver<SocketAddr>,
    mut flowing: watch::Receiver<bool>,
    cut: CancellationToken,
    sieve: Option<Sieve>,
) {
    let dialled = cut.run_until_cancelled(async {
        wait_for(&mut flowing, true).await?;
        let upstream = *upstream.borrow();
        TcpStream::connect(upstream).await
    });
    let Some(Ok(mut server)) = dialled.await else {
        return reset(&client);
    };
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let there = pump(from_client, to_server, flowing.clone(), None);
    let back = pump(from_server, to_client, flowing, sieve);
    let ended = cut
        .run_until_cancelled(async { tokio::try_join!(there, back) })
        .await;
    if !matches!(ended, Some(Ok(_))) {
        reset(&client);
        reset(&server);
    }
}

/// Moves bytes one way while they may flow, then the end of the stream.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut flowing: watch::Receiver<bool>,
    mut sieve: Option<Sieve>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    // `read` and `write` are abandoned by a stall; neither loses a byte by that.
    loop {
        wait_for(&mut flowing, true).await?;
        let read = tokio::select! {
            biased;
            stalled = wait_for(&mut flowing, false) => { stalled?; continue }
            read = from.read(&mut buffer) => read?,
        };
        let left = buffer.get(..read).unwrap_or_default();
        let passed = sieve.as_mut().map(|sieve| sieve.pass(left));
        let mut left = passed.as_deref().unwrap_or(left);
        while !left.is_empty() {
            wait_for(&mut flowing, true).await?;
            let written = tokio::select! {
                biased;
                stalled = wait_for(&mut flowing, false) => { stalled?; continue }
                written = to.write(left) => written?,
            };
            left = left.get(written..).unwrap_or_default();
        }
        if read == 0 {
            wait_for(&mut flowing, true).await?;
            return to.shutdown().await;
        }
    }
}

async fn wait_for(flowing: &mut watch::Receiver<bool>, wanted: bool) -> io::Result<()> {
    match flowing.wait_for(|&flows| flows == wanted).await {
        Ok(_) => Ok(()),
        Err(_) => Err(io::ErrorKind::ConnectionReset.into()),
    }
}

/// Makes the coming close a reset instead of a polite end.
fn reset(stream: &TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        debug!(%error, "chaos proxy: cannot reset");
    }
}
