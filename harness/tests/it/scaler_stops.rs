//! Stops by webhook: when each server is due, and who comes while one is under way.

use std::time::Duration;

use harness::backend::Backend;
use harness::eventually::eventually;
use harness::player::Player;
use harness::receiver::Receiver;
use harness::router::{RouterProcess, Settings};
use harness::table::Table;
use hyper::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);
const HOST: &str = "play.example";

/// A webhook that answers when it is told to.
struct Slow(TcpListener);

/// A request that waits for its answer.
struct Asked {
    json: Value,
    stream: TcpStream,
}

impl Slow {
    async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn url(&self) -> String {
        format!("http://{}/hook", self.0.local_addr().unwrap())
    }

    async fn next(&self) -> Asked {
        let (mut stream, _) = timeout(DEADLINE, self.0.accept()).await.unwrap().unwrap();
        let mut request = Vec::new();
        loop {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0, "a request");
            let text = String::from_utf8_lossy(&request);
            let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            if let Ok(json) = serde_json::from_str(body) {
                return Asked { json, stream };
            }
        }
    }

    /// Whether somebody asks for something that nobody has looked at yet.
    async fn is_asked(&self) -> bool {
        timeout(Duration::ZERO, self.0.accept()).await.is_ok()
    }
}

impl Asked {
    fn action(&self) -> &str {
        self.json["action"].as_str().unwrap()
    }

