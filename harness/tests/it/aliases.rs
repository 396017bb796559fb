//! Several names for one server, and names with stars, over the real router and Postgres.

use harness::backend::Backend;
use harness::player::Player;
use harness::router::Settings;
use harness::table::Table;

use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_server_is_joined_by_each_of_its_names_and_leaves_with_its_row() {
    let backend = Backend::start("many").await.unwrap();
    let table = Table::start(Settings::new()).await.unwrap();
    let aliases = [("aliases", "second.example.com, *.third.example.com")];
    let first = table
        .server_with("many", backend.addr(), "running", &aliases)
        .await
        .unwrap();
    let players = table.router.at.players;

    let names = ["Second.Example.com.", "x.third.example.com"];
    for player in names.map(Player::new).iter().chain([&first]) {
        player.join(players).await.unwrap();
    }
    assert_eq!(backend.logins().len(), 3);
    table
        .refusal(&Player::new("x.y.third.example.com"))
        .await
        .unwrap();

    table
        .sql
        .batch_execute("UPDATE servers SET aliases = NULL")
        .await
        .unwrap();
    table
        .router
        .at
        .routed("second.example.com", None, DEADLINE)
        .await
        .unwrap();
    first.join(players).await.unwrap();
    for name in names {
        table.refusal(&Player::new(name)).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_star_stands_for_leads_to_a_server_of_its_own() {
    let backend = Backend::start("local").await.unwrap();
    let exact = Backend::start("exact").await.unwrap();
    let table = Table::start(Settings::new()).await.unwrap();
    let port = backend.addr().port();
    let insert = format!(
        "INSERT INTO servers (name, domain, address) VALUES ('all', '*.play.example.com', '$1:{port}')"
    );
    table.sql.batch_execute(&insert).await.unwrap();
    table
        .server("lobby", exact.addr(), "running")
        .await
        .unwrap();
    table
        .sql
        .batch_execute("UPDATE servers SET aliases = 'lobby.play.example.com' WHERE name = 'lobby'")
        .await
        .unwrap();
    table
        .router
        .at
        .has("*.play.example.com", DEADLINE)
        .await
        .unwrap();
    table
        .router
        .at
        .has("lobby.play.example.com", DEADLINE)
        .await
        .unwrap();
    let players = table.router.at.players;

    Player::new("localhost.play.example.com")
        .join(players)
        .await
        .unwrap();
    assert_eq!(
        backend.logins().len(),
        1,
        "the name leads to that very address"
    );
    Player::new("lobby.play.example.com")
        .join(players)
        .await
        .unwrap();
    assert_eq!(
        (backend.logins().len(), exact.logins().len()),
        (1, 1),
        "an exact name comes first"
    );
    // What is no address is nobody's, and nobody can ask for a port by name.
    table
        .refusal(&Player::new("a:1.play.example.com"))
        .await
        .unwrap();
}
