use super::*;
use crate::health::ladder::{By, Record};
use crate::health::word::Word;
use crate::moment::Moment;
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

fn backend(number: usize) -> BackendAddr {
    BackendAddr::parse(&format!("h{number}:1")).unwrap()
}

/// Lets the schedule run until `end`; whose turn it was when, all of whom were asked.
fn run(schedule: &mut Schedule, mut now: Instant, end: Instant) -> Vec<(Instant, Turn)> {
    let mut turns = Vec::new();
    while let Some(next) = schedule.next_at().filter(|next| *next <= end) {
        now = next.max(now);
        let turn = schedule.next(now).expect("it is somebody's turn by then");
        schedule.asked(now);
        turns.push((now, turn));
    }
    turns
}

#[test]
fn a_few_are_asked_once_an_interval_each_spread_evenly() {
    let (begin, interval) = (Instant::now(), SECOND * 30);
    let mut schedule = Schedule::new(interval, begin);
    schedule.resize(3, begin);
    let turns = run(&mut schedule, begin, begin + interval);
    let seconds: Vec<_> = turns
        .iter()
        .map(|(at, _)| (*at - begin).as_secs())
        .collect();
    assert_eq!(seconds, [10, 20, 30]);
}

#[test]
fn of_very_many_each_has_its_turn_less_often() {
    let begin = Instant::now();
    let mut schedule = Schedule::new(SECOND * 30, begin);
    schedule.resize(100_000, begin);
    let turns = run(&mut schedule, begin, begin + SECOND * 1_001);
    assert!(
        (100_000..=100_101).contains(&turns.len()),
        "{}",
        turns.len()
    );
}

#[test]
fn who_need_not_be_asked_takes_no_place_from_others() {
    let (begin, interval) = (Instant::now(), SECOND * 30);
    let mut schedule = Schedule::new(interval, begin);
    schedule.resize(100_000, begin);
    let (mut now, mut turns) = (begin, 0);
    while turns < 100_000 {
        now = schedule.next_at().unwrap().max(now);
        schedule.next(now).unwrap();
        turns += 1;
    }
    assert!(now - begin <= interval + SECOND);
}

#[test]
fn new_ones_and_suspects_are_asked_soon_and_the_interval_may_be_shorter() {
    let begin = Instant::now();
    for (interval, first, again) in [
        (SECOND * 600, FIRST_MAX * 2 / 5, AGAIN),
        (SECOND, SECOND * 2 / 5, SECOND),
    ] {
        let mut schedule = Schedule::new(interval, begin);
        schedule.first(backend(1), 0.4, begin);
        schedule.again(backend(2), begin);
        let turns = run(&mut schedule, begin, begin + SECOND * 60);
        let expected = [(first, backend(1)), (again, backend(2))];
        let mut expected = expected.map(|(after, one)| (begin + after, Turn::Of(one)));
        expected.sort_by_key(|(at, _)| *at);
        assert_eq!(turns, expected);
    }
}

#[test]
fn while_somebody_is_interested_a_backend_is_asked_once_an_interval_and_later_ever_less() {
    let checks = Checks::OfInterest(INTERVAL);
    let asked = |lasts: u32| {
        let (mut asked, mut heard) = (vec![], 0_u32);
        for turn in 1_u32..40 {
            let (interest, ago) = (turn.saturating_sub(lasts), turn - heard);
            if checks.wants(Some(INTERVAL * interest), Some(INTERVAL * ago), false) {
                heard = turn;
                asked.push(turn);
            }
        }
        asked
    };
    assert_eq!(asked(0), [1, 2, 4, 8]);
    assert_eq!(asked(5), [1, 2, 3, 4, 5, 6, 7, 9, 13]);
}

#[test]
fn somebody_waits_only_where_there_is_somebody() {
    let begin = Instant::now();
    let mut schedule = Schedule::new(SECOND, begin);
    assert_eq!((schedule.next_at(), schedule.next(begin)), (None, None));
    schedule.resize(5, begin);
    assert!(schedule.next_at().is_some());
    schedule.resize(0, begin);
    assert_eq!((schedule.next_at(), schedule.next(begin)), (None, None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever they come to, and whenever its turns are.
    #[test]
    fn after_the_last_interest_a_backend_is_asked_a_few_times_and_never_again(
        turns in proptest::collection::vec(prop_oneof![1_u64..200, 1_u64..40_000], 100..600),
        answers in proptest::collection::vec(any::<bool>(), 1..40),
        heard in proptest::option::of(0_u64..1_000),
    ) {
        let (checks, began) = (Checks::OfInterest(INTERVAL), Instant::now());
        let mut record = Record::default();
        let mut now = Duration::ZERO;
        if let Some(earlier) = heard {
            now = SECOND * 1_000;
            let at = Moment::new(began, began + now - Duration::from_secs(earlier));
            record.hear(Word::Answered, By::Player, at);
        }
        let (interest, mut asked) = (now, Vec::new());
        for millis in turns {
            now += Duration::from_millis(millis);
            let at = Moment::new(began, began + now);
            record = record.faded(at, checks.fade());
            let heard = record.heard().map(|heard| at.since(heard));
            if checks.wants(Some(now - interest), heard, record.is_suspect()) {
                let answer = answers[asked.len() % answers.len()];
                let word = if answer { Word::Answered } else { Word::Refused };
                record.hear(word, By::Check, at);
                asked.push(now - interest);
            }
        }
        prop_assert!(asked.len() <= CHECKS_OF_INTEREST_MAX, "{:?}", asked);
        prop_assert!(asked.iter().all(|after| *after < INTERVAL * INTEREST_INTERVALS));
        prop_assert!(!checks.wants(None, None, true), "nobody was ever interested");
    }

    /// With the routes changing, suspects at every moment, and looks that come late.
    #[test]
    fn no_second_has_more_checks_than_may_be_and_the_ring_always_goes_on(
        interval in 1_u32..600,
        rounds in proptest::collection::vec((0_usize..5_000, 0_usize..2_000, 0_u64..3_000), 1..12),
    ) {
        let begin = Instant::now();
        let interval = Duration::from_millis(100) * interval;
        let (mut schedule, mut now) = (Schedule::new(interval, begin), begin);
        let mut asked: Vec<Instant> = Vec::new();
        for (count, suspects, millis) in rounds {
            schedule.resize(count, now);
            for number in 0..suspects {
                schedule.again(backend(number), now);
            }
            prop_assert!(schedule.soon.len() <= SOON_MAX);
            let (from, end) = (now, now + Duration::from_millis(millis));
            let turns = run(&mut schedule, now, end);
            now = end;
            // A check in 10 ms, every other one the ring's.
            let due = (end - from).as_nanos() / (interval.as_nanos() / count.max(1) as u128)
                .max(20_000_000);
            let ring = turns.iter().filter(|(_, turn)| *turn == Turn::Ring).count();
            prop_assert!(count == 0 || ring as u128 + 2 >= due, "{} of {}", ring, due);
            asked.extend(turns.iter().map(|(at, _)| *at));
        }
        let most = CHECKS_PER_SECOND_MAX as usize;
        for window in asked.windows(most + 1) {
            prop_assert!(window[most] - window[0] >= SECOND);
        }
    }
}
