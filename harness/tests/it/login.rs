//! Logins and what stands in for one: who is let in, who is told why not, and who is just closed.

use std::time::Duration;

use automc_router::protocol::handshake::Intent;
use harness::backend::{Asleep, Backend};
use harness::player::Player;
use harness::router::{RouterInside, RouterProcess, Settings};
use harness::table::Table;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);

/// AMC-03: without a waker nothing is woken, and whoever wants in is told, not just cut off.
#[tokio::test]
async fn without_a_waker_a_server_that_is_down_is_refused_and_one_that_is_up_is_joined() {
    let table = Table::start(Settings::new()).await.unwrap();
    let (nobody, backend) = (Asleep::new().unwrap(), Backend::start("up").await.unwrap());
    for state in ["stopped", "starting", "running", "unheard-of"] {
        let down = format!("down-{state}");
        let down = table.server(&down, nobody.addr(), state).await.unwrap();
        let text = table.refusal(&down).await.unwrap();
        assert!(text.contains("not reachable at the moment"), "{text}");

        let up = format!("up-{state}");
        let up = table.server(&up, backend.addr(), state).await.unwrap();
        up.enter(table.router.at.players).await.unwrap();
    }
}

/// AMC-03: one refused, one without an answer at all, which ends with the time-out of the dial.
#[tokio::test]
async fn a_backend_that_swallows_connections_is_refused_as_unreachable() {
    // A queue for one, and it is full: the system drops whatever else comes.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = socket.listen(0).unwrap();
    let addr = full.local_addr().unwrap();
    let _queued = TcpStream::connect(addr).await.unwrap();
    let table = Table::start(Settings::new().flag("--backend-dial-timeout=100ms"))
        .await
        .unwrap();
    let player = table.server("full", addr, "running").await.unwrap();

    let text = table.refusal(&player).await.unwrap();

    assert!(text.contains("not reachable at the moment"), "{text}");
}

#[tokio::test]
async fn a_host_without_a_route_is_refused_unless_there_is_a_default() {
    let table = Table::start(Settings::new()).await.unwrap();
    let player = Player::new("nowhere.example");
    let text = table.refusal(&player).await.unwrap();
    assert!(text.contains("no server of this name"), "{text}");

    let backend = Backend::start("default").await.unwrap();
    let default = Settings::new().flag(format!("--default={}", backend.addr()));
    let router = RouterInside::start(default).unwrap();
    player.enter(router.at.players).await.unwrap();
    assert_eq!(backend.records()[0].bytes, player.login_bytes());
}

#[tokio::test]
async fn every_spelling_of_a_host_reaches_its_server_and_arrives_as_it_was_sent() {
    let table = Table::start(Settings::new()).await.unwrap();
    let backend = Backend::start("up").await.unwrap();
    table
        .server("test1", backend.addr(), "running")
        .await
        .unwrap();
    let spellings = [
        "test1.example.com",
        "TEST1.Example.COM",
        "test1.example.com.",
        "test1.example.com\0FML\0",
        "test1.example.com\0FML2\0",
        "test1.example.com.\0FML3\0",
        "test1.example.com\0FORGE",
        "test1.example.com\x00203.0.113.7\x00069a79f444e94726a5befca90e38aaf5\x00[]",
        "test1.example.com///203.0.113.7:4711///1700000000",
        "Test1.example.com.///203.0.113.7:4711///1700000000",
        "test1.example.com\\GUID\\203.0.113.7",
    ];
    for address in spellings {
        let player = Player::new(address);
        let mut session = player.enter(table.router.at.players).await.unwrap();
        assert_eq!(session.echo(b"hello").await.unwrap(), b"hello");
        let record = backend.records().pop().unwrap();
        assert_eq!(record.bytes, player.login_bytes(), "{address:?}");
    }
    assert_eq!(backend.records().len(), spellings.len());
}

/// A handshake of 254 bytes begins with FE 01, as a ping of 1.4 does.
#[tokio::test]
async fn a_transfer_and_a_handshake_that_begins_like_an_old_ping_are_logins() {
    let backend = Backend::start("up").await.unwrap();
    let settings = Settings::new().flag(format!("--mapping=a.example={}", backend.addr()));
    let router = RouterInside::start(settings).unwrap();
    for intent in [Intent::Login, Intent::Transfer] {
        let padded = format!("a.example\0{}", "x".repeat(236));
        for address in ["a.example", &padded] {
            let player = Player {
                intent,
                ..Player::new(address)
            };
            let bytes = player.login_bytes();
            assert_eq!(bytes.starts_with(&[0xFE, 0x01]), address.len() > 200);

            player.enter(router.at.players).await.unwrap();

            assert_eq!(backend.records().pop().unwrap().bytes, bytes);
        }
    }
    assert!(backend.records().iter().all(|record| record.login));
}

/// Reads until the router closes; what it said before.
async fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    // A reset is an end, too: the router does not read what it does not want.
    drop(
        timeout(DEADLINE, stream.read_to_end(&mut said))
            .await
            .unwrap(),
    );
    said
}

