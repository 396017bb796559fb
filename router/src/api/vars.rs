//! `GET /vars`: counts as one JSON object, as Go's expvar shows them. Nothing in it is secret: of the
//! command line only the names of flags are told.

use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};

use super::Api;
use crate::config::SPEC;
use crate::metrics::{Reading, host_label, player_labels};

pub(super) async fn show(State(api): State<Api>) -> Json<Value> {
    let reading = api.reading(&api.counters.totals());
    let mut vars = vars(&reading);
    let arguments = std::env::args_os().map(|text| text.to_string_lossy().into_owned());
    vars.insert("cmdline".to_owned(), cmdline(arguments).into());
    vars.insert("memstats".to_owned(), json!({ "Sys": resident_bytes() }));
    Json(vars.into())
}

/// The program and the names of flags: values may be secrets.
fn cmdline(mut arguments: impl Iterator<Item = String>) -> Vec<String> {
    let program = arguments.next();
    let flag = |text: String| {
        let name = text.strip_prefix('-')?.trim_start_matches('-');
        let name = name.split('=').next()?.replace('-', "_");
        let mut known = SPEC.keys().map(|key| key.name).chain(["config"]);
        let known = known.find(|key| *key == name)?;
        Some(format!("--{}", known.replace('_', "-")))
    };
    program
        .into_iter()
        .chain(arguments.filter_map(flag))
        .collect()
}

/// Memory of this process that is in use, by proc(5); 0 where that is not known.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1024
}

fn vars(reading: &Reading) -> Map<String, Value> {
    let failures = reading.failures.iter();
    let errors: Map<_, _> = failures
        .map(|(failure, count)| (failure.name().to_owned(), json!(count)))
        .collect();
    let by_host = |of: fn(&_) -> u64| -> Map<String, Value> {
        let hosts = reading.hosts.iter();
        hosts
            .map(|one| (host_label(one).to_owned(), json!(of(one))))
            .collect()
    };
    let backend = by_host(|one: &crate::metrics::series::Counted<_>| one.begun);
    let active = by_host(|one| one.open);
    let players = reading.players.iter().map(|counted| {
        let labels = player_labels(counted).map(|(name, value)| (name.to_owned(), value.into()));
        let mut player = Map::from_iter(labels);
        player.insert("logins".to_owned(), json!(counted.begun));
        player.insert("active".to_owned(), json!(counted.open));
        Value::from(player)
    });
    let left = reading
        .rate_left
        .map(|left| ("rate_limit_available".to_owned(), left.into()));
    let always = [
        ("errors".to_owned(), errors.into()),
        ("bytes".to_owned(), reading.bytes.into()),
        ("frontend_connections".to_owned(), reading.accepted.into()),
        ("backend_connections".to_owned(), backend.into()),
        (
            "active_connections".to_owned(),
            reading.sessions_open.into(),
        ),
        ("server_active_connections".to_owned(), active.into()),
        ("players".to_owned(), players.collect()),
    ];
    always.into_iter().chain(left).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_command_line_only_names_of_flags_are_told() {
        let line = [
            "automc-router",
            "--port=1",
            "-mapping",
            "a.example=hunter2:1",
            "--default",
            "--hunter2",
            "-metrics-backend-config-influxdb-password=hunter2",
            "check-hunter2",
            "--config",
            "/hunter2",
        ];
        assert_eq!(
            cmdline(line.map(str::to_owned).into_iter()),
            [
                "automc-router",
                "--port",
                "--mapping",
                "--default",
                "--metrics-backend-config-influxdb-password",
                "--config",
            ]
        );
    }
}
