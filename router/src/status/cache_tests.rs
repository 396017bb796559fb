use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::addr::BackendAddr;
use crate::answer;
use crate::greet::greet;
use crate::health::schedule::Checks;
use crate::protocol::greeting::Greeting;
use crate::protocol::status::{pong, response};
use crate::routes::StateHint;
use crate::servers::Servers;
use crate::status::live::FAILURE_TTL;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;

const TTL: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(2);

/// A server that counts who connects, and answers each once it is let.
struct Server {
    backend: BackendAddr,
    asked: Arc<AtomicUsize>,
    answering: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Answers with `text` when `gate` is notified; at once without one.
    async fn start(text: &'static str, gate: Option<Arc<Notify>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let backend = BackendAddr::parse(&listener.local_addr().unwrap().to_string()).unwrap();
        let asked = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&asked);
        let answering = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                if let Some(gate) = &gate {
                    gate.notified().await;
                }
                let (greeting, raw) = greet(&mut stream).await.unwrap();
                let Greeting::Status { handshake, length } = greeting else {
                    panic!("{greeting:?}")
                };
                let frame = response(handshake.protocol, text);
                // The router hangs up without a ping.
                drop(answer::status_frame(&mut stream, &raw[length..], &frame).await);
            }
        });
        Self {
            backend,
            asked,
            answering,
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    async fn stop(&mut self) {
        self.answering.abort();
        drop((&mut self.answering).await);
    }
}

fn cache() -> (Arc<StatusCache>, Arc<Memory>) {
    let memory = Arc::<Memory>::default();
    (
        StatusCache::new(
            TTL,
            Arc::clone(&memory),
            Servers::new(Arc::clone(&memory)),
            Health::new(Checks::Never).0,
        ),
        memory,
    )
}

async fn get(cache: &Arc<StatusCache>, backend: &BackendAddr, protocol: i32) -> Option<Arc<Shown>> {
    cache
        .get(question(&"survival".into(), backend, protocol))
        .await
}

fn question<'a>(key: &'a SharedStr, backend: &'a BackendAddr, protocol: i32) -> Question<'a> {
    Question {
        key,
        backends: std::slice::from_ref(backend),
        proxy: None,
        address: "a.example",
        protocol,
        state: StateHint::Running,
        wakeable: false,
        dial_limit: LIMIT,
    }
}

fn frame(protocol: i32, text: &str) -> Vec<u8> {
    response(protocol, text)
}

