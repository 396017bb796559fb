//! Players of every version who are held in the login phase: kept while their server starts, and
//! then in, as if nothing had been.

use std::time::Duration;

use anyhow::Result;
use automc_router::hold::CHANNEL;
use automc_router::hold::schedule::{FIRST_ID, TICK, silence_max};
use harness::backend::{Asleep, Backend, Conduct, Record};
use harness::eventually::eventually;
use harness::manager::Manager;
use harness::player::version::{V1_8, V1_13};
use harness::player::{IDLE_READ_TIMEOUT, IDLE_READ_TIMEOUT_1_7, Outcome, Packet, Player, Session};
use harness::router::Settings;
use harness::table::Table;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
/// Those who answer requests: the first of each kind of login, the last, and one that nobody knows yet.
const ANSWERING: [i32; 19] = [
    393, 498, 578, 754, 758, 759, 760, 761, 763, 764, 765, 766, 767, 770, 771, 773, 776, 777, 778,
];
/// A server that takes this long to start is too slow for every client that hears nothing.
const BOOT: Duration = Duration::from_secs(95);

/// What takes `time` with the tick of a real router takes this long with `tick`.
fn scaled(time: Duration, tick: Duration) -> Duration {
    time.mul_f64(tick.as_secs_f64() / TICK.as_secs_f64())
}

/// A player of this version whose patience is that of a real client, scaled.
pub(crate) fn player(who: &Player, protocol: i32, tick: Duration) -> Player {
    let patience = if protocol < V1_8 {
        IDLE_READ_TIMEOUT_1_7
    } else {
        IDLE_READ_TIMEOUT
    };
    Player {
        protocol,
        name: format!("Player{protocol}"),
        patience: Some(scaled(patience, tick)),
        ..who.clone()
    }
}

/// A router with this tick, and a server-manager.
pub(crate) async fn start(tick: Duration, settings: Settings) -> (Manager, Table) {
    let settings = settings
        .env("AUTOMC_HOLD_TICK", format!("{}ms", tick.as_millis()))
        .env("AUTOMC_WAKE_PER_ADDRESS", "off");
    Table::with_manager(settings).await.unwrap()
}

/// Waits until that many starts were asked for.
pub(crate) async fn started(manager: &Manager, starts: usize) {
    eventually("starts", DEADLINE, async || manager.counts().0 == starts)
        .await
        .unwrap();
}

/// Waits until that many players are held, and that many were whose wait ended so.
pub(crate) async fn held(table: &Table, now: u64, outcome: &str, ended: u64) {
    let ends = format!("automc_held_players_total{{outcome=\"{outcome}\"}}");
    eventually("the count of held players", DEADLINE, async || {
        let metrics = table.router.at.metrics().await?;
        let found = (metrics.value("automc_held_players")?, metrics.value(&ends)?);
        anyhow::ensure!(found == (now, ended), "held and {outcome}: {found:?}");
        Ok(())
    })
    .await
    .unwrap();
}

/// What came of one who waited.
pub(crate) struct Waited {
    /// Just before it knocked.
    pub(crate) since: Instant,
    pub(crate) session: Session,
    pub(crate) outcome: Outcome,
}

/// Knocks at the router for each of `players`, who then answer as they do until they are in or out.
pub(crate) fn knock(table: &Table, players: &[Player]) -> JoinSet<Result<Waited>> {
    let mut waiting = JoinSet::new();
    for player in players.iter().cloned() {
        let router = table.router.at.players;
        waiting.spawn(async move {
            let (since, protocol) = (Instant::now(), player.protocol);
            let mut session = player.knock(router).await?;
            let outcome = session.wait().await;
            let outcome = outcome.map_err(|error| error.context(format!("{protocol}")))?;
            Ok(Waited {
                since,
                session,
                outcome,
            })
        });
    }
    waiting
}

/// Asserts that the client was kept over `time` as its version is: each of the router's words at
/// its place and none too early, and so many that on average no silence was too long.
fn assert_kept(waited: &Waited, tick: Duration, time: Duration) {
    let protocol = waited.session.player.protocol;
    let mut words: u32 = 0;
    for seen in &waited.session.seen {
        match &seen.packet {
            Packet::PluginRequest { id, channel } if channel == CHANNEL => {
                assert!(protocol >= V1_13, "{protocol}");
                assert_eq!(*id, FIRST_ID + i32::try_from(words).unwrap(), "{protocol}");
            }
            Packet::SetCompression(threshold) => {
                assert!(protocol < V1_13 && *threshold < 0, "{protocol}");
            }
            _ => continue,
        }
        // A busy machine makes words late, never early.
        let after = seen.at.duration_since(waited.since);
        assert!(
            after >= tick / 2 + tick * words,
            "{protocol}: word {words} after {after:?}"
        );
        words += 1;
    }
    let least = time.as_millis() / silence_max(tick).as_millis() + 1;
    assert!(
        u128::from(words) >= least,
        "{protocol}: {words} words in {time:?}"
    );
}

/// What a server sees of these players where there is no router.
async fn without_router(players: &[Player], conduct: &Conduct) -> Vec<Record> {
    let backend = Backend::start_as("direct", conduct.clone()).await.unwrap();
    for player in players {
        let unhurried = Player {
            patience: None,
            ..player.clone()
        };
        unhurried.enter(backend.addr()).await.unwrap();
    }
    backend.logins()
}

fn by_name(records: Vec<Record>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let said = records
        .into_iter()
        .map(|record| (record.bytes, record.replies));
    let mut said: Vec<_> = said.collect();
    said.sort();
    said
}

/// A sleeping server, the players who wait for it, and how it treats them once it is awake.
struct Lot {
    asleep: Asleep,
    players: Vec<Player>,
    conduct: Conduct,
}

