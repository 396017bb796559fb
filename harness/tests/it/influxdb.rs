//! Metrics in a real InfluxDB 1.x: what arrives adds up, whatever is wrong with some of it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::eventually::eventually;
use harness::http;
use harness::player::Player;
use harness::process::Process;
use harness::router::{RouterProcess, Settings};
use harness::tools::{free_port, program};
use hyper::Method;
use serde_json::Value;
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(60);

struct Influx {
    at: SocketAddr,
    _process: Process,
    _folder: TempDir,
}

impl Influx {
    /// A running one with a database `games`, which takes so many bytes in one request; `None` where there is
    /// no InfluxDB.
    async fn start(bytes_max: u32) -> Option<Self> {
        let influxd = program("influxd", "influxdb").unwrap()?;
        let folder = tempfile::tempdir().unwrap();
        let (at, path) = (free_port().unwrap(), folder.path().display());
        let text = format!(
            "reporting-disabled = true\nbind-address = \"{}\"\n[meta]\ndir = \"{path}/meta\"\n\
             [data]\ndir = \"{path}/data\"\nwal-dir = \"{path}/wal\"\n\
             [http]\nbind-address = \"{at}\"\nmax-body-size = {bytes_max}\nlog-enabled = false\n",
            free_port().unwrap()
        );
        let file = folder.path().join("influxdb.conf");
        std::fs::write(&file, text).unwrap();
        let arguments = ["-config".as_ref(), file.as_os_str()];
        let home = [("HOME".to_owned(), path.to_string())];
        let process = Process::start(&influxd, arguments, home).unwrap();
        let influx = Self {
            at,
            _process: process,
            _folder: folder,
        };
        eventually("a database", DEADLINE, async || {
            influx.query(Method::POST, "CREATE DATABASE games").await
        })
        .await
        .unwrap();
        Some(influx)
    }

    async fn query(&self, method: Method, query: &str) -> Result<Value> {
        let query = query
            .replace(' ', "%20")
            .replace('"', "%22")
            .replace('\'', "%27");
        let url = format!("http://{}/query?db=games&q={query}", self.at);
        let answer = http::request(method, &url, &[], String::new()).await?;
        ensure!(answer.status == 200, "{answer:?}");
        answer.json()
    }

    async fn write(&self, line: &str) {
        let url = format!("http://{}/write?db=games", self.at);
        let answer = http::request(Method::POST, &url, &[], line.to_owned()).await;
        assert_eq!(answer.unwrap().status, 204);
    }

    /// The sum of all values of `field`.
    async fn sum(&self, field: &str, of: &str) -> Result<f64> {
        let query = format!("SELECT sum(\"{field}\") FROM {of}");
        let json = self.query(Method::GET, &query).await?;
        let sum = json.pointer("/results/0/series/0/values/0/1");
        sum.and_then(Value::as_f64)
            .with_context(|| json.to_string())
    }

    /// Waits until it is `due`, and then sees that it stays so while more is written.
    async fn adds_up(&self, field: &str, of: &str, due: f64) {
        let is_due = async || {
            let sum = self.sum(field, of).await?;
            ensure!((sum - due).abs() < 0.5, "{sum} of {due} in {of}");
            Ok(())
        };
        eventually("the sum", DEADLINE, is_due).await.unwrap();
        let writes = async || {
            self.query(
                Method::GET,
                "SELECT count(value) FROM mc_router_connections_active",
            )
            .await
        };
        let count = |json: &Value| {
            json.pointer("/results/0/series/0/values/0/1")
                .and_then(Value::as_u64)
        };
        let before = count(&writes().await.unwrap()).unwrap_or_default();
        eventually("three more writes", DEADLINE, async || {
            ensure!(
                count(&writes().await?).unwrap_or_default() >= before + 3,
                "too few"
            );
            Ok(())
        })
        .await
        .unwrap();
        is_due().await.unwrap();
    }

