//! Every text a player reads: in the status, in a kick, in the waiting dialog.
//!
//! Pure. A text is looked up by what it is for ([`Text`]) and by the client's locale: first what the
//! route says, then what the configuration says, then what is built in; within each the client's
//! locale, its language, the texts for everybody. A text whose lines all lack a value gives way to
//! the next. What may be written in one is told in [`template`].

pub mod component;
pub mod language;
pub mod message;
pub mod template;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

pub use language::Language;
pub use message::Message;
pub use template::{Fields, Template, TemplateError};

/// Most locales with texts of their own.
pub const LOCALES_MAX: usize = 64;
/// Most problems that are told of one set of texts.
pub const PROBLEMS_MAX: usize = 16;
/// Longest locale that is looked up; those of clients have six characters at most.
const LOCALE_BYTES_MAX: usize = 16;

macro_rules! texts {
    ($($(#[$doc:meta])+ $name:ident = $key:literal,)+) => {
        /// What a text is for, and the key it is set by.
        ///
        /// States have their own names, causes of a kick begin with `kick_`, and the parts of the
        /// waiting dialog with `dialog_`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Text {
            $($(#[$doc])+ $name,)+
        }

        impl Text {
            /// Every text.
            pub const ALL: [Self; [$($key),+].len()] = [$(Self::$name),+];

            /// The key it is set by.
            #[must_use]
            pub fn key(self) -> &'static str {
                match self {
                    $(Self::$name => $key,)+
                }
            }
        }
    };
}

texts! {
    /// Status: it sleeps, and a login wakes it.
    Asleep = "asleep",
    /// Status: it is on its way up.
    Starting = "starting",
    /// Status: it is up, and not yet let players in.
    Settling = "settling",
    /// Status: it is on its way down.
    Stopping = "stopping",
    /// Status: it ended by itself, or did not start.
    Failed = "failed",
    /// Status: it does not answer, and nothing can start it.
    Unreachable = "unreachable",
    /// Status: nobody has heard of it yet.
    Unknown = "unknown",
    /// Status: no route for this host name.
    UnknownHost = "unknown_host",
    /// Status: as many clients are connected as may be.
    Full = "full",
    /// Status: what shows when the mouse is over the player count, a line for each entry.
    Hover = "hover",
    /// Kick: no route for this host name.
    KickUnknownHost = "kick_unknown_host",
    /// Kick: it does not answer, and nothing can start it.
    KickUnreachable = "kick_unreachable",
    /// Kick: it could not be started.
    KickWakeFailed = "kick_wake_failed",
    /// Kick: it did not start in time.
    KickWakeTimedOut = "kick_wake_timed_out",
    /// Kick: it is said to run, and does not let anybody in.
    KickNotReady = "kick_not_ready",
    /// Kick: it took the connection and ended it without a word.
    KickBackendClosed = "kick_backend_closed",
    /// Kick: the router is stopping.
    KickRestarting = "kick_restarting",
    /// Kick: as many clients are connected as may be.
    KickFull = "kick_full",
    /// Kick: the player's address has too many connections, or logs in too often.
    KickAddressBusy = "kick_address_busy",
    /// Kick: the player may not join.
    KickMayNotJoin = "kick_may_not_join",
    /// Kick: it takes longer to start than anybody is held.
    KickLongStart = "kick_long_start",
    /// Kick: it is starting, and the player cannot be held, or no longer.
    KickStarting = "kick_starting",
    /// Kick: it failed to start, and the next try is not due.
    KickBackingOff = "kick_backing_off",
    /// Kick: the player may not wake it.
    KickWakeDenied = "kick_wake_denied",
    /// Kick: the player is not on the list of those who may wake it.
    KickWakeNotListed = "kick_wake_not_listed",
    /// Kick: it is not woken at this hour.
    KickWakeHours = "kick_wake_hours",
    /// Kick: the player, or the player's address, woke too often.
    KickWakeTooOften = "kick_wake_too_often",
    /// Kick: the player chose to leave the waiting dialog.
    KickLeft = "kick_left",
    /// The waiting dialog's title.
    DialogTitle = "dialog_title",
    /// The waiting dialog's text.
    DialogBody = "dialog_body",
    /// The waiting dialog's button to leave.
    DialogLeave = "dialog_leave",
}

impl Text {
    /// The text that is set by `key`.
    #[must_use]
    pub fn parse(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|text| text.key() == key)
    }
}

/// What is wrong with one entry of a set of texts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct Problem {
    /// Where it is, such as `de.asleep`; cut short where it is long.
    pub key: String,
    /// What it is.
    pub reason: Reason,
}

/// Why an entry of a set of texts cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The key is neither a text's nor a locale's.
    #[error("there is no text of this name; a language is a code such as de or pt_br")]
    UnknownKey,
    /// A locale's value is no object.
    #[error("a language holds an object of texts")]
    NotAnObject,
    /// The default language is not built in.
    #[error("not a language that is built in; there are en, de, fr, es, pt, nl, pl, ru, zh")]
    UnknownLanguage,
    /// More than [`LOCALES_MAX`] locales.
    #[error("more than {LOCALES_MAX} languages")]
    TooManyLocales,
    /// The text itself.
    #[error("{0}")]
    Template(#[from] TemplateError),
}

