//! Sessions: bytes both ways, whole and in order, and how they end.

use std::time::Duration;

use harness::backend::Backend;
use harness::player::Player;
use harness::router::{RouterInside, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);

async fn with_backend() -> (Backend, RouterInside) {
    let backend = Backend::start("lobby").await.unwrap();
    let mapping = format!("--mapping=a.example={}", backend.addr());
    (
        backend,
        RouterInside::start(Settings::new().flag(mapping)).unwrap(),
    )
}

#[tokio::test]
async fn megabytes_come_back_as_they_went() {
    let (_backend, router) = with_backend().await;
    let mut session = Player::new("a.example")
        .enter(router.at.players)
        .await
        .unwrap();
    let mut state = 1_u32;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(4 << 20)
    .collect();

    assert!(session.echo(&bytes).await.unwrap() == bytes);
}

#[tokio::test]
async fn a_client_that_closes_its_sending_half_still_gets_the_answer() {
    let (_backend, router) = with_backend().await;
    let mut stream = TcpStream::connect(router.at.players).await.unwrap();
    stream
        .write_all(&Player::new("a.example").status_bytes())
        .await
        .unwrap();
    stream.shutdown().await.unwrap();

    let mut answer = Vec::new();
    timeout(DEADLINE, stream.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();

    assert!(String::from_utf8_lossy(&answer).contains("lobby"));
}

#[tokio::test]
async fn a_backend_that_goes_ends_the_session() {
    let (backend, router) = with_backend().await;
    let mut session = Player::new("a.example")
        .enter(router.at.players)
        .await
        .unwrap();

    backend.stop();

    let mut rest = Vec::new();
    drop(
        timeout(DEADLINE, session.stream.read_to_end(&mut rest))
            .await
            .unwrap(),
    );
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_login_that_comes_byte_by_byte_arrives_whole() {
    let (backend, router) = with_backend().await;
    let player = Player::new("a.example");
    let mut stream = TcpStream::connect(router.at.players).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in player.login_bytes() {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let session = harness::player::Session { stream };

    session.enter().await.unwrap();
    assert_eq!(backend.records()[0].bytes, player.login_bytes());
}
