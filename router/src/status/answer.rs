//! A backend's status: passed on as it came, understood leniently, and shown again with another text
//! over it while the backend is away.
//!
//! Fields: <https://minecraft.wiki/w/Java_Edition_protocol/Server_List_Ping>, "Status Response";
//! modded servers add theirs (`modinfo`, `forgeData`, `isModded`), which their clients look for.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::lenient;
use crate::protocol::status::{PROTOCOL_MAX, frame, response, text_begun_in, text_in};
use crate::protocol::{DecodeError, FRAME_BYTES_MAX, TEXT_CHARS_MAX, frame_length};

/// Longest icon that is kept, in bytes: 64 pixels square as PNG and base64 take far less.
pub const ICON_BYTES_MAX: usize = 64 * 1024;
/// Most that is kept of a status besides its icon, in UTF-16, as clients count: with more, a client
/// would not take the status at all.
pub const LASTING_CHARS_MAX: usize = TEXT_CHARS_MAX;
/// Most bytes for that many.
const LASTING_BYTES_MAX: usize = 3 * LASTING_CHARS_MAX;
/// Longest name of a version that is kept, in bytes.
const VERSION_BYTES_MAX: usize = LASTING_CHARS_MAX / 2;
/// Longest number that is kept, in bytes.
const NUMBER_BYTES_MAX: usize = 64;
/// Most lines over the player count; vanilla sends as many names.
pub const HOVER_LINES_MAX: usize = 12;
/// Most statuses without their icon fit.
const JSON_BYTES: usize = 1024;
/// What an icon begins with.
const ICON_PREFIX: &str = "data:image/png;base64,";
/// Who is online under a hover line: nobody.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";
/// What is told of a version without a name, and of servers that nobody has seen.
const NO_VERSION: &str = "\"automc\"";
/// How many players there is room for where nobody has said.
const NO_PLAYERS: &str = "0";

/// Why an answer is no status.
#[derive(Debug, thiserror::Error)]
pub enum NoStatus {
    /// It is another packet.
    #[error("{0}")]
    Packet(#[from] DecodeError),
    /// No client would take what it says for a JSON object.
    #[error("no JSON object")]
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
    /// The protocol number, if it had one.
    pub protocol: Option<i32>,
    /// Everything else.
    pub lasting: Arc<Lasting>,
}

/// A status without its icon and without what changes by the minute: text, who is online. All of it is
/// JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lasting {
    /// The version's name.
    version: Box<str>,
    players_max: Box<str>,
    /// Everything else, mod lists mostly: names with their values, in the order of names.
    extras: Box<[Box<str>]>,
}

/// Reads what a backend answered, a whole packet. Every field may be missing or something else than it
/// should be; what is not understood is shown all the same, while the server is there.
///
/// # Errors
/// See [`NoStatus`].
pub fn read(frame: Vec<u8>) -> Result<(Answer, Known), NoStatus> {
    let text = text_in(&frame)?;
    let text = String::from_utf8_lossy(text);
    let known = understood(&text)?;
    let frame = frame.into_boxed_slice();
    Ok((Answer { frame }, known))
}

/// Whether `frame` is a status: a whole packet, or the beginning of one that is too long to be read
/// by everybody who wants to know.
#[must_use]
pub fn is_status(frame: &[u8]) -> bool {
    if frame_length(frame, FRAME_BYTES_MAX).is_ok_and(|length| length > Some(frame.len())) {
        let text = text_begun_in(frame).unwrap_or_default();
        return lenient::Value::of(&String::from_utf8_lossy(text)).is_object();
    }
    text_in(frame).is_ok_and(|text| {
        let text = String::from_utf8_lossy(text);
        let mut members = lenient::Value::of(&text).members();
        members.by_ref().for_each(drop);
        members.is_complete()
    })
}

