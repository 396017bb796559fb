use super::*;
use crate::protocol::status::frame;
use crate::shared_str::SharedStr;
use crate::status::answer::read;
use proptest::prelude::*;

const ICON: &str = "data:image/png;base64,iVBORw0KGgo=";

fn known(version: &str, icon: Option<&str>) -> Known {
    // With the character that `jsonb` does not take.
    let json = json!({
        "version": { "name": version }, "players": { "max": 20 }, "favicon": icon,
        "forgeData": { "d": "\u{5}\u{0}" },
    });
    read(frame(json.to_string().as_bytes())).unwrap().1
}

/// The same with a protocol number.
fn shows(number: i32) -> Known {
    let protocol = Some(number);
    Known {
        protocol,
        ..known("v", None)
    }
}

/// The number that is shown to whoever asks with `protocol`, before and after it was on disk.
fn shown(model: &Model, protocol: i32) -> Option<i32> {
    let back = Model::read(&model.to_json(), u64::MAX, &mut Vec::new()).unwrap();
    let shown = model.last_known("a", protocol).unwrap().protocol;
    assert_eq!(back.last_known("a", protocol).unwrap().protocol, shown);
    shown
}

#[test]
fn a_server_of_one_version_is_shown_with_it_to_all() {
    let (mut model, key) = (Model::default(), key("a"));
    for asked in [763, -1, 769, 47, 5] {
        model.remember_status(&key, asked, &shows(763), 1);
        for protocol in [-1, 47, 763, 769, 0x4000_0105] {
            assert_eq!(shown(&model, protocol), Some(763), "{asked} {protocol}");
        }
    }
    assert_eq!(model.servers["a"].statuses.len(), 1);
    // It is another version now, and only its own clients have seen it.
    model.remember_status(&key, 769, &shows(769), 2);
    for (protocol, number) in [(-1, 769), (769, 769), (47, 769)] {
        assert_eq!(shown(&model, protocol), Some(number));
    }
}

#[test]
fn a_server_that_shows_everybody_their_own_number_is_shown_with_it() {
    let (mut model, key) = (Model::default(), key("a"));
    assert!(model.remember_status(&key, -1, &shows(-1), 1));
    assert_eq!(shown(&model, -1), Some(-1));
    assert_eq!(shown(&model, 769), None);
    assert!(model.remember_status(&key, 763, &shows(763), 2));
    assert_eq!(shown(&model, -1), Some(763));
    assert_eq!(
        shown(&model, 769),
        Some(763),
        "perhaps it has that one only"
    );
    assert!(model.remember_status(&key, 769, &shows(769), 3));
    for protocol in [47, 763, 769] {
        assert_eq!(shown(&model, protocol), Some(protocol));
    }
    assert_eq!(shown(&model, -1), Some(769));
    // That is no news for the file.
    for protocol in 0..100 {
        assert!(!model.remember_status(&key, protocol, &shows(protocol), 4));
    }
    // Until it speaks one version again.
    assert!(model.remember_status(&key, 47, &shows(763), 5));
    assert_eq!(shown(&model, 47), Some(763));
}

#[test]
fn a_number_that_is_a_text_of_its_own_is_shown_to_clients_as_it_was_seen() {
    let (mut model, key) = (Model::default(), key("a"));
    model.remember_status(&key, 769, &shows(-1), 1);
    assert_eq!(shown(&model, 769), Some(-1));
    assert_eq!(shown(&model, -1), Some(-1));
}

#[test]
fn what_was_written_before_numbers_were_has_none() {
    let status = json!({ "protocol": 47, "at": 5, "status": known("v", None).lasting.to_json() });
    let json = json!({ "version": 1, "servers": { "a": { "statuses": [status] } } });
    let model = Model::read(&json.to_string(), 100, &mut Vec::new()).unwrap();
    assert_eq!(shown(&model, 47), None);
    assert_eq!(shown(&model, -1), None);
}

