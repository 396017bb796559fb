//! `GET /openapi.json` and the handlers agree: no endpoint, method, status or field more or less.

use std::collections::{BTreeMap, BTreeSet};

use automc_router::api::paths;
use harness::events::Events;
use harness::http::Answer;
use harness::postgres::Postgres;
use harness::router::{RouterInside, Settings};
use hyper::Method;
use serde_json::{Value, json};

/// Requests that reach every method of every path: the path in the document, the path that is asked
/// for, what is sent, and the status due. In order, on one router.
const REQUESTS: &[(&str, &str, &str, &str, u16)] = &[
    ("GET", "/healthz", "/healthz", "", 200),
    ("GET", "/openapi.json", "/openapi.json", "", 200),
    ("GET", "/routes", "/routes", "", 200),
    ("POST", "/routes", "/routes", NEW_ROUTE, 201),
    ("POST", "/routes", "/routes", NEW_ROUTE_IN_GO, 201),
    ("POST", "/routes", "/routes", "{}", 400),
    ("POST", "/routes", "/routes", "", 400),
    ("GET", "/routes", "/routes", "", 200),
    ("GET", "/routes/{host}", "/routes/A.Example.", "", 200),
    ("GET", "/routes/{host}", "/routes/pg.example", "", 200),
    ("GET", "/routes/{host}", "/routes/none.example", "", 404),
    ("GET", "/routes/{host}", "/routes/s", "", 200),
    ("GET", "/routes/{host}", "/routes/off", "", 404),
    (
        "GET",
        "/routes/{host}",
        "/routes/off?include=excluded",
        "",
        200,
    ),
    ("GET", "/routes/{host}", "/routes/s?include=all", "", 400),
    ("GET", "/routes", "/routes?include=excluded", "", 200),
    ("GET", "/routes", "/routes?provider=none", "", 400),
    ("GET", "/routes/by-provider", "/routes/by-provider", "", 200),
    (
        "GET",
        "/routes/by-provider",
        "/routes/by-provider?limit=0",
        "",
        400,
    ),
    ("GET", "/routes/history", "/routes/history", "", 200),
    ("GET", "/routes/history", "/routes/history?after=x", "", 400),
    ("GET", "/providers", "/providers", "", 200),
    ("DELETE", "/routes/{host}", "/routes/A.example", "", 200),
    ("DELETE", "/routes/{host}", "/routes/a.example", "", 404),
    ("DELETE", "/routes/{host}", "/routes/pg.example", "", 409),
    ("GET", "/defaultRoute", "/defaultRoute", "", 404),
    ("DELETE", "/defaultRoute", "/defaultRoute", "", 404),
    ("POST", "/defaultRoute", "/defaultRoute", "{}", 400),
    (
        "POST",
        "/defaultRoute",
        "/defaultRoute",
        r#"{"backend":"h:3"}"#,
        200,
    ),
    ("GET", "/defaultRoute", "/defaultRoute", "", 200),
    ("GET", "/routes/{host}", "/routes/none.example", "", 404),
    ("DELETE", "/defaultRoute", "/defaultRoute", "", 200),
    ("GET", "/defaultRoute", "/defaultRoute", "", 404),
    ("GET", "/explain", "/explain?host=pg.example", "", 200),
    ("GET", "/explain", "/explain?host=none.example", "", 200),
    ("GET", "/explain", "/explain", "", 400),
    ("GET", "/servers", "/servers", "", 200),
    ("GET", "/health/routes", "/health/routes", "", 200),
    (
        "GET",
        "/health/routes",
        "/health/routes?detail=simple",
        "",
        200,
    ),
    ("GET", "/health/routes", "/health/routes?detail=no", "", 400),
    ("GET", "/sync", "/sync", "", 200),
    ("POST", "/sync/confirm", "/sync/confirm", "", 409),
    ("GET", "/metrics", "/metrics", "", 200),
    ("GET", "/vars", "/vars", "", 200),
    ("GET", "/readyz", "/readyz", "", 200),
];
const NEW_ROUTE: &str = r#"{"serverAddress":"a.example","backend":"h:1"}"#;
const NEW_ROUTE_IN_GO: &str = r#"{"ServerAddress":"b.example","Backend":"h:2"}"#;

