//! What the clean-up of a host name takes away, in words.
//!
//! Pure. What is taken away is never repeated: a proxy may have put a player's data or its own
//! password there.

use crate::host::{HOST_BYTES_MAX, Names, undecorated};

/// Longest part of a text that is somebody else's, in characters.
const SHOWN_CHARS_MAX: usize = 255;

/// A server address, cleaned up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleaned {
    /// The key it is looked up by; cut where it is too long for any route.
    pub key: String,
    /// What was taken away, and what is odd about the rest; each a sentence without its end.
    pub notes: Vec<String>,
    /// Whether no route can have such a name.
    pub is_too_long: bool,
}

/// Cleans `address` up, as a look-up by `names` does.
#[must_use]
pub fn clean_up(names: Names, address: &str) -> Cleaned {
    let key = names.key(address);
    let mut notes = decorations(address);
    let host = undecorated(address);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        notes.push("upper case became lower case".to_owned());
    }
    let has_tcp = host
        .split('.')
        .any(|label| label.eq_ignore_ascii_case("_tcp"));
    if has_tcp && names.simplify_srv {
        notes.push("everything up to the label _tcp was dropped (SIMPLIFY_SRV)".to_owned());
    } else if has_tcp {
        notes.push("its label _tcp stays, since SIMPLIFY_SRV is off".to_owned());
    }
    let behind = key.rsplit_once(':').map(|(_, port)| port);
    if behind.is_some_and(|port| port.parse::<u16>().is_ok()) {
        notes.push("it ends in a port, which clients send apart: ask without it".to_owned());
    }
    if !key.is_ascii() {
        notes.push(
            "it is not ASCII: clients send the punycode form (xn--...), so ask with that"
                .to_owned(),
        );
    }
    let is_too_long = key.len() > HOST_BYTES_MAX;
    if is_too_long {
        let length = key.len();
        notes.push(format!(
            "it has {length} bytes, and no route has a name over {HOST_BYTES_MAX}"
        ));
    }
    Cleaned {
        key: key.chars().take(SHOWN_CHARS_MAX).collect(),
        notes,
        is_too_long,
    }
}

/// What mods, proxies and the resolver have added.
fn decorations(address: &str) -> Vec<String> {
    let mut notes = Vec::new();
    let end = address.find(['\0', '\\']).unwrap_or(address.len());
    let (host, rest) = address.split_at_checked(end).unwrap_or((address, ""));
    if let Some(fields) = rest.strip_prefix('\0') {
        let first = fields.split('\0').next().unwrap_or_default();
        notes.push(if first.starts_with("FML") || first.starts_with("FORGE") {
            format!("Forge's marker was dropped ({} bytes)", rest.len())
        } else {
            let length = rest.len();
            format!("what a proxy appends behind a NUL, as BungeeCord does, was dropped ({length} bytes)")
        });
    } else if !rest.is_empty() {
        let length = rest.len();
        notes.push(format!(
            "what follows a backslash, as with Infinity Filter, was dropped ({length} bytes)"
        ));
    }
    let host = host.split_once("///").map_or(host, |(host, data)| {
        let length = data.len() + 3;
        notes.push(format!(
            "what follows ///, as with TCPShield, was dropped ({length} bytes)"
        ));
        host
    });
    if host.ends_with('.') {
        notes.push("the dot at its end was dropped".to_owned());
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SRV: Names = Names { simplify_srv: true };

    #[test]
    fn everything_that_is_taken_away_is_named_and_not_repeated() {
        for (address, key, words) in [
            ("a.example", "a.example", &[][..]),
            ("A.example", "a.example", &["lower case"]),
            ("a.example.\0FML3\0", "a.example", &["Forge", "dot"]),
            ("a.example\0secret\0uuid", "a.example", &["NUL"]),
            ("a.example///1.2.3.4:5///6", "a.example", &["TCPShield"]),
            ("a.example\\secret", "a.example", &["backslash"]),
            ("a.example:25565", "a.example:25565", &["port"]),
            ("é.example", "é.example", &["punycode"]),
            (
                "_minecraft._tcp.a.example",
                "_minecraft._tcp.a.example",
                &["SIMPLIFY_SRV is off"],
            ),
        ] {
            let cleaned = clean_up(Names::default(), address);
            assert_eq!(cleaned.key, key);
            assert_eq!(cleaned.notes.len(), words.len(), "{cleaned:?}");
            for (note, word) in cleaned.notes.iter().zip(words) {
                assert!(note.contains(word), "{note}");
                assert!(!note.contains("secret"), "{note}");
            }
        }
        let cleaned = clean_up(SRV, "_minecraft._tcp.A.example");
        assert_eq!(
            (cleaned.key.as_str(), cleaned.notes.len()),
            ("a.example", 2)
        );
        assert!(clean_up(SRV, &"a".repeat(256)).is_too_long);
    }

    proptest! {
        #[test]
        fn whatever_is_changed_is_told(address in "[A-Ca-c.\0\\\\/_:é]{0,12}", simplify_srv: bool) {
            let names = Names { simplify_srv };
            let cleaned = clean_up(names, &address);
            prop_assert_eq!(&cleaned.key, &names.key(&address));
            prop_assert!(cleaned.key == address || !cleaned.notes.is_empty());
        }
    }
}
