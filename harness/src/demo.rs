//! `harness demo`: the main job on real parts, told step by step with times.

use std::convert::Infallible;
use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hyper::Method;
use tokio::signal::unix::{SignalKind, signal};
use xtask::patience::Lines;

use crate::backend::Backend;
use crate::chaos::ChaosProxy;
use crate::eventually::eventually;
use crate::player::Player;
use crate::postgres::{Database, Postgres};
use crate::process::Process;
use crate::router::{Address, RouterProcess, Settings};
use crate::{binaries, http};

/// Longest time any step may take.
const STEP_DEADLINE: Duration = Duration::from_secs(60);
/// How long the demo's servers take to boot.
const BOOT: &str = "2s";
/// The key between router and waker-mock; generated parts of a demo need no secret one.
const TOKEN: &str = "demo-key";
/// How often to look whether a line of progress is due.
const LOOK: Duration = Duration::from_millis(200);
/// The demo's servers.
const SERVERS: [&str; 2] = ["survival", "creative"];
/// The port a real client looks for first.
const MINECRAFT_PORT: u16 = 25565;

/// What to do after the demo.
const NEXT: &str = "
Next:
  cargo demo -- --keep   the same, and it stays: join with a Minecraft client
  cargo test             everything, with a real Postgres
  README.md              `Quick start` sets up a router of your own";

/// Everything the demo runs.
struct Parts {
    postgres: Postgres,
    proxy: ChaosProxy,
    database: Database,
    waker: Process,
    router: RouterProcess,
}

/// Runs the demo; with `keep`, leaves everything running for a real client until Ctrl-C.
///
/// # Errors
/// The first step that does not do what it should.
pub async fn run(keep: bool) -> Result<()> {
    let begin = Instant::now();
    let parts = start(keep).await?;
    let players = parts.router.at.players;
    ping(players).await?;
    login(players).await?;
    row(&parts).await?;
    let parts = outage(parts).await?;
    say(&format!(
        "\nAll of it worked, in {}.",
        seconds(begin.elapsed())
    ));
    if keep {
        return stay(&parts).await;
    }
    say(NEXT);
    Ok(())
}

fn say(text: &str) {
    drop(writeln!(std::io::stdout(), "{text}"));
}

fn seconds(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

/// Says how long it has taken, as long as it takes.
async fn patience() -> Infallible {
    let mut lines = Lines::begin();
    loop {
        tokio::time::sleep(LOOK).await;
        lines.tell("at it", &say);
    }
}

/// Announces a step, carries it out, and tells what came of it and how long it took.
async fn step<T>(title: &str, work: impl Future<Output = Result<(T, String)>>) -> Result<T> {
    say(&format!("\n▸ {title}"));
    let begin = Instant::now();
    let work = tokio::time::timeout(STEP_DEADLINE * 3, work);
    let outcome = tokio::select! {
        outcome = work => outcome,
        never = patience() => match never {},
    };
    let (value, text) = outcome
        .context("took far too long")?
        .with_context(|| title.to_owned())?;
    say(&format!("  {text}  [{}]", seconds(begin.elapsed())));
    Ok(value)
}

async fn start(keep: bool) -> Result<Parts> {
    step(
        "Building automc-router and waker-mock, if that is still to be done",
        async {
            binaries::router().await?;
            Ok(((), "there".to_owned()))
        },
    )
    .await?;
    let (postgres, proxy, database) = step("Starting Postgres and applying schema.sql", async {
        let postgres = Postgres::start_or_use().await?;
        // The router reaches it through a proxy, so that its address outlives a restart.
        let proxy = ChaosProxy::start(postgres.addr()).await?;
        let database = postgres.database().await?;
        let text = postgres.describe();
        Ok(((postgres, proxy, database), text))
    })
    .await?;
    let (waker, url) = start_waker(&database).await?;
    let dsn = postgres.dsn_at(proxy.addr(), database.name());
    let router = start_router(dsn, url, keep).await?;
    Ok(Parts {
        postgres,
        proxy,
        database,
        waker,
        router,
    })
}

async fn start_waker(database: &Database) -> Result<(Process, String)> {
    let environment = [
        ("WAKER_MOCK_TOKEN", TOKEN.to_owned()),
        ("WAKER_MOCK_DSN", database.dsn()),
        ("WAKER_MOCK_LISTEN", "127.0.0.1:0".to_owned()),
        ("WAKER_MOCK_BOOT_DELAY", BOOT.to_owned()),
        (
            "WAKER_MOCK_SERVER",
            "survival=survival.localhost,creative=creative.localhost".to_owned(),
        ),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value));
    step("Starting waker-mock with two sleeping servers", async {
        let program = binaries::waker_mock().await?;
        let waker = Process::start(&program, std::iter::empty::<&str>(), environment)?;
        let url = manager_url(&waker).await?;
        Ok((
            (waker, url.clone()),
            format!("{url}, each server boots in {BOOT}"),
        ))
    })
    .await
}

