//! Whatever comes over whatever socket: greetings, headers and pings of every age, whole, cut, changed and
//! in pieces, and what is none of them. With everything on that looks at a client.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use automc_router::greet::GREETING_TIMEOUT;
use automc_router::protocol::handshake::Intent;
use harness::backend::{Backend, Conduct};
use harness::eventually::eventually;
use harness::manager::Reply;
use harness::player::{Player, ping_1_6};
use harness::receiver::Receiver;
use harness::router::{RouterProcess, Settings};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, yield_now};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);
/// Clients of a crowd.
const CLIENTS: usize = 250;
/// What a client of these is closed within: its greeting's time, as much again for what a status ping
/// still may say, and room for a machine that is busy.
const END: Duration = Duration::from_secs(2 * GREETING_TIMEOUT.as_secs() + 20);
/// One route leads to a server, one to nobody, and the others are none.
const HOSTS: &[&str] = &["a.example", "asleep.example", "A.example.\0FML2\0", "b", ""];
const PLAYERS: &str = r#"{"global": {"denylist": [{"name": "Eve"}]}, "servers": {"b": {"allowlist": [{"name": "Steve"}]}}}"#;

/// A client, and how it leaves.
#[derive(Debug, Clone)]
struct Client {
    /// What it sends, in pieces.
    pieces: Vec<Vec<u8>>,
    leaves: Leaves,
}

#[derive(Debug, Clone, Copy)]
enum Leaves {
    /// It stays until it is closed.
    Never,
    /// It closes its sending half, and stays.
    ByHalf,
    /// It resets the connection.
    Hard,
}

/// Clients who come at once.
#[derive(Clone)]
struct Crowd(Vec<Client>);

impl std::fmt::Debug for Crowd {
    /// What fails names the client it failed with; nobody reads all.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} clients", self.0.len())
    }
}

#[derive(Debug, Clone)]
enum Change {
    Set(Index, u8),
    Cut(Index),
    Drop(Index, Index),
    Insert(Index, Vec<u8>),
    Again(Index),
}

impl Change {
    fn apply(self, mut bytes: Vec<u8>) -> Vec<u8> {
        let length = bytes.len();
        match self {
            Self::Set(at, to) if length > 0 => bytes[at.index(length)] = to,
            Self::Set(..) => {}
            Self::Cut(at) => bytes.truncate(at.index(length + 1)),
            Self::Drop(from, to) => {
                let (from, to) = (from.index(length + 1), to.index(length + 1));
                drop(bytes.drain(from.min(to)..from.max(to)));
            }
            Self::Insert(at, more) => {
                let at = at.index(length + 1);
                bytes.splice(at..at, more);
            }
            Self::Again(from) => bytes.extend_from_within(from.index(length + 1)..),
        }
        bytes
    }
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        3 => (at(), prop_oneof![Just(0xFF), Just(0x80), Just(0), any::<u8>()])
            .prop_map(|(at, to)| Change::Set(at, to)),
        2 => at().prop_map(Change::Cut),
        1 => (at(), at()).prop_map(|(from, to)| Change::Drop(from, to)),
        1 => (at(), vec(any::<u8>(), 1..40)).prop_map(|(at, more)| Change::Insert(at, more)),
        1 => at().prop_map(Change::Again),
    ]
}

/// Handshakes with what follows, and pings from before 1.7.
fn greeting() -> impl Strategy<Value = Vec<u8>> {
    let protocol = prop_oneof![
        select(vec![4, 47, 758, 759, 760, 761, 764, 769]),
        any::<i32>()
    ];
    let intent = select(vec![Intent::Status, Intent::Login, Intent::Transfer]);
    let modern = (
        select(HOSTS),
        "[ -~]{0,18}",
        protocol,
        intent,
        any::<bool>(),
    );
    let modern = modern.prop_map(|(host, name, protocol, intent, ping)| {
        let player = Player {
            name,
            protocol,
            intent,
            ..Player::new(host)
        };
        if ping {
            player.status_bytes()
        } else {
            player.login_bytes()
        }
    });
    let legacy = prop_oneof![
        Just(vec![0xFE]),
        Just(vec![0xFE, 0x01]),
        select(HOSTS).prop_map(ping_1_6),
    ];
    prop_oneof![4 => modern, 1 => legacy]
}

/// What is no greeting: a frame of any size that it need not have, and anything.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let varint = |mut value: u32| {
        let mut bytes = Vec::new();
        while value > 0x7F {
            bytes.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        bytes.push(value.to_le_bytes()[0]);
        bytes
    };
    let size = prop_oneof![0..400_u32, 8_000..40_000_u32, any::<u32>()];
    let frame = (size, 0..20_000_usize, any::<u8>());
    let frame = frame.prop_map(move |(claimed, length, byte)| {
        [varint(claimed), vec![0], vec![byte; length]].concat()
    });
    prop_oneof![frame, vec(any::<u8>(), 0..300)]
}

