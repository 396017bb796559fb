//! A backend's status: read leniently, passed on as it came, and shown again with another text
//! over it while the backend is away.
//!
//! Fields: <https://minecraft.wiki/w/Java_Edition_protocol/Server_List_Ping>, "Status Response";
//! modded servers add theirs (`modinfo`, `forgeData`, `isModded`), which their clients look for.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Number, Value};

use crate::protocol::status::{PROTOCOL_MAX, Shown, response};
use crate::protocol::{TEXT_CHARS_MAX, varint};

/// Longest icon that is kept, in bytes: 64 pixels square as PNG and base64 take far less.
pub const ICON_BYTES_MAX: usize = 64 * 1024;
/// Most that is kept of a status besides its icon, in bytes of JSON: with more, a client would not
/// take the status at all.
pub const LASTING_BYTES_MAX: usize = TEXT_CHARS_MAX;
/// Most lines over the player count; vanilla sends as many names.
pub const HOVER_LINES_MAX: usize = 12;
/// Most statuses without their icon fit.
const JSON_BYTES: usize = 1024;
/// What an icon begins with.
const ICON_PREFIX: &str = "data:image/png;base64,";
/// Who is online under a hover line: nobody.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

/// Why a text is no status.
#[derive(Debug, thiserror::Error)]
pub enum NoStatus {
    /// It is no JSON.
    #[error("no JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// It is something else than an object.
    #[error("JSON, but no object")]
    NoObject,
}

/// A backend's status, ready to be sent, as the backend wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    frame: Box<[u8]>,
}

impl Answer {
    /// The whole packet.
    #[must_use]
    pub fn frame(&self) -> &[u8] {
        &self.frame
    }
}

/// What of a status is worth showing while its server is away.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// The icon, a `data:` URL.
    pub icon: Option<Arc<str>>,
    /// Everything else.
    pub lasting: Arc<Lasting>,
}

/// A status without its icon and without what changes by the minute: text, who is online.
#[derive(Debug, Clone, PartialEq)]
pub struct Lasting {
    version: String,
    players_max: Number,
    /// Mod lists, mostly.
    extras: Map<String, Value>,
}

/// Reads what a backend answered. Any JSON object will do: every field may be missing or something
/// else than it should be.
///
/// # Errors
/// See [`NoStatus`].
pub fn read(json: &str) -> Result<(Answer, Known), NoStatus> {
    let Value::Object(mut status) = serde_json::from_str(json)? else {
        return Err(NoStatus::NoObject);
    };
    let icon = match status.remove("favicon") {
        Some(Value::String(icon)) if is_icon(&icon) => Some(icon.into()),
        _ => None,
    };
    let lasting = Arc::new(Lasting::of(status));
    let frame = framed(json).into();
    Ok((Answer { frame }, Known { icon, lasting }))
}

/// Whether `text` is an icon that is worth keeping.
#[must_use]
pub fn is_icon(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic();
    text.len() <= ICON_BYTES_MAX && text.starts_with(ICON_PREFIX) && text.bytes().all(plain)
}

impl Lasting {
    /// Reads what [`Self::to_json`] has written, or any status.
    ///
    /// # Errors
    /// See [`NoStatus`].
    pub fn read(json: &str) -> Result<Self, NoStatus> {
        match serde_json::from_str(json)? {
            Value::Object(status) => Ok(Self::of(status)),
            _ => Err(NoStatus::NoObject),
        }
    }

    fn of(mut status: Map<String, Value>) -> Self {
        // What a bare text is shown with.
        let bare = Shown::from("");
        let version = match status.remove("version") {
            Some(Value::Object(mut version)) => version.remove("name"),
            _ => None,
        };
        let players_max = match status.remove("players") {
            Some(Value::Object(mut players)) => players.remove("max"),
            _ => None,
        };
        for passing in ["description", "favicon"] {
            status.remove(passing);
        }
        let mut lasting = Self {
            version: match version {
                Some(Value::String(name)) => name,
                _ => bare.version.to_owned(),
            },
            players_max: match players_max {
                Some(Value::Number(max)) => max,
                _ => bare.players_max.into(),
            },
            extras: status,
        };
        if lasting.to_json().len() > LASTING_BYTES_MAX {
            lasting.extras.clear();
        }
        if lasting.version.len() > LASTING_BYTES_MAX / 2 {
            bare.version.clone_into(&mut lasting.version);
        }
        lasting
    }

