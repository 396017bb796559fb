//! Everything a client says before the router must act, put together from what has arrived.

use super::handshake::{Handshake, Intent};
use super::legacy::{LegacyPing, Opening, opening};
use super::login::LoginStart;
use super::{DecodeError, HANDSHAKE_FRAME_BYTES_MAX, LOGIN_START_FRAME_BYTES_MAX, decode_frame};

/// Most bytes a greeting takes before it is complete or refused.
pub const GREETING_BYTES_MAX: usize =
    HANDSHAKE_FRAME_BYTES_MAX + LOGIN_START_FRAME_BYTES_MAX + 2 * super::varint::VARINT_BYTES_MAX;

/// What a client wants, once it has said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Greeting {
    /// A ping from before 1.7.
    Legacy(LegacyPing),
    /// A status handshake; the requests follow after `length` bytes.
    Status {
        /// The handshake.
        handshake: Handshake,
        /// How many bytes it took.
        length: usize,
    },
    /// A login or transfer handshake and the login start.
    Login {
        /// The handshake.
        handshake: Handshake,
        /// The name the client claims.
        player: String,
        /// The UUID the client claims, if it does.
        uuid: Option<u128>,
    },
}

/// How far a greeting has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It is complete.
    Complete(Greeting),
    /// More bytes are needed.
    More,
    /// It is this if nothing follows soon.
    CompleteUnlessMore(Greeting),
}

/// Reads a greeting from the first bytes of a connection.
///
/// # Errors
/// Bytes that no client sends.
pub fn parse(bytes: &[u8]) -> Result<Progress, DecodeError> {
    match opening(bytes)? {
        Opening::More => return Ok(Progress::More),
        Opening::Legacy(ping) => return Ok(Progress::Complete(Greeting::Legacy(ping))),
        Opening::LegacyUnlessMore(ping) => {
            return Ok(Progress::CompleteUnlessMore(Greeting::Legacy(ping)));
        }
        Opening::Modern => {}
    }
    let Some((body, length)) = decode_frame(bytes, HANDSHAKE_FRAME_BYTES_MAX)? else {
        return Ok(Progress::More);
    };
    let handshake = Handshake::decode(body)?;
    if handshake.intent == Intent::Status {
        return Ok(Progress::Complete(Greeting::Status { handshake, length }));
    }
    let rest = bytes.get(length..).unwrap_or_default();
    let Some((body, _)) = decode_frame(rest, LOGIN_START_FRAME_BYTES_MAX)? else {
        return Ok(Progress::More);
    };
    let LoginStart { name, uuid } = LoginStart::decode(handshake.protocol, body)?;
    let player = name.to_owned();
    Ok(Progress::Complete(Greeting::Login {
        handshake,
        player,
        uuid,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{encode_frame, put_string};
    use proptest::prelude::*;

    fn hello(intent: Intent, address: &str) -> Handshake {
        Handshake {
            protocol: 769,
            address: address.to_owned(),
            port: 25565,
            intent,
        }
    }

    fn login_start(name: &str) -> Vec<u8> {
        let mut body = Vec::new();
        put_string(name, &mut body);
        body.extend([7; 16]);
        encode_frame(0, &body)
    }

    #[test]
    fn a_login_is_complete_with_its_login_start_and_not_before() {
        for intent in [Intent::Login, Intent::Transfer] {
            let handshake = hello(intent, "a.example");
            let bytes = [handshake.encode(), login_start("Steve")].concat();
            for cut in 0..bytes.len() {
                assert_eq!(parse(&bytes[..cut]), Ok(Progress::More), "{cut} bytes");
            }
            let login = Greeting::Login {
                handshake,
                player: "Steve".to_owned(),
                uuid: Some(0x0707_0707_0707_0707_0707_0707_0707_0707),
            };
            assert_eq!(parse(&bytes), Ok(Progress::Complete(login)));
        }
    }

    #[test]
    fn a_status_is_complete_with_its_handshake_whatever_follows() {
        let handshake = hello(Intent::Status, "a.example");
        let mut bytes = handshake.encode();
        let length = bytes.len();
        bytes.extend([1, 0]);
        assert_eq!(
            parse(&bytes),
            Ok(Progress::Complete(Greeting::Status { handshake, length }))
        );
    }

    #[test]
    fn a_handshake_whose_length_begins_like_a_legacy_ping_is_a_handshake() {
        // 246 characters of host make a frame of 254 bytes: FE 01 on the wire.
        let handshake = hello(Intent::Status, &"a".repeat(246));
        let bytes = handshake.encode();
        assert_eq!(&bytes[..3], [0xFE, 0x01, 0x00]);
        assert!(matches!(
            parse(&bytes),
            Ok(Progress::Complete(Greeting::Status { .. }))
        ));
    }

    #[test]
    fn other_protocols_are_refused_from_their_first_bytes() {
        let tls_hello = [
            0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0, 1, 0xFC, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0,
        ];
        assert!(parse(&tls_hello).is_err());
        assert!(parse(&[0]).is_err());
        assert!(parse(&[0xFF; 6]).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }

        #[test]
        fn a_parser_with_a_full_buffer_never_asks_for_more(
            mut bytes in proptest::collection::vec(any::<u8>(), 8)
        ) {
            bytes.resize(GREETING_BYTES_MAX, 0);
            prop_assert_ne!(parse(&bytes), Ok(Progress::More));
        }
    }
}
