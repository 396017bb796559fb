//! Bytes that both ends know beforehand.

/// The step and the factors of SplitMix64.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
const FACTORS: (u64, u64) = (0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb);
/// Bytes of one of its numbers.
const WORD_BYTES: u64 = 8;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_the_known_ones() {
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
}
