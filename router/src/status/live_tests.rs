use super::*;
use crate::protocol::status::frame;
use crate::shared_str::SharedStr;
use crate::status::answer::{Answer, read};
use proptest::prelude::*;

const TTL: Duration = Duration::from_secs(5);

fn answer(text: &str) -> Arc<Answer> {
    let json = serde_json::json!({ "description": text });
    Arc::new(read(frame(json.to_string().as_bytes())).unwrap().0)
}

impl Packet for Answer {
    fn bytes(&self) -> usize {
        self.frame().len()
    }
}

/// A table, its clock, and who asks.
struct Scene {
    live: Live<&'static str, Answer>,
    begin: Instant,
    now: Duration,
    key: SharedStr,
    backend: BackendAddr,
    address: String,
    protocol: i32,
    state: StateHint,
}

impl Scene {
    fn new() -> Self {
        Self {
            live: Live::new(TTL),
            begin: Instant::now(),
            now: Duration::ZERO,
            key: "survival".into(),
            backend: BackendAddr::parse("a:1").unwrap(),
            address: "a.example".to_owned(),
            protocol: 769,
            state: StateHint::Running,
        }
    }

    fn look(&mut self) -> Look<&'static str, Answer> {
        let (key, backend, address) =
            (self.key.clone(), self.backend.clone(), self.address.clone());
        let question = self.question(&key, &backend, &address);
        self.live
            .look(&question, self.begin + self.now, || "flight")
    }

    fn standing(&self) -> Standing {
        let question = self.question(&self.key, &self.backend, &self.address);
        self.live.standing(&question)
    }

    fn question<'a>(
        &self,
        key: &'a SharedStr,
        backend: &'a BackendAddr,
        address: &'a str,
    ) -> Question<'a> {
        Question {
            key,
            backends: std::slice::from_ref(backend),
            proxy: None,
            address,
            protocol: self.protocol,
            state: self.state,
            wakeable: false,
            dial_limit: TTL,
        }
    }

    fn asks(&mut self) -> u64 {
        match self.look() {
            Look::Ask(number, _) => number,
            other => panic!("{other:?}"),
        }
    }

    fn shown(&mut self) -> Option<Arc<Answer>> {
        match self.look() {
            Look::Fresh(shown) => shown,
            other => panic!("{other:?}"),
        }
    }

    fn lands(&mut self, number: u64, fetched: Fetched<Answer>) -> Option<Arc<Answer>> {
        let key = self.key.clone();
        self.live.land(&key, number, fetched, self.begin + self.now)
    }

    fn learns(&mut self, text: &str) -> Arc<Answer> {
        let (number, answer) = (self.asks(), answer(text));
        assert_eq!(
            self.lands(number, Fetched::Status(Arc::clone(&answer)))
                .as_ref(),
            Some(&answer)
        );
        answer
    }
}

#[test]
fn one_asks_the_others_join_and_the_answer_stands_for_its_time() {
    let mut scene = Scene::new();
    let number = scene.asks();
    for _ in 0..500 {
        assert!(matches!(scene.look(), Look::Join("flight")));
    }
    let up = answer("up");
    scene.lands(number, Fetched::Status(Arc::clone(&up)));
    assert_eq!(scene.shown(), Some(Arc::clone(&up)));
    scene.now = TTL - Duration::from_nanos(1);
    assert_eq!(scene.shown(), Some(up));
    scene.now = TTL;
    scene.asks();
    assert!(matches!(scene.look(), Look::Join(_)));
}

#[test]
fn a_failure_stands_for_a_moment() {
    for fetched in [Fetched::Gone, Fetched::Silent] {
        let mut scene = Scene::new();
        let number = scene.asks();
        assert_eq!(scene.lands(number, fetched), None);
        scene.now = FAILURE_TTL - Duration::from_nanos(1);
        assert_eq!(scene.shown(), None);
        scene.now = FAILURE_TTL;
        scene.asks();
    }
}

