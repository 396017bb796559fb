//! The configuration state of clients that [can be transferred](super::version::can_transfer).
//!
//! Packet ids are the same from 1.20.5 (766) to 26.2 (776): minecraft-data
//! (`data/pc/{1.20.5,1.21.1,1.21.6,26.2}/proto.yml`, `configuration`), Velocity
//! (`StateRegistry.java`), <https://minecraft.wiki/w/Java_Edition_protocol/Packets>.

use serde_json::Value;

use super::nbt::{self, NbtError};
use super::{
    COOKIE_BYTES_MAX, DecodeError, IDENTIFIER_BYTES_MAX, Reader, encode_frame, login, put_bytes,
    put_string, varint,
};

/// Longest frame that is read: a plugin message of 32,767 bytes, the most a vanilla server takes,
/// and its channel.
pub const CONFIGURATION_FRAME_BYTES_MAX: usize = 32_767 + 2 * IDENTIFIER_BYTES_MAX;
/// Longest locale in bytes: 16 characters of up to 4 bytes each.
const LOCALE_BYTES_MAX: usize = 16 * 4;
/// The channel on which a client names its brand.
const BRAND_CHANNEL: &str = "minecraft:brand";

/// What a client says in the configuration state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigurationReply<'a> {
    /// Its settings, of which only the language matters here.
    ClientInformation {
        /// Such as `de_de`.
        locale: &'a str,
    },
    /// To a cookie request.
    CookieResponse {
        /// The key that was asked for.
        key: &'a str,
        /// The cookie, if it has it; [`COOKIE_BYTES_MAX`] at most.
        payload: Option<&'a [u8]>,
    },
    /// What it is: `vanilla`, or the name of a mod loader.
    Brand(&'a str),
    /// It goes on to the game, which nothing in here allows it.
    FinishAcknowledged,
    /// To a [`keep_alive`] with this id.
    KeepAlive(i64),
    /// To a ping with this id.
    Pong(i32),
    /// A click with this id, in a dialog that was shown (since 1.21.6).
    Clicked(&'a str),
    /// A packet with this id, or a plugin message on another channel than the brand's.
    Other(i32),
}

impl<'a> ConfigurationReply<'a> {
    /// Reads the body of one frame.
    ///
    /// # Errors
    /// A packet whose fields do not add up.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        Ok(match reader.varint("the packet id")? {
            0 => {
                let locale = reader.string(LOCALE_BYTES_MAX, "the locale")?;
                Self::ClientInformation { locale }
            }
            1 => {
                let (key, payload) = login::cookie(&mut reader)?;
                Self::CookieResponse { key, payload }
            }
            2 => {
                let channel = reader.string(IDENTIFIER_BYTES_MAX, "the channel")?;
                if channel != BRAND_CHANNEL {
                    return Ok(Self::Other(2));
                }
                Self::Brand(reader.string(CONFIGURATION_FRAME_BYTES_MAX, "the brand")?)
            }
            3 => Self::FinishAcknowledged,
            4 => Self::KeepAlive(reader.i64("the id of the keep-alive")?),
            5 => Self::Pong(reader.i32("the id of the ping")?),
            8 => Self::Clicked(reader.string(IDENTIFIER_BYTES_MAX, "the id of the click")?),
            other => Self::Other(other),
        })
    }
}

/// Ends the connection and shows a text component.
///
/// # Errors
/// The component has no NBT.
pub fn disconnect(component: &Value) -> Result<Vec<u8>, NbtError> {
    Ok(encode_frame(0x02, &nbt::encode(component)?))
}

/// Asks for a sign of life: a client sends `id` back, unless it is frozen.
#[must_use]
pub fn keep_alive(id: i64) -> Vec<u8> {
    encode_frame(0x04, &id.to_be_bytes())
}

/// Has the client keep `payload` under `key` for as long as it is transferred from server to
/// server; `None` if it is longer than [`COOKIE_BYTES_MAX`].
#[must_use]
pub fn store_cookie(key: &str, payload: &[u8]) -> Option<Vec<u8>> {
    if payload.len() > COOKIE_BYTES_MAX {
        return None;
    }
    let mut body = Vec::new();
    put_string(key, &mut body);
    put_bytes(payload, &mut body);
    Some(encode_frame(0x0A, &body))
}

