use super::*;
use proptest::prelude::*;

fn parse(json: &str) -> Result<RoutesFile, String> {
    RoutesFile::parse(json.as_bytes(), Names::default()).map_err(|problems| problems.to_string())
}

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

fn addr(text: &str) -> BackendAddr {
    BackendAddr::parse(text).unwrap()
}

#[test]
fn what_mc_router_writes_is_read() {
    let json =
        r#"{"default-server":"lobby:25565","mappings":{"A.example.":"a:1","b.example":"b:2"}}"#;
    let file = parse(json).unwrap();
    let expected = [("a.example", "a:1"), ("b.example", "b:2")];
    let expected = expected.map(|(name, backend)| (host(name), addr(backend)));
    assert_eq!(file.mappings, BTreeMap::from(expected));
    assert_eq!(file.default, Some(addr("lobby:25565")));

    for nothing in [
        "{}",
        r#"{"default-server":"","mappings":{}}"#,
        r#"{"default-server":null,"mappings":null}"#,
    ] {
        assert_eq!(parse(nothing), Ok(RoutesFile::default()), "{nothing}");
    }
}

#[test]
fn everything_wrong_is_told_at_once_and_by_name() {
    let problems = parse(
        r#"{"default-server":"lobby","mappings":{"":"a:1","a b":"a:1","a.example":"a",
            "b.example":7,"c.example":"","d.example":"d:1"}}"#,
    );
    let problems = problems.unwrap_err();
    for named in [
        r#"default-server: the address "lobby" has no port"#,
        r#"mappings: "": the host name is empty"#,
        r#"mappings: "a b": "#,
        r#"mappings: "a.example": the address "a" has no port"#,
        r#"mappings: "b.example": the backend is not a text"#,
        r#"mappings: "c.example": the address is empty"#,
    ] {
        assert!(problems.contains(named), "{named} in {problems}");
    }
    assert!(!problems.contains("d.example"), "{problems}");
}

#[test]
fn what_is_no_routes_file_is_refused_in_few_words() {
    let long = format!(r#"{{"mappings":"{}"}}"#, "x".repeat(100_000));
    let deep = "[".repeat(100_000);
    for json in [
        "",
        "{",
        "[]",
        "7",
        "{} {}",
        "{\"mappings\":[]}",
        "\u{feff}{}",
        &long,
        &deep,
    ] {
        let problem = parse(json).unwrap_err();
        assert!(problem.contains("JSON"), "{problem}");
        assert!(problem.len() < 300, "{problem}");
    }
    let entry = |number| format!(r#""{} {number}":"""#, "x".repeat(10_000));
    let entries: Vec<_> = (0..200).map(entry).collect();
    let problem = parse(&format!(r#"{{"mappings":{{{}}}}}"#, entries.join(","))).unwrap_err();
    assert!(problem.ends_with("and 180 more"), "{problem}");
    assert!(problem.len() < 20_000, "{}", problem.len());
}

#[test]
fn what_is_over_a_bound_is_refused() {
    let entry = |number| format!(r#""h{number}":"h:1""#);
    let entries: Vec<_> = (0..=STATIC_ROUTES_MAX).map(entry).collect();
    let json = format!(r#"{{"mappings":{{{}}}}}"#, entries.join(","));
    assert_eq!(parse(&json).unwrap_err(), Full.to_string());
    let fitting = json.replacen(r#""h0":"h:1","#, "", 1);
    let mut full = parse(&fitting).unwrap();

    let one_more = Edit::Set(host("one.example"), addr("h:1"));
    assert_eq!(full.apply(&one_more), Err(Full));
    assert_eq!(full.apply(&Edit::Set(host("h1"), addr("h:2"))), Ok(true));

    let large = " ".repeat(BYTES_MAX + 1);
    assert!(parse(&large).unwrap_err().contains("larger"));
}

/// In mc-router, one of them wins by chance.
#[test]
fn two_spellings_of_one_host_are_refused_unless_they_agree() {
    let twice =
        |backend| format!(r#"{{"mappings":{{"A.example":"a:1","a.example.":"{backend}"}}}}"#);
    assert_eq!(parse(&twice("a:1")).unwrap().mappings.len(), 1);
    let problem = parse(&twice("b:1")).unwrap_err();
    for named in ["\"a.example.\"", "twice", "a:1", "b:1"] {
        assert!(problem.contains(named), "{named} in {problem}");
    }
    assert!(parse(r#"{"mappings":{"a":"a:1","a":"b:1"}}"#).is_err());

    let json = br#"{"mappings":{"_minecraft._tcp.a.example":"a:1","a.example":"b:1"}}"#;
    let names = Names { simplify_srv: true };
    assert!(RoutesFile::parse(json, names).is_err());
    assert!(RoutesFile::parse(json, Names::default()).is_ok());
}

#[test]
fn keys_that_mean_nothing_are_kept_and_told() {
    let mut file = parse(r#"{"_comment":["mine"],"mapping":{},"mappings":{}}"#).unwrap();
    assert_eq!(file.unknown().as_deref(), Some("_comment, mapping"));
    file.apply(&Edit::Default(Some(addr("a:1")))).unwrap();
    let again = parse(&file.to_json()).unwrap();
    assert_eq!(again.others["_comment"][0], "mine");
    assert_eq!(again, file);
    assert_eq!(parse("{}").unwrap().unknown(), None);
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(
        mappings in proptest::collection::btree_map("[a-z0-9][a-z0-9.-]{0,20}[a-z]", "[a-z]{1,5}:[1-9][0-9]{0,3}", 0..20),
        default in proptest::option::of("[a-z]{1,5}:[1-9][0-9]{0,3}"),
    ) {
        let file = RoutesFile {
            mappings: mappings.iter().map(|(name, backend)| (host(name), addr(backend))).collect(),
            default: default.as_deref().map(addr),
            ..RoutesFile::default()
        };
        prop_assert_eq!(parse(&file.to_json()), Ok(file));
    }

    #[test]
    fn any_bytes_are_a_file_or_a_reason(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Err(problems) = RoutesFile::parse(&bytes, Names::default()) {
            prop_assert!(!problems.to_string().is_empty());
        }
    }
}
