//! What each request does and which status answers it.

use std::time::Duration;

use automc_router::config::secret::Secret;
use serde_json::json;
use waker_mock::{Config, Faults, ServerSpec, State, WakerMock};

use crate::client::{LONG, SOON, ask, call, join, until, with_server};

#[tokio::test]
async fn a_start_is_202_then_409_and_ends_in_an_address_that_greets_players() {
    let waker = with_server(ServerSpec::new("survival.example.com", SOON)).await;

    let stopped = call(&waker, "GET /servers/survival").await.json();
    assert_eq!(stopped["state"], "stopped");
    assert_eq!(stopped.get("address"), None);
    let row_address = waker.row_address("survival").unwrap();
    assert!(join(&row_address).await.is_err());

    assert_eq!(
        call(&waker, "POST /servers/survival/start").await.status,
        202
    );
    assert_eq!(
        call(&waker, "POST /servers/survival/start").await.status,
        409
    );
    until(&waker, State::Running).await;
    assert_eq!(
        call(&waker, "POST /servers/survival/start").await.status,
        409
    );

    let running = call(&waker, "GET /servers/survival").await.json();
    assert_eq!(running["state"], "running");
    assert_eq!(running["address"], row_address);
    let greeting = join(&row_address).await.unwrap();
    assert!(
        greeting.contains("survival is running. This is a stand-in server."),
        "{greeting}"
    );

    assert_eq!(
        call(&waker, "POST /servers/survival/stop").await.status,
        202
    );
    assert_eq!(
        call(&waker, "POST /servers/survival/stop").await.status,
        409
    );
    assert!(join(&row_address).await.is_err());
}

#[tokio::test]
async fn unknown_servers_paths_and_methods_are_told_apart() {
    let waker = with_server(ServerSpec::default()).await;

    for (line, status) in [
        ("GET /servers/nobody", 404),
        ("POST /servers/nobody/start", 404),
        ("POST /servers/nobody/stop", 404),
        ("DELETE /servers/nobody", 404),
        ("PUT /servers/nobody/faults", 404),
        ("GET /nowhere", 404),
        ("DELETE /servers/survival/start", 405),
        ("GET /servers/%FF", 400),
        ("GET /healthz", 200),
    ] {
        let answer = call(&waker, line).await;
        assert_eq!(answer.status, status, "{line}");
        assert_eq!(
            answer.json().get("error").is_some(),
            status != 200,
            "{line}"
        );
    }
}

#[tokio::test]
async fn a_wrong_or_missing_key_is_401_and_changes_nothing_but_health_is_open() {
    let config = Config {
        token: Some(Secret::new("12345")),
        servers: vec![ServerSpec::parse("survival=s.test").unwrap()],
        ..Config::default()
    };
    let waker = WakerMock::start(config).await.unwrap();

    for key in ["", "X-API-Key: 1234\r\n", "X-API-Key: 123456\r\n"] {
        for line in [
            "POST /servers/survival/start",
            "GET /servers",
            "GET /nowhere",
        ] {
            assert_eq!(ask(&waker, line, key, "").await.status, 401, "{line}");
        }
    }
    assert_eq!(waker.state("survival"), Some(State::Stopped));
    assert_eq!(call(&waker, "GET /healthz").await.status, 200);
    let line = "POST /servers/survival/start";
    assert_eq!(
        ask(&waker, line, "x-api-key: 12345\r\n", "").await.status,
        202
    );
    let keys: Vec<_> = waker
        .requests()
        .into_iter()
        .map(|request| request.api_key)
        .collect();
    assert_eq!(keys.first(), Some(&None));
    assert_eq!(keys.last(), Some(&Some("12345".to_owned())));
}