/// Sends the client to `host` and `port`, where it arrives with
/// [`Intent::Transfer`](super::handshake::Intent::Transfer) and its cookies.
#[must_use]
pub fn transfer(host: &str, port: u16) -> Vec<u8> {
    let mut body = Vec::new();
    put_string(host, &mut body);
    varint::encode(i32::from(port), &mut body);
    encode_frame(0x0B, &body)
}

/// Takes away the dialog that is shown, if any; only for clients that
/// [show dialogs](super::version::shows_dialogs).
#[must_use]
pub fn clear_dialog() -> Vec<u8> {
    encode_frame(0x11, &[])
}

/// Shows a dialog such as [`waiting`](super::dialog::waiting) in place of the one before; only for
/// clients that [show dialogs](super::version::shows_dialogs).
///
/// # Errors
/// The dialog has no NBT.
pub fn show_dialog(dialog: &Value) -> Result<Vec<u8>, NbtError> {
    Ok(encode_frame(0x12, &nbt::encode(dialog)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn packets_are_as_on_the_wire() {
        assert_eq!(
            disconnect(&json!({ "text": "no" })),
            Ok(b"\x0E\x02\x0A\x08\x00\x04text\x00\x02no\x00".to_vec())
        );
        assert_eq!(keep_alive(258), [9, 4, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(
            store_cookie("a:b", b"ok").unwrap(),
            b"\x08\x0A\x03a:b\x02ok"
        );
        assert_eq!(transfer("a.b", 25565), b"\x08\x0B\x03a.b\xDD\xC7\x01");
        assert_eq!(clear_dialog(), [1, 0x11]);
        assert_eq!(
            show_dialog(&json!({ "type": "x" })),
            Ok(b"\x0D\x12\x0A\x08\x00\x04type\x00\x01x\x00".to_vec())
        );
    }

    #[test]
    fn a_cookie_that_clients_would_refuse_is_not_made() {
        assert!(store_cookie("a:b", &[0; COOKIE_BYTES_MAX]).is_some());
        assert_eq!(store_cookie("a:b", &[0; COOKIE_BYTES_MAX + 1]), None);
    }

    #[test]
    fn what_has_no_nbt_is_an_error() {
        assert_eq!(disconnect(&Value::Null), Err(NbtError::Null));
        assert_eq!(show_dialog(&Value::Null), Err(NbtError::Null));
    }

    #[test]
    fn replies_are_read_from_their_bytes() {
        let key = "a:b";
        for (body, reply) in [
            (
                // A view distance, chat, colours, skin, hand, filter, listing, particles follow.
                &b"\x00\x05de_de\x0A\x00\x01\x7F\x01\x00\x01\x00"[..],
                ConfigurationReply::ClientInformation { locale: "de_de" },
            ),
            (
                b"\x01\x03a:b\x01\x02ok",
                ConfigurationReply::CookieResponse {
                    key,
                    payload: Some(b"ok"),
                },
            ),
            (
                b"\x02\x0Fminecraft:brand\x07vanilla",
                ConfigurationReply::Brand("vanilla"),
            ),
            (
                b"\x02\x12minecraft:register\xFF\xFF\xFF",
                ConfigurationReply::Other(2),
            ),
            (b"\x03", ConfigurationReply::FinishAcknowledged),
            (
                b"\x04\0\0\0\0\0\0\x01\x02",
                ConfigurationReply::KeepAlive(258),
            ),
            (b"\x05\0\0\x01\x02", ConfigurationReply::Pong(258)),
            (b"\x07\x00", ConfigurationReply::Other(7)),
            (
                // A payload of one byte: none.
                b"\x08\x0Cautomc:leave\x01\x00",
                ConfigurationReply::Clicked("automc:leave"),
            ),
        ] {
            assert_eq!(ConfigurationReply::decode(body), Ok(reply), "{body:x?}");
        }
        for cut in [
            &b""[..],
            b"\x00\x05de",
            b"\x04\0\0",
            b"\x05\0",
            b"\x08\x0Caut",
        ] {
            assert!(ConfigurationReply::decode(cut).is_err(), "{cut:x?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = ConfigurationReply::decode(&bytes);
        }

        #[test]
        fn a_keep_alive_comes_back(id: i64) {
            let frame = keep_alive(id);
            prop_assert_eq!(
                ConfigurationReply::decode(&frame[1..]),
                Ok(ConfigurationReply::KeepAlive(id))
            );
        }
    }
}
