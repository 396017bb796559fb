//! Clients and servers that others have written, with the router between them: minecraft-protocol,
//! mineflayer, flying-squid, mcstatus.

use std::collections::BTreeSet;

use automc_router::hold;
use harness::backend::{Asleep, Backend};
use harness::clients::{self, Guest, LOGIN_PLUGIN_PROTOCOL, Manner, Script, VERSIONS};
use harness::eventually::eventually;
use harness::manager::{Manager, Reply};
use harness::router::{RouterInside, Settings};
use harness::table::Table;
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// Some twenty programs of Node.js at once are enough for a small machine: the oldest clients give up after 20 s.
static CROWD: Mutex<()> = Mutex::const_new(());
/// How many of [`VERSIONS`] are from before Login Plugin Requests.
const OLD: usize = 3;
/// What the handshake of a login says.
const LOGIN: u64 = 2;
/// Protocol of 1.21.4.
const PROTOCOL: i32 = 769;

/// Nobody is given up while many programs start on few processors.
fn patient() -> Settings {
    Settings::new().env("AUTOMC_WAKER_TIMEOUT", "2m")
}

/// Routes a server that sleeps, for a player of `version`.
async fn routed(table: &Table, version: &str) -> (Guest, Asleep) {
    let name = format!("v{}", version.replace('.', "-"));
    let (asleep, player) = table.asleep(&name).await.unwrap();
    let guest = Guest {
        version: version.to_owned(),
        name: name.replace('-', "_"),
        typed: player.address,
    };
    (guest, asleep)
}

/// A server that is ready to listen at once, and who is to play on it.
struct Server {
    guest: Guest,
    script: Script,
    _asleep: Asleep,
}

impl Server {
    async fn load(table: &Table, versions: &[&str], manner: Manner) -> Vec<Self> {
        let mut servers = Vec::new();
        for version in versions {
            let (guest, asleep) = routed(table, version).await;
            let script = clients::serve(version, asleep.addr().port(), manner);
            servers.push(Self {
                guest,
                script: script.await.unwrap(),
                _asleep: asleep,
            });
        }
        for server in &servers {
            server.script.event("loaded").await.unwrap();
        }
        servers
    }

    /// Asserts that `client` gets in, and that the server sees it as if there were no router.
    async fn lets_in(&self, client: &mut Script, manner: Manner) {
        let (Guest { version, name, .. }, server) = (&self.guest, &self.script);
        let entered = client.event("in").await;
        let entered =
            entered.unwrap_or_else(|error| panic!("{error:#}\nserver:\n{}", server.said()));
        assert_eq!(entered["echo"], **name, "{version}");
        client.succeed().await.unwrap();

        let joined = server.event("joined").await.unwrap();
        let online = manner == Manner::Online;
        assert_eq!(joined["name"], **name, "{version}");
        assert_eq!(joined["encrypted"], online, "{version}");
        let mut logins = server.events("handshake");
        logins.retain(|handshake| handshake["intent"] == LOGIN);
        assert_eq!(logins.len(), 1, "{version}: {logins:?}");
        assert_eq!(logins[0]["host"], *self.guest.typed, "{version}");
        let asks = online && logins[0]["protocol"].as_u64().unwrap() >= LOGIN_PLUGIN_PROTOCOL;
        let answers = server.events("answered");
        let ids: Vec<_> = answers.iter().map(|answer| &answer["id"]).collect();
        assert!(ids == if asks { vec![0] } else { vec![] }, "{ids:?}");
        assert_eq!(server.events("error"), [Value::Null; 0], "{version}");
    }
}

/// Has everybody join with minecraft-protocol.
async fn knock(table: &Table, guests: impl IntoIterator<Item = &Guest>) -> Vec<Script> {
    let mut clients = Vec::new();
    for guest in guests {
        clients.push(guest.join(table.router.at.players).await.unwrap());
    }
    for client in &clients {
        client.event("connected").await.unwrap();
    }
    clients
}

/// Waits until so many starts were asked for: each server's, once.
async fn asked_for(manager: &Manager, starts: usize) {
    let all = eventually("starts", clients::DEADLINE, async || {
        manager.counts().0 == starts
    });
    all.await.unwrap();
}

/// Waits until the router has sent its first packet.
async fn held(client: &Script) {
    let asked = client.event("asked").await.unwrap();
    assert_eq!(asked["channel"], hold::CHANNEL, "{asked}");
}

/// Has the servers wake up; asserts that everybody gets into theirs.
async fn wake(manager: &Manager, servers: &[Server], clients: &mut [Script], manner: Manner) {
    asked_for(manager, servers.len()).await;
    let scripts = servers.iter().map(|server| &server.script);
    Script::listen(scripts).await.unwrap();
    manager.polls([Reply::state("running")]);
    for (server, client) in servers.iter().zip(clients) {
        server.lets_in(client, manner).await;
    }
    assert_eq!(manager.counts().0, servers.len());
}

