use super::*;
use crate::protocol::varint;
use proptest::prelude::*;

const ICON: &str = "data:image/png;base64,iVBORw0KGgo=";

fn text_of(frame: &[u8]) -> String {
    let length = frame_length(frame, FRAME_BYTES_MAX);
    assert_eq!(length, Ok(Some(frame.len())));
    String::from_utf8(text_in(frame).unwrap().to_vec()).unwrap()
}

fn read_json<T: ToString + ?Sized>(json: &T) -> Result<(Answer, Known), NoStatus> {
    read(frame(json.to_string().as_bytes()))
}

fn over(json: &Value, protocol: i32, text: &Value, hover: &[&str]) -> Value {
    let (_, known) = read_json(json).unwrap();
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
        let (answer, _) = read_json(json).unwrap();
        assert_eq!(text_of(answer.frame()), json);
    }
}

#[test]
fn what_clients_put_up_with_is_passed_on_byte_for_byte() {
    let nested = format!(
        "{}\"t\"{}",
        r#"{"text":"","extra":["#.repeat(300),
        "]}".repeat(300)
    );
    let long = "m".repeat(600_000);
    for json in [
        b"{\"description\":\"a\x00b\x1f\xa7\n\t\"}".to_vec(),
        br#"{"description":"\ud83d","version":{"name":"\ude00"}}"#.to_vec(),
        format!("{{\"description\":{nested}}}").into(),
        br#"{"a":1,"a":2,"version":{"protocol":1e999},"players":{"max":123456789012345678901}}"#
            .to_vec(),
        b"{\"description\":\"\xff\xfe\xed\xa0\xbd\"}".to_vec(),
        b"\xef\xbb\xbf {} and more".to_vec(),
        br#"{description:'single' /* as Gson takes it */}"#.to_vec(),
        format!("{{\"modinfo\":\"{long}\"}}").into(),
    ] {
        let sent = frame(&json);
        let (answer, _) = read(sent.clone()).unwrap();
        assert_eq!(answer.frame(), sent);
        assert!(is_status(&sent));
    }
    // A length and an id that are longer than they need be, and bytes behind the text.
    let odd = b"\x87\x80\x00\x80\x00\x02{}++";
    assert_eq!(read(odd.to_vec()).unwrap().0.frame(), odd);
    // As long as a frame can be: id and length of the text take four bytes.
    let head = r#"{"a":""#;
    let longest = format!(
        "{head}{}\"}}",
        "x".repeat(FRAME_BYTES_MAX - 4 - head.len() - 2)
    );
    let sent = frame(longest.as_bytes());
    assert_eq!(sent[..3], [0xFF, 0xFF, 0x7F]);
    let (answer, known) = read(sent.clone()).unwrap();
    assert_eq!(answer.frame(), sent);
    assert!(known.lasting.extras.is_empty());
}

