//! The PROXY protocol, both ways: whose connection it is, as the router understands it and as
//! backends are told.

use std::net::SocketAddr;
use std::time::Duration;

use harness::backend::{Backend, Conduct};
use harness::manager::Reply;
use harness::player::{Player, Session, legacy_ping, ping_1_6};
use harness::router::{RouterProcess, Settings};
use harness::table::Table;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);
const V1: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.1 4711 25565\r\n";
const SOURCE: &str = "203.0.113.7:4711";
const DESTINATION: &str = "198.51.100.1:25565";

/// A header of version 2 as the protocol has it: command, family, and what follows.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    let head = b"\r\n\r\n\0\r\nQUIT\n";
    [&head[..], &[command, family], &length, rest].concat()
}

/// The address block of two IPv4 ends.
fn v4(source: &str, destination: &str) -> Vec<u8> {
    let [from, to] = [source, destination].map(|end| end.parse().unwrap());
    let (SocketAddr::V4(from), SocketAddr::V4(to)) = (from, to) else {
        panic!("{source} and {destination} are not both IPv4")
    };
    let ips = [from.ip().octets(), to.ip().octets()].concat();
    let ports = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    [ips, ports].concat()
}

/// A server that insists on a header.
fn proxied() -> Conduct {
    Conduct {
        proxied: true,
        ..Conduct::default()
    }
}

/// Such a server as the route of `a.example`, behind a router with `settings` that expects headers
/// and sends them.
async fn behind(settings: Settings) -> (Backend, RouterProcess) {
    let backend = Backend::start_as("up", proxied()).await.unwrap();
    let settings = settings
        .flag("--use-proxy-protocol")
        .flag("--receive-proxy-protocol")
        .flag("--log-level=debug")
        .flag(format!("--mapping=a.example={}", backend.addr()));
    (backend, RouterProcess::start(settings).await.unwrap())
}

/// Sends `header` and a login, and nothing more.
async fn knock(router: SocketAddr, header: &[u8], player: &Player) -> Session {
    let mut stream = TcpStream::connect(router).await.unwrap();
    let sent = [header, &player.login_bytes()].concat();
    stream.write_all(&sent).await.unwrap();
    player.on(stream)
}

/// Lets a player in behind `header`, whose greeting must arrive whole: the header the server got,
/// and the connection's own two ends.
async fn told(
    router: &RouterProcess,
    backend: &Backend,
    header: &[u8],
) -> (Vec<u8>, [SocketAddr; 2]) {
    let player = Player::new("a.example");
    let knocked = knock(router.at.players, header, &player).await;
    let mut session = knocked.enter().await.unwrap();
    assert_eq!(session.echo(b"hello").await.unwrap(), b"hello");
    let record = backend.logins().pop().unwrap();
    assert_eq!(record.bytes, player.login_bytes());
    let ends = [session.stream.local_addr(), session.stream.peer_addr()];
    (record.header, ends.map(Result::unwrap))
}

/// The header of a connection that nobody has said anything about.
fn own([from, to]: [SocketAddr; 2]) -> Vec<u8> {
    v2(0x21, 0x11, &v4(&from.to_string(), &to.to_string()))
}

/// Upstream panics on the UDP family, and lets it past its filters.
#[tokio::test]
async fn a_header_of_any_kind_is_taken_away_and_the_backend_learns_whose_connection_it_is() {
    let (backend, router) = behind(Settings::new()).await;
    let warned = ["WARN", "any client can claim any address"];
    router.process.line_with(&warned, DEADLINE).await.unwrap();
    let block = v4(SOURCE, DESTINATION);
    let with_tlvs = [&block[..], &[0x04, 0, 2, 7, 7]].concat();
    for header in [
        V1.to_vec(),
        v2(0x21, 0x11, &block),
        v2(0x21, 0x11, &with_tlvs),
    ] {
        let (told, _) = told(&router, &backend, &header).await;
        assert_eq!(told, v2(0x21, 0x11, &block), "{header:x?}");
    }
    let line = b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 25565\r\n";
    let (six, _) = told(&router, &backend, line).await;
    assert_eq!(six[12..16], [0x21, 0x21, 0, 36]);
    assert_eq!(six[16..20], [0x20, 0x01, 0x0d, 0xb8]);

    // Over loopback the router's socket for both families sees ::ffff:127.0.0.1.
    let path = [b'/'; 216];
    for header in [
        vec![],
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN ffff::1 ffff::1 1 2\r\n".to_vec(),
        v2(0x20, 0x00, &[]),
        v2(0x20, 0x11, &block),
        v2(0x21, 0x00, &[]),
        v2(0x21, 0x12, &block),
        v2(0x21, 0x31, &path),
    ] {
        let (told, ends) = told(&router, &backend, &header).await;
        assert_eq!(told, own(ends), "{header:x?}");
    }
}