/// Headers of proxies, of both versions, and what nearly is one.
fn header() -> impl Strategy<Value = Vec<u8>> {
    let text =
        "PROXY TCP[46] ([0-9.]{7,11}|[0-9a-f:]{2,30}) [0-9.]{7,11} [0-9]{1,6} [0-9]{1,6}\r\n";
    let command = prop_oneof![4 => Just(0x21_u8), 1 => Just(0x20), 1 => any::<u8>()];
    let family = select(vec![0x00_u8, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32, 0x55]);
    let length = select(vec![0_usize, 4, 12, 36, 216, 300, 2_264, 3_000]);
    let off = prop_oneof![4 => Just(0_u16), 1 => any::<u16>()];
    let binary = (command, family, length, off, any::<u8>());
    let binary = binary.prop_map(|(command, family, length, off, byte)| {
        let claimed = u16::try_from(length)
            .unwrap()
            .wrapping_add(off)
            .to_be_bytes();
        let head = b"\r\n\r\n\0\r\nQUIT\n";
        [&head[..], &[command, family], &claimed, &vec![byte; length]].concat()
    });
    prop_oneof![
        2 => Just(vec![]),
        1 => Just(b"PROXY UNKNOWN\r\n".to_vec()),
        1 => Just(b"PROXY TCP4 203.0.113.7 198.51.100.1 4711 25565\r\n".to_vec()),
        1 => text.prop_map(String::into_bytes),
        3 => binary,
    ]
}

fn client() -> impl Strategy<Value = Client> {
    let said = prop_oneof![3 => greeting(), 1 => noise()];
    let more = prop_oneof![2 => Just(vec![]), 1 => noise()];
    let changes = prop_oneof![1 => Just(vec![]), 2 => vec(change(), 1..3)];
    let leaves = select(vec![Leaves::Never, Leaves::ByHalf, Leaves::Hard]);
    let cuts = vec(any::<Index>(), 0..4);
    (header(), said, more, changes, cuts, leaves).prop_map(
        |(header, said, more, changes, cuts, leaves)| {
            let bytes = [header, said, more].concat();
            let bytes = changes
                .into_iter()
                .fold(bytes, |bytes, change| change.apply(bytes));
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|cut| bytes[cut[0]..cut[1]].to_vec());
            Client {
                pieces: pieces.collect(),
                leaves,
            }
        },
    )
}

impl Client {
    /// Comes, says what it has to say, and stays until it is closed.
    async fn comes(self, router: SocketAddr) -> Result<()> {
        let mut stream = TcpStream::connect(router).await?;
        stream.set_nodelay(true)?;
        for piece in &self.pieces {
            if stream.write_all(piece).await.is_err() {
                // It is closed already.
                return Ok(());
            }
            yield_now().await;
        }
        match self.leaves {
            Leaves::Never => {}
            Leaves::ByHalf => drop(stream.shutdown().await),
            Leaves::Hard => return Ok(stream.set_zero_linger()?),
        }
        // A reset is an end, too.
        let ended = timeout(END, stream.read_to_end(&mut Vec::new())).await;
        ended
            .map(drop)
            .with_context(|| format!("never closed: {self:?}"))
    }
}

fn files(router: &RouterProcess) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{}/fd", router.process.pid()))?.count())
}

async fn come(Crowd(clients): Crowd) -> Result<()> {
    let (hook, scaler) = (Receiver::start().await?, Receiver::start().await?);
    // An address that nobody listens at: every wake fails.
    scaler.replies([Reply::json(
        &serde_json::json!({ "backend": "127.0.0.1:1" }),
    )]);
    let backend = Backend::start("up").await?;
    let folder = tempfile::tempdir()?;
    let players = folder.path().join("players.json");
    std::fs::write(&players, PLAYERS)?;
    let settings = Settings::new()
        .flag(format!(
            "--mapping=a.example={},asleep.example=127.0.0.1:1",
            backend.addr()
        ))
        .flag("--receive-proxy-protocol")
        .flag("--trusted-proxies=127.0.0.0/8")
        .flag("--record-logins")
        .flag(format!("--auto-scale-allow-deny={}", players.display()))
        .flag(format!("--auto-scale-webhook-url={}", scaler.url()))
        .flag("--auto-scale-webhook-wake-timeout=1s")
        .flag(format!("--webhook-url={}", hook.url()))
        .env("AUTOMC_JOIN", "kick");
    let mut router = RouterProcess::start(settings).await?;
    let (player, at) = (Player::new("a.example"), router.at.players);
    // What stays open from the first event or wake on is open before.
    drop(player.enter(at).await?);
    Player::new("asleep.example").refusal(at).await?;
    scaler.bodies(1, DEADLINE).await?;
    hook.bodies(3, DEADLINE).await?;
    let before = files(&router)?;

    // Whoever gets in is put out, so that nobody ends but by the router's hand.
    backend.conduct(Conduct {
        kicks: usize::MAX,
        ..Conduct::default()
    });
    let mut all: JoinSet<_> = clients.into_iter().map(|client| client.comes(at)).collect();
    while let Some(one) = all.join_next().await {
        one??;
    }

    ensure!(
        router.process.is_running()?,
        "it has ended:\n{}",
        router.process.tail(30)
    );
    let panic = router
        .process
        .log()
        .into_iter()
        .find(|line| line.contains("panic"));
    ensure!(panic.is_none(), "{panic:?}");
    eventually(
        "the files of all clients to be closed",
        DEADLINE,
        async || {
            let now = files(&router)?;
            ensure!(now <= before, "{now} files instead of {before}");
            Ok(())
        },
    )
    .await?;
    backend.conduct(Conduct::default());
    let mut session = player.enter(at).await?;
    ensure!(session.echo(b"hello").await? == b"hello");
    Ok(())
}

proptest! {
    // There is nothing to shrink: they do not need each other.
    #![proptest_config(ProptestConfig { cases: 2, max_shrink_iters: 0, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_end_the_process_or_stay_past_their_time_or_leave_a_file_open(
        crowd in vec(client(), CLIENTS).prop_map(Crowd),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let outcome = runtime.block_on(come(crowd));
        prop_assert!(outcome.is_ok(), "{:#}", outcome.unwrap_err());
    }
}
