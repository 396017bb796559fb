use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::*;
use proptest::prelude::*;

const ANYBODY: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What a backend is made of here: weight, whether it is well, players.
type Made = (u8, bool, usize);

fn made() -> impl Strategy<Value = Vec<Made>> {
    proptest::collection::vec((1..=100_u8, any::<bool>(), 0..50_usize), 1..=32)
}

fn addresses(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("10.0.0.{number}:25565"))
        .collect()
}

fn candidates<'a>(addresses: &'a [String], made: &[Made]) -> Vec<Candidate<'a>> {
    let pairs = addresses.iter().zip(made);
    let candidate = |(address, &(weight, well, players)): (&'a String, &Made)| Candidate {
        address,
        weight,
        well,
        players,
    };
    pairs.map(candidate).collect()
}

fn weights(weights: &[u8]) -> Vec<Made> {
    weights.iter().map(|&weight| (weight, true, 0)).collect()
}

fn v4(number: u32) -> IpAddr {
    Ipv4Addr::from(number).into()
}

#[test]
fn failover_keeps_the_order_written_and_what_is_ill_comes_last() {
    let addresses = addresses(4);
    let made = [(9, false, 0), (1, true, 9), (9, false, 0), (9, true, 0)];
    let order = order(
        Balance::Failover,
        &candidates(&addresses, &made),
        ANYBODY,
        7,
    );
    assert_eq!(order, [1, 3, 0, 2]);
}

#[test]
fn turns_go_round_evenly() {
    let addresses = addresses(3);
    let firsts = |made: &[Made], turns: u32| -> String {
        let candidates = candidates(&addresses, made);
        let first = |turn| order(Balance::RoundRobin, &candidates, ANYBODY, turn)[0];
        (0..turns).map(|turn| first(turn).to_string()).collect()
    };
    assert_eq!(firsts(&weights(&[1, 1, 1]), 6), "012012");
    assert_eq!(firsts(&weights(&[3, 1]), 8), "00100010");
    assert_eq!(firsts(&weights(&[5, 1, 2]), 8), "02001020");
    let ill = [(1, true, 0), (1, false, 0), (1, true, 0)];
    assert_eq!(
        firsts(&ill, 6),
        "020202",
        "its turns go to both of the others"
    );
}

#[test]
fn the_fewest_players_for_the_weight_come_first_and_then_the_order_written() {
    let addresses = addresses(4);
    for (made, expected) in [
        (
            [(1, true, 0), (1, true, 0), (1, true, 0), (1, true, 0)],
            [0, 1, 2, 3],
        ),
        (
            [(1, true, 2), (1, true, 1), (1, true, 0), (1, true, 1)],
            [2, 1, 3, 0],
        ),
        (
            [(1, true, 2), (3, true, 5), (2, true, 4), (1, false, 0)],
            [1, 0, 2, 3],
        ),
    ] {
        let candidates = candidates(&addresses, &made);
        assert_eq!(
            order(Balance::LeastPlayers, &candidates, ANYBODY, 0),
            expected
        );
    }
}

#[test]
fn a_household_is_one_client_however_its_address_is_written() {
    let addresses = addresses(8);
    let candidates = candidates(&addresses, &weights(&[1; 8]));
    let order = |text: &str| order(Balance::AddressHash, &candidates, text.parse().unwrap(), 0);
    assert_eq!(order("::ffff:192.0.2.7"), order("192.0.2.7"));
    assert_eq!(order("2001:db8::1"), order("2001:db8::ffff:1:2:3"));
    assert_ne!(order("2001:db8::1"), order("2001:db8:0:1::1"));
    assert_ne!(order("192.0.2.7"), order("192.0.2.8"));
}

#[test]
fn whose_client_one_is_stays_the_same_in_every_version() {
    let addresses = addresses(5);
    let candidates = candidates(&addresses, &weights(&[1, 2, 3, 4, 5]));
    let order = order(Balance::AddressHash, &candidates, v4(0xC000_0207), 0);
    assert_eq!(order, [0, 3, 4, 2, 1]);
}

#[test]
fn clients_are_shared_by_weight() {
    let addresses = addresses(3);
    let candidates = candidates(&addresses, &weights(&[1, 2, 5]));
    let mut firsts = [0_u32; 3];
    for client in 0..8_000 {
        firsts[order(Balance::AddressHash, &candidates, v4(client), 0)[0]] += 1;
    }
    for (count, weight) in firsts.into_iter().zip([1, 2, 5]) {
        assert!(count.abs_diff(1_000 * weight) < 150, "{firsts:?}");
    }
}

