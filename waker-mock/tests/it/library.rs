//! What a test that starts one relies on: ports, the journal, and the end.

use std::time::Duration;

use automc_router::postgres::dsn::Dsn;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use waker_mock::{Config, ServerSpec, State, WakerMock};

use crate::client::{LONG, PATIENCE, call, join, until, with_server};

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
