//! Postgres goes away in every way it can, and comes back; players notice nothing.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use automc_router::postgres::connect::{ConnectError, connect_and_drive};
use automc_router::postgres::dsn::Dsn;
use harness::backend::Backend;
use harness::chaos::ChaosProxy;
use harness::eventually::eventually;
use harness::player::{Player, Session};
use harness::postgres::Postgres;
use harness::router::Settings;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::followed::{DEADLINE, Followed, Parts};

/// Within which a connection that went dead without a word must be noticed.
const DEAD_NOTICED: Duration = Duration::from_secs(20);
/// Longest wait that the reconnect schedule up to its cap can make necessary.
const LONG_DEADLINE: Duration = Duration::from_secs(60);
const LOST: &str = "automc pgsync disconnected; reconnecting in 1s";

/// A router that reaches its database through a proxy, on a server of its own.
struct Remote {
    followed: Followed,
    proxy: ChaosProxy,
}

impl Remote {
    async fn start(server: &Postgres) -> Self {
        let database = server.database().await.unwrap();
        let proxy = ChaosProxy::start(server.addr()).await.unwrap();
        let dsn = server.dsn_at(proxy.addr(), database.name());
        let settings = Settings::new().env("AUTOMC_DSN", dsn);
        let followed = Followed::over(database, settings).await;
        followed.router.at.ready(DEADLINE).await.unwrap();
        Self { followed, proxy }
    }

    async fn connected(&self, wanted: bool, deadline: Duration) {
        let connected = async || {
            let sync = self.followed.router.at.sync().await;
            sync.is_ok_and(|sync| sync["connected"] == wanted)
        };
        let what = format!("connected: {wanted}");
        let changed = eventually(&what, deadline, connected).await;
        changed
            .unwrap_or_else(|error| panic!("{error:#}\n{}", self.followed.router.process.tail(20)));
    }
}

/// A player who never stops.
struct Traffic {
    echoes: Arc<AtomicU64>,
    stop: CancellationToken,
    player: AbortOnDropHandle<Session>,
}

impl Traffic {
    fn start(mut session: Session) -> Self {
        let (echoes, stop) = (Arc::new(AtomicU64::new(0)), CancellationToken::new());
        let (count, stopped) = (Arc::clone(&echoes), stop.clone());
        let player = tokio::spawn(async move {
            while !stopped.is_cancelled() {
                let number = count.load(Ordering::SeqCst).to_be_bytes();
                assert_eq!(session.echo(&number).await.unwrap(), number);
                count.fetch_add(1, Ordering::SeqCst);
            }
            session
        });
        Self {
            echoes,
            stop,
            player: AbortOnDropHandle::new(player),
        }
    }

    /// Waits for more echoes than there are now.
    async fn flows(&self) {
        let now = self.echoes.load(Ordering::SeqCst);
        let more = async || self.echoes.load(Ordering::SeqCst) > now + 10;
        eventually("traffic", DEADLINE, more).await.unwrap();
    }

    async fn finish(self) {
        self.stop.cancel();
        self.player.await.unwrap();
    }
}

enum End {
    Shutdown,
    Crash,
}

