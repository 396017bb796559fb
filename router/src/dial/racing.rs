//! Tries addresses as [`Race`] has it.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::time::{Instant, sleep_until};

use super::race::{Race, Step};

/// Told once an address took the connection, where that is not all there is to it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reached(Arc<AtomicBool>);

impl Reached {
    /// The address took the connection.
    pub(crate) fn tell(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// Why nobody won.
#[derive(Debug)]
pub(crate) struct Lost<E> {
    /// What failed, in that order.
    pub(crate) errors: Vec<E>,
    /// Whether some did not fail, but said nothing until the deadline.
    pub(crate) silent: bool,
}

/// The first success of `attempt` at one of `addresses`; all others are dropped.
///
/// # Errors
/// All failed, or nothing was heard until `deadline`.
///
/// # Cancel safety
/// Cancel safe.
pub(crate) async fn race<T, E, F: Future<Output = Result<T, E>>>(
    addresses: &[SocketAddr],
    deadline: Instant,
    attempt: impl Fn(SocketAddr, Reached) -> F,
) -> Result<T, Lost<E>> {
    let now = || Instant::now().into_std();
    let mut race = Race::new(addresses.len(), now(), deadline.into_std());
    let (mut running, mut errors) = (Vec::new(), Vec::new());
    loop {
        match race.step(now()) {
            Step::Start { index, instead_of } => {
                running.retain(|attempt: &Attempt<F>| Some(attempt.index) != instead_of);
                let Some(address) = addresses.get(index) else {
                    race.failed(index, now());
                    continue;
                };
                let reached = Reached::default();
                let future = Box::pin(attempt(*address, reached.clone()));
                running.push(Attempt {
                    index,
                    future,
                    reached,
                });
            }
            Step::Wait(until) => tokio::select! {
                biased;
                event = std::future::poll_fn(|context| poll(&mut running, context)) => match event {
                    Event::Reached(index) => race.reached(index, now()),
                    Event::Ended(_, Ok(won)) => return Ok(won),
                    Event::Ended(index, Err(error)) => {
                        errors.push(error);
                        race.failed(index, now());
                    }
                },
                () = sleep_until(until.into()) => {}
            },
            Step::Over => {
                let silent = race.has_silent();
                return Err(Lost { errors, silent });
            }
        }
    }
}

struct Attempt<F> {
    index: usize,
    future: Pin<Box<F>>,
    reached: Reached,
}

enum Event<O> {
    Reached(usize),
    Ended(usize, O),
}

/// The next thing that happens to those that are `running`.
fn poll<F: Future>(
    running: &mut Vec<Attempt<F>>,
    context: &mut Context<'_>,
) -> Poll<Event<F::Output>> {
    for place in 0..running.len() {
        let Some(attempt) = running.get_mut(place) else {
            break;
        };
        if let Poll::Ready(outcome) = attempt.future.as_mut().poll(context) {
            let index = running.swap_remove(place).index;
            return Poll::Ready(Event::Ended(index, outcome));
        }
        if attempt.reached.take() {
            return Poll::Ready(Event::Reached(attempt.index));
        }
    }
    Poll::Pending
}
