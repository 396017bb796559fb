//! Asks backends how they are, each when it is its turn, a few at a time.
//!
//! A check is a task of its own. Whoever's turn it is, asked or not, is also looked at for the journal: a change is told
//! once a check has ended or a player has found it well, and what servers have changed when the turn comes.
//!
//! No answer ends the monitor: what came is a [`Word`], whatever it was.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::ladder::{By, Server};
use super::ring::{Place, Slot};
use super::schedule::{Checks, Schedule, Turn};
use super::word::Word;
use super::{Health, now};
use crate::addr::BackendAddr;
use crate::dial::{addresses, is_out_of_files, is_stuck};
use crate::memory::Memory;
use crate::ping::{self, Ping};
use crate::routes::Route;
use crate::routes::registry::Registry;
use crate::routes::wildcard::is_wildcard;
use crate::servers::{Servers, Starters};
use crate::shared_str::SharedStr;
use crate::status::answer::{is_status, read};
use crate::status::cache::ANSWER_TIMEOUT;
use crate::wake::Waker;

/// Most checks under way, a socket or a name look-up each. Fewer than look-ups there may be at
/// once, so that names nobody answers for keep no player's look-up waiting.
pub const CHECKS_MAX: usize = 32;
/// Backends that need not be asked are passed over, this many at once.
const PASSED_MAX: usize = 256;
/// From one look at the routes to the next, at least; and no more than a part of the time: while
/// 100,000 routes keep changing, looking at them all is more work than the changes.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
const LOOK_SHARE: u32 = 200;

/// What asks.
#[derive(Debug)]
pub struct Monitor {
    /// Where it is kept.
    pub health: Arc<Health>,
    /// Who is to be looked at, and asked again soon if it is a suspect.
    pub suspected: mpsc::Receiver<BackendAddr>,
    /// The routes.
    pub registry: Arc<Registry>,
    /// The states of their servers; never told anything.
    pub servers: Arc<Servers>,
    /// What can start those.
    pub starters: Starters,
    /// Knows where a webhook has started the server of a route.
    pub scaler: Option<Arc<Waker>>,
    /// What servers showed last, and by which protocol number.
    pub memory: Arc<Memory>,
    /// Limit of one dial.
    pub dial_limit: Duration,
}

/// What is under way.
#[derive(Debug)]
struct Round {
    schedule: Schedule,
    /// Who had the last turn on the ring.
    last: Option<(Place, BackendAddr)>,
    checks: JoinSet<BackendAddr>,
    asked: HashSet<BackendAddr>,
    suspects: mpsc::Sender<BackendAddr>,
}

impl Monitor {
    /// Asks until `end` is cancelled; at once over where nobody is to be asked.
    pub async fn run(self, end: CancellationToken) {
        if self.health.checks != Checks::Never {
            end.run_until_cancelled(self.go_on()).await;
        }
    }

    async fn go_on(mut self) {
        let mut changes = self.registry.changes();
        let mut round = Round {
            schedule: Schedule::new(self.health.checks.interval(), now()),
            last: None,
            checks: JoinSet::new(),
            asked: HashSet::with_capacity(CHECKS_MAX),
            suspects: self.health.suspects.clone(),
        };
        let mut look_at = Some(Instant::now());
        let mut not_before = Instant::now();
        loop {
            let free = round.checks.len() < CHECKS_MAX;
            let turn = round.schedule.next_at().filter(|_| free);
            tokio::select! {
                () = at(look_at) => {
                    look_at = None;
                    changes.mark_unchanged();
                    not_before = self.look(&mut round).await;
                }
                Ok(()) = changes.changed(), if look_at.is_none() => {
                    look_at = Some(not_before);
                }
                Some(backend) = self.suspected.recv() => {
                    if self.look_again(&backend) {
                        round.schedule.again(backend, now());
                    }
                }
                Some(ended) = round.checks.join_next() => match ended {
                    Ok(backend) => {
                        round.asked.remove(&backend);
                        self.look_again(&backend);
                    }
                    // A bug in one check must not end the others, nor keep its backend from the next.
                    Err(_) => round.asked.clear(),
                },
                () = at(turn.map(Instant::from_std)) => self.turn(&mut round),
            }
        }
    }

    /// Takes the routes of this moment; when it may be done again. Beside the runtime, which wakes and the sync share:
    /// 100,000 routes take milliseconds.
    async fn look(&self, round: &mut Round) -> Instant {
        let begun = Instant::now();
        let (health, table) = (Arc::clone(&self.health), self.registry.table().clone());
        let watched = spawn_blocking(move || health.watch(&table)).await;
        let new = watched.unwrap_or_default();
        round.schedule.resize(self.health.watched(), now());
        for (place, backend) in new {
            let share = f64::from(place) / f64::from(Place::MAX);
            round.schedule.first(backend, share, now());
        }
        let ended = Instant::now();
        ended + LOOK_PAUSE.max((ended - begun) * LOOK_SHARE)
    }

