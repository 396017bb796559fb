//! JSON as Minecraft clients read it, which is more than JSON: Gson takes control characters within
//! texts and half surrogates always, and comments, `'`, `=`, `;` and texts without quotes when it is
//! lenient, as in some versions. Nothing here recurses, and everything is linear in its input.
//!
//! Source: Gson's `JsonReader`, "setStrictness".

use std::str::Chars;

use serde::de::IgnoredAny;

/// What JSON is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    /// `{` or `[`.
    Open(char),
    /// `}` or `]`.
    Close(char),
    /// Between a name and its value.
    Colon,
    /// Between two members or elements.
    Comma,
    /// A text in quotes, without these, still with its escapes.
    Text(&'a str),
    /// A text without quotes: a number, `true`, `false`, `null` in all likelihood.
    Word(&'a str),
}

/// The next token of `rest`, which loses it; `None` at the end, or in a text that does not end.
fn token<'a>(rest: &mut &'a str) -> Option<Token<'a>> {
    *rest = after_blanks(rest);
    let first = rest.chars().next()?;
    let (token, length) = match first {
        '{' | '[' => (Token::Open(first), 1),
        '}' | ']' => (Token::Close(first), 1),
        '=' if rest.starts_with("=>") => (Token::Colon, 2),
        ':' | '=' => (Token::Colon, 1),
        ',' | ';' => (Token::Comma, 1),
        '"' | '\'' => {
            let text = rest.get(1..)?;
            let text = text.get(..end_of_text(text, first)?)?;
            (Token::Text(text), text.len() + 2)
        }
        _ => {
            let ends = |char: char| char.is_ascii_whitespace() || "{}[]:=,;\"'#/".contains(char);
            // A word has its first character, whatever that is.
            let more = rest.get(first.len_utf8()..)?;
            let length = first.len_utf8() + more.find(ends).unwrap_or(more.len());
            (Token::Word(rest.get(..length)?), length)
        }
    };
    *rest = rest.get(length..)?;
    Some(token)
}

fn after_blanks(mut rest: &str) -> &str {
    loop {
        rest =
            rest.trim_start_matches(|char: char| char.is_ascii_whitespace() || char == '\u{FEFF}');
        let end = if rest.starts_with('#') || rest.starts_with("//") {
            "\n"
        } else if rest.starts_with("/*") {
            "*/"
        } else {
            return rest;
        };
        rest = rest.split_once(end).map_or("", |(_, rest)| rest);
    }
}

/// How long a text is that began before `text` and ends with `quote`.
fn end_of_text(text: &str, quote: char) -> Option<usize> {
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '\\' => drop(chars.next()),
            _ if char == quote => return Some(at),
            _ => {}
        }
    }
    None
}

/// A value as it was written, of any kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'a>(&'a str);

impl<'a> Value<'a> {
    /// Everything to the end of `text`, which is a value in all likelihood.
    #[must_use]
    pub fn of(text: &'a str) -> Self {
        Self(text)
    }

    /// The value at the front of `rest`, which loses it.
    fn take(rest: &mut &'a str) -> Option<Self> {
        *rest = after_blanks(rest);
        let (all, mut depth) = (*rest, 0_usize);
        loop {
            match (token(rest)?, depth) {
                (Token::Open(_), _) => depth += 1,
                (Token::Close(_), 1) => break,
                (Token::Close(_) | Token::Colon | Token::Comma, 0) => return None,
                (Token::Close(_), _) => depth -= 1,
                (Token::Text(_) | Token::Word(_), 0) => break,
                _ => {}
            }
        }
        all.get(..all.len() - rest.len()).map(Self)
    }

    /// Whether it begins as an object does.
    #[must_use]
    pub fn is_object(self) -> bool {
        let mut rest = self.0;
        token(&mut rest) == Some(Token::Open('{'))
    }

    /// Its members, if it is an object; none otherwise.
    #[must_use]
    pub fn members(self) -> Members<'a> {
        let mut rest = self.0;
        let state = match token(&mut rest) {
            Some(Token::Open('{')) => State::Within,
            _ => State::Broken,
        };
        Members { rest, state }
    }

    /// What it says, if it is a text; half a surrogate pair is U+FFFD.
    #[must_use]
    pub fn text(self) -> Option<String> {
        let mut rest = self.0;
        match token(&mut rest)? {
            Token::Text(text) => Some(decoded(text)),
            _ => None,
        }
    }

    /// The number it is, be it in quotes, if it is a whole one within bounds.
    #[must_use]
    pub fn integer(self) -> Option<i32> {
        let mut rest = self.0;
        let (Token::Text(text) | Token::Word(text)) = token(&mut rest)? else {
            return None;
        };
        let whole = |float: &f64| float.fract() == 0.0 && (-1e9..=2e9).contains(float);
        let float = || text.parse::<f64>().ok().filter(whole);
        text.parse()
            .ok()
            .or_else(|| format!("{:.0}", float()?).parse().ok())
    }

    /// The same value as JSON that every reader takes, if it takes no more than `most` bytes.
    /// Escapes and numbers stay as they are.
    #[must_use]
    pub fn strict(self, most: usize) -> Option<String> {
        let (mut rest, mut strict) = (self.0, String::new());
        while let Some(token) = token(&mut rest) {
            match token {
                Token::Open(bracket) | Token::Close(bracket) => strict.push(bracket),
                Token::Colon => strict.push(':'),
                Token::Comma => strict.push(','),
                Token::Word(word) if is_json(word) => strict.push_str(word),
                Token::Text(text) | Token::Word(text) => {
                    if text.len() > most {
                        return None;
                    }
                    quote(text, &mut strict);
                }
            }
            if strict.len() > most {
                return None;
            }
        }
        is_json(&strict).then_some(strict)
    }

    /// Whether it is a number.
    #[must_use]
    pub fn is_number(self) -> bool {
        let digit = |char: char| char.is_ascii_digit();
        let digits = self.0.strip_prefix('-').unwrap_or(self.0);
        digits.starts_with(digit) && is_json(self.0)
    }

    /// Whether it is a text.
    #[must_use]
    pub fn is_text(self) -> bool {
        self.0.starts_with(['"', '\''])
    }
}

