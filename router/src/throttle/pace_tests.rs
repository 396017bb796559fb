use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn gate(number: usize) -> Gate {
    let backend = BackendAddr::parse(&format!("b{number}:1")).unwrap();
    Gate {
        backend,
        client: None,
    }
}

fn kick(text: &str) -> Try {
    Try::Throttled(text.as_bytes().into())
}

/// A gate whose first kick was at `now`.
fn throttled(now: Instant) -> Pace<()> {
    let mut pace = Pace::default();
    let ticket = pace.ticket();
    pace.ended(&gate(0), ticket, kick("first"), now);
    pace
}

#[test]
fn nobody_waits_for_a_backend_that_throttles_nobody() {
    let (mut pace, now) = (Pace::<()>::default(), Instant::now());
    for _ in 0..1_000 {
        let ticket = pace.ticket();
        assert_eq!(pace.turn(&gate(0), ticket, now).0, Turn::Go);
        pace.ended(&gate(0), ticket, Try::Passed, now);
    }
    assert_eq!(pace.said(&gate(0), now), None);
    assert!(pace.gates.is_empty());
}

#[test]
fn a_gate_is_of_one_backend_and_of_one_client_where_that_is_told() {
    let now = Instant::now();
    let mut pace = throttled(now);
    let of = |client: &str| Gate {
        client: Some(client.parse().unwrap()),
        ..gate(0)
    };
    for other in [gate(1), of("192.0.2.1")] {
        let ticket = pace.ticket();
        assert_eq!(pace.turn(&other, ticket, now).0, Turn::Go);
    }
    let ticket = pace.ticket();
    pace.ended(&of("192.0.2.1"), ticket, kick("there"), now);
    assert_eq!(pace.turn(&of("192.0.2.2"), ticket, now).0, Turn::Go);
    let turn = pace.turn(&of("192.0.2.1"), ticket, now).0;
    assert_eq!(turn, Turn::At(now + GAP));
}

#[test]
fn the_gap_grows_while_it_is_too_short_and_not_for_one_players_sake_or_for_what_came_between() {
    let mut now = Instant::now();
    let mut pace = throttled(now);
    let mut try_next = |pace: &mut Pace<()>, outcome: Try, between: bool| {
        let ticket = pace.ticket();
        let (Turn::At(at), _) = pace.turn(&gate(0), ticket, now) else {
            panic!("too soon");
        };
        now = at;
        assert_eq!(pace.turn(&gate(0), ticket, now).0, Turn::Go);
        if between {
            let stray = pace.ticket();
            pace.ended(&gate(0), stray, Try::Made, now + SECOND / 10);
        }
        now += SECOND / 5;
        pace.ended(&gate(0), ticket, outcome, now);
        pace.gap(&gate(0), now).unwrap()
    };
    assert_eq!(
        try_next(&mut pace, kick("a"), true),
        GAP,
        "one came between"
    );
    let grown = GAP * 3 / 2;
    assert_eq!(try_next(&mut pace, kick("b"), false), grown);
    assert_eq!(try_next(&mut pace, Try::Made, false), grown);
    assert_eq!(try_next(&mut pace, Try::Passed, false), grown);
    assert_eq!(try_next(&mut pace, kick("c"), false), grown, "one got in");
    assert_eq!(try_next(&mut pace, kick("d"), false), grown * 3 / 2);
    for _ in 0..9 {
        try_next(&mut pace, kick("e"), false);
    }
    assert_eq!(pace.gap(&gate(0), now), Some(GAP_MAX));
}

#[test]
fn a_throttle_is_forgotten_a_while_after_its_last_kick_and_its_words_are_the_last() {
    let now = Instant::now();
    let mut pace = throttled(now);
    let stray = pace.ticket();
    let later = now + MEMORY / 2;
    pace.ended(&gate(0), stray, kick("second"), later);
    let said = pace.said(&gate(0), now + MEMORY);
    assert_eq!(said.as_deref(), Some(&b"second"[..]));
    assert_eq!(pace.said(&gate(0), later + MEMORY), None);
}

#[test]
fn a_try_that_the_backend_knows_nothing_of_costs_no_time() {
    let now = Instant::now();
    let mut pace = throttled(now);
    let (first, second) = (pace.ticket(), pace.ticket());
    let due = now + GAP;
    assert_eq!(pace.turn(&gate(0), first, due).0, Turn::Go);
    assert_eq!(pace.turn(&gate(0), second, due).0, Turn::Behind);
    pace.ended(&gate(0), first, Try::NotMade, due + SECOND);
    assert_eq!(pace.turn(&gate(0), second, due + SECOND).0, Turn::Go);
}

