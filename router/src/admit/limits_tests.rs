//! Places and budgets of addresses.

use super::*;
use proptest::prelude::*;

fn address(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn rate(count: usize, millis: u64) -> Option<Rate> {
    let per = Duration::from_millis(millis);
    Some(Rate { count, per })
}

#[test]
fn over_its_places_an_address_is_told_and_then_closed_while_others_come_in() {
    let limits = Limits {
        at_once: Some(2),
        ..Limits::default()
    };
    let (mut tables, now) = (Tables::new(limits), Instant::now());
    let mut knocks: Vec<_> = (0..12).map(|_| tables.knock(address(1), now)).collect();

    let told = knocks.split_off(2);
    assert_eq!(knocks, [Knock::In; 2]);
    assert_eq!(told[..TOLD_PER_ADDRESS_MAX], [Knock::Crowded; 8]);
    assert_eq!(told[TOLD_PER_ADDRESS_MAX..], [Knock::TooMany; 2]);
    assert_eq!(tables.knock(address(2), now), Knock::In);
    for _ in 0..9 {
        tables.gone(address(1));
    }
    assert_eq!(tables.knock(address(1), now), Knock::In);
    assert_eq!(tables.knock(address(1), now), Knock::Crowded);
}

#[test]
fn a_household_of_ipv6_shares_its_places() {
    let limits = Limits {
        at_once: Some(1),
        ..Limits::default()
    };
    let (mut tables, now) = (Tables::new(limits), Instant::now());
    let mut knock = |text: &str| tables.knock(text.parse().unwrap(), now);
    assert_eq!(knock("2001:db8:0:1::1"), Knock::In);
    assert_eq!(knock("2001:db8:0:1:ffff::2"), Knock::Crowded);
    assert_eq!(knock("2001:db8:0:2::1"), Knock::In);
}

#[test]
fn pings_use_up_no_logins_and_logins_no_pings() {
    let limits = Limits {
        logins: rate(2, 1_000),
        pings: rate(3, 2_000),
        ..Limits::default()
    };
    let (mut tables, now) = (Tables::new(limits), Instant::now());
    for _ in 0..3 {
        assert_eq!(tables.wish(address(1), Wish::Ping, now), Ok(()));
    }
    let wait = Err(Duration::from_secs(2));
    assert_eq!(tables.wish(address(1), Wish::Ping, now), wait);
    for _ in 0..2 {
        assert_eq!(tables.wish(address(1), Wish::Login, now), Ok(()));
    }
    let wait = Err(Duration::from_secs(1));
    assert_eq!(tables.wish(address(1), Wish::Login, now), wait);
    assert_eq!(tables.wish(address(2), Wish::Login, now), Ok(()));
    let later = now + Duration::from_secs(1);
    assert_eq!(tables.wish(address(1), Wish::Login, later), Ok(()));
}

#[test]
fn without_limits_nothing_is_kept_of_those_who_left() {
    let (mut tables, now) = (Tables::new(Limits::default()), Instant::now());
    for _ in 0..100_000 {
        assert_eq!(tables.knock(address(1), now), Knock::In);
        assert_eq!(tables.wish(address(1), Wish::Login, now), Ok(()));
        tables.gone(address(1));
    }
    assert!(tables.open.is_empty());
}

#[test]
fn the_limit_for_all_is_for_all_together_and_over_it_they_are_told() {
    let limits = Limits {
        everybody: rate(2, 1_000),
        ..Limits::default()
    };
    let (mut tables, now) = (Tables::new(limits), Instant::now());
    let knocks = [1, 2, 3].map(|last| tables.knock(address(last), now));
    assert_eq!(knocks, [Knock::In, Knock::In, Knock::Busy]);
    let later = now + Duration::from_secs(1);
    assert_eq!(tables.knock(address(3), later), Knock::In);
}

proptest! {
    #[test]
    fn no_schedule_gives_an_address_more_than_its_limits_and_none_less(
        steps in proptest::collection::vec((0..4_u8, 0..3_u8, 0..60_u64), 1..300),
        at_once in 1..5_usize, count in 1..8_usize
    ) {
        let per = Duration::from_millis(500);
        let limits = Limits {
            at_once: Some(at_once),
            connections: Some(Rate { count, per }),
            ..Limits::default()
        };
        let (mut tables, mut now) = (Tables::new(limits), Instant::now());
        let mut open = [0_usize; 4];
        let mut knocked: Vec<(u8, Instant)> = Vec::new();
        for (who, step, pause) in steps {
            now += Duration::from_millis(pause);
            let places = &mut open[usize::from(who)];
            if step == 0 {
                if *places > 0 {
                    *places -= 1;
                    tables.gone(address(who));
                }
                continue;
            }
            let of_late = knocked.iter().filter(|&&(by, at)| by == who && at + per > now).count();
            let knock = tables.knock(address(who), now);
            if knock != Knock::TooOften {
                knocked.push((who, now));
            }
            let due = if of_late >= count {
                Knock::TooOften
            } else if *places >= at_once + TOLD_PER_ADDRESS_MAX {
                Knock::TooMany
            } else if *places >= at_once {
                Knock::Crowded
            } else {
                Knock::In
            };
            prop_assert_eq!(knock, due);
            *places += usize::from(matches!(knock, Knock::In | Knock::Crowded));
            let expected = open.iter().filter(|&&places| places > 0).count();
            prop_assert_eq!(tables.open.len(), expected);
        }
    }
}