#[tokio::test]
async fn a_real_client_of_every_version_joins_a_sleeping_server() {
    if !clients::node_is_here().await.unwrap() {
        return;
    }
    let _alone = CROWD.lock().await;
    let (manager, table) = Table::with_manager(patient()).await.unwrap();
    // The oldest knock last, for they can be held for the shortest time.
    let mut versions = VERSIONS;
    versions.reverse();
    let servers = Server::load(&table, &versions, Manner::Offline).await;
    let (new, old) = servers.split_at(VERSIONS.len() - OLD);
    let mut clients = knock(&table, new.iter().map(|server| &server.guest)).await;
    clients.extend(knock(&table, old.iter().map(|server| &server.guest)).await);

    wake(&manager, &servers, &mut clients, Manner::Offline).await;
}

#[tokio::test]
async fn a_real_client_of_every_version_gets_into_a_sleeping_server_that_encrypts() {
    if !clients::node_is_here().await.unwrap() {
        return;
    }
    let _alone = CROWD.lock().await;
    let (manager, table) = Table::with_manager(patient()).await.unwrap();
    let (old, new) = VERSIONS.split_at(OLD);
    let mut servers = Server::load(&table, new, Manner::Online).await;
    servers.extend(Server::load(&table, old, Manner::Online).await);
    let (new, old) = servers.split_at(new.len());
    let mut clients = knock(&table, new.iter().map(|server| &server.guest)).await;
    for client in &clients {
        held(client).await;
    }
    clients.extend(knock(&table, old.iter().map(|server| &server.guest)).await);

    wake(&manager, &servers, &mut clients, Manner::Online).await;
}

#[tokio::test]
async fn a_real_client_waits_in_configuration_and_comes_back_through_a_transfer() {
    const VERSIONS: [&str; 4] = ["1.20.6", "1.21.8", "26.1", "26.3"];
    if !clients::node_is_here().await.unwrap() {
        return;
    }
    let _alone = CROWD.lock().await;
    let alone = patient().env("AUTOMC_JOIN", "transfer");
    let (manager, table) = Table::with_manager(alone).await.unwrap();
    let servers = Server::load(&table, &VERSIONS, Manner::Offline).await;
    let mut clients = knock(&table, servers.iter().map(|server| &server.guest)).await;
    asked_for(&manager, servers.len()).await;
    let scripts = servers.iter().map(|server| &server.script);
    Script::listen(scripts).await.unwrap();
    manager.polls([Reply::state("running")]);
    for (server, client) in servers.iter().zip(&mut clients) {
        let sent = client.event("transferred").await.unwrap();
        assert_eq!(sent["host"], *server.guest.typed, "{sent}");
        server.lets_in(client, Manner::Offline).await;
        assert_eq!(
            client.events("asked"),
            [Value::Null; 0],
            "not held in the login"
        );
    }
    assert_eq!(manager.counts().0, servers.len(), "one start for each");
}

#[tokio::test]
async fn a_real_client_of_every_version_understands_why_it_does_not_get_in() {
    if !clients::node_is_here().await.unwrap() {
        return;
    }
    let _alone = CROWD.lock().await;
    let (manager, table) = Table::with_manager(patient()).await.unwrap();
    manager.polls([Reply::state("failed")]);
    let mut guests = Vec::new();
    for version in VERSIONS {
        guests.push(routed(&table, version).await);
    }
    let clients = knock(&table, guests.iter().map(|(guest, _)| guest)).await;
    let mut texts = BTreeSet::new();
    for client in &clients {
        let refused = client.event("refused").await.unwrap();
        let text: Value = serde_json::from_str(refused["reason"].as_str().unwrap()).unwrap();
        texts.insert(text["text"].as_str().unwrap().to_owned());
        client.event("ended").await.unwrap();
    }
    assert!(texts.len() == 1 && !texts.contains(""), "{texts:?}");
}

#[tokio::test]
async fn a_mineflayer_bot_plays_on_a_flying_squid_server_that_slept() {
    const VERSIONS: [&str; 3] = ["1.16.5", "1.20.4", "1.21.4"];
    if !clients::node_is_here().await.unwrap() {
        return;
    }
    let _alone = CROWD.lock().await;
    let (manager, table) = Table::with_manager(patient()).await.unwrap();
    let (mut guests, mut bots) = (Vec::new(), Vec::new());
    for version in VERSIONS {
        let (guest, asleep) = routed(&table, version).await;
        bots.push(guest.play(table.router.at.players).await.unwrap());
        guests.push((guest, asleep));
    }
    for bot in &bots {
        held(bot).await;
    }
    let mut servers = Vec::new();
    for (guest, asleep) in &guests {
        let server = clients::squid(&guest.version, asleep.addr().port());
        servers.push(server.await.unwrap());
    }
    for server in &servers {
        server.event("ready").await.unwrap();
    }
    manager.polls([Reply::state("running")]);
    for ((bot, server), (guest, _)) in bots.iter_mut().zip(&servers).zip(&guests) {
        let played = bot.succeed().await;
        played.unwrap_or_else(|error| panic!("{error:#}\nserver:\n{}", server.said()));
        let joined = server.event("joined").await.unwrap();
        assert_eq!(joined["name"], *guest.name, "{}", guest.version);
    }
    assert_eq!(manager.counts().0, VERSIONS.len());
}