fn understood(text: &str) -> Result<Known, NoStatus> {
    let (mut icon, mut protocol) = (None, None);
    let (mut version, mut players_max) = (None, None);
    let (mut extras, mut bytes) = (BTreeMap::new(), 0);
    let mut members = lenient::Value::of(text).members();
    for (name, value) in members.by_ref() {
        match name.as_str() {
            "description" => {}
            // A later one replaces an earlier one, as with clients.
            "favicon" => icon = value.text().and_then(|text| clean_icon(&text)),
            "version" => {
                (version, protocol) = (None, None);
                for (name, value) in value.members() {
                    match name.as_str() {
                        "name" if value.is_text() => version = value.strict(VERSION_BYTES_MAX),
                        "protocol" => protocol = value.integer(),
                        _ => {}
                    }
                }
            }
            "players" => {
                let mut all = value.members();
                let max = all.by_ref().filter(|(name, _)| name == "max").last();
                let number = max.filter(|(_, value)| value.is_number());
                players_max = number.and_then(|(_, value)| value.strict(NUMBER_BYTES_MAX));
            }
            _ => {
                let name = Value::String(name).to_string();
                let room = LASTING_BYTES_MAX.saturating_sub(bytes + name.len());
                match value.strict(room) {
                    Some(value) => {
                        bytes += name.len() + value.len();
                        let member = format!("{name}:{value}").into_boxed_str();
                        extras.insert(name, member);
                    }
                    None => drop(extras.remove(&name)),
                }
            }
        }
    }
    if !members.is_complete() {
        return Err(NoStatus::NoObject);
    }
    let mut lasting = Lasting {
        version: version.as_deref().unwrap_or(NO_VERSION).into(),
        players_max: players_max.as_deref().unwrap_or(NO_PLAYERS).into(),
        extras: extras.into_values().collect(),
    };
    lasting.shed(&lasting.without_extras().to_json(), LASTING_CHARS_MAX);
    Ok(Known {
        icon: icon.map(Arc::from),
        protocol,
        lasting: Arc::new(lasting),
    })
}

/// `text` as an icon that every client takes and that is worth keeping, if it is one. Servers up to 1.12
/// break its lines, which later clients only take at `\n`.
#[must_use]
pub fn clean_icon(text: &str) -> Option<String> {
    let data = text.strip_prefix(ICON_PREFIX)?;
    let mut icon = ICON_PREFIX.to_owned();
    for char in data.chars().filter(|char| !char.is_ascii_whitespace()) {
        let base64 = char.is_ascii_alphanumeric() || matches!(char, '+' | '/' | '=');
        if !base64 || icon.len() >= ICON_BYTES_MAX {
            return None;
        }
        icon.push(char);
    }
    Some(icon)
}

impl Lasting {
    /// Reads what [`Self::to_json`] has written, or any status.
    ///
    /// # Errors
    /// See [`NoStatus`].
    pub fn read(json: &str) -> Result<Arc<Self>, NoStatus> {
        Ok(understood(json)?.lasting)
    }

    /// Of a server that nobody has seen.
    fn bare() -> Self {
        Self {
            version: NO_VERSION.into(),
            players_max: NO_PLAYERS.into(),
            extras: Box::default(),
        }
    }

