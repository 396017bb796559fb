//! What a worker thread lends to whichever session it polls: an idle session holds nothing.

use super::stream::{Stream, Through};

/// Most bytes copied in one go.
pub(super) const SCRATCH_BYTES: usize = 32 * 1024;
/// Empty pipes a thread keeps for the next busy direction.
const PIPES_KEPT: usize = 4;

/// A buffer and some empty pipes.
pub(super) struct Scratch<S: Stream> {
    pub(super) buffer: Box<[u8]>,
    pipes: Vec<S::Pipe>,
}

impl<S: Stream> Default for Scratch<S> {
    fn default() -> Self {
        Self {
            buffer: vec![0; SCRATCH_BYTES].into(),
            pipes: Vec::with_capacity(PIPES_KEPT),
        }
    }
}

impl<S: Stream> Scratch<S> {
    /// An empty pipe, made if none is kept.
    pub(super) fn pipe(&mut self) -> Option<S::Pipe> {
        self.pipes.pop().or_else(S::Pipe::new)
    }

    /// Takes an empty pipe back.
    pub(super) fn keep(&mut self, pipe: S::Pipe) {
        if self.pipes.len() < PIPES_KEPT {
            self.pipes.push(pipe);
        }
    }
}
