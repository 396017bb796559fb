//! Web servers and load balancers of others in front: lighttpd before the server-manager, HAProxy and
//! its checks before the router.

use std::time::Duration;

use harness::backend::Backend;
use harness::eventually::eventually;
use harness::player::Player;
use harness::process::Process;
use harness::router::{RouterProcess, Settings};
use harness::table::Table;
use harness::tools::{free_port, program};
use hyper::Method;
use tokio::net::TcpStream;
use waker_mock::{Config, ServerSpec, WakerMock};

const DEADLINE: Duration = Duration::from_secs(30);
const PROBES: &str = "automc_probe_connections_total";

/// lighttpd answers 411 to a POST without a length.
#[tokio::test]
async fn a_server_is_woken_through_lighttpd() {
    let Some(lighttpd) = program("lighttpd", "lighttpd").unwrap() else {
        return;
    };
    let spec = ServerSpec::new("test1.example.com", Duration::from_millis(100));
    let config = Config {
        listen: ([127, 0, 0, 1], 0).into(),
        servers: vec![("test1".to_owned(), spec)],
        ..Config::default()
    };
    let manager = WakerMock::start(config).await.unwrap();
    let (front, folder) = (free_port().unwrap(), tempfile::tempdir().unwrap());
    let file = folder.path().join("lighttpd.conf");
    let text = format!(
        "server.modules = ( \"mod_proxy\" )\nserver.document-root = \"/nonexistent\"\n\
         server.bind = \"{}\"\nserver.port = {}\n\
         proxy.server = ( \"\" => (( \"host\" => \"{}\", \"port\" => {} )) )\n",
        front.ip(),
        front.port(),
        manager.addr().ip(),
        manager.addr().port()
    );
    std::fs::write(&file, text).unwrap();
    let arguments = ["-D".as_ref(), "-f".as_ref(), file.as_os_str()];
    let _lighttpd = Process::start(&lighttpd, arguments, []).unwrap();
    eventually("lighttpd", DEADLINE, async || {
        TcpStream::connect(front).await.is_ok()
    })
    .await
    .unwrap();
    let settings = Settings::new().waker(&format!("http://{front}"));
    let table = Table::start(settings).await.unwrap();
    let (_asleep, player) = table.asleep("test1").await.unwrap();

    // Its servers greet with a disconnect.
    let text = player.refusal(table.router.at.players).await.unwrap();

    assert!(text.contains("stand-in"), "{text}");
}

/// Has `stream` end by RST.
fn resets(stream: &TcpStream) {
    stream.set_zero_linger().unwrap();
}

/// What `router` counts as clients and as their errors.
async fn clients(router: &RouterProcess) -> (u64, u64) {
    let metrics = router.at.api(Method::GET, "/metrics", "").await.unwrap();
    let sum = |name: &str| {
        let lines = metrics.body.lines().filter(|line| line.starts_with(name));
        lines
            .map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
            .sum()
    };
    (
        sum("mc_router_frontend_connections{"),
        sum("mc_router_errors{") + sum("automc_clients_turned_away_total{"),
    )
}

async fn probes(router: &RouterProcess, count: u64) {
    eventually("checks", DEADLINE, async || {
        let seen = router.at.metrics().await?.value(PROBES)?;
        anyhow::ensure!(seen >= count, "{seen} of {count}");
        Ok(())
    })
    .await
    .unwrap();
}

/// Of Kubernetes and network load balancers (connect and FIN, or RST), Uptime Kuma (connect and FIN),
/// HAProxy (a header of either version and RST).
#[tokio::test]
async fn who_connects_and_says_nothing_is_no_client_and_no_error() {
    let backend = Backend::start("up").await.unwrap();
    for is_behind_proxy in [false, true] {
        let mut settings = Settings::new().flag(format!("--mapping=a.example={}", backend.addr()));
        if is_behind_proxy {
            settings = settings
                .flag("--receive-proxy-protocol")
                .env("TRUSTED_PROXIES", "127.0.0.0/8")
                // Checks by header use up none.
                .env("AUTOMC_CONNECTS_PER_ADDRESS", "1/10m");
        }
        let router = RouterProcess::start(settings).await.unwrap();
        let headers: &[&[u8]] = if is_behind_proxy {
            &[
                b"",
                b"PROXY UNKNOWN\r\n",
                b"PROXY TCP4 127.0.0.1 127.0.0.1 41230 7102\r\n",
                b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
            ]
        } else {
            &[b""]
        };
        let mut count = 0;
        for header in headers {
            for by_reset in [false, true] {
                let mut stream = TcpStream::connect(router.at.players).await.unwrap();
                tokio::io::AsyncWriteExt::write_all(&mut stream, header)
                    .await
                    .unwrap();
                if by_reset {
                    resets(&stream);
                }
                drop(stream);
                count += 1;
                probes(&router, count).await;
            }
        }
        assert_eq!(clients(&router).await, (0, 0));
        let player = Player::new("a.example");
        player.enter(router.at.players).await.unwrap();
        assert_eq!(clients(&router).await, (1, 0));
        assert_eq!(
            router.at.metrics().await.unwrap().value(PROBES).unwrap(),
            count
        );
        let log = router.process.tail(usize::MAX);
        let mut closed = log.lines().filter(|line| line.contains("closed"));
        assert!(closed.all(|line| line.contains("a.example")), "{log}");
    }
}

#[tokio::test]
async fn the_checks_of_haproxy_of_every_kind_are_no_clients_and_players_come_through_it() {
    let Some(haproxy) = program("haproxy", "haproxy").unwrap() else {
        return;
    };
    let backend = Backend::start("up").await.unwrap();
    let settings = Settings::new()
        .flag("--receive-proxy-protocol")
        .env("TRUSTED_PROXIES", "127.0.0.0/8")
        .flag(format!("--mapping=a.example={}", backend.addr()));
    let router = RouterProcess::start(settings).await.unwrap();
    let (front, folder) = (free_port().unwrap(), tempfile::tempdir().unwrap());
    let file = folder.path().join("haproxy.cfg");
    let at = router.at.players;
    let text = format!(
        "defaults\n mode tcp\n timeout connect 2s\n timeout client 20s\n timeout server 20s\n\
         listen players\n bind {front}\n\
         \x20server plain {at} check inter 100 backup\n\
         \x20server v1 {at} send-proxy check inter 100 backup\n\
         \x20server v1c {at} check check-send-proxy inter 100 backup\n\
         \x20server v2 {at} send-proxy-v2 check inter 100\n\
         listen scripted\n bind {}\n option tcp-check\n tcp-check connect send-proxy\n\
         \x20server v1 {at} check inter 100\n\
         \x20server v2 {at} send-proxy-v2 check inter 100\n",
        free_port().unwrap()
    );
    std::fs::write(&file, text).unwrap();
    let arguments = ["-db".as_ref(), "-f".as_ref(), file.as_os_str()];
    let haproxy = Process::start(&haproxy, arguments, []).unwrap();

    probes(&router, 50).await;
    let player = Player::new("a.example");
    player.enter(front).await.unwrap();
    probes(&router, 100).await;

    assert_eq!(clients(&router).await, (1, 0), "{}", haproxy.tail(20));
    assert_eq!(backend.logins().len(), 1);
    let log = router.process.tail(usize::MAX);
    let mut closed = log.lines().filter(|line| line.contains("closed"));
    assert!(closed.all(|line| line.contains("a.example")), "{log}");
}
