//! Login start, of which only the name matters here, and the login disconnect.

use super::{DecodeError, PLAYER_NAME_BYTES_MAX, Reader, encode_frame, put_string};

/// Reads the player's name from the body of a login start frame.
///
/// The name comes first in every version since 1.7; what follows differs and is left alone.
/// It is what the client claims, not an identity.
///
/// # Errors
/// Another packet, or a name that is missing, too long, or not UTF-8.
pub fn decode_start(body: &[u8]) -> Result<&str, DecodeError> {
    let mut reader = Reader::new(body);
    reader.expect_id(0)?;
    reader.string(PLAYER_NAME_BYTES_MAX, "the player name")
}

/// A login disconnect that shows `text`; valid in every version until encryption is switched on.
#[must_use]
pub fn disconnect(text: &str) -> Vec<u8> {
    let mut body = Vec::new();
    put_string(&serde_json::json!({ "text": text }).to_string(), &mut body);
    encode_frame(0, &body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{LOGIN_START_FRAME_BYTES_MAX, decode_frame};
    use proptest::prelude::*;

    #[test]
    fn the_name_is_read_in_every_layout() {
        let name = b"\x00\x05Steve";
        let uuid = [7; 16];
        for rest in [
            vec![],
            vec![0],
            [&[1][..], &uuid].concat(),
            uuid.to_vec(),
            vec![1; 800],
        ] {
            assert_eq!(decode_start(&[&name[..], &rest].concat()), Ok("Steve"));
        }
    }

    #[test]
    fn a_disconnect_is_json_in_a_string_in_a_frame() {
        assert_eq!(disconnect("no"), b"\x0F\x00\x0D{\"text\":\"no\"}");
    }

    #[test]
    fn a_name_of_over_64_bytes_is_refused() {
        let mut body = vec![0];
        put_string(&"x".repeat(65), &mut body);
        assert!(matches!(
            decode_start(&body),
            Err(DecodeError::StringTooLong { .. })
        ));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = decode_start(&bytes);
            let _ = decode_frame(&bytes, LOGIN_START_FRAME_BYTES_MAX);
        }
    }
}
