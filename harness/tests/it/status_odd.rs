//! Statuses that clients take and many readers do not, and servers that are far away.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use automc_router::protocol::FRAME_BYTES_MAX;
use automc_router::protocol::status::{StatusRequest, frame, pong};
use harness::backend::{Backend, Conduct};
use harness::eventually::eventually;
use harness::player::Player;
use harness::router::{RouterInside, Settings};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const DEADLINE: Duration = Duration::from_secs(20);

/// A router in front of `backend`, which it asks again for each ping.
fn before(backend: &Backend) -> RouterInside {
    let settings = Settings::new()
        .flag(format!("--mapping=a.example={}", backend.addr()))
        .env("AUTOMC_STATUS_TTL", "0");
    RouterInside::start(settings).unwrap()
}

/// As many bytes as there are to be, and how long a ping behind them takes.
async fn look(router: SocketAddr, length: usize) -> (Vec<u8>, Duration) {
    let looking = async {
        let mut stream = TcpStream::connect(router).await.unwrap();
        let asked = Player::new("a.example").status_bytes();
        stream.write_all(&asked).await.unwrap();
        let mut status = vec![0; length];
        stream.read_exact(&mut status).await.unwrap();
        let ping = StatusRequest::Ping(*b"pingping").encode();
        let begun = Instant::now();
        stream.write_all(&ping).await.unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).await.unwrap();
        assert_eq!(back, pong(*b"pingping"));
        (status, begun.elapsed())
    };
    tokio::time::timeout(DEADLINE, looking).await.unwrap()
}

#[tokio::test]
async fn whatever_clients_put_up_with_comes_through_byte_for_byte() {
    let backend = Backend::start("odd").await.unwrap();
    let router = before(&backend);
    let nested = format!(
        "{}{{\"text\":\"deep\"}}{}",
        r#"{"text":"","extra":["#.repeat(70),
        "]}".repeat(70)
    );
    let longest = "x".repeat(FRAME_BYTES_MAX - 4 - r#"{"a":""}"#.len());
    for json in [
        b"{\"description\":\"a\x00b\x1fc\nd\te\"}".to_vec(),
        br#"{"description":"\ud83d","players":{"sample":[{"name":"\ude00"}]}}"#.to_vec(),
        format!("{{\"description\":{nested}}}").into(),
        br#"{"a":1,"a":2,"b":1e999,"c":123456789012345678901234567890}"#.to_vec(),
        b"{\"description\":\"\xff\xa7\"}\0\0".to_vec(),
        format!("{{\"modinfo\":\"{}\"}}", "m".repeat(600_000)).into(),
        format!("{{\"a\":\"{longest}\"}}").into(),
    ] {
        let packet = frame(&json);
        backend.says(packet.clone());
        let (shown, _) = look(router.at.players, packet.len()).await;
        assert!(
            shown == packet,
            "{}",
            String::from_utf8_lossy(&json[..json.len().min(80)])
        );
    }
}

#[tokio::test]
async fn a_sleeping_server_is_shown_with_the_number_that_was_seen_whoever_asks() {
    let backend = Backend::start("a").await.unwrap();
    backend.shows(&json!({ "version": { "name": "1.20.1", "protocol": 763 } }).to_string());
    let router = before(&backend);
    let shown = async |protocol| {
        let player = Player {
            protocol,
            ..Player::new("a.example")
        };
        player.status(router.at.players).await.unwrap().json
    };
    assert_eq!(shown(769).await["version"]["protocol"], 763);
    backend.stop();
    eventually("the server to be away", DEADLINE, async || {
        shown(769).await["players"]["max"] == 0
    })
    .await
    .unwrap();
    for protocol in [-1, 47, 763, 769, i32::MAX] {
        let version = &shown(protocol).await["version"];
        assert_eq!(*version, json!({ "name": "1.20.1", "protocol": 763 }));
    }
}

#[tokio::test]
async fn a_ping_takes_as_long_as_the_way_to_the_server_from_the_cache_too() {
    const WAY: Duration = Duration::from_millis(150);
    let backend = Backend::start("far").await.unwrap();
    backend.conduct(Conduct {
        pong_after: WAY,
        ..Conduct::default()
    });
    let packet = frame(br#"{"description":"far"}"#);
    backend.says(packet.clone());
    let settings = Settings::new()
        .flag(format!("--mapping=a.example={}", backend.addr()))
        .env("AUTOMC_STATUS_TTL", "1h");
    let router = RouterInside::start(settings).unwrap();
    for _ in 0..3 {
        let (_, way) = look(router.at.players, packet.len()).await;
        // The router's own ping may have been under way for a moment.
        assert!(way > WAY - Duration::from_millis(50), "{way:?}");
    }
    assert_eq!(backend.records().len(), 1);
}