#[tokio::test]
async fn servers_are_put_listed_changed_and_deleted() {
    let waker = WakerMock::start(Config::default()).await.unwrap();
    let put = async |name, body| ask(&waker, &format!("PUT /servers/{name}"), "", body).await;

    assert_eq!(
        put("a%2Fb", r#"{"domain":"a.test","boot_delay":"1h"}"#)
            .await
            .status,
        201
    );
    assert_eq!(
        put("a%2Fb", r#"{"domain":"b.test","boot_delay":"2h"}"#)
            .await
            .status,
        200
    );
    let list = call(&waker, "GET /servers").await.json();
    let only = json!([{"name":"a/b","domain":"b.test","state":"stopped","boot_delay":"2h"}]);
    assert_eq!(list, only);
    for body in [
        "{",
        r#"{"boot":"1s"}"#,
        r#"{"boot_delay":"5"}"#,
        r#"{"port":70000}"#,
        r#"{"address":"x"}"#,
    ] {
        let answer = put("c", body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert_ne!(answer.json()["error"], "", "{body}");
    }
    let long = "n".repeat(200);
    assert_eq!(put(&long, "{}").await.status, 400);
    let big = format!(r#"{{"domain":"{}"}}"#, "d".repeat(70_000));
    assert_eq!(put("c", &big).await.status, 413);

    waker.start_server("a/b").unwrap();
    assert_eq!(
        put("a%2Fb", r#"{"address":"10.0.0.5:25565"}"#).await.status,
        409
    );
    assert_eq!(call(&waker, "DELETE /servers/a%2Fb").await.status, 204);
    assert_eq!(call(&waker, "GET /servers/a%2Fb").await.status, 404);
}

#[tokio::test]
async fn a_start_while_stopping_is_202_and_the_server_starts_after_it_has_stopped() {
    let spec = ServerSpec {
        stop_delay: Some(SOON),
        ..ServerSpec::new("s.test", SOON)
    };
    let waker = with_server(spec).await;
    waker.start_server("survival").unwrap();
    until(&waker, State::Running).await;
    waker.stop_server("survival").unwrap();

    assert_eq!(
        call(&waker, "POST /servers/survival/start").await.status,
        202
    );
    until(&waker, State::Running).await;
}

#[tokio::test]
async fn a_lazy_address_is_told_only_while_running_and_is_not_the_rows() {
    let spec = ServerSpec {
        lazy_address: true,
        boot_delay: Some(LONG),
        ..ServerSpec::default()
    };
    let waker = with_server(spec.clone()).await;
    waker.start_server("survival").unwrap();

    let starting = call(&waker, "GET /servers/survival").await.json();
    assert_eq!(starting.get("address"), None);
    let row_address = waker.row_address("survival").unwrap();
    let ready = ServerSpec {
        boot_delay: Some(SOON),
        ..spec
    };
    waker.put_server("survival", ready).unwrap();
    until(&waker, State::Running).await;
    let address = waker.address("survival").unwrap();

    assert_ne!(address, row_address);
    assert!(join(&row_address).await.is_err());
    assert!(join(&address).await.unwrap().contains("survival"));
}

#[tokio::test]
async fn the_address_of_somebody_elses_game_server_is_told_as_it_is() {
    let spec = ServerSpec {
        address: Some("10.0.0.5:25565".to_owned()),
        ..ServerSpec::new("s.test", LONG)
    };
    let waker = with_server(spec).await;
    waker.start_server("survival").unwrap();

    let starting = call(&waker, "GET /servers/survival").await.json();
    assert_eq!(starting["address"], "10.0.0.5:25565");
}

#[tokio::test]
async fn running_can_be_told_before_the_port_opens() {
    let spec = ServerSpec {
        port_delay: Some(LONG),
        ..ServerSpec::new("s.test", Duration::ZERO)
    };
    let waker = with_server(spec.clone()).await;
    waker.start_server("survival").unwrap();
    until(&waker, State::Running).await;
    let address = waker.address("survival").unwrap();

    assert!(join(&address).await.is_err());
    let opened = ServerSpec {
        port_delay: None,
        ..spec
    };
    waker.put_server("survival", opened).unwrap();
    assert_eq!(waker.state("survival"), Some(State::Running));
    assert!(join(&address).await.is_ok());
}

#[tokio::test]
async fn a_poll_that_waits_is_answered_by_the_change_and_at_once_where_there_is_none() {
    let booting = |boot| ServerSpec {
        stop_delay: Some(Duration::ZERO),
        ..ServerSpec::new("s.test", boot)
    };
    let waker = with_server(booting(LONG)).await;
    let poll = async |query: &str, header: &str| {
        let line = format!("GET /servers/survival{query}");
        ask(&waker, &line, header, "").await.json()
    };
    let stopped = poll("?wait=25", "").await;
    assert_eq!(
        stopped["state"], "stopped",
        "at rest there is nothing to wait for"
    );
    assert_eq!(stopped["maxWait"], 25);
    for (query, header) in [
        ("?wait=25", ""),
        ("?x=1&wait=3600", ""),
        ("", "Prefer: wait=25\r\n"),
        ("", "Prefer: respond-async, wait=25\r\n"),
    ] {
        waker.put_server("survival", booting(LONG)).unwrap();
        waker.start_server("survival").unwrap();
        let (answer, ()) = tokio::join!(poll(query, header), async {
            eventually_asked(&waker).await;
            let ready = booting(Duration::ZERO);
            waker.put_server("survival", ready).unwrap();
        });
        assert_eq!(answer["state"], "running", "{query} {header}");
        waker.stop_server("survival").unwrap();
        until(&waker, State::Stopped).await;
        waker.clear_requests();
    }
    // No number, no wait; and a second is over before the boot is.
    waker.put_server("survival", booting(LONG)).unwrap();
    waker.start_server("survival").unwrap();
    for query in ["?wait=soon", "?wait=-1", "?wait=1"] {
        assert_eq!(poll(query, "").await["state"], "starting", "{query}");
    }
}

async fn eventually_asked(waker: &WakerMock) {
    while waker.requests().is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_boot_tells_its_progress_unless_that_is_left_off() {
    let waker = with_server(ServerSpec::new("s.test", LONG)).await;
    let poll = async || call(&waker, "GET /servers/survival?wait=25").await.json();
    assert_eq!(poll().await.get("progress"), None);
    waker.start_server("survival").unwrap();
    let starting = call(&waker, "GET /servers/survival").await.json();
    assert_eq!(starting["progress"], 0.0);

    waker
        .set_faults("survival", Faults::parse("plain").unwrap())
        .unwrap();
    let plain = poll().await;
    assert_eq!((plain.get("progress"), plain.get("maxWait")), (None, None));
}
