//! Length-prefixed frames, and the reader for the fields inside one.

use super::{DecodeError, varint};

/// Splits one frame off the front of `bytes`: its body and how many bytes it took in all.
///
/// `Ok(None)` when the frame is not complete yet.
///
/// # Errors
/// An empty frame, one longer than `max` bytes (told from the length alone, before any
/// of the body arrives), or a malformed length.
pub fn decode_frame(bytes: &[u8], max: usize) -> Result<Option<(&[u8], usize)>, DecodeError> {
    let found = head(bytes, max)?;
    Ok(found.and_then(|(prefix, end)| bytes.get(prefix..end).map(|body| (body, end))))
}

/// How many bytes the frame takes in all that `bytes` begin with; `Ok(None)` when its length is not
/// complete yet.
///
/// # Errors
/// As for [`decode_frame`].
pub fn frame_length(bytes: &[u8], max: usize) -> Result<Option<usize>, DecodeError> {
    Ok(head(bytes, max)?.map(|(_, end)| end))
}

/// Where the body of a frame begins and ends.
fn head(bytes: &[u8], max: usize) -> Result<Option<(usize, usize)>, DecodeError> {
    let Some((length, prefix)) = varint::decode(bytes)? else {
        return Ok(None);
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length == 0 {
        return Err(DecodeError::EmptyFrame);
    }
    if length > max {
        return Err(DecodeError::FrameTooLong { length, max });
    }
    Ok(Some((prefix, prefix + length)))
}

/// Puts packet `id` with the fields `body` into a frame.
#[must_use]
pub fn encode_frame(id: i32, body: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(body.len() + varint::VARINT_BYTES_MAX);
    varint::encode(id, &mut packet);
    packet.extend_from_slice(body);
    let mut out = Vec::with_capacity(packet.len() + varint::VARINT_BYTES_MAX);
    // What this router writes is bounded by TEXT_CHARS_MAX, far below two gigabytes.
    varint::encode(i32::try_from(packet.len()).unwrap_or(i32::MAX), &mut out);
    out.extend_from_slice(&packet);
    out
}

/// Appends a string field: its length in bytes, then its bytes.
pub fn put_string(text: &str, out: &mut Vec<u8>) {
    put_bytes(text.as_bytes(), out);
}

/// Appends bytes with their length before them.
pub fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    varint::encode(i32::try_from(bytes.len()).unwrap_or(i32::MAX), out);
    out.extend_from_slice(bytes);
}

/// Reads the fields of one packet in order.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the body of one frame.
    #[must_use]
    pub fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    /// Reads the packet id and checks that it is the one due now.
    ///
    /// # Errors
    /// Another id, or none.
    pub fn expect_id(&mut self, expected: i32) -> Result<(), DecodeError> {
        let found = self.varint("the packet id")?;
        if found == expected {
            Ok(())
        } else {
            Err(DecodeError::UnexpectedPacket { expected, found })
        }
    }

    /// Reads a VarInt.
    ///
    /// # Errors
    /// A malformed one, or the end of the packet.
    pub fn varint(&mut self, field: &'static str) -> Result<i32, DecodeError> {
        let (value, length) = varint::decode(self.rest)?.ok_or(DecodeError::Truncated { field })?;
        self.take(length, field)?;
        Ok(value)
    }

    /// Reads `length` bytes as they are.
    ///
    /// # Errors
    /// The packet ends before.
    pub fn take(&mut self, length: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(DecodeError::Truncated { field })?;
        self.rest = rest;
        Ok(taken)
    }

    /// Reads a big-endian `u16`.
    ///
    /// # Errors
    /// The packet ends before.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array(field)?))
    }

    /// Reads a big-endian `i32`.
    ///
    /// # Errors
    /// The packet ends before.
    pub fn i32(&mut self, field: &'static str) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array(field)?))
    }

    /// Reads a big-endian `i64`.
    ///
    /// # Errors
    /// The packet ends before.
    pub fn i64(&mut self, field: &'static str) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array(field)?))
    }

    /// Reads a UUID.
    ///
    /// # Errors
    /// The packet ends before.
    pub fn uuid(&mut self, field: &'static str) -> Result<u128, DecodeError> {
        Ok(u128::from_be_bytes(self.array(field)?))
    }

    /// Reads a truth value: a byte that is zero or is not.
    ///
    /// # Errors
    /// The packet ends before.
    pub fn bool(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        Ok(self.array(field)? != [0])
    }

    /// Everything that is left.
    #[must_use]
    pub fn rest(self) -> &'a [u8] {
        self.rest
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        self.take(N, field)?
            .try_into()
            .map_err(|_| DecodeError::Truncated { field })
    }

    /// Reads bytes with their length before them, `max` at most.
    ///
    /// # Errors
    /// There are more, or the packet ends before they do.
    pub fn bytes(&mut self, max: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let length = usize::try_from(self.varint(field)?).unwrap_or(usize::MAX);
        if length > max {
            return Err(DecodeError::TooLong { field, length, max });
        }
        self.take(length, field)
    }

    /// Reads a string of at most `max` bytes.
    ///
    /// # Errors
    /// It is longer, not UTF-8, or the packet ends before it does.
    pub fn string(&mut self, max: usize, field: &'static str) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes(max, field)?).map_err(|_| DecodeError::NotUtf8 { field })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_oversized_frame_is_refused_before_its_body_arrives() {
        let mut bytes = Vec::new();
        varint::encode(2_097_151, &mut bytes);

        assert_eq!(
            decode_frame(&bytes, 100),
            Err(DecodeError::FrameTooLong {
                length: 2_097_151,
                max: 100
            })
        );
        assert_eq!(decode_frame(&[0], 100), Err(DecodeError::EmptyFrame));
        assert!(
            decode_frame(&[0xFF, 0xFF, 0xFF, 0xFF, 0x0F], 100).is_err(),
            "a negative length"
        );
    }

    proptest! {
        #[test]
        fn a_frame_comes_back_and_its_prefixes_ask_for_more(
            id in 0..1000, body in proptest::collection::vec(any::<u8>(), 0..300), tail: Vec<u8>
        ) {
            let frame = encode_frame(id, &body);
            for cut in 0..frame.len() {
                prop_assert_eq!(decode_frame(&frame[..cut], 1000), Ok(None));
                let known = frame_length(&frame[..cut], 1000).unwrap();
                prop_assert_eq!(known, (cut > usize::from(frame.len() > 129)).then_some(frame.len()));
            }
            let mut bytes = frame.clone();
            bytes.extend(tail);
            let (found, length) = decode_frame(&bytes, 1000).unwrap().unwrap();
            prop_assert_eq!(length, frame.len());
            let mut reader = Reader::new(found);
            prop_assert_eq!(reader.expect_id(id), Ok(()));
            prop_assert_eq!(reader.take(body.len(), "body").unwrap(), &body[..]);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            if let Ok(Some((body, _))) = decode_frame(&bytes, 10_000) {
                let mut reader = Reader::new(body);
                let _ = reader.expect_id(0);
                let _ = reader.string(100, "a string");
                let _ = reader.u16("a port");
                let _ = reader.bytes(100, "bytes");
                let _ = reader.bool("a flag");
                let _ = reader.i32("a number");
                let _ = reader.i64("a number");
                let _ = reader.uuid("a UUID");
                let _ = reader.rest();
            }
        }
    }
}
