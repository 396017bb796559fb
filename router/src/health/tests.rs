use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;

use super::monitor::{CHECKS_MAX, Monitor};
use super::*;
use crate::host::{Host, Names};
use crate::journal::Journal;
use crate::journal::ring::What;
use crate::protocol::status::response;
use crate::routes::offer::{Offer, Provider};
use crate::routes::registry::Registry;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

const INTERVAL: Duration = Duration::from_millis(100);
const LIMIT: Duration = Duration::from_millis(100);
const DEADLINE: Duration = Duration::from_secs(30);

/// The health of some backends, each with a route of its own, watched until this is dropped.
struct Watched {
    health: Arc<Health>,
    registry: Arc<Registry>,
    servers: Arc<Servers>,
    _end: DropGuard,
}

impl Watched {
    fn new(backends: &[BackendAddr]) -> Self {
        Self::by(Checks::Always(INTERVAL), backends)
    }

    fn by(checks: Checks, backends: &[BackendAddr]) -> Self {
        let host = |number| Host::parse(&format!("h{number}.example")).unwrap();
        let mapping = (0..)
            .zip(backends)
            .map(|(number, one)| (host(number), one.clone()));
        let registry = Registry::new(mapping, None, Arc::default(), Names::default());
        let (registry, end) = (Arc::new(registry.unwrap()), CancellationToken::new());
        let (health, suspected) = Health::new(checks);
        let monitor = Monitor {
            health: Arc::clone(&health),
            suspected,
            registry: Arc::clone(&registry),
            servers: Servers::new(Arc::default()),
            starters: Starters::default(),
            scaler: None,
            memory: Arc::default(),
            dial_limit: LIMIT,
        };
        let servers = Arc::clone(&monitor.servers);
        tokio::spawn(monitor.run(end.clone()));
        Self {
            health,
            registry,
            servers,
            _end: end.drop_guard(),
        }
    }

    async fn becomes(&self, backend: &BackendAddr, wanted: Status) -> Reading {
        let reached = async {
            loop {
                match self.health.of(backend) {
                    Some(reading) if reading.status == wanted => return reading,
                    _ => sleep(Duration::from_millis(5)).await,
                }
            }
        };
        let reached = timeout(DEADLINE, reached).await;
        reached.unwrap_or_else(|_| panic!("not {wanted:?}: {:?}", self.health.of(backend)))
    }
}

/// What is taken down of health after `id`, once there is something.
async fn told(journal: &Journal, id: u64) -> Vec<(Status, Status, &'static str)> {
    let mut news = journal.follow();
    let told = async {
        loop {
            news.borrow_and_update();
            let changes = journal.after(id, 100).entries.into_iter();
            let changes = changes.filter_map(|entry| match entry.what {
                What::Health(change) => Some((change.from, change.to, change.detail)),
                _ => None,
            });
            let changes: Vec<_> = changes.collect();
            if !changes.is_empty() {
                return changes;
            }
            news.changed().await.unwrap();
        }
    };
    timeout(DEADLINE, told).await.unwrap()
}

async fn listen() -> (TcpListener, BackendAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let backend = BackendAddr::parse(&listener.local_addr().unwrap().to_string()).unwrap();
    (listener, backend)
}

/// Reads a question and answers it with `answer`.
async fn reply(listener: &TcpListener, answer: &[u8]) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut question = [0; 512];
    drop(stream.read(&mut question).await);
    drop(stream.write_all(answer).await);
    stream
}

fn status() -> Vec<u8> {
    response(765, "up")
}

#[tokio::test]
async fn no_answer_however_broken_ends_the_monitor() {
    let (listener, backend) = listen().await;
    let watched = Watched::new(std::slice::from_ref(&backend));
    let whole = status();
    let broken: [&[u8]; 7] = [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        &[0xFF; 64],
        &[0; 300],
        b"\x03\x00\x01[",
        b"\x04\x00\x02{]",
        whole.get(..whole.len() - 1).unwrap(),
    ];
    for answer in broken.iter().cycle().take(21) {
        drop(reply(&listener, answer).await);
        let reading = watched.health.of(&backend).unwrap();
        assert_ne!(reading.status, Status::Healthy, "{answer:?}");
    }
    let answering = async {
        loop {
            drop(reply(&listener, &whole).await);
        }
    };
    let reading = tokio::select! {
        () = answering => unreachable!("it goes on"),
        reading = watched.becomes(&backend, Status::Healthy) => reading,
    };
    assert!(reading.latency.is_some() && reading.uptime.is_some());
    drop(listener);
    let reading = watched.becomes(&backend, Status::Unhealthy).await;
    assert_eq!(reading.detail, Word::Refused.text());
    assert!(reading.failures >= ladder::FAILURES_MAX && reading.uptime.is_none());
}

