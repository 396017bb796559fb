//! What a client of each version reads and writes before it is in a game, to the last byte: it
//! gives up on a packet that it does not know, or that is longer than it should be.
//!
//! Sources: <https://minecraft.wiki/w/Java_Edition_protocol/Packets> and its history.

use anyhow::{Context, Result, bail, ensure};
use automc_router::protocol::{
    COOKIE_BYTES_MAX, PLAYER_NAME_BYTES_MAX, Reader, TEXT_CHARS_MAX, encode_frame, put_bytes,
    put_string, varint,
};
use serde_json::Value;

use super::version::{
    V1_8, V1_13, V1_19, V1_19_1, V1_19_3, V1_20_2, V1_20_5, V1_21_2, V1_21_6, V26_2, V26_3,
};
use crate::nbt;

/// Longest text and identifier a client reads, in bytes.
const TEXT_BYTES_MAX: usize = TEXT_CHARS_MAX * 4;
/// Bytes of an encrypted secret, and of an encrypted token: an RSA key of 1024 bits.
const ENCRYPTED_BYTES: usize = 128;

/// What a client was sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Packet {
    /// Login Plugin Request.
    PluginRequest {
        /// Its id.
        id: i32,
        /// On which channel.
        channel: String,
    },
    /// Encryption Request.
    EncryptionRequest,
    /// Set Compression with this threshold.
    SetCompression(i32),
    /// Cookie Request, in whatever state.
    CookieRequest {
        /// For which cookie.
        key: String,
    },
    /// Login Success, whose fields are looked at when the client goes on to configuration.
    Success,
    /// Disconnect with this text component, in whatever state.
    Disconnect(Value),
    /// Keep Alive with this id.
    KeepAlive(i64),
    /// Ping with this id.
    Ping(i32),
    /// Store Cookie.
    StoreCookie {
        /// Under which key.
        key: String,
        /// What to keep.
        payload: Vec<u8>,
    },
    /// Transfer.
    Transfer {
        /// To which host.
        host: String,
        /// To which port.
        port: u16,
    },
    /// Show Dialog.
    ShowDialog(Value),
    /// Clear Dialog.
    ClearDialog,
}

impl Packet {
    /// Reads the body of a frame in the login state.
    pub(super) fn in_login(protocol: i32, body: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(body);
        let packet = match reader.varint("the packet id")? {
            0 => {
                let json = reader.string(TEXT_BYTES_MAX, "the reason")?;
                Self::Disconnect(serde_json::from_str(json)?)
            }
            // Neither has to be understood to be answered.
            1 => return Ok(Self::EncryptionRequest),
            2 => return Ok(Self::Success),
            3 if protocol >= V1_8 => Self::SetCompression(reader.varint("the threshold")?),
            4 if protocol >= V1_13 => {
                let id = reader.varint("the id")?;
                let channel = identifier(&mut reader)?;
                return Ok(Self::PluginRequest { id, channel });
            }
            5 if protocol >= V1_20_5 => {
                let key = identifier(&mut reader)?;
                Self::CookieRequest { key }
            }
            id => bail!("the client does not know packet {id:#04x} of login with {protocol}"),
        };
        whole(packet, reader)
    }

    /// Reads the body of a frame in the configuration state of 1.20.5 or newer.
    pub(super) fn in_configuration(protocol: i32, body: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(body);
        // As they were in 1.20.5; Post Effects came between.
        let id = match reader.varint("the packet id")? {
            0x0A if protocol >= V26_3 => bail!("post effects for a held player"),
            id @ 0x0B.. if protocol >= V26_3 => id - 1,
            id => id,
        };
        let packet = match id {
            0x00 => {
                let key = identifier(&mut reader)?;
                Self::CookieRequest { key }
            }
            0x02 => return Ok(Self::Disconnect(nbt::decode(reader.rest())?)),
            0x04 => Self::KeepAlive(reader.i64("the id")?),
            0x05 => Self::Ping(reader.i32("the id")?),
            0x0A => {
                let key = identifier(&mut reader)?;
                let payload = reader.bytes(COOKIE_BYTES_MAX, "the cookie")?.to_owned();
                Self::StoreCookie { key, payload }
            }
            0x0B => {
                let host = reader.string(TEXT_BYTES_MAX, "the host")?.to_owned();
                let port = u16::try_from(reader.varint("the port")?)?;
                Self::Transfer { host, port }
            }
            0x11 if protocol >= V1_21_6 => Self::ClearDialog,
            0x12 if protocol >= V1_21_6 => {
                return Ok(Self::ShowDialog(nbt::decode(reader.rest())?));
            }
            // On to a game, or mods talk: not what holds a player.
            id @ (0x01 | 0x03 | 0x06..=0x10) => bail!("packet {id:#04x} for a held player"),
            id => {
                bail!("the client does not know packet {id:#04x} of configuration with {protocol}")
            }
        };
        whole(packet, reader)
    }
}