impl Lot {
    async fn new(table: &Table, name: &str, protocols: &[i32], tick: Duration, asks: i32) -> Self {
        let (asleep, who) = table.asleep(name).await.unwrap();
        let protocols = protocols.iter();
        let conduct = Conduct {
            plugin_requests: asks,
            encryption: true,
            ..Conduct::default()
        };
        Self {
            asleep,
            players: protocols.map(|one| player(&who, *one, tick)).collect(),
            conduct,
        }
    }
}

/// Has everybody wait for `time` until their servers are awake, and then checks all there is to
/// check of a hold. No silence may be longer than `silence`, where that is judged by the clock.
async fn held_and_in(
    manager: &Manager,
    table: &Table,
    lots: Vec<Lot>,
    tick: Duration,
    silence: Option<Duration>,
) {
    let time = scaled(BOOT, tick);
    let players: Vec<_> = lots.iter().flat_map(|lot| lot.players.clone()).collect();
    let crowd = u64::try_from(players.len()).unwrap();
    let mut waiting = knock(table, &players);
    held(table, crowd, "let_in", 0).await;
    let since = Instant::now();

    // What is tried is the time itself.
    sleep_until(since + time).await;
    assert!(waiting.try_join_next().is_none(), "nobody is in or out yet");
    let mut awake = Vec::new();
    for lot in lots {
        let backend = lot.asleep.wake_as("woken", lot.conduct.clone()).unwrap();
        awake.push((backend, lot.players, lot.conduct));
    }

    while let Some(waited) = waiting.join_next().await {
        let mut waited = waited.unwrap().unwrap();
        let protocol = waited.session.player.protocol;
        assert_eq!(waited.outcome, Outcome::In, "{protocol}");
        assert_kept(&waited, tick, time);
        let longest = waited.session.longest_silence();
        assert!(
            silence.is_none_or(|most| longest <= most),
            "{protocol}: {longest:?}"
        );
        let echo = waited.session.echo(b"hello").await.unwrap();
        assert_eq!(echo, b"hello", "{protocol}");
    }
    for (backend, players, conduct) in &awake {
        let seen = by_name(backend.logins());
        let direct = by_name(without_router(players, conduct).await);
        assert_eq!(seen.len(), players.len());
        for (seen, direct) in seen.iter().zip(&direct) {
            assert_eq!(seen, direct);
        }
    }
    assert_eq!(manager.counts().0, awake.len(), "one start for each server");
    held(table, 0, "let_in", crowd).await;
}

#[tokio::test]
async fn every_version_is_held_for_95_s_and_then_in_as_if_nothing_had_been() {
    // An answer may take one and a half of these, and patience ends after three.
    let tick = Duration::from_secs(1);
    let settings = Settings::new().env("AUTOMC_COMPRESSION_HOLD", "true");
    let (manager, table) = start(tick, settings.env("AUTOMC_HOLD_MAX", "2m")).await;
    let lots = vec![
        Lot::new(&table, "answering", &ANSWERING, tick, 2).await,
        Lot::new(&table, "compressed", &[47, 340], tick, 0).await,
    ];
    held_and_in(&manager, &table, lots, tick, None).await;
}

/// The same for some with nothing scaled: it takes the 95 seconds.
#[tokio::test]
async fn players_are_held_for_95_s_by_the_clock_and_hear_something_every_15_s() {
    let settings = Settings::new()
        .env("AUTOMC_COMPRESSION_HOLD", "true")
        .env("AUTOMC_HOLD_MAX", "2m")
        .env("AUTOMC_WAKER_TIMEOUT", "2m");
    let (manager, table) = Table::with_manager(settings).await.unwrap();
    let some = [393, 758, 765, 767, 776];
    let lots = vec![
        Lot::new(&table, "answering", &some, TICK, 2).await,
        Lot::new(&table, "compressed", &[47], TICK, 0).await,
    ];
    let silence = Some(Duration::from_secs(15));
    held_and_in(&manager, &table, lots, TICK, silence).await;
}

/// The versions that bear no word are not let run into their own time-out.
#[tokio::test]
async fn old_versions_are_held_in_silence_and_told_before_they_time_out() {
    // Between the router's word and the client's time-out there is half of this.
    let tick = Duration::from_secs(2);
    let (manager, table) = start(tick, Settings::new()).await;
    let (asleep, who) = table.asleep("test1").await.unwrap();
    let players = [4, 5, 47, 340].map(|protocol| player(&who, protocol, tick));

    let mut waiting = knock(&table, &players);
    while let Some(waited) = waiting.join_next().await {
        let waited = waited.unwrap().unwrap();
        let protocol = waited.session.player.protocol;
        let Outcome::Refused(component) = &waited.outcome else {
            panic!("{protocol}: {:?}", waited.outcome)
        };
        let text = harness::player::plain_text(component);
        assert!(text.starts_with("This server is starting."), "{text}");
        let [only] = &waited.session.seen[..] else {
            panic!("{protocol}: {:?}", waited.session.seen)
        };
        let bears = if protocol < V1_8 {
            tick * 3 / 2
        } else {
            tick * 5 / 2
        };
        let after = only.at.duration_since(waited.since);
        assert!(after >= bears, "{protocol}: after {after:?}");
    }
    held(&table, 0, "kicked", 4).await;

    let backend = asleep.wake("woken").unwrap();
    let process = &table.router.process;
    let line = process.line_with(&["automc: server is ready"], DEADLINE);
    line.await.unwrap();
    assert_eq!(manager.counts().0, 1, "the start has gone on without them");
    assert_eq!(backend.logins(), []);
}
