//! The task that sends events, one after the other.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hyper::StatusCode;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Lost;
use super::event::{Event, EventKind, Status};
use super::route_news::{News, RouteNews};
use crate::backoff::Backoff;
use crate::http_client::{Hook, Problem};
use crate::routes::registry::Registry;

/// How often one event is sent at most.
pub(super) const TRIES_MAX: u32 = 6;
/// Pauses between those: 0.5, 1, 2, 4 and 8 s. They grow on over events that are given up, to 30 s.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// Time for what is left when the router stops.
pub(super) const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Sends what is in the queue, and what is new about routes.
#[derive(Debug)]
pub(super) struct Sender {
    hook: Hook,
    timeout: Duration,
    queue: mpsc::Receiver<Event>,
    routes: Option<Routes>,
    end: CancellationToken,
    backoff: Backoff,
    lost: Lost,
    failing: bool,
}

/// What is to be told of routes; as much of it waits as there are routes.
#[derive(Debug)]
struct Routes {
    registry: Arc<Registry>,
    changes: watch::Receiver<()>,
    wanted: HashSet<EventKind>,
    known: RouteNews,
    news: VecDeque<News>,
}

impl Routes {
    fn look(&mut self) {
        let news = self.known.of(&self.registry.table());
        let wanted = news
            .into_iter()
            .filter(|(kind, ..)| self.wanted.contains(kind));
        self.news.extend(wanted);
    }

    fn next(&mut self) -> Option<Event> {
        let (kind, server, backend) = self.news.pop_front()?;
        Some(Event {
            kind,
            at: SystemTime::now(),
            status: Status::Success,
            client: None,
            server,
            player: None,
            backend,
            error: None,
        })
    }
}

impl Sender {
    pub(super) fn new(
        (hook, timeout): (Hook, Duration),
        queue: mpsc::Receiver<Event>,
        wanted: &[EventKind],
        registry: Arc<Registry>,
        lost: Lost,
        end: CancellationToken,
    ) -> Self {
        let wanted = wanted.iter().copied().filter(|kind| kind.is_of_routes());
        let wanted: HashSet<_> = wanted.collect();
        let routes = (!wanted.is_empty()).then(|| {
            let mut routes = Routes {
                changes: registry.changes(),
                registry,
                wanted,
                known: RouteNews::default(),
                news: VecDeque::new(),
            };
            routes.look();
            routes
        });
        let (min, max) = PAUSES;
        Self {
            hook,
            timeout,
            queue,
            routes,
            end,
            backoff: Backoff::new(min, max, 0.0),
            lost,
            failing: false,
        }
    }

    /// Sends until the end, and then what is left.
    pub(super) async fn run(mut self) {
        let end = self.end.clone();
        let over = async {
            end.cancelled().await;
            tokio::time::sleep(FLUSH_TIMEOUT).await;
        };
        tokio::select! {
            () = self.send() => {}
            () = over => {}
        }
        let left = self.queue.len();
        if left > 0 {
            warn!(left, "webhook: stopped before all events were sent");
        }
    }

    async fn send(&mut self) {
        while let Some(event) = self.next().await {
            let delivered = self.deliver(&event).await;
            // Nobody waits for a receiver that is away.
            if !delivered && self.end.is_cancelled() {
                return;
            }
        }
    }

    /// The next event: those of clients first. `None` when there is none and will be none.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Ok(event) = self.queue.try_recv() {
                return Some(event);
            }
            if let Some(event) = self.routes.as_mut().and_then(Routes::next) {
                return Some(event);
            }
            if self.end.is_cancelled() {
                self.queue.close();
                return self.queue.recv().await;
            }
            tokio::select! {
                biased;
                event = self.queue.recv() => return event,
                () = changed(&mut self.routes) => {}
                () = self.end.cancelled() => {}
            }
        }
    }

    /// Sends one event until it is taken; whether it was.
    async fn deliver(&mut self, event: &Event) -> bool {
        let json = Bytes::from(event.json());
        let mut tries = 0;
        let problem = loop {
            let sent = Notify::new();
            let answer = self.hook.post(json.clone(), self.timeout, &sent).await;
            let (problem, final_) = match answer {
                Ok((status, _)) if status.is_success() => {
                    self.backoff.reset();
                    if std::mem::take(&mut self.failing) {
                        info!("webhook: the receiver takes events again");
                    }
                    return true;
                }
                Ok((status, _)) => (
                    format!("the receiver answered {status}"),
                    !may_change(status),
                ),
                Err(problem) => {
                    let final_ = matches!(problem, Problem::Redirected(_));
                    (problem.to_string(), final_)
                }
            };
            tries += 1;
            if final_ || tries == TRIES_MAX || self.end.is_cancelled() {
                break problem;
            }
            if !std::mem::replace(&mut self.failing, true) {
                warn!("webhook: an event could not be sent: {problem}; trying on");
            }
            let pause = tokio::time::sleep(self.backoff.next_delay(0.0));
            self.end.run_until_cancelled(pause).await;
        };
        self.lost.add(&problem);
        false
    }
}

/// Whether the receiver may say something else next time.
fn may_change(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429)
}

/// Waits for news of routes, if any are wanted.
async fn changed(routes: &mut Option<Routes>) {
    if let Some(routes) = routes
        && routes.changes.changed().await.is_ok()
    {
        routes.look();
    } else {
        std::future::pending::<()>().await;
    }
}
