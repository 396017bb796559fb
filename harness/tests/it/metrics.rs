//! Metrics by mc-router's names: true, live, and of bounded size whatever clients send.

use std::time::Duration;

use automc_router::metrics::HOSTS_MAX;
use harness::backend::Backend;
use harness::eventually::eventually;
use harness::http::Answer;
use harness::player::Player;
use harness::router::{RouterInside, Settings};
use hyper::Method;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use wiremock::matchers::{header, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

const DEADLINE: Duration = Duration::from_secs(20);
/// Host names that one client makes up.
const MADE_UP: usize = 10_000;
/// Connections of that client at once.
const AT_ONCE: usize = 16;

#[tokio::test]
async fn what_connections_come_to_is_counted_by_mc_routers_names() {
    let backend = Backend::start("lobby").await.unwrap();
    let settings = Settings::new()
        .flag(format!("--mapping=a.example={}", backend.addr()))
        .flag("--mapping=gone.example=127.0.0.1:1");
    let router = RouterInside::start(settings).unwrap();
    let mut session = Player::new("A.example.")
        .enter(router.at.players)
        .await
        .unwrap();
    Player::new("none.example")
        .refusal(router.at.players)
        .await
        .unwrap();
    Player::new("gone.example")
        .refusal(router.at.players)
        .await
        .unwrap();
    let mut garbage = TcpStream::connect(router.at.players).await.unwrap();
    // As TLS begins: a packet of 22 bytes whose number is 3.
    let hello = [[22, 3, 1, 0].as_slice(), &[0; 30]].concat();
    garbage.write_all(&hello).await.unwrap();

    let value = async |name: &str| router.at.metrics().await?.value(name);
    for (name, due) in [
        ("mc_router_frontend_connections{side=\"frontend\"}", 4),
        (
            "mc_router_backend_connections{host=\"a.example\",side=\"backend\"}",
            1,
        ),
        (
            "mc_router_server_active_connections{server_address=\"a.example\"}",
            1,
        ),
        ("mc_router_active_connections", 1),
        ("mc_router_errors{type=\"missing_backend\"}", 1),
        ("mc_router_errors{type=\"backend_failed\"}", 1),
        ("mc_router_errors{type=\"unexpected_content\"}", 1),
        ("mc_router_errors{type=\"wakeup_failed\"}", 0),
        ("automc_greeting_seconds_count", 3),
        ("automc_dial_seconds_count", 1),
    ] {
        let as_due = async || value(name).await.is_ok_and(|value| value == due);
        eventually(&format!("{name} {due}"), DEADLINE, as_due)
            .await
            .unwrap();
    }
    session.echo(&[7; 1_000]).await.unwrap();
    assert!(value("mc_router_bytes").await.unwrap() >= 2_000);

    drop(session);
    let name = "mc_router_server_active_connections{server_address=\"a.example\"}";
    let none = async || value(name).await.is_ok_and(|value| value == 0);
    eventually("the session to end", DEADLINE, none)
        .await
        .unwrap();
}

#[tokio::test]
async fn ten_thousand_made_up_hosts_add_one_series_and_many_routes_stay_within_the_bound() {
    let backend = Backend::start("lobby").await.unwrap();
    let address = backend.addr();
    let routes = HOSTS_MAX + 100;
    let mapping: Vec<_> = (0..routes)
        .map(|host| format!("r{host}.example={address}"))
        .collect();
    let settings = Settings::new()
        .flag(format!("--mapping={}", mapping.join(",")))
        .flag(format!("--default={address}"));
    let router = RouterInside::start(settings).unwrap();
    let players = router.at.players;
    let made_up = (0..MADE_UP).map(|host| format!("x{host}.example"));
    let routed = (0..routes).map(|host| format!("r{host}.example"));
    let mut clients = JoinSet::new();
    for host in made_up.chain(routed) {
        if clients.len() >= AT_ONCE {
            clients.join_next().await.unwrap().unwrap();
        }
        clients.spawn(async move {
            drop(Player::new(&host).enter(players).await.unwrap());
        });
    }
    clients.join_all().await;

    let metrics = router.at.api(Method::GET, "/metrics", "").await.unwrap();
    let series = |metrics: &Answer, name: &str| -> Vec<u64> {
        let lines = metrics.body.lines().filter(|line| line.starts_with(name));
        lines
            .map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
            .collect()
    };
    let begun = series(&metrics, "mc_router_backend_connections{");
    // The bound, and one for all others.
    assert!(begun.len() <= HOSTS_MAX + 1, "{}", begun.len());
    assert!(begun.len() > HOSTS_MAX / 4, "{}", begun.len());
    assert_eq!(begun.iter().sum::<u64>(), (MADE_UP + routes) as u64);
    let open = series(&metrics, "mc_router_server_active_connections{");
    assert_eq!(open.len(), begun.len());
    assert!(!metrics.body.contains("x1.example"));
    let own = "mc_router_backend_connections{host=\"(default)\",side=\"backend\"} 10000";
    let others = "mc_router_backend_connections{host=\"(other)\"";
    assert!(metrics.body.contains(own) || metrics.body.contains(others));
}

#[tokio::test]
async fn influxdb_is_written_to_and_what_could_not_be_written_comes_with_the_next() {
    let influx = MockServer::start().await;
    let write = || {
        Mock::given(method("POST"))
            .and(path("/write"))
            .and(query_param("db", "games & more"))
            .and(query_param("rp", "short"))
            .and(header("authorization", "Basic bWU6czNjcmV0"))
    };
    let broken = ResponseTemplate::new(500);
    write()
        .respond_with(broken)
        .up_to_n_times(2)
        .mount(&influx)
        .await;
    write()
        .respond_with(ResponseTemplate::new(204))
        .with_priority(9)
        .mount(&influx)
        .await;
    let prefix = "METRICS_BACKEND_CONFIG_INFLUXDB_";
    let settings = Settings::new()
        .env("METRICS_BACKEND", "influxdb")
        .env(&format!("{prefix}ADDR"), influx.uri())
        .env(&format!("{prefix}INTERVAL"), "100ms")
        .env(&format!("{prefix}DATABASE"), "games & more")
        .env(&format!("{prefix}RETENTION_POLICY"), "short")
        .env(&format!("{prefix}USERNAME"), "me")
        .env(&format!("{prefix}PASSWORD"), "s3cret")
        .env(&format!("{prefix}TAGS"), "zone=eu,rack=7");
    let router = RouterInside::start(settings).unwrap();
    Player::new("none.example")
        .refusal(router.at.players)
        .await
        .unwrap();

    let written = async || {
        let requests = influx.received_requests().await.unwrap_or_default();
        let taken = requests.iter().skip(2);
        taken
            .map(|request| String::from_utf8_lossy(&request.body).into_owned())
            .collect::<Vec<_>>()
    };
    let refused = "mc_router_errors,zone=eu,rack=7,type=missing_backend count=1 ";
    eventually("the refusal to be written", DEADLINE, async || {
        written().await.iter().any(|body| body.contains(refused))
    })
    .await
    .unwrap();
    let so_far = written().await.len();
    eventually("two more writes", DEADLINE, async || {
        written().await.len() >= so_far + 2
    })
    .await
    .unwrap();
    let bodies = written().await;
    let told = bodies
        .iter()
        .filter(|body| body.contains("missing_backend"));
    assert_eq!(told.count(), 1, "{bodies:?}");
    let active = "mc_router_connections_active,zone=eu,rack=7 value=0 ";
    assert!(
        bodies.iter().all(|body| body.contains(active)),
        "{bodies:?}"
    );
}

#[tokio::test]
async fn what_was_counted_since_the_last_write_is_written_when_the_router_stops() {
    let influx = MockServer::start().await;
    let taken = ResponseTemplate::new(204);
    Mock::given(path("/write"))
        .respond_with(taken)
        .mount(&influx)
        .await;
    let settings = Settings::new()
        .flag("--metrics-backend=influxdb")
        .flag(format!(
            "--metrics-backend-config-influxdb-addr={}",
            influx.uri()
        ))
        .flag("--metrics-backend-config-influxdb-interval=1h")
        .flag("--metrics-backend-config-influxdb-database=games");
    let router = RouterInside::start(settings).unwrap();
    Player::new("none.example")
        .refusal(router.at.players)
        .await
        .unwrap();
    drop(router);

    let written = async || influx.received_requests().await.unwrap_or_default();
    eventually("the last write", DEADLINE, async || {
        !written().await.is_empty()
    })
    .await
    .unwrap();
    let body = String::from_utf8_lossy(&written().await[0].body).into_owned();
    assert!(
        body.contains("mc_router_errors,type=missing_backend count=1 "),
        "{body}"
    );
}

#[tokio::test]
async fn what_is_left_of_the_limit_for_all_is_told_where_there_is_one() {
    const NAME: &str = "mc_router_rate_limit_available";
    let none = RouterInside::start(Settings::new()).unwrap();
    assert!(
        !none
            .at
            .api(Method::GET, "/metrics", "")
            .await
            .unwrap()
            .body
            .contains(NAME)
    );

    let limit = Settings::new().flag("--connection-rate-limit=50");
    let router = RouterInside::start(limit).unwrap();
    let left = router.at.metrics().await.unwrap().value(NAME).unwrap();
    assert_eq!(left, 100);
    // What has come is old after two seconds.
    eventually("fewer", DEADLINE, async || {
        drop(TcpStream::connect(router.at.players).await?);
        let left = router.at.metrics().await?.value(NAME)?;
        let vars = router.at.api(Method::GET, "/vars", "").await?.json()?;
        let told = &vars["rate_limit_available"];
        anyhow::ensure!((1..100).contains(&left) && told.is_u64(), "{left}, {told}");
        Ok(())
    })
    .await
    .unwrap();
}