/// Takes connections and says nothing, so that each check lasts.
#[tokio::test]
async fn there_are_never_more_checks_than_may_be_and_everybody_gets_a_turn() {
    let open = Arc::<AtomicUsize>::default();
    let most = Arc::<AtomicUsize>::default();
    let (mut backends, mut serving) = (Vec::new(), JoinSet::new());
    for _ in 0..CHECKS_MAX + 8 {
        let (listener, backend) = listen().await;
        backends.push(backend);
        let (open, most) = (Arc::clone(&open), Arc::clone(&most));
        serving.spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let mut rest = Vec::new();
                drop(stream.read_to_end(&mut rest).await);
                open.fetch_sub(1, Ordering::SeqCst);
            }
        });
    }
    let watched = Watched::new(&backends);
    assert_eq!(watched.health.watched(), 0, "not before it looks");
    for backend in &backends {
        let heard = async {
            while watched
                .health
                .of(backend)
                .is_none_or(|one| one.heard.is_none())
            {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(DEADLINE, heard).await.unwrap();
    }
    assert_eq!(watched.health.watched(), backends.len());
    // One more may be seen here while the end of another is under way.
    let most = most.load(Ordering::SeqCst);
    assert!((CHECKS_MAX / 2..=CHECKS_MAX + 2).contains(&most), "{most}");
}

/// A backend that nobody asks about hears nothing; another one, for a while after somebody did.
#[tokio::test]
async fn only_who_somebody_is_interested_in_is_asked_and_for_a_while() {
    let ((idle, one), (listener, other)) = (listen().await, listen().await);
    let interval = Duration::from_millis(200);
    let watched = Watched::by(Checks::OfInterest(interval), &[one.clone(), other.clone()]);
    let heard = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&heard);
    let _answering = tokio::spawn(async move {
        loop {
            drop(reply(&listener, &status()).await);
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    for _ in 0..2 {
        // Not before the routes were looked at.
        watched.becomes(&other, Status::Unknown).await;
        let before = heard.load(Ordering::SeqCst);
        let route = watched.registry.table().get("h1.example").map(Arc::clone);
        watched.health.interest(&route.unwrap());
        watched.becomes(&other, Status::Healthy).await;
        let faded = watched.becomes(&other, Status::Unknown).await;
        assert_eq!((faded.detail, faded.uptime), ("not heard of lately", None));
        assert!(faded.seen.is_some() && faded.heard.is_some());
        let asked = heard.load(Ordering::SeqCst) - before;
        assert!(
            (1..=schedule::CHECKS_OF_INTEREST_MAX).contains(&asked),
            "{asked}"
        );
    }
    let nobody = timeout(Duration::ZERO, idle.accept()).await;
    assert!(nobody.is_err(), "{nobody:?}");
    assert_eq!(watched.health.of(&one).unwrap().heard, None);
}

/// Some close connections whose protocol number is -1, and are asked by another one from then on.
#[tokio::test]
async fn a_backend_that_turns_away_pings_of_no_version_is_healthy() {
    let (listener, backend) = listen().await;
    let watched = Watched::new(std::slice::from_ref(&backend));
    let numbers = Arc::<Mutex<Vec<i32>>>::default();
    let heard = Arc::clone(&numbers);
    let _answering = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (greeting, _) = crate::greet::greet(&mut stream).await.unwrap();
            let crate::protocol::greeting::Greeting::Status { handshake, .. } = greeting else {
                panic!("{greeting:?}")
            };
            heard.lock().unwrap().push(handshake.protocol);
            if handshake.protocol >= 0 {
                drop(stream.write_all(&status()).await);
            }
        }
    });
    watched.becomes(&backend, Status::Healthy).await;
    let asked = async {
        while numbers.lock().unwrap().len() < 5 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, asked).await.unwrap();
    // What its status shows.
    assert_eq!(numbers.lock().unwrap()[..5], [-1, 47, 765, 765, 765]);
    assert_eq!(watched.health.of(&backend).unwrap().failures, 0);
}

