//! Names with several addresses, names that come and go, and zones whose servers are dead.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use harness::backend::Backend;
use harness::chaos::ChaosProxy;
use harness::eventually::eventually;
use harness::names::NameServer;
use harness::player::Player;
use harness::postgres::Postgres;
use harness::router::Settings;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

const DEADLINE: Duration = Duration::from_secs(20);
/// Addresses of this machine that nobody uses unasked.
const FIRST: Ipv4Addr = Ipv4Addr::new(127, 0, 7, 1);
const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 7, 2);

/// An address that drops whatever comes: its queue is for one, and full.
struct Silent {
    at: SocketAddr,
    _listener: TcpListener,
    _queued: TcpStream,
}

async fn silent(at: SocketAddr) -> Silent {
    let socket = if at.is_ipv6() {
        TcpSocket::new_v6()
    } else {
        TcpSocket::new_v4()
    };
    let socket = socket.unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(at).unwrap();
    let listener = socket.listen(0).unwrap();
    let at = listener.local_addr().unwrap();
    Silent {
        _queued: TcpStream::connect(at).await.unwrap(),
        _listener: listener,
        at,
    }
}

/// An address that resolvers put before [`SECOND`]: of the other family where this machine has it (RFC 6724).
fn first() -> IpAddr {
    let six = IpAddr::from(Ipv6Addr::LOCALHOST);
    if std::net::TcpListener::bind((six, 0)).is_ok() {
        six
    } else {
        FIRST.into()
    }
}

#[tokio::test]
async fn a_player_is_let_in_past_the_dead_address_of_a_name() {
    let Some(names) = NameServer::start().await.unwrap() else {
        return;
    };
    let silent = silent((first(), 0).into()).await;
    let live = SocketAddr::from((SECOND, silent.at.port()));
    let backend = Backend::start_at("live", live).await.unwrap();
    names.answers("two.names.test", &[first(), SECOND.into()]);
    let route = format!("--mapping=a.example=two.names.test:{}", live.port());
    let router = names.router(Settings::new().flag(route)).await.unwrap();

    let player = Player::new("a.example");
    player.enter(router.at.players).await.unwrap();

    assert_eq!(backend.logins().len(), 1);
    let status = player.status(router.at.players).await.unwrap();
    assert_eq!(status.text(), "live");
}

