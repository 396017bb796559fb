//! `automc-router check-db --fix` applies the schema, all of it or nothing, and says what is in the way.

use harness::postgres::{Database, Postgres, SCHEMA};

use crate::check_db::check_with;
use crate::followed::{DEADLINE, Followed, Parts, own_server};
use crate::shapes::{FIRST_SHAPE, NULLABLE, WITHOUT_TRIGGER};

const ROW: &str =
    "INSERT INTO servers (name, domain, address) VALUES ('a', 'a.example', '127.0.0.1:1')";

async fn after(statements: &str) -> Database {
    let server = Postgres::shared().await.unwrap();
    let database = server.empty_database().await.unwrap();
    let sql = database.client().await.unwrap();
    sql.batch_execute(statements).await.unwrap();
    database
}

/// What it prints after the schema, and its exit code.
async fn fix(dsn: &str) -> (Option<i32>, String) {
    let (code, text) = check_with(&["--fix"], Some(dsn)).await;
    let said = text.strip_prefix(SCHEMA);
    let said = said.unwrap_or_else(|| panic!("it does not show the schema first: {text}"));
    (code, said.to_owned())
}

/// AMC-07, AMC-31: whatever the documents have, or nothing.
#[tokio::test]
async fn every_older_table_is_what_it_should_be_afterwards_and_so_is_an_empty_database() {
    for shape in [FIRST_SHAPE, WITHOUT_TRIGGER, NULLABLE, SCHEMA, ""] {
        let database = after(shape).await;
        let sql = database.client().await.unwrap();
        if !shape.is_empty() {
            sql.batch_execute(ROW).await.unwrap();
        }
        let (code, said) = fix(&database.dsn()).await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("ok    schema.sql is applied"), "{said}");
        assert!(said.contains("every change is announced"), "{said}");
        assert!(!said.contains("warn") && !said.contains("FAIL"), "{said}");
        let rows = sql.query("SELECT name FROM servers", &[]).await.unwrap();
        assert_eq!(rows.len(), usize::from(!shape.is_empty()));
    }
}

#[tokio::test]
async fn a_router_that_follows_the_older_table_counts_at_once() {
    let followed = Followed::shaped(FIRST_SHAPE).await;
    followed.add("a", "a.example", "127.0.0.1:1").await;
    assert!(followed.router.at.sync().await.unwrap()["revision"].is_null());
    let (code, said) = fix(&followed.database.dsn()).await;
    assert_eq!(code, Some(0), "{said}");
    let counts = async || {
        let sync = followed.router.at.sync().await?;
        anyhow::ensure!(sync["revision"].is_u64(), "{sync}");
        anyhow::ensure!(
            sync["warnings"].as_array().is_some_and(Vec::is_empty),
            "{sync}"
        );
        Ok(())
    };
    harness::eventually::eventually("a revision", DEADLINE, counts)
        .await
        .unwrap();
    followed
        .run("UPDATE servers SET name = 'b', address = '127.0.0.1:2'")
        .await;
    followed.routed("a.example", Some("127.0.0.1:2")).await;
}

#[tokio::test]
async fn a_role_that_may_not_is_told_what_it_lacks_and_nothing_is_changed() {
    let database = own_server().await.empty_database().await.unwrap();
    let sql = database.client().await.unwrap();
    let statements = format!(
        "{FIRST_SHAPE} {ROW}; CREATE ROLE not_owner LOGIN PASSWORD 'not_owner';
         GRANT SELECT ON servers TO not_owner; REVOKE CREATE ON SCHEMA public FROM PUBLIC"
    );
    sql.batch_execute(&statements).await.unwrap();
    let dsn = Parts::of(&database.dsn()).role("not_owner").pairs();
    let (code, said) = fix(&dsn).await;
    assert_eq!(code, Some(1), "{said}");
    for words in [
        "FAIL  schema.sql is not applied, and nothing is changed: this role lacks ownership of table servers, which belongs to ",
        "GRANT CREATE ON SCHEMA public TO not_owner",
        "warn  no trigger announces TRUNCATE",
    ] {
        assert!(said.contains(words), "no {words:?} in {said}");
    }
    let made = "SELECT to_regclass('automc_revision') IS NULL";
    assert!(sql.query_one(made, &[]).await.unwrap().get::<_, bool>(0));
}

#[tokio::test]
async fn what_is_in_the_way_is_told() {
    let twice = "CREATE TABLE servers (name TEXT PRIMARY KEY, domain TEXT, address TEXT NOT NULL);
        INSERT INTO servers VALUES ('a', 'a.example', 'h:1'), ('b', 'A.Example', 'h:2')";
    let database = after(twice).await;
    let (code, said) = fix(&database.dsn()).await;
    assert_eq!(code, Some(0), "{said}");
    let words =
        "warn  several rows have one domain, so domains are not kept apart yet: a.example (a, b)";
    assert!(said.contains(words), "{said}");

    let other = after("CREATE TABLE servers (id INTEGER)").await;
    let (code, said) = fix(&other.dsn()).await;
    assert_eq!(code, Some(1), "{said}");
    let words = "nothing is changed: ERROR: table servers has no column name, domain, address";
    assert!(said.contains(words), "{said}");

    let (code, said) = check_with(&["--fix"], None).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("AUTOMC_DSN is empty or unset"), "{said}");
}
