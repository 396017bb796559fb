//! Server-managers and webhooks that answer a start late, elsewhere, or behind a web server.

use std::time::Duration;

use harness::backend::{Asleep, Backend};
use harness::eventually::eventually;
use harness::player::Player;
use harness::router::{RouterProcess, Settings};
use harness::table::Table;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use wiremock::matchers::{body_partial_json, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

const DEADLINE: Duration = Duration::from_secs(40);
const HOST: &str = "play.example";

/// Whoever starts servers, and answers when it is told to.
struct Late(TcpListener);

impl Late {
    async fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().unwrap())
    }

    /// The next request, all of it, and where its answer goes. That by which the router tries the
    /// server-manager at its start is answered.
    async fn next(&self) -> (String, TcpStream) {
        loop {
            let (request, mut stream) = self.request().await;
            if !request.starts_with("get /servers http") {
                return (request, stream);
            }
            let answer =
                b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(answer).await.unwrap();
        }
    }

    async fn request(&self) -> (String, TcpStream) {
        let (mut stream, _) = timeout(DEADLINE, self.0.accept()).await.unwrap().unwrap();
        let mut request = Vec::new();
        loop {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0, "a request");
            let text = String::from_utf8_lossy(&request).to_lowercase();
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let length = head.split("content-length: ").nth(1);
            let length = length.map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
            if body.len() >= length {
                return (text, stream);
            }
        }
    }
}

/// It takes more than the ten seconds after which any request was given up once.
#[tokio::test]
async fn a_start_that_answers_only_when_the_server_is_up_is_asked_for_once_and_polls_run_beside_it()
{
    let manager = Late::new().await;
    let table = Table::start(Settings::new().waker(&manager.url()))
        .await
        .unwrap();
    let (asleep, player) = table.asleep("test1").await.unwrap();
    let waiting = player.knock(table.router.at.players).await.unwrap();
    let (start, mut starting) = manager.next().await;
    assert!(start.starts_with("post /servers/test1/start "), "{start}");
    assert!(start.contains("\r\ncontent-length: 0\r\n"), "{start}");
    let began = tokio::time::Instant::now();
    let mut polls = 0;
    while began.elapsed() < Duration::from_secs(12) {
        let (poll, mut stream) = manager.next().await;
        assert!(poll.starts_with("get /servers/test1 "), "{poll}");
        let body = json!({ "state": "starting" }).to_string();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        polls += 1;
    }
    assert!(polls > 10, "{polls}");

    let backend = asleep.wake("woken").unwrap();
    waiting.enter().await.unwrap();

    assert_eq!(backend.logins().len(), 1);
    // The wake is over, and nobody waits for the answer any more.
    let end = timeout(DEADLINE, starting.read_to_end(&mut Vec::new())).await;
    drop(end.expect("the request is given up"));
}

#[tokio::test]
async fn a_router_that_stops_gives_up_a_start_that_has_no_answer() {
    let manager = Late::new().await;
    let table = Table::start(Settings::new().waker(&manager.url()))
        .await
        .unwrap();
    let (_asleep, player) = table.asleep("test1").await.unwrap();
    let _waiting = player.knock(table.router.at.players).await.unwrap();
    let (_, mut starting) = manager.next().await;

    table.router.process.signal("TERM").await.unwrap();

    let end = timeout(DEADLINE, starting.read_to_end(&mut Vec::new())).await;
    drop(end.expect("the request is given up"));
}

#[tokio::test]
async fn a_webhook_that_answers_when_the_server_is_up_is_asked_once() {
    let hook = Late::new().await;
    let asleep = Asleep::new().unwrap();
    let settings = Settings::new()
        .flag(format!("--auto-scale-webhook-url={}", hook.url()))
        // Of stops and news; a start has all the time that a server may take.
        .flag("--auto-scale-webhook-timeout=100ms")
        .flag(format!("--mapping={HOST}={}", asleep.addr()));
    let router = RouterProcess::start(settings).await.unwrap();
    let waiting = Player::new(HOST).knock(router.at.players).await.unwrap();
    let (up, _starting) = hook.next().await;
    assert!(up.contains("\"action\":\"up\""), "{up}");
    let again = timeout(Duration::from_secs(3), hook.0.accept()).await;
    assert!(again.is_err(), "asked again");

    let backend = asleep.wake("woken").unwrap();
    waiting.enter().await.unwrap();

    assert_eq!(backend.logins().len(), 1);
}

fn redirect(status: u16, to: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).insert_header("Location", to)
}

async fn on(server: &MockServer, verb: &str, at: &str, answer: ResponseTemplate) {
    let mock = Mock::given(method(verb)).and(path(at));
    mock.respond_with(answer).mount(server).await;
}

/// So many came, but for those by which routers try it at their start.
async fn requests(server: &MockServer) -> usize {
    let all = server.received_requests().await.unwrap_or_default();
    all.iter()
        .filter(|one| one.url.path() != "/servers")
        .count()
}

