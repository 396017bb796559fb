//! The configuration state of clients that [can be transferred](super::version::can_transfer).
//!
//! Which packet has which id in which version is in the table in [`versions`](super::versions).
//! Layouts: <https://minecraft.wiki/w/Java_Edition_protocol/Packets>.

use serde_json::Value;

use super::nbt::{self, NbtError};
use super::versions::Configuration;
use super::{
    COOKIE_BYTES_MAX, DecodeError, IDENTIFIER_BYTES_MAX, Reader, encode_frame, put_bytes,
    put_string, varint,
};

/// Longest frame that is read: a plugin message of 32,767 bytes, the most a vanilla server takes,
/// and its channel.
pub const CONFIGURATION_FRAME_BYTES_MAX: usize = 32_767 + 2 * IDENTIFIER_BYTES_MAX;
/// Longest locale in bytes: 16 characters of up to 4 bytes each.
const LOCALE_BYTES_MAX: usize = 16 * 4;

/// What a client says in the configuration state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigurationReply<'a> {
    /// Its settings, of which only the language matters here.
    ClientInformation {
        /// Such as `de_de`.
        locale: &'a str,
    },
    /// A click with this id, in a dialog that was shown.
    Clicked(&'a str),
    /// A packet with this id: what it is, a sign of life, what mods say.
    Other(i32),
}

impl Configuration {
    /// Reads the body of one frame of a client.
    ///
    /// # Errors
    /// A packet whose fields do not add up.
    pub fn decode<'a>(&self, body: &'a [u8]) -> Result<ConfigurationReply<'a>, DecodeError> {
        let mut reader = Reader::new(body);
        Ok(match reader.varint("the packet id")? {
            id if id == self.client_information => {
                let locale = reader.string(LOCALE_BYTES_MAX, "the locale")?;
                ConfigurationReply::ClientInformation { locale }
            }
            id if Some(id) == self.click => {
                let click = reader.string(IDENTIFIER_BYTES_MAX, "the id of the click")?;
                ConfigurationReply::Clicked(click)
            }
            other => ConfigurationReply::Other(other),
        })
    }

    /// Ends the connection and shows a text component.
    ///
    /// # Errors
    /// The component has no NBT.
    pub fn disconnect(&self, component: &Value) -> Result<Vec<u8>, NbtError> {
        Ok(encode_frame(self.disconnect, &nbt::encode(component)?))
    }

    /// Asks for a sign of life: a client sends `id` back, unless it is frozen.
    #[must_use]
    pub fn keep_alive(&self, id: i64) -> Vec<u8> {
        encode_frame(self.keep_alive, &id.to_be_bytes())
    }

    /// Has the client keep `payload` under `key` for as long as it is transferred from server to
    /// server; `None` if it is longer than [`COOKIE_BYTES_MAX`].
    #[must_use]
    pub fn store_cookie(&self, key: &str, payload: &[u8]) -> Option<Vec<u8>> {
        if payload.len() > COOKIE_BYTES_MAX {
            return None;
        }
        let mut body = Vec::new();
        put_string(key, &mut body);
        put_bytes(payload, &mut body);
        Some(encode_frame(self.store_cookie, &body))
    }

    /// Sends the client to `host` and `port`, where it arrives with
    /// [`Intent::Transfer`](super::handshake::Intent::Transfer) and its cookies.
    #[must_use]
    pub fn transfer(&self, host: &str, port: u16) -> Vec<u8> {
        let mut body = Vec::new();
        put_string(host, &mut body);
        varint::encode(i32::from(port), &mut body);
        encode_frame(self.transfer, &body)
    }

    /// Shows a dialog such as [`waiting`](super::dialog::waiting) in place of the one before; `None` for
    /// clients that show none.
    ///
    /// # Errors
    /// The dialog has no NBT.
    pub fn show_dialog(&self, dialog: impl FnOnce() -> Value) -> Result<Option<Vec<u8>>, NbtError> {
        let Some(id) = self.show_dialog else {
            return Ok(None);
        };
        Ok(Some(encode_frame(id, &nbt::encode(&dialog())?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::version::configuration;
    use proptest::prelude::*;
    use serde_json::json;

    fn of(protocol: i32) -> &'static Configuration {
        configuration(protocol).unwrap()
    }

    #[test]
    fn packets_are_as_on_the_wire() {
        for (protocol, cookie, transfer, dialog) in [
            (766, 0x0A, 0x0B, None),
            (770, 0x0A, 0x0B, None),
            (771, 0x0A, 0x0B, Some(0x12)),
            (776, 0x0A, 0x0B, Some(0x12)),
            (777, 0x0B, 0x0C, Some(0x13)),
        ] {
            let packets = of(protocol);
            assert_eq!(
                packets.disconnect(&json!({ "text": "no" })),
                Ok(b"\x0E\x02\x0A\x08\x00\x04text\x00\x02no\x00".to_vec())
            );
            assert_eq!(packets.keep_alive(258), [9, 4, 0, 0, 0, 0, 0, 0, 1, 2]);
            assert_eq!(
                packets.store_cookie("a:b", b"ok").unwrap(),
                [&[8, cookie][..], b"\x03a:b\x02ok"].concat()
            );
            assert_eq!(
                packets.transfer("a.b", 25565),
                [&[8, transfer][..], b"\x03a.b\xDD\xC7\x01"].concat()
            );
            let nbt = b"\x0A\x08\x00\x04type\x00\x01x\x00";
            assert_eq!(
                packets.show_dialog(|| json!({ "type": "x" })),
                Ok(dialog.map(|id| [&[13, id][..], nbt].concat())),
                "{protocol}"
            );
        }
    }

    #[test]
    fn a_cookie_that_clients_would_refuse_is_not_made() {
        let packets = of(766);
        let made = |bytes| packets.store_cookie("a:b", &vec![0; bytes]);
        assert!(made(COOKIE_BYTES_MAX).is_some());
        assert_eq!(made(COOKIE_BYTES_MAX + 1), None);
    }

    #[test]
    fn what_has_no_nbt_is_an_error() {
        let packets = of(777);
        assert_eq!(packets.disconnect(&Value::Null), Err(NbtError::Null));
        assert_eq!(packets.show_dialog(|| Value::Null), Err(NbtError::Null));
    }

    #[test]
    fn replies_are_read_from_their_bytes() {
        for (protocol, body, reply) in [
            (
                766,
                // A view distance, chat, colours, skin, hand, filter, listing, particles follow.
                &b"\x00\x05de_de\x0A\x00\x01\x7F\x01\x00\x01\x00"[..],
                ConfigurationReply::ClientInformation { locale: "de_de" },
            ),
            (
                777,
                b"\x02\x0Fminecraft:brand\x07vanilla",
                ConfigurationReply::Other(2),
            ),
            (
                777,
                // A payload of one byte: none.
                b"\x08\x0Cautomc:leave\x01\x00",
                ConfigurationReply::Clicked("automc:leave"),
            ),
            (770, b"\x08\x01a", ConfigurationReply::Other(8)),
        ] {
            assert_eq!(of(protocol).decode(body), Ok(reply), "{body:x?}");
        }
        for cut in [&b""[..], b"\x00\x05de", b"\x08\x0Caut"] {
            assert!(of(777).decode(cut).is_err(), "{cut:x?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, protocol in 766..=777) {
            let _ = of(protocol).decode(&bytes);
        }
    }
}
