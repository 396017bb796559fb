//! Routes follow the rows of `servers`: which, when, and with what effect on players.

use harness::backend::Backend;
use harness::chaos::ChaosProxy;
use harness::eventually::eventually;
use harness::player::Player;
use harness::postgres::{Postgres, SCHEMA};
use harness::router::{Address, RouterProcess, Settings};
use hyper::Method;

use crate::followed::{DEADLINE, Followed, Parts};

/// The name a host's server is started by.
async fn server_of(router: &Address, host: &str) -> Option<String> {
    let routes = router.api(Method::GET, "/routes", "").await.unwrap();
    let routes = routes.json().unwrap();
    routes[host]["scalingTarget"].as_str().map(str::to_owned)
}

async fn stays_away_from_postgres(settings: Settings) {
    // Where libpq's own variables point: what connects to Postgres unasked would go there.
    let trap = Postgres::shared().await.unwrap().addr();
    let trap = ChaosProxy::start(trap).await.unwrap();
    let settings = settings
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", trap.addr().port().to_string())
        .flag("--mapping=fixed.example=127.0.0.1:1");
    let router = RouterProcess::start(settings).await.unwrap();

    let ready = router.at.api(Method::GET, "/readyz", "").await.unwrap();
    assert_eq!(ready.status, 200, "ready at once");
    let sync = router.at.sync().await.unwrap();
    assert_eq!(sync["enabled"], false);
    let routes: Vec<_> = router.at.routes().await.unwrap().into_iter().collect();
    assert_eq!(
        routes,
        [("fixed.example".to_owned(), "127.0.0.1:1".to_owned())]
    );
    assert_eq!(trap.accepted(), 0);
    let log = router.process.log();
    let of_ours = |line: &&String| line.contains("automc:") || line.contains("automc ");
    assert_eq!(log.iter().find(of_ours), None);
}

/// AMC-01.
#[tokio::test]
async fn without_a_dsn_nothing_is_done_or_said_about_postgres() {
    stays_away_from_postgres(Settings::new()).await;
}

/// AMC-01, as compose files and units write it.
#[tokio::test]
async fn an_empty_dsn_is_no_dsn() {
    stays_away_from_postgres(Settings::new().env("AUTOMC_DSN", "")).await;
}

/// AMC-02, AMC-18.
#[tokio::test]
async fn both_forms_of_the_dsn_lead_to_the_same_routes() {
    let database = Postgres::shared().await.unwrap().database().await.unwrap();
    let url = database.dsn();
    let pairs = format!("{} sslmode=disable", Parts::of(&url).pairs());
    let sql = database.client().await.unwrap();
    let insert = "INSERT INTO servers VALUES ('a', 'a.example', '127.0.0.1:1')";
    sql.batch_execute(insert).await.unwrap();
    for dsn in [url, pairs] {
        let settings = Settings::new().env("AUTOMC_DSN", dsn);
        let router = RouterProcess::start(settings).await.unwrap();
        let routed = router
            .at
            .routed("a.example", Some("127.0.0.1:1"), DEADLINE)
            .await;
        routed.unwrap();
        let started = router
            .process
            .line_with(&["automc: pg route sync started"], DEADLINE);
        let started = started.await.unwrap();
        assert!(started.contains(database.name()), "{started}");
        let password = Parts::of(&database.dsn()).password;
        assert!(!router.process.tail(100).contains(&password));
    }
}

/// AMC-07, AMC-08, AMC-09, AMC-10, AMC-17.
#[tokio::test]
async fn every_kind_of_change_is_live() {
    let followed = Followed::start().await;
    let two = Some("127.0.0.1:2");
    followed.add("a", "a.example", "127.0.0.1:1").await;

    followed
        .run("UPDATE servers SET address = '127.0.0.1:2'")
        .await;
    followed.routed("a.example", two).await;

    followed
        .run("UPDATE servers SET domain = 'b.example'")
        .await;
    followed.routed("b.example", two).await;
    followed.routed("a.example", None).await;

    followed.run("UPDATE servers SET name = 'renamed'").await;
    let renamed = async || {
        let server = server_of(&followed.router.at, "b.example").await;
        server.as_deref() == Some("renamed")
    };
    eventually("the new name", DEADLINE, renamed).await.unwrap();

    followed.run("UPDATE servers SET enabled = false").await;
    followed.routed("b.example", None).await;
    for enabled in ["NULL", "false", "true"] {
        followed
            .run(&format!("UPDATE servers SET enabled = {enabled}"))
            .await;
        let backend = two.filter(|_| enabled != "false");
        followed.routed("b.example", backend).await;
    }

    followed.run("DELETE FROM servers").await;
    followed.routed("b.example", None).await;

    followed.add("c", "c.example", "127.0.0.1:1").await;
    followed.run("TRUNCATE servers").await;
    followed.routed("c.example", None).await;
}

