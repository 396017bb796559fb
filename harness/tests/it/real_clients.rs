//! Clients and servers that others have written, with the router between them: minecraft-protocol,
//! mineflayer, flying-squid, mcstatus.

use std::collections::BTreeMap;
use std::time::Duration;

use harness::backend::Asleep;
use harness::clients::{self, Guest, LOGIN_PLUGIN_PROTOCOL, Manner, Script, VERSIONS};
use harness::eventually::eventually;
use harness::manager::{Manager, Reply};
use harness::router::Settings;
use harness::table::Table;
use serde_json::Value;

/// Longer than a player waits for the first sign of life (5 s).
const HELD: Duration = Duration::from_secs(8);
/// Protocol of 1.21.4.
const PROTOCOL: i32 = 769;

/// A client that waits for a server that sleeps.
struct Waiting {
    version: &'static str,
    name: String,
    typed: String,
    client: Script,
    asleep: Asleep,
}

impl Waiting {
    fn port(&self) -> u16 {
        self.asleep.addr().port()
    }
}

fn named(version: &str) -> String {
    format!("v{}", version.replace('.', "-"))
}

/// Routes a sleeping server for each of `versions`, each with a client that has knocked; `bots`
/// are mineflayer's.
async fn knock(table: &Table, versions: &[&'static str], bots: bool) -> Vec<Waiting> {
    let mut waiting = Vec::new();
    for &version in versions {
        let (asleep, player) = table.asleep(&named(version)).await.unwrap();
        let (name, typed) = (named(version).replace('-', "_"), player.address);
        let guest = Guest {
            version,
            name: &name,
            typed: &typed,
        };
        let players = table.router.at.players;
        let client = if bots {
            guest.play(players).await
        } else {
            guest.join(players).await
        };
        waiting.push(Waiting {
            version,
            client: client.unwrap(),
            name,
            typed,
            asleep,
        });
    }
    for one in &waiting {
        one.client.event("connected").await.unwrap();
    }
    waiting
}

/// Waits until everybody has had the start of a server asked for.
async fn asked_for(manager: &Manager, starts: usize) {
    let all = eventually("starts", clients::DEADLINE, async || {
        manager.counts().0 == starts
    });
    all.await.unwrap();
}

/// Has a client of each version wait for `held`, then starts the servers.
async fn everybody_gets_in(held: Duration, manner: Manner) {
    let (manager, table) = Table::with_manager(patient()).await.unwrap();
    let mut waiting = knock(&table, &VERSIONS, false).await;
    asked_for(&manager, VERSIONS.len()).await;
    // What is tried is the time itself.
    tokio::time::sleep(held).await;
    let mut servers = Vec::new();
    for one in &mut waiting {
        assert!(one.client.is_running().unwrap(), "{}", one.client.said());
        servers.push(
            clients::serve(one.version, one.port(), manner)
                .await
                .unwrap(),
        );
    }
    for server in &servers {
        server.event("ready").await.unwrap();
    }
    manager.polls([Reply::state("running")]);
    for (one, server) in waiting.iter_mut().zip(&servers) {
        let entered = one.client.event("in").await;
        let entered =
            entered.unwrap_or_else(|error| panic!("{error:#}\nserver:\n{}", server.said()));
        assert_eq!(entered["echo"], *one.name, "{}", one.version);
        one.client.succeed().await.unwrap();
        assert_joined(one, server, manner).await;
    }
    assert_eq!(manager.counts().0, VERSIONS.len());
}

/// Asserts that the server saw the client as if there were no router.
async fn assert_joined(one: &Waiting, server: &Script, manner: Manner) {
    let joined = server.event("joined").await.unwrap();
    let online = manner == Manner::Online;
    assert_eq!(joined["name"], *one.name);
    assert_eq!(joined["encrypted"], online, "{}", one.version);
    let handshakes = server.events("handshake");
    let login = handshakes.last().unwrap();
    assert_eq!(login["host"], *one.typed, "{}", one.version);
    let asks = online && login["protocol"].as_u64().unwrap() >= LOGIN_PLUGIN_PROTOCOL;
    let answers: Vec<Value> = server
        .events("answered")
        .iter()
        .map(|answer| answer["id"].clone())
        .collect();
    let expected = if asks { vec![0] } else { vec![] };
    assert_eq!(answers, expected, "{}", one.version);
    assert_eq!(server.events("error"), [Value::Null; 0], "{}", one.version);
}

/// Nobody is given up while many programs start on few processors.
fn patient() -> Settings {
    Settings::new().env("AUTOMC_WAKER_TIMEOUT", "2m")
}

#[tokio::test]
async fn a_real_client_of_every_version_joins_a_sleeping_server() {
    everybody_gets_in(Duration::ZERO, Manner::Offline).await;
}

#[tokio::test]
async fn a_real_client_of_every_version_is_held_and_gets_into_an_encrypted_server() {
    everybody_gets_in(HELD, Manner::Online).await;
}

#[tokio::test]
async fn a_real_client_of_every_version_understands_why_it_does_not_get_in() {
    let (manager, table) = Table::with_manager(patient()).await.unwrap();
    let waiting = knock(&table, &VERSIONS, false).await;
    asked_for(&manager, VERSIONS.len()).await;
    manager.polls([Reply::state("failed")]);
    let mut texts = BTreeMap::new();
    for one in &waiting {
        let refused = one.client.event("refused").await.unwrap();
        let reason = refused["reason"].as_str().unwrap();
        let text: Value = serde_json::from_str(reason).unwrap();
        let text = text["text"].as_str().unwrap().to_owned();
        texts.entry(text).or_insert_with(Vec::new).push(one.version);
        one.client.event("ended").await.unwrap();
    }
    let (text, _) = texts.first_key_value().unwrap();
    assert!(texts.len() == 1 && !text.is_empty(), "{texts:?}");
}

#[tokio::test]
async fn a_mineflayer_bot_plays_on_a_flying_squid_server_that_slept() {
    const VERSIONS: [&str; 4] = ["1.8.8", "1.16.5", "1.20.4", "1.21.4"];
    let (manager, table) = Table::with_manager(patient()).await.unwrap();
    let mut waiting = knock(&table, &VERSIONS, true).await;
    asked_for(&manager, VERSIONS.len()).await;
    let mut servers = Vec::new();
    for one in &waiting {
        servers.push(clients::squid(one.version, one.port()).await.unwrap());
    }
    for server in &servers {
        server.event("ready").await.unwrap();
    }
    manager.polls([Reply::state("running")]);
    for (one, server) in waiting.iter_mut().zip(&servers) {
        let played = one.client.succeed().await;
        played.unwrap_or_else(|error| panic!("{error:#}\nserver:\n{}", server.said()));
        let joined = server.event("joined").await.unwrap();
        assert_eq!(joined["name"], *one.name, "{}", one.version);
    }
}

#[tokio::test]
async fn mcstatus_reads_a_sleeping_server_a_running_one_and_none() {
    let (manager, table) = Table::with_manager(patient()).await.unwrap();
    let (asleep, player) = table.asleep("test1").await.unwrap();
    let players = table.router.at.players;
    let read = async |typed: &str| clients::status(players, PROTOCOL, typed).await.unwrap();

    let sleeping = read(&player.address).await;
    assert_eq!(
        sleeping["text"], "This server is asleep.\nJoin to wake it up.",
        "{sleeping}"
    );
    assert_eq!(sleeping["protocol"], PROTOCOL, "{sleeping}");
    assert_eq!(sleeping["online"], 0, "{sleeping}");
    let pong = clients::ping(players, PROTOCOL, &player.address)
        .await
        .unwrap();
    assert!(pong["milliseconds"].is_f64(), "{pong}");

    let port = asleep.addr().port();
    let server = clients::serve("1.21.4", port, Manner::Offline)
        .await
        .unwrap();
    server.event("ready").await.unwrap();
    let running = read(&player.address).await;
    assert_eq!(running["text"], "a server of 1.21.4", "{running}");
    assert_eq!(running["version"], "1.21.4", "{running}");
    assert_eq!(running["max"], 20, "{running}");

    let none = read("nowhere.example.com").await;
    assert_eq!(
        none["text"], "There is no server of this name here.",
        "{none}"
    );
    assert_eq!(manager.counts(), (0, 0));
}
