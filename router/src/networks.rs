//! Sets of IP addresses, as settings name them: networks such as `10.0.0.0/8`, and single addresses.
//!
//! IPv4 addresses that a socket for both families writes as IPv6 (`::ffff:203.0.113.7`, RFC 4291,
//! 2.5.5.2) are the IPv4 addresses they stand for, in settings as well as in questions.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// Length of the prefix all such addresses share, in bits.
const MAPPED_PREFIX_BITS: u8 = 96;

/// A set of addresses; bounded by the settings it comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// All of `networks` together.
    #[must_use]
    pub fn new(networks: &[IpNet]) -> Self {
        Self(networks.iter().map(|network| canonical(*network)).collect())
    }

    /// Whether `address` is in one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Reads `10.0.0.0/8`, `2001:db8::/32`, or an address alone.
///
/// # Errors
/// Anything else.
pub fn network(text: &str) -> Result<IpNet, String> {
    let network = text.parse::<IpNet>().ok();
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    network.or_else(address).ok_or_else(|| {
        format!("{text:?} is neither an IP address nor a network such as 10.0.0.0/8")
    })
}

fn canonical(network: IpNet) -> IpNet {
    let own = match (
        network.addr().to_canonical(),
        network.prefix_len().checked_sub(MAPPED_PREFIX_BITS),
    ) {
        (IpAddr::V4(address), Some(bits)) if matches!(network, IpNet::V6(_)) => {
            Ipv4Net::new(address, bits).ok().map(IpNet::V4)
        }
        _ => None,
    };
    own.unwrap_or(network)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn networks(texts: &[&str]) -> Networks {
        let networks: Vec<_> = texts.iter().map(|text| network(text).unwrap()).collect();
        Networks::new(&networks)
    }

    #[test]
    fn networks_and_single_addresses_of_both_families_are_found_however_they_are_written() {
        let set = networks(&[
            "10.0.0.0/8",
            "203.0.113.7",
            "2001:db8::/32",
            "::1",
            "::ffff:192.0.2.0/120",
            "::ffff:198.51.100.4",
        ]);
        for inside in [
            "10.255.0.1",
            "::ffff:10.0.0.1",
            "203.0.113.7",
            "::ffff:203.0.113.7",
            "2001:db8:ffff::1",
            "::1",
            "192.0.2.255",
            "::ffff:192.0.2.1",
            "198.51.100.4",
        ] {
            assert!(set.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in [
            "11.0.0.1",
            "203.0.113.8",
            "2001:db9::",
            "::2",
            "192.0.3.0",
            "198.51.100.5",
            "0.0.0.1",
        ] {
            assert!(!set.contains(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused_and_quoted() {
        for text in ["", "10.0.0.0/33", "10.0.0", "a.example", "10.0.0.0/", "/8"] {
            let error = network(text).unwrap_err();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn an_empty_set_has_nobody_and_a_network_of_everything_has_everybody() {
        assert!(Networks::default().is_empty());
        assert!(!Networks::default().contains(Ipv4Addr::LOCALHOST.into()));
        assert!(networks(&["0.0.0.0/0"]).contains("::ffff:8.8.8.8".parse().unwrap()));
        assert!(!networks(&["0.0.0.0/0"]).contains("2001:db8::1".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn an_address_is_the_same_in_both_its_writings(bits: u32, of: u32, length in 0_u8..=32) {
            let (address, of) = (Ipv4Addr::from_bits(bits), Ipv4Addr::from_bits(of));
            let mapped = network(&format!("::ffff:{of}/{}", length + MAPPED_PREFIX_BITS)).unwrap();
            let plain = network(&format!("{of}/{length}")).unwrap();
            let share = bits.checked_shr(32 - u32::from(length)).unwrap_or(0)
                == of.to_bits().checked_shr(32 - u32::from(length)).unwrap_or(0);
            for network in [mapped, plain] {
                let set = Networks::new(&[network]);
                prop_assert_eq!(set.contains(address.into()), share);
                prop_assert_eq!(set.contains(address.to_ipv6_mapped().into()), share);
            }
        }
    }
}