/// AMC-30: the quick start of the older documents as it stands, on free ports.
#[tokio::test]
async fn the_documented_quick_start_ends_with_the_route_in_the_log_and_in_the_api() {
    let server = Postgres::shared().await.unwrap();
    let database = server.empty_database().await.unwrap();
    let sql = database.client().await.unwrap();
    sql.batch_execute(SCHEMA).await.unwrap();
    let settings = Settings::default()
        .env("AUTOMC_DSN", database.dsn())
        .env("AUTOMC_WAKER_URL", "http://server-manager:8080")
        .env("AUTOMC_WAKER_TOKEN", "a key")
        .flag("--port")
        .flag("0")
        .flag("--api-binding")
        .flag("127.0.0.1:0")
        .flag("--use-asleep-motd");
    let router = RouterProcess::start(settings).await.unwrap();
    let insert = "INSERT INTO servers (name, domain, address, state) \
        VALUES ('test1', 'test1.example.com', '127.0.0.1:25001', 'running');";
    sql.batch_execute(insert).await.unwrap();

    let line = "automc route +: test1.example.com → 127.0.0.1:25001 (test1)";
    let logged = router.process.line_with(&[line], DEADLINE).await;
    logged.unwrap();
    let routes = router.at.api(Method::GET, "/routes", "").await.unwrap();
    let route = &routes.json().unwrap()["test1.example.com"];
    assert_eq!(route["backend"], "127.0.0.1:25001");
    let player = Player::new("test1.example.com");
    player.status(router.at.players).await.unwrap();
}

/// AMC-18.
#[tokio::test]
async fn every_change_is_logged_as_the_documents_write_it() {
    let followed = Followed::start().await;
    followed.insert("a", "A.Example", "127.0.0.1:1").await;
    followed
        .says(&["INFO", "automc route +: a.example → 127.0.0.1:1 (a)"])
        .await;
    followed
        .run("UPDATE servers SET address = '127.0.0.1:2'")
        .await;
    followed
        .says(&["automc route ~: a.example → 127.0.0.1:2 (a)"])
        .await;
    followed.run("DELETE FROM servers").await;
    followed
        .says(&["automc route -: a.example → 127.0.0.1:2 (a)"])
        .await;
}

/// AMC-10.
#[tokio::test]
async fn rows_that_are_no_routes_are_set_aside_with_the_reason_and_hold_up_no_other() {
    let followed = Followed::start().await;
    followed
        .run(
            "INSERT INTO servers (name, domain, address, enabled) VALUES
                ('null-domain',  NULL,           '127.0.0.1:1', true),
                ('empty-domain', '',             '127.0.0.1:1', true),
                ('no-address',   'b.example',    '',            true),
                ('no-port',      'c.example',    '127.0.0.1',   true),
                ('spaced',       'd d.example',  '127.0.0.1:1', true),
                ('disabled',     'e.example',    '127.0.0.1:1', false),
                ('null-enabled', 'f.example',    '127.0.0.1:1', NULL),
                ('good',         'g.example',    '127.0.0.1:1', true)",
        )
        .await;
    followed.routed("g.example", Some("127.0.0.1:1")).await;

    let routes = followed.router.at.routes().await.unwrap();
    let hosts: Vec<_> = routes.keys().map(String::as_str).collect();
    assert_eq!(hosts, ["f.example", "g.example"]);
    for (name, words) in [
        ("null-domain", "no domain"),
        ("empty-domain", "no domain"),
        ("no-address", "no address"),
        ("no-port", "has no port"),
        ("spaced", "contains ' '"),
        ("disabled", "disabled"),
    ] {
        let reason = followed.reason(name).await.unwrap_or_default();
        assert!(reason.contains(words), "{name}: {reason}");
    }
    let sync = followed.router.at.sync().await.unwrap();
    assert_eq!((&sync["rows"], &sync["routes"]), (&8.into(), &2.into()));
    assert_eq!(sync["setAsideCount"], 6);
    followed
        .says(&["WARN", "row \"no-port\" is not routed", "has no port"])
        .await;
}

