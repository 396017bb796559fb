use super::*;
use proptest::prelude::*;
use serde_json::json;

fn texts(value: &Value) -> Result<Texts, Vec<Problem>> {
    Texts::parse(value.as_object().unwrap())
}

fn shown(texts: &Texts, text: Text, locale: Option<&str>) -> String {
    texts.render(text, locale, &Fields::default()).to_legacy()
}

#[test]
fn without_settings_every_client_reads_its_own_language_or_english() {
    let texts = Texts::default();
    assert_eq!(
        shown(&texts, Text::Asleep, None),
        "§7This server is asleep.\n§aJoin to wake it up."
    );
    assert_eq!(
        shown(&texts, Text::Starting, None),
        "§eThis server is starting.\n§7It will be ready in a moment."
    );
    for locale in ["it_it", "", "\u{0}", &"x".repeat(10_000)] {
        assert_eq!(shown(&texts, Text::DialogLeave, Some(locale)), "Leave");
    }
    assert_eq!(shown(&texts, Text::DialogLeave, Some("de_ch")), "Verlassen");
}

#[test]
fn who_is_nearer_is_heard_first() {
    let below = texts(&json!({ "asleep": "all", "full": "all", "de": { "asleep": "German" } }));
    let route = texts(&json!({ "full": "route", "de_at": { "full": "Austrian" } }));
    let texts = route.unwrap().over(Arc::new(below.unwrap()));

    for (text, locale, said) in [
        (Text::Asleep, None, "all"),
        (Text::Asleep, Some("fr_fr"), "all"),
        (Text::Asleep, Some("de_AT"), "German"),
        (Text::Asleep, Some("DE"), "German"),
        (Text::Full, Some("de_de"), "route"),
        (Text::Full, Some("de-at"), "Austrian"),
        (Text::DialogLeave, Some("de_at"), "Verlassen"),
    ] {
        assert_eq!(shown(&texts, text, locale), said, "{text:?} {locale:?}");
    }
}

#[test]
fn the_default_language_is_for_whoever_is_not_known() {
    let set = json!({ "language": "fr", "fr": { "asleep": "dort" }, "asleep": "zzz" });
    let texts = Texts::default().over(Arc::new(texts(&set).unwrap()));
    assert_eq!(shown(&texts, Text::Asleep, None), "dort");
    assert_eq!(shown(&texts, Text::Asleep, Some("en_us")), "zzz");
    assert_eq!(shown(&texts, Text::DialogLeave, None), "Quitter");
    assert_eq!(shown(&texts, Text::DialogLeave, Some("it_it")), "Quitter");
    assert_eq!(shown(&texts, Text::DialogLeave, Some("en_gb")), "Leave");
}

#[test]
fn a_text_without_a_value_gives_way_and_an_empty_one_is_meant() {
    let texts = texts(&json!({ "starting": "{eta}", "asleep": "" })).unwrap();
    assert!(shown(&texts, Text::Starting, None).contains("starting"));
    assert_eq!(shown(&texts, Text::Asleep, None), "");
    let fields = Fields {
        eta: Some(std::time::Duration::from_secs(5)),
        ..Fields::default()
    };
    let said = texts.render(Text::Starting, None, &fields);
    assert_eq!(said.to_legacy(), "5 s");
}

#[test]
fn a_text_set_by_itself_is_for_everybody() {
    let old = Template::lenient("knock {nobody}").unwrap();
    let texts = Texts::default().with(Text::Asleep, old);
    assert_eq!(shown(&texts, Text::Asleep, Some("de_de")), "knock {nobody}");
}

#[test]
fn what_is_wrong_is_told_by_its_key() {
    let problems = texts(&json!({
        "aslep": "zzz",
        "asleep": "in {tea}",
        "kick_full": { "text": "a", "color": "reddish" },
        "de": { "asleep": 5, "nope": "a", "full": "voll" },
        "fr": "dort",
        "language": "tlh",
        "x\ny": {},
    }));
    let told: Vec<_> = problems
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect();
    for begin in [
        "aslep: there is no text of this name",
        "asleep: unknown field {tea}; there are server",
        "kick_full: the text component's property \"color\"",
        "de.asleep: neither a text nor",
        "de.nope: there is no text of this name",
        "fr: a language holds an object",
        "language: not a language that is built in",
        "x?y: there is no text",
    ] {
        let found = told.iter().any(|problem| problem.starts_with(begin));
        assert!(found, "{begin:?} is not in {told:#?}");
    }
    assert_eq!(told.len(), 8);
}

#[test]
fn problems_and_locales_are_bounded() {
    let many: Map<_, _> = (0..100)
        .map(|number| (format!("n{number}"), json!(1)))
        .collect();
    assert_eq!(Texts::parse(&many).unwrap_err().len(), PROBLEMS_MAX);

    let locale = |number: u8| format!("a{}", char::from(b'a' + number % 26));
    let codes = (0..26)
        .map(locale)
        .chain((0..26).map(|number| format!("b{}", locale(number))));
    let codes: Vec<_> = codes
        .chain((0..26).map(|number| format!("c{}", locale(number))))
        .collect();
    let some: Map<_, _> = codes[..LOCALES_MAX]
        .iter()
        .map(|code| (code.clone(), json!({})))
        .collect();
    assert!(Texts::parse(&some).is_ok());
    let many: Map<_, _> = codes.into_iter().map(|code| (code, json!({}))).collect();
    let problems = Texts::parse(&many).unwrap_err();
    assert!(
        problems
            .iter()
            .all(|problem| problem.reason == Reason::TooManyLocales)
    );
}

proptest! {
    #[test]
    fn any_locale_gets_a_text(locale: String) {
        let texts = Texts::default().over(Arc::new(Texts::default()));
        for text in Text::ALL.into_iter().filter(|text| *text != Text::Hover) {
            prop_assert!(!texts.render(text, Some(&locale), &Fields::default()).is_blank());
        }
    }

    #[test]
    fn every_text_can_be_set_by_its_key(index in 0..Text::ALL.len(), words in "[a-z]{1,20}") {
        let text = Text::ALL[index];
        let map = [(text.key().to_owned(), Value::from(words.as_str()))].into_iter().collect();
        let texts = Texts::parse(&map).unwrap();
        prop_assert_eq!(shown(&texts, text, Some("fr_fr")), words);
    }
}
