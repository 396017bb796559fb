use super::*;
use crate::protocol::TEXT_CHARS_MAX;
use proptest::prelude::*;
use serde_json::json;

const KNOWN: Fields<'_> = Fields {
    server: Some("survival"),
    eta: Some(Duration::from_secs(40)),
    elapsed: Some(Duration::from_secs(12)),
    waiting: Some(3),
    attempts: Some(2),
    retry: Some(Duration::from_secs(300)),
    progress: Some(0.425),
};

fn filled(text: &str, fields: &Fields<'_>) -> String {
    let template = Template::lenient(text).unwrap();
    template.fill(fields, Language::En).to_legacy()
}

#[test]
fn every_field_is_filled_in_for_people() {
    let text = "{server} {eta} {elapsed} {waiting} {attempts} {retry} {progress}";
    assert_eq!(filled(text, &KNOWN), "survival 40 s 12 s 3 twice 5 min 42%");
}

#[test]
fn a_line_goes_with_a_field_that_has_no_value() {
    let text = "starting\nready in {eta}\n{waiting} wait\nend";
    assert_eq!(filled(text, &Fields::default()), "starting\nend");
    assert_eq!(filled(text, &KNOWN), "starting\nready in 40 s\n3 wait\nend");
    assert_eq!(filled("a\n\nb", &KNOWN), "a\n\nb", "an empty line is meant");

    let nobody = Fields {
        waiting: Some(0),
        attempts: Some(0),
        progress: Some(f64::NAN),
        ..Fields::default()
    };
    assert_eq!(filled("a\n{waiting}\n{attempts}\n{progress}", &nobody), "a");
}

#[test]
fn brackets_show_the_first_part_that_is_known() {
    let text = "ready in [[about {eta}|a moment]].[[ Failed {attempts}!]]";
    assert_eq!(filled(text, &KNOWN), "ready in about 40 s. Failed twice!");
    assert_eq!(filled(text, &Fields::default()), "ready in a moment.");

    let alone = "first\n§7[[{eta}]]\nlast";
    assert_eq!(filled(alone, &Fields::default()), "first\nlast");
}

#[test]
fn brackets_and_braces_that_name_no_field_stay() {
    for text in [
        "[[lobby]] a|b",
        "[[",
        "]] [[ }{",
        "{} { eta } {Eta} {an_unknown_and_very_long_name}",
        "{eta",
        "{{}}",
    ] {
        assert_eq!(filled(text, &KNOWN), text);
        assert_eq!(filled(text, &Fields::default()), text);
    }
    assert_eq!(
        filled("[[a]] [[b {eta}]] {{eta}}", &KNOWN),
        "[[a]] b 40 s {40 s}"
    );
}

#[test]
fn what_is_no_field_is_refused_by_name_where_a_text_is_set() {
    for (value, error) in [
        (
            json!("in {tea}"),
            TemplateError::UnknownField("tea".to_owned()),
        ),
        (
            json!({ "text": "a", "extra": [["b", { "text": "{tea}" }]] }),
            TemplateError::UnknownField("tea".to_owned()),
        ),
        (json!(5), TemplateError::NotAText),
        (json!(null), TemplateError::NotAText),
        (json!([]), TemplateError::NotAText),
        (json!({}), TemplateError::NotAText),
        (json!(["a", null]), TemplateError::NotAText),
        (
            json!({ "text": {} }),
            TemplateError::Property("\"text\"".to_owned()),
        ),
        (
            json!({ "text": "a", "color": "reddish" }),
            TemplateError::Property("\"color\"".to_owned()),
        ),
        (
            json!({ "text": "a", "bold": "yes" }),
            TemplateError::Property("\"bold\"".to_owned()),
        ),
        (
            json!({ "text": "a", "clickEvent": { "action": "open_url" } }),
            TemplateError::Property("\"clickEvent\"".to_owned()),
        ),
        (
            json!("a".repeat(1_001)),
            TemplateError::TooLong {
                length: 1_001,
                max: TEXT_TEMPLATE_CHARS_MAX,
            },
        ),
        (json!(vec!["a"; 201]), TemplateError::TooManyParts),
        (
            json!({ "text": "a".repeat(4_000) }),
            TemplateError::TooLong {
                length: 4_011,
                max: COMPONENT_CHARS_MAX,
            },
        ),
    ] {
        assert_eq!(Template::parse(&value), Err(error), "{value}");
    }
}

#[test]
fn components_are_nested_so_deep_and_no_deeper() {
    let nested = |depth: usize| {
        let mut value = json!("a");
        for _ in 0..depth {
            value = json!({ "text": "", "extra": [value] });
        }
        Template::parse(&value)
    };
    assert!(nested(super::super::component::DEPTH_MAX).is_ok());
    assert_eq!(
        nested(super::super::component::DEPTH_MAX + 1),
        Err(TemplateError::TooDeep)
    );
    let bottomless = format!("{}{}", "[".repeat(1_900), "]".repeat(1_900));
    assert!(Template::parse(&json!(bottomless)).is_err());
    assert!(Template::lenient(&bottomless).is_err());
}

#[test]
fn a_text_that_is_json_is_a_component_and_its_strings_have_fields() {
    let text = r#"{"text": "in {eta}", "color": "gold", "extra": ["\nby {retry}", "!"]}"#;
    let template = Template::parse(&json!(text)).unwrap();
    assert_eq!(
        template.fill(&KNOWN, Language::En).to_component(),
        json!({
            "text": "in 40 s", "color": "gold",
            "extra": [{ "text": "\nby 5 min" }, { "text": "!" }],
        })
    );
    assert_eq!(
        template
            .fill(&Fields::default(), Language::En)
            .to_component(),
        json!({ "text": "", "color": "gold", "extra": [{ "text": "" }, { "text": "!" }] })
    );
    assert_eq!(filled("{not json} {eta}", &KNOWN), "{not json} 40 s");
}

