//! mc-router's command line and environment, taken over as they are.

use std::time::Duration;

use automc_router::config::compat::IGNORED;
use automc_router::config::{Config, SPEC, go_flags};
use harness::backend::Backend;
use harness::binaries;
use harness::player::Player;
use harness::process::Process;
use harness::router::RouterProcess;

use crate::binary::ran;

const DEADLINE: Duration = Duration::from_secs(20);

/// Every flag that mc-router has, with a value that it takes.
const UPSTREAM: &[(&str, &str)] = &[
    ("api-binding", "localhost:0"),
    ("auto-scale-allow-deny", "/lists.json"),
    ("auto-scale-asleep-motd", "asleep"),
    ("auto-scale-down", "true"),
    ("auto-scale-down-after", "10m"),
    ("auto-scale-loading-motd", "loading"),
    ("auto-scale-up", "true"),
    ("auto-scale-webhook-headers", "Authorization=Bearer x"),
    ("auto-scale-webhook-timeout", "30s"),
    ("auto-scale-webhook-url", "http://scaler:8080/"),
    ("auto-scale-webhook-wake-timeout", "1m0s"),
    ("backend-dial-timeout", "1.5s"),
    ("clients-to-allow", "10.0.0.0/8"),
    ("clients-to-deny", "192.0.2.1"),
    ("connection-rate-limit", "1"),
    ("cpu-profile", "/cpu"),
    ("debug", "true"),
    ("default", "lobby:25565"),
    ("docker-api-version", "1.40"),
    ("docker-refresh-interval", "15s"),
    ("docker-socket", "unix:///var/run/docker.sock"),
    ("docker-timeout", "10"),
    ("in-docker", "true"),
    ("in-docker-swarm", "true"),
    ("in-kube-cluster", "true"),
    ("kube-config", "/kube.yaml"),
    ("kube-namespace", "games"),
    ("log-level", "info"),
    ("mapping", "a.example=a:25565,b.example=b:25565"),
    ("metrics-backend", "prometheus"),
    ("metrics-backend-config-influxdb-addr", "http://influx:8086"),
    ("metrics-backend-config-influxdb-database", "games"),
    ("metrics-backend-config-influxdb-interval", "1m0s"),
    ("metrics-backend-config-influxdb-password", "secret"),
    ("metrics-backend-config-influxdb-retention-policy", "week"),
    ("metrics-backend-config-influxdb-tags", "a=b"),
    ("metrics-backend-config-influxdb-username", "games"),
    ("metrics-rate-limit-period", "1s"),
    ("ngrok-remote-addr", "1.tcp.ngrok.io:12345"),
    ("ngrok-token", "secret"),
    ("port", "25565"),
    ("receive-proxy-protocol", "true"),
    ("record-logins", "true"),
    ("routes-config", "/routes.json"),
    ("routes-config-watch", "true"),
    ("simplify-srv", "true"),
    ("trace", "true"),
    ("trusted-proxies", "10.0.0.0/8"),
    ("use-proxy-protocol", "true"),
    ("version", "true"),
    ("webhook-events", "connect,disconnect"),
    ("webhook-require-user", "true"),
    ("webhook-timeout", "30s"),
    ("webhook-url", "http://hook:8080/"),
];

/// Flags of truth values, which take no second argument.
const TRUTHS: &[&str] = &[
    "auto-scale-down",
    "auto-scale-up",
    "debug",
    "in-docker",
    "in-docker-swarm",
    "in-kube-cluster",
    "receive-proxy-protocol",
    "record-logins",
    "routes-config-watch",
    "simplify-srv",
    "trace",
    "use-proxy-protocol",
    "version",
    "webhook-require-user",
];

