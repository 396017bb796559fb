//! The settings of the PROXY protocol: whose headers count, and whether backends get one.

use std::net::IpAddr;

use super::settings::{Key, Kind, Settings};
use super::values::switch;
use crate::networks::{Networks, network};
use crate::proxy_protocol::Version;

pub(super) const KEYS: &[Key] = &[
    flag(
        "receive_proxy_protocol",
        "Take the client's address from a PROXY header (v1 or v2) where there is one",
    ),
    Key {
        name: "trusted_proxies",
        kind: Kind::List,
        default: None,
        help: "Networks or addresses whose PROXY headers count; unset is everybody's",
    },
    flag(
        "use_proxy_protocol",
        "Send backends a PROXY header v2, as automc-proxy-protocol v2 does",
    ),
];

const fn flag(name: &'static str, help: &'static str) -> Key {
    Key {
        name,
        kind: Kind::Switch,
        default: None,
        help,
    }
}

/// Whose PROXY headers count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proxies {
    /// Everybody's, as with mc-router.
    All,
    /// Those of proxies at these addresses; others' are read and thrown away.
    Trusted(Networks),
}

impl Proxies {
    /// Whether a header that comes from `peer` counts.
    #[must_use]
    pub fn believe(&self, peer: IpAddr) -> bool {
        match self {
            Self::All => true,
            Self::Trusted(networks) => networks.contains(peer),
        }
    }
}

/// Whose PROXY headers count; `None` when none are expected.
pub(super) fn proxies(settings: &mut Settings) -> Option<Proxies> {
    let receives = settings.parse("receive_proxy_protocol", switch);
    let receives = receives.unwrap_or_default();
    let trusted = settings.parse_list("trusted_proxies", network);
    if !receives && !trusted.is_empty() {
        settings.notice(
            "trusted_proxies has no effect without receive_proxy_protocol: no PROXY header is read",
        );
    }
    receives.then(|| {
        if trusted.is_empty() {
            Proxies::All
        } else {
            Proxies::Trusted(Networks::new(&trusted))
        }
    })
}

/// What backends of routes that say nothing themselves get, by mc-router's setting.
pub(super) fn spoken(settings: &mut Settings) -> Option<Version> {
    let speaks = settings.parse("use_proxy_protocol", switch);
    speaks.unwrap_or_default().then_some(Version::V2)
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;

    #[test]
    fn whom_to_trust_is_of_no_use_where_no_header_is_read_and_that_is_told() {
        let trusted = [("TRUSTED_PROXIES", "10.0.0.0/8")];
        let alone = read(None, &trusted, &[]).unwrap();
        assert_eq!(alone.proxies, None);
        let [notice] = &alone.notices[..] else {
            panic!("{:?}", alone.notices)
        };
        assert!(notice.contains("receive_proxy_protocol"), "{notice}");

        let both = read(None, &trusted, &["--receive-proxy-protocol"]).unwrap();
        assert!(both.proxies.is_some() && both.notices.is_empty());
    }
}
