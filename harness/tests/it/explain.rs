//! `GET /explain` and `automc-router explain`: why a host name leads where it does, or nowhere.

use std::time::Duration;

use harness::engine::fake::{FakeEngine, container};
use harness::postgres::{Database, Postgres};
use harness::router::{RouterInside, Settings};
use hyper::Method;
use serde_json::{Value, json};

use crate::binary::ran;

const DEADLINE: Duration = Duration::from_secs(60);

const ROWS: &str = "INSERT INTO servers (name, domain, aliases, address, enabled) VALUES
    ('a', 'A.Example.', NULL, '10.0.0.1:1', NULL),
    ('b', 'b.example', 'a.example', '10.0.0.2:1', NULL),
    ('off', 'off.example', NULL, '10.0.0.3:1', false),
    ('bad', 'bad.example', NULL, 'no-port', NULL),
    ('star', '*.play.example', NULL, '$1.internal:1', NULL)";

async fn database() -> Database {
    let database = Postgres::shared().await.unwrap().database().await.unwrap();
    let sql = database.client().await.unwrap();
    sql.batch_execute(ROWS).await.unwrap();
    database
}

/// What the running router says, its state's age aside.
async fn asked(router: &RouterInside, host: &str) -> Value {
    let path = format!("/explain?host={host}");
    let answer = router.at.api(Method::GET, &path, "").await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json().unwrap()
}

/// Runs the command; its exit code and what it prints.
async fn run(host: &str, settings: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = ran(&["explain", host], settings).await;
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

/// The lines of a running router, as the command prints them; but for what only a running one knows.
fn lines(explanation: &Value) -> Vec<String> {
    let steps = explanation["steps"].as_array().unwrap().iter();
    let known = |step: &&Value| step["step"] == "server" || step["step"] == "health";
    let steps = steps.filter(|step| !known(step));
    let line = |step: &Value| {
        let text = |key| step[key].as_str().unwrap().to_owned();
        format!("{:<9} {}", text("step"), text("text"))
    };
    steps.map(line).collect()
}

#[tokio::test]
async fn the_command_line_and_the_api_explain_alike() {
    let database = database().await;
    let mapping = "fixed.example=10.0.0.9:1";
    let settings = Settings::new()
        .database(&database)
        .flag(format!("--mapping={mapping}"));
    let router = RouterInside::start(settings).unwrap();
    router.at.has("b.example", DEADLINE).await.unwrap();
    let dsn = database.dsn();
    for (host, kind, words) in [
        ("A.EXAMPLE.", "exact", "\"b\""),
        ("fixed.example", "exact", "configuration"),
        ("off.example", "none", "disabled"),
        ("bad.example", "none", "no port"),
        ("x.play.example", "wildcard", "x.internal:1"),
        ("x.y.play.example", "none", "does not match"),
        ("star", "none", "called so"),
    ] {
        let explanation = asked(&router, host).await;
        let (code, printed) = run(host, &[("AUTOMC_DSN", &dsn), ("MAPPING", mapping)]).await;
        assert_eq!(explanation["match"]["kind"], kind, "{explanation}");
        assert_eq!(code, Some(0), "{printed}");
        assert!(printed.contains(words), "no {words:?} in {printed}");
        for line in lines(&explanation) {
            assert!(
                printed.lines().any(|known| known == line),
                "no {line:?} in {printed}"
            );
        }
        assert!(!printed.contains("FAIL"), "{printed}");
    }
}

#[tokio::test]
async fn a_login_is_foretold_as_it_comes_about() {
    let router = RouterInside::start(Settings::new().flag("--default=10.0.0.1:1")).unwrap();
    let explanation = asked(&router, "x.example%00FML3%00").await;
    assert_eq!(explanation["host"], "x.example");
    assert_eq!(explanation["match"], json!({ "kind": "default" }));
    assert_eq!(explanation["route"]["backend"], "10.0.0.1:1");
    let steps = explanation["steps"].as_array().unwrap();
    assert!(
        steps.iter().any(|step| step["step"] == "health"),
        "{explanation}"
    );
    assert!(explanation["route"]["health"].is_string(), "{explanation}");
    assert_eq!(explanation["login"], json!(["dial", "kick"]));
}

#[tokio::test]
async fn what_no_client_can_send_is_refused() {
    let router = RouterInside::start(Settings::new()).unwrap();
    let long = format!("?host={}", "a".repeat(8 * 1024 + 1));
    for query in ["", "?hos=a", "?host=%ff", &long] {
        let path = format!("/explain{query}");
        let answer = router.at.api(Method::GET, &path, "").await.unwrap();
        assert_eq!(answer.status, 400, "{answer:?}");
    }
    let path = format!("/explain?host={}", "a".repeat(8 * 1024));
    let answer = router.at.api(Method::GET, &path, "").await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body.len() < 4 * 1024, "{answer:?}");
}

#[tokio::test]
async fn a_source_that_cannot_be_read_is_told_and_the_others_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("routes.json");
    std::fs::write(&file, "nonsense").unwrap();
    let file = file.to_str().unwrap();
    let dsn = "postgres://user:s3cret@127.0.0.1:1/none";
    let mapping = "a.example=10.0.0.1:1";
    let settings = [
        ("AUTOMC_DSN", dsn),
        ("ROUTES_CONFIG", file),
        ("MAPPING", mapping),
    ];
    let (code, printed) = run("a.example", &settings).await;
    assert_eq!(code, Some(1), "{printed}");
    let failed: Vec<_> = printed
        .lines()
        .filter(|line| line.starts_with("FAIL"))
        .collect();
    assert_eq!(failed.len(), 2, "{printed}");
    assert!(
        failed[0].contains("routes.json") && failed[1].contains("postgres"),
        "{printed}"
    );
    assert!(printed.contains("leads to 10.0.0.1:1"), "{printed}");
    assert!(!printed.contains("s3cret"), "{printed}");
}