#[tokio::test]
async fn five_hundred_pings_are_one_to_the_backend() {
    let gate = Arc::<Notify>::default();
    let server = Server::start("up", Some(Arc::clone(&gate))).await;
    let (cache, _) = cache();
    let mut pings = JoinSet::new();
    for _ in 0..500 {
        let (cache, backend) = (Arc::clone(&cache), server.backend.clone());
        pings.spawn(async move { get(&cache, &backend, 769).await });
    }
    while server.asked() == 0 {
        tokio::task::yield_now().await;
    }
    gate.notify_one();

    for shown in pings.join_all().await {
        assert_eq!(shown.unwrap().frame(), frame(769, "up"));
    }
    assert!(get(&cache, &server.backend, 769).await.is_some());
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn whoever_leaves_does_not_take_the_answer_from_the_others() {
    let gate = Arc::<Notify>::default();
    let server = Server::start("up", Some(Arc::clone(&gate))).await;
    let (cache, _) = cache();
    let first = {
        let (cache, backend) = (Arc::clone(&cache), server.backend.clone());
        tokio::spawn(async move { get(&cache, &backend, 769).await })
    };
    while server.asked() == 0 {
        tokio::task::yield_now().await;
    }
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    gate.notify_one();

    assert!(get(&cache, &server.backend, 769).await.is_some());
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn every_protocol_has_an_answer_of_its_own_but_those_that_do_not_exist() {
    let server = Server::start("up", None).await;
    let (cache, _) = cache();
    for (protocol, asked) in [
        (47, 1),
        (769, 2),
        (47, 2),
        (123_456, 3),
        (i32::MAX, 3),
        (-5, 3),
    ] {
        let shown = get(&cache, &server.backend, protocol).await.unwrap();
        assert_eq!(
            shown.frame(),
            frame(known_protocol(protocol), "up"),
            "{protocol}"
        );
        assert_eq!(server.asked(), asked, "{protocol}");
    }
}

#[tokio::test]
async fn a_server_that_has_gone_is_away_once_its_time_is_over_and_remembered() {
    let mut server = Server::start("up", None).await;
    let (cache, memory) = cache();
    assert!(get(&cache, &server.backend, 769).await.is_some());
    server.stop().await;
    assert!(
        get(&cache, &server.backend, 769).await.is_some(),
        "from the cache"
    );

    tokio::time::pause();
    tokio::time::advance(TTL).await;
    tokio::time::resume();
    assert!(get(&cache, &server.backend, 769).await.is_none());
    let known = cache.last_known("survival", 47).unwrap();
    assert_eq!(memory.last_known("survival", 769), Some(known));
    assert_eq!(cache.last_known("other", 769), None);
}

#[tokio::test]
async fn a_dead_backend_is_not_dialled_by_each_ping() {
    let (cache, _) = cache();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let backend = BackendAddr::parse(&listener.local_addr().unwrap().to_string()).unwrap();
    let hanging_up = tokio::spawn(async move {
        let mut dials = 0;
        while let Ok((stream, _)) = listener.accept().await {
            dials += 1;
            drop(stream);
            if dials == 2 {
                return;
            }
        }
    });
    for _ in 0..100 {
        assert!(get(&cache, &backend, 769).await.is_none());
    }
    assert!(!hanging_up.is_finished(), "dialled twice");

    tokio::time::pause();
    tokio::time::advance(FAILURE_TTL).await;
    tokio::time::resume();
    assert!(get(&cache, &backend, 769).await.is_none());
    hanging_up.await.unwrap();
}

/// Some close connections whose protocol number is -1, which is what all numbers become that nobody has.
#[tokio::test]
async fn who_names_no_version_is_asked_for_by_another_number_where_that_is_turned_away() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let backend = BackendAddr::parse(&listener.local_addr().unwrap().to_string()).unwrap();
    let (heard, mut numbers) = tokio::sync::mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (greeting, raw) = greet(&mut stream).await.unwrap();
            let Greeting::Status { handshake, length } = greeting else {
                panic!("{greeting:?}")
            };
            heard.send(handshake.protocol).await.unwrap();
            if handshake.protocol >= 0 {
                let frame = response(handshake.protocol, "up");
                drop(answer::status_frame(&mut stream, &raw[length..], &frame).await);
            }
        }
    });
    let (of_nobody, _) = cache();
    assert!(get(&of_nobody, &backend, 123_456).await.is_some());
    let (cache, _) = cache();
    assert!(get(&cache, &backend, 769).await.is_some());
    assert!(get(&cache, &backend, -1).await.is_some());
    let mut all = vec![];
    while let Ok(number) = numbers.try_recv() {
        all.push(number);
    }
    assert_eq!(all, [-1, 47, 769, -1, 769]);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_hangs_is_given_up_in_time() {
    let gate = Arc::<Notify>::default();
    let server = Server::start("never", Some(gate)).await;
    let (cache, _) = cache();
    let begin = Instant::now();
    assert!(get(&cache, &server.backend, 769).await.is_none());
    assert!(begin.elapsed() <= LIMIT + ANSWER_TIMEOUT + Duration::from_millis(10));
}

/// A server that shows `frame`, and answers a ping when it is let; never without a gate.
async fn far(frame: Vec<u8>, gate: Option<Arc<Notify>>) -> BackendAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let backend = BackendAddr::parse(&listener.local_addr().unwrap().to_string()).unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (frame, gate) = (frame.clone(), gate.clone());
            tokio::spawn(async move {
                let (greeting, mut asked) = greet(&mut stream).await.unwrap();
                let Greeting::Status { length, .. } = greeting else {
                    panic!("{greeting:?}")
                };
                stream.write_all(&frame).await.unwrap();
                // The request and the ping, as far as they have not come with the handshake.
                let mut rest = vec![0; length + 2 + 10 - asked.len()];
                stream.read_exact(&mut rest).await.unwrap();
                asked.extend(rest);
                let [.., 9, 1, a, b, c, d, e, f, g, h] = *asked else {
                    panic!("{asked:?}")
                };
                let Some(gate) = gate else {
                    return std::future::pending().await;
                };
                gate.notified().await;
                let pong = pong([a, b, c, d, e, f, g, h]);
                stream.write_all(&pong).await.unwrap();
            });
        }
    });
    backend
}

