//! Texts with fields: `{eta}` and its kin in a text with `§` codes or in a JSON text component.
//!
//! - A field is a name in braces, see [`Field`]; any other braces stay as they are.
//! - `[[first|second]]` shows the first part whose fields all have a value, and nothing if there is
//!   none. It stays within one line, and brackets without a field in them stay as they are.
//! - A line goes when a field outside such brackets has no value, or when nothing but brackets that
//!   show nothing was in it. In a component each string has lines of its own.
//!
//! What a field is filled with is data: it is never read again for fields or brackets, and has no
//! `§`, no line ends and no other control characters.

use std::time::Duration;

use serde_json::Value;

use super::component::{Component, Parser};
use super::language::Language;
use super::message::{Message, without_codes};

/// Longest text with `§` codes, in characters; what a client shows is a few lines.
pub const TEXT_TEMPLATE_CHARS_MAX: usize = 1_000;
/// Longest component, written as JSON, in characters.
pub const COMPONENT_CHARS_MAX: usize = 4_000;
/// Longest value of a field, in characters; more is cut off.
pub const VALUE_CHARS_MAX: usize = 64;
/// Most characters shown by one filled text; more is cut off. Twice as many, escaped, and the
/// longest component still fit into a packet's `TEXT_CHARS_MAX`.
pub const SHOWN_CHARS_MAX: usize = 10_000;
/// Longest name in braces that is taken for a field, in bytes.
const FIELD_NAME_BYTES_MAX: usize = 16;
/// Longest piece of a wrong text that is quoted, in characters.
const QUOTED_CHARS_MAX: usize = 40;

/// Why a text cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A name in braces that is no field.
    #[error(
        "unknown field {{{0}}}; there are server, eta, elapsed, waiting, attempts, retry, progress"
    )]
    UnknownField(String),
    /// Too long.
    #[error("{length} characters, over the limit of {max}")]
    TooLong {
        /// Its length, in characters.
        length: usize,
        /// The limit, in characters.
        max: usize,
    },
    /// Components within components beyond [`super::component::DEPTH_MAX`].
    #[error("components nested deeper than {}", super::component::DEPTH_MAX)]
    TooDeep,
    /// More components than [`super::component::PARTS_MAX`].
    #[error("more than {} components", super::component::PARTS_MAX)]
    TooManyParts,
    /// Neither a text nor a component with one.
    #[error("neither a text nor a text component with \"text\" or \"translate\"")]
    NotAText,
    /// A property no kick and no status can show, or a value it cannot have.
    #[error("the text component's property {0} is not known, or not with this value")]
    Property(String),
}

/// What a text may name in braces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// `{server}`: the server's name.
    Server,
    /// `{eta}`: time until players get in, such as `40 s`.
    Eta,
    /// `{elapsed}`: time since the start began, or since the player began to wait.
    Elapsed,
    /// `{waiting}`: how many players wait; nobody is no value.
    Waiting,
    /// `{attempts}`: how often the start failed, in words: `once`, `twice`, `3 times`.
    Attempts,
    /// `{retry}`: time until the next try is allowed.
    Retry,
    /// `{progress}`: how far the start is, such as `40%`.
    Progress,
}

impl Field {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "server" => Self::Server,
            "eta" => Self::Eta,
            "elapsed" => Self::Elapsed,
            "waiting" => Self::Waiting,
            "attempts" => Self::Attempts,
            "retry" => Self::Retry,
            "progress" => Self::Progress,
            _ => return None,
        })
    }
}

/// The values of one moment; what is `None` has none.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Fields<'a> {
    /// The server's name.
    pub server: Option<&'a str>,
    /// Time until players get in.
    pub eta: Option<Duration>,
    /// Time since the start began.
    pub elapsed: Option<Duration>,
    /// How many players wait.
    pub waiting: Option<usize>,
    /// How often the start failed in a row.
    pub attempts: Option<u32>,
    /// Time until the next try.
    pub retry: Option<Duration>,
    /// How far the start is, 0 to 1.
    pub progress: Option<f64>,
}