#[tokio::test]
async fn what_is_not_minecraft_is_closed_without_a_word_and_ends_nothing_else() {
    let backend = Backend::start("up").await.unwrap();
    let settings = Settings::new().flag(format!("--mapping=a.example={}", backend.addr()));
    let mut router = RouterProcess::start(settings).await.unwrap();
    let player = Player::new("a.example");
    let strangers: [&[u8]; 14] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03",
        b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
        b"PROXY TCP4 203.0.113.7 203.0.113.8 4711 25565\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        // Lengths: none, negative, over five bytes, over the limit, two gigabytes.
        b"\x00",
        b"\xFF\xFF\xFF\xFF\x0F",
        b"\xFF\xFF\xFF\xFF\xFF\xFF",
        b"\xFF\xFF\x7F\x00",
        b"\xFF\xFF\xFF\xFF\x07\x00",
        // A handshake with next state 9, with an address longer than its frame, and with packet id 1.
        b"\x10\x00\x81\x06\x09a.example\x63\xDD\x09",
        b"\x10\x00\x81\x06\x7Fa.example\x63\xDD\x02",
        b"\x10\x01\x81\x06\x09a.example\x63\xDD\x02",
        // A 1.6 ping of another channel.
        b"\xFE\x01\xFA\x00\x0B\x00M\x00C\x00|\x00P\x00o\x00n\x00g\x00H\x00o\x00s\x00t\x00\x07",
        &[0xAA; 100_000],
    ];
    // A login start that is none, after a handshake that is one.
    let login = player.login_bytes();
    let handshake = &login[..=usize::from(login[0])];
    let no_logins = [&b"\x02\x05\x00"[..], b"\xFF\xFF\x7F", b"\x03\x00\x7Fx"];
    let no_logins = no_logins.map(|rest| [handshake, rest].concat());
    let strangers = strangers.map(<[u8]>::to_vec).into_iter().chain(no_logins);
    let mut open = Vec::new();
    for bytes in strangers {
        let mut stream = TcpStream::connect(router.at.players).await.unwrap();
        // It may close before it has read everything.
        drop(stream.write_all(&bytes).await);
        open.push((bytes, stream));
    }
    // What could still become a greeting is closed when its time is over.
    for (mut bytes, mut stream) in open {
        let said = until_closed(&mut stream).await;
        bytes.truncate(32);
        assert!(said.is_empty(), "{said:x?} to {bytes:x?}");
    }

    assert_eq!(backend.records(), []);
    assert!(router.process.is_running().unwrap());
    player.enter(router.at.players).await.unwrap();
}

/// It takes the five seconds a greeting may take, once for all of them.
#[tokio::test]
async fn whoever_is_silent_or_drips_is_closed_in_the_end_and_others_do_not_wait() {
    let backend = Backend::start("up").await.unwrap();
    let settings = Settings::new().flag(format!("--mapping=a.example={}", backend.addr()));
    let router = RouterInside::start(settings).unwrap();
    let player = Player::new("a.example");
    let login = player.login_bytes();
    let handshake_alone = &login[..=usize::from(login[0])];
    let mut quiet = Vec::new();
    for bytes in [
        &[][..],
        &login[..1],
        handshake_alone,
        &login[..login.len() - 1],
    ] {
        let mut stream = TcpStream::connect(router.at.players).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        quiet.push(stream);
    }
    let mut dripping = TcpStream::connect(router.at.players).await.unwrap();
    let (mut read, mut write) = dripping.split();
    let drip = async {
        // A frame of over a hundred bytes, each of which comes in time.
        for byte in std::iter::once(120).chain(std::iter::repeat(0)) {
            if write.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    };
    let mut said = Vec::new();
    let dripped = async {
        tokio::select! {
            () = drip => {}
            ended = read.read_to_end(&mut said) => drop(ended),
        }
    };

    player.enter(router.at.players).await.unwrap();

    timeout(DEADLINE, dripped).await.unwrap();
    assert!(said.is_empty(), "{said:x?}");
    for mut stream in quiet {
        assert!(until_closed(&mut stream).await.is_empty());
    }
    assert_eq!(backend.records().len(), 1);
}

/// Accepts and ends every connection at once: in order, or with a reset.
async fn backend_that_hangs_up(reset: bool) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if reset {
                stream.set_zero_linger().unwrap();
            }
        }
    });
    addr
}

#[tokio::test]
async fn a_backend_that_hangs_up_without_a_word_is_told_as_a_text_every_time() {
    for reset in [false, true] {
        let addr = backend_that_hangs_up(reset).await;
        let mapping = format!("--mapping=a.example={addr}");
        let router = RouterInside::start(Settings::new().flag(mapping)).unwrap();
        for _ in 0..50 {
            let text = Player::new("a.example")
                .refusal(router.at.players)
                .await
                .unwrap();
            assert!(
                text.contains("does not let anybody in") || text.contains("not reachable"),
                "{text}"
            );
        }
        let status = Player::new("a.example")
            .status(router.at.players)
            .await
            .unwrap();
        assert!(status.text().contains("not reachable"), "{status:?}");
    }
}

#[tokio::test]
async fn a_player_name_cannot_forge_a_line_of_the_log() {
    let backend = Backend::start("lobby").await.unwrap();
    let settings = Settings::new().flag(format!("--mapping=a.example={}", backend.addr()));
    let router = RouterProcess::start(settings).await.unwrap();
    let mut player = Player::new("a.example");
    player.name = "x\nFORGED\x1b[31m".to_owned();

    drop(player.enter(router.at.players).await.unwrap());

    let line = router
        .process
        .line_with(&["closed", "FORGED"], DEADLINE)
        .await
        .unwrap();
    assert!(
        !line.starts_with("FORGED") && !line.contains('\x1b'),
        "{line:?}"
    );
}