#[tokio::test]
async fn a_name_that_appears_is_found() {
    let Some(names) = NameServer::start().await.unwrap() else {
        return;
    };
    let backend = Backend::start("lobby").await.unwrap();
    let route = format!("--mapping=a.example=lobby:{}", backend.addr().port());
    let router = names.router(Settings::new().flag(route)).await.unwrap();
    let player = Player::new("a.example");
    let text = player.refusal(router.at.players).await.unwrap();
    assert!(text.contains("not reachable"), "{text}");

    names.answers("lobby", &[backend.addr().ip()]);

    let enters = async || player.enter(router.at.players).await.map(drop);
    eventually("the name to be found", DEADLINE, enters)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_dead_zone_keeps_no_player_from_a_server_elsewhere() {
    const DEAD: usize = 150;
    let Some(names) = NameServer::start().await.unwrap() else {
        return;
    };
    names.dead("dead.test");
    let backend = Backend::start("live").await.unwrap();
    let port = backend.addr().port();
    let mut settings = Settings::new();
    for number in 0..DEAD {
        let route = format!("--mapping=d{number}.example=n{number}.dead.test:25565");
        settings = settings.flag(route);
    }
    for number in 0..10 {
        let name = format!("n{number}.live.test");
        names.answers(&name, &[backend.addr().ip()]);
        settings = settings.flag(format!("--mapping=a{number}.example={name}:{port}"));
    }
    let router = names.router(settings).await.unwrap();
    let at = router.at.players;
    let mut pings = tokio::task::JoinSet::new();
    for number in 0..DEAD {
        let player = Player::new(&format!("d{number}.example"));
        pings.spawn(async move { player.status(at).await.map(drop) });
    }
    // Once the first of them is answered, all places are taken.
    pings.join_next().await.unwrap().unwrap().unwrap();

    for number in 0..10 {
        let player = Player::new(&format!("a{number}.example"));
        let entered = player.enter(at).await;
        entered.unwrap_or_else(|error| panic!("{number}: {error:#}"));
    }

    while let Some(ping) = pings.join_next().await {
        ping.unwrap().unwrap();
    }
}

/// A database whose name leads to an address that nothing answers at, and to where it is.
struct Behind {
    names: NameServer,
    /// The first address, with the port.
    first: SocketAddr,
    proxy: ChaosProxy,
}

impl Behind {
    /// Skips the test where there is no address that resolvers put before that of the database.
    async fn new() -> Option<Self> {
        if !first().is_ipv6() {
            harness::skip("no IPv6").unwrap();
            return None;
        }
        let names = NameServer::start().await.unwrap()?;
        let server = Postgres::shared().await.unwrap();
        let proxy = ChaosProxy::start(server.addr()).await.unwrap();
        let at = proxy.addr();
        names.answers("db.names.test", &[first(), at.ip()]);
        Some(Self {
            names,
            first: (first(), at.port()).into(),
            proxy,
        })
    }

    /// Routes come from it at the first try.
    async fn serves(&self) {
        let server = Postgres::shared().await.unwrap();
        let database = server.database().await.unwrap();
        let sql = database.client().await.unwrap();
        let insert = "INSERT INTO servers VALUES ('a', 'a.example', '127.0.0.1:1')";
        sql.batch_execute(insert).await.unwrap();
        let at = self.proxy.addr();
        let dsn = server.dsn_at(at, database.name());
        let dsn = dsn.replace(&at.to_string(), &format!("db.names.test:{}", at.port()));
        assert!(dsn.contains("names.test"), "no {at} in the DSN");
        let settings = Settings::new().env("AUTOMC_DSN", dsn);
        let router = self.names.router(settings).await.unwrap();

        let wanted = Some("127.0.0.1:1");
        let routed = router.at.routed("a.example", wanted, DEADLINE).await;
        routed.unwrap_or_else(|error| panic!("{error:#}\n{}", router.process.tail(20)));
        let log = router.process.log();
        let failed = log.iter().find(|line| line.contains("reconnecting"));
        assert_eq!(failed, None, "not at the first try");
    }
}

#[tokio::test]
async fn postgres_is_reached_past_an_address_that_is_silent() {
    let Some(behind) = Behind::new().await else {
        return;
    };
    let _silent = silent(behind.first).await;
    behind.serves().await;
}

#[tokio::test]
async fn postgres_is_reached_past_an_address_that_takes_connections_and_stays_mute() {
    let Some(behind) = Behind::new().await else {
        return;
    };
    let mute = TcpListener::bind(behind.first).await.unwrap();
    behind.serves().await;
    let asked = tokio::time::timeout(DEADLINE, mute.accept()).await;
    asked.unwrap().unwrap();
}

/// What is asked over HTTP is asked at whichever address answers.
#[tokio::test]
async fn a_receiver_of_webhooks_is_told_past_the_dead_address_of_its_name() {
    let Some(names) = NameServer::start().await.unwrap() else {
        return;
    };
    let silent = silent((FIRST, 0).into()).await;
    let live = SocketAddr::from((SECOND, silent.at.port()));
    let receiver = TcpListener::bind(live).await.unwrap();
    let addresses: [IpAddr; 2] = [FIRST.into(), SECOND.into()];
    names.answers("hooks.names.test", &addresses);
    let backend = Backend::start("up").await.unwrap();
    let settings = Settings::new()
        .flag(format!("--mapping=a.example={}", backend.addr()))
        .flag(format!(
            "--webhook-url=http://hooks.names.test:{}/",
            live.port()
        ));
    let router = names.router(settings).await.unwrap();

    let _player = Player::new("a.example")
        .enter(router.at.players)
        .await
        .unwrap();

    let told = tokio::time::timeout(DEADLINE, receiver.accept()).await;
    told.unwrap().unwrap();
}
