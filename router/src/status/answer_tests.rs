use super::*;
use crate::protocol::{Reader, decode_frame};
use proptest::prelude::*;
use serde_json::json;

const ICON: &str = "data:image/png;base64,iVBORw0KGgo=";

fn text_of(frame: &[u8]) -> String {
    let (body, length) = decode_frame(frame, 1024 * 1024).unwrap().unwrap();
    assert_eq!(length, frame.len());
    let mut reader = Reader::new(body);
    reader.expect_id(0).unwrap();
    reader.string(1024 * 1024, "the status").unwrap().to_owned()
}

fn over(json: &Value, protocol: i32, text: &Value, hover: &[&str]) -> Value {
    let (_, known) = read(&json.to_string()).unwrap();
    let frame = overlay(Some(&known), protocol, text, hover);
    serde_json::from_str(&text_of(&frame)).unwrap()
}

/// What Forge for 1.12 and for 1.18 and newer add.
fn modded() -> Value {
    json!({
        "description": { "extra": ["a"], "text": "" },
        "players": { "max": 50, "online": 3, "sample": [{ "name": "Steve", "id": "x" }] },
        "version": { "name": "1.20.1", "protocol": 763 },
        "favicon": ICON,
        "forgeData": { "fmlNetworkVersion": 3, "d": "\u{1}\u{0}\u{4e2d}", "truncated": false },
        "modinfo": { "type": "FML", "modList": [{ "modid": "jei", "version": "4" }] },
        "isModded": true,
    })
}

#[test]
fn a_status_is_passed_on_as_it_was_written() {
    for json in [
        "{}",
        r#" { "b":1 , "a" : [ 1e3, "\u0041" ], "b":2 } "#,
        r#"{"description":"text","players":null,"version":[]}"#,
        r#"{"description":["a",{"text":"b"}],"favicon":7}"#,
        &modded().to_string(),
    ] {
        let (answer, _) = read(json).unwrap();
        assert_eq!(text_of(answer.frame()), json);
    }
}

