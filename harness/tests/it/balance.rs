//! Rows with several backends: who gets which, and that nobody is lost while one of them is there.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::ensure;
use harness::backend::{Asleep, Backend, Conduct};
use harness::eventually::eventually;
use harness::manager::Reply;
use harness::player::{Player, Session, legacy_ping, ping_1_6};
use harness::receiver::Receiver;
use harness::router::Settings;
use harness::table::Table;
use hyper::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

const DEADLINE: Duration = Duration::from_secs(20);
const HOST: &str = "play.example.com";

/// Adds the row of [`HOST`] with these backends, and waits until it is a route.
async fn row(table: &Table, address: &str, balance: &str) -> Player {
    let insert = "INSERT INTO servers (name, domain, address, state, balance) \
                  VALUES ('play', $1, $2, 'running', $3)";
    let row: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&HOST, &address, &balance];
    table.sql.execute(insert, &row).await.unwrap();
    table.router.at.has(HOST, DEADLINE).await.unwrap();
    let listed = table.router.at.api(Method::GET, "/routes", "").await;
    let listed = &listed.unwrap().json().unwrap()[HOST];
    assert_eq!(listed["backends"][0], listed["backend"]);
    Player::new(HOST)
}

/// A row over `backends`, each with what comes behind its address.
async fn over(table: &Table, backends: &[(&Backend, &str)], balance: &str) -> Player {
    let entry = |(backend, rest): &(&Backend, &str)| format!("{}{rest}", backend.addr());
    let entries: Vec<_> = backends.iter().map(entry).collect();
    row(table, &entries.join(", "), balance).await
}

async fn backends<const N: usize>() -> [Backend; N] {
    let mut all = Vec::new();
    for number in 0..N {
        all.push(Backend::start(&format!("b{number}")).await.unwrap());
    }
    all.try_into().unwrap()
}

fn logins<const N: usize>(backends: &[Backend; N]) -> [usize; N] {
    std::array::from_fn(|number| backends[number].logins().len())
}

async fn enter(table: &Table, player: &Player) -> Session {
    player.enter(table.router.at.players).await.unwrap()
}

/// Joins from another address of this machine.
async fn enter_from(table: &Table, player: &Player, client: u8) -> Session {
    let socket = TcpSocket::new_v4().unwrap();
    let from = Ipv4Addr::new(127, 0, 0, client);
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    let mut stream = socket.connect(table.router.at.players).await.unwrap();
    let bytes = player.login_bytes();
    stream.write_all(&bytes).await.unwrap();
    player.on(stream).enter().await.unwrap()
}

#[tokio::test]
async fn the_second_has_everybody_while_the_first_is_down_and_the_first_once_it_is_back() {
    let table = Table::start(Settings::new().env("AUTOMC_STATUS_TTL", "0"))
        .await
        .unwrap();
    let (asleep, second) = (
        Asleep::new().unwrap(),
        Backend::start("second").await.unwrap(),
    );
    let list = format!("{}, {}", asleep.addr(), second.addr());
    let player = row(&table, &list, "failover").await;
    let at = table.router.at.players;

    for _ in 0..3 {
        enter(&table, &player).await;
    }
    let status = player.status(at).await.unwrap();
    let legacy = legacy_ping(at, [&ping_1_6(HOST)[..]]).await;
    assert_eq!(status.text(), "second");
    assert!(format!("{legacy:?}").contains("second"), "{legacy:?}");
    let first = asleep.wake("first").unwrap();
    for _ in 0..3 {
        enter(&table, &player).await;
    }

    assert_eq!((first.logins().len(), second.logins().len()), (3, 3));
    assert_eq!(second.logins()[0].bytes, player.login_bytes());
    assert_eq!(player.status(at).await.unwrap().text(), "first");
}

#[tokio::test]
async fn turns_are_taken_by_weight_and_those_of_a_dead_one_by_the_others() {
    let table = Table::start(Settings::new()).await.unwrap();
    let all = backends::<3>().await;
    let list = [
        (&all[0], " weight=3"),
        (&all[1], ""),
        (&all[2], " weight=2"),
    ];
    let player = over(&table, &list, "round-robin").await;

    for _ in 0..12 {
        enter(&table, &player).await;
    }
    assert_eq!(logins(&all), [6, 2, 4]);
    all[0].stop();
    for _ in 0..12 {
        enter(&table, &player).await;
    }

    let [first, second, third] = logins(&all);
    assert_eq!((first, second + third), (6, 18));
    assert!(second >= 4 && third >= 8, "{second} and {third}");
}

