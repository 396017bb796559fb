//! What goes wrong on request, and stops when it is to.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use waker_mock::{Faults, Refusal, ServerSpec, State};

use crate::client::{LONG, ask, call, join, until, with_server};

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
async fn a_port_turns_players_away_or_keeps_its_status_as_asked() {
    let spec = ServerSpec {
        stop_delay: Some(Duration::ZERO),
        ..ServerSpec::new("s.test", Duration::ZERO)
    };
    let waker = with_server(spec).await;
    waker.start_server("survival").unwrap();
    until(&waker, State::Running).await;
    let address = waker.address("survival").unwrap();
    let status = async || {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        // Handshake for host "x", next state 1; status request.
        let packets = b"\x07\x00\x2F\x01x\x63\xDD\x01\x01\x00";
        stream.write_all(packets).await.unwrap();
        let mut answer = Vec::new();
        // It may be closed with a reset.
        drop(
            timeout(LONG, stream.read_to_end(&mut answer))
                .await
                .unwrap(),
        );
        answer
    };
    assert_ne!(status().await, b"");

    let faults = Faults::parse("no_status;still_starting=1h").unwrap();
    waker.set_faults("survival", faults).unwrap();
    assert_eq!(status().await, b"");
    let told = join(&address).await.unwrap();
    assert!(told.contains("Server is still starting!"), "{told}");

    waker.clear_faults("survival").unwrap();
    assert!(join(&address).await.unwrap().contains("is running"));
}
