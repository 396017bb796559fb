//! What a server's first packet is: a kick that means "again in a moment", or anything else.

use serde_json::Value;

use crate::protocol::versions::LOGIN;
use crate::protocol::{HOST_BYTES_MAX, Reader, decode_frame, varint};

/// A server's first packet to a player who logs in, as far as it matters to who is kept waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstPacket {
    /// A kick: the server is not ready yet.
    StillStarting,
    /// A kick: this login follows too soon after another one, or several.
    Throttled,
    /// Whatever else, other kicks included: whitelist, ban, full, wrong version.
    Other,
}

/// Most characters of a text that are looked at.
const CHARS_MAX: usize = 2_000;
/// Where in a component there is more text of it.
const PARTS: &[&str] = &["text", "translate", "fallback", "with", "extra"];

/// What servers say that are not ready. Forge, NeoForge: "Server is still starting! Please wait before reconnecting."
const STARTING: &[&str] = &[
    "still starting",
    "still loading",
    "still booting",
    "server is starting",
    "server is loading",
    "starting up",
];
/// By these a text is about coming in, not about what a player did in the game.
const COMING: &[&str] = &["connect", "log in", "logging", "login", "join"];
/// What makes coming in wrong for the moment. Velocity: "You are logging in too fast, try again later."
const TOO_FAST: &[&str] = &[
    "too fast",
    "too quickly",
    "too soon",
    "too often",
    "too frequent",
];
/// The same where the number of tries is told. (Of "too many players" nothing is known.)
const TOO_MANY: &[&str] = &[
    "too many login attempts",
    "too many connection attempts",
    "too many attempts",
];
/// What follows a "wait". CraftBukkit: "Connection throttled! Please wait before reconnecting."
const WAIT_BEFORE: &[&str] = &[
    "before reconnect",
    "before connect",
    "before join",
    "before rejoin",
    "before logging",
    "before trying",
];
/// "Too fast" and "too often" in the languages into which servers and proxies are translated.
const TOO_FAST_ELSEWHERE: &[&str] = &[
    "zu schnell",
    "zu oft",
    "zu häufig",
    "trop vite",
    "trop rapide",
    "trop souvent",
    "demasiado rápid",
    "muy rápid",
    "muito rápid",
    "rápido demais",
    "troppo veloce",
    "troppo in fretta",
    "te snel",
    "zbyt szybko",
    "za szybko",
    "слишком быстр",
    "слишком част",
    "занадто швидк",
    "надто швидк",
    "příliš rychle",
    "çok hızlı",
    "för snabbt",
    "for hurtigt",
    "liian nopeasti",
    "túl gyorsan",
    "过快",
    "太快",
    "频繁",
    "速すぎ",
];
/// What is no matter of seconds, whatever else the text says.
const LASTING: &[&str] = &[
    "banned", "a ban", "ban ", "bann", "white", "outdated", "version", "hour", "day",
];

/// Reads the first bytes a server says to a login: `None` until it is clear.
///
/// A kick is a login disconnect; its text is a JSON component in every version. The words are looked for in the text
/// as it is read, whatever its case, colours and parts: servers let their owners reword and translate it.
/// Sources: Forge `ServerLifecycleHooks.handleServerLogin`; CraftBukkit's `settings.connection-throttle`, Paper's
/// `messages.kick.connection-throttle`; Velocity's `login-ratelimit`.
#[must_use]
pub fn first_packet(bytes: &[u8]) -> Option<FirstPacket> {
    let (_, prefix) = match varint::decode(bytes) {
        Ok(length) => length?,
        Err(_) => return Some(FirstPacket::Other),
    };
    match bytes.get(prefix..)?.first()? {
        id if i32::from(*id) == LOGIN.disconnect => {}
        _ => return Some(FirstPacket::Other),
    }
    match decode_frame(bytes, HOST_BYTES_MAX) {
        Ok(None) => None,
        Ok(Some((body, _))) => {
            let mut reader = Reader::new(body);
            let reason = reader
                .expect_id(LOGIN.disconnect)
                .and_then(|()| reader.string(HOST_BYTES_MAX, "the reason"));
            Some(reason.map_or(FirstPacket::Other, of_reason))
        }
        Err(_) => Some(FirstPacket::Other),
    }
}

fn of_reason(reason: &str) -> FirstPacket {
    let text = as_read(reason);
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(STARTING) {
        return FirstPacket::StillStarting;
    }
    let waits = text.contains("wait") && says(WAIT_BEFORE);
    let too_fast = says(TOO_FAST) && says(COMING);
    let throttled =
        waits || too_fast || says(TOO_MANY) || text.contains("throttl") || says(TOO_FAST_ELSEWHERE);
    if throttled && !says(LASTING) {
        FirstPacket::Throttled
    } else {
        FirstPacket::Other
    }
}

/// The text of a component in lower case, one space between words, without colour codes.
fn as_read(component: &str) -> String {
    let mut text = String::new();
    match serde_json::from_str(component) {
        Ok(component) => gather(&component, &mut text),
        Err(_) => text.push_str(component),
    }
    let mut read = String::new();
    let mut codes = false;
    for character in text.chars().take(CHARS_MAX) {
        let apart = character.is_whitespace() || matches!(character, '-' | '_' | '.');
        match character {
            _ if codes => codes = false,
            '\u{a7}' => codes = true,
            _ if apart && read.ends_with(' ') => {}
            _ if apart => read.push(' '),
            _ => read.extend(character.to_lowercase()),
        }
    }
    read
}

