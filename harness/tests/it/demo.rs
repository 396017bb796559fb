//! `cargo demo`, as a newcomer meets it.

use std::process::{Output, Stdio};
use std::time::Duration;

use harness::binaries;
use harness::postgres::Postgres;
use harness::process::Process;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;

/// For a word that comes before anything is built.
const DEADLINE: Duration = Duration::from_secs(60);
/// For the whole demo, on a machine on which other tests run.
const DEMO_DEADLINE: Duration = Duration::from_secs(180);

/// What comes before the build, which fails at once here.
async fn front(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(binaries::xtask().await.unwrap());
    for variable in ["AUTOMC_TEST_DSN", "AUTOMC_TEST_POSTGRES"] {
        command.env_remove(variable);
    }
    command
        .env("CARGO", "false")
        .args(arguments)
        .envs(environment.iter().copied());
    let run = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let Output {
        status,
        stdout,
        stderr,
    } = timeout(DEADLINE, run).await.unwrap().unwrap();
    (
        status.code(),
        String::from_utf8([stdout, stderr].concat()).unwrap(),
    )
}

#[tokio::test]
async fn the_demo_looks_for_postgres_before_it_builds_and_says_what_it_takes() {
    let server = Postgres::shared().await.unwrap();
    let dsn = server.dsn("postgres");
    let (status, said) = front(&["demo"], &[("AUTOMC_TEST_DSN", &dsn)]).await;
    let chosen = said.find("Postgres will be the server of AUTOMC_TEST_DSN");
    let built = said.find("Building the router");
    assert!(chosen.is_some() && chosen < built, "{said}");
    assert!(
        said.contains("does not build") && status == Some(1),
        "{said}"
    );

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!(
        "postgres://u:secret@{}/base",
        listener.local_addr().unwrap()
    );
    drop(listener);
    let (status, said) = front(&["demo"], &[("AUTOMC_TEST_DSN", &nobody)]).await;
    assert!(said.contains("AUTOMC_TEST_DSN: nobody answers"), "{said}");
    assert!(
        !said.contains("Building") && !said.contains("secret"),
        "{said}"
    );
    assert_eq!(status, Some(1));
}

#[tokio::test]
async fn wrong_words_to_the_demo_are_told_before_anything_is_done() {
    for (arguments, wanted) in [
        (&["demo", "--kep"][..], "no argument --kep"),
        (&["demo", "--", "survival"], "no argument survival"),
        (&[], "the one task"),
    ] {
        let (status, said) = front(arguments, &[]).await;
        assert!(said.contains(wanted) && said.contains("--keep"), "{said}");
        assert!(!said.contains("Looking") && status == Some(64), "{said}");
    }
    let (status, said) = front(&["demo", "--", "--help"], &[]).await;
    assert!(said.contains("--keep") && status == Some(0), "{said}");
    let unknown = [("AUTOMC_TEST_POSTGRES", "docker")];
    let (status, said) = front(&["demo"], &unknown).await;
    assert!(said.contains("not `docker`") && status == Some(1), "{said}");
}

/// Nobody's server is killed, and players wake what they try.
#[tokio::test]
async fn a_demo_on_an_existing_server_ends_with_servers_asleep_and_says_what_success_is() {
    let server = Postgres::shared().await.unwrap();
    let database = server.empty_database().await.unwrap();
    let environment = [("AUTOMC_TEST_DSN".to_owned(), database.dsn())];
    let harness = binaries::harness().await.unwrap();
    let mut demo = Process::start(&harness, ["demo", "--keep"], environment).unwrap();
    let line = demo
        .line_with(&["That is the success"], DEMO_DEADLINE)
        .await
        .unwrap();
    assert!(line.contains("This is a stand-in server."), "{line}");
    let log = demo.log();
    let place = |words: &str| log.iter().position(|line| line.contains(words));
    assert!(place("The way to Postgres is cut").is_some(), "{log:?}");
    assert!(
        place("Both servers are stopped") < place("asleep  ["),
        "{log:?}"
    );
    let password = database.dsn().split([':', '@']).nth(2).unwrap().to_owned();
    assert!(!log.iter().any(|line| line.contains(&password)), "{log:?}");
    demo.signal("INT").await.unwrap();
    assert!(demo.exit(DEADLINE).await.unwrap().success());
    database.client().await.unwrap();
}

#[tokio::test]
async fn a_copied_harness_builds_nothing_and_says_what_is_missing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    // By another process: a file that some thread's child still has open for writing does not run.
    let copied = Command::new("cp")
        .arg(binaries::harness().await.unwrap())
        .arg(folder.path())
        .status();
    assert!(copied.await.unwrap().success());
    let run = Command::new(folder.path().join("harness"))
        .arg("demo")
        .env("CARGO", "cargo-that-must-not-run")
        .output();
    let output = timeout(DEADLINE, run).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(
        said.contains("there is no automc-router beside this program"),
        "{said}"
    );
    assert!(!said.contains("cargo-that-must-not-run"), "{said}");
}