/// AMC-10: the uniqueness of older tables minds the case, the router does not.
#[tokio::test]
async fn of_two_rows_for_one_host_the_first_by_name_wins_whichever_came_first() {
    let followed = Followed::start().await;
    let any = "ALTER TABLE servers DROP CONSTRAINT automc_servers_domain";
    followed.run(any).await;
    followed.add("b", "host.example", "127.0.0.1:2").await;

    followed.insert("a", "Host.EXAMPLE.", "127.0.0.1:1").await;
    followed.routed("host.example", Some("127.0.0.1:1")).await;
    let reason = followed.reason("b").await.unwrap();
    assert!(
        reason.contains("host.example is taken by \"a\""),
        "{reason}"
    );

    followed
        .run("UPDATE servers SET name = 'c' WHERE name = 'a'")
        .await;
    followed.routed("host.example", Some("127.0.0.1:2")).await;
    assert_eq!(followed.reason("b").await, None);
    assert!(followed.reason("c").await.is_some());
}

/// AMC-12.
#[tokio::test]
async fn a_change_of_state_alone_leaves_the_route_and_its_players_as_they_are() {
    let followed = Followed::start().await;
    let backend = Backend::start("survival").await.unwrap();
    let address = backend.addr().to_string();
    followed.add("a", "a.example", &address).await;
    let player = Player::new("a.example");
    let mut session = player.enter(followed.router.at.players).await.unwrap();

    for state in ["running", "starting", "crashed", "what nobody knows", ""] {
        let before = followed.syncs().await;
        followed
            .run(&format!("UPDATE servers SET state = '{state}'"))
            .await;
        let read = async || followed.syncs().await > before;
        eventually("another read", DEADLINE, read).await.unwrap();
        followed.routed("a.example", Some(&address)).await;
        assert_eq!(
            session.echo(state.as_bytes()).await.unwrap(),
            state.as_bytes()
        );
        let another = player.enter(followed.router.at.players).await;
        another.unwrap();
    }
    assert_eq!(followed.count("automc route +"), 1);
    assert_eq!(followed.count("automc route -"), 0);
}

/// AMC-09.
#[tokio::test]
async fn a_players_session_outlives_its_row_and_every_change_of_it() {
    let followed = Followed::start().await;
    let backend = Backend::start("first").await.unwrap();
    let other = Backend::start("second").await.unwrap();
    let (address, elsewhere) = (backend.addr().to_string(), other.addr().to_string());
    followed.add("a", "a.example", &address).await;
    let player = Player::new("a.example");
    let router = followed.router.at.players;
    let mut session = player.enter(router).await.unwrap();

    followed
        .run(&format!("UPDATE servers SET address = '{elsewhere}'"))
        .await;
    followed.routed("a.example", Some(&elsewhere)).await;
    assert_eq!(session.echo(b"moved").await.unwrap(), b"moved");
    let mut newcomer = player.enter(router).await.unwrap();
    assert_eq!((backend.records().len(), other.records().len()), (1, 1));

    followed.run("DELETE FROM servers").await;
    followed.routed("a.example", None).await;
    assert_eq!(session.echo(b"removed").await.unwrap(), b"removed");
    assert_eq!(newcomer.echo(b"removed").await.unwrap(), b"removed");
    player.refusal(router).await.unwrap();
}

/// AMC-01, AMC-09: neither source wipes the other.
#[tokio::test]
async fn routes_of_flags_and_of_postgres_live_side_by_side() {
    let database = Postgres::shared().await.unwrap().database().await.unwrap();
    let settings = Settings::new()
        .database(&database)
        .flag("--mapping=fixed.example=127.0.0.1:9");
    let followed = Followed::over(database, settings).await;
    followed.add("a", "a.example", "127.0.0.1:1").await;
    followed.routed("fixed.example", Some("127.0.0.1:9")).await;

    // What is configured by hand comes first, and the row says why it is not seen.
    followed.insert("b", "fixed.example", "127.0.0.1:2").await;
    let reason = async || followed.reason("b").await;
    let reason = eventually("a reason", DEADLINE, reason).await.unwrap();
    assert!(reason.contains("configuration"), "{reason}");
    followed.routed("fixed.example", Some("127.0.0.1:9")).await;

    followed.run("TRUNCATE servers").await;
    followed.routed("a.example", None).await;
    followed.routed("fixed.example", Some("127.0.0.1:9")).await;

    let gone = followed
        .router
        .at
        .api(Method::DELETE, "/routes/fixed.example", "")
        .await;
    assert_eq!(gone.unwrap().status, 200);
    followed.add("c", "fixed.example", "127.0.0.1:3").await;
}
