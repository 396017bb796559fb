//! Which server is being stopped: who comes meanwhile is let in once that is done and it was started
//! again, and nothing else is asked of it before.
//!
//! Whoever logs in says so ([`InUse`](super::in_use::InUse)) before asking here, and whoever stops says so
//! here before looking who is there: one of the two always sees the other.

use tokio::sync::watch;

use crate::addr::BackendAddr;
use crate::shared_str::SharedStr;

/// The stop that is under way, if there is one; there is one at a time.
#[derive(Debug, Default)]
pub struct Stops {
    current: watch::Sender<Option<Stop>>,
}

#[derive(Debug)]
struct Stop {
    backend: BackendAddr,
    servers: Vec<SharedStr>,
}

impl Stop {
    /// By any of its names, or by its address, under which others may know it.
    fn is_of(&self, server: &str, backend: &BackendAddr) -> bool {
        self.backend == *backend || self.servers.iter().any(|name| **name == *server)
    }
}

/// A stop; it is done, or was not to be, when this is dropped.
#[derive(Debug)]
pub struct Stopping<'s>(&'s Stops);

impl Stops {
    /// Begins to stop the server at `backend`, which routes know by these names. One that was under
    /// way is taken for done.
    pub fn begin(&self, backend: BackendAddr, servers: Vec<SharedStr>) -> Stopping<'_> {
        self.current.send_replace(Some(Stop { backend, servers }));
        Stopping(self)
    }

    /// Whether this server is being stopped.
    #[must_use]
    pub fn is_under_way(&self, server: &str, backend: &BackendAddr) -> bool {
        let current = self.current.borrow();
        let stop = current.as_ref();
        stop.is_some_and(|stop| stop.is_of(server, backend))
    }

    /// Waits until this server is not being stopped.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn over(&self, server: &str, backend: &BackendAddr) {
        let over = |stop: &Option<Stop>| {
            !stop
                .as_ref()
                .is_some_and(|stop| stop.is_of(server, backend))
        };
        let mut stops = self.current.subscribe();
        // The sender is here, so there is no other end than that it is over.
        let _ended = stops.wait_for(over).await.is_ok();
    }
}

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.current.send_replace(None);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::wake::in_use::InUse;
    use std::task::Poll;

    fn address(text: &str) -> BackendAddr {
        BackendAddr::parse(text).unwrap()
    }

    #[tokio::test]
    async fn a_server_is_being_stopped_under_all_its_names_until_that_is_done() {
        let stops = Stops::default();
        let (own, other) = (address("own:1"), address("other:1"));
        stops.over("a.example", &own).await;

        let stopping = stops.begin(own.clone(), vec!["a.example".into(), "b.example".into()]);
        for (server, backend, expected) in [
            ("a.example", &own, true),
            ("b.example", &other, true),
            ("c.example", &own, true),
            ("c.example", &other, false),
        ] {
            assert_eq!(
                stops.is_under_way(server, backend),
                expected,
                "{server} {backend}"
            );
            let mut over = std::pin::pin!(stops.over(server, backend));
            let ended = is_over(over.as_mut()).await;
            assert_eq!(ended, !expected, "{server} {backend}");
        }
        let waiting = stops.over("c.example", &own);
        let (_, ()) = tokio::join!(waiting, async { drop(stopping) });
        assert!(!stops.is_under_way("a.example", &own));
    }

    /// A login's two steps and a stop's two steps, in every order that they can come in.
    #[test]
    fn in_every_order_a_login_or_the_stop_gives_way() {
        let steps = 0b0011_u8..=0b1100;
        for order in steps.filter(|order| order.count_ones() == 2) {
            let (used, stops, backend) = (
                Arc::new(InUse::default()),
                Stops::default(),
                address("own:1"),
            );
            let (mut using, mut stopping) = (None, None);
            let (mut dials, mut stopped) = (false, false);
            for step in 0..4 {
                if order >> step & 1 == 1 {
                    match using {
                        None => using = Some(used.enter(&backend)),
                        Some(_) => dials = !stops.is_under_way("a.example", &backend),
                    }
                } else {
                    match stopping {
                        None => stopping = Some(stops.begin(backend.clone(), vec![])),
                        Some(_) => stopped = !used.seen(&backend).used,
                    }
                }
            }
            assert!(!(dials && stopped), "{order:04b}");
        }
    }

    /// Whether it is over at once.
    async fn is_over(mut future: std::pin::Pin<&mut impl Future<Output = ()>>) -> bool {
        std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await
    }
}