#[test]
fn what_is_understood_of_an_odd_status_is_shown_while_its_server_is_away() {
    let long = "m".repeat(600_000);
    let json = format!(
        "{{\"version\":{{\"name\":\"\\ud83d \x07\",\"protocol\":763}},\"players\":{{\"max\":20,\"sample\":\"{long}\"}},\
         \"description\":\"{long}\",\"forgeData\":{{\"d\":\"\x01\\ud800\",\"n\":123456789012345678901}},\"big\":\"{long}\",\"isModded\":true}}"
    );
    let (_, known) = read_json(&json).unwrap();
    let shown = text_of(&overlay(Some(&known), 769, &json!("zzz"), &[]));
    for part in [
        r#""version":{"name":"\ud83d \u0007","protocol":763}"#,
        r#""players":{"max":20,"online":0}"#,
        r#""forgeData":{"d":"\u0001\ud800","n":123456789012345678901}"#,
        r#""isModded":true"#,
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert!(!shown.contains("mmm"));
}

#[test]
fn an_icon_is_kept_in_every_legal_form() {
    for written in [
        r#""data:image/png;base64,iVBORw0KGgo=""#,
        r#""data:image\/png;base64,iVBORw0KGgo\u003d""#,
        r#""data:image/png;base64,iVBO\nRw0K\nGgo=\n""#,
        r#""data:image/png;base64,iVBO\r\nRw0K Ggo=""#,
        "\"data:image/png;base64,iVBO\nRw0KGgo=\"",
        "'data:image/png;base64,iVBORw0KGgo='",
    ] {
        let (_, known) = read_json(&format!("{{\"favicon\":{written}}}")).unwrap();
        assert_eq!(known.icon.as_deref(), Some(ICON), "{written}");
    }
    for no_icon in [
        "",
        "iVBORw0KGgo=",
        "data:image/png;base64,iVBO\"",
        "data:image/gif;base64,AAAA",
        "data:image/png;base64,é",
    ] {
        assert_eq!(clean_icon(no_icon), None, "{no_icon}");
    }
}

#[test]
fn as_many_characters_are_kept_as_a_client_takes_however_many_bytes_these_are() {
    // What newer Forges say takes three bytes a character.
    let mods = "\u{4e2d}".repeat(30_000);
    let json = json!({ "version": { "name": "v" }, "favicon": ICON, "forgeData": { "d": mods } });
    let shown = over(&json, 47, &json!("zzz"), &[]);
    assert_eq!(shown["forgeData"]["d"], mods);
}

#[test]
fn of_what_is_too_long_the_longest_goes_and_the_rest_stays() {
    let json = json!({ "a": "m".repeat(20_000), "b": "m".repeat(10_000), "c": 1, "d": "m".repeat(60_000) });
    let (_, known) = read_json(&json).unwrap();
    let kept: Vec<_> = known
        .lasting
        .extras
        .iter()
        .map(|extra| &extra[..4])
        .collect();
    assert_eq!(kept, [r#""a":"#, r#""b":"#, r#""c":"#]);
    let shown = over(&json, 47, &json!("t".repeat(5_000)), &[]);
    assert_eq!(
        (shown["a"].is_null(), &shown["b"], &shown["c"]),
        (true, &json["b"], &json["c"])
    );
}

#[test]
fn what_no_client_would_take_for_an_object_is_no_status() {
    for text in ["", "[]", "7", "\"up\"", "{", "{\"a\":1", "<html>"] {
        let no_status = read_json(text);
        assert!(matches!(no_status, Err(NoStatus::NoObject)), "{text:?}");
        assert!(!is_status(&frame(text.as_bytes())), "{text:?}");
    }
    // Another packet, half a text, half a packet, and none.
    for packet in [
        &[2, 1, 0][..],
        &[4, 0, 9, b'{', b'}'],
        &[9, 0, 2, b'{', b'}'],
        &[0],
        &[],
    ] {
        let no_status = read(packet.to_vec());
        assert!(matches!(no_status, Err(NoStatus::Packet(_))), "{packet:?}");
    }
    for packet in [
        &[2, 1, 0][..],
        &[4, 0, 9, b'{', b'}'],
        &[0],
        &[9, 1, 7, b'{'],
        &[9, 0, 7, b'['],
        &[9, 0],
        &[],
    ] {
        assert!(!is_status(packet), "{packet:?}");
    }
    assert!(is_status(&[9, 0, 7, b' ', b'{']), "the beginning of one");
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
        json!({ "name": "1.20.1", "protocol": 763 })
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
        json!({ "version": null, "players": null, "favicon": format!("{ICON}\"") }),
    ] {
        assert_eq!(over(&json, 47, &text, &[]), own, "{json}");
    }
}

#[test]
fn nonsense_numbers_are_clamped_in_an_overlay_too() {
    let unknown = json!({ "version": { "protocol": "new" } });
    for (sent, told) in [(-1, 0), (769, 769), (i32::MAX, PROTOCOL_MAX)] {
        let shown = over(&unknown, sent, &json!("zzz"), &[]);
        assert_eq!(shown["version"]["protocol"], told);
        // Whatever it was, it is what the server shows.
        for seen in [-1, 0, 763, i32::MAX] {
            let json = json!({ "version": { "protocol": seen } });
            let shown = over(&json, sent, &json!("zzz"), &[]);
            assert_eq!(shown["version"]["protocol"], seen);
        }
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
fn what_a_client_would_not_take_goes_lines_first_then_the_icon_then_the_rest() {
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
    assert_eq!(shown(30_000, 10), [false, false, false]);
    assert_eq!(shown(30_000, 10_000), [false, false, false]);
}

#[test]
fn more_than_a_client_would_take_is_not_kept() {
    let (_, known) =
        read_json(&json!({ "modinfo": "m".repeat(40_000), "version": { "name": "v" } })).unwrap();
    assert_eq!(
        known.lasting.to_json(),
        r#"{"version":{"name":"v"},"players":{"max":0}}"#
    );
    let (_, known) = read_json(&json!({ "version": { "name": "v".repeat(40_000) } })).unwrap();
    assert!(known.lasting.to_json().len() < 100);
    let icon = format!("{ICON}{}", "A".repeat(ICON_BYTES_MAX));
    let (_, known) = read_json(&json!({ "favicon": icon })).unwrap();
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
        let outcome = read_json(&text);
        prop_assert_eq!(outcome.is_ok(), json.is_object());
        if let Ok((answer, known)) = outcome {
            prop_assert_eq!(text_of(answer.frame()), text);
            prop_assert_eq!(&Lasting::read(&known.lasting.to_json()).unwrap(), &known.lasting);
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
        let (_, known) = read_json(&json).unwrap();
        let frame = overlay(Some(&known), 47, &json!(long(text)), &[&long(hover)]);
        prop_assert!(text_of(&frame).encode_utf16().count() <= TEXT_CHARS_MAX);
    }

    #[test]
    fn whatever_is_taken_comes_out_as_it_came(
        json in any_json(), cut in any::<proptest::sample::Index>(), noise: [u8; 3], tail: Vec<u8>, padded: bool,
    ) {
        let mut text = json.to_string().into_bytes();
        let at = cut.index(text.len() + 1);
        text.splice(at..at, noise);
        // As `frame` makes it, with more behind the text, and a length of three bytes.
        let mut body = vec![0];
        varint::encode(i32::try_from(text.len()).unwrap(), &mut body);
        body.extend_from_slice(&text);
        body.extend_from_slice(&tail);
        let mut sent = Vec::new();
        varint::encode(i32::try_from(body.len()).unwrap(), &mut sent);
        if let (true, [short]) = (padded, &*sent) {
            sent = vec![short | 0x80, 0x80, 0];
        }
        sent.extend_from_slice(&body);
        let outcome = read(sent.clone());
        prop_assert_eq!(outcome.is_ok(), is_status(&sent));
        if let Ok((answer, known)) = outcome {
            prop_assert_eq!(answer.frame(), &sent[..]);
            let shown = text_of(&overlay(Some(&known), 47, &json!("zzz"), &[]));
            prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&shown).is_ok(), "{}", shown);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = (read(bytes.clone()), is_status(&bytes));
        let _ = read(frame(&bytes));
        let _ = read(frame(&[b"{", &*bytes, b"}"].concat()));
    }
}