#[tokio::test]
async fn the_one_with_the_fewest_players_for_its_weight_gets_the_next() {
    let table = Table::start(Settings::new()).await.unwrap();
    let all = backends::<2>().await;
    let player = over(
        &table,
        &[(&all[0], ""), (&all[1], " weight=2")],
        "least-players",
    )
    .await;

    let (mut on_first, mut on_second) = (Vec::new(), Vec::new());
    for expected in [[1, 0], [1, 1], [1, 2], [2, 2], [2, 3], [2, 4]] {
        let before = logins(&all);
        let session = enter(&table, &player).await;
        assert_eq!(logins(&all), expected);
        if before[0] < expected[0] {
            on_first.push(session);
        } else {
            on_second.push(session);
        }
    }
    drop(on_second);
    eventually("four players to leave", DEADLINE, async || {
        let open = table.metric("automc_sessions_open").await?;
        ensure!(open == 2, "{open}");
        Ok(())
    })
    .await
    .unwrap();
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(enter(&table, &player).await);
    }

    assert_eq!(logins(&all), [2, 7]);
}

#[tokio::test]
async fn an_address_has_its_backend_and_another_only_while_that_one_is_down() {
    let table = Table::start(Settings::new()).await.unwrap();
    let all = backends::<4>().await;
    let list = [(&all[0], ""), (&all[1], ""), (&all[2], ""), (&all[3], "")];
    let player = over(&table, &list, "address-hash").await;
    let home = async |client| {
        let before = logins(&all);
        enter_from(&table, &player, client).await;
        let after = logins(&all);
        (0..4)
            .find(|&number| after[number] > before[number])
            .unwrap()
    };
    let clients = 10..40;
    let mut homes = Vec::new();
    for client in clients.clone() {
        homes.push(home(client).await);
    }
    assert!((0..4).all(|number| homes.contains(&number)), "{homes:?}");

    all[1].stop();
    for (client, before) in clients.clone().zip(&homes) {
        let now = home(client).await;
        assert_eq!(now == *before, *before != 1, "{client}: {before}, {now}");
    }
    let back = Backend::start_at("back", all[1].addr()).await.unwrap();
    let own = clients.zip(&homes).filter(|(_, home)| **home == 1);
    let own: Vec<_> = own.map(|(client, _)| client).collect();
    for &client in &own {
        enter_from(&table, &player, client).await;
    }
    assert_eq!(back.logins().len(), own.len());
}

/// As a server does that stops just now, and the published port of a stopped container.
#[tokio::test]
async fn nobody_is_lost_to_a_backend_that_hangs_up_on_those_it_took() {
    let table = Table::start(Settings::new()).await.unwrap();
    let dying = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxied = Conduct {
        proxied: true,
        ..Conduct::default()
    };
    let second = Backend::start_as("second", proxied).await.unwrap();
    let list = format!("{}, {}", dying.local_addr().unwrap(), second.addr());
    let player = row(&table, &list, "failover").await;
    for (join, changed) in [("hold,kick", "proxy_protocol"), ("kick", "join_methods")] {
        let update = "UPDATE servers SET proxy_protocol = 'v2', join_methods = $1";
        table.sql.execute(update, &[&join]).await.unwrap();
        table.says(&["has other settings", changed]).await.unwrap();
        let knocked = player.knock(table.router.at.players).await.unwrap();
        let (mut stream, _) = dying.accept().await.unwrap();
        let mut taken = Vec::new();
        while !taken.ends_with(&player.login_bytes()) {
            assert_ne!(stream.read_buf(&mut taken).await.unwrap(), 0);
        }
        drop(stream);
        let mut session = knocked.enter().await.unwrap();
        assert_eq!(session.echo(b"hello").await.unwrap(), b"hello");
        let record = second.logins().pop().unwrap();
        assert_eq!(record.bytes, player.login_bytes());
        assert!(!record.header.is_empty());
    }
}

