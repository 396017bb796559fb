//! Bytes that both ends know beforehand, and the hash they compare them by.

/// The step and the factors of SplitMix64.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
const FACTORS: (u64, u64) = (0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb);
/// Bytes of one of its numbers.
const WORD_BYTES: u64 = 8;
/// The basis and the prime of FNV-1a, 64 bits.
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

/// Numbers by SplitMix64: the `index`th of a seed.
pub(super) fn number(seed: u64, index: u64) -> u64 {
    let mixed = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(GAMMA));
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(FACTORS.0);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(FACTORS.1);
    mixed ^ (mixed >> 31)
}

/// The bytes of a seed's numbers, one after the other.
#[derive(Debug, Clone)]
pub(super) struct Sequence {
    seed: u64,
    offset: u64,
}

impl Sequence {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, offset: 0 }
    }

    /// How many bytes have been taken.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes the next bytes, as many as `buffer` holds.
    pub(super) fn take(&mut self, mut buffer: &mut [u8]) {
        while !buffer.is_empty() {
            let word = number(self.seed, self.offset / WORD_BYTES).to_le_bytes();
            let taken = usize::try_from(self.offset % WORD_BYTES).unwrap_or_default();
            let rest = word.get(taken..).unwrap_or_default();
            let (now, later) = buffer.split_at_mut(rest.len().min(buffer.len()));
            for (place, byte) in now.iter_mut().zip(rest) {
                *place = *byte;
                self.offset += 1;
            }
            buffer = later;
        }
    }
}

/// FNV-1a over all bytes so far: their order counts, how they were cut does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Self(BASIS)
    }
}

impl Hash {
    pub(super) fn update(&mut self, bytes: &[u8]) {
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
    fn the_hash_and_the_numbers_are_the_known_ones() {
        for (text, expected) in [
            ("", BASIS),
            ("a", 0xaf63_dc4c_8601_ec8c),
            ("foobar", 0x8594_4171_f739_67e8),
        ] {
            assert_eq!(hash(text.as_bytes()), Hash(expected));
        }
        // The first numbers of SplitMix64 for these seeds.
        assert_eq!(number(0, 0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(number(1_234_567, 0), 6_457_827_717_110_365_317);
        assert_eq!(number(1_234_567, 1), 3_203_168_211_198_807_973);
    }

    #[test]
    fn bytes_are_the_same_however_they_are_cut() {
        let mut whole = vec![0; 1_000];
        Sequence::new(7).take(&mut whole);
        let (mut pieces, mut sequence) = (vec![0; 1_000], Sequence::new(7));
        let mut rest = pieces.as_mut_slice();
        for length in (1..=40).cycle() {
            let (now, later) = rest.split_at_mut(length.min(rest.len()));
            sequence.take(now);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        assert_eq!(pieces, whole);
        assert_eq!(sequence.offset(), 1_000);
        let mut other = vec![0; 1_000];
        Sequence::new(8).take(&mut other);
        assert_ne!(other, whole);
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
