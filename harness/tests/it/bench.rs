//! The benchmark of wakes in miniature: that it measures what it says, not how fast anything is.

use harness::bench::wake::{self, Options};
use harness::binaries;

#[tokio::test]
async fn wakes_are_measured_by_sign_as_a_crowd_and_as_many() {
    let out = tempfile::tempdir().unwrap();
    let options = Options {
        router: binaries::router().await.unwrap(),
        out: out.path().to_owned(),
        rounds: 1,
        wakes: 2,
        players: 30,
        servers: 5,
        held: 40,
    };

    wake::run(&options).await.unwrap();

    let json = std::fs::read_to_string(out.path().join("wake.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    for sign in ["table", "probe", "poll"] {
        let figures = &json["ready_to_login_start"][sign];
        assert_eq!(figures["count"], 2, "{sign}: {figures}");
        assert!(
            figures["p50_ms"].as_f64().unwrap() > 0.0,
            "{sign}: {figures}"
        );
    }
    assert_eq!(
        (&json["crowd"]["players"], &json["crowd"]["starts"]),
        (&30.into(), &1.into())
    );
    assert!(
        json["many_servers"]["while_booting"]["router_cpu_s"]
            .as_f64()
            .unwrap()
            > 0.0
    );
    assert!(json["held"]["bytes_each"].as_f64().unwrap() > 0.0);
    assert!(out.path().join("wake.svg").exists());
}