#[test]
fn what_a_dial_leaves_over_the_others_have() {
    let secs = Duration::from_secs;
    assert_eq!(share(secs(2), secs(10), 2), secs(2));
    assert_eq!(share(secs(9), secs(10), 2), secs(5));
    assert_eq!(share(secs(9), secs(10), 1), secs(9));
    assert_eq!(share(secs(9), secs(0), 1), secs(0));
    assert_eq!(share(secs(9), secs(5), 0), secs(5));
}

/// Every slot of a cycle, sorted: what [`by_turn`] finds without making them all.
fn cycle(weights: &[u8]) -> Vec<usize> {
    let slots = weights.iter().enumerate().flat_map(|(number, &weight)| {
        let weight = u64::from(weight);
        (0..weight).map(move |taken| (2 * taken + 1, weight, number))
    });
    let mut slots: Vec<_> = slots.collect();
    slots.sort_by(|one, other| {
        let (left, right) = (one.0 * other.1, other.0 * one.1);
        left.cmp(&right).then(one.2.cmp(&other.2))
    });
    slots.into_iter().map(|slot| slot.2).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn everybody_is_tried_once_the_well_ones_first_and_always_alike(
        made in made(), client: u32, turn: u32
    ) {
        let addresses = addresses(made.len());
        let candidates = candidates(&addresses, &made);
        for balance in Balance::ALL {
            let tried = order(balance, &candidates, v4(client), turn);
            let mut sorted = tried.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..made.len()).collect::<Vec<_>>(), "{:?}", balance);
            prop_assert!(tried.is_sorted_by_key(|&number| !made[number].1), "{:?}", balance);
            prop_assert_eq!(tried, order(balance, &candidates, v4(client), turn));
        }
    }

    #[test]
    fn a_cycle_of_turns_has_every_backend_as_often_as_it_weighs_and_at_its_time(
        weights in proptest::collection::vec(1..=100_u8, 1..=32), start in 0..10_u32
    ) {
        let made = self::weights(&weights);
        let addresses = addresses(made.len());
        let candidates = candidates(&addresses, &made);
        let all: u32 = weights.iter().map(|&weight| u32::from(weight)).sum();
        let first = |turn| order(Balance::RoundRobin, &candidates, ANYBODY, turn)[0];
        let firsts: Vec<_> = (0..all).map(|turn| first(start * all + turn)).collect();
        prop_assert_eq!(&firsts, &cycle(&weights));
        // Nobody is ahead or behind by more than their neighbours make.
        let mut taken: BTreeMap<usize, f64> = BTreeMap::new();
        for (number, turn) in firsts.into_iter().zip(1_u32..) {
            *taken.entry(number).or_default() += 1.0;
            let share = f64::from(weights[number]) / f64::from(all);
            let off = (taken[&number] - share * f64::from(turn)).abs();
            let most = 1.0 + share * f64::from(u32::try_from(weights.len()).unwrap()) / 2.0;
            prop_assert!(off <= most, "{} off by {}", number, off);
        }
    }

    #[test]
    fn when_a_backend_goes_or_is_ill_nobody_moves_but_its_own_clients(
        made in made(), clients in proptest::collection::vec(any::<u32>(), 50), gone: prop::sample::Index
    ) {
        let made: Vec<_> = made.into_iter().map(|(weight, _, players)| (weight, true, players)).collect();
        let addresses = addresses(made.len());
        let (all, gone) = (candidates(&addresses, &made), gone.index(made.len()));
        let mut ill = all.clone();
        ill[gone].well = false;
        let mut fewer = all.clone();
        fewer.remove(gone);
        for client in clients {
            let tried = |candidates: &[Candidate<'_>]| {
                let order = order(Balance::AddressHash, candidates, v4(client), 0);
                let addresses = order.into_iter().map(|number| candidates[number].address.to_owned());
                addresses.collect::<Vec<_>>()
            };
            let mut expected = tried(&all);
            expected.retain(|address| *address != addresses[gone]);
            prop_assert_eq!(&tried(&fewer), &expected);
            expected.push(addresses[gone].clone());
            prop_assert_eq!(tried(&ill), expected);
        }
    }
}
