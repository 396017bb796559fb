//! The table of what mc-router's users rely on, over this workspace's router.

use harness::binaries;
use harness::conformance::{self, Kind};

#[tokio::test]
async fn the_router_passes_every_row_of_the_conformance_table() {
    let report = conformance::run(&binaries::router().await.unwrap(), |_| {}).await;
    let report = report.unwrap();

    let lines = report.lines().join("\n");
    assert_eq!(report.failed(), 0, "{lines}");
    let better = report.rows.iter().filter(|row| row.kind == Kind::Better);
    assert!(report.rows.len() >= 80 && better.count() >= 30, "{lines}");
}

#[tokio::test]
async fn a_program_that_is_no_router_fails_rows_and_is_not_waited_for() {
    let report = conformance::run("/bin/false".as_ref(), |_| {})
        .await
        .unwrap();

    let passed: Vec<_> = report
        .rows
        .iter()
        .filter(|row| row.outcome.is_ok())
        .collect();
    assert!(passed.is_empty(), "{passed:?}");
    let lines = report.lines().join("\n");
    assert!(
        lines.contains("FAIL          -version says one") && lines.ends_with("failed"),
        "{lines}"
    );
}