/// What comes of this command line, as the binary reads it.
fn read(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Config, String> {
    let program = std::iter::once("automc-router").chain(arguments.iter().copied());
    let arguments = go_flags::for_clap(program.map(Into::into), |flag| SPEC.takes_value(flag));
    let command = SPEC.flags(clap::Command::new("automc-router"));
    let matches = command
        .try_get_matches_from(arguments)
        .map_err(|error| error.to_string())?;
    let text = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
    let settings = SPEC.load(&matches, environment.iter().map(text));
    settings
        .and_then(Config::read)
        .map_err(|error| error.to_string())
}

#[test]
fn every_flag_and_variable_of_mc_router_is_accepted_in_every_way_go_reads_it() {
    for (name, value) in UPSTREAM.iter().filter(|(name, _)| *name != "version") {
        let (single, double) = (format!("-{name}"), format!("--{name}"));
        let joined = [format!("{single}={value}"), format!("{double}={value}")];
        let (single, double): (&str, &str) = (&single, &double);
        let mut lines: Vec<Vec<&str>> = joined.iter().map(|flag| vec![flag.as_str()]).collect();
        if TRUTHS.contains(name) {
            lines.extend([vec![single], vec![double]]);
        } else {
            lines.extend([vec![single, value], vec![double, value]]);
        }
        // What is warned of: what has no function, and what has none alone.
        let ignored = IGNORED.iter().any(|ignored| ignored.name == *name);
        let noticed = usize::from(ignored || *name == "trusted-proxies");
        let notices = |config: Config| config.notices.len();
        for mut line in lines {
            // What comes behind it is still read as a flag.
            line.push("-port=7");
            let config = read(&line, &[]).unwrap_or_else(|error| panic!("{line:?}: {error}"));
            assert_eq!(config.port, 7, "{line:?}");
            assert_eq!(notices(config), noticed, "{line:?}");
        }
        let variable = name.replace('-', "_").to_ascii_uppercase();
        let config = read(&[], &[(&variable, value)]);
        let config = config.unwrap_or_else(|error| panic!("{variable}: {error}"));
        assert_eq!(notices(config), noticed, "{variable}");
    }
}

#[test]
fn the_readme_says_of_every_flag_of_mc_router_what_becomes_of_it() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let section = readme.split("\n## Coming from mc-router\n").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows: Vec<Vec<&str>> = section
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    for (name, _) in UPSTREAM {
        let of_it: Vec<_> = rows
            .iter()
            .filter(|row| row[1].contains(&format!("`-{name}`")))
            .collect();
        let [row] = of_it.as_slice() else {
            panic!("-{name} has {} rows in the README", of_it.len());
        };
        let ignored = IGNORED.iter().any(|ignored| ignored.name == *name);
        assert_eq!(row[2] == "no effect", ignored, "-{name}: {row:?}");
        assert!(
            ["same", "differs", "no effect"].contains(&row[2]),
            "{row:?}"
        );
        assert!(row[2] == "same" || !row[3].is_empty(), "{row:?}");
    }
    for ignored in IGNORED {
        let upstream = UPSTREAM.iter().any(|(name, _)| *name == ignored.name);
        assert!(upstream, "{} is no flag of mc-router", ignored.name);
    }
}

#[tokio::test]
async fn a_command_line_of_mc_router_runs_and_says_what_has_no_effect() {
    let backend = Backend::start("lobby").await.unwrap();
    let other = Backend::start("other").await.unwrap();
    let mapping = format!("a.example={}", backend.addr());
    let arguments = [
        "-port",
        "0",
        "-api-binding=127.0.0.1:0",
        "-mapping",
        &mapping,
        "-backend-dial-timeout",
        "1.5s",
        "-debug=false",
        "-cpu-profile",
        "/tmp/profile",
        "-in-kube-cluster",
    ];
    let environment = [
        (
            "MAPPING".to_owned(),
            format!("b.example={}\n c.example={}", other.addr(), other.addr()),
        ),
        ("NGROK_TOKEN".to_owned(), "hunter2hunter2".to_owned()),
    ];
    let program = binaries::router().await.unwrap();
    let process = Process::start(&program, arguments, environment).unwrap();
    let router = RouterProcess::listening(process).await.unwrap();

    for (host, name) in [
        ("a.example", "lobby"),
        ("b.example", "other"),
        ("c.example", "other"),
    ] {
        let status = Player::new(host).status(router.at.players).await.unwrap();
        assert_eq!(status.text(), name, "{host}");
    }
    for named in [
        "--cpu-profile",
        "--in-kube-cluster",
        "environment variable NGROK_TOKEN",
    ] {
        let parts = ["WARN", named, "has no effect: "];
        router.process.line_with(&parts, DEADLINE).await.unwrap();
    }
    let log = router.process.log().join("\n");
    assert!(
        !log.contains("hunter2") && !log.contains("/tmp/profile"),
        "{log}"
    );
}

#[tokio::test]
async fn an_unknown_flag_is_refused_by_name_with_the_nearest_one() {
    for arguments in [
        &["-maping", "a=b:1"][..],
        &["--maping=a=b:1"],
        &["-maping=a=b:1"],
    ] {
        let output = ran(arguments, &[]).await;
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{error}");
        assert!(
            error.contains("'--maping'") && error.contains("'--mapping'"),
            "{error}"
        );
    }
    let output = ran(&["-backend-dial-timeout", "2"], &[]).await;
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{error}");
    assert!(
        error.contains("--backend-dial-timeout") && error.contains("1m30s, 1.5h"),
        "{error}"
    );
}

#[tokio::test]
async fn version_and_help_are_answered_with_one_dash_too() {
    for (flag, word) in [
        ("-version", "automc-router "),
        ("-V", "automc-router "),
        ("-help", "Usage"),
        ("-h", "Usage"),
    ] {
        let output = ran(&[flag], &[]).await;
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && text.contains(word),
            "{flag}: {text}"
        );
    }
}