#[tokio::test]
async fn only_trusted_proxies_are_believed_however_their_address_is_written() {
    for (trusted, believed) in [
        ("127.0.0.1", true),
        ("192.0.2.1,127.0.0.0/8", true),
        ("::ffff:127.0.0.0/104", true),
        ("10.0.0.0/8,192.0.2.1,::1", false),
        ("127.0.0.2", false),
    ] {
        let settings = Settings::new().env("TRUSTED_PROXIES", trusted);
        let (backend, router) = behind(settings).await;
        for header in [V1, &v2(0x21, 0x11, &v4(SOURCE, DESTINATION))] {
            let (told, ends) = told(&router, &backend, header).await;
            let expected = if believed {
                v2(0x21, 0x11, &v4(SOURCE, DESTINATION))
            } else {
                own(ends)
            };
            assert_eq!(told, expected, "{trusted}");
        }
        let peer = if believed { SOURCE } else { "127.0.0.1" };
        let line = ["closed", &format!("peer={peer}"), "up_bytes"];
        router.process.line_with(&line, DEADLINE).await.unwrap();
        assert!(!router.process.tail(1000).contains("claim any address"));
    }
}

/// What is said to `stream` until it is closed.
async fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    // A reset is an end too.
    drop(
        timeout(DEADLINE, stream.read_to_end(&mut said))
            .await
            .expect("an end in time"),
    );
    said
}

#[tokio::test]
async fn a_malformed_header_closes_its_connection_and_no_other() {
    let (backend, router) = behind(Settings::new()).await;
    let player = Player::new("a.example");
    let overlong = [&b"PROXY UNKNOWN "[..], &[b'x'; 100], b"\r\n"].concat();
    for (header, reason) in [
        (b"PROXY TCP4 1.1.1.1\r\n".to_vec(), "malformed"),
        (overlong, "longer than 107 bytes"),
        (v2(0x21, 0x11, &[1; 4]), "malformed"),
        (v2(0x21, 0x51, &[]), "malformed"),
        (v2(0x35, 0x11, &[]), "version and command 0x35"),
        (v2(0x21, 0x11, &[0; 4000]), "longer than 2280 bytes"),
    ] {
        let mut session = knock(router.at.players, &header, &player).await;
        assert_eq!(until_closed(&mut session.stream).await, b"", "{reason}");
        let line = ["DEBUG", "closed", reason];
        router.process.line_with(&line, DEADLINE).await.unwrap();
    }
    for half in [&V1[..20], &v2(0x21, 0x11, &[1; 12])[..17]] {
        let mut stream = TcpStream::connect(router.at.players).await.unwrap();
        stream.write_all(half).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(until_closed(&mut stream).await, b"");
    }
    assert_eq!(backend.records(), []);
    told(&router, &backend, V1).await;
}