/// From the line in which waker-mock tells where it listens.
async fn manager_url(waker: &Process) -> Result<String> {
    let line = waker.line_with(&["listens on"], STEP_DEADLINE).await?;
    Ok(line
        .split_whitespace()
        .last()
        .unwrap_or_default()
        .to_owned())
}

async fn start_router(dsn: String, waker_url: String, keep: bool) -> Result<RouterProcess> {
    let settings = Settings::new()
        .env("AUTOMC_DSN", dsn)
        .env("AUTOMC_WAKER_URL", waker_url)
        .env("AUTOMC_WAKER_TOKEN", TOKEN)
        .env("AUTOMC_WAKER_POLL_INTERVAL", "500ms")
        .flag("--shutdown-grace=1s");
    step("Starting automc-router", async {
        // A real client finds the usual port by itself; if it is taken, any will do.
        let usual = settings.clone().flag(format!("--port={MINECRAFT_PORT}"));
        let router = match if keep {
            RouterProcess::start(usual).await.ok()
        } else {
            None
        } {
            Some(router) => router,
            None => RouterProcess::start(settings).await?,
        };
        router.at.ready(STEP_DEADLINE).await?;
        for host in ["survival.localhost", "creative.localhost"] {
            router.at.has(host, STEP_DEADLINE).await?;
        }
        let text = format!(
            "players {}, API http://{}",
            router.at.players, router.at.api
        );
        Ok((router, text))
    })
    .await
}

async fn ping(players: SocketAddr) -> Result<()> {
    step(
        "A player's server list pings survival.localhost, which is asleep",
        async {
            let status = Player::new("survival.localhost").status(players).await?;
            Ok((
                (),
                format!(
                    "it shows: {:?} - and nothing was woken",
                    plain(status.text())
                ),
            ))
        },
    )
    .await
}

async fn login(players: SocketAddr) -> Result<()> {
    step(
        "Steve joins survival.localhost: the router asks for the start and waits with him",
        async {
            let text = Player::new("survival.localhost").refusal(players).await?;
            ensure!(
                text.contains("survival is running"),
                "the player was told {text:?}"
            );
            Ok((
                (),
                format!("the woken server itself greets him: {:?}", plain(&text)),
            ))
        },
    )
    .await
}

async fn row(parts: &Parts) -> Result<()> {
    let backend = Backend::start("lobby").await?;
    let sql = parts.database.client().await?;
    let insert = "INSERT INTO servers (name, domain, address, state) VALUES ('lobby', 'lobby.localhost', $1, 'running')";
    let address = backend.addr().to_string();
    step("A row is inserted: lobby, lobby.localhost", async {
        sql.execute(insert, &[&address]).await?;
        parts
            .router
            .at
            .has("lobby.localhost", STEP_DEADLINE)
            .await?;
        Ok(((), "the route is live".to_owned()))
    })
    .await?;
    step("Alex joins lobby.localhost", async {
        let mut session = Player::new("lobby.localhost")
            .enter(parts.router.at.players)
            .await?;
        let back = session.echo(b"hello").await?;
        ensure!(back == b"hello", "the echo differs");
        Ok(((), "in the game; bytes go both ways".to_owned()))
    })
    .await?;
    sql.execute("DELETE FROM servers WHERE name = 'lobby'", &[])
        .await?;
    Ok(())
}