/// By a check, or because its server is said to be another way.
#[tokio::test]
async fn every_change_of_a_backend_is_told_once() {
    let (listener, backend) = listen().await;
    let watched = Watched::new(std::slice::from_ref(&backend));
    let journal = watched.registry.journal();
    let newest = || *journal.follow().borrow();
    let (began, mut at) = (newest(), newest());
    let mut up = JoinSet::new();
    up.spawn(async move {
        loop {
            drop(reply(&listener, &status()).await);
        }
    });
    let (unknown, healthy) = (Status::Unknown, Status::Healthy);
    let change = (unknown, healthy, Word::Answered.text());
    assert_eq!(told(journal, at).await, [change]);
    at = newest();
    up.shutdown().await;
    let change = (healthy, Status::Unhealthy, Word::Refused.text());
    assert_eq!(told(journal, at).await, [change]);
    at = newest();
    let route = watched.registry.table().get("h0.example").map(Arc::clone);
    let route = route.unwrap();
    let target = Target {
        wakeable: true,
        ..Target::of(&route, Starters::default())
    };
    let waking = watched.servers.wake(&target);
    waking.accepted();
    let [(from, to, _)] = told(journal, at).await[..] else {
        panic!("more than one")
    };
    assert_eq!((from, to), (Status::Unhealthy, Status::Starting));
    assert_eq!(told(journal, began).await.len(), 3);
}

/// And not when its turn comes.
#[tokio::test(start_paused = true)]
async fn what_a_player_finds_well_is_told_at_once() {
    let (_silent, backend) = listen().await;
    let hour = Duration::from_secs(3_600);
    let watched = Watched::by(Checks::Always(hour), std::slice::from_ref(&backend));
    let journal = watched.registry.journal();
    let began = *journal.follow().borrow();
    let looked = async {
        while watched.health.of(&backend).is_none() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, looked).await.unwrap();
    let met = now();
    watched.health.met(&backend, Some(Word::LetIn));
    let change = (Status::Unknown, Status::Healthy, Word::LetIn.text());
    assert_eq!(told(journal, began).await, [change]);
    assert_eq!(now() - met, Duration::ZERO);
}

#[tokio::test]
async fn of_backends_without_a_route_nothing_is_kept() {
    let (listener, backend) = listen().await;
    let watched = Watched::new(std::slice::from_ref(&backend));
    drop(reply(&listener, &status()).await);
    watched.becomes(&backend, Status::Healthy).await;
    let edit = crate::routes::file::Edit::Remove("h0.example".to_owned());
    watched.registry.edit(watched.registry.file(), &edit);
    let gone = async {
        while watched.health.of(&backend).is_some() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, gone).await.unwrap();
    assert_eq!(watched.health.watched(), 0);
    watched.health.met(&backend, Some(Word::LetIn));
    assert_eq!(watched.health.of(&backend), None);
}

/// Nobody asks at all meanwhile.
#[tokio::test]
async fn what_players_meet_is_heard_and_condemns_nobody_by_itself() {
    let (health, mut suspected) = Health::new(Checks::Always(Duration::from_secs(3_600)));
    let backend = BackendAddr::parse("h:1").unwrap();
    let mapping = [(Host::parse("a.example").unwrap(), backend.clone())];
    let registry = Registry::new(mapping, None, Arc::default(), Names::default()).unwrap();
    health.watch(&registry.table());
    let status = || health.of(&backend).unwrap().status;
    assert_eq!(status(), Status::Unknown);
    health.answered(&backend, Duration::from_millis(7));
    assert_eq!(status(), Status::Healthy);
    assert_eq!(suspected.try_recv(), Ok(backend.clone()), "worth a look");
    for _ in 0..1_000 {
        health.met(&backend, Some(Word::Refused));
    }
    assert_eq!(status(), Status::Healthy);
    assert_eq!(suspected.try_recv(), Ok(backend.clone()));
    assert!(suspected.try_recv().is_err(), "a suspect once");
    let latency = health.of(&backend).unwrap().latency;
    assert_eq!(latency, Some(Duration::from_millis(7)));
}

