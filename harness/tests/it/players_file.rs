//! The file of players in mc-router's shape: who may wake, and where that is wanted, who may join.

use std::path::{Path, PathBuf};
use std::time::Duration;

use automc_router::protocol::handshake::Intent;
use harness::backend::Backend;
use harness::player::Player;
use harness::router::{RouterProcess, Settings};
use harness::table::Table;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::binary::ran;

const DEADLINE: Duration = Duration::from_secs(20);
const MAY_NOT_WAKE: &str = "You may not start this server.\nPlease ask whoever runs it.";
const MAY_NOT_JOIN: &str = "You may not join this server.\nPlease ask whoever runs it.";
const NO_STEVE: &str = r#"{"servers": {"A.example": {"denylist": [{"name": "sTEVE"}]}}}"#;
const ONLY_STEVE: &str = r#"{"global": {"allowlist": [{"name": "Steve"}]}}"#;

fn file(text: &str) -> (TempDir, PathBuf, Settings) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("players.json");
    std::fs::write(&path, text).unwrap();
    let settings = Settings::new().env("AUTO_SCALE_ALLOW_DENY", path.to_str().unwrap());
    (folder, path, settings)
}

fn alex() -> Player {
    Player {
        name: "Alex".to_owned(),
        ..Player::new("a.example")
    }
}

async fn gated(settings: Settings) -> (Backend, RouterProcess) {
    let backend = Backend::start("lobby").await.unwrap();
    let settings = settings
        .flag(format!("--mapping=a.example={}", backend.addr()))
        .flag("--automc-players-gate-join");
    (backend, RouterProcess::start(settings).await.unwrap())
}

/// With mc-router a capital or a dot is enough to get around it.
#[tokio::test]
async fn whoever_is_denied_wakes_nothing_under_any_spelling_and_joins_what_runs() {
    let json = r#"{"servers": {"test1.Example.com": {"denylist": [{"name": "sTEVE"}]}}}"#;
    let (_folder, _, settings) = file(json);
    let (manager, table) = Table::with_manager(settings).await.unwrap();
    let (asleep, player) = table.asleep("test1").await.unwrap();
    for (address, name, intent) in [
        ("test1.example.com", "Steve", Intent::Login),
        ("TEST1.example.com", "STEVE", Intent::Login),
        ("test1.example.com.", "steve", Intent::Transfer),
        ("test1.example.com\0FML\0", "Steve", Intent::Login),
    ] {
        let (address, name) = (address.to_owned(), name.to_owned());
        let player = Player {
            address,
            name,
            intent,
            ..player.clone()
        };
        assert_eq!(table.refusal(&player).await.unwrap(), MAY_NOT_WAKE);
    }
    assert_eq!(manager.counts(), (0, 0));

    let backend = asleep.wake("up").unwrap();
    player.enter(table.router.at.players).await.unwrap();
    assert_eq!(backend.logins().len(), 1);
}

#[tokio::test]
async fn whoever_is_denied_joins_nothing_where_the_file_is_asked_about_that() {
    let (_folder, _, settings) = file(NO_STEVE);
    let (backend, router) = gated(settings).await;
    for (address, intent) in [
        ("a.example", Intent::Login),
        ("A.EXAMPLE.", Intent::Login),
        ("a.example", Intent::Transfer),
    ] {
        let steve = Player {
            intent,
            ..Player::new(address)
        };
        let text = steve.refusal(router.at.players).await.unwrap();
        assert_eq!(text, MAY_NOT_JOIN, "{address} {intent:?}");
        assert_eq!(
            steve.status(router.at.players).await.unwrap().text(),
            "lobby"
        );
        let alex = Player {
            address: address.to_owned(),
            intent,
            ..alex()
        };
        alex.enter(router.at.players).await.unwrap();
    }
    assert_eq!(backend.logins().len(), 3);
    let line = ["closed without a session", "end=\"may_not_join\"", "Steve"];
    router.process.line_with(&line, DEADLINE).await.unwrap();
}

