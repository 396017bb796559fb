//! How a player is treated whose server is not ready: the route's chain, less what cannot work.
//!
//! Pure.

use std::time::Duration;

use crate::addr::BackendAddr;
use crate::hold::schedule::Way;
use crate::protocol::version;
use crate::protocol::versions::Configuration;
use crate::routes::policy::{Join, Policy};

/// What is known of the one who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// The protocol number.
    pub protocol: i32,
    /// How long the server will probably take from now on, if that is known.
    pub eta: Option<Duration>,
    /// Whether the client has been transferred here, by this router or somebody else.
    pub transferred: bool,
    /// How long the client has heard nothing.
    pub silent_for: Duration,
}

/// One thing to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt<'p> {
    /// Hold in the login phase, this long at most.
    Hold(Duration),
    /// Hold in the configuration phase, this long at most, and transfer.
    Transfer(Duration, &'static Configuration),
    /// Relay to this address.
    Forward(&'p BackendAddr),
}

/// What is tried, in order; after the last the player is told to come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain<'p> {
    /// What can work.
    pub attempts: Vec<Attempt<'p>>,
    /// Whether waiting was left out because the server takes longer than any wait may.
    pub too_long: bool,
    /// Whether it waits in the login phase for want of knowledge: a transfer was asked for, and its version is
    /// [too new](version::is_too_new).
    pub too_new: bool,
}

/// What `policy` means for one player.
///
/// A wait is left out when the server will take longer than it may last: the player is told at
/// once and not after the wait. Who came by a transfer is not transferred again, so that nobody is
/// sent in circles. Who is too new to be transferred is held: the login phase stays as it is.
#[must_use]
pub fn chain(policy: &Policy, waiting: Waiting) -> Chain<'_> {
    let mut chain = Chain {
        attempts: Vec::with_capacity(policy.join.len()),
        too_long: false,
        too_new: false,
    };
    for method in &policy.join {
        match method {
            Join::Hold => chain.hold(policy, waiting),
            Join::Transfer if version::is_too_new(waiting.protocol) => {
                chain.too_new = true;
                chain.hold(policy, waiting);
            }
            Join::Transfer if !waiting.transferred => {
                let limit = policy.hold_max;
                if let Some(packets) = version::configuration(waiting.protocol) {
                    chain.wait(Attempt::Transfer(limit, packets), limit, waiting.eta);
                }
            }
            Join::Forward => {
                chain
                    .attempts
                    .extend(policy.forward_to.as_ref().map(Attempt::Forward));
            }
            Join::Transfer => {}
            Join::Kick => break,
        }
    }
    chain
}

/// How long a client may be held in the login phase: what `policy` says, and what it bears.
#[must_use]
pub fn hold_limit(policy: &Policy, waiting: Waiting) -> Duration {
    let way = Way::of(waiting.protocol, policy.compression_hold);
    let borne = way.limit(waiting.protocol, policy.tick);
    let borne = borne.map(|borne| borne.saturating_sub(waiting.silent_for));
    borne.map_or(policy.hold_max, |borne| borne.min(policy.hold_max))
}

impl<'p> Chain<'p> {
    /// Whether the player waits before anything else is tried.
    #[must_use]
    pub fn begins_with_a_wait(&self) -> bool {
        matches!(
            self.attempts.first(),
            Some(Attempt::Hold(_) | Attempt::Transfer(..))
        )
    }

    fn hold(&mut self, policy: &Policy, waiting: Waiting) {
        let limit = hold_limit(policy, waiting);
        let attempt = Attempt::Hold(limit);
        // Who is held in place of a transfer is not held once more.
        if !(self.too_new && self.attempts.contains(&attempt)) {
            self.wait(attempt, limit, waiting.eta);
        }
    }