#[test]
fn a_silent_server_keeps_its_status_for_a_grace_and_one_that_is_gone_does_not() {
    let mut scene = Scene::new();
    let up = scene.learns("up");
    scene.now = TTL;
    while scene.now <= TTL + STALE_GRACE {
        let number = scene.asks();
        assert_eq!(
            scene.lands(number, Fetched::Silent).as_ref(),
            Some(&up),
            "{:?}",
            scene.now
        );
        assert_eq!(scene.shown().as_ref(), Some(&up));
        scene.now += FAILURE_TTL;
    }
    let number = scene.asks();
    assert_eq!(
        scene.lands(number, Fetched::Silent),
        None,
        "the grace is over"
    );

    scene.now += FAILURE_TTL;
    scene.learns("up");
    scene.now += TTL;
    let number = scene.asks();
    assert_eq!(scene.lands(number, Fetched::Gone), None);
    assert_eq!(scene.shown(), None);
}

#[test]
fn a_silent_server_that_is_said_not_to_run_has_no_grace() {
    for state in [
        StateHint::Stopped,
        StateHint::Stopping,
        StateHint::Starting,
        StateHint::Failed,
    ] {
        let mut scene = Scene::new();
        scene.state = state;
        scene.learns("up");
        scene.now = TTL;
        let number = scene.asks();
        assert_eq!(scene.lands(number, Fetched::Silent), None, "{state:?}");
    }
}

#[test]
fn a_server_that_was_reached_is_asked_again_at_once() {
    let mut scene = Scene::new();
    let number = scene.asks();
    scene.lands(number, Fetched::Gone);
    assert_eq!(scene.shown(), None);
    scene.live.reached("survival");
    scene.learns("up");
    scene.live.reached("survival");
    assert!(scene.shown().is_some(), "what is shown stands for its time");
}

#[test]
fn another_backend_or_state_makes_what_was_learnt_void() {
    let mut scene = Scene::new();
    let before = scene.learns("before");
    scene.backend = BackendAddr::parse("b:1").unwrap();
    let number = scene.asks();
    assert_eq!(
        scene.lands(number, Fetched::Silent),
        None,
        "the other backend's status is no grace"
    );

    scene.now += FAILURE_TTL;
    let late = scene.asks();
    scene.state = StateHint::Stopped;
    let number = scene.asks();
    // Whoever waits for the old question still gets its answer, but it does not count.
    assert_eq!(
        scene.lands(late, Fetched::Status(Arc::clone(&before))),
        Some(before)
    );
    assert!(matches!(scene.look(), Look::Join(_)));
    scene.lands(number, Fetched::Gone);
    assert_eq!(scene.shown(), None);
}

#[test]
fn protocols_and_hosts_are_apart_and_spellings_are_not() {
    let mut scene = Scene::new();
    let new = scene.learns("new");
    scene.protocol = 47;
    let old = scene.learns("old");
    scene.address = "b.example".to_owned();
    let other = scene.learns("other");
    assert_eq!(scene.shown(), Some(other));
    scene.address = "A.Example.\0FML2\0".to_owned();
    assert_eq!(scene.shown(), Some(old));
    scene.protocol = 769;
    assert_eq!(scene.shown(), Some(new));
}

#[test]
fn numbers_nobody_has_share_one_place() {
    for known in [0, 4, 47, 769, 0xFFF, 0x4000_0000, 0x4000_0105] {
        assert_eq!(known_protocol(known), known);
    }
    for unknown in [i32::MIN, -1, 0x1000, 0x3FFF_FFFF, 0x4000_1000, i32::MAX] {
        assert_eq!(known_protocol(unknown), NO_PROTOCOL);
    }
}

#[test]
fn the_protocols_of_a_server_are_bounded_and_those_in_use_stay() {
    let mut scene = Scene::new();
    scene.learns("in use");
    for protocol in 1_000..1_100 {
        scene.now += Duration::from_millis(1);
        scene.protocol = protocol;
        scene.learns("scan");
        assert!(scene.live.servers.values().flatten().count() <= STATUSES_MAX);
        scene.now += Duration::from_millis(1);
        scene.protocol = 769;
        assert!(scene.shown().is_some(), "{protocol}");
    }
}

