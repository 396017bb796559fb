//! Layers, errors and secrets of the settings.

use super::*;
use crate::proxy_protocol::Version;
use crate::routes::policy::Join;
use crate::texts::Text;
use crate::texts::template::Fields;

pub(super) fn read(
    file: Option<&str>,
    env: &[(&str, &str)],
    flags: &[&str],
) -> Result<Config, ConfigError> {
    let mut args: Vec<String> = vec!["automc-router".to_owned()];
    let path = tempfile::NamedTempFile::new().unwrap();
    if let Some(text) = file {
        std::fs::write(path.path(), text).unwrap();
        args.push(format!("--config={}", path.path().display()));
    }
    args.extend(flags.iter().map(|&flag| flag.to_owned()));
    let command = SPEC.flags(clap::Command::new("automc-router"));
    let matches = command
        .try_get_matches_from(args)
        .map_err(|error| ConfigError(vec![error.to_string()]))?;
    let env = env
        .iter()
        .map(|&(name, text)| (name.to_owned(), text.to_owned()));
    Config::read(SPEC.load(&matches, env)?)
}

pub(super) fn refusal(file: Option<&str>, env: &[(&str, &str)], flags: &[&str]) -> String {
    read(file, env, flags).unwrap_err().to_string()
}

#[test]
fn nothing_given_is_a_complete_configuration() {
    let config = read(None, &[], &[]).unwrap();

    assert_eq!(config.port, 25565);
    assert_eq!(config.api_binding, None);
    assert_eq!(config.backend_dial_timeout, Duration::from_secs(2));
    assert!(config.postgres.is_none() && config.waker.is_none() && config.default.is_none());
    assert_eq!(asleep_of(&config), ASLEEP_TEXT);
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_defaults() {
    let file =
        Some("port = 1\nbackend_dial_timeout = '1s'\nlog_level = 'warn'\nmax_connections = 7");
    let env = [("PORT", "2"), ("BACKEND_DIAL_TIMEOUT", "3s")];
    let config = read(file, &env, &["--port", "4"]).unwrap();

    assert_eq!(config.port, 4);
    assert_eq!(config.backend_dial_timeout, Duration::from_secs(3));
    assert_eq!(config.log.level, tracing::Level::WARN);
    assert_eq!(config.max_connections, 7);
    assert_eq!(config.shutdown_grace, Duration::from_secs(20));
}

#[test]
fn of_a_flag_given_twice_the_last_counts() {
    let config = read(None, &[], &["--port=1", "--port", "2"]).unwrap();
    assert_eq!(config.port, 2);
}

#[test]
fn mappings_add_up_over_the_layers() {
    let file = Some("[mapping]\n\"f.example\" = \"f:1\"");
    let env = [("MAPPING", "E.example = e:1\nd.example=d:1, c.example.=c:1")];
    let flags = ["--mapping", "a.example=a:1", "--mapping=b.example=b:1"];
    let config = read(file, &env, &flags).unwrap();

    let hosts: Vec<_> = config
        .mapping
        .iter()
        .map(|(host, _)| host.as_str())
        .collect();
    assert_eq!(
        hosts,
        [
            "f.example",
            "e.example",
            "d.example",
            "c.example",
            "a.example",
            "b.example"
        ]
    );
    assert_eq!(config.mapping[1].1.as_str(), "e:1");
}

#[test]
fn a_wrong_item_of_a_list_names_the_layer_it_came_from() {
    let (good, bad) = ("a.example=a:1", "bad");
    let file = |text: &str| format!("mapping = ['{text}']");
    let from_flag = refusal(Some(&file(good)), &[("MAPPING", good)], &["--mapping", bad]);
    assert!(from_flag.starts_with("--mapping: "), "{from_flag}");
    let from_variable = refusal(Some(&file(good)), &[("MAPPING", bad)], &["--mapping", good]);
    assert!(
        from_variable.starts_with("environment variable MAPPING: "),
        "{from_variable}"
    );
    let from_file = refusal(Some(&file(bad)), &[("MAPPING", good)], &["--mapping", good]);
    assert!(from_file.starts_with('/'), "the file's path: {from_file}");
    assert!(from_file.contains(", key mapping: "), "{from_file}");
}

#[test]
fn an_empty_text_is_no_value_wherever_it_is_written() {
    let file = Some("automc_waker_url = ''\ndefault = ''\nautomc_dsn = ''");
    let config = read(file, &[], &["--api-binding", "", "--mapping="]).unwrap();
    assert!(config.waker.is_none() && config.default.is_none() && config.postgres.is_none());
    assert!(config.api_binding.is_none() && config.mapping.is_empty());
}

#[test]
fn an_overlong_status_text_is_refused() {
    let error = refusal(None, &[("AUTO_SCALE_ASLEEP_MOTD", &"z".repeat(1_001))], &[]);
    assert!(
        error.contains("AUTO_SCALE_ASLEEP_MOTD") && error.contains("1000"),
        "{error}"
    );
}

#[test]
fn an_empty_variable_is_an_unset_one() {
    let config = read(
        None,
        &[("AUTOMC_DSN", ""), ("API_BINDING", ""), ("PORT", "")],
        &[],
    )
    .unwrap();
    assert!(config.postgres.is_none());
    assert_eq!(config.port, 25565);
}

#[test]
fn tokens_that_look_like_other_things_stay_texts() {
    for token in [
        "12345",
        "true",
        "[abc]",
        "\"quoted\"",
        "1e5",
        "{a=b}",
        "0x10",
    ] {
        let env = [
            ("AUTOMC_WAKER_URL", "http://sm:8080"),
            ("AUTOMC_WAKER_TOKEN", token),
        ];
        let waker = read(None, &env, &[]).unwrap().waker.unwrap();
        assert_eq!(waker.token.unwrap().expose(), token);
    }
    let file = Some("automc_waker_url = 'http://sm'\nautomc_waker_token = 12345");
    let waker = read(file, &[], &[]).unwrap().waker.unwrap();
    assert_eq!(waker.token.unwrap().expose(), "12345");
}

#[test]
fn a_wrong_value_names_the_variable_flag_or_key_it_came_from() {
    let error = refusal(
        Some("max_connections = 0"),
        &[
            ("PORT", "x"),
            ("AUTOMC_WAKER_TIMEOUT", "90"),
            ("DEBUG", "maybe"),
        ],
        &["--default", "nowhere", "--api-binding=there"],
    );
    for named in [
        "environment variable PORT",
        "environment variable AUTOMC_WAKER_TIMEOUT",
        "environment variable DEBUG",
        "--default",
        "--api-binding",
        "key max_connections",
    ] {
        assert!(error.contains(named), "{named} in {error}");
    }
    assert_eq!(error.lines().count(), 6, "every problem at once: {error}");
    let from_file = error.lines().find(|line| line.contains("key max"));
    assert!(
        from_file.unwrap().starts_with('/'),
        "the file's path: {error}"
    );
}

#[test]
fn unknown_keys_are_refused_by_name() {
    let error = refusal(Some("prot = 1\nautomc-dsn = 'x'\nnonsense = 2"), &[], &[]);
    assert!(
        error.contains("unknown key \"prot\" (did you mean \"port\"?)"),
        "{error}"
    );
    assert!(error.contains("(did you mean \"automc_dsn\"?)"), "{error}");
    assert!(
        error.contains("unknown key \"nonsense\"\n") || error.ends_with("\"nonsense\""),
        "{error}"
    );
    assert!(refusal(None, &[], &["--nonsense"]).contains("--nonsense"));
    assert!(refusal(None, &[], &["--config=/does/not/exist"]).contains("/does/not/exist"));
}

#[test]
fn no_error_and_no_printout_shows_a_secret() {
    let secret = "hunter2";
    for (file, env) in [
        (None, vec![("AUTOMC_DSN", "postgres://u:hunter2@h:x/d")]),
        (
            None,
            vec![("AUTOMC_DSN", "postgres://u:hunter2@h/d?hunter2")],
        ),
        (None, vec![("AUTOMC_WAKER_URL", "http://u:hunter2@sm")]),
        (
            None,
            vec![
                ("AUTOMC_WAKER_URL", "http://sm"),
                ("AUTOMC_WAKER_TOKEN", "hunter2\n"),
            ],
        ),
        (Some("automc_waker_token = hunter2"), vec![]),
        (Some("automc_waker_token = ['hunter2']"), vec![]),
        (Some("automc_waker_token = { a = 'hunter2' }"), vec![]),
        (Some("automc_waker_token = 'hunter2"), vec![]),
    ] {
        let error = refusal(file, &env, &[]);
        assert!(!error.contains(secret), "{error}");
        assert!(
            error.contains("automc_") || error.contains("AUTOMC_") || error.contains("line 1"),
            "{error}"
        );
    }
    let env = [
        ("AUTOMC_DSN", "postgres://u:hunter2@h/d"),
        ("AUTOMC_WAKER_URL", "http://sm"),
        ("AUTOMC_WAKER_TOKEN", "hunter2"),
    ];
    assert!(!format!("{:?}", read(None, &env, &[]).unwrap()).contains(secret));
}

fn asleep_of(config: &Config) -> String {
    let texts = &config.defaults.texts;
    texts
        .render(Text::Asleep, None, &Fields::default())
        .to_plain()
}

/// The friendly text of a sleeping server.
const ASLEEP_TEXT: &str = "This server is asleep.\nJoin to wake it up.";

#[test]
fn motds_come_from_either_spelling() {
    let asleep = |env: &[(&str, &str)], flags: &[&str]| asleep_of(&read(None, env, flags).unwrap());

    assert_eq!(asleep(&[], &["--use-asleep-motd"]), ASLEEP_TEXT);
    assert_eq!(
        asleep(&[], &["--use-asleep-motd", "--port", "1"]),
        ASLEEP_TEXT
    );
    assert_eq!(asleep(&[], &["--use-asleep-motd", "Zzz"]), "Zzz");
    assert_eq!(asleep(&[], &["--use-asleep-motd=Zzz"]), "Zzz");
    assert_eq!(asleep(&[("USE_ASLEEP_MOTD", "true")], &[]), ASLEEP_TEXT);
    assert_eq!(asleep(&[("USE_ASLEEP_MOTD", "Zzz")], &[]), "Zzz");
    assert_eq!(
        asleep(&[("AUTO_SCALE_ASLEEP_MOTD", "A")], &["--use-asleep-motd"]),
        "A"
    );
    assert_eq!(asleep(&[], &["--auto-scale-asleep-motd", "A\\nB"]), "A\nB");
    let config = read(None, &[], &["--use-loading-motd=Soon"]).unwrap();
    let loading = config
        .defaults
        .texts
        .render(Text::Starting, None, &Fields::default());
    assert_eq!(loading.to_plain(), "Soon");
}

#[test]
fn debug_means_at_least_debug() {
    let level = |flags: &[&str]| read(None, &[], flags).unwrap().log.level;
    assert_eq!(level(&[]), tracing::Level::INFO);
    assert_eq!(level(&["--debug"]), tracing::Level::DEBUG);
    assert_eq!(
        level(&["--debug", "--log-level=trace"]),
        tracing::Level::TRACE
    );
    assert_eq!(
        level(&["--trace", "--debug", "--log-level=error"]),
        tracing::Level::TRACE
    );
    assert_eq!(level(&["--log-level=panic"]), tracing::Level::ERROR);
    assert_eq!(
        level(&["--debug=false", "--log-level=warning"]),
        tracing::Level::WARN
    );
}

#[test]
fn every_key_has_a_variable_and_no_two_share_one() {
    let mut variables: Vec<_> = SPEC.keys().map(|key| SPEC.variable(key)).collect();
    assert!(variables.iter().any(|name| name == "AUTOMC_DSN"));
    let count = variables.len();
    variables.sort();
    variables.dedup();
    assert_eq!(variables.len(), count);
}

#[test]
fn without_defaults_of_routes_the_policy_is_the_built_in_one() {
    let config = read(None, &[], &[]).unwrap();
    assert_eq!(*config.defaults, Policy::default());
    assert_eq!(config.wake_per_address, Rate::parse("30/10m").ok());
    assert_eq!(config.wake_per_name, Rate::parse("10/10m").ok());
    assert_eq!(config.status_ttl, Duration::from_secs(5));
    assert!(config.cookie_secret.is_none() && config.state_file.is_none());
}

#[test]
fn defaults_of_routes_come_from_a_table_in_the_file() {
    let file = r#"
        automc_settle = "3s"
        automc_state_file = "/var/lib/automc/state.json"
        [defaults]
        join = ["forward", "kick"]
        hold_max = "2m"
        forward_to = "lobby:25565"
        compression_hold = true
        keep_transfer_intent = true
        wake_allow = ["Notch", "069a79f4-44e9-4726-a5be-fca90e38aaf5"]
        wake_deny = "jeb_"
        wake_hours = ["mon-fri 08:00-22:00", "sat-sun 10:00-02:00 Europe/Berlin"]
        min_online = "5m"
        [defaults.texts]
        asleep = "Zzz"
        starting = { text = "Soon", bold = true }
    "#;
    let config = read(Some(file), &[], &[]).unwrap();

    let policy = &config.defaults;
    assert_eq!(policy.join, [Join::Forward, Join::Kick]);
    assert_eq!(policy.hold_max, Duration::from_secs(120));
    assert_eq!(
        policy.settle,
        Duration::from_secs(3),
        "the long name does, too"
    );
    assert_eq!(policy.forward_to.as_ref().unwrap().as_str(), "lobby:25565");
    assert!(policy.compression_hold && policy.keep_transfer_intent);
    assert_eq!((policy.wake.allow.len(), policy.wake.deny.len()), (2, 1));
    assert!(policy.wake.hours.is_some());
    assert_eq!(policy.min_online, Duration::from_secs(300));
    let component = |text| {
        policy
            .texts
            .render(text, None, &Fields::default())
            .to_component()
    };
    assert_eq!(component(Text::Asleep)["text"], "Zzz");
    assert_eq!(component(Text::Starting)["bold"], true);
    assert_eq!(
        config.state_file.unwrap().to_str(),
        Some("/var/lib/automc/state.json")
    );
}

#[test]
fn the_environment_and_flags_replace_the_tables_defaults() {
    let file = Some(
        "[defaults]\njoin = ['hold', 'kick']\nhold_tick = '5s'\nhold_max = '1s'\nsettle = '1s'",
    );
    let env = [
        ("AUTOMC_JOIN", "transfer,hold"),
        ("AUTOMC_HOLD_MAX", "2s"),
        ("AUTOMC_TEXTS", r#"{"asleep":"Zzz"}"#),
        ("AUTOMC_STATUS_TTL", "0s"),
        ("AUTOMC_WAKE_PER_ADDRESS", "off"),
    ];
    let flags = ["--automc-hold-max=3s", "--automc-compression-hold=true"];
    let config = read(file, &env, &flags).unwrap();

    let policy = &config.defaults;
    assert_eq!(policy.join, [Join::Transfer, Join::Hold]);
    assert_eq!(policy.hold_max, Duration::from_secs(3));
    assert_eq!(policy.settle, Duration::from_secs(1));
    assert_eq!(policy.tick, Duration::from_secs(5));
    assert!(policy.compression_hold);
    let asleep = policy.texts.render(Text::Asleep, None, &Fields::default());
    assert_eq!(asleep.to_plain(), "Zzz");
    assert!(config.status_ttl.is_zero() && config.wake_per_address.is_none());
}

#[test]
fn a_wrong_default_of_routes_names_where_it_stands() {
    let file = "[defaults]\nhold_max = '90'\nwake_hours = 'mon 08:00-22:00 Mars/Olympus'";
    let error = refusal(
        Some(file),
        &[("AUTOMC_JOIN", "wait"), ("AUTOMC_WAKE_PER_NAME", "10")],
        &["--automc-texts=[]"],
    );
    for named in [
        "[defaults], key hold_max: \"90\"",
        "[defaults], key wake_hours: there is no time zone \"Mars/Olympus\"",
        "environment variable AUTOMC_JOIN: \"wait\"",
        "environment variable AUTOMC_WAKE_PER_NAME: \"10\"",
        "--automc-texts: it is not a JSON object",
    ] {
        assert!(error.contains(named), "{named} in {error}");
    }
    assert_eq!(error.lines().count(), 5, "{error}");

    let unknown = refusal(Some("[defaults]\nhold = '90s'\ndsn = 'x'"), &[], &[]);
    assert!(
        unknown.contains("[defaults]: unknown key \"hold\""),
        "{unknown}"
    );
    assert!(
        unknown.contains("[defaults]: unknown key \"dsn\""),
        "{unknown}"
    );
    let twice = refusal(
        Some("automc_settle = '1s'\n[defaults]\nsettle = '2s'"),
        &[],
        &[],
    );
    assert!(
        twice.contains("settle is also there as automc_settle"),
        "{twice}"
    );
    let no_table = refusal(Some("defaults = 'hold'"), &[], &[]);
    assert!(no_table.contains("unknown key \"defaults\""), "{no_table}");
    let nested = refusal(Some("[defaults]\njoin = [['hold']]"), &[], &[]);
    assert!(nested.contains("[defaults], key join"), "{nested}");
}

#[test]
fn a_short_secret_of_cookies_is_refused_unprinted() {
    let error = refusal(None, &[("AUTOMC_COOKIE_SECRET", "hunter2")], &[]);
    assert!(
        error.contains("AUTOMC_COOKIE_SECRET: shorter than 16 bytes"),
        "{error}"
    );
    assert!(!error.contains("hunter2"));
    let long = "hunter2hunter2hunter2";
    let config = read(None, &[("AUTOMC_COOKIE_SECRET", long)], &[]).unwrap();
    assert_eq!(config.cookie_secret.as_ref().unwrap().expose(), long);
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn proxies_are_believed_only_where_headers_are_expected_and_all_of_them_unless_some_are_named() {
    assert_eq!(read(None, &[], &[]).unwrap().proxies, None);
    let trusted = ("TRUSTED_PROXIES", "10.0.0.0/8, ::1");
    assert_eq!(read(None, &[trusted], &[]).unwrap().proxies, None);
    let flag = ["--receive-proxy-protocol"];
    assert_eq!(read(None, &[], &flag).unwrap().proxies, Some(Proxies::All));
    let Some(Proxies::Trusted(networks)) = read(None, &[trusted], &flag).unwrap().proxies else {
        panic!("nobody is trusted")
    };
    for (address, inside) in [("10.1.2.3", true), ("::1", true), ("11.0.0.1", false)] {
        assert_eq!(networks.contains(address.parse().unwrap()), inside);
    }
    let text = refusal(
        None,
        &[("TRUSTED_PROXIES", "10.0.0.0/8,proxy.example")],
        &[],
    );
    assert!(text.contains("TRUSTED_PROXIES"), "{text}");
    assert!(text.contains("\"proxy.example\" is neither"), "{text}");
}

#[test]
fn of_the_two_settings_for_headers_to_backends_the_one_that_says_more_wins() {
    let spoken = |env: &[(&str, &str)]| read(None, env, &[]).unwrap().defaults.proxy_protocol;
    let (old, own) = ("USE_PROXY_PROTOCOL", "AUTOMC_PROXY_PROTOCOL");
    assert_eq!(spoken(&[]), None);
    assert_eq!(spoken(&[(old, "true")]), Some(Version::V2));
    assert_eq!(spoken(&[(old, "false"), (own, "v1")]), Some(Version::V1));
    assert_eq!(spoken(&[(old, "true"), (own, "v1")]), Some(Version::V1));
    assert_eq!(spoken(&[(old, "true"), (own, "none")]), None);
    let file = Some("[defaults]\nproxy_protocol = 'v2'");
    let config = read(file, &[], &[]).unwrap();
    assert_eq!(config.defaults.proxy_protocol, Some(Version::V2));
}