    fn wait(&mut self, attempt: Attempt<'p>, limit: Duration, eta: Option<Duration>) {
        if eta.is_some_and(|eta| eta > limit) {
            self.too_long = true;
        } else {
            self.attempts.push(attempt);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hold::schedule::TICK;
    use crate::protocol::versions::NEWEST;
    use proptest::prelude::*;

    const LIMIT: Duration = Duration::from_secs(90);

    fn policy(join: &[Join]) -> Policy {
        Policy {
            join: join.to_vec(),
            hold_max: LIMIT,
            forward_to: BackendAddr::parse("lobby:25565").ok(),
            ..Policy::default()
        }
    }

    fn waiting(protocol: i32) -> Waiting {
        Waiting {
            protocol,
            eta: None,
            transferred: false,
            silent_for: Duration::ZERO,
        }
    }

    fn transfer(protocol: i32) -> Attempt<'static> {
        Attempt::Transfer(LIMIT, version::configuration(protocol).unwrap())
    }

    #[test]
    fn the_newest_is_transferred_and_whatever_is_newer_is_held_in_the_login_phase() {
        let alone = policy(&[Join::Transfer]);
        let newest = chain(&alone, waiting(NEWEST.protocol));
        assert_eq!(newest.attempts, [transfer(NEWEST.protocol)]);
        assert!(!newest.too_new);
        let with_lobby = policy(&[Join::Transfer, Join::Forward, Join::Hold]);
        for protocol in [NEWEST.protocol + 1, version::SNAPSHOTS, i32::MAX] {
            let newer = chain(&alone, waiting(protocol));
            assert_eq!(newer.attempts, [Attempt::Hold(LIMIT)], "{protocol}");
            assert!(newer.too_new);
            let newer = chain(&with_lobby, waiting(protocol)).attempts;
            let lobby = with_lobby
                .forward_to
                .as_ref()
                .map(Attempt::Forward)
                .unwrap();
            assert_eq!(newer, [Attempt::Hold(LIMIT), lobby], "{protocol}");
        }
    }

    #[test]
    fn each_version_is_held_in_its_way_and_only_new_ones_are_transferred() {
        let policy = policy(&[Join::Transfer, Join::Hold]);
        let lobby_less = |protocol| chain(&policy, waiting(protocol)).attempts;
        assert_eq!(lobby_less(769), [transfer(769), Attempt::Hold(LIMIT)]);
        assert_eq!(lobby_less(765), [Attempt::Hold(LIMIT)]);
        assert_eq!(lobby_less(340), [Attempt::Hold(TICK * 5 / 2)]);
        assert_eq!(lobby_less(5), [Attempt::Hold(TICK * 3 / 2)]);
        let dialled = Waiting {
            silent_for: TICK / 2,
            ..waiting(340)
        };
        let rest = chain(&policy, dialled).attempts;
        assert_eq!(rest, [Attempt::Hold(TICK * 2)], "of what it bears");
    }

    #[test]
    fn nothing_is_tried_after_a_kick_and_nothing_without_an_address() {
        let kick_first = policy(&[Join::Kick, Join::Hold]);
        assert_eq!(chain(&kick_first, waiting(769)).attempts, []);
        let nowhere = Policy {
            forward_to: None,
            ..policy(&[Join::Forward])
        };
        assert_eq!(chain(&nowhere, waiting(769)).attempts, []);
    }

    #[test]
    fn who_came_back_from_a_transfer_is_not_sent_away_again() {
        let policy = policy(&[Join::Transfer, Join::Hold]);
        let back = Waiting {
            transferred: true,
            ..waiting(769)
        };
        assert_eq!(chain(&policy, back).attempts, [Attempt::Hold(LIMIT)]);
    }

    #[test]
    fn a_start_longer_than_the_hold_is_not_waited_for() {
        let policy = policy(&[Join::Hold, Join::Forward]);
        let long = |seconds| Waiting {
            eta: Some(Duration::from_secs(seconds)),
            ..waiting(769)
        };
        let lobby = policy.forward_to.as_ref().map(Attempt::Forward).unwrap();
        let told = chain(&policy, long(91));
        assert!(told.too_long);
        assert_eq!(told.attempts, [lobby]);
        assert!(!chain(&policy, long(90)).too_long);
    }

    fn join() -> impl Strategy<Value = Join> {
        prop_oneof![
            Just(Join::Hold),
            Just(Join::Transfer),
            Just(Join::Forward),
            Just(Join::Kick)
        ]
    }

    proptest! {
        #[test]
        fn no_wait_outlasts_the_routes_limit_or_what_the_client_bears(
            methods in proptest::collection::vec(join(), 0..6), protocol: i32, eta in 0_u64..200,
            silent_for in 0_u64..40,
        ) {
            let policy = policy(&methods);
            let eta = Duration::from_secs(eta);
            let silent_for = Duration::from_secs(silent_for);
            let waiting =
                Waiting { protocol, eta: Some(eta), transferred: false, silent_for };
            let chain = chain(&policy, waiting);
            for attempt in chain.attempts {
                match attempt {
                    Attempt::Hold(limit) => {
                        prop_assert!(limit <= LIMIT && eta <= limit);
                        let borne = Way::of(protocol, false).limit(protocol, TICK);
                        let left = borne.map(|borne| borne.saturating_sub(silent_for));
                        prop_assert!(left.is_none_or(|left| limit <= left));
                    }
                    Attempt::Transfer(limit, packets) => {
                        prop_assert!(limit <= LIMIT);
                        prop_assert_eq!(version::configuration(protocol), Some(packets));
                    }
                    Attempt::Forward(_) => prop_assert!(methods.contains(&Join::Forward)),
                }
            }
        }
    }
}
