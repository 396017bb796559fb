//! Server list pings from before 1.7: three forms, all starting with `FE`.
//!
//! Sources: <https://minecraft.wiki/w/Java_Edition_protocol/Server_List_Ping>, "1.6", "1.4 to 1.5",
//! "Beta 1.8 to 1.3".

use super::{DecodeError, HOST_BYTES_MAX, Reader};

/// Longest legacy ping, in bytes: 1.6's fixed part and an address of two bytes a character.
pub const LEGACY_PING_BYTES_MAX: usize = 64 + 2 * HOST_BYTES_MAX;

/// A ping from before 1.7.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LegacyPing {
    /// `FE`: Beta 1.8 to 1.3.
    Beta,
    /// `FE 01`: 1.4 and 1.5. Also `FE 01 FA` without the plugin message, or with a part of it, as
    /// monitors send it (mcstatus does).
    V1_4,
    /// `FE 01 FA` and a plugin message that names the host: 1.6, and newer clients as a last resort.
    V1_6 {
        /// The client's protocol number.
        protocol: u8,
        /// The server address, raw.
        address: String,
    },
}

/// A ping of 1.4 and 1.5, whole.
const PING_1_4: [u8; 2] = [0xFE, 0x01];

impl LegacyPing {
    /// What a server is asked, for a client that has sent `raw`. A server waits for the rest of a ping
    /// that breaks off, so for such a ping this is the form that needs no rest.
    #[must_use]
    pub fn asks<'r>(&self, raw: &'r [u8]) -> &'r [u8] {
        match self {
            Self::V1_4 => raw.get(..PING_1_4.len()).unwrap_or(raw),
            Self::Beta | Self::V1_6 { .. } => raw,
        }
    }
}

/// What the first bytes of a connection are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// A frame of 1.7 or newer.
    Modern,
    /// A complete legacy ping.
    Legacy(LegacyPing),
    /// Too little to tell, and if nothing follows, nothing at all.
    More,
    /// This ping if nothing follows soon; the start of something longer if it does.
    LegacyUnlessMore(LegacyPing),
}

/// Tells a legacy ping from a modern frame whose length happens to begin with `FE`.
///
/// A modern handshake has packet id 0, so `FE 01 00` is a frame of 254 bytes while
/// `FE 01 FA` is a 1.6 ping.
///
/// # Errors
/// A 1.6 ping whose fields do not add up.
pub fn opening(bytes: &[u8]) -> Result<Opening, DecodeError> {
    match bytes {
        [] => Ok(Opening::More),
        [0xFE] => Ok(Opening::LegacyUnlessMore(LegacyPing::Beta)),
        [0xFE, 0x01] => Ok(Opening::LegacyUnlessMore(LegacyPing::V1_4)),
        [0xFE, 0x01, 0xFA, rest @ ..] => {
            Ok(decode_1_6(rest)?
                .map_or(Opening::LegacyUnlessMore(LegacyPing::V1_4), Opening::Legacy))
        }
        _ => Ok(Opening::Modern),
    }
}

/// What follows `FE 01 FA`; `Ok(None)` while incomplete.
fn decode_1_6(bytes: &[u8]) -> Result<Option<LegacyPing>, DecodeError> {
    /// Channel name length, channel name, length of the rest: all before the rest.
    const HEAD_BYTES: usize = 2 + 2 * 11 + 2;
    const CHANNEL: &str = "MC|PingHost";

    let Some((head, rest)) = bytes.split_at_checked(HEAD_BYTES) else {
        return Ok(None);
    };
    let mut head = Reader::new(head);
    let channel_chars = head.u16("the channel length")?;
    let channel = utf16(head.take(2 * CHANNEL.len(), "the channel")?, "the channel")?;
    if usize::from(channel_chars) != CHANNEL.len() || channel != CHANNEL {
        return Err(DecodeError::UnexpectedPacket {
            expected: 0xFE,
            found: 0xFA,
        });
    }
    let length = usize::from(head.u16("the ping length")?);
    if length > LEGACY_PING_BYTES_MAX {
        return Err(DecodeError::FrameTooLong {
            length,
            max: LEGACY_PING_BYTES_MAX,
        });
    }
    let Some(data) = rest.get(..length) else {
        return Ok(None);
    };
    let mut data = Reader::new(data);
    let protocol = data
        .take(1, "the protocol version")?
        .first()
        .copied()
        .unwrap_or_default();
    let host_chars = usize::from(data.u16("the host length")?);
    let address = utf16(data.take(2 * host_chars, "the host")?, "the host")?;
    Ok(Some(LegacyPing::V1_6 { protocol, address }))
}

