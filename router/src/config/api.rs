//! The settings of the REST API.

use super::secret::Secret;
use super::settings::{Key, Kind};
use super::text;

/// Shortest token, in bytes: whoever reaches the API can try as many as they like.
pub const TOKEN_BYTES_MIN: usize = 16;

pub(super) const KEYS: &[Key] = &[
    text(
        "api_binding",
        "",
        "Address of the REST API; a port alone binds loopback; empty is off",
    ),
    Key {
        name: "api_token",
        kind: Kind::Secret,
        default: None,
        help: "What requests to the API must carry as Authorization: Bearer",
    },
];

/// Never quoted: the value is a secret. RFC 6750's characters, so that every client can send it.
pub(super) fn token(text: &str) -> Result<Secret, String> {
    let sendable = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    match text.len() {
        TOKEN_BYTES_MIN.. if text.bytes().all(sendable) => Ok(Secret::new(text)),
        TOKEN_BYTES_MIN.. => Err("only letters, digits and - . _ ~ + / = can be sent".to_owned()),
        _ => Err(format!("shorter than {TOKEN_BYTES_MIN} bytes")),
    }
}