#[tokio::test]
async fn headers_may_come_late_and_drip_and_hold_nobody_up() {
    let (backend, router) = behind(Settings::new()).await;
    let player = Player::new("a.example");
    let mut quiet = Vec::new();
    for half in [b"", &V1[..20], V1] {
        let mut stream = TcpStream::connect(router.at.players).await.unwrap();
        stream.write_all(half).await.unwrap();
        quiet.push(stream);
    }
    let mut late = TcpStream::connect(router.at.players).await.unwrap();
    late.set_nodelay(true).unwrap();
    let drips = async {
        // 49 bytes that take 3 s.
        for byte in V1 {
            tokio::time::sleep(Duration::from_millis(62)).await;
            late.write_all(&[*byte]).await.unwrap();
        }
        late.write_all(&player.login_bytes()).await.unwrap();
        player.on(late).enter().await.unwrap()
    };
    let meanwhile = async {
        told(&router, &backend, V1).await;
        assert_eq!(backend.logins().len(), 1);
    };
    let (_late, ()) = tokio::join!(drips, meanwhile);

    let record = backend.logins().pop().unwrap();
    assert_eq!(record.header, v2(0x21, 0x11, &v4(SOURCE, DESTINATION)));
    assert_eq!(record.bytes, player.login_bytes());
    for mut stream in quiet {
        assert_eq!(until_closed(&mut stream).await, b"");
    }
    assert_eq!(backend.records().len(), 2);
}

#[tokio::test]
async fn wakes_are_counted_by_the_address_the_proxy_tells() {
    let settings = Settings::new()
        .flag("--receive-proxy-protocol")
        .env("TRUSTED_PROXIES", "127.0.0.0/8")
        .env("AUTOMC_WAKE_PER_ADDRESS", "1/1h");
    let (manager, table) = Table::with_manager(settings).await.unwrap();
    manager.polls([Reply::state("starting")]);
    let router = table.router.at.players;
    let mut waiting = Vec::new();
    for (name, address) in [
        ("a", "203.0.113.7"),
        ("b", "203.0.113.8"),
        ("c", "2001:db8::7"),
    ] {
        let (_asleep, player) = table.asleep(name).await.unwrap();
        let family = if address.contains(':') { 6 } else { 4 };
        let header = format!("PROXY TCP{family} {address} {address} 1 2\r\n");
        waiting.push(knock(router, header.as_bytes(), &player).await);
        table
            .says(&["asking the server-manager", &format!("name={name}")])
            .await
            .unwrap();
    }
    let (_asleep, player) = table.asleep("d").await.unwrap();
    let header = b"PROXY TCP4 203.0.113.7 203.0.113.7 9 9\r\n";
    let session = knock(router, header, &player).await;
    let text = session.refusal().await.unwrap();
    assert!(text.contains("too often from here"), "{text}");
}

#[tokio::test]
async fn a_woken_server_gets_its_header_before_the_greeting_and_before_every_probe() {
    let (manager, table) = Table::with_manager(Settings::new()).await.unwrap();
    let asleep = harness::backend::Asleep::new().unwrap();
    let own = [("proxy_protocol", "v1")];
    let player = table
        .server_with("test1", asleep.addr(), "stopped", &own)
        .await
        .unwrap();

    let mut waiting = player.knock(table.router.at.players).await.unwrap();
    waiting
        .stream
        .write_all(b"sent while waiting")
        .await
        .unwrap();
    manager.polled(2, DEADLINE).await.unwrap();
    let address = waiting.stream.local_addr().unwrap();
    let backend = asleep.wake_as("woken", proxied()).unwrap();
    manager.polls([Reply::running(backend.addr())]);
    let mut session = waiting.enter().await.unwrap();

    let mut rest = vec![0; b"sent while waiting".len()];
    let login = backend.logins().pop().unwrap();
    let early = login.bytes.len() - player.login_bytes().len();
    session.stream.read_exact(&mut rest[early..]).await.unwrap();
    assert_eq!(
        login.bytes[..player.login_bytes().len()],
        player.login_bytes()
    );
    let (ip, port, to) = (address.ip(), address.port(), table.router.at.players.port());
    let line = format!("PROXY TCP4 {ip} 127.0.0.1 {port} {to}\r\n");
    assert_eq!(String::from_utf8(login.header).unwrap(), line);
    // The router itself has asked whether it is up.
    let mut probes = backend.records();
    probes.retain(|record| !record.login);
    assert!(!probes.is_empty());
    let end = format!(" {}\r\n", backend.addr().port());
    for probe in probes {
        let line = String::from_utf8(probe.header).unwrap();
        assert!(
            line.starts_with("PROXY TCP4 127.0.0.1 127.0.0.1 "),
            "{line}"
        );
        assert!(line.ends_with(&end), "{line}");
    }
}

