//! Status request, response, ping and pong.

use super::{DecodeError, FRAME_BYTES_MAX, Reader, decode_frame, encode_frame, varint};

/// Highest protocol number echoed in an answer: snapshots count up from `0x4000_0000`.
pub const PROTOCOL_MAX: i32 = 0x4000_FFFF;

/// What a client may send after a status handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusRequest {
    /// Asks for the status JSON.
    Status,
    /// Asks for these eight bytes back.
    Ping([u8; 8]),
}

impl StatusRequest {
    /// Decodes the body of one frame.
    ///
    /// # Errors
    /// Neither a status request (id 0) nor a ping (id 1 and eight bytes).
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        match reader.varint("the packet id")? {
            0 => Ok(Self::Status),
            1 => {
                let field = "the ping payload";
                let payload = reader.take(8, field)?;
                payload
                    .try_into()
                    .map(Self::Ping)
                    .map_err(|_| DecodeError::Truncated { field })
            }
            found => Err(DecodeError::UnexpectedPacket { expected: 0, found }),
        }
    }

    /// The frame a client would send.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Status => encode_frame(0, &[]),
            Self::Ping(payload) => encode_frame(1, payload),
        }
    }
}

/// What a status response says, a whole packet: JSON in all likelihood. Clients put up with bytes that
/// are not UTF-8, and some with bytes behind the text.
///
/// # Errors
/// Half a packet, another one, or a text that reaches past its end.
pub fn text_in(frame: &[u8]) -> Result<&[u8], DecodeError> {
    let Some((body, _)) = decode_frame(frame, FRAME_BYTES_MAX)? else {
        let field = "the packet";
        return Err(DecodeError::Truncated { field });
    };
    let mut reader = Reader::new(body);
    reader.expect_id(0)?;
    reader.bytes(FRAME_BYTES_MAX, "the status")
}

/// The same of a packet of which only the beginning has come.
///
/// # Errors
/// Another packet, or one that ends before its text begins.
pub fn text_begun_in(beginning: &[u8]) -> Result<&[u8], DecodeError> {
    let mut reader = Reader::new(beginning);
    reader.varint("the length")?;
    reader.expect_id(0)?;
    reader.varint("the length of the status")?;
    Ok(reader.rest())
}

/// The status response that says `json`, copied once: for most pings of a sleeping server one is made.
#[must_use]
pub fn frame(json: &[u8]) -> Vec<u8> {
    // Id 0 and the length of the text, with no text yet.
    let (mut head, mut length) = (vec![0], Vec::new());
    let number = |bytes: usize| i32::try_from(bytes).unwrap_or(i32::MAX);
    varint::encode(number(json.len()), &mut head);
    varint::encode(number(head.len() + json.len()), &mut length);
    [&length, &head, json].concat()
}

/// The answer to a ping: the same eight bytes.
#[must_use]
pub fn pong(payload: [u8; 8]) -> Vec<u8> {
    encode_frame(1, &payload)
}

/// What a server list shows of a server with nobody online.
///
/// A bare text is the router's own: version `automc`, and room for nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown<'a> {
    /// The version's name.
    pub version: &'a str,
    /// How many players there is room for.
    pub players_max: u32,
    /// The text.
    pub text: &'a str,
}

impl<'a> From<&'a str> for Shown<'a> {
    fn from(text: &'a str) -> Self {
        Self {
            version: "automc",
            players_max: 0,
            text,
        }
    }
}

/// The answer to a status request of a client that speaks `protocol`.
///
/// The client's own number is echoed so that its server list shows the text instead of
/// "outdated server"; nonsense numbers are clamped.
#[must_use]
pub fn response<'a>(protocol: i32, shown: impl Into<Shown<'a>>) -> Vec<u8> {
    let shown = shown.into();
    let json = serde_json::json!({
        "version": { "name": shown.version, "protocol": protocol.clamp(0, PROTOCOL_MAX) },
        "players": { "max": shown.players_max, "online": 0 },
        "description": { "text": shown.text },
    });
    frame(json.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json_of(frame: &[u8]) -> serde_json::Value {
        serde_json::from_slice(text_in(frame).unwrap()).unwrap()
    }

    #[test]
    fn the_clients_own_protocol_is_echoed_and_nonsense_is_clamped() {
        for (sent, told) in [
            (769, 769),
            (0x4000_0105, 0x4000_0105),
            (-1, 0),
            (i32::MAX, PROTOCOL_MAX),
        ] {
            assert_eq!(json_of(&response(sent, "zzz"))["version"]["protocol"], told);
        }
    }

    #[test]
    fn the_text_survives_quotes_and_section_signs() {
        let text = "§eHe said \"zzz\"\nand slept";
        assert_eq!(json_of(&response(47, text))["description"]["text"], text);
    }

    #[test]
    fn a_bare_text_is_shown_as_the_routers_own_and_another_server_as_itself() {
        let own = json_of(&response(47, "zzz"));
        let version = serde_json::json!({ "name": "automc", "protocol": 47 });
        assert_eq!(own["version"], version);
        assert_eq!(own["players"], serde_json::json!({ "max": 0, "online": 0 }));

        let (version, players_max, text) = ("1.21", 7, "up");
        let shown = Shown {
            version,
            players_max,
            text,
        };
        let other = json_of(&response(47, shown));
        assert_eq!(other["version"]["name"], version);
        assert_eq!(other["players"]["max"], players_max);
        assert_eq!(other["description"]["text"], text);
    }

    proptest! {
        #[test]
        fn every_request_comes_back(payload: [u8; 8]) {
            for request in [StatusRequest::Status, StatusRequest::Ping(payload)] {
                let bytes = request.encode();
                let (body, _) = decode_frame(&bytes, 64).unwrap().unwrap();
                prop_assert_eq!(StatusRequest::decode(body), Ok(request));
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = StatusRequest::decode(&bytes);
        }
    }
}