fn key(name: &str) -> SharedStr {
    name.into()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_status_is_known_by_its_protocol_or_else_the_latest() {
    let (mut model, key) = (Model::default(), key("a"));
    assert_eq!(model.last_known("a", 47), None);
    assert!(model.remember_status(&key, 47, &known("old", Some(ICON)), 1));
    assert!(model.remember_status(&key, 769, &known("new", Some(ICON)), 2));
    assert_eq!(model.last_known("a", 47), Some(known("old", Some(ICON))));
    assert_eq!(model.last_known("a", 769), Some(known("new", Some(ICON))));
    assert_eq!(model.last_known("a", 5), Some(known("new", Some(ICON))));
    assert_eq!(model.last_known("b", 5), None);
    // The icon is the server's, whoever saw it.
    assert!(model.remember_status(&key, 47, &known("old", None), 3));
    assert_eq!(model.last_known("a", 769), Some(known("new", None)));
}

#[test]
fn what_is_the_same_for_all_is_kept_once_and_written_once() {
    let (mut model, key) = (Model::default(), key("a"));
    assert!(model.remember_status(&key, 47, &known("v", None), 1));
    for protocol in 0..100 {
        assert!(!model.remember_status(&key, protocol, &known("v", None), 2));
    }
    assert_eq!(model.servers["a"].statuses.len(), 1);
    assert!(model.take_unsaved().is_some());
    assert!(model.take_unsaved().is_none());
    model.not_saved();
    assert!(model.take_unsaved().is_some());
}

#[test]
fn protocols_and_starts_are_bounded_and_the_latest_stay() {
    let (mut model, key) = (Model::default(), key("a"));
    for number in 0..20 {
        let version = number.to_string();
        model.remember_status(&key, number, &known(&version, None), 7);
        model.remember_start(&key, seconds(u64::try_from(number).unwrap()), 7);
        assert_eq!(model.last_known("a", number), Some(known(&version, None)));
    }
    assert_eq!(model.servers["a"].statuses.len(), STATUSES_MAX);
    assert_eq!(model.starts("a"), (12..20).map(seconds).collect::<Vec<_>>());
    model.remember_start(&key, Duration::MAX, 8);
    assert_eq!(
        model.starts("a")[7],
        Duration::from_millis(u64::from(u32::MAX))
    );
}

#[test]
fn servers_are_bounded_and_those_with_the_oldest_news_go() {
    let mut model = Model::default();
    for number in 0..SERVERS_MAX + 3 {
        let now = u64::try_from(number).unwrap();
        model.remember_start(&key(&format!("s{number}")), seconds(1), now);
    }
    assert_eq!(model.servers.len(), SERVERS_MAX);
    assert!(model.starts("s2").is_empty());
    assert_eq!(model.starts("s3"), [seconds(1)]);
}

#[test]
fn bytes_are_bounded_and_counted_well() {
    let icon = format!("{ICON}{}", "A".repeat(60_000));
    let (mut model, count) = (Model::default(), 600);
    for number in 0..count {
        let key = key(&format!("s{number}"));
        model.remember_status(&key, 47, &known("v", Some(&icon)), number);
        model.remember_status(&key, 47, &known("w", Some(&icon)), number);
    }
    assert!(model.bytes <= BYTES_MAX && model.to_json().len() <= BYTES_MAX);
    assert!(model.servers.len() > 400, "{}", model.servers.len());
    assert_eq!(model.last_known("s0", 47), None);
    assert!(model.last_known(&format!("s{}", count - 1), 47).is_some());
    let counted: usize = model
        .servers
        .iter()
        .map(|(key, server)| key_bytes(key) + server.bytes())
        .sum();
    assert_eq!(model.bytes, counted);
}

#[test]
fn a_broken_entry_is_left_out_and_nothing_else() {
    let good = known("v", Some(ICON)).lasting.to_json();
    let status = json!({ "protocol": 47, "at": 5, "status": good });
    let json = json!({ "version": 1, "later": true, "servers": {
        "good": { "statuses": [status], "icon": { "at": 5, "data": ICON }, "starts": { "at": 9, "millis": [1, 2] } },
        "half": { "statuses": [status, { "protocol": "x" }], "icon": 7, "starts": { "at": 9, "millis": [-1] } },
        "none": 7,
        "a\nb": { "statuses": [status] },
        "": { "statuses": [status] },
        "empty": {},
        "far": { "statuses": [{ "protocol": 1_u64 << 40, "at": 5, "status": good }, { "protocol": 1, "at": 5, "status": "[" }] },
    } });
    let mut broken = Vec::new();

    let model = Model::read(&json.to_string(), 100, &mut broken).unwrap();

    let mut servers: Vec<_> = model.servers.keys().map(SharedStr::as_str).collect();
    servers.sort_unstable();
    assert_eq!(servers, ["good", "half"]);
    assert_eq!(model.last_known("good", 47), Some(known("v", Some(ICON))));
    assert_eq!(model.starts("good"), [1, 2].map(Duration::from_millis));
    assert_eq!(model.last_known("half", 47), Some(known("v", None)));
    assert!(model.starts("half").is_empty());
    for name in ["half", "none", "a\\nb", "far"] {
        assert!(
            broken
                .iter()
                .any(|line| line.contains(&format!("\"{name}\""))),
            "{name}: {broken:?}"
        );
    }
    assert!(
        !broken
            .iter()
            .any(|line| line.contains("good") || line.contains("empty")),
        "{broken:?}"
    );
}

#[test]
fn what_is_something_else_is_refused_as_a_whole() {
    for text in [
        "",
        "{}",
        "[]",
        r#"{"version":2,"servers":{}}"#,
        r#"{"version":1}"#,
        r#"{"version":1,"servers":[]}"#,
    ] {
        assert!(Model::read(text, 1, &mut Vec::new()).is_err(), "{text}");
    }
}

#[test]
fn a_clock_that_was_ahead_does_not_hold_its_news_for_ever() {
    let mut ahead = Model::default();
    ahead.remember_status(&key("a"), 47, &known("ahead", None), u64::MAX);
    let mut model = Model::read(&ahead.to_json(), 100, &mut Vec::new()).unwrap();
    model.remember_status(&key("a"), 47, &known("now", None), 101);
    model.merge_file(Model::read(&ahead.to_json(), 100, &mut Vec::new()).unwrap());
    assert_eq!(model.last_known("a", 47), Some(known("now", None)));
}

#[test]
fn only_what_the_database_does_not_have_is_written_to_it() {
    let (mut model, key) = (Model::default(), key("a"));
    model.remember_status(&key, 47, &known("v", None), 5);
    let batch = model.take_changed(100, 1 << 20);
    assert_eq!(batch.len(), 1);
    assert!(!model.has_changed() && model.take_changed(100, 1 << 20).is_empty());
    model.not_written("a");
    assert!(model.has_changed());

    let row = |json: &str| {
        Server::read(
            "a",
            &serde_json::from_str(json).unwrap(),
            100,
            &mut Vec::new(),
        )
        .unwrap()
    };
    model.merge_row(&key, &row(&batch[0].1));
    assert!(!model.has_changed(), "it has it all");
    // Learnt again later, which is no news.
    model.remember_status(&key, 47, &known("v", None), 50);
    model.merge_row(&key, &row(&batch[0].1));
    assert!(!model.has_changed());
    model.remember_status(&key, 47, &known("w", None), 60);
    model.merge_row(&key, &row(&batch[0].1));
    assert!(model.has_changed(), "it has the older one");
    assert_eq!(model.last_known("a", 47), Some(known("w", None)));
}

#[test]
fn batches_are_bounded_and_everybodys_turn_comes() {
    let mut model = Model::default();
    for number in 0..25 {
        model.remember_start(&key(&format!("s{number}")), seconds(1), 1);
    }
    let mut sizes = Vec::new();
    while let size @ 1.. = model.take_changed(10, 1 << 20).len() {
        sizes.push(size);
    }
    assert_eq!(sizes, [10, 10, 5]);
    model.not_written("s1");
    model.not_written("s2");
    assert_eq!(model.take_changed(10, 1).len(), 1, "one in any case");
    assert_eq!(model.take_changed(10, 1).len(), 1);
}

fn models() -> impl Strategy<Value = Model> {
    let event = (
        0..3_u32,
        0..6_i32,
        0..4_u32,
        any::<bool>(),
        0..6_u64,
        any::<bool>(),
    );
    proptest::collection::vec(event, 0..20).prop_map(|mut events| {
        // Clocks go forwards.
        events.sort_by_key(|event| event.4);
        let mut model = Model::default();
        for (name, protocol, version, icon, now, start) in events {
            let key = key(&format!("s{name}"));
            if start {
                model.remember_start(&key, seconds(u64::from(version)), now);
            } else {
                let mut known = known(&version.to_string(), icon.then_some(ICON));
                known.protocol = [None, Some(protocol), Some(3)][version as usize % 3];
                model.remember_status(&key, protocol, &known, now);
            }
        }
        // What came within one second is in the order of a merge.
        merged(&Model::default(), &model)
    })
}

/// As it is on disk, where what is still to be written does not count.
fn saved(model: &Model) -> Value {
    serde_json::from_str(&model.to_json()).unwrap()
}

fn merged(one: &Model, other: &Model) -> Model {
    let mut model = one.clone();
    model.merge_file(other.clone());
    model
}

proptest! {
    #[test]
    fn everything_comes_back_from_json(model in models()) {
        let mut broken = Vec::new();
        let back = Model::read(&model.to_json(), u64::MAX, &mut broken).unwrap();
        prop_assert_eq!(saved(&back), saved(&model));
        prop_assert_eq!(back.bytes, model.bytes);
        prop_assert_eq!(broken, Vec::<String>::new());
        // `jsonb` does not take U+0000.
        prop_assert!(!model.to_json().replace("\\\\u0000", "").contains("\\u0000"));
    }

    #[test]
    fn it_does_not_matter_who_is_merged_into_whom(one in models(), two in models(), three in models()) {
        prop_assert_eq!(saved(&merged(&one, &two)), saved(&merged(&two, &one)));
        prop_assert_eq!(saved(&merged(&one, &one)), saved(&one));
        let (left, right) = (merged(&merged(&one, &two), &three), merged(&one, &merged(&two, &three)));
        prop_assert_eq!(saved(&left), saved(&right));
    }

    #[test]
    fn arbitrary_texts_never_panic(text: String) {
        let _ = Model::read(&text, 1, &mut Vec::new());
        let _ = Model::read(&format!(r#"{{"version":1,"servers":{{"a":{text}}}}}"#), 1, &mut Vec::new());
    }
}