#[test]
fn dead_servers_take_no_place_from_those_that_show_something() {
    let mut scene = Scene::new();
    let up = scene.learns("up");
    for number in 0..TABLE_SERVERS_MAX * 2 {
        scene.key = format!("dead{number}").into();
        let number = scene.asks();
        scene.lands(number, Fetched::Silent);
        scene.now += Duration::from_millis(1);
        assert!(scene.live.servers.len() <= TABLE_SERVERS_MAX);
    }
    scene.key = "survival".into();
    assert_eq!(scene.shown(), Some(up));
}

#[test]
fn a_server_stands_as_it_did_last_under_whatever_name_and_protocol() {
    let mut scene = Scene::new();
    assert_eq!(scene.standing(), Standing::Unknown);
    let number = scene.asks();
    assert_eq!(scene.standing(), Standing::Unknown);
    scene.lands(number, Fetched::Silent);
    scene.protocol = 47;
    assert_eq!(scene.standing(), Standing::Failed);
    scene.live.reached("survival");
    assert_eq!(scene.standing(), Standing::Unknown);
    scene.learns("up");
    scene.protocol = 5;
    assert_eq!(scene.standing(), Standing::Answered);
    scene.backend = BackendAddr::parse("b:1").unwrap();
    assert_eq!(scene.standing(), Standing::Unknown);
}

#[test]
fn what_nobody_asks_for_is_dropped_and_a_question_under_way_is_not() {
    let mut scene = Scene::new();
    scene.learns("up");
    scene.key = "under way".into();
    let number = scene.asks();
    scene.now = IDLE_MAX;
    scene.key = "other".into();
    scene.learns("other");
    assert_eq!(scene.live.servers.len(), 2);
    scene.key = "under way".into();
    assert!(
        scene
            .lands(number, Fetched::Status(answer("late")))
            .is_some()
    );
    assert!(scene.shown().is_some());
}

#[test]
fn long_statuses_push_out_each_other_and_nothing_else() {
    let mut scene = Scene::new();
    let long = "x".repeat(SMALL_BYTES_MAX);
    for number in 0..100 {
        scene.now += Duration::from_millis(1);
        scene.key = format!("s{number}").into();
        scene.learns("small");
    }
    scene.key = "long".into();
    for protocol in 0..20 {
        scene.now += Duration::from_millis(1);
        scene.protocol = protocol;
        let latest = scene.learns(&long);
        assert_eq!(scene.shown(), Some(latest));
        let all = scene.live.servers.values().flatten();
        let kept = all.filter(|entry| entry.bytes() > Some(SMALL_BYTES_MAX));
        assert_eq!(kept.count(), 1);
    }
    // One that was given up is asked for again.
    scene.protocol = 3;
    scene.learns(&long);
    scene.protocol = 769;
    for number in 0..100 {
        scene.key = format!("s{number}").into();
        assert!(scene.shown().is_some(), "{number}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn servers_and_bytes_are_bounded_and_the_latest_stays(
        sizes in proptest::collection::vec(prop_oneof![0..200_usize, 100_000..250_000_usize], 1..64),
        few in any::<bool>(),
    ) {
        let mut scene = Scene::new();
        let servers = if few { 64 } else { TABLE_SERVERS_MAX * 2 };
        for number in 0..servers {
            scene.now += Duration::from_millis(1);
            scene.key = format!("s{number}").into();
            let size = if few { sizes[number % sizes.len()] } else { 0 };
            scene.learns(&"x".repeat(size));
            prop_assert!(scene.live.servers.len() <= TABLE_SERVERS_MAX);
            let bytes: usize = scene.live.servers.values().map(|entries| bytes_of(entries)).sum();
            prop_assert!(bytes <= TABLE_BYTES_MAX);
            prop_assert!(scene.shown().is_some());
        }
    }
}
