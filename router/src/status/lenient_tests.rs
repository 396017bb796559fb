use super::*;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

const ALL: usize = usize::MAX;

fn strictly(text: &str) -> Option<Json> {
    let strict = Value::of(text).strict(ALL)?;
    Some(serde_json::from_str(&strict).unwrap())
}

fn members(text: &str) -> (Vec<(String, &str)>, bool) {
    let mut members = Value::of(text).members();
    let all = members.by_ref().map(|(name, value)| (name, value.0));
    (all.collect(), members.is_complete())
}

#[test]
fn everything_that_gson_takes_is_read() {
    for (written, meant) in [
        ("\"a\u{7}\tb\nc\"", json!("a\u{7}\tb\nc")),
        (r#"'it''s "q" \' '"#, Json::Null),
        (r#"'it\'s "q"'"#, json!("it's \"q\"")),
        (
            r#"{a: 1, "b" = [TRUE, true,], c => x; d: null}"#,
            Json::Null,
        ),
        (
            r#"{a: 1, "b" = [TRUE; true], c => x; d: null}"#,
            json!({ "a": 1, "b": ["TRUE", true], "c": "x", "d": null }),
        ),
        ("// one\n[ /* two */ 1, # three\n 2 ]", json!([1, 2])),
        (r#""\/\u003d\ud83d\ude00""#, json!("/=😀")),
        (
            r#"{"a":NaN,"b":-Infinity,"c":01}"#,
            json!({ "a": "NaN", "b": "-Infinity", "c": "01" }),
        ),
    ] {
        let read = strictly(written).unwrap_or_default();
        assert_eq!(read, meant, "{written}");
    }
}

#[test]
fn half_surrogates_and_numbers_beyond_all_bounds_stay_as_they_are() {
    for text in [
        r#""\ud83d""#,
        r#"["\ude00\ud83d", "\ud83dx"]"#,
        "1e999",
        "-123456789012345678901234567890.5",
        r#""\u0000""#,
    ] {
        let strict = Value::of(text).strict(ALL);
        assert_eq!(strict, Some(text.replace(' ', "")), "{text}");
    }
    assert_eq!(
        Value::of(r#""a\ud83d\u0041\ud83d""#).text().unwrap(),
        "a\u{FFFD}A\u{FFFD}"
    );
    assert_eq!(
        Value::of(r#""\uD83D\uDE00\u00e9\x""#).text().unwrap(),
        "😀é\u{FFFD}"
    );
}

#[test]
fn integers_are_read_however_they_are_written() {
    for (text, integer) in [
        ("763", Some(763)),
        ("-1", Some(-1)),
        ("763.0", Some(763)),
        ("7.63e2", Some(763)),
        ("\"763\"", Some(763)),
        ("2147483647", Some(i32::MAX)),
        ("763.5", None),
        ("1e999", None),
        ("99999999999", None),
        ("\"new\"", None),
        ("{}", None),
        ("", None),
    ] {
        assert_eq!(Value::of(text).integer(), integer, "{text}");
    }
}

#[test]
fn an_object_is_complete_at_its_end_whatever_follows() {
    let one = |value| vec![("a".to_owned(), value)];
    for (text, expected) in [
        ("{}", (vec![], true)),
        ("\u{FEFF} {} trailing", (vec![], true)),
        ("{\"a\":1}{", (one("1"), true)),
        (
            "{\"\\u0061\": [1, {\"b\":2}] }",
            (one("[1, {\"b\":2}]"), true),
        ),
        ("{\"a\":1,}", (one("1"), true)),
        ("{\"a\":1", (one("1"), false)),
        ("{\"a\":", (vec![], false)),
        ("{\"a\":}", (vec![], false)),
        ("{\"a\"", (vec![], false)),
        ("{\"a", (vec![], false)),
        ("{\"a\":1]", (one("1"), false)),
        ("{\"a\":1 2", (one("1"), false)),
        ("{,}", (vec![], false)),
        ("[]", (vec![], false)),
        ("", (vec![], false)),
        ("<html>", (vec![], false)),
        ("/* {}", (vec![], false)),
    ] {
        assert_eq!(members(text), expected, "{text}");
    }
}

#[test]
fn depth_and_length_are_no_trouble() {
    const DEPTH: usize = 100_000;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let inner = format!("{}1{}", open.repeat(DEPTH), close.repeat(DEPTH));
        let text = format!("{{\"deep\":{inner},\"next\":2}}");
        let (members, complete) = members(&text);
        assert!(complete && members.len() == 2);
        assert_eq!(members[0].1, inner);
        assert_eq!(Value::of(&inner).strict(ALL), Some(inner.clone()));
        assert_eq!(Value::of(&inner).strict(inner.len() - 1), None);
    }
    for piece in [
        "/*", "/**/", "//\n", "#", "\\", "\"", "'\\", "{", "[\"", "a", ":", ",", "\u{FEFF}", "é",
    ] {
        let text = piece.repeat(400_000 / piece.len());
        let value = Value::of(&text);
        let _ = (value.strict(ALL), value.text(), value.integer());
        assert!(!members(&format!("{{\"a\":{text}")).1);
    }
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<i16>().prop_map(|quarters| Json::from(f64::from(quarters) / 4.0)),
        any::<String>().prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            proptest::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_json_is_read_as_json_reads_it(json in any_json(), pretty: bool) {
        let text = if pretty { serde_json::to_string_pretty(&json).unwrap() } else { json.to_string() };
        prop_assert_eq!(strictly(&text), Some(json.clone()));
        prop_assert_eq!(Value::of(&text).text(), json.as_str().map(str::to_owned));
        let (members, complete) = members(&text);
        prop_assert_eq!(complete, json.is_object());
        let empty = serde_json::Map::new();
        let map = json.as_object().unwrap_or(&empty);
        prop_assert_eq!(members.len(), map.len());
        for (name, value) in members {
            prop_assert_eq!(&serde_json::from_str::<Json>(value).unwrap(), &map[&name]);
        }
    }

    #[test]
    fn what_is_made_of_any_text_is_json_within_the_bound(text in r#"[\[\]{}:=,;"'\\ua0-9/*# é\x00-\x20]{0,40}"#, most in 0_usize..60) {
        let value = Value::of(&text);
        if let Some(strict) = value.strict(most) {
            prop_assert!(strict.len() <= most);
            prop_assert!(is_json(&strict));
            prop_assert_eq!(Value::of(&strict).strict(most), Some(strict.clone()));
        }
        let _ = (value.text(), value.integer(), members(&text));
    }

    #[test]
    fn arbitrary_texts_never_panic(text: String) {
        let value = Value::of(&text);
        let _ = (value.strict(ALL), value.text(), value.integer(), members(&text));
    }
}