/// Half surrogates and numbers beyond all bounds are let pass, and nothing is kept.
fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// The members of an object, by name, in order.
#[derive(Debug, Clone)]
pub struct Members<'a> {
    rest: &'a str,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Within,
    Complete,
    Broken,
}

impl<'a> Members<'a> {
    /// Whether the object has come to its end.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    /// The next member; `None` where there ought to be one. Says in `state` whether more may follow.
    fn take(&mut self) -> Option<(String, Value<'a>)> {
        let name = match token(&mut self.rest)? {
            Token::Close('}') => {
                self.state = State::Complete;
                return None;
            }
            Token::Text(name) | Token::Word(name) => decoded(name),
            _ => return None,
        };
        if token(&mut self.rest)? != Token::Colon {
            return None;
        }
        let value = Value::take(&mut self.rest)?;
        match token(&mut self.rest) {
            Some(Token::Comma) => {}
            Some(Token::Close('}')) => self.state = State::Complete,
            _ => self.state = State::Broken,
        }
        Some((name, value))
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (String, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.state != State::Within {
            return None;
        }
        let member = self.take();
        if member.is_none() && self.state == State::Within {
            self.state = State::Broken;
        }
        member
    }
}

/// What stands behind a backslash.
enum Escape {
    /// A unit of UTF-16, as four digits.
    Unit(u16),
    /// This character, whatever it would mean without the backslash.
    Char(char),
    /// Nothing that is known.
    Unknown,
}

/// Reads an escape whose backslash has been read.
fn escape(chars: &mut Chars<'_>) -> Escape {
    match chars.next() {
        Some('u') => match chars.as_str().get(..4) {
            // `from_str_radix` would take a sign.
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
                chars.by_ref().take(4).for_each(drop);
                u16::from_str_radix(digits, 16).map_or(Escape::Unknown, Escape::Unit)
            }
            _ => Escape::Unknown,
        },
        Some('b') => Escape::Char('\u{8}'),
        Some('f') => Escape::Char('\u{C}'),
        Some('n') => Escape::Char('\n'),
        Some('r') => Escape::Char('\r'),
        Some('t') => Escape::Char('\t'),
        Some(itself @ ('"' | '\'' | '\\' | '/' | '\n')) => Escape::Char(itself),
        _ => Escape::Unknown,
    }
}

fn decoded(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let mut units = Vec::with_capacity(text.len());
    let (mut chars, mut buffer) = (text.chars(), [0; 2]);
    while let Some(char) = chars.next() {
        let char = match char {
            '\\' => match escape(&mut chars) {
                Escape::Unit(unit) => {
                    units.push(unit);
                    continue;
                }
                Escape::Char(char) => char,
                Escape::Unknown => char::REPLACEMENT_CHARACTER,
            },
            other => other,
        };
        units.extend_from_slice(char.encode_utf16(&mut buffer));
    }
    String::from_utf16_lossy(&units)
}

/// Appends `text` in quotes, with escapes as they were where JSON has such.
fn quote(text: &str, out: &mut String) {
    out.push('"');
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char != '\\' {
            quote_char(char, out);
            continue;
        }
        let before = chars.as_str();
        match escape(&mut chars) {
            Escape::Char(char @ ('\'' | '\n')) => quote_char(char, out),
            Escape::Unknown => out.push(char::REPLACEMENT_CHARACTER),
            Escape::Unit(_) | Escape::Char(_) => {
                out.push('\\');
                let length = before.len() - chars.as_str().len();
                out.push_str(before.get(..length).unwrap_or_default());
            }
        }
    }
    out.push('"');
}

fn quote_char(char: char, out: &mut String) {
    match char {
        '"' => out.push_str("\\\""),
        '\0'..='\u{1F}' => out.push_str(&format!("\\u{:04x}", u32::from(char))),
        other => out.push(other),
    }
}

#[cfg(test)]
#[path = "lenient_tests.rs"]
mod tests;