#[tokio::test]
async fn pings_of_every_age_and_lobbies_get_the_header_of_the_route() {
    let table = Table::start(Settings::new()).await.unwrap();
    let backend = Backend::start_as("up", proxied()).await.unwrap();
    let router = table.router.at.players;
    let own = [("proxy_protocol", "v2")];
    let player = table
        .server_with("up", backend.addr(), "running", &own)
        .await
        .unwrap();
    assert_eq!(player.status(router).await.unwrap().text(), "up");
    let old = ping_1_6(&player.address);
    let shown = legacy_ping(router, [&old[..]]).await.unwrap();
    assert!(shown.contains(&"up".to_owned()), "{shown:?}");
    let records = backend.records();
    let ports: Vec<_> = records.iter().map(|record| &record.header[26..]).collect();
    // The ping of the cache is the router's own; the old one is relayed, and the client's.
    assert_eq!(ports[0], backend.addr().port().to_be_bytes());
    assert_eq!(ports[1], router.port().to_be_bytes());
    assert_eq!(records[1].bytes, old);

    let address = backend.addr().to_string();
    let forwards = [
        ("join_methods", "forward"),
        ("forward_to", &*address),
        ("proxy_protocol", "v1"),
    ];
    let nobody = harness::backend::Asleep::new().unwrap();
    let player = table
        .server_with("away", nobody.addr(), "stopped", &forwards)
        .await
        .unwrap();
    let session = player.enter(router).await.unwrap();
    let record = backend.logins().pop().unwrap();
    let port = session.stream.local_addr().unwrap().port();
    let line = format!(
        "PROXY TCP4 127.0.0.1 127.0.0.1 {port} {}\r\n",
        router.port()
    );
    assert_eq!(String::from_utf8(record.header).unwrap(), line);
    assert_eq!(record.bytes, player.login_bytes());
}

#[tokio::test]
async fn a_row_decides_over_the_default_and_a_header_costs_no_splice() {
    let settings = Settings::new().flag("--use-proxy-protocol");
    let table = Table::start(settings).await.unwrap();
    let (plain, other) = (
        Backend::start("plain").await.unwrap(),
        Backend::start_as("other", proxied()).await.unwrap(),
    );
    let router = table.router.at.players;
    let none = [("proxy_protocol", "none")];
    let player = table
        .server_with("plain", plain.addr(), "running", &none)
        .await
        .unwrap();
    player.enter(router).await.unwrap();
    assert_eq!(plain.logins()[0].bytes, player.login_bytes());

    let player = table
        .server("other", other.addr(), "running")
        .await
        .unwrap();
    let mut session = player.enter(router).await.unwrap();
    let sent: Vec<u8> = (0..16_u32 << 20).map(|at| at.to_le_bytes()[1]).collect();
    assert!(session.echo(&sent).await.unwrap() == sent);
    let spliced = table
        .metric("automc_relay_spliced_bytes_total")
        .await
        .unwrap();
    assert!(spliced > 0);
}

/// The table calls the server stopped, and nobody can say more: its port is asked before the player is.
#[tokio::test]
async fn a_knock_at_a_server_that_wants_a_header_has_one() {
    let (manager, table) = Table::with_manager(Settings::new()).await.unwrap();
    manager.starts([Reply::status(401)]);
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let own = [("proxy_protocol", "v1")];
    let player = table.server_with("test1", address, "stopped", &own);
    let player = player.await.unwrap();

    let _waiting = player.knock(table.router.at.players).await.unwrap();
    let knocked = async {
        let mut closed = JoinSet::new();
        loop {
            let (mut stream, from) = tokio::select! {
                accepted = server.accept() => accepted.unwrap(),
                // A probe says more, or is called off.
                Some(right) = closed.join_next() => {
                    if right.unwrap() {
                        return;
                    }
                    continue;
                }
            };
            let (from, to) = (from.port(), address.port());
            let line = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {from} {to}\r\n");
            closed.spawn(async move { until_closed(&mut stream).await == line.as_bytes() });
        }
    };
    timeout(DEADLINE, knocked)
        .await
        .expect("a knock with a header");
}
