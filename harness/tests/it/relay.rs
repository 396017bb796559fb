//! Sessions: bytes both ways, whole and in order, and how they end.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Result, ensure};
use automc_router::protocol::login::disconnect;
use harness::backend::Backend;
use harness::eventually::eventually;
use harness::player::Player;
use harness::router::{Address, RouterInside, RouterProcess, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
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
    let session = player.on(stream);

    session.enter().await.unwrap();
    assert_eq!(backend.records()[0].bytes, player.login_bytes());
}

async fn metric(router: &Address, name: &str) -> Result<u64> {
    router.metrics().await?.value(name)
}

#[tokio::test]
async fn a_busy_session_splices_and_copies_again_when_it_cools() {
    let (_backend, router) = with_backend().await;
    let mut session = Player::new("a.example")
        .enter(router.at.players)
        .await
        .unwrap();
    eventually("the session in the metrics", DEADLINE, async || {
        ensure!(metric(&router.at, "automc_sessions_open").await? == 1);
        Ok(())
    })
    .await
    .unwrap();

    session.echo(&vec![7; 16 << 20]).await.unwrap();

    // Live: the session goes on.
    let bytes = async |direction: &str| {
        let name = format!("automc_relay_bytes_total{{direction=\"{direction}\"}}");
        metric(&router.at, &name).await.unwrap()
    };
    assert_eq!(bytes("up").await, 16 << 20);
    let spliced = metric(&router.at, "automc_relay_spliced_bytes_total")
        .await
        .unwrap();
    assert!(spliced > 0 && spliced <= bytes("up").await + bytes("down").await);
    let upgrades = metric(&router.at, "automc_relay_splice_upgrades_total")
        .await
        .unwrap();
    assert!(upgrades > 0);

    for _ in 0..40 {
        assert_eq!(session.echo(b"quiet").await.unwrap(), b"quiet");
    }

    let upgrades = metric(&router.at, "automc_relay_splice_upgrades_total")
        .await
        .unwrap();
    let downgrades = metric(&router.at, "automc_relay_splice_downgrades_total")
        .await
        .unwrap();
    assert_eq!(downgrades, upgrades);
    let cooled = metric(&router.at, "automc_relay_spliced_bytes_total")
        .await
        .unwrap();
    session.echo(b"quiet").await.unwrap();
    assert_eq!(
        metric(&router.at, "automc_relay_spliced_bytes_total")
            .await
            .unwrap(),
        cooled
    );
    drop(session);
    eventually("the session's end in the metrics", DEADLINE, async || {
        ensure!(metric(&router.at, "automc_sessions_open").await? == 0);
        Ok(())
    })
    .await
    .unwrap();
}

/// A backend in the test's own hands, and a router before it.
async fn by_hand() -> (TcpListener, RouterProcess) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let mapping = format!("--mapping=a.example={}", listener.local_addr().unwrap());
    let router = RouterProcess::start(Settings::new().flag(mapping))
        .await
        .unwrap();
    (listener, router)
}

/// A session: the player's end and the backend's, which has said one byte.
async fn session(listener: &TcpListener, router: &RouterProcess) -> (TcpStream, TcpStream) {
    let mut client = Player::new("a.example")
        .knock(router.at.players)
        .await
        .unwrap()
        .stream;
    let (mut backend, _) = listener.accept().await.unwrap();
    // A whole packet: for the rest of another one the router waits a while before it relays.
    backend.write_all(&[1, 1]).await.unwrap();
    client.read_u16().await.unwrap();
    (client, backend)
}

