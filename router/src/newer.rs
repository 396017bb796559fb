//! Versions that are newer than the table of versions, and so cannot be transferred: told once each.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tracing::warn;

use crate::protocol::version;
use crate::protocol::versions::NEWEST;

/// Most versions that are told of: clients can claim any number.
const TOLD_MAX: usize = 16;

/// Which were told of.
#[derive(Debug, Default)]
pub struct Newer(Mutex<BTreeSet<i32>>);

impl Newer {
    /// A client of `protocol` waits in the login phase, since it cannot be transferred.
    pub fn met(&self, protocol: i32) {
        if !self.is_first(protocol) {
            return;
        }
        let kind = if protocol >= version::SNAPSHOTS {
            "a snapshot"
        } else {
            "newer"
        };
        let (newest, known) = (NEWEST.releases.join(", "), NEWEST.protocol);
        warn!(
            protocol,
            "this version is {kind}, and the newest that can be transferred is {newest} (protocol {known}): its \
             players wait in the login phase, without a screen, until there is a router that knows it"
        );
    }

    fn is_first(&self, protocol: i32) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.len() < TOLD_MAX && told.insert(protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_is_told_once_and_few_in_all() {
        let newer = Newer::default();
        assert!(newer.is_first(778));
        assert!(!newer.is_first(778));
        let told = (1_000..2_000).filter(|protocol| newer.is_first(*protocol));
        assert_eq!(told.count(), TOLD_MAX - 1);
    }
}