async fn outage(parts: Parts) -> Result<Parts> {
    let sync = |at: Address| async move {
        eventually("the sync to be back", STEP_DEADLINE, async || {
            let sync = at.sync().await?;
            let is = |key: &str, value: serde_json::Value| sync.get(key) == Some(&value);
            ensure!(
                is("connected", true.into()) && !is("reconnects", 0.into()),
                "{sync}"
            );
            Ok(())
        })
        .await
    };
    // Somebody else's server is not killed; the way to it is cut instead.
    let ours = !parts.postgres.is_existing();
    let lost = if ours {
        "Postgres is killed while creative.localhost sleeps"
    } else {
        "The way to Postgres is cut while creative.localhost sleeps"
    };
    step(lost, async {
        if ours {
            parts.postgres.kill().await?;
        } else {
            parts.proxy.refuse().await?;
            parts.proxy.cut().await?;
        }
        let process = &parts.router.process;
        process
            .line_with(&["pgsync disconnected"], STEP_DEADLINE)
            .await?;
        let text = Player::new("creative.localhost")
            .refusal(parts.router.at.players)
            .await?;
        ensure!(
            text.contains("creative is running"),
            "the player was told {text:?}"
        );
        let text = "routes stay: a login wakes creative all the same";
        Ok(((), text.to_owned()))
    })
    .await?;
    step("Postgres comes back", async {
        if ours {
            parts.postgres.start_again().await?;
            parts.proxy.set_upstream(parts.postgres.addr());
        } else {
            parts.proxy.restore().await?;
        }
        sync(parts.router.at.clone()).await?;
        let text = "the router has reconnected and read the table again";
        Ok(((), text.to_owned()))
    })
    .await?;
    Ok(parts)
}

/// Without colour codes and on one line.
fn plain(text: &str) -> String {
    let mut parts = text.split('§');
    let first = parts.next().unwrap_or_default().to_owned();
    let rest = parts.map(|part| part.chars().skip(1).collect::<String>());
    rest.fold(first, |text, part| text + &part)
        .replace('\n', " ")
}

/// Has the demo's servers stopped, and waits until the router knows.
async fn asleep(parts: &Parts, manager: &str) -> Result<()> {
    let key = [("x-api-key", TOKEN)];
    for server in SERVERS {
        let url = format!("{manager}/servers/{server}/stop");
        let answer = http::request(Method::POST, &url, &key, "").await?;
        ensure!(answer.status / 100 == 2, "{url}: {}", answer.status);
    }
    let at = &parts.router.at;
    for server in SERVERS {
        let host = format!("{server}.localhost");
        eventually(&format!("{host} to sleep"), STEP_DEADLINE, async || {
            let answer = at.api(Method::GET, &format!("/routes/{host}"), "").await?;
            let route = answer.json()?;
            ensure!(route.get("state") == Some(&"asleep".into()), "{route}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

async fn stay(parts: &Parts) -> Result<()> {
    let Parts {
        router,
        waker,
        database,
        ..
    } = parts;
    let port = router.at.players.port();
    let manager = manager_url(waker).await?;
    step(
        "Both servers are stopped, so that you can wake them",
        async {
            asleep(parts, &manager).await?;
            Ok(((), "asleep".to_owned()))
        },
    )
    .await?;
    say(&format!(
        "\nEverything keeps running until Ctrl-C. Next, with a Minecraft client on this machine:\n\
         \x20 1. Add the server survival.localhost:{port} (or creative.localhost:{port}): the list shows that it is asleep.\n\
         \x20 2. Join. You wait {BOOT} while it starts, and then are kicked by the woken server itself:\n\
         \x20    \"survival is running. This is a stand-in server.\" That is the success: you got through to it.\n\
         \x20 (Where *.localhost is not known: 127.0.0.1 survival.localhost creative.localhost in /etc/hosts)\n\n\
         Routes:   curl http://{}/routes\n\
         Servers:  curl -H 'X-API-Key: {TOKEN}' {manager}/servers\n\
         Stop one: curl -X POST -H 'X-API-Key: {TOKEN}' {manager}/servers/survival/stop\n\
         Database: {}",
        router.at.api,
        // The password of somebody's server is nobody's business.
        if parts.postgres.is_existing() {
            format!("{} on {}", database.name(), parts.postgres.describe())
        } else {
            format!("psql '{}'", database.dsn())
        },
    ));
    // Also how others end a program that runs on.
    let mut end = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
        _ = end.recv() => Ok(()),
    }
}
