//! What goes wrong while players are held, and what else their route may say; see [`crate::hold`].

use std::time::Duration;

use automc_router::hold::CHANNEL;
use automc_router::hold::schedule::{FIRST_ID, silence_max};
use automc_router::protocol::encode_frame;
use automc_router::protocol::login::plugin_request;
use harness::backend::{Backend, Conduct, STILL_STARTING};
use harness::manager::{Manager, Reply};
use harness::player::{Outcome, Packet, Player, Session, plain_text};
use harness::router::Settings;
use harness::table::Table;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::hold::{DEADLINE, held, player, start, started};

/// Short, for waits of a few words.
const TICK: Duration = Duration::from_secs(1);
/// Long, where the test itself has to come between a word and the end of what it may take to
/// answer it.
const SLOW_TICK: Duration = Duration::from_secs(4);

/// A Login Plugin Response to request `id`, of a client that does not know the channel.
fn response(id: i32) -> Vec<u8> {
    let [a, b, c, d] = [0, 7, 14, 21].map(|shift| u8::try_from(id >> shift & 0x7F).unwrap());
    let last = u8::try_from(id >> 28).unwrap();
    encode_frame(2, &[a | 0x80, b | 0x80, c | 0x80, d | 0x80, last, 0])
}

/// Knocks, and waits until the client has heard from the router.
pub(crate) async fn hold(table: &Table, player: &Player) -> Session {
    let mut session = player.knock(table.router.at.players).await.unwrap();
    assert_eq!(session.step().await.unwrap(), None);
    session
}

/// Gives a server other settings than the defaults, by its row.
pub(crate) async fn set(table: &Table, server: &str, settings: &str) {
    let update = format!("UPDATE servers SET {settings} WHERE name = '{server}'");
    assert_eq!(table.sql.execute(&update, &[]).await.unwrap(), 1);
    let host = format!("{server}.example.com");
    let line = [host.as_str(), "has other settings"];
    table.says(&line).await.unwrap();
}

async fn says(table: &Table, words: &str) {
    table.says(&[words]).await.unwrap();
}

/// The text a player is refused with, and how many words it was sent before; all of it reads as the
/// version has it.
pub(crate) async fn refused(mut session: Session) -> (String, usize) {
    let Outcome::Refused(component) = session.wait().await.unwrap() else {
        panic!("{:?}", session.seen)
    };
    (plain_text(&component), session.seen.len() - 1)
}

#[tokio::test]
async fn a_player_who_leaves_while_held_is_waited_for_no_more_and_the_start_goes_on() {
    let (manager, table) = start(SLOW_TICK, Settings::new()).await;
    let (asleep, who) = table.asleep("test1").await.unwrap();
    let answers = hold(&table, &player(&who, 765, SLOW_TICK)).await;
    let silent = player(&who, 340, SLOW_TICK);
    let silent = silent.knock(table.router.at.players).await.unwrap();
    held(&table, 2, "abandoned", 0).await;

    drop((answers, silent));

    held(&table, 0, "abandoned", 2).await;
    says(&table, "the client left while its server was starting").await;
    let polls = manager.counts().1;
    manager.polled(polls + 2, DEADLINE).await.unwrap();
    let backend = asleep.wake("woken").unwrap();
    says(&table, "automc: server is ready").await;
    assert_eq!(manager.counts().0, 1);
    assert_eq!(backend.logins(), [], "nobody joins for who has left");
}

/// One says nothing; one answers something else, which is for the server.
#[tokio::test]
async fn a_client_that_does_not_answer_is_given_up_after_one_question() {
    let (_manager, table) = start(TICK, Settings::new()).await;
    let (asleep, who) = table.asleep("test1").await.unwrap();
    let stays = player(&who, 393, TICK);
    let stays = tokio::spawn(stays.knock(table.router.at.players).await.unwrap().enter());
    for (abandoned, answer) in [(1, vec![]), (2, response(FIRST_ID + 1))] {
        let since = Instant::now();
        let mut mute = who.knock(table.router.at.players).await.unwrap();
        mute.stream.write_all(&answer).await.unwrap();

        let mut heard = Vec::new();
        let end = mute.stream.read_to_end(&mut heard);
        timeout(DEADLINE, end).await.unwrap().unwrap();

        assert_eq!(heard, plugin_request(FIRST_ID, CHANNEL, &[]));
        assert!(since.elapsed() >= TICK / 2 + silence_max(TICK));
        held(&table, 1, "abandoned", abandoned).await;
    }
    let backend = asleep.wake("woken").unwrap();
    stays.await.unwrap().unwrap();
    assert_eq!(backend.logins().len(), 1);
}