impl Fields<'_> {
    fn value(&self, field: Field, language: Language) -> Option<String> {
        let time = |duration: Option<Duration>| Some(language.duration(duration?));
        match field {
            Field::Server => self.server.map(as_data),
            Field::Eta => time(self.eta),
            Field::Elapsed => time(self.elapsed),
            Field::Retry => time(self.retry),
            Field::Waiting => Some(self.waiting.filter(|count| *count > 0)?.to_string()),
            Field::Attempts => Some(language.times(self.attempts.filter(|count| *count > 0)?)),
            Field::Progress => {
                let share = self.progress.filter(|share| share.is_finite())?;
                Some(format!("{:.0}%", share.clamp(0.0, 1.0) * 100.0))
            }
        }
    }
}

/// Somebody else's words as mere data.
fn as_data(text: &str) -> String {
    let harmless = |char: &char| *char != '§' && !char.is_control();
    text.chars()
        .filter(harmless)
        .take(VALUE_CHARS_MAX)
        .collect()
}

/// One text with fields, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Text(Box<str>),
    Component(Box<Component>),
}

impl Template {
    /// Reads a text, an object or an array; a text that is JSON of an object or an array is read
    /// as that.
    ///
    /// # Errors
    /// Too long, no component a client can show, or a name in braces that is no field.
    pub fn parse(value: &Value) -> Result<Self, TemplateError> {
        let template = Self::of_value(value)?;
        let mut unknown = None;
        template.each_text(|text| unknown = unknown.take().or_else(|| unknown_field(text)));
        unknown.map_or(Ok(template), |name| Err(TemplateError::UnknownField(name)))
    }

    /// Like [`Template::parse`] for texts from before there were fields: what is no field stays as
    /// it is, and what is no component is a text.
    ///
    /// # Errors
    /// Too long.
    pub fn lenient(text: &str) -> Result<Self, TemplateError> {
        Self::of_text(text).or_else(|_| Self::plain(text))
    }

    fn of_value(value: &Value) -> Result<Self, TemplateError> {
        match value {
            Value::String(text) => Self::of_text(text),
            Value::Object(_) | Value::Array(_) => {
                bounded(&value.to_string(), COMPONENT_CHARS_MAX)?;
                Ok(Self(Kind::Component(Box::new(Parser::parse(value)?))))
            }
            _ => Err(TemplateError::NotAText),
        }
    }

    fn of_text(text: &str) -> Result<Self, TemplateError> {
        if !text.trim_start().starts_with(['{', '[']) {
            return Self::plain(text);
        }
        bounded(text, COMPONENT_CHARS_MAX)?;
        match serde_json::from_str::<Value>(text) {
            Ok(value @ (Value::Object(_) | Value::Array(_))) => Self::of_value(&value),
            _ => Self::plain(text),
        }
    }

    fn plain(text: &str) -> Result<Self, TemplateError> {
        bounded(text, TEXT_TEMPLATE_CHARS_MAX)?;
        Ok(Self(Kind::Text(text.into())))
    }

    fn each_text(&self, mut look: impl FnMut(&str)) {
        match &self.0 {
            Kind::Text(text) => look(text),
            Kind::Component(component) => {
                component.map(&mut |text| {
                    look(text);
                    String::new()
                });
            }
        }
    }

    /// The text with its fields filled in, in `language`'s words for times.
    #[must_use]
    pub fn fill(&self, fields: &Fields<'_>, language: Language) -> Message {
        let mut left = SHOWN_CHARS_MAX;
        let mut fill = |text: &str| {
            let filled = fill_lines(text, &|field| fields.value(field, language));
            let shown = |char: &char| !char.is_control() || *char == '\n';
            let filled: String = filled.chars().filter(shown).take(left).collect();
            left = left.saturating_sub(filled.chars().count());
            filled
        };
        match &self.0 {
            Kind::Text(text) => Message::text(fill(text)),
            Kind::Component(component) => Message::component(component.map(&mut fill)),
        }
    }

