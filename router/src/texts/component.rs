//! Text components: what a JSON text may say, checked once, so that every client can read it.
//!
//! Only what a kick, a status and a dialog can show is accepted, since one word a client does not
//! know can end its connection with a decoder's error instead of the text.
//! Layout: <https://minecraft.wiki/w/Text_component_format>.

use serde_json::{Map, Value};

use super::template::TemplateError;

/// Most components within components.
pub const DEPTH_MAX: usize = 8;
/// Most components in one text.
pub const PARTS_MAX: usize = 200;

/// The named colours and their legacy codes.
const COLOURS: [(&str, char); 16] = [
    ("black", '0'),
    ("dark_blue", '1'),
    ("dark_green", '2'),
    ("dark_aqua", '3'),
    ("dark_red", '4'),
    ("dark_purple", '5'),
    ("gold", '6'),
    ("gray", '7'),
    ("dark_gray", '8'),
    ("blue", '9'),
    ("green", 'a'),
    ("aqua", 'b'),
    ("red", 'c'),
    ("light_purple", 'd'),
    ("yellow", 'e'),
    ("white", 'f'),
];

/// The formats and their legacy codes.
const FORMATS: [(&str, char); 5] = [
    ("obfuscated", 'k'),
    ("bold", 'l'),
    ("strikethrough", 'm'),
    ("underlined", 'n'),
    ("italic", 'o'),
];

/// One component with everything below it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Component {
    content: Content,
    style: Style,
    extra: Vec<Self>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    Text(String),
    /// In the client's own words.
    Translate {
        key: String,
        with: Vec<Component>,
        fallback: Option<String>,
    },
}

impl Default for Content {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Style {
    /// A name of `COLOURS`, or `#rrggbb`.
    colour: Option<String>,
    font: Option<String>,
    formats: [Option<bool>; 5],
}

/// Reads components, counting them.
pub(super) struct Parser {
    parts: usize,
}

impl Parser {
    pub(super) fn parse(value: &Value) -> Result<Component, TemplateError> {
        Self { parts: 0 }.component(value, 0)
    }

    fn component(&mut self, value: &Value, depth: usize) -> Result<Component, TemplateError> {
        self.parts += 1;
        if depth > DEPTH_MAX {
            return Err(TemplateError::TooDeep);
        }
        if self.parts > PARTS_MAX {
            return Err(TemplateError::TooManyParts);
        }
        match value {
            Value::Array(list) => {
                // The first one's style is the others' too.
                let mut parts = self.list(list, depth)?.into_iter();
                let mut first = parts.next().ok_or(TemplateError::NotAText)?;
                first.extra.extend(parts);
                Ok(first)
            }
            Value::Object(map) => self.object(map, depth),
            scalar => Ok(Component {
                content: Content::Text(text(scalar).ok_or(TemplateError::NotAText)?),
                ..Component::default()
            }),
        }
    }

    fn list(&mut self, list: &[Value], depth: usize) -> Result<Vec<Component>, TemplateError> {
        list.iter()
            .map(|value| self.component(value, depth + 1))
            .collect()
    }