#[test]
fn what_is_no_object_is_no_status() {
    for text in ["", "[]", "7", "\"up\"", "{", "{}x", "<html>"] {
        assert!(read(text).is_err(), "{text:?}");
    }
    let deep = format!("{}{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    assert!(read(&deep).is_err());
}

#[test]
fn a_sleeping_server_keeps_its_icon_version_maximum_and_mods() {
    let text = json!({ "text": "zzz", "color": "gray" });
    let shown = over(&modded(), 769, &text, &["soon", "2 wait"]);

    let before = modded();
    for kept in ["favicon", "forgeData", "modinfo", "isModded"] {
        assert_eq!(shown[kept], before[kept], "{kept}");
    }
    assert_eq!(
        shown["version"],
        json!({ "name": "1.20.1", "protocol": 769 })
    );
    assert_eq!(shown["description"], text);
    let line = |name| json!({ "name": name, "id": NOBODY });
    let players = json!({ "max": 50, "online": 0, "sample": [line("soon"), line("2 wait")] });
    assert_eq!(shown["players"], players);
}

#[test]
fn fields_that_are_missing_or_something_else_are_shown_as_the_routers_own() {
    let text = json!({ "text": "zzz" });
    let bare = overlay(None, 47, &text, &[]);
    let bare: Value = serde_json::from_str(&text_of(&bare)).unwrap();
    let own: Value = serde_json::from_str(&text_of(&response(47, "zzz"))).unwrap();
    assert_eq!(bare, own);
    for json in [
        json!({}),
        json!({ "version": 7, "players": [], "description": 1, "favicon": {} }),
        json!({ "version": { "name": 7 }, "players": { "max": "20" }, "favicon": "javascript:" }),
        json!({ "version": null, "players": null, "favicon": format!("{ICON}\n") }),
    ] {
        assert_eq!(over(&json, 47, &text, &[]), own, "{json}");
    }
}

#[test]
fn nonsense_numbers_are_clamped_in_an_overlay_too() {
    for (sent, told) in [(-1, 0), (769, 769), (i32::MAX, PROTOCOL_MAX)] {
        let shown = over(&modded(), sent, &json!("zzz"), &[]);
        assert_eq!(shown["version"]["protocol"], told);
    }
}

#[test]
fn only_so_many_lines_are_shown() {
    let shown = over(&modded(), 47, &json!("zzz"), &["line"; 100]);
    assert_eq!(
        shown["players"]["sample"].as_array().unwrap().len(),
        HOVER_LINES_MAX
    );
}

#[test]
fn what_a_client_would_not_take_goes_lines_first_then_the_icon_then_all() {
    let icon = format!("{ICON}{}", "A".repeat(20_000));
    let json =
        json!({ "version": { "name": "v" }, "favicon": icon, "modinfo": "m".repeat(10_000) });
    let shown = |text: usize, hover: usize| {
        let (text, hover) = ("t".repeat(text), "h".repeat(hover));
        let shown = over(&json, 47, &json!({ "text": text }), &[&hover]);
        assert_eq!(shown["description"]["text"].as_str().unwrap(), text);
        let parts = [
            &shown["players"]["sample"],
            &shown["favicon"],
            &shown["modinfo"],
        ];
        parts.map(|part| !part.is_null())
    };
    assert_eq!(shown(10, 10), [true, true, true]);
    assert_eq!(shown(10, 10_000), [false, true, true]);
    assert_eq!(shown(10_000, 10_000), [false, false, true]);
    assert_eq!(shown(30_000, 10), [true, false, false]);
    assert_eq!(shown(30_000, 10_000), [false, false, false]);
}

#[test]
fn more_than_a_client_would_take_is_not_kept() {
    let (_, known) =
        read(&json!({ "modinfo": "m".repeat(40_000), "version": { "name": "v" } }).to_string())
            .unwrap();
    assert_eq!(
        known.lasting.to_json(),
        r#"{"players":{"max":0},"version":{"name":"v"}}"#
    );
    let (_, known) =
        read(&json!({ "version": { "name": "v".repeat(40_000) } }).to_string()).unwrap();
    assert!(known.lasting.to_json().len() < 100);
    let icon = format!("{ICON}{}", "A".repeat(ICON_BYTES_MAX));
    let (_, known) = read(&json!({ "favicon": icon }).to_string()).unwrap();
    assert_eq!(known.icon, None);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i16>().prop_map(|quarters| Value::from(f64::from(quarters) / 4.0)),
        ".{0,8}".prop_map(Value::from),
    ];
    let key = prop_oneof![
        Just("version".to_owned()),
        Just("players".to_owned()),
        Just("description".to_owned()),
        Just("favicon".to_owned()),
        Just("name".to_owned()),
        Just("max".to_owned()),
        "[a-z]{0,3}",
    ];
    leaf.prop_recursive(3, 24, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(key.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_object_is_a_status_and_what_lasts_comes_back(json in any_json()) {
        let text = json.to_string();
        let outcome = read(&text);
        prop_assert_eq!(outcome.is_ok(), json.is_object());
        if let Ok((answer, known)) = outcome {
            prop_assert_eq!(text_of(answer.frame()), text);
            prop_assert_eq!(&Lasting::read(&known.lasting.to_json()).unwrap(), &*known.lasting);
            let shown = overlay(Some(&known), 47, &json!("zzz"), &["line"]);
            let shown: Value = serde_json::from_str(&text_of(&shown)).unwrap();
            prop_assert_eq!(&shown["description"], "zzz");
            prop_assert_eq!(&shown["players"]["online"], 0);
        }
    }

    #[test]
    fn an_overlay_is_never_longer_than_a_client_takes(
        known in 0_usize..40_000, icon in 0_usize..40_000, text in 0_usize..60_000, hover in 0_usize..40_000,
    ) {
        let long = |length| "é".repeat(length / 2);
        let json = json!({ "extra": long(known), "favicon": format!("{ICON}{}", "A".repeat(icon)) });
        let (_, known) = read(&json.to_string()).unwrap();
        let frame = overlay(Some(&known), 47, &json!(long(text)), &[&long(hover)]);
        prop_assert!(text_of(&frame).encode_utf16().count() <= TEXT_CHARS_MAX);
    }

    #[test]
    fn arbitrary_texts_never_panic(text: String) {
        let _ = read(&text);
    }
}