    /// A status of its own, in the shape a backend's has.
    #[must_use]
    pub fn to_json(&self) -> String {
        let (version, max) = (&self.version, &self.players_max);
        let mut json = format!(r#"{{"version":{{"name":{version}}},"players":{{"max":{max}}}"#);
        self.put_extras(&mut json);
        json
    }

    /// Appends the extras and the end of the object.
    fn put_extras(&self, json: &mut String) {
        for extra in &self.extras {
            json.push(',');
            json.push_str(extra);
        }
        json.push('}');
    }

    fn without_extras(&self) -> Self {
        Self {
            version: self.version.clone(),
            players_max: self.players_max.clone(),
            extras: Box::default(),
        }
    }

    /// Gives up the longest of the extras until the others fit beside `rest` into so many characters.
    fn shed(&mut self, rest: &str, most: usize) {
        let length = |text: &str| text.encode_utf16().count();
        let mut room = most.saturating_sub(length(rest));
        let mut extras = std::mem::take(&mut self.extras).into_vec();
        extras.sort_by_cached_key(|extra| length(extra));
        extras.retain(|extra| {
            let left = room.checked_sub(length(extra) + 1);
            room = left.unwrap_or_default();
            left.is_some()
        });
        extras.sort();
        self.extras = extras.into_boxed_slice();
    }
}

/// The packet that shows a server that is away to a client that speaks `protocol`: what is known of
/// the server with `text` (a text component) over it, `hover` where the names of players would be,
/// and nobody online. The protocol number is the one that was seen: clients that ask before they join
/// join with that version. Of a server that nobody has seen, the client's own is echoed, see [`response`].
///
/// Where a client would not take it all, the lines go first, then the icon, then the longest of the rest.
#[must_use]
pub fn overlay(known: Option<&Known>, protocol: i32, text: &Value, hover: &[&str]) -> Vec<u8> {
    let seen = known.and_then(|known| known.protocol);
    let shown = Shown {
        protocol: seen.unwrap_or_else(|| protocol.clamp(0, PROTOCOL_MAX)),
        text,
    };
    if let Some(known) = known {
        let icon = known.icon.as_deref();
        for (icon, hover) in [(icon, hover), (icon, &[]), (None, &[])] {
            let json = shown.over(&known.lasting, icon, hover);
            if fits(&json) {
                return frame(json.as_bytes());
            }
        }
        let mut lasting = Lasting::clone(&known.lasting);
        let rest = shown.over(&lasting.without_extras(), None, &[]);
        lasting.shed(&rest, TEXT_CHARS_MAX);
        let json = shown.over(&lasting, None, &[]);
        if fits(&json) {
            return frame(json.as_bytes());
        }
    }
    let bare = Lasting::bare();
    [hover, &[]]
        .into_iter()
        .map(|hover| shown.over(&bare, None, hover))
        .find(|json| fits(json))
        .map_or_else(|| response(protocol, ""), |json| frame(json.as_bytes()))
}

/// Whether a client takes a status of this length, which it counts in UTF-16.
fn fits(json: &str) -> bool {
    json.len() <= TEXT_CHARS_MAX || json.encode_utf16().count() <= TEXT_CHARS_MAX
}

/// What is shown of every server that is away.
#[derive(Clone, Copy)]
struct Shown<'a> {
    protocol: i32,
    text: &'a Value,
}

impl Shown<'_> {
    fn over(self, lasting: &Lasting, favicon: Option<&str>, hover: &[&str]) -> String {
        let mut json = String::with_capacity(JSON_BYTES + favicon.map_or(0, str::len));
        let (name, protocol) = (&lasting.version, self.protocol);
        put(
            &mut json,
            &[
                r#"{"version":{"name":"#,
                name,
                r#","protocol":"#,
                &protocol.to_string(),
            ],
        );
        put(
            &mut json,
            &[
                r#"},"players":{"max":"#,
                &lasting.players_max,
                r#","online":0"#,
            ],
        );
        let lines = hover.iter().take(HOVER_LINES_MAX);
        let sample: Vec<_> = lines
            .map(|name| json!({ "name": name, "id": NOBODY }))
            .collect();
        if !sample.is_empty() {
            put(
                &mut json,
                &[r#","sample":"#, &Value::Array(sample).to_string()],
            );
        }
        put(&mut json, &[r#"},"description":"#, &self.text.to_string()]);
        if let Some(icon) = favicon {
            // Nothing in it needs an escape.
            put(&mut json, &[r#","favicon":""#, icon, "\""]);
        }
        lasting.put_extras(&mut json);
        json
    }
}

fn put(json: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| json.push_str(part));
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