fn utf16(bytes: &[u8], field: &'static str) -> Result<String, DecodeError> {
    let units = bytes.chunks_exact(2).map(|pair| match pair {
        [high, low] => u16::from_be_bytes([*high, *low]),
        _ => 0,
    });
    char::decode_utf16(units)
        .collect::<Result<_, _>>()
        .map_err(|_| DecodeError::NotUtf8 { field })
}

/// The answer to `ping`: nobody online, `text` shown, then the connection ends.
#[must_use]
pub fn response(ping: &LegacyPing, text: &str) -> Vec<u8> {
    let fields = match ping {
        // The oldest form separates with section signs, so the text may have none, nor colours.
        LegacyPing::Beta => format!("{}§0§0", without_colours(text)),
        LegacyPing::V1_4 => modern_fields(127, text),
        LegacyPing::V1_6 { protocol, .. } => modern_fields(*protocol, text),
    };
    let units: Vec<u16> = fields.encode_utf16().take(usize::from(u16::MAX)).collect();
    let mut out = vec![0xFF];
    out.extend_from_slice(&u16::try_from(units.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend(units.iter().flat_map(|unit| unit.to_be_bytes()));
    out
}

fn modern_fields(protocol: u8, text: &str) -> String {
    format!(
        "§1\0{protocol}\0automc\0{}\x000\x000",
        text.replace(['\0', '\n'], " ")
    )
}

fn without_colours(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '§' => drop(chars.next()),
            '\n' => plain.push(' '),
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ping_1_6(host: &str) -> Vec<u8> {
        let units =
            |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_be_bytes).collect() };
        let host_units = units(host);
        let mut bytes = vec![0xFE, 0x01, 0xFA, 0, 11];
        bytes.extend(units("MC|PingHost"));
        bytes.extend(u16::try_from(7 + host_units.len()).unwrap().to_be_bytes());
        bytes.push(78);
        bytes.extend(u16::try_from(host_units.len() / 2).unwrap().to_be_bytes());
        bytes.extend(host_units);
        bytes.extend(25565_i32.to_be_bytes());
        bytes
    }

    #[test]
    fn a_1_6_ping_names_its_host_and_what_breaks_off_stands_only_when_nothing_follows() {
        let bytes = ping_1_6("play.example.com");
        for cut in 2..bytes.len() {
            let broken_off = Opening::LegacyUnlessMore(LegacyPing::V1_4);
            assert_eq!(opening(&bytes[..cut]), Ok(broken_off), "{cut} bytes");
            assert_eq!(LegacyPing::V1_4.asks(&bytes[..cut]), [0xFE, 0x01]);
        }
        assert_eq!(
            opening(&bytes),
            Ok(Opening::Legacy(LegacyPing::V1_6 {
                protocol: 78,
                address: "play.example.com".to_owned()
            }))
        );
        let (protocol, address) = (78, String::new());
        let ping = LegacyPing::V1_6 { protocol, address };
        assert_eq!(ping.asks(&bytes), bytes);
    }

    #[test]
    fn modern_frames_whose_length_begins_with_fe_are_modern() {
        for second in [0x01, 0x02, 0x03, 0x7F] {
            assert_eq!(
                opening(&[0xFE, second, 0x00]),
                Ok(Opening::Modern),
                "{second:#x}"
            );
        }
        assert_eq!(opening(&[0x10, 0x00]), Ok(Opening::Modern));
    }

    #[test]
    fn the_short_pings_stand_only_when_nothing_follows() {
        assert_eq!(
            opening(&[0xFE]),
            Ok(Opening::LegacyUnlessMore(LegacyPing::Beta))
        );
        assert_eq!(
            opening(&[0xFE, 1]),
            Ok(Opening::LegacyUnlessMore(LegacyPing::V1_4))
        );
    }

    #[test]
    fn the_oldest_answer_has_exactly_two_section_signs() {
        let answer = response(&LegacyPing::Beta, "§eAsleep, §ljoin to wake");
        let text = utf16(&answer[3..], "answer").unwrap();
        assert_eq!(text, "Asleep, join to wake§0§0");
    }

    #[test]
    fn the_newer_answer_has_six_fields() {
        let answer = response(&LegacyPing::V1_4, "zzz");
        let text = utf16(&answer[3..], "answer").unwrap();
        assert_eq!(
            text.split('\0').collect::<Vec<_>>(),
            ["§1", "127", "automc", "zzz", "0", "0"]
        );
        assert_eq!(
            u16::from_be_bytes([answer[1], answer[2]]) as usize,
            text.encode_utf16().count()
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(tail: Vec<u8>) {
            let _ = opening(&tail);
            let _ = opening(&[&[0xFE, 0x01, 0xFA][..], &tail].concat());
        }
    }
}