#[tokio::test]
async fn the_closing_line_tells_who_ended_it_and_whether_by_fin_or_by_reset() {
    let (listener, router) = by_hand().await;

    let (client, _backend) = session(&listener, &router).await;
    client.set_zero_linger().unwrap();
    drop(client);
    router
        .process
        .line_with(&["end=\"client_reset\""], DEADLINE)
        .await
        .unwrap();

    let (_client, backend) = session(&listener, &router).await;
    backend.set_zero_linger().unwrap();
    drop(backend);
    router
        .process
        .line_with(&["end=\"backend_reset\""], DEADLINE)
        .await
        .unwrap();

    let (client, mut backend) = session(&listener, &router).await;
    drop(client);
    // Only then is it the client's end, and not anybody's.
    backend.read_to_end(&mut Vec::new()).await.unwrap();
    drop(backend);
    router
        .process
        .line_with(&["end=\"client_closed\""], DEADLINE)
        .await
        .unwrap();
}

/// Whitelist, ban, full, wrong version: one packet, and FIN. What the client still has to say goes to the server.
#[tokio::test]
async fn a_kick_at_login_is_an_orderly_end_of_the_backend_however_the_route_treats_players() {
    let kick = disconnect("You are not whitelisted on this server!");
    for join in [
        "hold,kick",
        "kick",
        "transfer,hold,kick",
        "hold",
        "forward,hold",
    ] {
        for resets in [false, true] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let addr = listener.local_addr().unwrap();
            let settings = Settings::new()
                .flag(format!("--mapping=a.example={addr}"))
                .env("AUTOMC_FORWARD_TO", addr.to_string())
                .env("AUTOMC_JOIN", join);
            let router = RouterProcess::start(settings).await.unwrap();
            let player = Player::new("a.example");
            let mut client = player.knock(router.at.players).await.unwrap().stream;
            let (mut backend, _) = listener.accept().await.unwrap();
            let mut greeting = vec![0; player.login_bytes().len()];
            backend.read_exact(&mut greeting).await.unwrap();
            backend.write_all(&kick).await.unwrap();
            let mut told = vec![0; kick.len()];
            client.read_exact(&mut told).await.unwrap();
            assert_eq!(told, kick);
            let end = if resets {
                backend.set_zero_linger().unwrap();
                drop(backend);
                "end=\"backend_reset\""
            } else {
                backend.shutdown().await.unwrap();
                let mut byte = [0];
                let end = timeout(DEADLINE, client.read(&mut byte));
                assert_eq!(end.await.unwrap().unwrap(), 0);
                client.write_all(b"still here").await.unwrap();
                client.shutdown().await.unwrap();
                let mut rest = Vec::new();
                let heard = backend.read_to_end(&mut rest);
                timeout(DEADLINE, heard).await.unwrap().unwrap();
                assert_eq!(rest, b"still here", "{join}");
                "end=\"backend_closed\""
            };

            let line = router.says(&["closed", "end="]).await.unwrap();

            let bytes = format!("down_bytes={}", kick.len());
            assert!(
                line.contains(end) && line.contains(&bytes),
                "{join}: {line}"
            );
            let metrics = router.at.metrics().await.unwrap();
            let value = |name: &str| metrics.value(name).unwrap();
            let errors = ["relay", "backend_failed"]
                .map(|kind| value(&format!("mc_router_errors{{type=\"{kind}\"}}")));
            assert_eq!(errors, [u64::from(resets), 0], "{join}");
            let down = "automc_relay_bytes_total{direction=\"down\"}";
            assert_eq!(value(down), u64::try_from(kick.len()).unwrap(), "{join}");
        }
    }
}

/// Servers that kick do so: the text is sent, and the socket closed with unread bytes in it.
#[tokio::test]
async fn a_servers_last_words_reach_the_player_though_it_resets_afterwards() {
    let (listener, router) = by_hand().await;
    for _ in 0..20 {
        let (mut client, mut backend) = session(&listener, &router).await;
        client.write_all(&[1; 1000]).await.unwrap();
        backend.readable().await.unwrap();
        backend.write_all(b"You are banned").await.unwrap();
        drop(backend);
        client.write_all(&[2; 1000]).await.unwrap();

        let mut words = Vec::new();
        let outcome = timeout(DEADLINE, client.read_to_end(&mut words))
            .await
            .unwrap();

        assert_eq!(words, b"You are banned");
        // A reset here would have Windows throw the words away.
        outcome.unwrap();
    }
}