    /// Whoever's turn it is, is asked; who need not be is passed over.
    fn turn(&self, round: &mut Round) {
        for _ in 0..PASSED_MAX {
            let Some(turn) = round.schedule.next(now()) else {
                return;
            };
            let slot = match turn {
                Turn::Of(backend) => self.health.slot(&backend),
                Turn::Ring => {
                    let last = round.last.as_ref();
                    let slot = self
                        .health
                        .after(last.map(|(place, backend)| (*place, backend)));
                    round.last = slot
                        .as_ref()
                        .map(|slot| (slot.place(), slot.backend.clone()));
                    slot
                }
            };
            if let Some(slot) = slot
                && self.is_to_be_asked(&slot, &self.look_at(&slot))
                && round.asked.insert(slot.backend.clone())
            {
                round.schedule.asked(now());
                let check = self.check(slot, round.suspects.clone());
                round.checks.spawn(check);
                return;
            }
        }
    }

    /// Looks at a backend of which something was heard, or in which somebody is interested; whether it is to be
    /// asked soon.
    fn look_again(&self, backend: &BackendAddr) -> bool {
        let slot = self.health.slot(backend);
        slot.is_some_and(|slot| {
            self.look_at(&slot);
            slot.record.is_suspect() || self.health.is_wanted(&slot)
        })
    }

    /// How the server of a backend is. If that, or what was heard of it meanwhile, makes the backend another one, it is
    /// taken down.
    fn look_at(&self, slot: &Slot) -> Server {
        let (servers, starters) = (&self.servers, self.starters);
        let server = self.health.server(&slot.route, servers, starters);
        if let Some(change) = self.health.news(slot, &server) {
            self.registry.journal().health(change);
        }
        server
    }

    /// Who waits for its server or plays there is interested all the time.
    fn is_to_be_asked(&self, slot: &Slot, server: &Server) -> bool {
        if self.servers.is_used(slot.route.key_str()) {
            self.health.stay_interested(slot);
        }
        server.may_be_asked() && self.health.is_wanted(slot)
    }

    fn check(
        &self,
        slot: Slot,
        suspects: mpsc::Sender<BackendAddr>,
    ) -> impl Future<Output = BackendAddr> + use<> {
        let (health, limit) = (Arc::clone(&self.health), self.dial_limit);
        let (address, memory) = (self.address(&slot), Arc::clone(&self.memory));
        async move {
            let Slot {
                backend,
                route,
                record,
                ..
            } = slot;
            let key = route.key();
            let known = memory.protocol(&key);
            let protocol = ping::number(known, record.failures());
            let (word, latency, shown) = ask(address, &route, protocol, limit).await;
            let shown = shown.filter(|_| known.is_none() && protocol >= 0);
            if let Some(Ok((_, known))) = shown.map(read) {
                // What it answers to is worth knowing: it may turn away those that name no version.
                memory.remember_status(&key, protocol, &known);
            }
            let step = word.and_then(|word| health.hear(&backend, word, By::Check, latency));
            if step.is_some_and(|step| step.suspect) {
                drop(suspects.try_send(backend.clone()));
            }
            backend
        }
    }

    /// Where the server of a route is: where a webhook said, else where the route says. The other
    /// backends of a route with several are where they are.
    fn address(&self, Slot { backend, route, .. }: &Slot) -> BackendAddr {
        if *backend != route.backend {
            return backend.clone();
        }
        let scaler = self.scaler.as_ref().filter(|_| route.server().is_none());
        let said = scaler.and_then(|scaler| scaler.address(&route.key(), &route.backend));
        said.unwrap_or_else(|| route.backend.clone())
    }
}

/// What comes of asking `address` for its status, how long that took, and what it shows; nothing if that says
/// nothing of it.
///
/// A name look-up has no limit here but the resolver's own: given up, it would go on all the same, and
/// no longer be counted.
pub(super) async fn ask(
    address: BackendAddr,
    route: &Route,
    protocol: i32,
    dial_limit: Duration,
) -> (Option<Word>, Option<Duration>, Option<Vec<u8>>) {
    let addresses = match addresses(&address).await {
        Ok(addresses) if !addresses.is_empty() => addresses,
        Err(error) if is_out_of_files(&error) || is_stuck(&error) => return (None, None, None),
        Ok(_) | Err(_) => return (Some(Word::NoName), None, None),
    };
    let ping = Ping {
        host: match &route.host {
            Some(host) if !is_wildcard(host.as_str()) => host.shared(),
            _ => SharedStr::new(),
        },
        backend: address,
        protocol,
        proxy: route.policy.proxy_protocol,
    };
    let begun = Instant::now();
    let limit = dial_limit + ANSWER_TIMEOUT;
    match ping.send_to(&addresses, dial_limit, limit).await {
        Ok(frame) if is_status(&frame) => {
            (Some(Word::Answered), Some(begun.elapsed()), Some(frame))
        }
        Ok(_) => (Some(Word::NoStatus), None, None),
        Err(error) => (Word::of_ping(&error), None, None),
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