#[tokio::test]
async fn redirects_within_the_same_host_are_followed_with_method_and_key() {
    let (manager, backend) = (
        MockServer::start().await,
        Backend::start("woken").await.unwrap(),
    );
    on(
        &manager,
        "POST",
        "/servers/test1/start",
        redirect(307, "/v2/test1/start"),
    )
    .await;
    on(
        &manager,
        "POST",
        "/v2/test1/start",
        redirect(308, &format!("{}/v3/start", manager.uri())),
    )
    .await;
    let last = Mock::given(method("POST"))
        .and(path("/v3/start"))
        .and(header("X-API-Key", "s3cret"));
    last.respond_with(ResponseTemplate::new(202))
        .mount(&manager)
        .await;
    on(
        &manager,
        "GET",
        "/servers/test1",
        redirect(302, "../state?of=test1"),
    )
    .await;
    let running = json!({ "state": "running", "address": backend.addr().to_string() });
    let polled = Mock::given(method("GET"))
        .and(path("/state"))
        .and(header("X-API-Key", "s3cret"));
    polled
        .respond_with(ResponseTemplate::new(200).set_body_json(running))
        .mount(&manager)
        .await;
    let settings = Settings::new()
        .waker(&manager.uri())
        .env("AUTOMC_WAKER_TOKEN", "s3cret");
    let table = Table::start(settings).await.unwrap();
    let (_asleep, player) = table.asleep("test1").await.unwrap();

    player.enter(table.router.at.players).await.unwrap();

    assert_eq!(backend.logins().len(), 1);
}

/// The time-out is an hour, so that only an end at once is an end at all.
#[tokio::test]
async fn a_start_that_is_redirected_elsewhere_is_refused_at_once_and_no_key_is_sent_there() {
    let (manager, elsewhere) = (MockServer::start().await, MockServer::start().await);
    let secure = manager.uri().replace("http:", "https:");
    for (name, status, to, why) in [
        (
            "host",
            307,
            "http://localhost:1/s3cret".to_owned(),
            "307 Temporary Redirect, a redirect to another host",
        ),
        (
            "port",
            308,
            format!("{}/s3cret", elsewhere.uri()),
            "308 Permanent Redirect, a redirect to another port",
        ),
        (
            "https",
            308,
            format!("{secure}/s3cret"),
            "have AUTOMC_WAKER_URL begin with https://",
        ),
        (
            "moved",
            301,
            "/s3cret".to_owned(),
            "301 Moved Permanently, a redirect that would turn a POST into a GET",
        ),
        (
            "loop",
            307,
            "/servers/loop/start".to_owned(),
            "redirects more than 3 times",
        ),
    ] {
        on(
            &manager,
            "POST",
            &format!("/servers/{name}/start"),
            redirect(status, &to),
        )
        .await;
        let settings = Settings::new()
            .waker(&manager.uri())
            .env("AUTOMC_WAKER_TIMEOUT", "1h")
            .env("AUTOMC_WAKER_TOKEN", "s3cret");
        let table = Table::start(settings).await.unwrap();
        let (_asleep, player) = table.asleep(name).await.unwrap();

        let text = table.refusal(&player).await.unwrap();

        assert!(text.contains("could not be started"), "{text}");
        let log = table.says(&[name, "waking failed", why]).await;
        log.unwrap();
        assert!(!table.router.process.tail(usize::MAX).contains("s3cret"));
    }
    assert_eq!(
        (requests(&elsewhere).await, requests(&manager).await),
        (0, 8)
    );
}

#[tokio::test]
async fn no_redirect_of_a_webhook_is_success_and_those_within_the_same_host_are_followed() {
    let (hook, elsewhere) = (MockServer::start().await, MockServer::start().await);
    on(&hook, "POST", "/gone", redirect(302, &elsewhere.uri())).await;
    on(&hook, "POST", "/here", redirect(307, "/there")).await;
    let there = Mock::given(method("POST"))
        .and(path("/there"))
        .and(body_partial_json(json!({ "action": "up" })));
    there
        .respond_with(ResponseTemplate::new(200))
        .mount(&hook)
        .await;
    let told = Mock::given(method("POST")).and(path("/told"));
    told.respond_with(ResponseTemplate::new(304))
        .mount(&hook)
        .await;
    for (at, enters) in [("here", true), ("gone", false)] {
        let asleep = Asleep::new().unwrap();
        let settings = Settings::new()
            .flag(format!("--auto-scale-webhook-url={}/{at}", hook.uri()))
            .flag(format!("--webhook-url={}/told", hook.uri()))
            .flag(format!("--mapping={HOST}={}", asleep.addr()));
        let router = RouterProcess::start(settings).await.unwrap();
        let player = Player::new(HOST);
        if enters {
            let waiting = player.knock(router.at.players).await.unwrap();
            eventually("the followed request", DEADLINE, async || {
                let all = hook.received_requests().await.unwrap_or_default();
                all.iter().any(|request| request.url.path() == "/there")
            })
            .await
            .unwrap();
            let _backend = asleep.wake("woken").unwrap();
            waiting.enter().await.unwrap();
        } else {
            player.refusal(router.at.players).await.unwrap();
            let why = "a redirect to another port: set AUTO_SCALE_WEBHOOK_URL";
            router.says(&["waking failed", why]).await.unwrap();
        }
        let lost = async || {
            let metrics = router.at.metrics().await?;
            metrics.value("automc_webhook_events_lost_total")
        };
        eventually("the event that was not taken", DEADLINE, async || {
            lost().await.is_ok_and(|lost| lost >= 1)
        })
        .await
        .unwrap();
    }
    assert_eq!(requests(&elsewhere).await, 0);
}
