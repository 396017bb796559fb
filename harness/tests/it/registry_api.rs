//! What the API tells of the registry: routes in detail, sources, history.

use std::time::Duration;

use harness::eventually::eventually;
use harness::postgres::{Database, Postgres};
use harness::router::{RouterInside, Settings};
use hyper::Method;
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(20);

const ROWS: &str = "INSERT INTO servers (name, domain, aliases, address, enabled, state) VALUES
    ('a', 'a.example', 'b.example,*.a.example', '10.0.0.1:1', NULL, 'stopped'),
    ('lost', 'fixed.example', NULL, '10.0.0.2:1', NULL, 'running'),
    ('off', 'off.example', 'b.example', '10.0.0.3:1', false, 'stopped'),
    ('wrong', 'wrong.example', NULL, 'no-port', NULL, 'stopped')";

async fn database() -> Database {
    let database = Postgres::shared().await.unwrap().database().await.unwrap();
    run(&database, ROWS).await;
    database
}

async fn run(database: &Database, sql: &str) {
    let client = database.client().await.unwrap();
    client.batch_execute(sql).await.unwrap();
}

/// Routes from the table, and two of the configuration.
async fn router(database: &Database) -> RouterInside {
    let settings = Settings::new().database(database);
    let settings = settings.flag("--mapping=fixed.example=[::1]:25565");
    let router = RouterInside::start(settings.flag("--default=lobby:1")).unwrap();
    router.at.has("a.example", DEADLINE).await.unwrap();
    router
}

async fn get(router: &RouterInside, path: &str) -> Value {
    let answer = router.at.api(Method::GET, path, "").await.unwrap();
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.json().unwrap()
}

/// Name and pool of each route of a page, in order.
fn listed(page: &Value) -> Vec<String> {
    let routes = page["routes"].as_array().unwrap().iter();
    let text = |route: &Value, key: &str| route[key].as_str().unwrap().to_owned();
    let each = routes.map(|route| {
        let (provider, name) = (text(route, "provider"), text(route, "name"));
        format!("{provider}/{name} {}", text(route, "pool"))
    });
    each.collect()
}

#[tokio::test]
async fn routes_are_listed_in_detail_and_in_order_once_each_with_what_is_excluded() {
    let database = database().await;
    let router = router(&database).await;
    let all = [
        "configuration/ active",
        "configuration/fixed.example active",
        "postgres/a active",
        "postgres/lost shadowed",
        "postgres/off excluded",
        "postgres/wrong excluded",
    ];
    let page = get(&router, "/routes?include=excluded").await;
    assert_eq!(listed(&page), all);
    assert_eq!((&page["total"], &page["next"]), (&json!(6), &Value::Null));
    let reasons = page["routes"].as_array().unwrap().iter();
    let reasons: Vec<_> = reasons.map(|route| &route["reason"]).collect();
    let none = Value::Null;
    let expected = ["shadowed", "disabled", "invalid_address"].map(|reason| json!(reason));
    assert_eq!(reasons[..3], [&none; 3]);
    assert_eq!(reasons[3..], expected.each_ref());

    for (query, expected) in [
        ("provider=postgres", vec![all[2]]),
        ("state=unknown", vec![all[0], all[1]]),
        ("state=asleep", vec![all[2]]),
        ("include=excluded&state=running", vec![all[3]]),
        (
            "include=excluded&provider=configuration",
            vec![all[0], all[1]],
        ),
        ("after=configuration%2F", vec![all[1], all[2]]),
    ] {
        let page = get(&router, &format!("/routes?{query}")).await;
        assert_eq!(listed(&page), expected, "{query}");
    }
    let (mut pages, mut query) = (Vec::new(), String::new());
    loop {
        let page = get(&router, &format!("/routes?include=excluded&limit=4{query}")).await;
        assert_eq!(page["total"], 6);
        pages.extend(listed(&page));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        query = format!("&after={next}");
    }
    assert_eq!(pages, all);

    for wrong in [
        "include=all",
        "provider=x",
        "state=x",
        "limit=0",
        "limit=10001",
        "after=x",
    ] {
        let path = format!("/routes?{wrong}");
        let answer = router.at.api(Method::GET, &path, "").await.unwrap();
        assert_eq!(answer.status, 400, "{wrong}: {answer:?}");
    }
    // Without any of these, it is mc-router's list of hosts.
    let plain = get(&router, "/routes?other=1").await;
    let hosts: Vec<_> = plain.as_object().unwrap().keys().collect();
    assert_eq!(
        hosts,
        ["*.a.example", "a.example", "b.example", "fixed.example"]
    );
}

#[tokio::test]
async fn a_route_is_shown_by_each_of_its_hosts_and_by_its_name() {
    let database = database().await;
    let router = router(&database).await;
    let route = get(&router, "/routes/a").await;
    for host in ["A.example.", "b.example", "*.a.example"] {
        assert_eq!(
            get(&router, &format!("/routes/{host}")).await,
            route,
            "{host}"
        );
    }
    for (key, value) in [
        ("name", json!("a")),
        ("provider", json!("postgres")),
        ("pool", json!("active")),
        ("domain", json!("a.example")),
        ("aliases", json!(["b.example", "*.a.example"])),
        ("backend", json!("10.0.0.1:1")),
        ("scheme", json!("minecraft")),
        ("host", json!("10.0.0.1")),
        ("port", json!(1)),
        ("scalingTarget", json!("a")),
        ("state", json!("asleep")),
    ] {
        assert_eq!(route[key], value, "{key}");
    }
    assert!(route["lastChange"].is_string(), "{route}");
    let fixed = get(&router, "/routes/fixed.example").await;
    assert_eq!(
        (&fixed["host"], &fixed["port"]),
        (&json!("::1"), &json!(25565))
    );

    for (name, words) in [("lost", "fixed.example"), ("off", "disabled")] {
        let path = format!("/routes/{name}");
        let answer = router.at.api(Method::GET, &path, "").await.unwrap();
        assert_eq!(answer.status, 404, "{answer:?}");
        assert!(answer.body.contains(words), "{answer:?}");
        let shown = get(&router, &format!("{path}?include=excluded")).await;
        assert!(shown["text"].as_str().unwrap().contains(words), "{shown}");
    }
}