#[tokio::test]
async fn a_server_is_woken_when_none_of_its_backends_takes_players() {
    let (manager, table) = Table::with_manager(Settings::new()).await.unwrap();
    let (first, second) = (
        Asleep::new().unwrap(),
        Backend::start("second").await.unwrap(),
    );
    let list = format!("{}, {}", first.addr(), second.addr());
    let player = row(&table, &list, "failover").await;
    enter(&table, &player).await;
    assert_eq!(manager.counts(), (0, 0));

    second.stop();
    let waiting = player.knock(table.router.at.players).await.unwrap();
    manager.polled(1, DEADLINE).await.unwrap();
    let woken = Backend::start("woken").await.unwrap();
    manager.polls([Reply::running(woken.addr())]);
    waiting.enter().await.unwrap();

    assert_eq!((manager.counts().0, woken.logins().len()), (1, 1));
}

#[tokio::test]
async fn what_is_wrong_with_a_list_is_told_and_the_rest_of_the_row_is_not_in_doubt() {
    let table = Table::start(Settings::new()).await.unwrap();
    let second = Backend::start("second").await.unwrap();
    let insert = "INSERT INTO servers (name, domain, address) VALUES ('bad', 'bad.example', $1)";
    table
        .sql
        .execute(insert, &[&"10.0.0.1:25565, nowhere"])
        .await
        .unwrap();
    table
        .says(&["\"bad\"", "not routed", "\"nowhere\"", "no port"])
        .await
        .unwrap();

    let list = format!(
        "{}, {} weight=2",
        Asleep::new().unwrap().addr(),
        second.addr()
    );
    let player = row(&table, &list, "fastest").await;
    table
        .says(&["\"play\"", "balance", "\"fastest\""])
        .await
        .unwrap();
    enter(&table, &player).await;
    assert_eq!(second.logins().len(), 1);
}

/// Somebody came there by another route. Routes that are due at the same time show that this one is not.
#[tokio::test]
async fn no_server_is_stopped_while_somebody_plays_on_any_of_its_backends() {
    let hook = Receiver::start().await.unwrap();
    let settings = Settings::new()
        .flag("--auto-scale-down-after=1s")
        .flag(format!("--auto-scale-webhook-url={}", hook.url()));
    let table = Table::start(settings).await.unwrap();
    let [first, second, one, two] = backends().await;
    first.stop();
    over(&table, &[(&first, ""), (&second, "")], "failover").await;
    let off = [("down_after", "off")];
    let player = table.server_with("lobby", second.addr(), "running", &off);
    let session = enter(&table, &player.await.unwrap()).await;
    for (name, idle, after) in [("one", &one, "1s"), ("two", &two, "2s")] {
        let settings = [("down_after", after)];
        table
            .server_with(name, idle.addr(), "running", &settings)
            .await
            .unwrap();
    }

    let stops = |host: &str| {
        let stopped = hook.received();
        let names = stopped.iter().map(|one| one.json["serverAddress"].clone());
        names.filter(|name| name == host).count()
    };
    let stopped = async |host: &str| {
        let once = async || stops(host) == 1;
        eventually(host, DEADLINE, once).await.unwrap();
    };
    stopped("one.example.com").await;
    stopped("two.example.com").await;
    assert_eq!(stops(HOST), 0);
    drop(session);
    stopped(HOST).await;
}

/// Its port is open all the time, so only its health keeps players from it.
#[tokio::test]
async fn who_is_unhealthy_comes_last_and_is_back_in_turn_once_it_is_well() {
    let table = Table::start(Settings::new().env("AUTOMC_HEALTH_INTERVAL", "100ms"))
        .await
        .unwrap();
    let all = backends::<2>().await;
    let player = over(&table, &[(&all[0], ""), (&all[1], "")], "failover").await;
    let unwell = Conduct {
        status: false,
        ..Conduct::default()
    };
    let first = all[0].addr();
    // The second check comes after the first is over.
    let checked = async || all[0].records().len() > 1;
    eventually("checks", DEADLINE, checked).await.unwrap();
    all[0].conduct(unwell);
    table
        .says(&["backend: unhealthy", &first.to_string()])
        .await
        .unwrap();

    for _ in 0..3 {
        enter(&table, &player).await;
    }
    assert_eq!(logins(&all), [0, 3]);
    let health = table
        .router
        .at
        .api(Method::GET, "/health/routes", "")
        .await
        .unwrap();
    assert_eq!(health.json().unwrap()["routes"][HOST]["status"], "healthy");
    all[0].conduct(Conduct::default());
    table
        .says(&["backend: healthy again", &first.to_string()])
        .await
        .unwrap();
    enter(&table, &player).await;
    assert_eq!(logins(&all), [1, 3]);
}