#[tokio::test]
async fn a_table_that_cannot_be_followed_is_told_of() {
    let dsn = "postgres://user:s3cret@127.0.0.1:1/none";
    let router = RouterInside::start(Settings::new().env("AUTOMC_DSN", dsn)).unwrap();
    let explanation = asked(&router, "a.example").await;
    assert_eq!(explanation["steps"][1]["step"], "sources", "{explanation}");
    let text = explanation["steps"][1]["text"].as_str().unwrap();
    assert!(text.contains("was not read yet"), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
}

#[tokio::test]
async fn flags_may_stand_anywhere_and_what_is_wrong_is_named() {
    let mapping = ["--mapping", "a.example=10.0.0.1:1"];
    let [flag, value] = mapping;
    let (short, tied) = (&flag[1..], format!("{flag}={value}"));
    for line in [
        &[flag, value, "explain", "a.example"][..],
        &["explain", flag, value, "a.example"],
        &["explain", "a.example", flag, value],
        &["explain", "a.example", short, value, "--debug"],
        &["explain", "--debug", "a.example", &tied],
    ] {
        let output = ran(line, &[]).await;
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{line:?}: {printed}");
        assert!(printed.contains("leads to 10.0.0.1:1"), "{printed}");
    }
    for (line, named) in [
        (&["explain"][..], &["<HOST>"][..]),
        (&["explain", "a.example", "b.example"], &["'b.example'"]),
        (
            &["explain", "a", "--maping", value],
            &["'--maping'", "'--mapping'"],
        ),
        (
            &["explain", "a", "--port"],
            &["value is required", "'--port "],
        ),
        (&["explain", "a", "--port", "high"], &["--port", "\"high\""]),
        (
            &["explain", "a", "--config", "/no.toml"],
            &["--config", "/no.toml"],
        ),
        (&["check-db", "--fixx"], &["'--fixx'", "'check-db --fix'"]),
    ] {
        let output = ran(line, &[]).await;
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{line:?}: {error}");
        for named in named {
            assert!(error.contains(named), "{line:?}: {error}");
        }
    }
}

#[tokio::test]
async fn a_wrong_password_and_a_file_that_is_not_there_are_named() {
    let database = database().await;
    let dsn = database.dsn();
    let (begin, end) = dsn.split_once('@').unwrap();
    let (user, _) = begin.rsplit_once(':').unwrap();
    let wrong = format!("{user}:s3cret@{end}");
    let settings = [
        ("AUTOMC_DSN", &*wrong),
        ("ROUTES_CONFIG", "/no/routes.json"),
    ];
    let output = ran(&["explain", "a.example"], &settings).await;
    assert_eq!(output.status.code(), Some(1));
    let [printed, logged] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    for (mark, named) in [
        ("warn ", "/no/routes.json is not there"),
        ("FAIL ", "password authentication failed"),
    ] {
        let mut lines = printed.lines();
        let found = lines.any(|line| line.starts_with(mark) && line.contains(named));
        assert!(found, "no {named:?} in {printed}");
    }
    assert!(!printed.contains("s3cret") && !logged.contains("s3cret"));
}

#[tokio::test]
async fn containers_are_asked_for_once_and_an_engine_that_is_not_there_is_told_of() {
    let running = container("box", "box.example", "127.0.0.1", 1);
    let engine = FakeEngine::start(&[running]).await.unwrap();
    let socket = engine.socket();
    let folder = tempfile::tempdir().unwrap();
    let players = folder.path().join("players.json");
    std::fs::write(&players, "{}").unwrap();
    let players = players.to_str().unwrap();
    let set = [
        ("IN_DOCKER", "true"),
        ("DOCKER_SOCKET", &socket),
        ("AUTO_SCALE_ALLOW_DENY", players),
        ("CLIENTS_TO_DENY", "192.0.2.1"),
    ];
    let settings = set.iter().fold(Settings::new(), |settings, (name, value)| {
        settings.env(name, *value)
    });
    let router = RouterInside::start(settings).unwrap();
    router.at.has("box.example", DEADLINE).await.unwrap();
    let explanation = asked(&router, "Box.example").await;
    drop(router);
    let (lists, events) = (engine.asked("/containers/json"), engine.asked("/events"));

    let (code, printed) = run("Box.example", &set).await;

    assert_eq!(code, Some(0), "{printed}");
    let lines = lines(&explanation);
    assert!(lines.iter().any(|line| line.starts_with("admission ")));
    for line in lines {
        assert!(
            printed.lines().any(|known| known == line),
            "no {line:?} in {printed}"
        );
    }
    let health = "health    a running router knows";
    assert!(printed.contains(health), "{printed}");
    let asked = (engine.asked("/containers/json"), engine.asked("/events"));
    assert_eq!(asked, (lists + 1, events));

    drop(engine);
    std::fs::write(players, "nonsense").unwrap();
    let (code, printed) = run("box.example", &set).await;
    assert_eq!(code, Some(1), "{printed}");
    for named in [
        &format!("FAIL  docker: {socket}: "),
        "FAIL  auto_scale_allow_deny: ",
    ] {
        assert!(printed.contains(named), "no {named:?} in {printed}");
    }
    assert!(
        printed.contains("no route has \"box.example\""),
        "{printed}"
    );
}