/// Each of these ends mc-router's process.
#[tokio::test]
async fn greetings_that_end_early_end_nothing_where_there_are_lists() {
    let (_folder, _, settings) = file(ONLY_STEVE);
    let (_backend, mut router) = gated(settings).await;
    for intent in [Intent::Login, Intent::Transfer] {
        let whole = Player { intent, ..alex() }.login_bytes();
        let handshake = usize::from(whole[0]) + 1;
        for length in [handshake, handshake + 1, whole.len() - 16, whole.len() - 1] {
            let mut stream = TcpStream::connect(router.at.players).await.unwrap();
            stream.write_all(&whole[..length]).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut heard = Vec::new();
            let end = timeout(DEADLINE, stream.read_to_end(&mut heard)).await;
            drop(end.unwrap());
            assert_eq!(heard, b"", "{intent:?} {length}");
        }
    }
    let steve = Player::new("a.example");
    steve.enter(router.at.players).await.unwrap();
    assert!(router.process.is_running().unwrap());
}

async fn reloaded(router: &RouterProcess, path: &Path, text: &str, parts: &[&str]) {
    std::fs::write(path, text).unwrap();
    router.process.signal("HUP").await.unwrap();
    router.process.line_with(parts, DEADLINE).await.unwrap();
}

#[tokio::test]
async fn the_file_is_read_again_at_sighup_and_a_bad_one_changes_nothing() {
    let (_folder, path, settings) = file(NO_STEVE);
    let (_backend, mut router) = gated(settings).await;
    let (steve, at) = (Player::new("a.example"), router.at.players);
    let mut playing = alex().enter(at).await.unwrap();
    assert_eq!(steve.refusal(at).await.unwrap(), MAY_NOT_JOIN);

    reloaded(&router, &path, ONLY_STEVE, &["players' file read again"]).await;
    steve.enter(at).await.unwrap();
    assert_eq!(alex().refusal(at).await.unwrap(), MAY_NOT_JOIN);

    let bad = r#"{"global": {"denylist": [{"name": "Steve"}, {}]}}"#;
    let told = ["ERROR", "players.json", "global.denylist[1]", "stay"];
    reloaded(&router, &path, bad, &told).await;
    steve.enter(at).await.unwrap();
    assert_eq!(alex().refusal(at).await.unwrap(), MAY_NOT_JOIN);

    assert_eq!(playing.echo(b"untouched").await.unwrap(), b"untouched");
    assert!(router.process.is_running().unwrap());
}

#[tokio::test]
async fn a_bad_file_at_start_is_fatal_by_name() {
    let (folder, path, _) = file("{\"server\": {}}");
    for (path, told) in [
        (path.to_str().unwrap(), "unknown field `server`"),
        ("/does/not/exist.json", "No such file"),
        (folder.path().to_str().unwrap(), "not a file"),
    ] {
        let output = ran(&["--port=0"], &[("AUTO_SCALE_ALLOW_DENY", path)]).await;
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(path) && error.contains(told), "{error}");
    }
}

#[tokio::test]
async fn logins_are_recorded_where_that_is_wanted_and_sighup_alone_ends_nothing() {
    for wanted in [true, false] {
        let backend = Backend::start("lobby").await.unwrap();
        let settings = Settings::new()
            .env("RECORD_LOGINS", wanted.to_string())
            .flag(format!("--mapping=a.example={}", backend.addr()));
        let mut router = RouterProcess::start(settings).await.unwrap();
        router.process.signal("HUP").await.unwrap();

        drop(
            Player::new("a.example")
                .enter(router.at.players)
                .await
                .unwrap(),
        );

        router
            .process
            .line_with(&["closed", "end="], DEADLINE)
            .await
            .unwrap();
        let log = router.process.log();
        let mut lines = log.iter().filter(|line| line.contains("login attempt"));
        let parts = [
            "INFO",
            "Steve",
            "11111111-1111-1111-1111-111111111111",
            "a.example",
            "127.0.0.1",
        ];
        let told = lines
            .next()
            .map(|line| parts.iter().all(|part| line.contains(part)));
        assert_eq!(
            (told, lines.next()),
            (wanted.then_some(true), None),
            "{log:#?}"
        );
        assert!(router.process.is_running().unwrap());
    }
}