#[tokio::test]
async fn a_status_does_not_wait_for_the_ping_that_measures_the_way() {
    let gate = Arc::<Notify>::default();
    let backend = far(frame(769, "far"), Some(Arc::clone(&gate))).await;
    let (cache, _) = cache();
    let shown = get(&cache, &backend, 769).await.unwrap();
    assert_eq!(shown.frame(), frame(769, "far"));

    let late = Duration::from_millis(30);
    let (way, ()) = tokio::join!(shown.way(), async {
        tokio::time::sleep(late).await;
        gate.notify_one();
    });

    // The ping was sent before.
    assert!(way > late - Duration::from_millis(10), "{way:?}");
    let again = get(&cache, &backend, 769).await.unwrap();
    assert_eq!(again.way().await, way, "from the cache");
}

#[tokio::test]
async fn of_a_server_that_answers_no_pings_the_way_is_how_long_its_status_took() {
    let backend = far(frame(769, "mute"), None).await;
    let (cache, _) = cache();
    let shown = get(&cache, &backend, 769).await.unwrap();
    tokio::time::pause();
    assert_eq!(shown.way().await, shown.took);
}

#[tokio::test]
async fn long_statuses_come_through_whole_and_no_more_than_so_many_are_in_memory() {
    let long =
        crate::protocol::status::frame(format!("{{\"a\":\"{}\"}}", "x".repeat(600_000)).as_bytes());
    let (backend, other) = (
        far(long.clone(), None).await,
        far(frame(47, "small"), None).await,
    );
    let (cache, _) = cache();
    let shown = get(&cache, &backend, 769).await.unwrap();
    assert_eq!(shown.frame(), long);
    assert_eq!(cache.long.available_permits(), LONG_AT_ONCE - 1);

    // The places are taken by statuses that slow clients are still shown.
    let others = cache
        .long
        .acquire_many(u32::try_from(LONG_AT_ONCE - 1).unwrap())
        .await
        .unwrap();
    let waiting = {
        let (cache, backend) = (Arc::clone(&cache), backend.clone());
        tokio::spawn(async move { get(&cache, &backend, 47).await })
    };
    let small = cache.get(question(&"other".into(), &other, 47)).await;
    assert!(small.is_some(), "short ones do not wait");
    assert!(!waiting.is_finished());
    drop(others);
    assert_eq!(waiting.await.unwrap().unwrap().frame(), long);
}

#[tokio::test(start_paused = true)]
async fn questions_under_way_are_bounded() {
    let gate = Arc::<Notify>::default();
    let server = Server::start("up", Some(gate)).await;
    let (cache, _) = cache();
    let _all = cache
        .places
        .acquire_many(u32::try_from(QUESTIONS_MAX).unwrap())
        .await
        .unwrap();
    assert!(get(&cache, &server.backend, 769).await.is_none());
    assert_eq!(server.asked(), 0);
}

#[tokio::test]
async fn dead_servers_leave_places_for_others() {
    let server = Server::start("up", None).await;
    let (cache, _) = cache();
    let take = async |standing| cache.places_for(standing).await.unwrap();
    let mut taken = Vec::new();
    for _ in 0..FAILED_MAX {
        taken.push(take(Standing::Failed).await);
    }
    assert_eq!(cache.failed.available_permits(), 0);
    // One of which nothing is known has its place all the same, ...
    assert!(get(&cache, &server.backend, 769).await.is_some());
    for _ in FAILED_MAX..DOUBTFUL_MAX {
        taken.push(take(Standing::Unknown).await);
    }
    assert_eq!(cache.doubtful.available_permits(), 0);
    // ... and one that answered before, whoever else is asked for the first time.
    assert!(get(&cache, &server.backend, 47).await.is_some());
}

#[tokio::test]
async fn a_question_that_breaks_off_leaves_nobody_waiting() {
    let gate = Arc::<Notify>::default();
    let server = Server::start("up", Some(gate)).await;
    let elsewhere = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let cache = {
        let _inside = elsewhere.enter();
        cache().0
    };
    let waiting = {
        let (cache, backend) = (Arc::clone(&cache), server.backend.clone());
        tokio::spawn(async move { get(&cache, &backend, 769).await })
    };
    while server.asked() == 0 {
        tokio::task::yield_now().await;
    }
    elsewhere.shutdown_background();
    assert!(waiting.await.unwrap().is_none());
    assert!(
        get(&cache, &server.backend, 769).await.is_none(),
        "as after any failure"
    );
}