/// A player of each way to be held.
async fn hold_each(table: &Table, who: &Player) -> Vec<Session> {
    let mut sessions = Vec::new();
    for protocol in [47, 340, 393, 758, 766, 776] {
        let one = Player {
            protocol,
            ..who.clone()
        };
        sessions.push(one.knock(table.router.at.players).await.unwrap());
    }
    for session in &mut sessions {
        assert_eq!(session.step().await.unwrap(), None);
    }
    sessions
}

/// Asserts that all of them are refused so, after at least one word of the router.
async fn all_refused(sessions: Vec<Session>, text: &str) {
    let waiting: JoinSet<_> = sessions.into_iter().map(refused).collect();
    for (found, words) in waiting.join_all().await {
        assert!(found.starts_with(text), "{found:?}");
        assert!(words > 0);
    }
}

#[tokio::test]
async fn a_start_that_fails_is_told_to_everybody_who_is_held() {
    let settings = Settings::new().env("AUTOMC_COMPRESSION_HOLD", "true");
    let (manager, table) = start(SLOW_TICK, settings).await;
    let (_nobody, who) = table.asleep("test1").await.unwrap();
    let waiting = hold_each(&table, &who).await;
    manager.polls([Reply::state("crashed")]);
    all_refused(waiting, "This server could not be started.").await;
    held(&table, 0, "kicked", 6).await;
    assert_eq!(manager.counts().0, 1);
}

#[tokio::test]
async fn a_router_that_stops_tells_everybody_who_is_held() {
    let settings = Settings::new().env("AUTOMC_COMPRESSION_HOLD", "true");
    let (_manager, mut table) = start(SLOW_TICK, settings).await;
    let (_nobody, who) = table.asleep("test1").await.unwrap();
    let mut waiting = hold_each(&table, &who).await;
    // One of them waits for a server that is up.
    let backend = Backend::start_as("slow", still_starting(usize::MAX)).await;
    let who = table.server("test2", backend.as_ref().unwrap().addr(), "running");
    waiting.push(hold(&table, &who.await.unwrap()).await);
    table.router.process.signal("TERM").await.unwrap();
    all_refused(waiting, "The way to this server is being restarted.").await;
    let exit = table.router.process.exit(DEADLINE).await.unwrap();
    assert!(exit.success());
}

/// What the server is asked must not be answered by what was meant for the router; and that this
/// answer has only just been read must not keep the server's kick from being heard.
#[tokio::test]
async fn the_last_answer_is_waited_for_before_the_server_hears_of_the_player() {
    let (_manager, table) = start(SLOW_TICK, Settings::new()).await;
    let (asleep, who) = table.asleep("test1").await.unwrap();
    let mut slow = who.knock(table.router.at.players).await.unwrap();
    let mut word = plugin_request(FIRST_ID, CHANNEL, &[]);
    slow.stream.read_exact(&mut word).await.unwrap();
    let backend = asleep.wake_as("woken", still_starting(1)).unwrap();
    says(&table, "automc: server is ready").await;
    assert_eq!(backend.logins(), []);

    slow.stream.write_all(&response(FIRST_ID)).await.unwrap();

    kicked_and_in(&backend, slow, 1).await;
}

#[tokio::test]
async fn what_a_held_client_sends_early_arrives_in_order_and_without_its_answers() {
    let settings = Settings::new().env("AUTOMC_COMPRESSION_HOLD", "true");
    let (manager, table) = start(TICK, settings).await;
    for protocol in [47, 393, 776] {
        let (asleep, who) = table.asleep(&format!("v{protocol}")).await.unwrap();
        let who = Player { protocol, ..who };
        let early: Vec<_> = (0..4).map(|n| encode_frame(0x12, &[n; 40])).collect();
        let (first, rest) = early[0].split_at(7);

        let mut session = who.knock(table.router.at.players).await.unwrap();
        session.stream.write_all(first).await.unwrap();
        session.stream.write_all(rest).await.unwrap();
        for frame in &early[1..3] {
            // The answer to a word is one packet among others.
            assert_eq!(session.step().await.unwrap(), None);
            session.stream.write_all(frame).await.unwrap();
        }
        assert_eq!(session.step().await.unwrap(), None);
        let backend = asleep.wake("woken").unwrap();
        let mut session = session.enter().await.unwrap();
        session.stream.write_all(&early[3]).await.unwrap();

        let sent = [who.login_bytes(), early.concat()].concat();
        let mut arrived = backend.logins()[0].bytes.clone();
        let mut echoed = vec![0; sent.len() - arrived.len()];
        let echo = session.stream.read_exact(&mut echoed);
        timeout(DEADLINE, echo).await.unwrap().unwrap();
        arrived.extend(echoed);
        assert_eq!(arrived, sent, "{protocol}");
    }
    assert_eq!(manager.counts().0, 3);
}

