//! Integers of one to five bytes, seven bits a byte, least significant first.

use super::DecodeError;

/// Most bytes a VarInt may take.
pub const VARINT_BYTES_MAX: usize = 5;

/// Reads one VarInt from the front of `bytes`: the value and how many bytes it took.
///
/// `Ok(None)` when the bytes end before the integer does.
///
/// # Errors
/// [`DecodeError::VarIntTooLong`] when it needs more than five bytes or 32 bits.
pub fn decode(bytes: &[u8]) -> Result<Option<(i32, usize)>, DecodeError> {
    let mut value: u32 = 0;
    for (index, &byte) in bytes.iter().take(VARINT_BYTES_MAX).enumerate() {
        if index == VARINT_BYTES_MAX - 1 && byte > 0x0F {
            return Err(DecodeError::VarIntTooLong);
        }
        value |= u32::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value.cast_signed(), index + 1)));
        }
    }
    Ok(None)
}

/// Appends `value` in its shortest form.
pub fn encode(value: i32, out: &mut Vec<u8>) {
    let mut rest = value.cast_unsigned();
    loop {
        let [low, ..] = rest.to_le_bytes();
        rest >>= 7;
        if rest == 0 {
            out.push(low & 0x7F);
            return;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(value: i32) -> Vec<u8> {
        let mut out = Vec::new();
        encode(value, &mut out);
        out
    }

    #[test]
    fn the_published_examples_hold() {
        for (value, bytes) in [
            (0, &[0x00][..]),
            (127, &[0x7F]),
            (128, &[0x80, 0x01]),
            (25565, &[0xDD, 0xC7, 0x01]),
            (i32::MAX, &[0xFF, 0xFF, 0xFF, 0xFF, 0x07]),
            (-1, &[0xFF, 0xFF, 0xFF, 0xFF, 0x0F]),
            (i32::MIN, &[0x80, 0x80, 0x80, 0x80, 0x08]),
        ] {
            assert_eq!(encoded(value), bytes);
            assert_eq!(decode(bytes), Ok(Some((value, bytes.len()))));
        }
    }

    #[test]
    fn a_sixth_byte_or_a_thirty_third_bit_is_refused() {
        assert_eq!(decode(&[0xFF; 6]), Err(DecodeError::VarIntTooLong));
        assert_eq!(
            decode(&[0xFF, 0xFF, 0xFF, 0xFF, 0x1F]),
            Err(DecodeError::VarIntTooLong)
        );
    }

    proptest! {
        #[test]
        fn every_value_comes_back(value: i32, tail: Vec<u8>) {
            let mut bytes = encoded(value);
            let length = bytes.len();
            bytes.extend(tail);
            prop_assert_eq!(decode(&bytes), Ok(Some((value, length))));
        }

        #[test]
        fn every_prefix_asks_for_more(value: i32) {
            let bytes = encoded(value);
            prop_assert_eq!(decode(&bytes[..bytes.len() - 1]), Ok(None));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }
    }
}
