//! The contract, asked over a real socket of a server-manager in this process.

use std::time::{Duration, Instant};

use automc_router::config::secret::Secret;
use automc_router::postgres::dsn::Dsn;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use waker_mock::{Config, Faults, Refusal, ServerSpec, State, WakerMock};

/// Longest wait of a test; never reached.
const PATIENCE: Duration = Duration::from_secs(20);
const SOON: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(3600);

struct Answer {
    status: u16,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

async fn raw(waker: &WakerMock, request: String) -> Answer {
    let exchange = async {
        let mut stream = TcpStream::connect(waker.addr()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = timeout(PATIENCE, exchange).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        body: body.to_owned(),
    }
}

async fn ask(waker: &WakerMock, line: &str, extra: &str, body: &str) -> Answer {
    let length = body.len();
    let head = format!("{line} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{extra}");
    let request = format!("{head}Content-Length: {length}\r\n\r\n{body}");
    raw(waker, request).await
}

async fn call(waker: &WakerMock, line: &str) -> Answer {
    ask(waker, line, "", "").await
}

async fn with_server(spec: ServerSpec) -> WakerMock {
    let waker = WakerMock::start(Config::default()).await.unwrap();
    assert!(waker.put_server("survival", spec).unwrap());
    waker
}

async fn until(waker: &WakerMock, state: State) {
    let reached = waker.wait_for("survival", state);
    timeout(PATIENCE, reached).await.unwrap().unwrap();
}

/// Sends a login to `address` and returns the greeting, or the error of the connection.
async fn join(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    // Handshake for host "x", next state 2; login start of "Alex".
    let packets = b"\x07\x00\x2F\x01x\x63\xDD\x02\x06\x00\x04Alex";
    stream.write_all(packets).await?;
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await??;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

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
async fn requests_are_refused_as_often_as_asked_and_change_nothing() {
    let waker = with_server(ServerSpec::new("s.test", LONG)).await;
    let body = r#"{"refuse_start":{"status":503,"times":2},"refuse_poll":"500x1"}"#;
    assert_eq!(
        ask(&waker, "PUT /servers/survival/faults", "", body)
            .await
            .status,
        200
    );

    assert_eq!(call(&waker, "GET /servers/survival").await.status, 500);
    for status in [503, 503, 202, 409] {
        let stopped = waker.state("survival") == Some(State::Stopped);
        assert_eq!(
            call(&waker, "POST /servers/survival/start").await.status,
            status
        );
        assert!(stopped || status == 409);
    }
    assert_eq!(call(&waker, "GET /servers/survival").await.status, 200);
    assert_eq!(
        ask(
            &waker,
            "PUT /servers/survival/faults",
            "",
            r#"{"hang":true}"#
        )
        .await
        .status,
        400
    );
}

#[tokio::test]
async fn polls_lie_as_asked_until_the_faults_are_cleared() {
    let waker = with_server(ServerSpec::new("s.test", Duration::ZERO)).await;
    waker.start_server("survival").unwrap();
    until(&waker, State::Running).await;
    let poll = async |fault: &str| {
        waker
            .set_faults("survival", Faults::parse(fault).unwrap())
            .unwrap();
        call(&waker, "GET /servers/survival").await
    };

    assert_eq!(poll("no_address").await.json().get("address"), None);
    assert_eq!(
        poll("malformed_address").await.json()["address"],
        "not an address"
    );
    assert!(serde_json::from_str::<Value>(&poll("malformed_json").await.body).is_err());
    let address = waker.row_address("survival").unwrap();
    assert_eq!(poll("refuse_connections").await.json()["address"], address);
    assert!(join(&address).await.is_err());
    assert_eq!(
        call(&waker, "DELETE /servers/survival/faults").await.status,
        204
    );
    let honest = call(&waker, "GET /servers/survival").await.json();
    assert_eq!(honest["address"], address);
    assert_eq!(honest.get("faults"), None);
    assert!(join(&address).await.is_ok());
}

#[tokio::test]
async fn a_server_never_runs_or_crashes_as_asked_by_the_faults_of_all() {
    let waker = with_server(ServerSpec::new("s.test", Duration::ZERO)).await;
    let fault = r#"{"never_running":true}"#;
    assert_eq!(ask(&waker, "PUT /faults", "", fault).await.status, 200);
    waker.start_server("survival").unwrap();
    assert_eq!(waker.state("survival"), Some(State::Starting));

    let fault = r#"{"crash_after":"10ms"}"#;
    assert_eq!(ask(&waker, "PUT /faults", "", fault).await.status, 200);
    until(&waker, State::Crashed).await;
    assert_eq!(call(&waker, "DELETE /faults").await.status, 204);
    assert_eq!(
        call(&waker, "POST /servers/survival/start").await.status,
        202
    );
    until(&waker, State::Running).await;
}

#[tokio::test]
async fn a_hung_start_gets_no_answer_and_a_late_one_takes_effect_at_once() {
    let waker = with_server(ServerSpec::new("s.test", LONG)).await;
    let faults = Faults::parse("hang_start").unwrap();
    waker.set_faults("survival", faults).unwrap();
    let request = "POST /servers/survival/start HTTP/1.1\r\nHost: test\r\n\r\n";

    let mut stream = TcpStream::connect(waker.addr()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    // The health answer shows that the server is not what is slow.
    assert_eq!(call(&waker, "GET /healthz").await.status, 200);
    let mut byte = [0];
    let answered = timeout(Duration::from_millis(100), stream.read(&mut byte)).await;
    assert!(answered.is_err());
    assert_eq!(waker.state("survival"), Some(State::Stopped));

    let faults = Faults {
        delay_start: Some(Duration::from_millis(100)),
        refuse_poll: Some(Refusal::always(503)),
        ..Faults::default()
    };
    waker.set_faults("survival", faults).unwrap();
    let sent = Instant::now();
    let (answer, ()) = tokio::join!(
        call(&waker, "POST /servers/survival/start"),
        until(&waker, State::Starting)
    );
    assert_eq!(answer.status, 202);
    assert!(sent.elapsed() >= Duration::from_millis(100));
}

#[tokio::test]
async fn requests_are_noted_in_order_until_cleared() {
    let waker = with_server(ServerSpec::new("s.test", LONG)).await;
    call(&waker, "POST /servers/survival/start").await;
    call(&waker, "GET /servers/sur%76ival?x=1").await;

    let requests = waker.requests();
    let lines: Vec<_> = requests
        .iter()
        .map(|request| format!("{} {}", request.method, request.path))
        .collect();
    assert_eq!(
        lines,
        ["POST /servers/survival/start", "GET /servers/sur%76ival"]
    );
    assert!(requests[0].at <= requests[1].at);
    waker.clear_requests();
    assert!(waker.requests().is_empty());
}

#[tokio::test]
async fn a_database_that_is_away_holds_up_nothing_not_even_the_end() {
    let closed = TcpStream::connect("127.0.0.1:1").await;
    assert!(closed.is_err(), "port 1 is expected to be closed");
    let config = Config {
        dsn: Some(Dsn::parse("postgres://u@127.0.0.1:1/d?sslmode=disable").unwrap()),
        servers: vec![ServerSpec::parse("survival=s.test;boot=0s").unwrap()],
        ..Config::default()
    };
    let waker = WakerMock::start(config).await.unwrap();

    assert_eq!(
        call(&waker, "POST /servers/survival/start").await.status,
        202
    );
    until(&waker, State::Running).await;
    timeout(PATIENCE, waker.shutdown()).await.unwrap();
}

#[tokio::test]
async fn dropping_it_closes_every_port() {
    let waker = with_server(ServerSpec::new("s.test", Duration::ZERO)).await;
    waker.start_server("survival").unwrap();
    until(&waker, State::Running).await;
    let (api, game) = (waker.addr(), waker.address("survival").unwrap());
    let mut idle = TcpStream::connect(api).await.unwrap();
    assert!(join(&game).await.is_ok());

    drop(waker);

    assert!(join(&game).await.is_err());
    let mut rest = Vec::new();
    // The listener has gone with the task that also held this connection.
    timeout(PATIENCE, idle.read_to_end(&mut rest))
        .await
        .unwrap()
        .ok();
    assert!(TcpStream::connect(api).await.is_err());
}

#[tokio::test]
async fn ports_come_from_the_range_and_are_told_with_the_advertised_host() {
    let mut config = Config::default();
    config.game_ports.range = Some(20_000..=29_999);
    config.game_ports.advertise_host = Some("waker".to_owned());
    let waker = WakerMock::start(config).await.unwrap();

    let mut ports = Vec::new();
    for name in ["a", "b"] {
        waker.put_server(name, ServerSpec::default()).unwrap();
        let address = waker.row_address(name).unwrap();
        let port = address.strip_prefix("waker:").unwrap();
        ports.push(port.parse::<u16>().unwrap());
    }
    assert_ne!(ports[0], ports[1]);
    assert!(ports.iter().all(|port| (20_000..=29_999).contains(port)));
}

#[tokio::test]
async fn a_server_without_a_free_port_is_refused() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut config = Config::default();
    config.game_ports.range = Some(port..=port);
    let waker = WakerMock::start(config).await.unwrap();

    let answer = call(&waker, "PUT /servers/survival").await;
    assert_eq!(answer.status, 507);
    assert!(
        answer.json()["error"]
            .as_str()
            .unwrap()
            .contains("no game port")
    );
}
