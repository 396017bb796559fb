//! Connections and pipes that do what a script says, and a driver that polls a session only when
//! it was woken: a lost waker hangs a player, and here it fails the test.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Wake, Waker};

use tokio::io::ReadBuf;

use super::counters::{Counters, Totals};
use super::scratch::Scratch;
use super::session::Session;
use super::stream::{Stream, Through};
use super::{Relayed, Side};

/// What a connection does next when it is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Say {
    /// So many bytes are there.
    Bytes(usize),
    /// Nothing is there for a while.
    Nothing,
    /// It closes its sending half.
    Fin,
    /// It resets.
    Reset,
}

/// What a connection does next when it is written to; it takes everything once the script ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Take {
    /// It takes at most so many bytes.
    Bytes(usize),
    /// It takes nothing for a while.
    Nothing,
    /// It refuses for good.
    Broken,
}

/// Most bytes a connection may say.
const SAID_BYTES_MAX: usize = 16 << 20;

/// What connections say, the backend's half behind the client's: bytes that look alike nowhere.
static SEQUENCE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let words = (0..2 * SAID_BYTES_MAX as u64 / 8).map(|place| {
        let mixed = (place + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed ^ (mixed >> 29)).to_le_bytes()
    });
    words.collect::<Vec<_>>().concat()
});

/// The first bytes a side says.
pub(super) fn sequence(side: Side, length: usize) -> &'static [u8] {
    let from = begin(side);
    &SEQUENCE[from..from + length]
}

fn begin(side: Side) -> usize {
    match side {
        Side::Client => 0,
        Side::Backend => SAID_BYTES_MAX,
    }
}

#[derive(Debug, Default)]
struct Gate {
    shut: bool,
    waker: Option<Waker>,
}

impl Gate {
    /// Whether it is shut; then the caller is woken when it opens.
    fn shut(&mut self, cx: &Context<'_>) -> bool {
        if self.shut {
            self.waker = Some(cx.waker().clone());
        }
        self.shut
    }

    fn open(&mut self) -> bool {
        let waited_for = self.shut && self.waker.is_some();
        if waited_for {
            self.shut = false;
            self.waker.take().into_iter().for_each(Waker::wake);
        }
        waited_for
    }
}

#[derive(Debug, Default)]
struct Inside {
    says: VecDeque<Say>,
    takes: VecDeque<Take>,
    said: usize,
    taken: Vec<u8>,
    fin_seen: bool,
    readable: Gate,
    writable: Gate,
}

/// One scripted connection.
#[derive(Debug, Default)]
pub(super) struct Fake(RefCell<Inside>);

impl Fake {
    pub(super) fn new(side: Side, says: &[Say], takes: &[Take]) -> Self {
        Self(RefCell::new(Inside {
            said: begin(side),
            says: says.iter().copied().collect(),
            takes: takes.iter().copied().collect(),
            ..Inside::default()
        }))
    }

    /// What it was sent.
    pub(super) fn taken(&self) -> Vec<u8> {
        self.0.borrow().taken.clone()
    }

    /// Whether it was told that there is no more.
    pub(super) fn fin_seen(&self) -> bool {
        self.0.borrow().fin_seen
    }

    fn say(&self, most: usize) -> io::Result<&'static [u8]> {
        let mut inside = self.0.borrow_mut();
        match inside.says.front().copied() {
            Some(Say::Bytes(bytes)) => {
                let now = bytes.min(most);
                if now == bytes {
                    inside.says.pop_front();
                } else {
                    inside.says[0] = Say::Bytes(bytes - now);
                }
                let from = inside.said;
                inside.said += now;
                Ok(&SEQUENCE[from..from + now])
            }
            Some(Say::Nothing) => {
                inside.says.pop_front();
                inside.readable.shut = true;
                Err(io::ErrorKind::WouldBlock.into())
            }
            Some(Say::Fin) => Ok(&[]),
            Some(Say::Reset) => Err(io::ErrorKind::ConnectionReset.into()),
            // It stays, and is silent.
            None => {
                inside.readable.shut = true;
                Err(io::ErrorKind::WouldBlock.into())
            }
        }
    }

    fn take(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut inside = self.0.borrow_mut();
        assert!(!inside.fin_seen, "written to after the end");
        let most = match inside.takes.pop_front() {
            None => bytes.len(),
            Some(Take::Bytes(most)) => most.max(1),
            Some(Take::Nothing) => {
                inside.writable.shut = true;
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Some(Take::Broken) => {
                inside.takes.push_front(Take::Broken);
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        };
        let now = bytes.len().min(most);
        inside.taken.extend_from_slice(&bytes[..now]);
        Ok(now)
    }

    /// Opens a gate that somebody waits at. A silent connection has nothing to open for.
    pub(super) fn stir(&self, reading: bool) -> bool {
        let mut inside = self.0.borrow_mut();
        if reading {
            !inside.says.is_empty() && inside.readable.open()
        } else {
            inside.writable.open()
        }
    }
}

fn poll<T>(outcome: io::Result<T>) -> Option<Poll<io::Result<T>>> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        outcome => Some(Poll::Ready(outcome)),
    }
}