fn still_starting(kicks: usize) -> Conduct {
    Conduct {
        kicks,
        plugin_requests: 1,
        ..Conduct::default()
    }
}

/// Asserts that the server kicked so often, saw the same greeting each time, and let it in at last.
async fn kicked_and_in(backend: &Backend, session: Session, kicks: usize) {
    let greeting = session.player.login_bytes();
    let mut session = session.enter().await.unwrap();
    assert_eq!(session.echo(b"hello").await.unwrap(), b"hello");
    let logins = backend.logins();
    assert_eq!(logins.len(), kicks + 1);
    assert!(logins.iter().all(|login| login.bytes == greeting));
    assert_eq!(logins[kicks].replies, [3, 2, 0, 0]);
}

#[tokio::test]
async fn a_woken_server_that_kicks_for_it_is_still_starting_is_tried_again_unseen() {
    let (manager, table) = start(TICK, Settings::new()).await;
    let (asleep, who) = table.asleep("test1").await.unwrap();
    let who = player(&who, 767, TICK);
    let waiting = hold(&table, &who).await;
    let backend = asleep.wake_as("slow", still_starting(3)).unwrap();
    kicked_and_in(&backend, waiting, 3).await;
    assert_eq!(manager.counts().0, 1);
}

#[tokio::test]
async fn a_server_that_is_up_and_still_starting_is_tried_again_unseen_and_not_woken() {
    let (manager, table) = start(TICK, Settings::new()).await;
    let backend = Backend::start_as("slow", still_starting(3)).await.unwrap();
    let who = table.server("test1", backend.addr(), "running");
    let who = player(&who.await.unwrap(), 767, TICK);
    let waiting = who.knock(table.router.at.players).await.unwrap();
    kicked_and_in(&backend, waiting, 3).await;
    held(&table, 0, "let_in", 1).await;
    assert_eq!(manager.counts(), (0, 0));
}

/// Nobody is shown the server's words for it, nor left to time out; those with a lobby go there.
#[tokio::test]
async fn a_server_that_goes_on_kicking_is_told_as_starting_when_the_hold_is_over() {
    // Between the router's word and the client's time-out there is half of this.
    let tick = Duration::from_secs(2);
    let (manager, table) = start(tick, Settings::new()).await;
    let backend = Backend::start_as("slow", still_starting(usize::MAX));
    let backend = backend.await.unwrap();
    let who = table.server("test1", backend.addr(), "running");
    let who = who.await.unwrap();
    set(&table, "test1", "hold_max = '6s'").await;
    let players = [5, 340, 393, 776].map(|protocol| player(&who, protocol, tick));
    let mut waiting = JoinSet::new();
    for player in players {
        let session = player.knock(table.router.at.players).await.unwrap();
        waiting.spawn(refused(session));
    }
    for (text, _) in waiting.join_all().await {
        assert!(text.starts_with("This server is starting."), "{text}");
        assert!(!text.contains(STILL_STARTING));
    }
    assert!(backend.logins().len() > 4, "they were tried more than once");
    held(&table, 0, "kicked", 4).await;

    let lobby = Backend::start("lobby").await.unwrap();
    let who = table.server("test2", backend.addr(), "running");
    let who = who.await.unwrap();
    let settings = format!(
        "join_methods = 'hold,forward', forward_to = '{}'",
        lobby.addr()
    );
    set(&table, "test2", &format!("{settings}, hold_max = '1s'")).await;
    who.enter(table.router.at.players).await.unwrap();
    assert_eq!(lobby.logins()[0].bytes, who.login_bytes());
    held(&table, 0, "forwarded", 1).await;
    assert_eq!(manager.counts(), (0, 0));
}

#[tokio::test]
async fn each_route_holds_for_as_long_as_its_row_says() {
    let (manager, table) = start(TICK, Settings::new()).await;
    let (_nobody, short) = table.asleep("short").await.unwrap();
    let (asleep, long) = table.asleep("long").await.unwrap();
    set(&table, "short", "hold_max = '2s'").await;
    let stays = player(&long, 776, TICK);
    let stays = tokio::spawn(stays.knock(table.router.at.players).await.unwrap().enter());
    let (since, waiting) = (Instant::now(), hold(&table, &short).await);

    let (text, words) = refused(waiting).await;

    assert!(text.starts_with("This server is starting."), "{text}");
    assert!(words > 0 && since.elapsed() >= Duration::from_secs(2));
    held(&table, 1, "kicked", 1).await;
    let _backend = asleep.wake("woken").unwrap();
    stays.await.unwrap().unwrap();
    held(&table, 0, "let_in", 1).await;
    assert_eq!(manager.counts().0, 2);
}

