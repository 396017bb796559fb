//! `automc-router check-db` names every cause of missing routes, and what to do about it.

use std::process::Stdio;
use std::time::Duration;

use harness::binaries;
use harness::chaos::ChaosProxy;
use harness::postgres::{Postgres, SCHEMA};
use tokio::process::Command;
use tokio::time::timeout;

use crate::followed::{Parts, own_server};
use crate::shapes::{FIRST_SHAPE, WITHOUT_TRIGGER};

/// It gives up by itself before that.
const DEADLINE: Duration = Duration::from_secs(60);

/// Runs it; the exit code and everything it prints.
pub(crate) async fn check(dsn: Option<&str>) -> (Option<i32>, String) {
    check_with(&[], dsn).await
}

/// The same with more arguments.
pub(crate) async fn check_with(more: &[&str], dsn: Option<&str>) -> (Option<i32>, String) {
    let mut command = Command::new(binaries::router().await.unwrap());
    command
        .arg("check-db")
        .args(more)
        .env_clear()
        .envs(dsn.map(|dsn| ("AUTOMC_DSN", dsn)))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(DEADLINE, command.output()).await.unwrap().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// What it says of an empty database after `statements`.
async fn check_after(statements: &str) -> (Option<i32>, String) {
    let server = Postgres::shared().await.unwrap();
    let database = server.empty_database().await.unwrap();
    let sql = database.client().await.unwrap();
    sql.batch_execute(statements).await.unwrap();
    check(Some(&database.dsn())).await
}

/// One line per finding; those that begin with `mark`.
fn marked<'a>(text: &'a str, mark: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.starts_with(mark)).collect()
}

#[track_caller]
fn fails_with(outcome: &(Option<i32>, String), words: &[&str]) {
    ends_with(outcome, 1, "FAIL", words);
}

#[track_caller]
fn warns_with(outcome: &(Option<i32>, String), words: &[&str]) {
    ends_with(outcome, 0, "warn", words);
}

/// Asserts the exit code, and that the lines with `mark` have all of `words`.
#[track_caller]
fn ends_with((code, text): &(Option<i32>, String), due: i32, mark: &str, words: &[&str]) {
    assert_eq!(*code, Some(due), "{text}");
    let line = marked(text, mark).join("\n");
    for words in words {
        assert!(line.contains(words), "no {words:?} in {text}");
    }
}

/// AMC-31.
#[tokio::test]
async fn a_good_database_gets_nothing_but_good_words() {
    let insert = "INSERT INTO servers VALUES ('a', 'a.example', '127.0.0.1:1')";
    let (code, text) = check_after(&format!("{SCHEMA} {insert}")).await;
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(marked(&text, "ok").len(), text.lines().count(), "{text}");
    for words in [
        "connected to 127.0.0.1:",
        "table servers can be read",
        "announced, by automc_servers_delete, automc_servers_insert, automc_servers_truncate, automc_servers_update",
        "1 routes; 0 rows set aside",
        "listening on automc_routes_changed works",
    ] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
}

/// AMC-31, first symptom: no "sync started" in the log.
#[tokio::test]
async fn an_unset_or_empty_dsn_is_named() {
    for dsn in [None, Some("")] {
        let outcome = check(dsn).await;
        fails_with(
            &outcome,
            &["AUTOMC_DSN is empty or unset", "pg route sync started"],
        );
    }
}

/// AMC-31, second symptom: reconnecting for ever.
#[tokio::test]
async fn an_unreachable_server_is_named() {
    let proxy = ChaosProxy::start(([127, 0, 0, 1], 1).into()).await.unwrap();
    proxy.refuse().await.unwrap();
    let dsn = format!("postgres://someone:secret@{}/automc", proxy.addr());
    let outcome = check(Some(&dsn)).await;
    let address = format!("{}/automc", proxy.addr());
    fails_with(&outcome, &["no connection to", &address, "refused", "psql"]);
    assert!(!outcome.1.contains("secret"), "{}", outcome.1);
}

/// AMC-31, second symptom.
#[tokio::test]
async fn a_wrong_password_is_named_and_not_printed() {
    let database = own_server().await.database().await.unwrap();
    let wrong = Parts {
        password: "not the password".to_owned(),
        ..Parts::of(&database.dsn())
    };
    let outcome = check(Some(&wrong.pairs())).await;
    fails_with(&outcome, &["password authentication failed", "28P01"]);
    assert!(!outcome.1.contains(&wrong.password), "{}", outcome.1);
}

/// AMC-31, second symptom.
#[tokio::test]
async fn a_missing_database_is_named() {
    let server = Postgres::shared().await.unwrap();
    let outcome = check(Some(&server.dsn("no_such_database"))).await;
    fails_with(&outcome, &["no_such_database", "does not exist"]);
}