    /// A status of its own, in the shape a backend's has.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut status = self.extras.clone();
        let version = serde_json::json!({ "name": self.version });
        let players = serde_json::json!({ "max": self.players_max });
        status.insert("version".to_owned(), version);
        status.insert("players".to_owned(), players);
        Value::Object(status).to_string()
    }
}

/// The packet that shows a server that is away to a client that speaks `protocol`: what is known of
/// the server with `text` (a text component) over it, `hover` where the names of players would be,
/// and nobody online. The client's own number is echoed, see [`response`].
///
/// Where a client would not take it all, the lines go first, then the icon, then everything that is
/// known.
#[must_use]
pub fn overlay(known: Option<&Known>, protocol: i32, text: &Value, hover: &[&str]) -> Vec<u8> {
    let attempts = known.into_iter().flat_map(|known| {
        let icon = known.icon.as_deref();
        let lasting = known.lasting.as_ref();
        [
            (icon, lasting, hover),
            (icon, lasting, &[]),
            (None, lasting, &[]),
        ]
    });
    for (icon, lasting, hover) in attempts {
        let json = overlaid(lasting, icon, protocol, text, hover);
        if fits(&json) {
            return framed(&json);
        }
    }
    let bare = Lasting::of(Map::new());
    [hover, &[]]
        .into_iter()
        .map(|hover| overlaid(&bare, None, protocol, text, hover))
        .find(|json| fits(json))
        .map_or_else(|| response(protocol, ""), |json| framed(&json))
}

/// The packet with `json` in it, copied once: for most pings of a sleeping server this is made anew.
fn framed(json: &str) -> Vec<u8> {
    // Id 0 and the length of the text, with no text yet.
    let (mut head, mut length) = (vec![0], Vec::new());
    let number = |bytes: usize| i32::try_from(bytes).unwrap_or(i32::MAX);
    varint::encode(number(json.len()), &mut head);
    varint::encode(number(head.len() + json.len()), &mut length);
    [&length, &head, json.as_bytes()].concat()
}

/// Whether a client takes a status of this length, which it counts in UTF-16.
fn fits(json: &str) -> bool {
    json.len() <= TEXT_CHARS_MAX || json.encode_utf16().count() <= TEXT_CHARS_MAX
}

fn overlaid(
    lasting: &Lasting,
    favicon: Option<&str>,
    protocol: i32,
    text: &Value,
    hover: &[&str],
) -> String {
    let lines = hover.iter().take(HOVER_LINES_MAX);
    let status = Overlaid {
        version: Version {
            name: &lasting.version,
            protocol: protocol.clamp(0, PROTOCOL_MAX),
        },
        players: Players {
            max: &lasting.players_max,
            online: 0,
            sample: lines.map(|name| Sample { name, id: NOBODY }).collect(),
        },
        description: text,
        favicon,
        extras: &lasting.extras,
    };
    let mut json = Vec::with_capacity(JSON_BYTES + favicon.map_or(0, str::len));
    // Neither a text nor a map with texts as keys can fail to be written.
    drop(serde_json::to_writer(&mut json, &status));
    String::from_utf8(json).unwrap_or_default()
}

#[derive(Serialize)]
struct Overlaid<'a> {
    version: Version<'a>,
    players: Players<'a>,
    description: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    favicon: Option<&'a str>,
    #[serde(flatten)]
    extras: &'a Map<String, Value>,
}

#[derive(Serialize)]
struct Version<'a> {
    name: &'a str,
    protocol: i32,
}

#[derive(Serialize)]
struct Players<'a> {
    max: &'a Number,
    online: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sample: Vec<Sample<'a>>,
}

#[derive(Serialize)]
struct Sample<'a> {
    name: &'a str,
    id: &'a str,
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
