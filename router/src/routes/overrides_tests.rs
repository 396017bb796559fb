//! Settings as columns and configuration write them, and what becomes of those that are wrong.

use super::*;
use crate::texts::Text;
use crate::texts::template::Fields;
use proptest::prelude::*;

fn applied(setting: Setting, text: &str) -> Result<Policy, String> {
    let mut policy = Policy::default();
    setting.apply(&mut policy, text).map(|()| policy)
}

#[test]
fn every_setting_is_read_as_text_or_as_an_array() {
    for text in [
        "forward, KICK",
        "{forward,kick}",
        "{\"forward\",\" kick\"}",
        "forward\nkick",
    ] {
        let policy = applied(Setting::Join, text).unwrap();
        assert_eq!(policy.join, [Join::Forward, Join::Kick], "{text}");
    }
    let seconds = Duration::from_secs;
    assert_eq!(
        applied(Setting::HoldMax, "2m").unwrap().hold_max,
        seconds(120)
    );
    assert_eq!(applied(Setting::Settle, " 3s ").unwrap().settle, seconds(3));
    assert_eq!(
        applied(Setting::MinOnline, "10m").unwrap().min_online,
        seconds(600)
    );
    for (text, after) in [("90s", Some(seconds(90))), ("OFF", None)] {
        let policy = applied(Setting::DownAfter, text).unwrap();
        assert_eq!(policy.down_after, after, "{text}");
    }
    let lobby = applied(Setting::ForwardTo, "lobby:25565")
        .unwrap()
        .forward_to;
    assert_eq!(lobby.unwrap().as_str(), "lobby:25565");
    assert!(
        applied(Setting::CompressionHold, "true")
            .unwrap()
            .compression_hold
    );
    assert!(
        applied(Setting::KeepTransferIntent, "yes")
            .unwrap()
            .keep_transfer_intent
    );
    for (text, version) in [
        ("v1", Some(Version::V1)),
        (" V2 ", Some(Version::V2)),
        ("none", None),
    ] {
        let policy = applied(Setting::ProxyProtocol, text).unwrap();
        assert_eq!(policy.proxy_protocol, version, "{text}");
    }
    for (text, balance) in [
        ("failover", Balance::Failover),
        ("Round-Robin", Balance::RoundRobin),
        ("least-players", Balance::LeastPlayers),
        (" address-hash ", Balance::AddressHash),
    ] {
        assert_eq!(applied(Setting::Balance, text).unwrap().balance, balance);
    }
    let rules = applied(Setting::WakeAllow, "{Notch,jeb_,NULL}")
        .unwrap()
        .wake;
    assert_eq!((rules.allow.len(), rules.deny.len()), (2, 0));
    assert_eq!(
        applied(Setting::WakeDeny, "Notch").unwrap().wake.deny.len(),
        1
    );
    let windows = "{\"mon-fri 08:00-22:00\",\"sat 10:00-02:00 Europe/Berlin\"}";
    let array = applied(Setting::WakeHours, windows).unwrap();
    let text = "mon-fri 08:00-22:00, sat 10:00-02:00 Europe/Berlin";
    assert_eq!(applied(Setting::WakeHours, text).unwrap(), array);
    assert!(array.wake.hours.is_some());
    let texts = applied(Setting::Texts, r#"{"asleep": "Zzz"}"#)
        .unwrap()
        .texts;
    assert_eq!(plain(&texts, Text::Asleep), "Zzz");
}

fn plain(texts: &Texts, text: Text) -> String {
    texts.render(text, None, &Fields::default()).to_plain()
}

#[test]
fn what_cannot_be_honoured_is_told_and_changes_nothing() {
    let over_long = "x".repeat(SETTING_BYTES_MAX + 1);
    for (setting, text, reason) in [
        (Setting::Join, "hold,wait", "\"wait\" is none of"),
        (Setting::Join, "hold,hold", "twice"),
        (Setting::Join, "kick,hold", "after a kick"),
        (Setting::Join, ",", "names nothing"),
        (Setting::Join, "{{hold},{kick}}", "not an array"),
        (Setting::Join, "{\"hold}", "not an array"),
        (Setting::Join, "{hold\\}", "not an array"),
        (Setting::HoldMax, "90", "not a duration"),
        (Setting::HoldMax, "2h", "out of bounds"),
        (Setting::Settle, "00:00:03", "not a duration"),
        (Setting::ForwardTo, "lobby", "no port"),
        (
            Setting::CompressionHold,
            "perhaps",
            "neither true nor false",
        ),
        (Setting::KeepTransferIntent, "2", "neither true nor false"),
        (Setting::WakeAllow, "two words", "neither a player's name"),
        (Setting::WakeHours, "mon 25:00-26:00", "not a window"),
        (Setting::MinOnline, "8days", "out of bounds"),
        (Setting::ProxyProtocol, "v3", "none of v1, v2, none"),
        (Setting::Texts, "[]", "not a JSON object"),
        (Setting::Texts, "{", "not JSON"),
        (Setting::Texts, &over_long, "over 65536 bytes"),
    ] {
        let mut policy = Policy::default();
        let error = setting.apply(&mut policy, text).unwrap_err();
        assert!(error.contains(reason), "{setting:?} {text:.20}: {error}");
        assert_eq!(policy, Policy::default());
    }
}

#[test]
fn nothing_and_empty_arrays_and_objects_set_nothing() {
    for setting in Setting::ALL {
        for text in ["", "  ", "{}"] {
            assert_eq!(
                applied(setting, text),
                Ok(Policy::default()),
                "{setting:?} {text:?}"
            );
        }
    }
}

#[test]
fn a_row_can_lift_the_limits_of_the_defaults_and_add_texts() {
    let mut defaults = Policy::default();
    for (setting, text) in [
        (Setting::WakeAllow, "notch"),
        (Setting::WakeHours, "08:00-09:00"),
        (Setting::Texts, r#"{"asleep": "Zzz", "starting": "Soon"}"#),
    ] {
        setting.apply(&mut defaults, text).unwrap();
    }
    let defaults = Arc::new(defaults);
    let row = [
        (Setting::WakeAllow, "*"),
        (Setting::WakeHours, "always"),
        (Setting::Texts, r#"{"asleep": "Gone to bed"}"#),
    ];
    let overrides = row
        .map(|(setting, text)| (setting, text.to_owned()))
        .to_vec();

    let (policy, ignored) = Policies::over(Arc::clone(&defaults)).of(overrides);

    assert_eq!(ignored, []);
    assert!(policy.wake.allow.is_empty() && policy.wake.hours.is_none());
    assert_eq!(plain(&policy.texts, Text::Asleep), "Gone to bed");
    assert_eq!(plain(&policy.texts, Text::Starting), "Soon");
    assert_eq!(
        differences(&defaults, &policy),
        ["wake_allow", "wake_hours", "texts"]
    );
}

#[test]
fn a_forward_to_nowhere_is_left_out_and_told() {
    let defaults = Arc::<Policy>::default();
    let mut policies = Policies::over(Arc::clone(&defaults));
    let join = (Setting::Join, "forward,hold".to_owned());

    let (policy, ignored) = policies.of(vec![join.clone()]);
    assert_eq!(policy.join, [Join::Hold]);
    assert!(ignored[0].1.contains("no forward_to"), "{ignored:?}");

    let (policy, ignored) = policies.of(vec![join, (Setting::ForwardTo, "lobby:1".to_owned())]);
    assert_eq!(
        (&policy.join[..], ignored.len()),
        (&[Join::Forward, Join::Hold][..], 0)
    );
}

#[test]
fn every_column_has_one_setting() {
    for setting in Setting::ALL {
        assert_eq!(Setting::of_column(setting.column()), Some(setting));
    }
    assert_eq!(Setting::of_column("name"), None);
}

proptest! {
    #[test]
    fn whatever_a_column_holds_there_is_a_policy_and_no_endless_reason(
        texts in proptest::collection::vec("[{}\",\\\\ :a-z0-9\n/+*-]{0,40}", Setting::ALL.len())
    ) {
        let defaults = Arc::<Policy>::default();
        let overrides = Setting::ALL.into_iter().zip(texts).collect();
        let (_, ignored) = Policies::over(Arc::clone(&defaults)).of(overrides);
        prop_assert!(ignored.iter().all(|(_, reason)| reason.chars().count() <= REASON_CHARS_MAX));
    }

    #[test]
    fn an_array_of_texts_comes_back_as_it_was(
        texts in proptest::collection::vec("[a-z{},\"\\\\]([a-z {},\"\\\\]{0,5}[a-z{},\"\\\\])?", 1..5)
    ) {
        let quoted = |text: &String| {
            format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
        };
        let array = texts.iter().map(quoted).collect::<Vec<_>>().join(",");
        prop_assert_eq!(items(&format!("{{{array}}}")), Ok(texts));
    }
}