/// Puts together what a component shows; how deep it goes is bounded by serde_json (128).
fn gather(component: &Value, into: &mut String) {
    match component {
        Value::String(text) => into.push_str(text),
        Value::Array(parts) => parts.iter().for_each(|part| gather(part, into)),
        Value::Object(fields) => {
            let parts = PARTS.iter().filter_map(|part| fields.get(*part));
            parts.for_each(|part| gather(part, into));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::login::{disconnect, disconnect_with, plugin_request};
    use proptest::prelude::*;
    use serde_json::json;

    const STARTING: &str = "Server is still starting! Please wait before reconnecting.";
    const THROTTLED: &str = "Connection throttled! Please wait before reconnecting.";

    #[test]
    fn it_is_told_as_soon_as_it_is_clear() {
        for text in [STARTING, THROTTLED] {
            let kick = disconnect(text);
            for cut in 0..kick.len() {
                assert_eq!(first_packet(&kick[..cut]), None, "{cut} bytes");
            }
        }
        let request = plugin_request(0, "velocity:player_info", b"still starting");
        let by_its_id = first_packet(&request[..2]);
        assert_eq!(by_its_id, Some(FirstPacket::Other));
        assert_eq!(first_packet(&[0xFF; 6]), Some(FirstPacket::Other));
    }

    fn of(text: &str) -> FirstPacket {
        first_packet(&disconnect(text)).unwrap()
    }

    #[test]
    fn kicks_that_mean_again_in_a_moment_are_told_from_all_others() {
        use FirstPacket::{Other, StillStarting, Throttled};
        for (text, expected) in [
            (STARTING, StillStarting),
            ("§eThe server is STARTING, try again!", StillStarting),
            ("Der Server: still\nloading", StillStarting),
            (THROTTLED, Throttled),
            ("&cCONNECTION THROTTLED!", Throttled),
            (
                "§c»§6»§f Connection §lthrottled§r. Please wait a moment before reconnecting.",
                Throttled,
            ),
            ("You are logging in too fast, try again later.", Throttled),
            (
                "You have connected too fast. Please wait before trying again",
                Throttled,
            ),
            (
                "You're trying to connect too fast.\nWait a bit and try again!",
                Throttled,
            ),
            ("Wait 5 seconds before connecting, thanks! :)", Throttled),
            (
                "&cToo many login attempts. Please try again later!",
                Throttled,
            ),
            ("Du meldest dich zu schnell an.", Throttled),
            ("Vous vous connectez TROP VITE !", Throttled),
            (
                "Слишком частые подключения! Пожалуйста, подождите.",
                Throttled,
            ),
            ("Inicias sesión demasiado rápido.", Throttled),
            ("登录过快，请稍后再试", Throttled),
            ("You are not whitelisted on this server!", Other),
            ("You are not white-listed. Wait before reconnecting.", Other),
            (
                "You are banned from this server!\nReason: flying too fast",
                Other,
            ),
            ("Temporary ban: wait 3 days before joining again", Other),
            ("The server is full!", Other),
            ("Too many players are connected from your address", Other),
            ("Outdated client! Please use 1.21.4", Other),
            ("Outdated server! I'm still on 1.8", Other),
            ("You were kicked for flying too fast", Other),
            ("Server closed", Other),
            ("", Other),
        ] {
            assert_eq!(of(text), expected, "{text}");
        }
    }

    #[test]
    fn a_text_is_read_through_colours_parts_and_keys() {
        let letters = THROTTLED
            .chars()
            .map(|c| json!({ "text": c.to_string(), "color": "#ff0000" }));
        let letters: Vec<_> = letters.collect();
        for component in [
            json!(THROTTLED),
            json!(["", { "text": "Connection " }, { "text": "throttled!", "bold": true }]),
            json!({ "text": "", "extra": [{ "text": "Connection throt", "extra": ["tled!"] }] }),
            json!({ "text": "", "extra": letters }),
            json!({ "translate": "velocity.error.logging-in-too-fast" }),
            json!({ "translate": "%s", "with": [{ "text": THROTTLED }] }),
            json!({ "translate": "kick.slow", "fallback": THROTTLED }),
        ] {
            let found = first_packet(&disconnect_with(&component));
            assert_eq!(found, Some(FirstPacket::Throttled), "{component}");
        }
        let mut body = Vec::new();
        crate::protocol::put_string(THROTTLED, &mut body);
        let bare = crate::protocol::encode_frame(0, &body);
        assert_eq!(first_packet(&bare), Some(FirstPacket::Throttled), "no JSON");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_and_texts_never_panic(bytes: Vec<u8>, text: String) {
            let _ = first_packet(&bytes);
            prop_assert!(first_packet(&disconnect(&text)).is_some());
        }

        #[test]
        fn what_is_around_it_hides_no_throttle(before in "[ a-z!»]{0,20}", after in "[ !?«]{0,20}") {
            prop_assume!(!LASTING.iter().any(|word| format!("{before} ").contains(word)));
            let text = format!("{before} {THROTTLED}{after}");
            prop_assume!(!super::STARTING.iter().any(|word| as_read(&text).contains(word)));
            prop_assert_eq!(of(&text), FirstPacket::Throttled);
        }
    }
}
