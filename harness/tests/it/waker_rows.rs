//! waker-mock keeps the `servers` table up to date, and outlives the database.

use std::time::Duration;

use automc_router::postgres::dsn::Dsn;
use harness::chaos::ChaosProxy;
use harness::eventually::eventually;
use harness::postgres::Postgres;
use tokio_postgres::Client;
use waker_mock::{Config, ServerSpec, State, WakerMock};

const DEADLINE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

type Row = (Option<String>, String, String);

async fn row(client: &Client, name: &str) -> Option<Row> {
    let query = "SELECT domain, address, state FROM servers WHERE name = $1";
    let row = client.query_opt(query, &[&name]).await.unwrap()?;
    Some((row.get(0), row.get(1), row.get(2)))
}

async fn until_row(client: &Client, name: &str, expected: Option<Row>) {
    eventually("the row", DEADLINE, async || {
        let found = row(client, name).await;
        (found == expected)
            .then_some(())
            .ok_or_else(|| format!("{found:?} instead of {expected:?}"))
    })
    .await
    .unwrap();
}

async fn waker(dsn: &str) -> WakerMock {
    let config = Config {
        dsn: Some(Dsn::parse(dsn).unwrap()),
        ..Config::default()
    };
    WakerMock::start(config).await.unwrap()
}

#[tokio::test]
async fn waker_mock_writes_every_state_and_takes_its_row_away_with_the_server() {
    let database = Postgres::shared().await.unwrap().database().await.unwrap();
    let client = database.client().await.unwrap();
    let waker = waker(&database.dsn()).await;
    let spec = ServerSpec::new("survival.test", HOUR);
    waker.put_server("survival", spec.clone()).unwrap();
    let address = waker.row_address("survival").unwrap();
    let expected = |state: &str| {
        Some((
            Some("survival.test".to_owned()),
            address.clone(),
            state.to_owned(),
        ))
    };

    until_row(&client, "survival", expected("stopped")).await;
    waker.start_server("survival").unwrap();
    until_row(&client, "survival", expected("starting")).await;
    let ready = ServerSpec {
        boot_delay: Some(Duration::ZERO),
        stop_delay: Some(HOUR),
        ..spec
    };
    waker.put_server("survival", ready).unwrap();
    until_row(&client, "survival", expected("running")).await;
    waker.stop_server("survival").unwrap();
    until_row(&client, "survival", expected("stopping")).await;
    waker.remove_server("survival").unwrap();
    until_row(&client, "survival", None).await;
}

#[tokio::test]
async fn waker_mock_updates_a_row_that_is_not_its_own_and_neither_makes_nor_deletes_one() {
    let database = Postgres::shared().await.unwrap().database().await.unwrap();
    let client = database.client().await.unwrap();
    let insert = "INSERT INTO servers VALUES ('theirs', 'theirs.test', 'h:1')";
    client.batch_execute(insert).await.unwrap();
    let waker = waker(&database.dsn()).await;
    for name in ["theirs", "rowless"] {
        let spec = ServerSpec {
            address: Some("h:2".to_owned()),
            boot_delay: Some(Duration::ZERO),
            ..ServerSpec::default()
        };
        waker.put_server(name, spec).unwrap();
        waker.start_server(name).unwrap();
        waker.wait_for(name, State::Running).await.unwrap();
    }
    let running = Some((
        Some("theirs.test".to_owned()),
        "h:2".to_owned(),
        "running".to_owned(),
    ));
    until_row(&client, "theirs", running).await;

    waker.remove_server("theirs").unwrap();
    waker.shutdown().await;

    assert_eq!(row(&client, "rowless").await, None);
    assert!(row(&client, "theirs").await.is_some());
}

#[tokio::test]
async fn waker_mock_tells_the_latest_states_once_the_database_is_back() {
    let server = Postgres::shared().await.unwrap();
    let database = server.database().await.unwrap();
    let client = database.client().await.unwrap();
    let proxy = ChaosProxy::start(server.addr()).await.unwrap();
    let waker = waker(&server.dsn_at(proxy.addr(), database.name())).await;
    waker
        .put_server("survival", ServerSpec::new("survival.test", Duration::ZERO))
        .unwrap();
    let state = async |state: &str| {
        eventually("the state", DEADLINE, async || {
            let found = row(&client, "survival").await.map(|row| row.2);
            (found.as_deref() == Some(state)).then_some(())
        })
        .await
        .unwrap();
    };
    state("stopped").await;

    proxy.refuse().await.unwrap();
    proxy.cut().await.unwrap();
    waker.start_server("survival").unwrap();
    waker.wait_for("survival", State::Running).await.unwrap();
    proxy.restore().await.unwrap();

    state("running").await;
    waker.shutdown().await;
    state("stopped").await;
}

#[tokio::test]
async fn waker_mock_waits_for_a_table_that_comes_later_and_skips_a_domain_that_is_taken() {
    let server = Postgres::shared().await.unwrap();
    let database = server.empty_database().await.unwrap();
    let client = database.client().await.unwrap();
    let waker = waker(&database.dsn()).await;
    for name in ["a", "b", "c"] {
        let domain = if name == "c" { "c.test" } else { "same.test" };
        waker
            .put_server(name, ServerSpec::new(domain, HOUR))
            .unwrap();
    }

    client
        .batch_execute(harness::postgres::SCHEMA)
        .await
        .unwrap();

    eventually("c", DEADLINE, async || row(&client, "c").await)
        .await
        .unwrap();
    assert!(row(&client, "a").await.is_some());
    assert!(row(&client, "b").await.is_none());
}
