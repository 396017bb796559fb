//! In which order several backends of one route are tried.
//!
//! Pure.

use std::cmp::Ordering;
use std::net::IpAddr;
use std::time::Duration;

use ring::digest::{SHA256, digest};

/// Longest time in which the backends of one route are dialled in turn, unless one dial may take longer.
pub const ROUND_MAX: Duration = Duration::from_secs(10);

/// Who of several backends comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Balance {
    /// The first, as long as there is nothing wrong with it.
    #[default]
    Failover,
    /// One after the other, by weight.
    RoundRobin,
    /// Who has the fewest players for its weight.
    LeastPlayers,
    /// For each client address the same, by weight.
    AddressHash,
}

impl Balance {
    /// Every one of them.
    pub const ALL: [Self; 4] = [
        Self::Failover,
        Self::RoundRobin,
        Self::LeastPlayers,
        Self::AddressHash,
    ];

    /// As the column `balance` has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Failover => "failover",
            Self::RoundRobin => "round-robin",
            Self::LeastPlayers => "least-players",
            Self::AddressHash => "address-hash",
        }
    }

    /// Reads the column; case does not matter.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let named = |balance: &Self| balance.name().eq_ignore_ascii_case(text);
        Self::ALL.into_iter().find(named)
    }
}

/// A backend as it is at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Its address, as it is written.
    pub address: &'a str,
    /// Its share, at least 1.
    pub weight: u8,
    /// Whether nothing is known to be wrong with it.
    pub well: bool,
    /// How many play on it.
    pub players: usize,
}

/// The numbers of all `candidates` in the order in which they are to be tried. The well ones come first, and
/// among those, as among the others, each has its share as if there were nobody else.
///
/// `client` counts for [`Balance::AddressHash`] alone, `turn` for [`Balance::RoundRobin`] alone.
#[must_use]
pub fn order(
    balance: Balance,
    candidates: &[Candidate<'_>],
    client: IpAddr,
    turn: u32,
) -> Vec<usize> {
    let numbered = candidates.iter().enumerate();
    let (mut well, mut ill): (Vec<_>, Vec<_>) = numbered.partition(|(_, one)| one.well);
    for group in [&mut well, &mut ill] {
        match balance {
            Balance::Failover => {}
            Balance::RoundRobin => *group = by_turn(group, turn),
            Balance::LeastPlayers => group.sort_by(|(_, one), (_, other)| fuller(one, other)),
            Balance::AddressHash => {
                let network = network(client);
                let placed = group.iter().map(|&one| (distance(&network, one.1), one));
                let mut placed: Vec<_> = placed.collect();
                placed.sort_by(|(one, _), (other, _)| one.total_cmp(other));
                *group = placed.into_iter().map(|(_, one)| one).collect();
            }
        }
    }
    let all = well.into_iter().chain(ill);
    all.map(|(number, _)| number).collect()
}

/// Compares players per weight.
fn fuller(one: &Candidate<'_>, other: &Candidate<'_>) -> Ordering {
    let players = |of: &Candidate<'_>, weight: u8| of.players.saturating_mul(weight.into());
    players(one, other.weight).cmp(&players(other, one.weight))
}

type Numbered<'c, 'a> = (usize, &'c Candidate<'a>);

/// A backend of weight w has its turns in the middle of each w-th of a cycle. So a cycle, which has as many turns
/// as all weights make together, goes evenly over all of them.
///
/// Those who come after the first do so in the order of their next turns.
fn by_turn<'c, 'a>(group: &[Numbered<'c, 'a>], turn: u32) -> Vec<Numbered<'c, 'a>> {
    struct Turns<'c, 'a> {
        of: Numbered<'c, 'a>,
        weight: u64,
        taken: u64,
    }
    let next = |one: &Turns<'_, '_>, other: &Turns<'_, '_>| {
        // The middle of the next of its parts, (2 · taken + 1) / (2 · weight).
        let middle = |of: &Turns<'_, '_>, weight: u64| (2 * of.taken + 1) * weight;
        let by_time = middle(one, other.weight).cmp(&middle(other, one.weight));
        by_time.then(one.of.0.cmp(&other.of.0))
    };
    let all: u64 = group.iter().map(|(_, one)| u64::from(one.weight)).sum();
    let before = u64::from(turn).checked_rem(all).unwrap_or_default();
    // At this time of the cycle, doubled and times `all`, no more than `before` turns have been taken.
    let count = u64::try_from(group.len()).unwrap_or_default();
    let time = (2 * before).saturating_sub(count);
    let mut turns: Vec<_> = group
        .iter()
        .map(|&of| {
            let weight = u64::from(of.1.weight);
            let taken = if time == 0 {
                0
            } else {
                (time * weight + all) / (2 * all)
            };
            Turns { of, weight, taken }
        })
        .collect();
    let taken: u64 = turns.iter().map(|one| one.taken).sum();
    for _ in taken..before {
        if let Some(one) = turns.iter_mut().min_by(|one, other| next(one, other)) {
            one.taken += 1;
        }
    }
    turns.sort_by(next);
    turns.into_iter().map(|turns| turns.of).collect()
}

/// What counts as one client: an IPv4 address, or an IPv6 network of a household, /64.
fn network(client: IpAddr) -> Vec<u8> {
    match client.to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().into_iter().take(8).collect(),
    }
}

/// How far a backend is from a client; the nearest is theirs. Each such distance is drawn by itself from an
/// exponential distribution, of which the weight is the rate: so weights are shares, and when a backend
/// goes, nobody moves but its own clients ("rendezvous hashing").
fn distance(network: &[u8], candidate: &Candidate<'_>) -> f64 {
    let hashed = digest(&SHA256, &[network, candidate.address.as_bytes()].concat());
    let drawn = hashed.as_ref().first_chunk().copied().unwrap_or_default();
    let share = (f64::from(u32::from_be_bytes(drawn)) + 0.5) / (f64::from(u32::MAX) + 1.0);
    -share.ln() / f64::from(candidate.weight)
}

/// How long the next of `left` backends may take to answer a dial, when there is `time` for all of them; `limit`
/// at most. What one of them leaves over, the others have.
#[must_use]
pub fn share(limit: Duration, time: Duration, left: usize) -> Duration {
    let left = u32::try_from(left).unwrap_or(u32::MAX);
    limit.min(time.checked_div(left).unwrap_or(time))
}

#[cfg(test)]
#[path = "balance_tests.rs"]
mod tests;
