//! Which addresses clients may connect from: lists of addresses and CIDR blocks.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Most entries of one list.
pub const NETWORKS_MAX: usize = 10_000;
/// Where IPv4 begins in IPv6 (`::ffff:0:0/96`, RFC 4291 2.5.5.2).
const MAPPED_PREFIX: u8 = 96;

/// Addresses and blocks, looked through in the time of a search.
///
/// IPv4 is IPv4, however it is written: as a client's address on a socket of both kinds
/// (`::ffff:192.0.2.1`), or as an entry (`::ffff:192.0.2.0/120`). A wider block of IPv6, such as
/// `::/0`, has no IPv4 in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Networks {
    /// In order, and none within another.
    v4: Vec<Ipv4Net>,
    v6: Vec<Ipv6Net>,
}

impl Networks {
    /// All of `networks` together.
    #[must_use]
    pub fn new(networks: &[IpNet]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match canonical(*network) {
                IpNet::V4(network) => v4.push(network),
                IpNet::V6(network) => v6.push(network),
            }
        }
        let (mut v4, mut v6) = (Ipv4Net::aggregate(&v4), Ipv6Net::aggregate(&v6));
        v4.sort_unstable();
        v6.sort_unstable();
        Self { v4, v6 }
    }

    /// Whether `address` is one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        // The last block that begins at the address or before it is the only one it can be in.
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let after = self.v4.partition_point(|net| net.network() <= address);
                let last = after.checked_sub(1).and_then(|index| self.v4.get(index));
                last.is_some_and(|net| net.contains(&address))
            }
            IpAddr::V6(address) => {
                let after = self.v6.partition_point(|net| net.network() <= address);
                let last = after.checked_sub(1).and_then(|index| self.v6.get(index));
                last.is_some_and(|net| net.contains(&address))
            }
        }
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

/// Reads an address, or a block such as `192.0.2.0/24`.
///
/// # Errors
/// Anything else.
pub fn network(text: &str) -> Result<IpNet, String> {
    let network = text.parse::<IpNet>().ok();
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    network.or_else(address).ok_or_else(|| {
        format!("{text:?} is neither an IP address nor a block such as 192.0.2.0/24")
    })
}

fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else {
        return network;
    };
    let v4 = v6.addr().to_ipv4_mapped();
    let length = v6.prefix_len().checked_sub(MAPPED_PREFIX);
    match v4.zip(length).map(|(v4, length)| Ipv4Net::new(v4, length)) {
        Some(Ok(v4)) => IpNet::V4(v4),
        _ => network,
    }
}

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
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn networks(items: &[&str]) -> Networks {
        let items: Vec<_> = items.iter().map(|item| network(item).unwrap()).collect();
        Networks::new(&items)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn ipv4_counts_as_such_on_either_side_however_it_is_written() {
        for list in [
            "192.0.2.0/24",
            "192.0.2.77/24",
            "::ffff:192.0.2.0/120",
            "::ffff:192.0.2.9",
            "192.0.2.9",
        ] {
            let networks = networks(&[list]);
            for text in ["192.0.2.9", "::ffff:192.0.2.9"] {
                assert!(networks.contains(address(text)), "{list} {text}");
            }
            for text in [
                "192.0.3.9",
                "::ffff:192.0.3.9",
                "2001:db8::1",
                "::192.0.2.9",
            ] {
                assert!(!networks.contains(address(text)), "{list} {text}");
            }
        }
        assert!(!networks(&["::/0"]).contains(address("::ffff:192.0.2.9")));
        assert!(networks(&["::/0"]).contains(address("2001:db8::1")));
        assert!(networks(&["0.0.0.0/0"]).contains(address("::ffff:192.0.2.9")));
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

    #[test]
    fn what_is_no_address_is_refused_by_name() {
        for text in [
            "",
            "a.example",
            "192.0.2.1/33",
            "192.0.2",
            "::1/129",
            "1.2.3.4/",
        ] {
            let error = network(text).unwrap_err();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }

    fn any_network() -> impl Strategy<Value = IpNet> {
        // Few different ones, so that they are within and beside each other.
        let v4 = (0..64_u32, 24..=32_u8).prop_map(|(host, length)| {
            IpNet::new(Ipv4Addr::from_bits(0xC000_0200 + host).into(), length).unwrap()
        });
        let v6 = (0..64_u128, 120..=128_u8).prop_map(|(host, length)| {
            IpNet::new(
                Ipv6Addr::from_bits((0x2001_0DB8 << 96) + host).into(),
                length,
            )
            .unwrap()
        });
        prop_oneof![v4, v6]
    }

    proptest! {
        #[test]
        fn a_list_has_what_any_of_its_entries_has(
            entries in proptest::collection::vec(any_network(), 0..12), host in 0..300_u32
        ) {
            let networks = Networks::new(&entries);
            let v4 = Ipv4Addr::from_bits(0xC000_0200 + host);
            let v6 = Ipv6Addr::from_bits((0x2001_0DB8 << 96) + u128::from(host));
            for (address, written) in
                [(IpAddr::V4(v4), v4.to_ipv6_mapped().into()), (v6.into(), v6.into())]
            {
                let any = entries.iter().any(|entry| entry.contains(&address));
                prop_assert_eq!(networks.contains(address), any);
                prop_assert_eq!(networks.contains(written), any);
            }
        }
    }
}
