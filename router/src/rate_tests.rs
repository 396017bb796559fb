//! Limits, and the tables that keep them.

use super::*;
use proptest::prelude::*;

#[test]
fn limits_are_read_as_people_write_them() {
    assert_eq!(
        Rate::parse("10/5m"),
        Ok(Rate {
            count: 10,
            per: Duration::from_secs(300)
        })
    );
    for text in ["10", "0/5m", "1001/5m", "10/0s", "10/2days", "x/5m", "10/5"] {
        assert!(Rate::parse(text).is_err(), "{text}");
    }
}

#[test]
fn one_client_is_one_ipv4_address_or_half_an_ipv6_one() {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let same = |a, b| client_of(address(a)) == client_of(address(b));
    assert!(same("192.0.2.1", "::ffff:192.0.2.1"));
    assert!(!same("192.0.2.1", "192.0.2.2") && !same("::ffff:192.0.2.1", "::ffff:192.0.2.2"));
    assert!(same("2001:db8:0:1::1", "2001:db8:0:1:ffff::2"));
    assert!(!same("2001:db8:0:1::1", "2001:db8:0:2::1"));
}

proptest! {
    #[test]
    fn no_schedule_has_more_than_the_limit_in_any_window(
        asked in proptest::collection::vec((0..3_u8, 0..400_u64), 1..200), count in 1..6_usize
    ) {
        let per = Duration::from_secs(1);
        let mut recent = Recent::new(Some(Rate { count, per }), 4_096);
        let mut now = Instant::now();
        let mut counted: Vec<(u8, Instant)> = Vec::new();
        for (who, pause) in asked {
            now += Duration::from_millis(pause);
            let of_late = |now: Instant| {
                counted.iter().filter(|&&(by, at)| by == who && at + per > now).count()
            };
            prop_assert_eq!(recent.left(&who, now), Some(count - of_late(now)));
            match recent.wait(&who, now) {
                None => {
                    prop_assert!(of_late(now) < count);
                    recent.count(who, now);
                    counted.push((who, now));
                }
                Some(wait) => {
                    prop_assert_eq!(of_late(now), count, "nobody is refused without need");
                    prop_assert!(of_late(now + wait) < count);
                    prop_assert!(of_late(now + wait - Duration::from_nanos(1)) == count);
                }
            }
        }
    }

    #[test]
    fn the_tables_stay_within_their_bound_and_agree(
        asked in proptest::collection::vec((0..50_u8, 0..300_u64), 0..300), most in 1..20_usize
    ) {
        let per = Duration::from_secs(5);
        let mut recent = Recent::new(Some(Rate { count: 2, per }), most);
        let mut now = Instant::now();
        for (who, pause) in asked {
            now += Duration::from_millis(pause);
            if recent.wait(&who, now).is_none() {
                recent.count(who, now);
                prop_assert!(recent.wait(&who, now).is_none_or(|wait| wait <= per));
            }
            prop_assert!(recent.order.len() <= most);
            let times: usize = recent.times.values().map(VecDeque::len).sum();
            prop_assert_eq!(times, recent.order.len());
            prop_assert!(recent.times.values().all(|times| !times.is_empty()));
        }
    }
}
