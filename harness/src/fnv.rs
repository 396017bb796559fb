//! FNV-1a, 64 bits: a hash that is the same in every build, unlike the standard library's.

/// Its basis and its prime.
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

/// FNV-1a over all bytes so far: their order counts, how they were cut does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Self(BASIS)
    }
}

impl Hash {
    /// As a number.
    pub(crate) fn value(self) -> u64 {
        self.0
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(PRIME);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(bytes: &[u8]) -> Hash {
        let mut hash = Hash::default();
        hash.update(bytes);
        hash
    }

    #[test]
    fn the_hash_is_the_known_one() {
        for (text, expected) in [
            ("", BASIS),
            ("a", 0xaf63_dc4c_8601_ec8c),
            ("foobar", 0x8594_4171_f739_67e8),
        ] {
            assert_eq!(hash(text.as_bytes()), Hash(expected));
        }
    }

    #[test]
    fn another_byte_another_order_and_another_length_have_another_hash() {
        let bytes = b"every byte, in order";
        let mut swapped = *bytes;
        swapped.swap(3, 4);
        let mut flipped = *bytes;
        flipped[7] ^= 1;
        let others: [&[u8]; 3] = [&swapped, &flipped, &bytes[..bytes.len() - 1]];
        for other in others {
            assert_ne!(hash(other), hash(bytes), "{other:?}");
        }
    }
}