#[tokio::test]
async fn sources_tell_how_many_routes_they_have_and_when_they_were_heard_of() {
    let database = database().await;
    let router = router(&database).await;
    let sources = get(&router, "/providers").await;
    let counts =
        |source: &Value| ["active", "shadowed", "excluded"].map(|key| source[key].as_u64());
    assert_eq!(counts(&sources["postgres"]), [Some(1), Some(1), Some(2)]);
    assert_eq!(
        counts(&sources["configuration"]),
        [Some(2), Some(0), Some(0)]
    );
    assert_eq!(sources.as_object().unwrap().len(), 2, "{sources}");
    assert!(sources["postgres"]["lastSync"].is_string(), "{sources}");
    assert_eq!(sources["postgres"]["error"], Value::Null);

    let all = get(&router, "/routes/by-provider?include=excluded&limit=3").await;
    assert_eq!(counts(&all["postgres"]), [Some(1), Some(1), Some(2)]);
    assert_eq!(all["postgres"]["total"], 4);
    assert_eq!(listed(&all["postgres"]).len(), 3);
    assert_eq!(all["postgres"]["next"], "postgres/off");
    assert_eq!(listed(&all["configuration"]).len(), 2);
    let one = get(&router, "/routes/by-provider?provider=postgres").await;
    assert_eq!(one.as_object().unwrap().len(), 1, "{one}");

    // No ghosts: what is gone is not counted.
    run(&database, "DELETE FROM servers").await;
    eventually("no rows", DEADLINE, async || {
        let sources = get(&router, "/providers").await;
        anyhow::ensure!(counts(&sources["postgres"]) == [Some(0); 3], "{sources}");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_source_that_cannot_be_read_tells_why_until_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("routes.json");
    std::fs::write(&file, r#"{"mappings":{"a.example":"h:1"}}"#).unwrap();
    let settings = Settings::new()
        .flag(format!("--routes-config={}", file.display()))
        .flag("--routes-config-watch");
    let router = RouterInside::start(settings).unwrap();
    let error = async |is_there: bool| {
        eventually("an error, or none", DEADLINE, async || {
            let sources = get(&router, "/providers").await;
            anyhow::ensure!(
                sources["file"]["error"].is_string() == is_there,
                "{sources}"
            );
            anyhow::ensure!(sources["file"]["active"] == 1, "{sources}");
            Ok(())
        })
        .await
        .unwrap();
    };
    error(false).await;
    std::fs::write(&file, "nonsense").unwrap();
    error(true).await;
    std::fs::write(&file, r#"{"mappings":{"b.example":"h:1"}}"#).unwrap();
    error(false).await;
}

#[tokio::test]
async fn what_happened_to_routes_is_told_in_order_and_from_where_one_was() {
    let database = database().await;
    let router = router(&database).await;
    let begin = get(&router, "/routes/history").await;
    let newest = begin["changes"].as_array().unwrap().last().unwrap()["id"].clone();
    let before = get(&router, "/routes/a").await["lastChange"].clone();
    let kinds = |history: &Value| {
        let changes = history["changes"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let each = changes.map(|change| {
            let keys = ["kind", "name", "host", "old", "new"];
            keys.map(|key| text(&change[key])).join(" ")
        });
        each.collect::<Vec<_>>()
    };
    for words in [
        "added a a.example - 10.0.0.1:1",
        "excluded off - - -",
        "excluded lost fixed.example - -",
    ] {
        assert!(
            kinds(&begin).iter().any(|kind| kind == words),
            "no {words:?} in {begin}"
        );
    }

    run(
        &database,
        "UPDATE servers SET address = '10.0.0.9:1', aliases = NULL WHERE name = 'a'",
    )
    .await;
    let path = format!("/routes/history?after={newest}");
    let expected = [
        "removed a *.a.example 10.0.0.1:1 -",
        "changed a a.example 10.0.0.1:1 10.0.0.9:1",
        "removed a b.example 10.0.0.1:1 -",
    ];
    eventually("the changes", DEADLINE, async || {
        let history = get(&router, &path).await;
        anyhow::ensure!(
            kinds(&history) == expected && history["missed"] == false,
            "{history}"
        );
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(
        kinds(&get(&router, &format!("{path}&limit=1")).await),
        expected[..1]
    );
    assert_eq!(
        kinds(&get(&router, "/routes/history?limit=2").await),
        expected[1..]
    );
    assert_eq!(
        get(&router, "/routes/history?after=1").await["missed"],
        true
    );
    let after = get(&router, "/routes/a").await["lastChange"].clone();
    assert!(after.as_str() > before.as_str(), "{before} {after}");
}
