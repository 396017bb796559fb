//! A text ready to be shown, in the forms in which the versions of the game read it.

use serde_json::{Value, json};

use super::component::Component;

/// A text without fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message(Form);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Text(String),
    Component(Box<Component>),
}

impl Message {
    pub(super) fn text(text: String) -> Self {
        Self(Form::Text(text))
    }

    pub(super) fn component(component: Component) -> Self {
        Self(Form::Component(Box::new(component)))
    }

    /// As a JSON text component: always an object, and its parts are objects too.
    ///
    /// A text with `§` codes keeps them in `text`, where every version reads them. The whole is
    /// never longer than [`crate::protocol::TEXT_CHARS_MAX`].
    #[must_use]
    pub fn to_component(&self) -> Value {
        match &self.0 {
            Form::Text(text) => json!({ "text": text }),
            Form::Component(component) => component.to_json(),
        }
    }

    /// With `§` codes, for what knows no components.
    #[must_use]
    pub fn to_legacy(&self) -> String {
        match &self.0 {
            Form::Text(text) => text.clone(),
            Form::Component(component) => component.to_legacy(),
        }
    }

    /// Without any colours, for logs.
    #[must_use]
    pub fn to_plain(&self) -> String {
        match &self.0 {
            Form::Text(text) => without_codes(text),
            Form::Component(component) => without_codes(&component.to_legacy()),
        }
    }

    /// Whether there is nothing to read in it.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.to_plain().trim().is_empty()
    }
}

/// `text` without its `§` codes.
pub(super) fn without_codes(text: &str) -> String {
    let mut parts = text.split('§');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut chars = part.chars();
        chars.next();
        plain.push_str(chars.as_str());
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::texts::language::Language;
    use crate::texts::template::{Fields, Template};

    fn message(value: &Value) -> Message {
        let template = Template::parse(value).unwrap();
        template.fill(&Fields::default(), Language::En)
    }

    #[test]
    fn a_plain_text_is_one_component_with_its_codes() {
        let message = message(&json!("§eHe said \"zzz\"\n§7and slept"));

        assert_eq!(
            message.to_component(),
            json!({ "text": "§eHe said \"zzz\"\n§7and slept" })
        );
        assert_eq!(message.to_legacy(), "§eHe said \"zzz\"\n§7and slept");
        assert_eq!(message.to_plain(), "He said \"zzz\"\nand slept");
    }

    #[test]
    fn colours_and_formats_become_codes_and_are_inherited() {
        let message = message(&json!({
            "text": "a", "color": "gold", "extra": [
                { "text": "b", "bold": true, "extra": ["c"] },
                "d",
                { "text": "e", "color": "#ff00ff" },
                { "text": "§lf" },
                "g",
                { "text": "h", "color": "red", "italic": true },
            ],
        }));

        let legacy = message.to_legacy();
        assert_eq!(legacy, "§6a§6§lbc§6de§lf§6g§c§oh");
        assert_eq!(message.to_plain(), "abcdefgh");
    }

    #[test]
    fn what_has_no_colour_after_a_colour_is_reset() {
        let message = message(
            &json!(["", { "text": "a", "color": "red" }, "b", { "text": "c", "bold": true }]),
        );
        assert_eq!(message.to_legacy(), "§ca§rb§r§lc");
    }

    #[test]
    fn the_first_of_a_list_holds_the_others_and_strings_become_objects() {
        let message = message(&json!([{ "text": "a", "color": "red" }, "b", 5, ["c", true]]));
        let expected = json!({
            "text": "a", "color": "red", "extra": [
                { "text": "b" }, { "text": "5" }, { "text": "c", "extra": [{ "text": "true" }] },
            ],
        });
        assert_eq!(message.to_component(), expected);
    }

    #[test]
    fn what_the_client_translates_is_shown_by_its_fallback_elsewhere() {
        let known = message(&json!({ "translate": "connect.failed", "with": ["x"] }));
        assert_eq!(known.to_legacy(), "connect.failed");
        assert_eq!(
            known.to_component(),
            json!({ "translate": "connect.failed", "with": [{ "text": "x" }] })
        );

        let said = message(&json!({ "translate": "a.b", "fallback": "so", "text": "never" }));
        assert_eq!(said.to_plain(), "so");
    }
}