#[tokio::test]
async fn mcstatus_reads_a_sleeping_server_a_running_one_and_none() {
    if !clients::node_is_here().await.unwrap() || !clients::python_is_here().await.unwrap() {
        return;
    }
    let (manager, table) = Table::with_manager(patient()).await.unwrap();
    let servers = Server::load(&table, &["1.21.4"], Manner::Offline).await;
    let (typed, players) = (&servers[0].guest.typed, table.router.at.players);

    let sleeping = clients::status(players, PROTOCOL, typed).await.unwrap();
    assert_eq!(
        sleeping["text"],
        "This server is asleep.\nJoin to wake it up."
    );
    assert_eq!(sleeping["protocol"], PROTOCOL, "{sleeping}");
    assert_eq!(sleeping["online"], 0, "{sleeping}");
    let pong = clients::ping(players, PROTOCOL, typed).await.unwrap();
    assert!(pong["milliseconds"].is_f64(), "{pong}");

    Script::listen([&servers[0].script]).await.unwrap();
    let update = "UPDATE servers SET state = 'running'";
    table.sql.batch_execute(update).await.unwrap();
    let awake = eventually("the server's own text", clients::DEADLINE, async || {
        let status = clients::status(players, PROTOCOL, typed).await?;
        let own = status["text"] == "a server of 1.21.4";
        anyhow::ensure!(own, "{status}");
        Ok(status)
    });
    let awake = awake.await.unwrap();
    assert_eq!(awake["version"], "1.21.4", "{awake}");
    assert_eq!(awake["max"], 20, "{awake}");

    let none = clients::status(players, PROTOCOL, "nowhere.example.com");
    let none = none.await.unwrap();
    assert_eq!(none["text"], "There is no server of this name here.");
    assert_eq!(manager.counts(), (0, 0));
}

/// Clients that ask before they join take the version from the answer, whatever they asked with.
#[tokio::test]
async fn clients_that_ask_first_choose_the_version_of_a_sleeping_server_by_its_last_status() {
    if !clients::node_is_here().await.unwrap() || !clients::python_is_here().await.unwrap() {
        return;
    }
    let backend = Backend::start("a").await.unwrap();
    let status = json!({
        "version": { "name": "1.20.1", "protocol": 763 }, "players": { "max": 20, "online": 1 },
        "description": "half a \u{1}character: HALF", "modinfo": "m".repeat(600_000),
    });
    backend.shows(&status.to_string().replace("HALF", "\\ud83d"));
    let settings = Settings::new()
        .flag(format!("--mapping=a.example={}", backend.addr()))
        .env("AUTOMC_STATUS_TTL", "0");
    let router = RouterInside::start(settings).unwrap();
    let at = router.at.players;

    let awake = clients::node_ping(at, "a.example").await.unwrap();
    assert_eq!(
        awake["description"], "half a \u{1}character: \u{FFFD}",
        "{awake}"
    );
    assert_eq!(awake["mods"], 600_000, "{awake}");
    assert_eq!(awake["protocol"], 763, "{awake}");

    backend.stop();
    let asleep = eventually("the server to be away", clients::DEADLINE, async || {
        let asleep = clients::node_ping(at, "a.example").await?;
        anyhow::ensure!(asleep["online"] == 0, "{asleep}");
        Ok(asleep)
    });
    let asleep = asleep.await.unwrap();
    assert_eq!(asleep["protocol"], 763, "{asleep}");
    for protocol in [-1, PROTOCOL] {
        let asleep = clients::status(at, protocol, "a.example").await.unwrap();
        assert_eq!(asleep["protocol"], 763, "{asleep}");
        assert_eq!(asleep["version"], "1.20.1", "{asleep}");
    }
}

#[tokio::test]
async fn mcstatus_reads_a_server_by_its_ping_from_before_1_7_that_breaks_off() {
    if !clients::python_is_here().await.unwrap() {
        return;
    }
    let backend = Backend::start("old").await.unwrap();
    let default = Settings::new().flag(format!("--default={}", backend.addr()));
    let router = RouterInside::start(default).unwrap();
    let status = clients::legacy(router.at.players).await.unwrap();
    assert_eq!(status["text"], "old", "{status}");
}
