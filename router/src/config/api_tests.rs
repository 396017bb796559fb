//! The settings of the API and of metrics.

use std::time::Duration;

use super::secret::Secret;
use super::tests::{read, refusal};

#[test]
fn a_token_that_is_short_or_cannot_be_sent_is_refused_unprinted() {
    for (token, reason) in [
        ("hunter2", "shorter than 16 bytes"),
        ("hunter2 hunter2 hunter2", "only letters, digits"),
    ] {
        let error = refusal(None, &[("API_TOKEN", token)], &[]);
        assert!(error.contains(reason), "{error}");
        assert!(!error.contains("hunter2"));
    }
    let token = "hunter2-hunter2/+==";
    let config = read(None, &[("API_TOKEN", token)], &[]).unwrap();
    assert_eq!(config.api_token.as_ref().unwrap().expose(), token);
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn metrics_are_written_where_the_settings_say_and_an_unknown_backend_is_refused() {
    let influx = |name: &str| format!("--metrics-backend-config-influxdb-{name}");
    let flags = [
        "--metrics-backend=influxdb".to_owned(),
        influx("addr=http://influx:8086/base/"),
        influx("database=a&b"),
        influx("username=me"),
        influx("password=hunter2"),
        influx("tags=zone=eu, rack = 7"),
    ];
    let config = read(None, &[], &flags.each_ref().map(String::as_str)).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    let written = config.influx.unwrap();
    assert_eq!(written.write, "http://influx:8086/base/write?db=a%26b");
    assert_eq!(written.interval, Duration::from_secs(60));
    assert_eq!(
        written.login,
        Some(("me".to_owned(), Secret::new("hunter2")))
    );
    let tag = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(written.tags, [tag("zone", "eu"), tag("rack", "7")]);

    for backend in ["discard", "expvar", "prometheus"] {
        let config = read(None, &[("METRICS_BACKEND", backend)], &[]).unwrap();
        assert!(config.influx.is_none());
    }
    let unknown = refusal(None, &[("METRICS_BACKEND", "influx")], &[]);
    assert!(
        unknown.contains("METRICS_BACKEND: \"influx\" is not"),
        "{unknown}"
    );
    let alone = refusal(None, &[], &["--metrics-backend=influxdb"]);
    for needed in ["influxdb_addr", "influxdb_database"] {
        assert!(alone.contains(needed), "{alone}");
    }
    let secret = influx("addr=http://me:hunter2@influx");
    let error = refusal(None, &[], &[&secret]);
    assert!(
        error.contains("settings of their own") && !error.contains("hunter2"),
        "{error}"
    );
}
