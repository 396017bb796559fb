//! What an operator reads: who joined where, who asked for what there is not, and at the start whether what
//! will be needed is there.

use std::net::Ipv4Addr;
use std::time::Duration;

use automc_router::flood::LINES_MAX;
use harness::backend::Backend;
use harness::eventually::eventually;
use harness::manager::{Manager, Reply};
use harness::player::Player;
use harness::router::{RouterProcess, Settings};
use harness::table::Table;
use serde_json::Value;
use tokio::net::TcpListener;
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

const DEADLINE: Duration = Duration::from_secs(30);

fn mapped(backend: &Backend) -> Settings {
    Settings::new().flag(format!("--mapping=a.example={}", backend.addr()))
}

fn lines(router: &RouterProcess, words: &str) -> Vec<String> {
    let log = router.process.log();
    log.into_iter()
        .filter(|line| line.contains(words))
        .collect()
}

#[tokio::test]
async fn a_join_is_told_when_it_happens_in_one_line_and_its_end_in_another() {
    let backend = Backend::start("lobby").await.unwrap();
    let router = RouterProcess::start(mapped(&backend)).await.unwrap();
    let player = Player::new("A.example.");
    let mut session = player.enter(router.at.players).await.unwrap();
    session.echo(b"12345").await.unwrap();

    let at = format!("backend={}", backend.addr());
    let parts = ["INFO", "host=a.example", "player=Steve", &at];
    let joined = [&parts[..], &["}: joined took=\"", "waited=false"]].concat();
    router.says(&joined).await.unwrap();
    assert_eq!(lines(&router, "closed"), [""; 0]);

    drop(session);
    let closed = [&parts[..], &["}: closed end=\"", "up_bytes=5"]].concat();
    router.says(&closed).await.unwrap();
    assert_eq!(lines(&router, "joined").len(), 1);
    let count = router.at.metrics().await.unwrap();
    assert_eq!(count.value("automc_join_seconds_count").unwrap(), 1);
}

#[tokio::test]
async fn a_join_after_a_wait_says_so_and_names_the_server() {
    let (manager, table) = Table::with_manager(Settings::new()).await.unwrap();
    let backend = Backend::start("woken").await.unwrap();
    manager.polls([Reply::state("starting"), Reply::running(backend.addr())]);
    let (_asleep, player) = table.asleep("survival").await.unwrap();

    let _session = player.enter(table.router.at.players).await.unwrap();

    let host = format!("host={}", player.address);
    let at = format!("backend={}", backend.addr());
    let parts = [&*host, "name=survival", &at, "joined", "waited=true"];
    table.says(&parts).await.unwrap();
}

#[tokio::test]
async fn the_host_that_nobody_has_is_in_the_line_of_a_login_and_forges_nothing() {
    let backend = Backend::start("lobby").await.unwrap();
    let router = RouterProcess::start(mapped(&backend)).await.unwrap();
    let typed = "scan ner\n2026 INFO conn{host=x}: joined player=admin\u{1b}[31m.example";
    for address in ["nobody.example", typed, &"x".repeat(5_000)] {
        Player::new(address)
            .refusal(router.at.players)
            .await
            .unwrap();
    }
    let unknown = |host: &str| {
        [
            "INFO".to_owned(),
            format!("host={host}"),
            "unknown_host".to_owned(),
        ]
    };
    for host in [
        "nobody.example ",
        "scan\\u{20}ner\\u{a}2026\\u{20}INFO\\u{20}conn\\u{7b}host\\u{3d}x\\u{7d}:\\u{20}joined\\u{20}player\\u{3d}\
         admin\\u{1b}[31m.example ",
        &format!("{}… ", "x".repeat(128)),
    ] {
        let parts = unknown(host);
        router
            .says(&parts.each_ref().map(String::as_str))
            .await
            .unwrap();
    }
    assert_eq!(lines(&router, "unknown_host").len(), 3);
    // A ping is nothing to tell.
    let ping = Player::new("pinged.example");
    ping.status(router.at.players).await.unwrap();
    Player::new("last.example")
        .refusal(router.at.players)
        .await
        .unwrap();
    router.says(&["last.example"]).await.unwrap();
    assert_eq!(lines(&router, "pinged.example"), [""; 0]);
}

#[tokio::test]
async fn pings_of_hosts_that_nobody_has_are_told_at_debug() {
    let router = RouterProcess::start(Settings::new().flag("--log-level=debug"));
    let router = router.await.unwrap();
    let ping = Player::new("pinged.example");
    ping.status(router.at.players).await.unwrap();
    let parts = ["DEBUG", "host=pinged.example", "closed: ping answered here"];
    router.says(&parts).await.unwrap();
}

#[tokio::test]
async fn a_flood_of_logins_for_nothing_is_told_in_few_lines_and_a_number() {
    const LOGINS: usize = 80;
    let router = RouterProcess::start(Settings::new()).await.unwrap();
    for number in 0..LOGINS {
        let scanner = Player::new(&format!("h{number}.example"));
        scanner.refusal(router.at.players).await.unwrap();
    }
    let told = usize::try_from(LINES_MAX).unwrap();
    let more = format!("and {} more without a session", LOGINS - told);
    let parts = ["unknown_host", &more];
    router.process.line_with(&parts, DEADLINE).await.unwrap();
    assert_eq!(lines(&router, "closed without a session").len(), told);
}