fn whole(packet: Packet, reader: Reader<'_>) -> Result<Packet> {
    let rest = reader.rest().len();
    ensure!(
        rest == 0,
        "{packet:?} is {rest} bytes longer than the client expects"
    );
    Ok(packet)
}

fn identifier(reader: &mut Reader<'_>) -> Result<String> {
    let text = reader.string(TEXT_BYTES_MAX, "an identifier")?;
    let allowed = |char: char| matches!(char, 'a'..='z' | '0'..='9' | '_' | '-' | '.' | '/' | ':');
    let colons = text.matches(':').count();
    ensure!(
        colons <= 1 && text.chars().all(allowed),
        "{text:?} is no identifier"
    );
    Ok(text.to_owned())
}

/// Checks the body of a Login Success for a client of 1.20.5 or newer whose name is `name`.
pub(super) fn check_success(protocol: i32, body: &[u8], name: &str) -> Result<()> {
    let mut reader = Reader::new(body);
    reader.expect_id(2)?;
    reader.uuid("the UUID")?;
    let found = reader.string(PLAYER_NAME_BYTES_MAX, "the name")?;
    ensure!(found == name, "login success for {found:?}");
    ensure!(reader.varint("the properties")? == 0, "properties");
    if protocol < V1_21_2 {
        reader.bool("strict error handling")?;
    }
    if protocol >= V26_2 {
        reader.uuid("the session")?;
    }
    whole(Packet::Success, reader).map(drop)
}

/// Login Start as the version has it; the client has no key to sign with.
pub(super) fn login_start(protocol: i32, name: &str, uuid: u128) -> Vec<u8> {
    let mut body = Vec::new();
    put_string(name, &mut body);
    if (V1_19..V1_19_3).contains(&protocol) {
        body.push(0);
    }
    if (V1_19_1..V1_20_2).contains(&protocol) {
        body.push(1);
    }
    if protocol >= V1_19_1 {
        body.extend(uuid.to_be_bytes());
    }
    encode_frame(0, &body)
}

/// Encryption Response, of bytes that nobody can decrypt.
pub(super) fn encryption_response(protocol: i32) -> Vec<u8> {
    let mut body = Vec::new();
    for (part, byte) in [0x5E, 0x70].into_iter().enumerate() {
        if part == 1 && (V1_19..V1_19_3).contains(&protocol) {
            // A token, not a signature.
            body.push(1);
        }
        let bytes = [byte; ENCRYPTED_BYTES];
        if protocol < V1_8 {
            body.extend([0, 0x80]);
            body.extend(bytes);
        } else {
            put_bytes(&bytes, &mut body);
        }
    }
    encode_frame(1, &body)
}

/// Login Plugin Response: a channel that the client does not know.
pub(super) fn plugin_response(id: i32) -> Vec<u8> {
    let mut body = Vec::new();
    varint::encode(id, &mut body);
    body.push(0);
    encode_frame(2, &body)
}

/// Login Acknowledged.
pub(super) fn login_acknowledged() -> Vec<u8> {
    encode_frame(3, &[])
}

/// Cookie Response, whose id is `id` in this state.
pub(super) fn cookie_response(id: i32, key: &str, payload: Option<&Vec<u8>>) -> Vec<u8> {
    let mut body = Vec::new();
    put_string(key, &mut body);
    body.push(u8::from(payload.is_some()));
    if let Some(payload) = payload {
        put_bytes(payload, &mut body);
    }
    encode_frame(id, &body)
}

/// Client Information with the vanilla settings.
pub(super) fn client_information(protocol: i32, locale: &str) -> Vec<u8> {
    let mut body = Vec::new();
    put_string(locale, &mut body);
    // View distance, chat, colours, skin, main hand, filter, listing.
    body.extend([12, 0, 1, 0x7F, 1, 0, 1]);
    if protocol >= V1_21_2 {
        // Particles.
        body.push(0);
    }
    encode_frame(0, &body)
}

/// The brand in a Plugin Message.
pub(super) fn brand(brand: &str) -> Vec<u8> {
    let mut body = Vec::new();
    put_string("minecraft:brand", &mut body);
    put_string(brand, &mut body);
    encode_frame(2, &body)
}

