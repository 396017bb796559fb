//! The executable: exit codes, messages, signals, limits.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Output;
use std::time::Duration;

use harness::backend::Backend;
use harness::player::{Player, legacy_ping};
use harness::process::Process;
use harness::router::{RouterProcess, Settings};
use harness::{binaries, eventually};
use hyper::Method;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) async fn ran(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binaries::router().await.unwrap());
    command
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .kill_on_drop(true);
    timeout(DEADLINE, command.output()).await.unwrap().unwrap()
}

async fn with_backend(settings: Settings) -> (Backend, RouterProcess) {
    let backend = Backend::start("lobby").await.unwrap();
    let settings = settings.flag(format!("--mapping=a.example={}", backend.addr()));
    (backend, RouterProcess::start(settings).await.unwrap())
}

#[tokio::test]
async fn wrong_settings_are_exit_code_64_and_name_the_culprit() {
    for (arguments, environment, named) in [
        (&["--nonsense"][..], &[][..], "--nonsense"),
        (&["--port", "high"], &[], "--port"),
        (
            &["--config", "/does/not/exist.toml"],
            &[],
            "/does/not/exist.toml",
        ),
        (&[], &[("PORT", "high")], "environment variable PORT"),
        (
            &[],
            &[("AUTOMC_WAKER_TIMEOUT", "90")],
            "AUTOMC_WAKER_TIMEOUT",
        ),
        (
            &[],
            &[("AUTOMC_DSN", "postgres://u:hunter2@h/d?sslmode=allow")],
            "sslmode=allow",
        ),
    ] {
        let output = ran(arguments, environment).await;
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{error}");
        assert!(
            error.contains(named) && !error.contains("hunter2"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn help_and_version_are_exit_code_0_on_standard_output() {
    let version = ran(&["--version"], &[]).await;
    let text = String::from_utf8(version.stdout).unwrap();
    assert!(
        text.starts_with("automc-router ") && version.status.success(),
        "{text}"
    );

    let help = ran(&["--help"], &[]).await;
    let text = String::from_utf8(help.stdout).unwrap();
    for key in automc_router::config::SPEC.keys() {
        assert!(
            text.contains(&automc_router::config::SPEC.variable(key)),
            "{}",
            key.name
        );
    }
}

#[tokio::test]
async fn a_taken_port_is_exit_code_1_and_named() {
    let (_backend, router) = with_backend(Settings::new()).await;
    let port = router.at.players.port().to_string();

    let output = ran(&["--port", &port], &[]).await;

    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains(&port));
}

#[tokio::test]
async fn sigterm_lets_players_finish_and_lets_nobody_else_in() {
    let (_backend, mut router) = with_backend(Settings::new().flag("--shutdown-grace=1m")).await;
    let mut session = Player::new("a.example")
        .enter(router.at.players)
        .await
        .unwrap();

    router.process.signal("TERM").await.unwrap();
    eventually::eventually("the port to close", DEADLINE, async || {
        TcpStream::connect(router.at.players).await.is_err()
    })
    .await
    .unwrap();

    assert_eq!(session.echo(b"still here").await.unwrap(), b"still here");
    let ready = router.at.api(Method::GET, "/readyz", "").await.unwrap();
    assert_eq!(ready.status, 503, "{ready:?}");
    assert!(router.process.is_running().unwrap());
    drop(session);
    assert!(router.process.exit(DEADLINE).await.unwrap().success());
}

#[tokio::test]
async fn the_grace_ends_and_whoever_is_left_is_cut_off() {
    let (_backend, mut router) = with_backend(Settings::new().flag("--shutdown-grace=100ms")).await;
    let mut session = Player::new("a.example")
        .enter(router.at.players)
        .await
        .unwrap();

    router.process.signal("INT").await.unwrap();

    assert!(router.process.exit(DEADLINE).await.unwrap().success());
    assert!(session.echo(b"gone?").await.is_err());
    router
        .process
        .line_with(&["cutting off", "connections=1"], DEADLINE)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_second_signal_stops_now() {
    let (_backend, mut router) = with_backend(Settings::new().flag("--shutdown-grace=1h")).await;
    let _session = Player::new("a.example")
        .enter(router.at.players)
        .await
        .unwrap();

    router.process.signal("TERM").await.unwrap();
    router
        .process
        .line_with(&["once more to stop now"], DEADLINE)
        .await
        .unwrap();
    router.process.signal("TERM").await.unwrap();

    assert!(router.process.exit(DEADLINE).await.unwrap().success());
    for parts in [
        &["cutting off", "connections=1"][..],
        &["end=\"cut\"", "Steve"],
    ] {
        router.process.line_with(parts, DEADLINE).await.unwrap();
    }
}

#[tokio::test]
async fn clients_over_the_cap_are_told_so_and_places_come_free_again() {
    let (_backend, router) = with_backend(Settings::new().flag("--max-connections=2")).await;
    let player = Player::new("a.example");
    let first = player.enter(router.at.players).await.unwrap();
    let mut second = player.enter(router.at.players).await.unwrap();

    let text = player.refusal(router.at.players).await.unwrap();
    assert!(text.contains("Too many players"), "{text}");
    let status = player.status(router.at.players).await.unwrap();
    assert!(status.text().contains("Too many players"), "{status:?}");
    let pong = legacy_ping(router.at.players, [&[0xFE, 0x01][..]])
        .await
        .unwrap();
    assert!(pong.concat().contains("Too many players"), "{pong:?}");
    for parts in [&["limit (max_connections)"][..], &["end=\"full\"", "Steve"]] {
        router.process.line_with(parts, DEADLINE).await.unwrap();
    }

    assert_eq!(second.echo(b"untouched").await.unwrap(), b"untouched");
    drop(first);
    eventually::eventually("a free place", DEADLINE, async || {
        player.enter(router.at.players).await
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn there_are_as_many_workers_as_cores_it_may_use() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let allowed = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let first: String = allowed
        .unwrap()
        .trim()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    let program = binaries::router().await.unwrap();
    let one = ["--cpu-list", &first, program.to_str().unwrap(), "--port=0"];
    let all = std::thread::available_parallelism().unwrap().get();

    let router = Process::start("taskset".as_ref(), one, []).unwrap();
    router
        .line_with(&["listening for players", "workers=1 "], DEADLINE)
        .await
        .unwrap();
    let router = Process::start(&program, ["--port=0"], []).unwrap();
    let workers = format!("workers={all} ");
    router
        .line_with(&["listening for players", &workers], DEADLINE)
        .await
        .unwrap();
}

#[tokio::test]
async fn too_few_files_are_told_at_start_and_lower_the_cap() {
    let program = binaries::router().await.unwrap();
    let backend = Backend::start("lobby").await.unwrap();
    let mapping = format!("--mapping=a.example={}", backend.addr());
    let limited = [
        "--nofile=200:200",
        program.to_str().unwrap(),
        "--port=0",
        &mapping,
    ];

    let router = Process::start("prlimit".as_ref(), limited, []).unwrap();

    let parts = [
        "only 200 files",
        "enough for 75 players",
        "max_connections is 10000",
    ];
    router.line_with(&parts, DEADLINE).await.unwrap();
    let listening = router
        .line_with(&["listening for players"], DEADLINE)
        .await
        .unwrap();
    let (_, port) = listening.rsplit_once(':').unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.trim().parse().unwrap()));
    let player = Player::new("a.example");
    let mut sessions = Vec::new();
    for _ in 0..75 {
        sessions.push(player.enter(address).await.unwrap());
    }
    let text = player.refusal(address).await.unwrap();
    assert!(text.contains("Too many players"), "{text}");
}

#[tokio::test]
async fn a_full_file_table_ends_nothing() {
    let (_backend, router) = with_backend(Settings::new()).await;
    let pid = router.process.pid().to_string();
    // Enough for what is open, and for a few connections more.
    let open = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .count();
    let files = open + 6;
    let limit = Command::new("prlimit")
        .args(["--pid", &pid, &format!("--nofile={files}:{files}")])
        .status()
        .await;
    assert!(limit.unwrap().success());
    let mut held = Vec::new();
    for _ in 0..40 {
        held.push(TcpStream::connect(router.at.players).await.unwrap());
    }
    router
        .process
        .line_with(&["cannot accept connections"], DEADLINE)
        .await
        .unwrap();

    drop(held);

    eventually::eventually("a login", DEADLINE, async || {
        Player::new("a.example").enter(router.at.players).await
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_session_closes_with_one_line_that_says_who_where_and_how_much() {
    let (_backend, router) = with_backend(Settings::new()).await;
    let mut session = Player::new("A.example")
        .enter(router.at.players)
        .await
        .unwrap();
    session.echo(b"12345").await.unwrap();

    drop(session);

    let parts = ["closed", "client", "a.example", "Steve", "up_bytes=5"];
    let line = router.process.line_with(&parts, DEADLINE).await.unwrap();
    let again = router
        .process
        .log()
        .into_iter()
        .filter(|other| other.contains("up_bytes"));
    assert_eq!(again.collect::<Vec<_>>(), [line]);
}

#[tokio::test]
async fn json_logs_are_one_object_a_line() {
    let (_backend, router) = {
        let backend = Backend::start("lobby").await.unwrap();
        let program = binaries::router().await.unwrap();
        let arguments = ["--port=0", "--log-format=json"];
        let process = Process::start(&program, arguments, []).unwrap();
        (backend, process)
    };
    let line = router
        .line_with(&["listening for players"], DEADLINE)
        .await
        .unwrap();
    let json: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(json["level"], "INFO");
    assert_eq!(json["message"], "listening for players");
}

#[tokio::test]
async fn what_serves_players_comes_before_everything_else() {
    let router = RouterProcess::start(Settings::new()).await.unwrap();
    let tasks = format!("/proc/{}/task", router.process.pid());
    let (mut workers, mut others) = (BTreeSet::new(), BTreeSet::new());
    for task in std::fs::read_dir(tasks).unwrap() {
        let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
        // proc(5): the name in parentheses, then the state; `nice` is the 17th from there.
        let (name, fields) = stat.rsplit_once(") ").unwrap();
        let nice: i32 = fields.split(' ').nth(16).unwrap().parse().unwrap();
        if name.contains("(worker-") {
            workers.insert(nice);
        } else if name.contains("(tokio") {
            others.insert(nice);
        }
    }
    let worst = workers.last().unwrap();
    assert!(
        others.first().unwrap() > worst || *worst == 19,
        "{workers:?} and {others:?}"
    );
}