/// Texts in layers: what is not said here is said below, and in the end by what is built in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Texts {
    /// By locale, in lower case with `_`; those for everybody under the empty one.
    own: BTreeMap<Text, BTreeMap<Box<str>, Template>>,
    language: Option<Language>,
    below: Option<Arc<Self>>,
}

impl Texts {
    /// Reads texts by key: `{"asleep": "…", "kick_full": {"text": "…"}, "de": {"asleep": "…"},
    /// "language": "de"}`.
    ///
    /// A text is a string with `§` codes or a JSON text component. `language` is for clients whose
    /// locale is not known or not built in; without it they read English.
    ///
    /// # Errors
    /// Everything that is wrong, by key, [`PROBLEMS_MAX`] of it at most.
    pub fn parse(map: &Map<String, Value>) -> Result<Self, Vec<Problem>> {
        let (mut texts, mut problems) = (Self::default(), Vec::new());
        let mut locales = 0;
        for (key, value) in map {
            let result = if key == "language" {
                let code = value.as_str().unwrap_or_default();
                let known = |language: &Language| language.code() == code;
                texts.language = Language::ALL.into_iter().find(known);
                texts.language.map(drop).ok_or(Reason::UnknownLanguage)
            } else if Text::parse(key).is_some() {
                texts.put("", key, value)
            } else if is_locale(key) {
                locales += 1;
                match value {
                    _ if locales > LOCALES_MAX => Err(Reason::TooManyLocales),
                    Value::Object(own) => {
                        for (text, value) in own {
                            let put = texts.put(key, text, value);
                            problems
                                .extend(put.err().map(|reason| (format!("{key}.{text}"), reason)));
                        }
                        Ok(())
                    }
                    _ => Err(Reason::NotAnObject),
                }
            } else {
                Err(Reason::UnknownKey)
            };
            problems.extend(result.err().map(|reason| (key.clone(), reason)));
        }
        if problems.is_empty() {
            return Ok(texts);
        }
        problems.truncate(PROBLEMS_MAX);
        let told = problems.into_iter().map(|(key, reason)| Problem {
            key: shortened(&key),
            reason,
        });
        Err(told.collect())
    }

    fn put(&mut self, locale: &str, key: &str, value: &Value) -> Result<(), Reason> {
        let text = Text::parse(key).ok_or(Reason::UnknownKey)?;
        let template = Template::parse(value)?;
        let by_locale = self.own.entry(text).or_default();
        by_locale.insert(locale.into(), template);
        Ok(())
    }

    /// These texts and, for everybody, `template` for `text`.
    #[must_use]
    pub fn with(mut self, text: Text, template: Template) -> Self {
        let by_locale = self.own.entry(text).or_default();
        by_locale.insert("".into(), template);
        self
    }

    /// These texts over `below`.
    #[must_use]
    pub fn over(mut self, below: Arc<Self>) -> Self {
        self.below = Some(below);
        self
    }

    /// The text for a client of this locale; without one, in the default language.
    #[must_use]
    pub fn render(&self, text: Text, locale: Option<&str>, fields: &Fields<'_>) -> Message {
        let default = self.layers().find_map(|layer| layer.language);
        let default = default.unwrap_or_default();
        let language = locale.and_then(Language::of_locale).unwrap_or(default);
        let locale = locale.unwrap_or_else(|| default.code());
        let own = self.layers().filter_map(|layer| layer.own.get(&text));
        let own = own.flat_map(|texts| by_locale(texts, locale));
        let built_in = [language.template(text), Language::En.template(text)];
        let mut empty = Message::text(String::new());
        for template in own.chain(built_in.into_iter().flatten()) {
            empty = template.fill(fields, language);
            // Who writes an empty text wants none.
            if !empty.is_blank() || template.is_blank() {
                return empty;
            }
        }
        empty
    }

    fn layers(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |texts| texts.below.as_deref())
    }
}

/// The templates for `locale`, its language and everybody, in this order.
fn by_locale<'a>(
    texts: &'a BTreeMap<Box<str>, Template>,
    locale: &str,
) -> impl Iterator<Item = &'a Template> + use<'a> {
    let locale = if locale.len() <= LOCALE_BYTES_MAX {
        locale.to_ascii_lowercase().replace('-', "_")
    } else {
        String::new()
    };
    let language = locale.split('_').next().unwrap_or_default();
    let exact = texts.get(locale.as_str()).filter(|_| !locale.is_empty());
    let language = texts.get(language).filter(|_| locale.contains('_'));
    [exact, language, texts.get("")].into_iter().flatten()
}

/// `de`, `pt_br` and the like, as clients send them.
fn is_locale(key: &str) -> bool {
    let letters = |part: &str| part.bytes().all(|byte| byte.is_ascii_lowercase());
    let (language, country) = key.split_once('_').unwrap_or((key, "aa"));
    (2..=3).contains(&language.len())
        && (2..=4).contains(&country.len())
        && letters(language)
        && letters(country)
}

fn shortened(key: &str) -> String {
    const KEY_CHARS_MAX: usize = 40;
    let harmless = key
        .chars()
        .map(|char| if char.is_control() { '?' } else { char });
    harmless.take(KEY_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;
