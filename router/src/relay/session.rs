//! Both directions of one session, and when and how it is over.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep};

use super::counters::Counters;
use super::flow::{Fault, Flow, Turn};
use super::scratch::Scratch;
use super::stream::Stream;
use super::{Direction, End, HALF_CLOSED_IDLE_MAX, Relayed, Side};

/// The state of one session.
pub(super) struct Session<S: Stream> {
    up: Flow<S>,
    down: Flow<S>,
    /// How the first of the two directions ended; the other goes on.
    first: Option<First>,
}

#[derive(Debug)]
struct First {
    direction: Direction,
    end: End,
    /// Bounds the pauses of the other direction.
    pause: Pin<Box<Sleep>>,
    moved: u64,
}

impl<S: Stream> Session<S> {
    /// A session whose client has had so many bytes of the backend before.
    pub(super) fn after(said: u64) -> Self {
        Self {
            up: Flow::after(Direction::Up, 0),
            down: Flow::after(Direction::Down, said),
            first: None,
        }
    }

    /// Moves what can be moved now; ready when the session is over.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut S,
        backend: &mut S,
        scratch: &mut Scratch<S>,
        counters: &Counters,
    ) -> Poll<Relayed> {
        for direction in [Direction::Up, Direction::Down] {
            if self
                .first
                .as_ref()
                .is_some_and(|first| first.direction == direction)
            {
                continue;
            }
            let (flow, source, sink) = match direction {
                Direction::Up => (&mut self.up, &mut *client, &mut *backend),
                Direction::Down => (&mut self.down, &mut *backend, &mut *client),
            };
            let mut turn = Turn {
                source,
                sink,
                scratch,
                counters,
            };
            if let Poll::Ready(outcome) = flow.poll(cx, &mut turn)
                && let Some(end) = self.ended(direction, outcome)
            {
                return Poll::Ready(self.relayed(end));
            }
        }
        // After the directions: what they have just moved counts.
        self.paused(cx).map(|end| self.relayed(end))
    }

    /// What the end of one direction means: the session's end, unless the other may go on.
    fn ended(&mut self, direction: Direction, outcome: Result<(), Fault>) -> Option<End> {
        if let Some(first) = self.first.take() {
            // What is sent to a side that has left in order is refused, which is no failure.
            return Some(first.end);
        }
        let end = match outcome {
            Ok(()) => End::Closed(direction.source()),
            Err(Fault { side, error }) if side == direction.source() => {
                return Some(End::Failed(side, error));
            }
            // It may have said something before it failed; that is still to be read.
            Err(Fault { side, error }) => End::Failed(side, error),
        };
        self.first = Some(First {
            direction,
            end,
            pause: Box::pin(sleep(HALF_CLOSED_IDLE_MAX)),
            moved: self.moved(),
        });
        None
    }

    /// Ready when the direction that is left has paused for too long.
    fn paused(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let moved = self.moved();
        let Some(first) = &mut self.first else {
            return Poll::Pending;
        };
        if first.moved != moved {
            first.moved = moved;
            let until = Instant::now() + HALF_CLOSED_IDLE_MAX;
            first.pause.as_mut().reset(until);
        }
        ready!(first.pause.as_mut().poll(cx));
        self.first
            .take()
            .map_or(Poll::Pending, |first| Poll::Ready(first.end))
    }

    fn moved(&self) -> u64 {
        self.up.moved() + self.down.moved()
    }

    fn relayed(&self, end: End) -> Relayed {
        Relayed {
            up: self.up.moved(),
            down: self.down.moved(),
            client_heard: self.up.heard(),
            client_open: !self.up.source_ended() && !matches!(end, End::Failed(Side::Client, _)),
            end,
        }
    }
}