    /// Whether there is nothing to read in it, fields or not.
    pub(super) fn is_blank(&self) -> bool {
        let mut blank = true;
        self.each_text(|text| blank &= without_codes(text).trim().is_empty());
        blank
    }

    #[cfg(test)]
    pub(super) fn fields(&self) -> Vec<String> {
        let mut names = Vec::new();
        self.each_text(|text| names.extend(names_in(text).map(str::to_owned)));
        names
    }
}

fn bounded(text: &str, max: usize) -> Result<(), TemplateError> {
    let length = text.chars().count();
    if length > max {
        return Err(TemplateError::TooLong { length, max });
    }
    Ok(())
}

/// A piece of what was wrong, fit for a log.
pub(super) fn quoted(text: &str) -> String {
    let piece: String = text.chars().take(QUOTED_CHARS_MAX).collect();
    format!("{piece:?}")
}

fn unknown_field(text: &str) -> Option<String> {
    let mut names = names_in(text);
    let unknown = names.find(|name| Field::parse(name).is_none())?;
    Some(unknown.to_owned())
}

/// Everything in `text` that looks like a field.
fn names_in(text: &str) -> impl Iterator<Item = &str> {
    let openings = text.match_indices('{');
    openings.filter_map(|(at, _)| name_at(text.get(at..)?))
}

/// The name of the field that begins where `text` does.
fn name_at(text: &str) -> Option<&str> {
    let inside = text.strip_prefix('{')?;
    let mut bytes = inside.bytes().take(FIELD_NAME_BYTES_MAX + 1);
    let end = bytes.position(|byte| !(byte.is_ascii_lowercase() || byte == b'_'))?;
    let (name, rest) = inside.split_at_checked(end)?;
    (end > 0 && rest.starts_with('}')).then_some(name)
}

type Values<'a> = &'a dyn Fn(Field) -> Option<String>;

fn fill_lines(text: &str, values: Values<'_>) -> String {
    let lines: Vec<String> = text
        .split('\n')
        .filter_map(|line| fill_line(line, values))
        .collect();
    lines.join("\n")
}

fn fill_line(line: &str, values: Values<'_>) -> Option<String> {
    let (mut filled, mut rest) = (String::new(), line);
    while let Some((before, group, after)) = next_group(rest) {
        filled.push_str(&fill_flat(before, values)?);
        let shown = group.split('|').find_map(|part| fill_flat(part, values));
        filled.push_str(&shown.unwrap_or_default());
        rest = after;
    }
    filled.push_str(&fill_flat(rest, values)?);
    let emptied = filled.len() < line.len() && without_codes(&filled).trim().is_empty();
    (!emptied).then_some(filled)
}

/// What is before, within and after the first brackets that have a field in them.
fn next_group(text: &str) -> Option<(&str, &str, &str)> {
    text.match_indices("]]").find_map(|(end, _)| {
        let (before, group) = text.get(..end)?.rsplit_once("[[")?;
        let after = text.get(end..)?.strip_prefix("]]")?;
        let mut names = names_in(group);
        let named = names.any(|name| Field::parse(name).is_some());
        named.then_some((before, group, after))
    })
}

/// `text` with its fields filled in; `None` when one has no value.
fn fill_flat(text: &str, values: Values<'_>) -> Option<String> {
    let (mut filled, mut rest) = (String::new(), text);
    while let Some((before, opened)) = rest.split_once('{') {
        filled.push_str(before);
        let at = rest.get(before.len()..).unwrap_or_default();
        let known = name_at(at).and_then(|name| Some((Field::parse(name)?, name)));
        if let Some((field, name)) = known {
            filled.push_str(&values(field)?);
            rest = opened.get(name.len() + 1..).unwrap_or_default();
        } else {
            filled.push('{');
            rest = opened;
        }
    }
    filled.push_str(rest);
    Some(filled)
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
