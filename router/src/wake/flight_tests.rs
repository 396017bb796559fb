use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Json;
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::*;
use crate::answer;
use crate::config::WakerConfig;
use crate::greet::greet;
use crate::host::Host;
use crate::protocol::greeting::Greeting;
use crate::routes::offer::{Offer, Provider};
use crate::routes::{Route, StateHint};
use crate::servers::state::State;
use crate::wake::client::{BaseUrl, ManagerClient};
use crate::wake::machine::Sign;

/// Longest wait of a test; never reached.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server-manager whose answers are set, and a waker of it.
struct World {
    waker: Arc<Waker>,
    starts: Arc<AtomicUsize>,
    start: watch::Sender<Option<StatusCode>>,
    poll: watch::Sender<Value>,
    registry: Arc<Registry>,
}

/// Starts hang until they have an answer; polls say `starting`.
async fn world() -> World {
    let starts = Arc::new(AtomicUsize::new(0));
    let (start, answer) = watch::channel(None);
    let (poll, state) = watch::channel(json!({ "state": "starting", "progress": 0.45 }));
    let counted = Arc::clone(&starts);
    let on_start = async move || {
        counted.fetch_add(1, Ordering::Relaxed);
        let mut answer = answer.clone();
        let status = answer.wait_for(Option::is_some).await.ok();
        status.and_then(|status| *status).unwrap_or_default()
    };
    let on_poll = async move || Json(state.borrow().clone());
    let app = axum::Router::new()
        .route("/servers/{name}/start", post(on_start))
        .route("/servers/{name}", get(on_poll));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    tokio::spawn(crate::api::http::serve(listener, app, stop.clone()));
    let limits = Limits {
        poll_interval: Some(Duration::from_millis(20)),
        timeout: PATIENCE,
    };
    let config = WakerConfig {
        url: BaseUrl::parse(&url).unwrap(),
        token: None,
        poll_interval: Duration::from_millis(20),
        timeout: limits.timeout,
    };
    let client = ManagerClient::new(&config).unwrap();
    let registry = Arc::<Registry>::default();
    let waker = Waker::new(
        Manager::Rest(Box::new(client)),
        limits,
        Arc::clone(&registry),
        Servers::new(Arc::default()),
        stop,
    );
    World {
        waker,
        starts,
        start,
        poll,
        registry,
    }
}

impl World {
    fn accepts(&self) {
        self.start.send_replace(Some(StatusCode::ACCEPTED));
    }

    async fn until_asked(&self, starts: usize) {
        let asked = async {
            while self.starts.load(Ordering::Relaxed) < starts {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, asked).await.unwrap();
    }
}

/// A server that answers status pings.
async fn backend() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async |mut stream: TcpStream| {
        let (Greeting::Status { handshake, length }, raw) = greet(&mut stream).await.unwrap()
        else {
            panic!("no status ping")
        };
        let answered = answer::status(&mut stream, &raw[length..], handshake.protocol, "up");
        answered.await.unwrap();
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            serve(stream).await;
        }
    });
    address
}

/// A row whose server nobody is at: port 1 is expected to be closed.
fn route() -> Route {
    let host = Host::parse("test1.example.com").unwrap();
    let backend = BackendAddr::parse("127.0.0.1:1").unwrap();
    let route = Route {
        managed: true,
        state: StateHint::Stopped,
        ..Route::fixed(Some(host), backend, Arc::default())
    };
    route.named("test1")
}

fn wanted() -> Wanted {
    let route = route();
    Wanted::new(route.server().unwrap(), &route)
}

async fn outcome(ticket: &mut Ticket) -> Outcome {
    timeout(PATIENCE, ticket.outcome()).await.unwrap()
}

