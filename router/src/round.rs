//! The backends that are tried for one client, one after the other, and what they get first; who is counted as playing where.

use std::io;
use std::net::IpAddr;
use std::time::Duration;
use std::vec;

use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::addr::BackendAddr;
use crate::balance::{self, Balance, Candidate, ROUND_MAX};
use crate::closing::Closing;
use crate::connection::Services;
use crate::health::ladder::Status;
use crate::proxy_protocol;
use crate::routes::Route;
use crate::wake::in_use::Using;

/// Backends still to be tried, and until when.
#[derive(Debug)]
pub(crate) struct Round {
    left: vec::IntoIter<BackendAddr>,
    limit: Duration,
    /// None where there is but one, which has the whole limit.
    end: Option<Instant>,
}

impl Round {
    /// Over `backends`, each dialled for `limit` at most.
    fn new(backends: Vec<BackendAddr>, limit: Duration) -> Self {
        let several = backends.len() > 1;
        Self {
            left: backends.into_iter(),
            limit,
            end: several.then(|| Instant::now() + ROUND_MAX.max(limit)),
        }
    }

    /// The next one, and how long its dial may take; nobody any more once the time for all is over.
    pub(crate) fn next(&mut self) -> Option<(BackendAddr, Duration)> {
        let left = self.left.len();
        let limit = match self.end {
            None => self.limit,
            Some(end) => {
                let time = end.checked_duration_since(Instant::now())?;
                balance::share(self.limit, time, left)
            }
        };
        Some((self.left.next()?, limit))
    }
}

impl Services {
    /// The backends of `route` in the order in which a client is to try them, as its policy has it.
    pub(crate) fn round(&self, route: &Route, client: IpAddr) -> Round {
        let backends = self.ordered(route, route.policy.balance, client);
        Round::new(backends, self.dial_timeout)
    }

    /// The same for those who only look: in the order written, since what they see is the same for all.
    pub(crate) fn looks(&self, route: &Route, client: IpAddr, limit: Duration) -> Round {
        Round::new(self.shown(route, client), limit)
    }

    /// The backends that are asked for what the server list shows; at least one.
    pub(crate) fn shown(&self, route: &Route, client: IpAddr) -> Vec<BackendAddr> {
        self.ordered(route, Balance::Failover, client)
    }

    fn ordered(&self, route: &Route, balance: Balance, client: IpAddr) -> Vec<BackendAddr> {
        let said = self.backend_of(route);
        let Some(backends) = route.backends() else {
            return vec![said];
        };
        let list = backends.list();
        let players = |address| match balance {
            Balance::LeastPlayers => self.in_use.players(address),
            Balance::Failover | Balance::RoundRobin | Balance::AddressHash => 0,
        };
        let candidates: Vec<_> = list
            .iter()
            .map(|one| Candidate {
                address: one.address.as_str(),
                weight: one.weight,
                well: self.is_well(&one.address),
                players: players(&one.address),
            })
            .collect();
        let turn = if balance == Balance::RoundRobin {
            backends.turn()
        } else {
            0
        };
        // Where a webhook has started the server, that is where it is.
        let elsewhere = list.iter().all(|one| one.address != said).then_some(said);
        let order = balance::order(balance, &candidates, client, turn);
        let order = order.into_iter().filter_map(|number| list.get(number));
        let order = order.map(|one| one.address.clone());
        elsewhere.into_iter().chain(order).collect()
    }

    /// The PROXY header that backends of `route` get first; nothing where they get none.
    pub(crate) fn header(
        &self,
        route: &Route,
        client: &TcpStream,
        closing: &Closing,
    ) -> io::Result<Vec<u8>> {
        match route.policy.proxy_protocol {
            Some(version) => proxy_protocol::header(version, closing.ends(client.local_addr()?)),
            None => Ok(Vec::new()),
        }
    }

    /// Whether nothing is known to be wrong with a backend.
    fn is_well(&self, address: &BackendAddr) -> bool {
        let known = self.health.of(address);
        known.is_none_or(|known| known.status == Status::Unknown || known.status.is_good())
    }

    /// Counts a player who is let in at `address`, until this is dropped: where it makes a difference to
    /// others, since they are shared out, or since servers are stopped where nobody plays.
    pub(crate) fn using(&self, route: &Route, address: &BackendAddr) -> Option<Using> {
        let counts = self.in_use.is_for_all() || route.backends().is_some();
        counts.then(|| self.in_use.enter(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    const SECOND: Duration = Duration::from_secs(1);

    fn round(count: usize, limit: Duration) -> Round {
        let backends =
            (0..count).map(|number| BackendAddr::parse(&format!("b{number}:1")).unwrap());
        Round::new(backends.collect(), limit)
    }

    #[tokio::test(start_paused = true)]
    async fn one_backend_has_its_whole_limit_and_several_end_in_time() {
        let mut one = round(1, SECOND * 30);
        advance(SECOND * 60).await;
        assert_eq!(one.next().unwrap().1, SECOND * 30);

        for (count, limit) in [(2, SECOND), (32, SECOND * 2), (5, SECOND * 30)] {
            let (mut several, begun, mut tried) = (round(count, limit), Instant::now(), 0);
            while let Some((_, share)) = several.next() {
                assert!(share <= limit && !share.is_zero(), "{share:?}");
                // Nobody answers.
                advance(share).await;
                tried += 1;
            }
            assert_eq!(tried, count);
            assert!(begun.elapsed() <= ROUND_MAX.max(limit), "{count}");
        }
        let mut late = round(3, SECOND);
        assert!(late.next().is_some());
        advance(ROUND_MAX + SECOND).await;
        assert!(late.next().is_none());
    }
}