async fn an_outage(end: End) {
    let server = Postgres::start().await.unwrap();
    let Remote { followed, proxy } = Remote::start(&server).await;
    let backend = Backend::start("survival").await.unwrap();
    let address = backend.addr().to_string();
    followed.insert("a", "a.example", &address).await;
    followed.insert("b", "b.example", "127.0.0.1:1").await;
    followed.routed("a.example", Some(&address)).await;
    let router = followed.router.at.players;
    let player = Player::new("a.example");
    let traffic = Traffic::start(player.enter(router).await.unwrap());

    match end {
        End::Shutdown => server.stop().await.unwrap(),
        End::Crash => server.kill().await.unwrap(),
    }
    followed.says(&["WARN", LOST]).await;
    traffic.flows().await;
    let mut newcomer = player.enter(router).await.unwrap();
    assert_eq!(newcomer.echo(b"hello").await.unwrap(), b"hello");
    assert_eq!(followed.router.at.routes().await.unwrap().len(), 2);
    followed.router.at.ready(DEADLINE).await.unwrap();
    followed.says(&["reconnecting in 2s"]).await;

    // What changes before the router is back is there when it is back.
    proxy.refuse().await.unwrap();
    server.start_again().await.unwrap();
    proxy.set_upstream(server.addr());
    let sql = followed.database.client().await.unwrap();
    let changes = "DELETE FROM servers WHERE name = 'b';
        INSERT INTO servers VALUES ('c', 'c.example', '127.0.0.1:3')";
    sql.batch_execute(changes).await.unwrap();
    proxy.restore().await.unwrap();
    followed.routed("c.example", Some("127.0.0.1:3")).await;
    followed.routed("b.example", None).await;
    sql.batch_execute("DELETE FROM servers WHERE name = 'c'")
        .await
        .unwrap();
    followed.routed("c.example", None).await;

    assert_eq!(newcomer.echo(b"still here").await.unwrap(), b"still here");
    traffic.flows().await;
    traffic.finish().await;
    assert_eq!(followed.count("automc route -: a.example"), 0);
}

/// AMC-14, AMC-15, AMC-16, AMC-18, AMC-32.
#[tokio::test]
async fn a_restart_of_postgres_costs_no_player_no_route_and_no_change() {
    an_outage(End::Shutdown).await;
}

/// AMC-14, AMC-15, AMC-16, AMC-18.
#[tokio::test]
async fn a_crash_of_postgres_costs_no_player_no_route_and_no_change() {
    an_outage(End::Crash).await;
}

/// AMC-14, AMC-18, AMC-32: the schedule in real time, up to its cap; what follows the cap is
/// arithmetic.
#[tokio::test]
async fn reconnects_come_after_1_to_30_seconds_and_after_1_again_once_one_was_good() {
    const SCHEDULE: [&str; 6] = ["1s", "2s", "4s", "8s", "16s", "30s"];
    let Remote { followed, proxy } = Remote::start(Postgres::shared().await.unwrap()).await;
    let delays = || {
        let log = followed.router.process.log();
        let delay = |line: &String| {
            let (_, rest) = line.split_once("automc pgsync disconnected; reconnecting in ")?;
            rest.split_whitespace().next().map(str::to_owned)
        };
        log.iter().filter_map(delay).collect::<Vec<_>>()
    };
    proxy.refuse().await.unwrap();
    proxy.cut().await.unwrap();
    let capped = &["reconnecting in 30s"];
    followed
        .router
        .process
        .line_with(capped, LONG_DEADLINE)
        .await
        .unwrap();
    assert_eq!(delays(), SCHEDULE);
    let sync = followed.router.at.sync().await.unwrap();
    assert_eq!(sync["reconnects"], 6);

    followed.insert("a", "a.example", "127.0.0.1:1").await;
    proxy.restore().await.unwrap();
    let at = &followed.router.at;
    at.routed("a.example", Some("127.0.0.1:1"), LONG_DEADLINE)
        .await
        .unwrap();

    proxy.cut().await.unwrap();
    let another = async || delays().len() > SCHEDULE.len();
    eventually("another loss", DEADLINE, another).await.unwrap();
    assert_eq!(delays()[SCHEDULE.len()..], ["1s"]);
    followed
        .run("UPDATE servers SET address = '127.0.0.1:2'")
        .await;
    followed.routed("a.example", Some("127.0.0.1:2")).await;
}

