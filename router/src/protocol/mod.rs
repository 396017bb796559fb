//! Minecraft packets to and from bytes: the few a router reads or writes, and nothing else.
//!
//! Pure: no sockets and no clock. "More bytes, please" is `Ok(None)`, never an error.
//! Layouts and ids follow <https://minecraft.wiki/w/Java_Edition_protocol/Packets>.

pub mod configuration;
pub mod dialog;
mod frame;
pub mod greeting;
pub mod handshake;
pub mod legacy;
pub mod login;
pub mod nbt;
pub mod status;
pub mod varint;
pub mod version;
pub mod versions;

pub use frame::{Reader, decode_frame, encode_frame, frame_length, put_bytes, put_string};

/// Longest server address in a handshake, in bytes.
///
/// Players type at most 255 characters; forwarding proxies append an address, a UUID
/// and a skin texture to it, which takes a few kilobytes.
pub const HOST_BYTES_MAX: usize = 8 * 1024;
/// Longest handshake frame: the address, two VarInts, two bytes of port, one of id.
pub const HANDSHAKE_FRAME_BYTES_MAX: usize = HOST_BYTES_MAX + 32;
/// Longest login start frame: name, and for 1.19 a public key and its signature.
pub const LOGIN_START_FRAME_BYTES_MAX: usize = 8 * 1024;
/// Longest player name, in bytes: 16 characters of up to 4 bytes each.
pub const PLAYER_NAME_BYTES_MAX: usize = 16 * 4;
/// Longest status request or ping frame.
pub const STATUS_FRAME_BYTES_MAX: usize = 64;
/// Longest namespaced identifier that is read, in bytes: far beyond any that is in use.
pub const IDENTIFIER_BYTES_MAX: usize = 512;
/// Longest cookie a client keeps, in bytes.
pub const COOKIE_BYTES_MAX: usize = 5 * 1024;
/// Longest frame there can be: its length takes three bytes at most.
pub const FRAME_BYTES_MAX: usize = (1 << 21) - 1;
/// Longest text a client accepts in a status answer or a login disconnect, in characters.
pub const TEXT_CHARS_MAX: usize = 32_767;

/// Why bytes are not the packet they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A VarInt of more than five bytes, or with bits beyond the 32nd.
    #[error("a VarInt of more than 32 bits")]
    VarIntTooLong,
    /// A frame of length zero.
    #[error("an empty frame")]
    EmptyFrame,
    /// A length prefix beyond the limit for this packet.
    #[error("a frame of {length} bytes where {max} is the limit")]
    FrameTooLong {
        /// The length the peer announced, in bytes.
        length: usize,
        /// The limit, in bytes.
        max: usize,
    },
    /// A field reaches past the end of its frame.
    #[error("{field} reaches past the end of its packet")]
    Truncated {
        /// Which field.
        field: &'static str,
    },
    /// A string or bytes longer than the field allows.
    #[error("{field} of {length} bytes where {max} is the limit")]
    TooLong {
        /// Which field.
        field: &'static str,
        /// The length the peer announced, in bytes.
        length: usize,
        /// The limit, in bytes.
        max: usize,
    },
    /// A string that is not UTF-8.
    #[error("{field} is not UTF-8")]
    NotUtf8 {
        /// Which field.
        field: &'static str,
    },
    /// A packet with another id than the one due now.
    #[error("packet id {found:#04x} where {expected:#04x} was due")]
    UnexpectedPacket {
        /// The id that was due.
        expected: i32,
        /// The id that came.
        found: i32,
    },
    /// A handshake that asks for a state that does not exist.
    #[error("next state {0}, which is none of status, login and transfer")]
    UnknownIntent(i32),
}
