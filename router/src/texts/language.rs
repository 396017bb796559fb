//! The languages that are built in, and how each of them says times and numbers.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use super::Text;
use super::template::Template;

/// Seconds are counted up to here, then minutes.
const SECONDS_MAX: u64 = 90;
/// Minutes are counted up to here, then hours.
const MINUTES_MAX: u64 = 90;
/// Hours are counted up to here, then days.
const HOURS_MAX: u64 = 36;

/// A language that is built in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Language {
    /// English, for everybody whose language is not known.
    #[default]
    En,
    /// German.
    De,
    /// French.
    Fr,
    /// Spanish.
    Es,
    /// Portuguese.
    Pt,
    /// Dutch.
    Nl,
    /// Polish.
    Pl,
    /// Russian.
    Ru,
    /// Chinese, in simplified characters.
    Zh,
}

impl Language {
    /// Every language that is built in.
    pub const ALL: [Self; 9] = [
        Self::En,
        Self::De,
        Self::Fr,
        Self::Es,
        Self::Pt,
        Self::Nl,
        Self::Pl,
        Self::Ru,
        Self::Zh,
    ];

    /// ISO 639-1.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::De => "de",
            Self::Fr => "fr",
            Self::Es => "es",
            Self::Pt => "pt",
            Self::Nl => "nl",
            Self::Pl => "pl",
            Self::Ru => "ru",
            Self::Zh => "zh",
        }
    }

    /// The language of a client's locale, such as `de_at`; case does not matter.
    #[must_use]
    pub fn of_locale(locale: &str) -> Option<Self> {
        let code = locale.split(['_', '-']).next()?;
        Self::ALL
            .into_iter()
            .find(|language| language.code().eq_ignore_ascii_case(code))
    }

    /// A time for people, rounded up so that nobody comes too early: `40 s`, `3 min`, `2 h`,
    /// `4 days`.
    #[must_use]
    pub fn duration(self, duration: Duration) -> String {
        let seconds = duration.as_millis().div_ceil(1000).max(1);
        let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
        let minutes = seconds.div_ceil(60);
        let hours = minutes.div_ceil(60);
        let [second, minute, hour, days] = self.units();
        if seconds <= SECONDS_MAX {
            format!("{seconds} {second}")
        } else if minutes <= MINUTES_MAX {
            format!("{minutes} {minute}")
        } else if hours <= HOURS_MAX {
            format!("{hours} {hour}")
        } else {
            format!("{} {days}", hours.div_ceil(24))
        }
    }

    /// Signs for seconds, minutes and hours, which need no plural; days begin at two.
    fn units(self) -> [&'static str; 4] {
        match self {
            Self::En => ["s", "min", "h", "days"],
            Self::De => ["s", "min", "h", "Tagen"],
            Self::Fr => ["s", "min", "h", "jours"],
            Self::Es => ["s", "min", "h", "días"],
            Self::Pt => ["s", "min", "h", "dias"],
            Self::Nl => ["s", "min", "u", "dagen"],
            Self::Pl => ["s", "min", "godz.", "dni"],
            Self::Ru => ["с", "мин", "ч", "дн."],
            Self::Zh => ["秒", "分钟", "小时", "天"],
        }
    }

    /// How often: `once`, `twice`, `3 times`.
    #[must_use]
    pub fn times(self, count: u32) -> String {
        let russian = match (count % 10, count % 100) {
            (2..=4, 0..=10 | 20..) => "раза",
            _ => "раз",
        };
        match (self, count) {
            (Self::En, 1) => "once".to_owned(),
            (Self::En, 2) => "twice".to_owned(),
            (Self::En, _) => format!("{count} times"),
            (Self::De, 1) => "einmal".to_owned(),
            (Self::De, 2) => "zweimal".to_owned(),
            (Self::De, _) => format!("{count}-mal"),
            (Self::Fr, _) => format!("{count} fois"),
            (Self::Es, 1) => "una vez".to_owned(),
            (Self::Es, _) => format!("{count} veces"),
            (Self::Pt, 1) => "uma vez".to_owned(),
            (Self::Pt, _) => format!("{count} vezes"),
            (Self::Nl, _) => format!("{count} keer"),
            (Self::Pl, 1) => "raz".to_owned(),
            (Self::Pl, _) => format!("{count} razy"),
            (Self::Ru, _) => format!("{count} {russian}"),
            (Self::Zh, _) => format!("{count} 次"),
        }
    }

    /// Where its texts are: a line `key = text` each, `\n` for a line end.
    fn source(self) -> &'static str {
        match self {
            Self::En => include_str!("languages/en.lang"),
            Self::De => include_str!("languages/de.lang"),
            Self::Fr => include_str!("languages/fr.lang"),
            Self::Es => include_str!("languages/es.lang"),
            Self::Pt => include_str!("languages/pt.lang"),
            Self::Nl => include_str!("languages/nl.lang"),
            Self::Pl => include_str!("languages/pl.lang"),
            Self::Ru => include_str!("languages/ru.lang"),
            Self::Zh => include_str!("languages/zh.lang"),
        }
    }

    /// Its own words for `text`.
    pub(super) fn template(self, text: Text) -> Option<&'static Template> {
        static TEXTS: LazyLock<HashMap<(Language, Text), Template>> = LazyLock::new(|| {
            let all = Language::ALL.into_iter();
            all.flat_map(|language| {
                let entries = language.source().lines().filter_map(entry);
                entries.map(move |(text, template)| ((language, text), template))
            })
            .collect()
        });
        TEXTS.get(&(self, text))
    }
}