#[tokio::test]
async fn json_lines_have_host_name_backend_and_player_side_by_side() {
    let json = Settings::new().env("LOG_FORMAT", "json");
    let (manager, table) = Table::with_manager(json).await.unwrap();
    let backend = Backend::start("woken").await.unwrap();
    manager.polls([Reply::state("starting"), Reply::running(backend.addr())]);
    let (_asleep, player) = table.asleep("survival").await.unwrap();
    let odd = Player {
        name: "a\"b\\\n}".to_owned(),
        ..player.clone()
    };
    drop(odd.enter(table.router.at.players).await.unwrap());
    let stray = Player::new("\"}\n{\"host\":\"x\u{1b}\u{202e}");
    stray.refusal(table.router.at.players).await.unwrap();
    table.says(&["unknown_host"]).await.unwrap();
    table.says(&["up_bytes"]).await.unwrap();

    let log = table.router.process.log();
    let lines: Vec<Value> = log
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let one = |message: &str| {
        let found = lines.iter().find(|line| {
            let said = line["message"].as_str().unwrap();
            said.starts_with(message)
        });
        found.unwrap_or_else(|| panic!("no {message} in {log:#?}"))
    };
    let closed = lines.iter().find(|line| line["up_bytes"].is_u64());
    for line in [one("joined"), closed.unwrap()] {
        assert_eq!(line["host"], *player.address, "{line}");
        assert_eq!(line["name"], "survival", "{line}");
        assert_eq!(line["backend"], backend.addr().to_string(), "{line}");
        assert!(line["player"].as_str().unwrap().starts_with('a'), "{line}");
        assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
        assert!(line["took_ms"].as_f64().unwrap() > 0.0, "{line}");
    }
    assert_eq!(one("joined")["waited"], true);
    let route = one("automc route +: ");
    assert_eq!(route["host"], *player.address, "{route}");
    assert_eq!(route["name"], "survival", "{route}");
    assert!(route["backend"].as_str().unwrap().contains(':'), "{route}");
    let ready = one("automc: server is ready");
    assert_eq!(ready["name"], "survival", "{ready}");
    assert_eq!(ready["backend"], backend.addr().to_string(), "{ready}");
}

#[tokio::test]
async fn the_start_says_how_many_routes_there_are_of_each_source() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("routes.json");
    let routes = r#"{"mappings": {"f.example": "127.0.0.1:1", "g.example": "127.0.0.1:1"}}"#;
    std::fs::write(&file, routes).unwrap();
    let settings = Settings::new()
        .flag("--mapping=a.example=127.0.0.1:1")
        .env("ROUTES_CONFIG", file.display().to_string());
    let router = RouterProcess::start(settings).await.unwrap();
    router
        .says(&["INFO", "routes: 1 fixed, 2 file"])
        .await
        .unwrap();

    let none = RouterProcess::start(Settings::new()).await.unwrap();
    none.says(&["WARN", "nobody gets in", "AUTOMC_DSN"])
        .await
        .unwrap();

    let table = Table::start(Settings::new()).await.unwrap();
    table
        .says(&["INFO", "routes: postgres to come"])
        .await
        .unwrap();
    table
        .says(&["INFO", "automc: connected, 0 rows in "])
        .await
        .unwrap();
    table
        .says(&["WARN", "there are no routes", "table servers"])
        .await
        .unwrap();
}

#[tokio::test]
async fn files_that_cannot_be_written_are_named_at_the_start() {
    let settings = Settings::new()
        .env("AUTOMC_STATE_FILE", "/proc/automc/state.json")
        .env("AUTOMC_SNAPSHOT_FILE", "/proc/automc/snapshot.json")
        // Nobody answers there, so nothing is read that could be written.
        .env("AUTOMC_DSN", "postgres://nobody@127.0.0.1:1/none");
    let router = RouterProcess::start(settings).await.unwrap();
    for file in ["/proc/automc/state.json", "/proc/automc/snapshot.json"] {
        router.says(&["WARN", file, "No such file"]).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_manager_is_tried_at_the_start_and_starts_nothing_by_that() {
    let manager = Manager::start().await;
    let router = RouterProcess::start(Settings::new().waker(&manager.url()));
    let router = router.await.unwrap();
    let at = manager.addr().to_string();
    router
        .says(&["INFO", "server-manager at", &at, "answers"])
        .await
        .unwrap();
    assert_eq!(manager.counts(), (0, 0));

    let strict = MockServer::builder().start().await;
    let known = Mock::given(header("X-API-Key", "right"));
    let known = known.and(method("GET")).and(path("/servers"));
    known
        .respond_with(ResponseTemplate::new(404))
        .mount(&strict)
        .await;
    let refuses = Mock::given(method("GET")).respond_with(ResponseTemplate::new(401));
    refuses.with_priority(9).mount(&strict).await;
    for (token, said) in [
        ("wrong", ["WARN", "refuses the token with status 401"]),
        ("right", ["INFO", "answers"]),
    ] {
        let settings = Settings::new().waker(&strict.uri());
        let router = RouterProcess::start(settings.env("AUTOMC_WAKER_TOKEN", token));
        let router = router.await.unwrap();
        router.says(&said).await.unwrap();
        assert!(!router.process.tail(100).contains(token));
    }

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let mute = listener.local_addr().unwrap();
    drop(listener);
    let nobody = Settings::new().waker(&format!("http://{mute}"));
    let router = RouterProcess::start(nobody).await.unwrap();
    let parts = ["WARN", &mute.to_string(), "cannot be asked", "refused"];
    router.says(&parts).await.unwrap();
    eventually("players are served", DEADLINE, async || {
        Player::new("a.example").refusal(router.at.players).await
    })
    .await
    .unwrap();
}