/// AMC-14, AMC-15: no reset, no end of stream; only silence.
#[tokio::test]
async fn a_connection_that_went_dead_without_a_word_is_noticed_within_20_s() {
    let remote = Remote::start(Postgres::shared().await.unwrap()).await;
    let followed = &remote.followed;
    let backend = Backend::start("survival").await.unwrap();
    let address = backend.addr().to_string();
    followed.insert("a", "a.example", &address).await;
    followed.routed("a.example", Some(&address)).await;

    remote.proxy.stall().await.unwrap();
    followed.insert("b", "b.example", "127.0.0.1:1").await;
    let noticed = followed
        .router
        .process
        .line_with(&["WARN", LOST], DEAD_NOTICED);
    noticed.await.unwrap();
    remote.connected(false, DEADLINE).await;
    let player = Player::new("a.example");
    player.enter(followed.router.at.players).await.unwrap();

    remote.proxy.restore().await.unwrap();
    followed.routed("b.example", Some("127.0.0.1:1")).await;
    remote.connected(true, DEADLINE).await;
}

/// AMC-14, AMC-15.
#[tokio::test]
async fn a_session_that_the_server_ends_is_noticed_by_its_words_and_made_anew() {
    let followed = Followed::start().await;
    followed.terminate().await;
    followed.says(&["WARN", LOST, "57P01"]).await;
    followed.insert("a", "a.example", "127.0.0.1:1").await;
    followed.routed("a.example", Some("127.0.0.1:1")).await;
}

/// AMC-14, AMC-31: the other way round, Postgres comes up last.
#[tokio::test]
async fn a_router_that_starts_before_postgres_routes_its_own_and_gets_the_rest_later() {
    let server = Postgres::shared().await.unwrap();
    let database = server.database().await.unwrap();
    let proxy = ChaosProxy::start(server.addr()).await.unwrap();
    proxy.refuse().await.unwrap();
    let settings = Settings::new()
        .env("AUTOMC_DSN", server.dsn_at(proxy.addr(), database.name()))
        .flag("--mapping=fixed.example=127.0.0.1:9");
    let followed = Followed::over(database, settings).await;
    followed.insert("a", "a.example", "127.0.0.1:1").await;
    followed.says(&["WARN", LOST, "refused"]).await;
    followed.routed("fixed.example", Some("127.0.0.1:9")).await;
    let ready = followed.router.at.api(hyper::Method::GET, "/readyz", "");
    assert_eq!(ready.await.unwrap().status, 503);

    proxy.restore().await.unwrap();
    followed.routed("a.example", Some("127.0.0.1:1")).await;
    followed.router.at.ready(DEADLINE).await.unwrap();
}

/// AMC-02, AMC-14: a host that hangs, as behind a dead load balancer or a stopped process, takes
/// connections all the same.
#[tokio::test]
async fn the_second_host_is_reached_though_the_first_takes_the_connection_and_is_silent() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let silent = silent.local_addr().unwrap().port();
    let database = Postgres::shared().await.unwrap().database().await.unwrap();
    let parts = Parts::of(&database.dsn());
    let dsn = |ports: &str, rest: &str| {
        let hosts = vec![parts.host.as_str(); ports.split(',').count()].join(",");
        let Parts { user, password, .. } = &parts;
        let name = database.name();
        let text = format!(
            "host={hosts} port={ports} user={user} password='{password}' dbname={name} {rest}"
        );
        Dsn::parse(&text).unwrap()
    };
    let both = format!("{silent},{}", parts.port);
    for rest in [
        "sslmode=disable",
        "sslmode=prefer connect_timeout=4",
        "load_balance_hosts=random connect_timeout=4",
    ] {
        let client = connect_and_drive(&dsn(&both, rest)).await;
        let client = client.unwrap_or_else(|error| panic!("{rest}: {error}"));
        let row = client.query_one("SELECT current_database()", &[]).await;
        assert_eq!(row.unwrap().get::<_, &str>(0), database.name(), "{rest}");
    }
    // The limit is for one host and not for the connecting of its socket alone.
    let alone = connect_and_drive(&dsn(&silent.to_string(), "connect_timeout=1")).await;
    let error = alone.unwrap_err();
    assert!(
        matches!(error, ConnectError::TimedOut(limit) if limit == Duration::from_secs(1)),
        "{error}"
    );
}
