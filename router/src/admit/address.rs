//! Which addresses clients may connect from.

use std::net::IpAddr;

use crate::networks::Networks;

/// Most entries of one list.
pub const NETWORKS_MAX: usize = 1_000;

/// Who may connect at all.
///
/// A denial always wins. mc-router does not look at its deny list once anything is on its allow
/// list; who writes down both means the ones to be let in less the ones to be kept out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Who may; nobody in particular means everybody.
    pub allow: Networks,
    /// Who may not, whatever else is said.
    pub deny: Networks,
}

impl Filter {
    /// Whether a client may connect from `address`.
    #[must_use]
    pub fn lets(&self, address: IpAddr) -> bool {
        let listed = self.allow.is_empty() || self.allow.contains(address);
        listed && !self.deny.contains(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks::network;

    fn networks(items: &[&str]) -> Networks {
        let items: Vec<_> = items.iter().map(|item| network(item).unwrap()).collect();
        Networks::new(&items)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_denial_wins_and_nobody_allowed_is_everybody() {
        let lets = |allow: &[&str], deny: &[&str], text: &str| {
            let (allow, deny) = (networks(allow), networks(deny));
            Filter { allow, deny }.lets(address(text))
        };
        assert!(lets(&[], &[], "192.0.2.1"));
        assert!(lets(&["192.0.2.0/24"], &[], "192.0.2.1"));
        assert!(!lets(&["192.0.2.0/24"], &[], "198.51.100.1"));
        assert!(!lets(&[], &["192.0.2.0/24"], "192.0.2.1"));
        assert!(lets(&[], &["192.0.2.0/24"], "198.51.100.1"));
        assert!(!lets(&["192.0.2.0/24"], &["192.0.2.1"], "192.0.2.1"));
        assert!(lets(&["192.0.2.0/24"], &["192.0.2.1"], "192.0.2.2"));
    }
}