/// Nobody waits, so nothing but the start itself keeps the start going.
#[tokio::test]
async fn a_route_that_holds_nobody_tells_them_at_once_and_starts_its_server() {
    let (manager, table) = start(SLOW_TICK, Settings::new()).await;
    let (asleep, who) = table.asleep("test1").await.unwrap();
    set(&table, "test1", "join_methods = 'kick'").await;
    for protocol in [5, 340, 776] {
        let session = player(&who, protocol, SLOW_TICK);
        let session = session.knock(table.router.at.players).await.unwrap();
        let (text, words) = refused(session).await;
        assert!(text.starts_with("This server is starting."), "{text}");
        assert_eq!(words, 0);
    }
    let polls = manager.counts().1;
    manager.polled(polls + 2, DEADLINE).await.unwrap();
    let _backend = asleep.wake("woken").unwrap();
    says(&table, "automc: server is ready").await;
    assert_eq!(manager.counts().0, 1);
    held(&table, 0, "kicked", 0).await;
}

#[tokio::test]
async fn a_player_is_forwarded_while_the_server_starts_at_once_or_after_a_hold() {
    let (manager, table) = start(TICK, Settings::new()).await;
    let lobby = Conduct {
        plugin_requests: 1,
        ..Conduct::default()
    };
    let lobby = Backend::start_as("lobby", lobby).await.unwrap();
    for (number, join) in ["forward,kick", "hold,forward"].into_iter().enumerate() {
        let name = format!("test{number}");
        let (asleep, who) = table.asleep(&name).await.unwrap();
        let (to, max) = (lobby.addr(), "hold_max = '2s'");
        let settings = format!("join_methods = '{join}', forward_to = '{to}', {max}");
        set(&table, &name, &settings).await;

        let mut there = who.enter(table.router.at.players).await.unwrap();

        let words = there.seen.iter().filter(
            |seen| matches!(&seen.packet, Packet::PluginRequest { channel, .. } if channel == CHANNEL),
        );
        assert_eq!(words.count() > 0, number == 1);
        assert_eq!(there.echo(b"hello").await.unwrap(), b"hello");
        let login = lobby.logins().pop().unwrap();
        assert_eq!(
            (login.bytes, login.replies),
            (who.login_bytes(), vec![3, 2, 0, 0])
        );
        started(&manager, number + 1).await;
        // Its port counts once it was seen shut, and it is asked before the second poll.
        let polls = manager.counts().1;
        manager.polled(polls + 2, DEADLINE).await.unwrap();
        let backend = asleep.wake("woken").unwrap();
        let line = ["automc: server is ready", &name];
        table.says(&line).await.unwrap();
        assert_eq!(backend.logins(), []);
    }
    held(&table, 0, "forwarded", 1).await;
    assert_eq!(lobby.logins().len(), 2);
}

/// A router that remembers starts of this server that took `seconds`.
async fn remembering(seconds: u64) -> (Manager, Table, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.json");
    let starts = serde_json::json!({ "at": 1, "millis": [seconds * 1000] });
    let memory = serde_json::json!({ "version": 1, "servers": { "test1": { "starts": starts } } });
    std::fs::write(&file, memory.to_string()).unwrap();
    let settings = Settings::new().env("AUTOMC_STATE_FILE", file.to_str().unwrap());
    let (manager, table) = start(Duration::from_secs(10), settings).await;
    (manager, table, folder)
}

#[tokio::test]
async fn who_would_wait_in_vain_is_told_the_time_at_once_and_the_server_starts() {
    let too_long = "This server takes about";
    // Longer than anybody is held; then longer than an old client bears.
    for (seconds, time, refused_at_once, held_now) in [
        (300, "5 min", &[5, 340, 393, 776][..], &[][..]),
        (60, "60 s", &[5, 340], &[393, 776]),
    ] {
        let (manager, table, _folder) = remembering(seconds).await;
        let (_nobody, who) = table.asleep("test1").await.unwrap();
        for protocol in refused_at_once {
            let protocol = *protocol;
            let one = Player {
                protocol,
                ..who.clone()
            };
            let session = one.knock(table.router.at.players).await.unwrap();
            let (text, words) = refused(session).await;
            assert!(text.starts_with(too_long), "{protocol}: {text}");
            assert!(
                words == 0 && (text.contains(time) || protocol != 5),
                "{text}"
            );
        }
        let mut waiting = Vec::new();
        for protocol in held_now {
            let protocol = *protocol;
            let one = Player {
                protocol,
                ..who.clone()
            };
            waiting.push(one.knock(table.router.at.players).await.unwrap());
        }
        started(&manager, 1).await;
        held(&table, u64::try_from(held_now.len()).unwrap(), "kicked", 0).await;
    }
}