#[tokio::test]
async fn where_nobody_is_to_be_asked_nothing_is_kept() {
    let (health, suspected) = Health::new(Checks::Never);
    let backend = BackendAddr::parse("h:1").unwrap();
    let mapping = [(Host::parse("a.example").unwrap(), backend.clone())];
    let registry = Registry::new(mapping, None, Arc::default(), Names::default()).unwrap();
    let monitor = Monitor {
        health: Arc::clone(&health),
        suspected,
        registry: Arc::new(registry),
        servers: Servers::new(Arc::default()),
        starters: Starters::default(),
        scaler: None,
        memory: Arc::default(),
        dial_limit: LIMIT,
    };
    let ended = monitor.run(CancellationToken::new());
    timeout(DEADLINE, ended).await.expect("it is over at once");
    health.met(&backend, Some(Word::LetIn));
    assert_eq!((health.of(&backend), health.watched()), (None, 0));
}

#[tokio::test]
async fn an_address_that_depends_on_the_host_is_nobody_to_ask() {
    let (health, _suspected) = Health::new(Checks::Always(INTERVAL));
    let registry = Registry::default();
    let offer = |host: &str, backend| {
        let host = Some(Host::parse(host).unwrap());
        Offer::from(Arc::new(Route::fixed(host, backend, Arc::default())))
    };
    let template = BackendAddr::template("$1.internal:1", 1).unwrap();
    let plain = BackendAddr::parse("h:1").unwrap();
    let offers = vec![
        offer("*.a.example", template.clone()),
        offer("*.b.example", plain.clone()),
    ];
    registry.replace(Provider::Configuration, offers);
    assert_eq!(registry.table().len(), 2);
    health.watch(&registry.table());
    assert!(health.of(&template).is_none() && health.of(&plain).is_some());
}

/// From the first to the last over all parts, and round again.
#[tokio::test]
async fn the_ring_comes_round_to_everybody() {
    let (health, _suspected) = Health::new(Checks::Always(INTERVAL));
    let backends = (0..500).map(|number| BackendAddr::parse(&format!("h{number}:1")).unwrap());
    let host = |one: &BackendAddr| Host::parse(one.as_str().split(':').next().unwrap()).unwrap();
    let mapping: Vec<_> = backends.map(|one| (host(&one), one)).collect();
    let registry = Registry::new(mapping, None, Arc::default(), Names::default()).unwrap();
    assert!(health.after(None).is_none());
    let new = health.watch(&registry.table());
    assert_eq!((new.len(), health.watched()), (500, 500));
    let (mut last, mut turns) = (None, BTreeMap::<_, u32>::new());
    for _ in 0..1_500 {
        let next = health.after(last.as_ref().map(|(place, one)| (*place, one)));
        let next = next.expect("there are some");
        *turns.entry(next.backend.clone()).or_default() += 1;
        last = Some((next.place(), next.backend));
    }
    assert!(turns.len() == 500 && turns.values().all(|turns| *turns == 3));
    assert_eq!(health.watch(&registry.table()), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_are_an_answer_of_some_kind(
        noise in proptest::collection::vec(any::<u8>(), 0..200), kept in 0_usize..100, json: String,
    ) {
        let whole = response(765, json.as_str());
        let cut = whole.get(..kept.min(whole.len())).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answers = [noise.clone(), [cut, &noise].concat(), whole.clone()];
        runtime.block_on(async {
            let (listener, backend) = listen().await;
            let table = Registry::new([], Some(backend.clone()), Arc::default(), Names::default());
            let route = table.unwrap().table().default_route().map(Arc::clone).unwrap();
            for answer in &answers {
                let ask = monitor::ask(backend.clone(), &route, 47, DEADLINE);
                let ((word, latency, shown), _) = tokio::join!(ask, async {
                    drop(reply(&listener, answer).await);
                });
                let word = word.expect("something was said");
                assert_eq!(word == Word::Answered, latency.is_some() && shown.is_some());
                if *answer == whole {
                    assert_eq!(word, Word::Answered);
                }
            }
        });
    }
}
