//! One direction of a session: every byte of its source to its sink, in order, once.

use std::io;
use std::mem;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use tokio::io::ReadBuf;
use tokio::task::yield_now;

use super::counters::Counters;
use super::gear::Gear;
use super::scratch::Scratch;
use super::stream::{Stream, poll_drain, poll_fill};
use super::{Direction, Side};

/// Most bytes a direction moves before others of its thread have their turn.
const TURN_BYTES: u64 = 256 * 1024;

/// One direction. Holds bytes only while the sink does not take them.
pub(super) struct Flow<S: Stream> {
    direction: Direction,
    gear: Gear,
    /// Whether it has begun to splice, which takes a pipe besides the gear.
    splices: bool,
    held: Held<S::Pipe>,
    heard: bool,
    source_ended: bool,
    moved: u64,
}

/// What was taken from the source and not yet by the sink.
enum Held<P> {
    Nothing,
    Copied { bytes: Box<[u8]>, sent: usize },
    Spliced { pipe: P, bytes: usize },
}

/// The connection that failed.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) side: Side,
    pub(super) error: io::Error,
}

/// What a flow is polled with.
pub(super) struct Turn<'a, S: Stream> {
    pub(super) source: &'a mut S,
    pub(super) sink: &'a mut S,
    pub(super) scratch: &'a mut Scratch<S>,
    pub(super) counters: &'a Counters,
}

impl<S: Stream> Flow<S> {
    /// A direction that has moved so many bytes before.
    pub(super) fn after(direction: Direction, moved: u64) -> Self {
        Self {
            direction,
            gear: Gear::default(),
            splices: false,
            held: Held::Nothing,
            heard: false,
            source_ended: false,
            moved,
        }
    }

    /// Bytes the sink has taken.
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    /// Whether anything was taken from the source, delivered or not.
    pub(super) fn heard(&self) -> bool {
        self.heard
    }

    /// Whether the source has said its last.
    pub(super) fn source_ended(&self) -> bool {
        self.source_ended
    }

    /// Moves what can be moved now. Ready when the source has ended, the sink has taken
    /// everything and its sending half is closed; or when one of them failed.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        turn: &mut Turn<'_, S>,
    ) -> Poll<Result<(), Fault>> {
        let (moved, mut spliced) = (self.moved, 0);
        let outcome = loop {
            match self.deliver(cx, turn.sink, turn.scratch, &mut spliced) {
                Poll::Ready(Ok(())) => {}
                undelivered => break undelivered,
            }
            if self.source_ended {
                break self.close(cx, turn.sink);
            }
            if self.moved - moved >= TURN_BYTES {
                give_way(cx);
                break Poll::Pending;
            }
            match self.take(cx, turn) {
                Poll::Ready(Ok(())) => {}
                nothing => break nothing,
            }
        };
        let moved = self.moved - moved;
        if moved > 0 {
            turn.counters.moved(self.direction, moved, spliced);
        }
        outcome
    }

    /// Gives the sink what is held.
    fn deliver(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut S,
        scratch: &mut Scratch<S>,
        spliced: &mut u64,
    ) -> Poll<Result<(), Fault>> {
        match &mut self.held {
            Held::Nothing => {}
            Held::Copied { bytes, sent } => {
                while let Some(rest) = bytes.get(*sent..).filter(|rest| !rest.is_empty()) {
                    let taken = ready!(sink.poll_write(cx, rest));
                    let taken = self.direction.at_sink(some(taken))?;
                    *sent += taken;
                    self.moved += count(taken);
                }
                self.held = Held::Nothing;
            }
            Held::Spliced { pipe, bytes } => {
                while *bytes > 0 {
                    let taken = ready!(poll_drain(sink, cx, pipe, *bytes));
                    let taken = self.direction.at_sink(some(taken))?;
                    *bytes = bytes.saturating_sub(taken);
                    self.moved += count(taken);
                    *spliced += count(taken);
                }
                if let Held::Spliced { pipe, .. } = mem::replace(&mut self.held, Held::Nothing) {
                    scratch.keep(pipe);
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes something from the source; what is copied goes to the sink at once.
    fn take(&mut self, cx: &mut Context<'_>, turn: &mut Turn<'_, S>) -> Poll<Result<(), Fault>> {
        if !self.gear.splices() {
            return self.copy(cx, turn);
        }
        let Some(pipe) = turn.scratch.pipe() else {
            self.gear.refused();
            self.shift(false, turn.counters);
            turn.counters.refused();
            return self.copy(cx, turn);
        };
        self.shift(true, turn.counters);
        match poll_fill(turn.source, cx, &pipe) {
            Poll::Ready(Ok(bytes)) if bytes > 0 => {
                self.held = Held::Spliced { pipe, bytes };
                self.heard = true;
                self.gear.spliced(bytes);
                self.shift(self.gear.splices(), turn.counters);
                Poll::Ready(Ok(()))
            }
            nothing => {
                turn.scratch.keep(pipe);
                self.direction.at_source(ready!(nothing))?;
                self.source_ended = true;
                Poll::Ready(Ok(()))
            }
        }
    }

    fn copy(&mut self, cx: &mut Context<'_>, turn: &mut Turn<'_, S>) -> Poll<Result<(), Fault>> {
        let mut buffer = ReadBuf::new(&mut turn.scratch.buffer);
        let read = ready!(turn.source.poll_read(cx, &mut buffer));
        self.direction.at_source(read)?;
        let mut rest = buffer.filled();
        if rest.is_empty() {
            self.source_ended = true;
        } else {
            self.heard = true;
            self.gear.copied(rest.len());
        }
        while !rest.is_empty() {
            match turn.sink.poll_write(cx, rest) {
                Poll::Ready(taken) => {
                    let taken = self.direction.at_sink(some(taken))?;
                    self.moved += count(taken);
                    rest = rest.get(taken..).unwrap_or_default();
                }
                Poll::Pending => {
                    let bytes = rest.into();
                    self.held = Held::Copied { bytes, sent: 0 };
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn close(&self, cx: &mut Context<'_>, sink: &mut S) -> Poll<Result<(), Fault>> {
        if self.direction == Direction::Down && self.moved == 0 {
            let silent = Err(io::ErrorKind::UnexpectedEof.into());
            return Poll::Ready(self.direction.at_source(silent));
        }
        let closed = ready!(sink.poll_shutdown(cx));
        Poll::Ready(self.direction.at_sink(closed))
    }

    fn shift(&mut self, splices: bool, counters: &Counters) {
        if self.splices != splices {
            self.splices = splices;
            counters.shifted(splices);
        }
    }
}

impl Direction {
    fn at_source<T>(self, outcome: io::Result<T>) -> Result<T, Fault> {
        let side = self.source();
        outcome.map_err(|error| Fault { side, error })
    }

    fn at_sink<T>(self, outcome: io::Result<T>) -> Result<T, Fault> {
        let side = self.sink();
        outcome.map_err(|error| Fault { side, error })
    }
}

/// Has the task polled again, but not before its thread has looked at everybody else's sockets:
/// woken directly, it would be next among those that are known to be ready.
fn give_way(cx: &mut Context<'_>) {
    let mut turn = pin!(yield_now());
    let _ = turn.as_mut().poll(cx);
}

/// A sink that takes nothing, and does not say why, would be asked for ever.
fn some(taken: io::Result<usize>) -> io::Result<usize> {
    taken.and_then(|taken| match taken {
        0 => Err(io::ErrorKind::WriteZero.into()),
        taken => Ok(taken),
    })
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or_default()
}