#[test]
fn the_table_is_bounded_and_forgets_who_has_been_quiet_for_longest() {
    let now = Instant::now();
    let mut pace = Pace::<()>::default();
    let at = |number: usize| now + Duration::from_millis(u64::try_from(number).unwrap());
    let waits = pace.ticket();
    for number in 0..GATES_MAX + 10 {
        let ticket = pace.ticket();
        pace.ended(&gate(number), ticket, kick("no"), at(number));
        if number == 0 {
            pace.turn(&gate(0), waits, at(0));
        }
    }
    assert_eq!(pace.gates.len(), GATES_MAX);
    let known = |number: usize| pace.gates.contains_key(&gate(number));
    assert!(known(0), "somebody waits there");
    assert!(!known(1) && !known(10) && known(11));
}

/// What a server does that counts from the last try, of whoever.
struct Server {
    throttle: Duration,
    tried: Option<Instant>,
}

impl Server {
    fn tries(&mut self, now: Instant) -> bool {
        let soon = |tried: Instant| now < tried + self.throttle;
        let throttled = self.tried.replace(now).is_some_and(soon);
        !throttled
    }
}

/// How finely time goes by.
const STEP: Duration = Duration::from_millis(50);

/// One who comes, and may leave again.
#[derive(Debug, Clone)]
struct Comer {
    at: Duration,
    leaves: Option<Duration>,
}

fn comers() -> impl Strategy<Value = Vec<Comer>> {
    let comer = (0..400_u32, prop::option::weighted(0.2, 0..600_u32));
    prop::collection::vec(comer, 1..12).prop_map(|comers| {
        let comers = comers.into_iter().map(|(at, stays)| Comer {
            at: STEP * at,
            leaves: stays.map(|stays| STEP * (at + stays)),
        });
        comers.collect()
    })
}

proptest! {
    /// However players come and leave, and however long a try takes: everybody gets in who stays, and once the
    /// throttle is known no two tries are closer than the gap.
    #[test]
    fn no_two_tries_are_closer_than_the_gap_and_everybody_gets_a_turn(
        comers in comers(),
        throttle in 0..9_000_u64,
        takes in 1..6_u32,
    ) {
        let begin = Instant::now();
        let mut server = Server { throttle: Duration::from_millis(throttle), tried: None };
        let mut pace = Pace::<()>::default();
        // When a try that is under way is heard by the server and over, and whether it was a turn.
        let mut trying: BTreeMap<usize, (Ticket, Instant, bool)> = BTreeMap::new();
        let mut places: BTreeMap<usize, Ticket> = BTreeMap::new();
        let (mut inside, mut over) = (Vec::new(), Vec::new());
        let mut last: Option<Instant> = None;
        for step in 0..20_000_u32 {
            let since = STEP * step;
            let now = begin + since;
            for (number, comer) in comers.iter().enumerate() {
                if comer.at == since {
                    places.insert(number, pace.ticket());
                }
                if comer.leaves == Some(since) && !trying.contains_key(&number) && !inside.contains(&number) {
                    over.push(number);
                    if let Some(ticket) = places.remove(&number) {
                        pace.left(&gate(0), ticket);
                    }
                }
                let Some(ticket) = places.get(&number).copied() else { continue };
                let known = pace.gap(&gate(0), now);
                if pace.turn(&gate(0), ticket, now).0 == Turn::Go {
                    places.remove(&number);
                    if let (Some(gap), Some(last)) = (known, last) {
                        prop_assert!(now >= last + gap, "{:?} after {gap:?}", now - last);
                        prop_assert!(trying.values().all(|(.., paced)| !paced), "two at once");
                    }
                    let ends = now + STEP * takes;
                    trying.insert(number, (ticket, ends, known.is_some()));
                }
            }
            let ended: Vec<_> = trying.iter().filter(|(_, (_, ends, _))| *ends == now).map(|(n, _)| *n).collect();
            for number in ended {
                let (ticket, ..) = trying.remove(&number).unwrap();
                if server.tries(now) {
                    inside.push(number);
                    pace.ended(&gate(0), ticket, Try::Passed, now);
                } else {
                    pace.ended(&gate(0), ticket, kick("no"), now);
                    places.insert(number, pace.ticket());
                }
                last = pace.gap(&gate(0), now).map(|_| now).or(last);
            }
            if inside.len() + over.len() == comers.len() && trying.is_empty() {
                break;
            }
        }
        prop_assert_eq!(inside.len() + over.len(), comers.len(), "{:?} of {:?}", inside, comers);
    }
}
