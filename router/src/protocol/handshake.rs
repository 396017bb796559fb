//! The first packet of every connection since 1.7: who is asked for, and what is wanted.

use super::{
    DecodeError, HANDSHAKE_FRAME_BYTES_MAX, HOST_BYTES_MAX, Reader, decode_frame, encode_frame,
    put_string, varint,
};

/// What the client wants next ("next state", "intent").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Intent {
    /// The server list asks for a status.
    Status,
    /// A player joins.
    Login,
    /// A player arrives from another server (since 1.20.5); a login in all that matters here.
    Transfer,
}

/// A decoded handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// The client's protocol number, as it sent it; may be negative.
    pub protocol: i32,
    /// The server address, raw: markers of mods and proxies included.
    pub address: String,
    /// The port the client thinks it connected to.
    pub port: u16,
    /// What it wants.
    pub intent: Intent,
}

impl Handshake {
    /// Decodes the body of the first frame. Bytes after the last field are ignored, as servers do.
    ///
    /// # Errors
    /// Any field that is missing, too long, or out of range.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        reader.expect_id(0)?;
        let protocol = reader.varint("the protocol version")?;
        let address = reader
            .string(HOST_BYTES_MAX, "the server address")?
            .to_owned();
        let port = reader.u16("the server port")?;
        let intent = match reader.varint("the next state")? {
            1 => Intent::Status,
            2 => Intent::Login,
            3 => Intent::Transfer,
            other => return Err(DecodeError::UnknownIntent(other)),
        };
        Ok(Self {
            protocol,
            address,
            port,
            intent,
        })
    }

    /// The frame a client would send.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        varint::encode(self.protocol, &mut body);
        put_string(&self.address, &mut body);
        body.extend_from_slice(&self.port.to_be_bytes());
        let next_state = match self.intent {
            Intent::Status => 1,
            Intent::Login => 2,
            Intent::Transfer => 3,
        };
        varint::encode(next_state, &mut body);
        encode_frame(0, &body)
    }
}

/// Turns the transfer that `bytes` begin with into a login, in place; `false` if they begin with
/// anything else.
///
/// Servers refuse transfers unless told otherwise (`accepts-transfers` in `server.properties`).
pub fn make_login(bytes: &mut [u8]) -> bool {
    let transfers = |body: &[u8]| {
        Handshake::decode(body).is_ok_and(|handshake| handshake.intent == Intent::Transfer)
    };
    let end = match decode_frame(bytes, HANDSHAKE_FRAME_BYTES_MAX) {
        Ok(Some((body, end))) if transfers(body) => end,
        _ => return false,
    };
    // The last field of every handshake that clients write, one byte long.
    match bytes.get_mut(..end).and_then(<[u8]>::last_mut) {
        Some(intent) if *intent == 3 => {
            *intent = 2;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_vanilla_handshake_is_read_from_its_bytes() {
        // 1.21.4 (769) to "localhost", port 25565, login: bytes as on the wire.
        let bytes = b"\x10\x00\x81\x06\x09localhost\x63\xDD\x02";

        let (body, length) = decode_frame(bytes, HANDSHAKE_FRAME_BYTES_MAX)
            .unwrap()
            .unwrap();
        let handshake = Handshake::decode(body).unwrap();

        assert_eq!(length, bytes.len());
        assert_eq!(
            handshake,
            Handshake {
                protocol: 769,
                address: "localhost".to_owned(),
                port: 25565,
                intent: Intent::Login
            }
        );
        assert_eq!(handshake.encode(), bytes);
    }

    #[test]
    fn a_next_state_that_does_not_exist_is_refused() {
        for state in [0, 4, 127] {
            let mut body = vec![0, 47, 1, b'a', 0, 1];
            body.push(state);
            assert_eq!(
                Handshake::decode(&body),
                Err(DecodeError::UnknownIntent(i32::from(state)))
            );
        }
    }

    #[test]
    fn a_transfer_becomes_a_login_and_nothing_else_changes() {
        for (intent, changes) in [
            (Intent::Transfer, true),
            (Intent::Login, false),
            (Intent::Status, false),
        ] {
            let handshake = |intent| Handshake {
                protocol: 769,
                address: "a.example".to_owned(),
                port: 25565,
                intent,
            };
            let rest = [3; 3];
            let mut bytes = [handshake(intent).encode(), rest.to_vec()].concat();
            let before = bytes.clone();
            assert_eq!(make_login(&mut bytes), changes);
            let after = if changes {
                [handshake(Intent::Login).encode(), rest.to_vec()].concat()
            } else {
                before
            };
            assert_eq!(bytes, after);
        }
        assert!(!make_login(&mut [3]));
    }

    proptest! {
        #[test]
        fn every_handshake_comes_back(
            protocol: i32, address in "\\PC{0,80}", port: u16, intent in 0..3
        ) {
            let intent = [Intent::Status, Intent::Login, Intent::Transfer][usize::try_from(intent).unwrap()];
            let handshake = Handshake { protocol, address, port, intent };
            let bytes = handshake.encode();
            let (body, _) = decode_frame(&bytes, HANDSHAKE_FRAME_BYTES_MAX).unwrap().unwrap();
            prop_assert_eq!(Handshake::decode(body), Ok(handshake));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Handshake::decode(&bytes);
        }
    }
}
