//! `schema.sql` over every table there has been, with rows in it.

use harness::postgres::{Database, Postgres, SCHEMA};
use tokio_postgres::Client;

use crate::schema::Ear;
use crate::shapes::{FIRST_SHAPE, NULLABLE, WITHOUT_TRIGGER};

/// As it was before it counted revisions.
const UNCOUNTED: &str = include_str!("../schemas/uncounted.sql");

/// Without a trigger, and without the columns that came later.
const BARE: &str =
    "CREATE TABLE servers (name TEXT PRIMARY KEY, domain TEXT, address TEXT NOT NULL, state TEXT)";

const ROWS: &str = "INSERT INTO servers (name, domain, address, state) VALUES
    ('a', 'a.example', 'h:1', 'running'), ('b', 'B.Example.', 'h:2', 'stopped'), ('c', '', '', '')";

async fn after(statements: &str) -> (Database, Ear) {
    let server = Postgres::shared().await.unwrap();
    let database = server.empty_database().await.unwrap();
    let ear = Ear::on(&database.dsn()).await;
    ear.run(statements).await;
    (database, ear)
}

async fn column(sql: &Client, query: &str) -> Vec<String> {
    let rows = sql.query(query, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Everything the file makes, except the columns' order and what an older table forbids beyond it.
async fn made(sql: &Client) -> Vec<String> {
    let query = "SELECT concat_ws(' ', attrelid::regclass, attname, format_type(atttypid, atttypmod))
            FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped AND attrelid IN
                (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r')
        UNION ALL SELECT concat_ws(' ', tgenabled, pg_get_triggerdef(oid)) FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        UNION ALL SELECT concat_ws(' ', proname, md5(prosrc), prosecdef, proconfig, proacl)
            FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        ORDER BY 1";
    column(sql, query).await
}

const HELD: &str =
    "SELECT concat_ws('|', name, domain, address, state, enabled) FROM servers ORDER BY name";
const REVISION: &str = "SELECT epoch || ' ' || revision FROM automc_revision";

/// AMC-07: every shape in which the documents have the table, and the file before this one.
#[tokio::test]
async fn every_older_table_becomes_the_table_of_today_with_its_rows_however_often_it_is_applied() {
    let (_fresh, fresh) = after(SCHEMA).await;
    let wanted = made(&fresh.sql).await;
    for shape in [
        FIRST_SHAPE,
        WITHOUT_TRIGGER,
        NULLABLE,
        BARE,
        UNCOUNTED,
        SCHEMA,
    ] {
        let (_database, mut ear) = after(shape).await;
        ear.run(ROWS).await;
        ear.run(SCHEMA).await;

        assert_eq!(made(&ear.sql).await, wanted, "{shape}");
        let rows = [
            "a|a.example|h:1|running|t",
            "b|B.Example.|h:2|stopped|t",
            "c||||t",
        ];
        assert_eq!(column(&ear.sql, HELD).await, rows, "{shape}");
        assert!(!ear.said().contains("WARNING"), "{shape}");

        let before = column(&ear.sql, REVISION).await;
        ear.run(SCHEMA).await;
        assert_eq!(column(&ear.sql, REVISION).await, before, "{shape}");
        assert_eq!(made(&ear.sql).await, wanted, "{shape}");

        ear.forget().await;
        ear.run("UPDATE servers SET domain = 'c.example' WHERE name = 'c'")
            .await;
        assert_eq!(ear.hints().await, ["c"], "{shape}");
    }
}

/// Whoever listens looks at the new shape at once.
#[tokio::test]
async fn applying_it_says_look_again() {
    let (_database, mut ear) = after(FIRST_SHAPE).await;
    ear.run(SCHEMA).await;
    assert_eq!(ear.hints().await, [""]);
}

#[tokio::test]
async fn rows_for_one_domain_are_told_and_kept_and_the_constraint_comes_once_they_are_gone() {
    let (_database, mut ear) = after(UNCOUNTED).await;
    ear.run(ROWS).await;
    ear.run("INSERT INTO servers VALUES ('d', 'b.EXAMPLE', 'h:4'), ('e', 'A.example', 'h:5')")
        .await;
    ear.run(SCHEMA).await;

    let said = ear.said();
    let words = "WARNING: several rows have one domain, so domains are not kept apart yet: \
        a.example (a, e), b.example (b, d)";
    assert!(said.contains(words), "{said}");
    let constraints =
        "SELECT conname::text FROM pg_constraint WHERE conrelid = 'servers'::regclass ORDER BY 1";
    let kept = ["servers_domain_key", "servers_pkey"];
    assert_eq!(column(&ear.sql, constraints).await, kept);
    assert_eq!(column(&ear.sql, HELD).await.len(), 5);
    // Everything else is as it should be.
    ear.forget().await;
    ear.run("DELETE FROM servers WHERE name IN ('d', 'e')")
        .await;
    assert_eq!(ear.hints().await, ["d e"]);

    ear.run(SCHEMA).await;
    assert_eq!(ear.said().matches("WARNING").count(), 0);
    let made = ["automc_servers_domain", "servers_pkey"];
    assert_eq!(column(&ear.sql, constraints).await, made);
}

#[tokio::test]
async fn a_constraint_that_others_rely_on_stays_and_is_told() {
    let (_database, mut ear) = after(UNCOUNTED).await;
    ear.run(ROWS).await;
    ear.run("CREATE TABLE players (server TEXT REFERENCES servers (domain))")
        .await;
    ear.run(SCHEMA).await;
    let said = ear.said();
    assert!(
        said.contains("WARNING: constraint servers_domain_key stays as it is"),
        "{said}"
    );
    ear.forget().await;
    ear.run("UPDATE servers SET state = 'x' WHERE name = 'a'")
        .await;
    assert_eq!(ear.hints().await, ["a"]);
}

/// A role with a schema of its own, which comes first in its search path, and a table where others look, too.
#[tokio::test]
async fn a_table_in_another_schema_than_the_first_is_upgraded_there_and_none_is_put_before_it() {
    let (_database, mut ear) = after(BARE).await;
    ear.run(ROWS).await;
    ear.run("CREATE SCHEMA own; SET search_path = own, public")
        .await;
    ear.run(SCHEMA).await;
    assert_eq!(column(&ear.sql, HELD).await.len(), 3);
    let own = "SELECT relname::text FROM pg_class WHERE relnamespace = 'own'::regnamespace";
    assert_eq!(column(&ear.sql, own).await, Vec::<String>::new());
    let path = column(&ear.sql, "SELECT current_setting('search_path')").await;
    assert_eq!(path, ["own, public"], "only while it is applied");
    ear.forget().await;
    ear.run("UPDATE servers SET state = 'x' WHERE name = 'a'")
        .await;
    assert_eq!(ear.hints().await, ["a"]);
}

#[tokio::test]
async fn somebody_elses_table_is_left_as_it_is() {
    let (_database, ear) = after("CREATE TABLE servers (id INTEGER, name TEXT)").await;
    let before = made(&ear.sql).await;
    let error = ear.sql.batch_execute(SCHEMA).await.unwrap_err();
    let error = error.as_db_error().unwrap().message();
    assert!(
        error.contains("table servers has no column domain, address"),
        "{error}"
    );
    ear.run("ROLLBACK").await;
    assert_eq!(made(&ear.sql).await, before);
}