/// The answer to `method` of `path` as the document has it, and what is wrong with the real one.
fn fault(document: &Value, method: &str, path: &str, answer: &Answer) -> Option<String> {
    let operation = &document["paths"][path][method.to_lowercase()];
    let status = answer.status.to_string();
    let Some(mut response) = operation["responses"].get(&status) else {
        return Some(format!("{status} is not documented"));
    };
    if let Some(name) = response["$ref"].as_str() {
        response = document.pointer(&name[1..]).unwrap();
    }
    let Some(content) = response.get("content") else {
        return (!answer.body.is_empty()).then(|| "there is a body".to_owned());
    };
    let (kind, content) = content.as_object().unwrap().iter().next().unwrap();
    let sent = answer.header("content-type").unwrap_or_default();
    if !sent.starts_with(kind.as_str()) {
        return Some(format!("it is {sent:?}, not {kind}"));
    }
    let value = if kind == "application/json" {
        answer.json().unwrap()
    } else {
        json!(answer.body)
    };
    let schema = json!({
        "$ref": content["schema"]["$ref"].as_str().unwrap_or("#/of"),
        "of": content["schema"],
        "components": document["components"],
    });
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<_> = validator
        .iter_errors(&value)
        .map(|error| error.to_string())
        .collect();
    (!errors.is_empty()).then(|| errors.join("; "))
}

async fn document(router: &RouterInside) -> Value {
    let answer = router
        .at
        .api(Method::GET, "/openapi.json", "")
        .await
        .unwrap();
    answer.json().unwrap()
}

#[tokio::test]
async fn every_answer_is_one_that_the_document_has() {
    let database = Postgres::shared().await.unwrap().database().await.unwrap();
    let sql = database.client().await.unwrap();
    let insert = "INSERT INTO servers (name, domain, address, enabled) VALUES
        ('s', 'pg.example', 'h:1', true), ('off', 'off.example', 'h:1', false)";
    sql.batch_execute(insert).await.unwrap();
    let router = RouterInside::start(Settings::new().database(&database)).unwrap();
    let deadline = std::time::Duration::from_secs(20);
    router.at.has("pg.example", deadline).await.unwrap();
    let document = document(&router).await;

    let mut reached = BTreeSet::new();
    for (method, path, asked, body, status) in REQUESTS {
        let by = Method::from_bytes(method.as_bytes()).unwrap();
        let answer = router.at.api(by, asked, body).await.unwrap();
        let told = format!("{method} {asked} {body}: {answer:?}");
        assert_eq!(answer.status, *status, "{told}");
        assert_eq!(fault(&document, method, path, &answer), None, "{told}");
        reached.insert(((*path).to_owned(), method.to_lowercase()));
    }
    for (last, status) in [(None, 200), (Some("x"), 400)] {
        let events = Events::open(router.at.api, last).await.unwrap();
        let answer = events.first().await.unwrap();
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(fault(&document, "GET", "/events", &answer), None);
        reached.insert(("/events".to_owned(), "get".to_owned()));
    }
    let documented = methods(&document).into_iter();
    let documented = documented.flat_map(|(path, methods)| {
        let methods = methods.into_iter();
        methods.map(move |method| (path.clone(), method))
    });
    assert_eq!(documented.collect::<BTreeSet<_>>(), reached);
}

/// The methods of every path in the document.
fn methods(document: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let paths = document["paths"].as_object().unwrap().iter();
    let methods = |item: &Value| {
        let methods = item.as_object().unwrap().keys();
        methods
            .filter(|key| *key != "parameters")
            .cloned()
            .collect()
    };
    paths
        .map(|(path, item)| (path.clone(), methods(item)))
        .collect()
}

#[tokio::test]
async fn every_path_and_method_there_is_is_in_the_document() {
    let router = RouterInside::start(Settings::new()).unwrap();
    let mut real = BTreeMap::new();
    for path in paths() {
        let refused = router.at.api(Method::TRACE, path, "").await.unwrap();
        assert_eq!(refused.status, 405, "TRACE {path}");
        let allowed = refused.header("allow").unwrap().split(',');
        // HEAD comes with GET by itself.
        let allowed = allowed
            .map(str::to_lowercase)
            .filter(|method| method != "head");
        real.insert(path.to_owned(), allowed.collect());
    }
    assert_eq!(methods(&document(&router).await), real);
}

#[tokio::test]
async fn what_the_document_does_not_have_is_found() {
    let router = RouterInside::start(Settings::new()).unwrap();
    let document = document(&router).await;
    let answer = router.at.api(Method::GET, "/sync", "").await.unwrap();
    assert_eq!(fault(&document, "GET", "/sync", &answer), None);

    let changed = |change: fn(&mut Answer)| {
        let mut answer = answer.clone();
        change(&mut answer);
        fault(&document, "GET", "/sync", &answer).is_some()
    };
    assert!(changed(|answer| answer.status = 204));
    assert!(changed(
        |answer| answer.body = answer.body.replace("rows", "lines")
    ));
    assert!(changed(
        |answer| answer.body = answer.body.replace("false", "0")
    ));
    assert!(changed(|answer| answer.headers.clear()));
    assert!(
        fault(
            &document,
            "POST",
            "/routes",
            &Answer {
                status: 201,
                ..answer.clone()
            }
        )
        .is_some()
    );
}