impl Stream for Fake {
    type Pipe = FakePipe;

    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.0.borrow_mut().readable.shut(cx)
            && let Some(said) = poll(self.say(into.remaining()))
        {
            return said.map_ok(|bytes| into.put_slice(bytes));
        }
        assert!(self.0.borrow_mut().readable.shut(cx));
        Poll::Pending
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.0.borrow_mut().writable.shut(cx)
            && let Some(taken) = poll(self.take(bytes))
        {
            return taken;
        }
        assert!(self.0.borrow_mut().writable.shut(cx));
        Poll::Pending
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().fin_seen = true;
        Poll::Ready(Ok(()))
    }

    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.0.borrow_mut().readable.shut(cx) {
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.0.borrow_mut().writable.shut(cx) {
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

thread_local! {
    /// How many more pipes there are to be had.
    pub(super) static PIPES: Cell<usize> = const { Cell::new(0) };
}

/// A scripted connection's pipe.
#[derive(Debug)]
pub(super) struct FakePipe(RefCell<VecDeque<u8>>);

/// What a pipe holds.
const FAKE_PIPE_BYTES: usize = 64 * 1024;

impl Through<Fake> for FakePipe {
    fn new() -> Option<Self> {
        let left = PIPES.get().checked_sub(1)?;
        PIPES.set(left);
        Some(Self(RefCell::default()))
    }

    fn fill(&self, source: &Fake) -> io::Result<usize> {
        let mut inside = self.0.borrow_mut();
        assert!(inside.is_empty(), "a pipe with somebody's bytes in it");
        let said = source.say(FAKE_PIPE_BYTES)?;
        inside.extend(said);
        Ok(said.len())
    }

    fn drain(&self, sink: &Fake, bytes: usize) -> io::Result<usize> {
        let mut inside = self.0.borrow_mut();
        assert!(bytes <= inside.len());
        let taken = sink.take(&inside.make_contiguous()[..bytes])?;
        inside.drain(..taken);
        Ok(taken)
    }
}

/// Notes that somebody was woken.
#[derive(Debug, Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// How a session under a driver went.
#[derive(Debug)]
pub(super) struct Driven {
    pub(super) relayed: Relayed,
    pub(super) totals: Totals,
}

/// Relays between two scripted connections to the end, after the client has had `said` bytes of the backend. `order`
/// says which of those that wait is next to go on. Must be called within a runtime whose clock is paused.
///
/// Returns `None` when nobody would wake the session ever again: both sides are silent.
pub(super) fn drive(
    client: &mut Fake,
    backend: &mut Fake,
    said: u64,
    order: &[u8],
) -> Option<Driven> {
    let (counters, mut scratch) = (Counters::default(), Scratch::default());
    let mut session = Session::after(said);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    let mut order = order.iter().copied().cycle();
    loop {
        let polled = session.poll(&mut cx, client, backend, &mut scratch, &counters);
        if let Poll::Ready(relayed) = polled {
            let totals = counters.totals();
            return Some(Driven { relayed, totals });
        }
        let begin = usize::from(order.next().unwrap_or(0));
        while !woken.0.swap(false, Ordering::SeqCst) {
            let stir = |place: usize| {
                let side = if place & 1 == 0 { &*client } else { &*backend };
                side.stir(place & 2 == 0)
            };
            if !(begin..begin + 4).any(stir) {
                return None;
            }
        }
    }
}
