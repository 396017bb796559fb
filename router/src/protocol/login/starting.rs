//! Whether a server's first packet is the kick of one that is still starting.

use crate::protocol::versions::LOGIN;
use crate::protocol::{HOST_BYTES_MAX, Reader, decode_frame, varint};

/// What Forge and NeoForge say to who logs in before they are ready; others say the like.
const WORDS: &str = "still starting";

/// Reads the first bytes a server says to a login: `None` until it is clear.
///
/// Such a kick is a login disconnect whose text has the words "still starting", whatever its case
/// (Forge: `ServerLifecycleHooks.handleServerLogin`).
#[must_use]
pub fn still_starting(bytes: &[u8]) -> Option<bool> {
    let (_, prefix) = match varint::decode(bytes) {
        Ok(length) => length?,
        Err(_) => return Some(false),
    };
    match bytes.get(prefix..)?.first()? {
        id if i32::from(*id) == LOGIN.disconnect => {}
        _ => return Some(false),
    }
    match decode_frame(bytes, HOST_BYTES_MAX) {
        Ok(None) => None,
        Ok(Some((body, _))) => {
            let mut reader = Reader::new(body);
            let text = reader
                .expect_id(LOGIN.disconnect)
                .and_then(|()| reader.string(HOST_BYTES_MAX, "the reason"));
            Some(text.is_ok_and(|text| text.to_ascii_lowercase().contains(WORDS)))
        }
        Err(_) => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::login::{disconnect, plugin_request};
    use proptest::prelude::*;

    #[test]
    fn the_kick_of_a_starting_server_is_told_from_every_other_first_packet() {
        let kick = disconnect("Server is still starting! Please wait before reconnecting.");
        for cut in 0..kick.len() {
            assert_eq!(still_starting(&kick[..cut]), None, "{cut} bytes");
        }
        assert_eq!(still_starting(&kick), Some(true));
        let other = disconnect("You are not whitelisted on this server!");
        assert_eq!(still_starting(&other), Some(false));
        let request = plugin_request(0, "velocity:player_info", b"still starting");
        assert_eq!(
            still_starting(&request[..2]),
            Some(false),
            "by its id alone"
        );
        assert_eq!(still_starting(&[0xFF; 6]), Some(false));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = still_starting(&bytes);
        }
    }
}
