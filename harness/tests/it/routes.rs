//! Routes from Postgres: live, whole, and reading only.

use std::time::Duration;

use harness::backend::Backend;
use harness::player::Player;
use harness::postgres::Postgres;
use harness::router::{RouterProcess, Settings};

const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn an_inserted_row_makes_a_login_reach_its_backend_byte_for_byte() {
    let database = Postgres::shared().await.unwrap().database().await.unwrap();
    let sql = database.client().await.unwrap();
    let backend = Backend::start("survival").await.unwrap();
    let router = RouterProcess::start(Settings::new().database(&database))
        .await
        .unwrap();
    router
        .process
        .line_with(&["automc: pg route sync started"], DEADLINE)
        .await
        .unwrap();

    let insert = "INSERT INTO servers (name, domain, address, state) VALUES ('test1', 'test1.example.com', $1, 'running')";
    let address = backend.addr().to_string();
    sql.execute(insert, &[&address]).await.unwrap();
    router
        .at
        .routed("test1.example.com", Some(&address), DEADLINE)
        .await
        .unwrap();

    let player = Player::new("Test1.Example.com.\0FML2\0");
    let mut session = player.enter(router.at.players).await.unwrap();
    assert_eq!(session.echo(b"hello").await.unwrap(), b"hello");
    assert_eq!(backend.records()[0].bytes, player.login_bytes());
    let arrow = format!("automc route +: test1.example.com → {address} (test1)");
    router.process.line_with(&[&arrow], DEADLINE).await.unwrap();
}