    async fn answer(mut self, body: &Value) {
        let body = body.to_string();
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n");
        let answer = format!("{head}\r\n{body}");
        self.stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

async fn waiting(router: &RouterProcess, count: u64) {
    eventually("players who wait", DEADLINE, async || {
        let servers = router.at.api(Method::GET, "/servers", "").await?.json()?;
        let text = servers.to_string();
        anyhow::ensure!(text.contains(&format!("\"waiting\":{count}")), "{text}");
        Ok(())
    })
    .await
    .unwrap();
}

/// The server that is on its way down would still take them.
#[tokio::test]
async fn who_comes_while_a_server_is_being_stopped_gets_in_once_it_was_started_again() {
    let (hook, dying) = (Slow::start().await, Backend::start("dying").await.unwrap());
    let settings = Settings::new()
        .flag("--auto-scale-down-after=1s")
        .flag(format!("--auto-scale-webhook-url={}", hook.url()))
        .flag(format!("--mapping={HOST}={}", dying.addr()));
    let router = RouterProcess::start(settings).await.unwrap();
    let down = hook.next().await;
    assert_eq!(down.action(), "down");

    let player = Player::new(HOST);
    let first = player.knock(router.at.players).await.unwrap();
    let second = player.knock(router.at.players).await.unwrap();
    waiting(&router, 2).await;
    let log = router.process.tail(usize::MAX);
    assert!(!log.contains("asking the server-manager to start"), "{log}");
    assert!(!hook.is_asked().await, "two requests at once");
    down.answer(&json!({})).await;

    let up = hook.next().await;
    assert_eq!(up.action(), "up");
    let new = Backend::start("new").await.unwrap();
    let backend = new.addr().to_string();
    up.answer(&json!({ "backend": backend })).await;
    let (first, second) = tokio::join!(first.enter(), second.enter());
    first.unwrap();
    second.unwrap();
    assert_eq!((dying.logins().len(), new.logins().len()), (0, 2));
}

/// The stop was accepted, and for a while the server goes on as if nothing had been.
#[tokio::test]
async fn nobody_is_let_into_a_server_whose_stop_was_accepted_before_it_has_gone_and_was_started_again()
 {
    let (hook, dying) = (Slow::start().await, Backend::start("dying").await.unwrap());
    let (address, lobby) = (dying.addr(), Backend::start("lobby").await.unwrap());
    let settings = Settings::new()
        .flag("--auto-scale-down-after=1s")
        .flag(format!("--auto-scale-webhook-url={}", hook.url()))
        .flag(format!("--mapping={HOST}={address}"))
        .flag(format!("--mapping=alias.example={address}"));
    let router = RouterProcess::start(settings).await.unwrap();
    let down = hook.next().await;
    assert_eq!(down.action(), "down");
    down.answer(&json!({})).await;

    let first = Player::new(HOST).knock(router.at.players).await.unwrap();
    let second = Player::new("alias.example")
        .knock(router.at.players)
        .await
        .unwrap();
    waiting(&router, 1).await;
    let asked = timeout(Duration::from_secs(1), hook.0.accept()).await;
    assert!(asked.is_err(), "a start before it has gone");
    dying.stop();
    drop(dying);

    for _ in 0..2 {
        // One for each name.
        let up = hook.next().await;
        assert_eq!(up.action(), "up");
        up.answer(&json!({ "backend": lobby.addr().to_string() }))
            .await;
    }
    let (first, second) = tokio::join!(first.enter(), second.enter());
    let _inside = (first.unwrap(), second.unwrap());
    assert_eq!(lobby.logins().len(), 2);
}

/// Once it is taken down a start is asked for, though the server never goes.
#[tokio::test]
async fn who_comes_after_a_stop_that_changed_nothing_gets_in_after_a_start() {
    let hook = Receiver::start().await.unwrap();
    let backend = Backend::start("stays up").await.unwrap();
    let settings = Settings::new()
        .flag("--auto-scale-down-after=1s")
        .flag(format!("--auto-scale-webhook-url={}", hook.url()))
        .flag(format!("--mapping={HOST}={}", backend.addr()));
    let router = RouterProcess::start(settings).await.unwrap();
    hook.bodies(1, DEADLINE).await.unwrap();
    let began = std::time::Instant::now();

    let _session = Player::new(HOST).enter(router.at.players).await.unwrap();

    let asked = hook.bodies(2, DEADLINE).await.unwrap();
    assert_eq!(
        (&asked[0]["action"], &asked[1]["action"]),
        (&json!("down"), &json!("up"))
    );
    assert!(
        began.elapsed() > Duration::from_secs(5),
        "it was waited for"
    );
}

/// Some answer when the server has ended, which may take longer than any request may.
#[tokio::test]
async fn a_stop_without_an_answer_in_time_is_not_asked_for_again() {
    let (hook, backend) = (Slow::start().await, Backend::start("up").await.unwrap());
    let settings = Settings::new()
        .flag("--auto-scale-down-after=100ms")
        .flag(format!("--auto-scale-webhook-url={}", hook.url()))
        .flag("--auto-scale-webhook-timeout=500ms")
        .flag(format!("--mapping={HOST}={}", backend.addr()));
    let router = RouterProcess::start(settings).await.unwrap();
    let _down = hook.next().await;

    router
        .says(&["no answer yet; it is taken for stopped"])
        .await
        .unwrap();

    let again = timeout(Duration::from_secs(4), hook.0.accept()).await;
    assert!(again.is_err(), "asked again");
}

#[tokio::test]
async fn a_row_says_when_its_server_is_stopped_and_whether_at_all() {
    let hook = Receiver::start().await.unwrap();
    let settings = Settings::new()
        .flag("--auto-scale-down-after=2s")
        .flag(format!("--auto-scale-webhook-url={}", hook.url()));
    let table = Table::start(settings).await.unwrap();
    let backend = Backend::start("one of many").await.unwrap();
    let address = |last: u8| std::net::SocketAddr::from(([127, 0, 0, last], backend.addr().port()));
    for (last, name, after) in [
        (2, "kept", Some("off")),
        (3, "default", None),
        (4, "later", Some("4s")),
        (5, "soon", Some("500ms")),
    ] {
        let own: Vec<_> = after
            .map(|after| ("down_after", after))
            .into_iter()
            .collect();
        let added = table.server_with(name, address(last), "running", &own);
        added.await.unwrap();
    }

    let asked = hook.bodies(3, DEADLINE).await.unwrap();

    let down = |name: &str, last: u8| {
        let host = format!("{name}.example.com");
        let backend = address(last).to_string();
        json!({ "action": "down", "serverAddress": host, "backend": backend })
    };
    assert_eq!(
        asked,
        [down("soon", 5), down("default", 3), down("later", 4)]
    );
}
