//! A raw HTTP client, a player, and waits with a deadline.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use waker_mock::{Config, ServerSpec, State, WakerMock};

/// Longest wait of a test; never reached.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const SOON: Duration = Duration::from_millis(20);
pub(crate) const LONG: Duration = Duration::from_secs(3600);

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

pub(crate) async fn raw(waker: &WakerMock, request: String) -> Answer {
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

pub(crate) async fn ask(waker: &WakerMock, line: &str, extra: &str, body: &str) -> Answer {
    let length = body.len();
    let head = format!("{line} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{extra}");
    let request = format!("{head}Content-Length: {length}\r\n\r\n{body}");
    raw(waker, request).await
}

pub(crate) async fn call(waker: &WakerMock, line: &str) -> Answer {
    ask(waker, line, "", "").await
}

pub(crate) async fn with_server(spec: ServerSpec) -> WakerMock {
    let waker = WakerMock::start(Config::default()).await.unwrap();
    assert!(waker.put_server("survival", spec).unwrap());
    waker
}

pub(crate) async fn until(waker: &WakerMock, state: State) {
    let reached = waker.wait_for("survival", state);
    timeout(PATIENCE, reached).await.unwrap().unwrap();
}

/// Sends a login to `address` and returns the greeting, or the error of the connection.
pub(crate) async fn join(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    // Handshake for host "x", next state 2; login start of "Alex".
    let packets = b"\x07\x00\x2F\x01x\x63\xDD\x02\x06\x00\x04Alex";
    stream.write_all(packets).await?;
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await??;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