#[tokio::test]
async fn a_thousand_waiters_get_one_outcome_of_one_start_after_it_has_settled() {
    let world = world().await;
    let backend = backend().await;
    world.accepts();
    let wanted = Wanted {
        settle: Duration::from_millis(300),
        ..wanted()
    };
    let begin = Instant::now();
    let mut tickets: Vec<_> = (0..1000)
        .map(|_| world.waker.join(wanted.clone()))
        .collect();
    world
        .poll
        .send_replace(json!({ "state": "running", "address": backend.to_string() }));

    for ticket in &mut tickets {
        let ready = outcome(ticket).await.unwrap();
        assert_eq!(
            (ready.address.as_str(), ready.sign),
            (&*backend.to_string(), Sign::Poll)
        );
    }

    assert!(begin.elapsed() >= wanted.settle);
    assert_eq!(world.starts.load(Ordering::Relaxed), 1);
    assert!(!world.waker.is_waking("test1"));
    let recent = world.waker.recent("test1").unwrap();
    assert_eq!(recent.as_str(), backend.to_string());
}

#[tokio::test]
async fn a_change_of_the_row_is_heard_also_when_it_came_a_moment_before_the_wake() {
    for early in [true, false] {
        let world = world().await;
        let backend = BackendAddr::parse(&backend().await.to_string()).unwrap();
        let publish = || {
            let running = Route {
                state: StateHint::Running,
                backend: backend.clone(),
                ..route()
            };
            let offers = vec![Offer::from(Arc::new(running))];
            world.registry.replace(Provider::Postgres, offers);
        };
        if early {
            publish();
        }
        let mut ticket = world.waker.join(wanted());
        world.until_asked(1).await;
        if !early {
            publish();
        }
        let ready = outcome(&mut ticket).await.unwrap();
        assert_eq!((ready.address, ready.sign), (backend, Sign::Table));
    }
}

#[tokio::test]
async fn how_far_it_is_can_be_seen_by_anybody_at_any_time() {
    let world = world().await;
    let mut ticket = world.waker.join(wanted());
    let until = async |state, progress| {
        let seen = || world.waker.servers.snapshot(&wanted().target());
        let wait = async {
            while (seen().state, seen().progress) != (state, progress) {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, wait).await.unwrap();
    };
    until(State::Starting, None).await;

    world.accepts();
    until(State::Starting, Some(0.45)).await;
    // An address that is told opens after that: nobody is there yet.
    world
        .poll
        .send_replace(json!({ "state": "running", "progress": 1 }));
    until(State::Settling, Some(1.0)).await;
    assert!(timeout(Duration::ZERO, ticket.outcome()).await.is_err());
}

#[tokio::test]
async fn a_wake_that_somebody_comes_back_for_outlives_those_who_wait() {
    let world = world().await;
    let ticket = world.waker.join(wanted());
    world.until_asked(1).await;
    drop(ticket);
    assert!(!world.waker.is_waking("test1"), "called off");

    let ticket = world.waker.join(wanted());
    world.waker.poke(wanted()).unwrap();
    world.until_asked(2).await;
    drop(ticket);
    assert!(world.waker.is_waking("test1"), "kept");

    world.accepts();
    let backend = backend().await;
    world
        .poll
        .send_replace(json!({ "state": "running", "address": backend.to_string() }));
    let mut ticket = world.waker.join(wanted());
    outcome(&mut ticket).await.unwrap();
    assert_eq!(world.starts.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn who_comes_after_a_failure_is_told_when_to_come_back() {
    let world = world().await;
    world.start.send_replace(Some(StatusCode::NOT_FOUND));
    let denied = WakeError::Denied(404);
    let first = outcome(&mut world.waker.join(wanted())).await;
    assert_eq!(first, Err(denied.clone()));
    assert_eq!(world.waker.recent("test1"), None);

    let told = outcome(&mut world.waker.join(wanted())).await.unwrap_err();
    let poked = world.waker.poke(wanted()).unwrap_err();

    for error in [told, poked] {
        assert_eq!(error.cause(), &denied);
        let WakeError::BackingOff { attempts, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(attempts, 1);
    }
    assert_eq!(world.starts.load(Ordering::Relaxed), 1);
}