#[test]
fn a_value_is_data_and_nothing_else() {
    let server = "§ka\nb\0{eta}[[{eta}]]\",\"color\":\"red\"}";
    let fields = Fields {
        server: Some(server),
        ..KNOWN
    };
    let tame = "ka b{eta}[[{eta}]]\",\"color\":\"red\"}".replace(' ', "");
    assert_eq!(filled("<{server}>", &fields), format!("<{tame}>"));

    let component = Template::parse(&json!({ "text": "{server}", "color": "gold" })).unwrap();
    let component = component.fill(&fields, Language::En).to_component();
    assert_eq!(component, json!({ "text": tame, "color": "gold" }));
    let text = component.to_string();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), component);

    let long = "x".repeat(100);
    let fields = Fields {
        server: Some(&long),
        ..KNOWN
    };
    assert_eq!(filled("{server}", &fields).len(), VALUE_CHARS_MAX);
}

#[test]
fn the_longest_of_texts_still_fits_into_a_packet() {
    let quotes = "\"".repeat(VALUE_CHARS_MAX);
    let fields = Fields {
        server: Some(&quotes),
        ..KNOWN
    };
    let text = json!("{server}".repeat(TEXT_TEMPLATE_CHARS_MAX / 8));
    let parts = json!(vec!["{server}{server}"; PARTS]);
    for value in [text, parts] {
        let template = Template::parse(&value).unwrap();
        let component = template.fill(&fields, Language::En).to_component();
        let length = component.to_string().chars().count();
        assert!(length > 15_000, "{length} characters: not the longest");
        assert!(length <= TEXT_CHARS_MAX, "{length}");
    }
}

/// As many parts as the limit on a component's length lets in here.
const PARTS: usize = 199;

fn words() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-z \"\\\\§|é]{0,6}",
        2 => Just("\n".to_owned()),
        2 => "[{}\\[\\]]{1,3}",
        2 => prop_oneof![Just("{eta}"), Just("{server}"), Just("{waiting}"), Just("{nope}")]
            .prop_map(str::to_owned),
        1 => Just("[[".to_owned()),
        1 => Just("]]".to_owned()),
        1 => any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

fn components() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        words().prop_map(Value::from),
        words().prop_map(|text| json!({ "text": text, "color": "aqua" })),
        (words(), words()).prop_map(|(text, fallback)| {
            json!({ "translate": "a.b", "with": [text], "fallback": fallback, "italic": true })
        }),
        any::<i64>().prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(4, 40, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            (words(), proptest::collection::vec(inner, 0..4))
                .prop_map(|(text, extra)| json!({ "text": text, "extra": extra, "bold": false })),
        ]
    })
}

fn fields() -> impl Strategy<Value = (Option<String>, Fields<'static>)> {
    let times = proptest::option::of((0..u64::MAX).prop_map(Duration::from_millis));
    let numbers = (
        proptest::option::of(any::<usize>()),
        proptest::option::of(any::<u32>()),
        proptest::option::of(any::<f64>()),
    );
    let server = proptest::option::of(any::<String>());
    (server, times, numbers).prop_map(|(server, eta, (waiting, attempts, progress))| {
        let fields = Fields {
            server: None,
            eta,
            elapsed: eta,
            waiting,
            attempts,
            retry: eta,
            progress,
        };
        (server, fields)
    })
}

/// Every object is a component: no list holds anything else.
fn is_uniform(value: &Value) -> bool {
    let lists = ["extra", "with"]
        .into_iter()
        .filter_map(|name| value.get(name));
    let mut parts = lists.flat_map(|list| list.as_array().unwrap());
    value.is_object() && parts.all(is_uniform)
}

proptest! {
    #[test]
    fn any_text_and_any_values_make_a_message_within_bounds(
        value in prop_oneof![components(), any::<String>().prop_map(Value::from)],
        (server, fields) in fields(),
    ) {
        let fields = Fields { server: server.as_deref(), ..fields };
        let Ok(template) = Template::parse(&value).or_else(|_| {
            Template::lenient(value.as_str().unwrap_or_default())
        }) else {
            return Ok(());
        };
        for language in Language::ALL {
            let message = template.fill(&fields, language);
            let component = message.to_component();
            prop_assert!(is_uniform(&component), "{}", component);
            let text = component.to_string();
            prop_assert!(text.chars().count() <= TEXT_CHARS_MAX);
            prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), component);
            prop_assert!(!message.to_plain().contains('§'));
        }
    }

    #[test]
    fn what_names_no_field_is_shown_as_it_is(text in "[a-z{}\\[\\]|\n§ _]{0,60}") {
        let fieldless = !["server", "eta", "elapsed", "waiting", "attempts", "retry", "progress"]
            .iter()
            .any(|name| text.contains(&format!("{{{name}}}")));
        let component = serde_json::from_str::<Value>(&text).is_ok_and(|value| !value.is_number());
        prop_assume!(fieldless && !component);
        prop_assert_eq!(&filled(&text, &KNOWN), &text);
        prop_assert_eq!(&filled(&text, &Fields::default()), &text);
    }

    #[test]
    fn no_value_adds_a_colour_a_line_or_a_field(server: String) {
        let fields = Fields { server: Some(&server), ..Fields::default() };
        let shown = filled("§a<{server}>", &fields);
        let inside = shown.strip_prefix("§a<").unwrap().strip_suffix('>').unwrap();
        prop_assert!(!inside.contains('§') && !inside.chars().any(char::is_control));
        prop_assert!(inside.chars().count() <= VALUE_CHARS_MAX);
    }
}
