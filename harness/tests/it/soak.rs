//! The soak: that a short one passes, and that what it is made of notices every fault.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use harness::binaries;
use harness::load::job::{Job, Order, Report};
use harness::load::part::{Players, Server};
use harness::soak::{self, Options, Span};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// Bytes of a visit after which something goes wrong: there are more in every one.
const WHOLE: usize = 5_000;

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_harness"))
}

#[tokio::test]
async fn players_come_talk_and_go_and_leave_nothing_behind() {
    let out = tempfile::tempdir().unwrap();
    let options = Options {
        router: binaries::router().await.unwrap(),
        harness: program().to_owned(),
        out: out.path().to_owned(),
        idle: 300,
        active: 40,
        span: Span::Visits(6),
    };

    soak::run(&options).await.unwrap();

    let json = std::fs::read_to_string(out.path().join("soak.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let checks = json["checks"].as_array().unwrap();
    assert!(checks.len() >= 6 && checks.iter().all(|check| check["passed"] == true));
    let last = json["samples"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["sessions_open"], &last["phase"]),
        (&0.into(), &"end".into())
    );
    assert_eq!(last["sessions"], 300 + 40 * 6);
    assert!(out.path().join("soak.svg").exists());
}

/// What goes wrong on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    Flip,
    Swap,
    Insert,
    Cut,
}

/// A relay between players and `server` with a fault, on the way up or down.
async fn faulty(server: SocketAddr, up: Fault, down: Fault) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (client_read, client_write) = client.into_split();
            let server = TcpStream::connect(server).await.unwrap();
            let (server_read, server_write) = server.into_split();
            tokio::spawn(pass(client_read, server_write, up));
            tokio::spawn(pass(server_read, client_write, down));
        }
    });
    at
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, fault: Fault) -> Result<()> {
    let (mut passed, mut fault) = (0, fault);
    loop {
        let mut bytes = Vec::with_capacity(64 * 1024);
        if from.read_buf(&mut bytes).await? == 0 {
            return Ok(to.shutdown().await?);
        }
        passed += bytes.len();
        let place = bytes.windows(2).position(|pair| pair[0] != pair[1]);
        if let Some(place) = place.filter(|_| passed > WHOLE) {
            match std::mem::replace(&mut fault, Fault::Nothing) {
                Fault::Nothing => {}
                Fault::Flip => bytes[place] ^= 1,
                Fault::Swap => bytes.swap(place, place + 1),
                Fault::Insert => bytes.insert(place, !bytes[place]),
                Fault::Cut => {
                    to.write_all(&bytes[..place]).await?;
                    return Ok(to.shutdown().await?);
                }
            }
        }
        to.write_all(&bytes).await?;
    }
}

/// What players and server say of one visit of each of three players.
async fn visits(up: Fault, down: Fault) -> (Result<Report>, Result<Report>) {
    let server = Server::start(program()).await.unwrap();
    let order = Order {
        at: faulty(server.at, up, down).await,
        host: "soak.example".to_owned(),
        job: Job::Visits {
            players: 3,
            pause: Duration::ZERO,
            visits: Some(1),
        },
    };
    let mut players = Players::start(program(), &order).await.unwrap();
    let outcome = async {
        players.begin().await?;
        players.measured().await?;
        players.report().await
    };
    (outcome.await, server.end().await)
}

#[tokio::test]
async fn both_ends_check_what_they_hear() {
    let (players, server) = visits(Fault::Nothing, Fault::Nothing).await;
    let (players, server) = (players.unwrap(), server.unwrap());
    assert_eq!((players.units, players.bytes), (server.units, server.bytes));
    assert_eq!(players.units, 3);

    for (fault, words) in [
        (Fault::Flip, "are not what was said"),
        (Fault::Swap, "are not what was said"),
        (Fault::Insert, "are not what was said"),
        (Fault::Cut, "the end came before"),
    ] {
        let (players, _) = visits(Fault::Nothing, fault).await;
        let error = format!("{:#}", players.unwrap_err());
        for part in ["player ", "visit 0", "from the server", "bytes ", words] {
            assert!(error.contains(part), "{fault:?} down, {part:?}: {error}");
        }
        let (players, server) = visits(fault, Fault::Nothing).await;
        assert!(players.is_err(), "{fault:?} up");
        let error = format!("{:#}", server.unwrap_err());
        for part in ["player ", "visit 0", "from the player", "bytes ", words] {
            assert!(error.contains(part), "{fault:?} up, {part:?}: {error}");
        }
    }
}
