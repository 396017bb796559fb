//! The login state: who a player claims to be, and what can be said to him before he is in.
//!
//! All of it is before encryption. Sources: <https://minecraft.wiki/w/Java_Edition_protocol/Packets>
//! and, for what differs by version, the table in [`versions`](super::versions).

mod kick;

pub use kick::{FirstPacket, first_packet};

use serde_json::{Value, json};

use super::version;
use super::versions::{LOGIN, Start, Success};
use super::{
    COOKIE_BYTES_MAX, DecodeError, IDENTIFIER_BYTES_MAX, LOGIN_START_FRAME_BYTES_MAX,
    PLAYER_NAME_BYTES_MAX, Reader, encode_frame, put_string, varint,
};

/// Longest frame a client sends in answer to what is in here: a cookie and its key.
///
/// A client that knows the channel of a plugin request may say more, but knows none of ours.
pub const LOGIN_REPLY_FRAME_BYTES_MAX: usize = COOKIE_BYTES_MAX + 2 * IDENTIFIER_BYTES_MAX;

/// What a client says of itself as it logs in: a claim, not an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginStart<'a> {
    /// The name.
    pub name: &'a str,
    /// The UUID, where the version has one and the client tells it.
    pub uuid: Option<u128>,
}

impl<'a> LoginStart<'a> {
    /// Reads the body of a login start frame from a client of `protocol`.
    ///
    /// The name comes first in every version since 1.7 and decides. What follows must add up to the
    /// last byte to be believed; if it does not, there is no UUID.
    ///
    /// # Errors
    /// Another packet, or a name that is missing, too long, or not UTF-8.
    pub fn decode(protocol: i32, body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        reader.expect_id(LOGIN.start)?;
        let name = reader.string(PLAYER_NAME_BYTES_MAX, "the player name")?;
        let uuid = claimed_uuid(protocol, reader).ok().flatten();
        Ok(Self { name, uuid })
    }
}

fn claimed_uuid(protocol: i32, mut reader: Reader<'_>) -> Result<Option<u128>, DecodeError> {
    let start = version::login(protocol).start;
    let (max, field) = (LOGIN_START_FRAME_BYTES_MAX, "the player's key");
    if matches!(start, Start::Key | Start::KeyAndMaybeUuid) && reader.bool(field)? {
        reader.i64(field)?;
        reader.bytes(max, field)?;
        reader.bytes(max, field)?;
    }
    let field = "the player's UUID";
    let told = match start {
        Start::Uuid => true,
        Start::KeyAndMaybeUuid | Start::MaybeUuid => reader.bool(field)?,
        Start::Name | Start::Key => false,
    };
    let uuid = told.then(|| reader.uuid(field)).transpose()?;
    Ok(uuid.filter(|_| reader.rest().is_empty()))
}

/// What a client says in answer while it logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginReply<'a> {
    /// To a [`plugin_request`].
    PluginResponse {
        /// The id of the request.
        id: i32,
        /// What it says; `None` if it does not know the channel.
        data: Option<&'a [u8]>,
    },
    /// To a [`cookie_request`].
    CookieResponse {
        /// The key that was asked for.
        key: &'a str,
        /// The cookie, if it has it; [`COOKIE_BYTES_MAX`] at most.
        payload: Option<&'a [u8]>,
    },
    /// To [`success`]: it is in the configuration state now.
    Acknowledged,
    /// A packet with this id, which nothing in here asks for.
    Other(i32),
}

impl<'a> LoginReply<'a> {
    /// Reads the body of one frame.
    ///
    /// # Errors
    /// A packet whose fields do not add up.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        Ok(match reader.varint("the packet id")? {
            id if id == LOGIN.plugin_response => {
                let id = reader.varint("the id of the plugin request")?;
                let known = reader.bool("whether the channel is known")?;
                let data = known.then(|| reader.rest());
                Self::PluginResponse { id, data }
            }
            id if id == LOGIN.acknowledged => Self::Acknowledged,
            id if id == LOGIN.cookie_response => {
                let (key, payload) = cookie(&mut reader)?;
                Self::CookieResponse { key, payload }
            }
            other => Self::Other(other),
        })
    }
}

/// A cookie response, which is the same in every state.
pub(super) fn cookie<'a>(
    reader: &mut Reader<'a>,
) -> Result<(&'a str, Option<&'a [u8]>), DecodeError> {
    let key = reader.string(IDENTIFIER_BYTES_MAX, "the cookie's key")?;
    let there = reader.bool("whether there is a cookie")?;
    let payload = there.then(|| reader.bytes(COOKIE_BYTES_MAX, "the cookie"));
    Ok((key, payload.transpose()?))
}

/// A login disconnect that shows `text`; valid in every version until encryption is switched on.
#[must_use]
pub fn disconnect(text: &str) -> Vec<u8> {
    disconnect_with(&json!({ "text": text }))
}

/// A login disconnect that shows a text component, JSON in every version.
#[must_use]
pub fn disconnect_with(component: &Value) -> Vec<u8> {
    let mut body = Vec::new();
    put_string(&component.to_string(), &mut body);
    encode_frame(LOGIN.disconnect, &body)
}

/// Asks whether the client knows `channel`; every client since 1.13 answers, with the same `id`.
#[must_use]
pub fn plugin_request(id: i32, channel: &str, data: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    varint::encode(id, &mut body);
    put_string(channel, &mut body);
    body.extend_from_slice(data);
    encode_frame(LOGIN.plugin_request, &body)
}

/// Switches compression off, where it is: a sign of life that is never answered (since 1.8).
#[must_use]
pub fn set_compression_off() -> Vec<u8> {
    let mut body = Vec::new();
    varint::encode(-1, &mut body);
    encode_frame(LOGIN.set_compression, &body)
}

/// Asks for the cookie under `key` (since 1.20.5).
#[must_use]
pub fn cookie_request(key: &str) -> Vec<u8> {
    let mut body = Vec::new();
    put_string(key, &mut body);
    encode_frame(LOGIN.cookie_request, &body)
}

/// Lets a client of `protocol` in, into the configuration state once it acknowledges.
///
/// For versions that [can be transferred](super::version::can_transfer): the older have other
/// layouts. The player has no skin and no session beyond this connection.
#[must_use]
pub fn success(protocol: i32, uuid: u128, name: &str) -> Vec<u8> {
    let mut body = uuid.to_be_bytes().to_vec();
    put_string(name, &mut body);
    // No properties.
    body.push(0);
    match version::login(protocol).success {
        // As a server does.
        Success::Strictness => body.push(1),
        // There is no session that lasts.
        Success::Session => body.extend(uuid.to_be_bytes()),
        Success::Nothing | Success::Unwritten => {}
    }
    encode_frame(LOGIN.success, &body)
}

#[cfg(test)]
mod tests;
