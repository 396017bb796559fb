//! The proof that a player waited here: what is stored with the client before it is transferred,
//! and asked back when it comes again.
//!
//! Bound to the client's address, the host name and an expiry by an HMAC, so that it can neither
//! be made nor lent. Pure but for the random key of [`Signer::random`].

use std::net::IpAddr;
use std::time::Duration;

use ring::hmac;

use crate::host::lookup_key;

/// The key it is stored under.
pub const KEY: &str = "automc:waited";
/// How long it is good for: a client is back within a second or two, or after its loading screen.
pub const LIFETIME: Duration = Duration::from_secs(60);
/// Seconds since 1970, big endian, come before the HMAC.
const EXPIRY_BYTES: usize = 8;

/// Makes and checks cookies with one secret.
#[derive(Debug)]
pub struct Signer(hmac::Key);

/// Whom a cookie is for.
#[derive(Debug, Clone, Copy)]
pub struct Bearer<'h> {
    /// Where the client connects from.
    pub address: IpAddr,
    /// The host it asks for; every spelling that leads to the same route is the same.
    pub host: &'h str,
}

impl Signer {
    /// Signs with `secret`, which every router behind one name must share.
    #[must_use]
    pub fn new(secret: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))
    }

    /// Signs with a secret of its own, good for as long as this process runs.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn random() -> Result<Self, ring::error::Unspecified> {
        let random = ring::rand::SystemRandom::new();
        hmac::Key::generate(hmac::HMAC_SHA256, &random).map(Self)
    }

    /// A cookie for `bearer`; `now` is the time since 1970.
    #[must_use]
    pub fn sign(&self, bearer: Bearer<'_>, now: Duration) -> Vec<u8> {
        let expiry = now.saturating_add(LIFETIME).as_secs().to_be_bytes();
        let tag = hmac::sign(&self.0, &signed(bearer, &expiry));
        [&expiry[..], tag.as_ref()].concat()
    }

    /// Whether `cookie` is one of ours, for `bearer`, and still good.
    #[must_use]
    pub fn is_good(&self, cookie: &[u8], bearer: Bearer<'_>, now: Duration) -> bool {
        let Some((expiry, tag)) = cookie.split_first_chunk::<EXPIRY_BYTES>() else {
            return false;
        };
        let good_until = u64::from_be_bytes(*expiry);
        hmac::verify(&self.0, &signed(bearer, expiry), tag).is_ok() && now.as_secs() <= good_until
    }
}

fn signed(bearer: Bearer<'_>, expiry: &[u8; EXPIRY_BYTES]) -> Vec<u8> {
    let address = match bearer.address.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    [
        KEY.as_bytes(),
        expiry,
        &address.octets(),
        lookup_key(bearer.host).as_bytes(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn bearer(host: &str) -> Bearer<'_> {
        let address = [192, 0, 2, 1].into();
        Bearer { address, host }
    }

    #[test]
    fn a_cookie_is_good_for_its_bearer_until_it_expires() {
        let signer = Signer::new("secret");
        let cookie = signer.sign(bearer("a.example"), NOW);
        assert!(signer.is_good(&cookie, bearer("a.example"), NOW + LIFETIME));
        let late = NOW + LIFETIME + Duration::from_secs(1);
        assert!(!signer.is_good(&cookie, bearer("a.example"), late));
        assert!(!signer.is_good(&cookie, bearer("b.example"), NOW));
        let other = Bearer {
            address: [192, 0, 2, 2].into(),
            host: "a.example",
        };
        assert!(!signer.is_good(&cookie, other, NOW));
        let mapped = Bearer {
            address: "::ffff:192.0.2.1".parse().unwrap(),
            host: "a.example",
        };
        assert!(
            signer.is_good(&cookie, mapped, NOW),
            "on a dual-stack socket"
        );
        for signer in [Signer::new("another"), Signer::random().unwrap()] {
            assert!(!signer.is_good(&cookie, bearer("a.example"), NOW));
        }
    }

    proptest! {
        #[test]
        fn no_changed_cookie_is_good(at in 0_usize..40, bit in 0_u8..8, cut in 0_usize..40) {
            let signer = Signer::new("secret");
            let mut cookie = signer.sign(bearer("a.example"), NOW);
            prop_assert!(!signer.is_good(&cookie[..cut], bearer("a.example"), NOW));
            cookie[at] ^= 1 << bit;
            prop_assert!(!signer.is_good(&cookie, bearer("a.example"), NOW));
        }
    }
}