/// AMC-31.
#[tokio::test]
async fn a_malformed_dsn_is_a_mistake_of_usage_and_not_printed() {
    let (code, text) = check(Some("postgres://someone:secret@host:port/automc")).await;
    assert_eq!(code, Some(64), "{text}");
    assert!(
        text.contains("AUTOMC_DSN") && text.contains("port"),
        "{text}"
    );
    assert!(!text.contains("secret"), "{text}");
}

/// AMC-31.
#[tokio::test]
async fn a_missing_table_and_a_missing_column_are_named_with_the_remedy() {
    let outcome = check_after("").await;
    fails_with(&outcome, &["no table servers", "-f schema.sql"]);
    let outcome = check_after("CREATE TABLE servers (name TEXT, domain TEXT)").await;
    fails_with(&outcome, &["no column address", "schema.sql"]);
}

/// AMC-06, AMC-31.
#[tokio::test]
async fn a_missing_privilege_is_named_with_the_grant() {
    let database = own_server().await.database().await.unwrap();
    let sql = database.client().await.unwrap();
    let make = "CREATE ROLE unprivileged LOGIN PASSWORD 'unprivileged'";
    sql.batch_execute(make).await.unwrap();
    let dsn = Parts::of(&database.dsn()).role("unprivileged").pairs();
    let outcome = check(Some(&dsn)).await;
    fails_with(&outcome, &["GRANT SELECT ON servers TO unprivileged;"]);

    let grant = "GRANT SELECT ON servers TO unprivileged";
    sql.batch_execute(grant).await.unwrap();
    let (code, text) = check(Some(&dsn)).await;
    assert_eq!(code, Some(0), "{text}");
}

/// AMC-08, AMC-31, third symptom: rows that fire nothing.
#[tokio::test]
async fn missing_incomplete_and_disabled_triggers_are_named_with_the_remedy() {
    let outcome = check_after(WITHOUT_TRIGGER).await;
    warns_with(&outcome, &["no trigger on servers", "schema.sql"]);

    let outcome = check_after(FIRST_SHAPE).await;
    warns_with(&outcome, &["TRUNCATE", "a change of name", "schema.sql"]);

    for disable in [
        "DISABLE TRIGGER ALL",
        "DISABLE TRIGGER automc_servers_update",
        "ENABLE REPLICA TRIGGER automc_servers_update",
    ] {
        let outcome = check_after(&format!("{SCHEMA} ALTER TABLE servers {disable}")).await;
        let remedy = "ALTER TABLE servers ENABLE TRIGGER automc_servers_update;";
        warns_with(&outcome, &["is disabled", remedy]);
    }

    for (disturbed, words) in [
        (
            "DROP TRIGGER automc_announce ON automc_pending",
            "so nothing is announced",
        ),
        (
            "ALTER TABLE servers DISABLE TRIGGER automc_servers_replicated",
            "ENABLE REPLICA TRIGGER",
        ),
        (
            "ALTER TABLE servers ENABLE TRIGGER ALL",
            "what comes by replication",
        ),
        ("DROP TABLE automc_revision", "changes are not counted"),
    ] {
        let outcome = check_after(&format!("{SCHEMA} {disturbed}")).await;
        warns_with(&outcome, &[words]);
    }
}

/// AMC-10, AMC-31, third symptom.
#[tokio::test]
async fn rows_set_aside_are_listed_with_the_reason() {
    let insert = "INSERT INTO servers (name, domain, address, enabled) VALUES
        ('portless', 'a.example', '127.0.0.1', true), ('b', 'b.example', '127.0.0.1:1', true),
        ('c', 'B.Example', '127.0.0.1:1', true), ('off', 'd.example', '127.0.0.1:1', false)";
    let any = "ALTER TABLE servers DROP CONSTRAINT automc_servers_domain;";
    let outcome = check_after(&format!("{SCHEMA} {any} {insert}")).await;
    warns_with(
        &outcome,
        &[
            "row \"portless\" is not routed",
            "has no port",
            "row \"c\" is not routed: its domain b.example is taken by \"b\"",
        ],
    );
    let good = marked(&outcome.1, "ok").join("\n");
    assert!(good.contains("1 routes; 3 rows set aside"), "{good}");
    assert!(
        good.contains("row \"off\" is not routed: disabled"),
        "{good}"
    );
}

#[tokio::test]
async fn settings_that_cannot_be_honoured_are_listed_with_the_reason() {
    let insert = "INSERT INTO servers (name, domain, address, wake_hours) VALUES
        ('a', 'a.example', '127.0.0.1:1', '08:00-22:00 Mars/Olympus')";
    let outcome = check_after(&format!("{SCHEMA} {insert}")).await;
    let words =
        "row \"a\": wake_hours is left at its default: there is no time zone \"Mars/Olympus\"";
    warns_with(&outcome, &[words]);
}