fn entry(line: &str) -> Option<(Text, Template)> {
    let (key, words) = line.split_once(" = ")?;
    let template = Template::parse(&words.replace("\\n", "\n").into()).ok()?;
    Some((Text::parse(key)?, template))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::texts::template::Fields;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// What a line of the server list shows, roughly.
    const LINE_CHARS_MAX: usize = 60;

    #[test]
    fn every_language_says_everything_and_nothing_else() {
        for language in Language::ALL {
            let mut missing: BTreeSet<_> = Text::ALL.into_iter().map(Text::key).collect();
            for line in language.source().lines() {
                let known = entry(line).map(|(text, _)| text.key());
                let key = known.unwrap_or_else(|| panic!("{language:?}: {line}"));
                assert!(missing.remove(key), "{language:?} says {key} twice");
            }
            assert!(missing.is_empty(), "{language:?} lacks {missing:?}");
        }
    }

    #[test]
    fn every_language_names_the_fields_that_english_names_and_colours_as_it_does() {
        let set = |language: Language, text| {
            let fields = language.template(text).unwrap().fields();
            fields.into_iter().collect::<BTreeSet<_>>()
        };
        let colours = |language: Language, text| {
            let shown = language.template(text).unwrap();
            let shown = shown.fill(&Fields::default(), language).to_legacy();
            let codes = shown.split('§').skip(1).map(|rest| rest.chars().next());
            codes.collect::<Vec<_>>()
        };
        for (language, text) in Language::ALL
            .into_iter()
            .flat_map(|language| Text::ALL.map(|text| (language, text)))
        {
            let key = text.key();
            assert_eq!(
                set(language, text),
                set(Language::En, text),
                "{language:?} {key}"
            );
            assert_eq!(
                colours(language, text),
                colours(Language::En, text),
                "{language:?} {key}"
            );
        }
    }

    #[test]
    fn every_text_says_something_though_nothing_is_known_and_fits_its_line() {
        let known = Fields {
            eta: Some(Duration::from_secs(88)),
            elapsed: Some(Duration::from_secs(88)),
            retry: Some(Duration::from_secs(88)),
            waiting: Some(12),
            attempts: Some(12),
            progress: Some(0.5),
            server: Some("server"),
        };
        for language in Language::ALL {
            for text in Text::ALL {
                let template = language.template(text).unwrap();
                let unknown = template.fill(&Fields::default(), language);
                let hover = text == Text::Hover;
                assert_eq!(unknown.is_blank(), hover, "{language:?} {}", text.key());
                let shown = template.fill(&known, language).to_plain();
                assert!(!shown.contains(['{', '}', '[', '|']), "{shown}");
                for line in shown.lines() {
                    assert!(
                        line.chars().count() <= LINE_CHARS_MAX,
                        "{language:?}: {line}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_locale_is_known_by_its_language_whatever_the_country() {
        for (locale, language) in [
            ("de_de", Some(Language::De)),
            ("de_AT", Some(Language::De)),
            ("PT-br", Some(Language::Pt)),
            ("zh_tw", Some(Language::Zh)),
            ("en_us", Some(Language::En)),
            ("it_it", None),
            ("", None),
            ("deutsch", None),
        ] {
            assert_eq!(Language::of_locale(locale), language, "{locale}");
        }
    }

    #[test]
    fn times_are_rounded_up_to_one_unit() {
        for (seconds, english, german) in [
            (0.0, "1 s", "1 s"),
            (0.2, "1 s", "1 s"),
            (39.1, "40 s", "40 s"),
            (90.0, "90 s", "90 s"),
            (90.1, "2 min", "2 min"),
            (121.0, "3 min", "3 min"),
            (5_400.0, "90 min", "90 min"),
            (5_401.0, "2 h", "2 h"),
            (36.0 * 3600.0, "36 h", "36 h"),
            (37.0 * 3600.0, "2 days", "2 Tagen"),
        ] {
            let duration = Duration::from_secs_f64(seconds);
            assert_eq!(Language::En.duration(duration), english);
            assert_eq!(Language::De.duration(duration), german);
        }
    }

    #[test]
    fn how_often_is_said_in_words() {
        for (language, said) in [
            (Language::En, ["once", "twice", "3 times"]),
            (Language::De, ["einmal", "zweimal", "3-mal"]),
            (Language::Pl, ["raz", "2 razy", "3 razy"]),
            (Language::Ru, ["1 раз", "2 раза", "3 раза"]),
            (Language::Zh, ["1 次", "2 次", "3 次"]),
        ] {
            assert_eq!([1, 2, 3].map(|count| language.times(count)), said);
        }
        let russian = [5, 11, 12, 14, 21, 22, 112].map(|count| Language::Ru.times(count));
        let said = [
            "5 раз",
            "11 раз",
            "12 раз",
            "14 раз",
            "21 раз",
            "22 раза",
            "112 раз",
        ];
        assert_eq!(russian, said);
    }

    proptest! {
        #[test]
        fn any_time_and_any_number_can_be_said(secs: u64, nanos in 0..1_000_000_000_u32, count: u32) {
            for language in Language::ALL {
                let said = language.duration(Duration::new(secs, nanos));
                prop_assert!(!said.starts_with("0 "), "{}", said);
                prop_assert!(!language.times(count).is_empty());
            }
        }
    }
}
