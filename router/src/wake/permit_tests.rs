//! Lists, hours, and how often.

use super::*;

const NOTCH: &str = "069a79f4-44e9-4726-a5be-fca90e38aaf5";
const NOTCH_UUID: u128 = 0x069a_79f4_44e9_4726_a5be_fca9_0e38_aaf5;

fn list(items: &[&str]) -> Vec<Player> {
    let items: Vec<_> = items.iter().map(|&item| item.to_owned()).collect();
    players(&items).unwrap()
}

fn claim(name: &str) -> Claim<'_> {
    Claim {
        name,
        uuid: None,
        address: IpAddr::from([192, 0, 2, 1]),
    }
}

fn ask(rules: &WakeRules, claim: &Claim<'_>) -> Result<(), Refused> {
    Permits::new(None, None).may_wake(rules, claim, Instant::now(), SystemTime::UNIX_EPOCH)
}

fn rate(text: &str) -> Option<Rate> {
    Some(Rate::parse(text).unwrap())
}

#[test]
fn names_count_in_any_case_and_uuids_with_or_without_dashes() {
    let plain = NOTCH.replace('-', "").to_uppercase();
    for items in [["NOTCH"], [NOTCH], [plain.as_str()]] {
        let rules = WakeRules {
            allow: list(&items),
            ..WakeRules::default()
        };
        let notch = Claim {
            uuid: Some(NOTCH_UUID),
            ..claim("nOtCh")
        };
        assert_eq!(ask(&rules, &notch), Ok(()), "{items:?}");
        let other = Claim {
            uuid: Some(NOTCH_UUID + 1),
            ..claim("jeb_")
        };
        assert_eq!(ask(&rules, &other), Err(Refused::NotListed), "{items:?}");
        assert_eq!(ask(&rules, &claim("jeb_")), Err(Refused::NotListed));
    }
}

#[test]
fn nobody_listed_is_everybody_and_a_denial_wins() {
    assert_eq!(ask(&WakeRules::default(), &claim("anybody")), Ok(()));
    let rules = WakeRules {
        allow: list(&["notch"]),
        deny: list(&["Notch"]),
        hours: None,
    };
    assert_eq!(ask(&rules, &claim("notch")), Err(Refused::Denied));
    assert_eq!(ask(&rules, &claim("jeb_")), Err(Refused::NotListed));
}

#[test]
fn what_is_no_player_is_refused() {
    for item in [
        "",
        "seventeen_letters",
        "two words",
        "069a79f4-44e94726-a5be-fca90e38aaf5",
    ] {
        let error = players(&[item.to_owned()]).unwrap_err();
        assert!(error.contains("neither a player's name"), "{item}: {error}");
    }
    assert!(players(&vec!["a".to_owned(); PLAYERS_MAX + 1]).is_err());
    assert!(players(&[]).is_err());
}

#[test]
fn outside_its_hours_it_is_told_when_they_begin() {
    let rules = WakeRules {
        hours: Some(Hours::parse(&["08:00-22:00".to_owned()]).unwrap()),
        ..WakeRules::default()
    };
    let opens_in = Duration::from_secs(8 * 60 * 60);
    assert_eq!(ask(&rules, &claim("a")), Err(Refused::Hours { opens_in }));
}

#[test]
fn too_many_wakes_are_refused_until_the_first_is_old_enough() {
    let (start, second) = (Instant::now(), Duration::from_secs(1));
    let mut permits = Permits::new(rate("3/1m"), rate("2/10s"));
    let mut ask = |name, seconds| {
        let now = start + second * seconds;
        permits.may_wake(
            &WakeRules::default(),
            &claim(name),
            now,
            SystemTime::UNIX_EPOCH,
        )
    };
    let wait = |seconds| {
        Err(Refused::TooOften {
            retry_in: second * seconds,
        })
    };

    assert_eq!(ask("a", 0), Ok(()));
    assert_eq!(ask("A", 1), Ok(()));
    assert_eq!(ask("a", 4), wait(6), "by name");
    assert_eq!(ask("a", 4), wait(6), "a refusal does not count");
    assert_eq!(ask("b", 4), Ok(()));
    assert_eq!(ask("c", 5), wait(55), "by address");
    assert_eq!(ask("a", 5), wait(55), "the longer of the two");
    assert_eq!(ask("c", 60), Ok(()));
    assert_eq!(ask("c", 60), wait(1));
}