    fn object(
        &mut self,
        map: &Map<String, Value>,
        depth: usize,
    ) -> Result<Component, TemplateError> {
        let mut component = Component::default();
        let (mut with, mut fallback) = (Vec::new(), None);
        for (name, value) in map {
            let bad = || TemplateError::Property(super::template::quoted(name));
            let string = || value.as_str().map(str::to_owned).ok_or_else(bad);
            match name.as_str() {
                "text" => {
                    if !map.contains_key("translate") {
                        component.content = Content::Text(text(value).ok_or_else(bad)?);
                    }
                }
                "type" => {
                    string()?;
                }
                "translate" => {
                    component.content = Content::Translate {
                        key: string()?,
                        with: Vec::new(),
                        fallback: None,
                    };
                }
                "with" => with = self.list(value.as_array().ok_or_else(bad)?, depth)?,
                "fallback" => fallback = Some(string()?),
                "extra" => component.extra = self.list(value.as_array().ok_or_else(bad)?, depth)?,
                "color" => {
                    component.style.colour = Some(string().ok().filter(is_colour).ok_or_else(bad)?);
                }
                "font" => component.style.font = Some(string()?),
                other => {
                    let formats = FORMATS.iter().zip(&mut component.style.formats);
                    let mut named = formats.filter(|((name, _), _)| *name == other);
                    let (_, format) = named.next().ok_or_else(bad)?;
                    *format = Some(value.as_bool().ok_or_else(bad)?);
                }
            }
        }
        if !map.contains_key("text") && !map.contains_key("translate") {
            return Err(TemplateError::NotAText);
        }
        if let Content::Translate {
            with: own_with,
            fallback: own_fallback,
            ..
        } = &mut component.content
        {
            (*own_with, *own_fallback) = (with, fallback);
        }
        Ok(component)
    }
}

/// Clients take a number or a truth value where a text is due.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

fn is_colour(name: &String) -> bool {
    let hex = name
        .strip_prefix('#')
        .is_some_and(|hex| hex.len() == 6 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
    hex || COLOURS.iter().any(|(colour, _)| colour == name)
}

impl Component {
    /// The same with every text that is shown put through `change`.
    pub(super) fn map(&self, change: &mut impl FnMut(&str) -> String) -> Self {
        let content = match &self.content {
            Content::Text(text) => Content::Text(change(text)),
            Content::Translate {
                key,
                with,
                fallback,
            } => Content::Translate {
                key: key.clone(),
                with: with.iter().map(|part| part.map(change)).collect(),
                fallback: fallback.as_deref().map(&mut *change),
            },
        };
        Self {
            content,
            style: self.style.clone(),
            extra: self.extra.iter().map(|part| part.map(change)).collect(),
        }
    }

    /// As clients of every version read it: objects within objects, no bare strings.
    pub(super) fn to_json(&self) -> Value {
        let list = |parts: &[Self]| Value::Array(parts.iter().map(Self::to_json).collect());
        let mut map = Map::new();
        match &self.content {
            Content::Text(text) => {
                map.insert("text".to_owned(), text.as_str().into());
            }
            Content::Translate {
                key,
                with,
                fallback,
            } => {
                map.insert("translate".to_owned(), key.as_str().into());
                if !with.is_empty() {
                    map.insert("with".to_owned(), list(with));
                }
                if let Some(fallback) = fallback {
                    map.insert("fallback".to_owned(), fallback.as_str().into());
                }
            }
        }
        if let Some(colour) = &self.style.colour {
            map.insert("color".to_owned(), colour.as_str().into());
        }
        if let Some(font) = &self.style.font {
            map.insert("font".to_owned(), font.as_str().into());
        }
        for ((name, _), format) in FORMATS.iter().zip(self.style.formats) {
            if let Some(on) = format {
                map.insert((*name).to_owned(), on.into());
            }
        }
        if !self.extra.is_empty() {
            map.insert("extra".to_owned(), list(&self.extra));
        }
        Value::Object(map)
    }

    /// As text with `§` codes. Hexadecimal colours are dropped; what only the client could
    /// translate is shown as its fallback or its key.
    pub(super) fn to_legacy(&self) -> String {
        let mut legacy = Legacy {
            text: String::new(),
            look: Some(Look::default()),
        };
        legacy.write(self, Look::default());
        legacy.text
    }
}

/// How a text looks, as far as codes can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Look {
    colour: Option<char>,
    formats: [bool; 5],
}

struct Legacy {
    text: String,
    /// How the next character would look; `None` when it is not known.
    look: Option<Look>,
}

impl Legacy {
    fn write(&mut self, component: &Component, inherited: Look) {
        let look = component.style.over(inherited);
        match &component.content {
            Content::Text(text) => self.push(text, look),
            Content::Translate { key, fallback, .. } => {
                self.push(fallback.as_ref().unwrap_or(key), look);
            }
        }
        for part in &component.extra {
            self.write(part, look);
        }
    }

    fn push(&mut self, text: &str, look: Look) {
        if text.is_empty() {
            return;
        }
        if self.look != Some(look) {
            // A colour ends all formats; so does a reset.
            self.text.extend(['§', look.colour.unwrap_or('r')]);
            for ((_, code), on) in FORMATS.iter().zip(look.formats) {
                if on {
                    self.text.extend(['§', *code]);
                }
            }
        }
        self.text.push_str(text);
        self.look = (!text.contains('§')).then_some(look);
    }
}

impl Style {
    fn over(&self, inherited: Look) -> Look {
        let named = |name: &String| COLOURS.iter().find(|(colour, _)| colour == name);
        let mut look = inherited;
        if let Some((_, code)) = self.colour.as_ref().and_then(named) {
            look.colour = Some(*code);
        }
        for (on, own) in look.formats.iter_mut().zip(self.formats) {
            *on = own.unwrap_or(*on);
        }
        look
    }
}
