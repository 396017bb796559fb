//! The dialog that a client shows while it waits in the configuration state (1.21.6 and newer).
//!
//! Format: <https://minecraft.wiki/w/Dialog> and the changelog of 1.21.6; in configuration only
//! inline dialogs exist, and no commands.

use serde_json::{Value, json};

/// What a click on the button sends back.
pub const LEAVE: &str = "automc:leave";

/// A dialog with `title`, paragraphs of `body` and one button `leave`, all text components; goes
/// into [`show_dialog`](super::versions::Configuration::show_dialog).
///
/// Neither Escape nor the button closes it: whoever shows it ends the connection or replaces it,
/// so that no player stares at an empty screen. A click is told by [`LEAVE`].
#[must_use]
pub fn waiting(title: &Value, body: &[Value], leave: &Value) -> Value {
    let paragraph =
        |contents: &Value| json!({ "type": "minecraft:plain_message", "contents": contents });
    json!({
        "type": "minecraft:notice",
        "title": title,
        "body": body.iter().map(paragraph).collect::<Vec<_>>(),
        "can_close_with_escape": false,
        // Clients refuse a dialog that would pause for ever, and to pause is the default.
        "pause": false,
        "after_action": "none",
        "action": {
            "label": leave,
            "action": { "type": "minecraft:custom", "id": LEAVE },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::nbt;

    #[test]
    fn a_dialog_has_the_fields_of_the_registry_in_nbt() {
        let text = |text: &str| json!({ "text": text });
        let bytes = nbt::encode(&waiting(&text("T"), &[text("B")], &text("L"))).unwrap();

        // Fields of JSON objects are in alphabetical order.
        let expected = [
            &b"\x0A"[..],
            b"\x0A\x00\x06action",
            b"\x0A\x00\x06action",
            b"\x08\x00\x02id\x00\x0Cautomc:leave",
            b"\x08\x00\x04type\x00\x10minecraft:custom\x00",
            b"\x0A\x00\x05label\x08\x00\x04text\x00\x01L\x00\x00",
            b"\x08\x00\x0Cafter_action\x00\x04none",
            b"\x09\x00\x04body\x0A\x00\x00\x00\x01",
            b"\x0A\x00\x08contents\x08\x00\x04text\x00\x01B\x00",
            b"\x08\x00\x04type\x00\x17minecraft:plain_message\x00",
            b"\x01\x00\x15can_close_with_escape\x00",
            b"\x01\x00\x05pause\x00",
            b"\x0A\x00\x05title\x08\x00\x04text\x00\x01T\x00",
            b"\x08\x00\x04type\x00\x10minecraft:notice\x00",
        ]
        .concat();
        assert_eq!(bytes, expected);
    }
}
