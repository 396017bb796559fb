//! How long a woken player waits for no reason: from `running` to the server's first byte.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use automc_router::config::values::short;
use tokio::task::JoinSet;
use waker_mock::{Config, ServerSpec, State, WakerMock};

use super::say;
use crate::player::Player;
use crate::postgres::Postgres;
use crate::router::{RouterProcess, Settings};

/// Servers that are woken, all at once.
const SERVERS: u32 = 100;
/// Boot delays are spread evenly over this, so that `running` falls anywhere between two polls.
const BOOT_SPREAD: Duration = Duration::from_secs(4);
/// Longest wait for anything.
const DEADLINE: Duration = Duration::from_secs(60);

/// From the moment the server-manager has a server running, port open, to the moment its
/// player reads what the server says: an upper bound of "bytes at the backend".
pub(super) async fn measure(program: &Path, poll_interval: Duration) -> Result<Vec<Duration>> {
    let database = Postgres::shared().await?.database().await?;
    let waker = WakerMock::start(Config {
        dsn: None,
        ..Config::default()
    })
    .await?;
    let sql = database.client().await?;
    for server in 0..SERVERS {
        let (name, domain) = (format!("s{server}"), format!("s{server}.test"));
        waker.put_server(
            &name,
            ServerSpec::new(&domain, BOOT_SPREAD * server / SERVERS),
        )?;
        let address = waker.row_address(&name).unwrap_or_default();
        let insert = "INSERT INTO servers (name, domain, address) VALUES ($1, $2, $3)";
        sql.execute(insert, &[&name, &domain, &address]).await?;
    }
    let settings = Settings::new()
        .database(&database)
        .env("AUTOMC_WAKER_URL", waker.url())
        .env("AUTOMC_WAKER_POLL_INTERVAL", short(poll_interval));
    let router = RouterProcess::start_program(program, settings).await?;
    router.at.ready(DEADLINE).await?;

    let mut joining = JoinSet::new();
    let players = router.at.players;
    for server in 0..SERVERS {
        joining.spawn(async move {
            let text = Player::new(&format!("s{server}.test"))
                .refusal(players)
                .await?;
            let end = Instant::now();
            ensure!(text.contains("is running"), "s{server}: {text:?}");
            Ok((server, end))
        });
    }
    let mut ready = Vec::new();
    for server in 0..SERVERS {
        // In the order of their boot delays, so that none is looked at late.
        tokio::time::timeout(
            DEADLINE,
            waker.wait_for(&format!("s{server}"), State::Running),
        )
        .await??;
        ready.push(Instant::now());
    }
    let mut samples = Vec::new();
    for joined in joining.join_all().await {
        let (server, end) = joined?;
        let begin = ready.get(usize::try_from(server)?).copied().unwrap_or(end);
        samples.push(end.saturating_duration_since(begin));
    }
    say(&format!(
        "  {SERVERS} servers, polled every {}",
        short(poll_interval)
    ));
    Ok(samples)
}