    fn settings(&self, tags: &str) -> Settings {
        let prefix = "METRICS_BACKEND_CONFIG_INFLUXDB_";
        Settings::new()
            .env("METRICS_BACKEND", "influxdb")
            .env(&format!("{prefix}ADDR"), format!("http://{}", self.at))
            .env(&format!("{prefix}INTERVAL"), "100ms")
            .env(&format!("{prefix}DATABASE"), "games")
            .env(&format!("{prefix}TAGS"), tags)
    }
}

async fn refused(router: &RouterProcess, count: usize) {
    for _ in 0..count {
        Player::new("none.example")
            .refusal(router.at.players)
            .await
            .unwrap();
    }
}

/// With `host` twice on a line InfluxDB keeps the others, answers 400, and has to be understood.
#[tokio::test]
async fn a_tag_that_is_also_a_measurements_own_costs_no_line_and_counts_nothing_twice() {
    let Some(influx) = Influx::start(25_000_000).await else {
        return;
    };
    let backend = harness::backend::Backend::start("lobby").await.unwrap();
    let settings = influx
        .settings("host=node1,zone=eu,zone=eu west")
        .flag(format!("--mapping=a.example={}", backend.addr()));
    let router = RouterProcess::start(settings).await.unwrap();
    router
        .says(&["WARN", "the tag host of", "measurements' own"])
        .await
        .unwrap();
    refused(&router, 3).await;
    for _ in 0..2 {
        Player::new("a.example")
            .enter(router.at.players)
            .await
            .unwrap();
    }

    influx
        .adds_up(
            "count",
            "mc_router_errors WHERE host='node1' AND zone='eu west'",
            3.0,
        )
        .await;
    influx
        .adds_up("count", "mc_router_connections WHERE host='a.example'", 2.0)
        .await;
    influx
        .adds_up(
            "count",
            "mc_router_connections WHERE host='node1' AND side='frontend'",
            5.0,
        )
        .await;
    let log = router.process.tail(usize::MAX);
    assert!(
        !log.contains("InfluxDB keeps a part") && !log.contains("cannot be written"),
        "{log}"
    );
}

/// Somebody else has made a field whole numbers, which no line of ours fits from then on.
#[tokio::test]
async fn what_is_refused_for_its_type_is_told_once_and_everything_else_adds_up() {
    let Some(influx) = Influx::start(25_000_000).await else {
        return;
    };
    influx
        .write("mc_router_transmitted_bytes,zone=eu count=1i")
        .await;
    influx
        .write("mc_router_rate_limit_available value=1i")
        .await;
    let settings = influx
        .settings("zone=eu")
        .flag("--connection-rate-limit=50");
    let router = RouterProcess::start(settings).await.unwrap();
    refused(&router, 3).await;

    influx.adds_up("count", "mc_router_errors", 3.0).await;
    influx.adds_up("count", "mc_router_connections", 3.0).await;
    let log = router.process.tail(usize::MAX);
    let told: Vec<_> = log
        .lines()
        .filter(|line| line.contains("InfluxDB"))
        .collect();
    assert_eq!(told.len(), 1, "{log}");
    assert!(
        told[0].contains("keeps a part") && told[0].contains("field type conflict"),
        "{log}"
    );
}

#[tokio::test]
async fn what_is_too_large_for_one_request_is_written_in_pieces() {
    // Two lines or three.
    let Some(influx) = Influx::start(200).await else {
        return;
    };
    let router = RouterProcess::start(influx.settings("zone=eu"))
        .await
        .unwrap();
    refused(&router, 3).await;
    Player::new("none.example")
        .status(router.at.players)
        .await
        .unwrap();

    influx.adds_up("count", "mc_router_errors", 3.0).await;
    influx.adds_up("count", "mc_router_connections", 4.0).await;
    let log = router.process.tail(usize::MAX);
    assert!(!log.contains("too large"), "{log}");
}
