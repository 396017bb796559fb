//! Live counts of what all sessions move, one load or store away from every worker.

use std::cell::Cell;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use super::Direction;

/// Workers that count without sharing a cache line; more share.
const STRIPES: usize = 32;

/// What was moved since the start, counted as it moves.
#[derive(Debug, Default)]
pub struct Counters {
    stripes: [Stripe; STRIPES],
}

/// One worker's share; as wide as what CPUs fetch at once, so that workers do not share one.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe {
    up: AtomicU64,
    down: AtomicU64,
    spliced: AtomicU64,
    upgrades: AtomicU64,
    downgrades: AtomicU64,
    refused: AtomicU64,
    begun: AtomicU64,
    ended: AtomicU64,
}

/// The sums of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Bytes from clients to backends, greetings not counted.
    pub up_bytes: u64,
    /// Bytes from backends to clients.
    pub down_bytes: u64,
    /// Those bytes of either way that were spliced; the rest was copied.
    pub spliced_bytes: u64,
    /// Times a direction went from copying to splicing.
    pub splice_upgrades: u64,
    /// Times a direction went back to copying.
    pub splice_downgrades: u64,
    /// Times a busy direction went on copying because there was no pipe to be had.
    pub pipes_refused: u64,
    /// Sessions begun, pings included.
    pub sessions: u64,
    /// Sessions going on.
    pub sessions_open: u64,
}

thread_local! {
    static STRIPE: Cell<Option<usize>> = const { Cell::new(None) };
}

impl Counters {
    /// Counts in this worker's stripe.
    fn stripe(&self) -> &Stripe {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let place = STRIPE.get().unwrap_or_else(|| {
            let next = NEXT.fetch_add(1, Relaxed) % STRIPES;
            STRIPE.set(Some(next));
            next
        });
        let [first, ..] = &self.stripes;
        self.stripes.get(place).unwrap_or(first)
    }

    pub(super) fn moved(&self, direction: Direction, bytes: u64, spliced: u64) {
        let stripe = self.stripe();
        match direction {
            Direction::Up => stripe.up.fetch_add(bytes, Relaxed),
            Direction::Down => stripe.down.fetch_add(bytes, Relaxed),
        };
        if spliced > 0 {
            stripe.spliced.fetch_add(spliced, Relaxed);
        }
    }

    /// Counts a direction that begins to splice, or ends it.
    pub(super) fn shifted(&self, splices: bool) {
        let stripe = self.stripe();
        let shifts = if splices {
            &stripe.upgrades
        } else {
            &stripe.downgrades
        };
        shifts.fetch_add(1, Relaxed);
    }

    pub(super) fn refused(&self) {
        self.stripe().refused.fetch_add(1, Relaxed);
    }

    /// Counts a session until what comes back is dropped.
    pub(super) fn session(&self) -> impl Drop {
        struct Open<'a>(&'a Counters);
        impl Drop for Open<'_> {
            fn drop(&mut self) {
                self.0.stripe().ended.fetch_add(1, Relaxed);
            }
        }
        self.stripe().begun.fetch_add(1, Relaxed);
        Open(self)
    }

    /// Adds up what every worker counted. Not one instant's: counting goes on meanwhile.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let sum = |of: fn(&Stripe) -> &AtomicU64| {
            let counts = self.stripes.iter().map(|stripe| of(stripe).load(Relaxed));
            counts.fold(0, u64::wrapping_add)
        };
        // Ended first, so that no session ends without having begun.
        let ended = sum(|stripe| &stripe.ended);
        let begun = sum(|stripe| &stripe.begun);
        Totals {
            up_bytes: sum(|stripe| &stripe.up),
            down_bytes: sum(|stripe| &stripe.down),
            spliced_bytes: sum(|stripe| &stripe.spliced),
            splice_upgrades: sum(|stripe| &stripe.upgrades),
            splice_downgrades: sum(|stripe| &stripe.downgrades),
            pipes_refused: sum(|stripe| &stripe.refused),
            sessions: begun,
            sessions_open: begun.saturating_sub(ended),
        }
    }
}