/// Keep Alive.
pub(super) fn keep_alive(id: i64) -> Vec<u8> {
    encode_frame(4, &id.to_be_bytes())
}

/// Pong.
pub(super) fn pong(id: i32) -> Vec<u8> {
    encode_frame(5, &id.to_be_bytes())
}

/// Custom Click Action without a payload.
pub(super) fn click(id: &str) -> Vec<u8> {
    let mut body = Vec::new();
    put_string(id, &mut body);
    // One byte of payload: the end of what is not there.
    put_bytes(&[0], &mut body);
    encode_frame(8, &body)
}

/// A text component as it reads, without its colours.
#[must_use]
pub fn plain_text(component: &Value) -> String {
    match component {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(plain_text).collect(),
        Value::Object(fields) => ["text", "extra"]
            .into_iter()
            .filter_map(|field| fields.get(field))
            .map(plain_text)
            .collect(),
        _ => String::new(),
    }
}

/// The text of a Disconnect, which must have one.
pub(super) fn reason(component: &Value) -> Result<String> {
    let text = plain_text(component);
    (!text.is_empty())
        .then_some(text)
        .context("the reason has no text")
}

#[cfg(test)]
mod tests {
    use super::*;
    use automc_router::protocol::login::LoginStart;
    use serde_json::json;

    #[test]
    fn a_login_start_has_the_layout_of_its_version() {
        let uuid = u128::from_be_bytes([0x11; 16]);
        for (protocol, rest, told) in [
            (4, vec![], false),
            (758, vec![], false),
            (759, vec![0], false),
            (760, [&[0, 1][..], &[0x11; 16]].concat(), true),
            (763, [&[1][..], &[0x11; 16]].concat(), true),
            (764, vec![0x11; 16], true),
            (776, vec![0x11; 16], true),
        ] {
            let frame = login_start(protocol, "Steve", uuid);
            let body = [&b"\x00\x05Steve"[..], &rest].concat();
            assert_eq!(&frame[1..], body, "{protocol}");
            let start = LoginStart::decode(protocol, &body).unwrap();
            assert_eq!(start.uuid, told.then_some(uuid), "{protocol}");
        }
    }

    #[test]
    fn a_client_knows_the_packets_of_its_version_and_no_others() {
        for (protocol, body, known) in [
            (5, &b"\x03\xFF\xFF\xFF\xFF\x0F"[..], false),
            (47, b"\x03\xFF\xFF\xFF\xFF\x0F", true),
            (340, b"\x04\x00\x03a:b", false),
            (393, b"\x04\x00\x03a:b", true),
            (765, b"\x05\x03a:b", false),
            (766, b"\x05\x03a:b", true),
            (776, b"\x06", false),
        ] {
            let found = Packet::in_login(protocol, body).is_ok();
            assert_eq!(found, known, "{body:x?} with {protocol}");
        }
        for (protocol, body, known) in [
            (766, &b"\x04\0\0\0\0\0\0\0\x01"[..], true),
            (770, b"\x11", false),
            (771, b"\x11", true),
            (776, b"\x0B\x01a\x01", true),
            (777, b"\x0B\x01a\x01", false),
            (777, b"\x0C\x01a\x01", true),
            (766, b"\x03", false),
            (776, b"\x14", false),
        ] {
            let found = Packet::in_configuration(protocol, body).is_ok();
            assert_eq!(found, known, "{body:x?} with {protocol}");
        }
    }

    #[test]
    fn a_client_gives_up_on_bytes_too_many_and_on_odd_identifiers() {
        for body in [&b"\x05\x03a:b\x00"[..], b"\x05\x03A:b", b"\x05\x05a:b:c"] {
            assert!(Packet::in_login(766, body).is_err(), "{body:x?}");
        }
        for body in [&b"\x04\0\0\0\0\0\0\0\x01\0"[..], b"\x02\x08\0\x01a\0"] {
            assert!(Packet::in_configuration(766, body).is_err(), "{body:x?}");
        }
    }

    #[test]
    fn a_reason_reads_as_its_parts_one_after_another() {
        let component = json!({ "text": "a", "extra": ["b", { "text": "c", "color": "red" }] });
        assert_eq!(reason(&component).unwrap(), "abc");
        assert_eq!(reason(&json!(["a", { "text": "b" }])).unwrap(), "ab");
        assert!(reason(&json!({ "color": "red" })).is_err());
    }
}
