//! `harness conformance`: what mc-router's users rely on, as a table of rows that pass or fail, over any
//! binary that takes its flags. Nothing is known of the binary but those, its sockets, its exit codes and
//! that it writes what is wrong to standard error.

mod process;
mod rest;
mod routing;
mod subject;
mod unrouted;
mod wire;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::timeout;

/// Longest time one row may take: twice what the slowest of them, a silent client, is given by mc-router.
const ROW_DEADLINE: Duration = Duration::from_secs(30);

/// What a row is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What mc-router does.
    Same,
    /// What automc-router does on purpose where mc-router does not.
    Better,
}

/// One thing that was tried.
#[derive(Debug, Clone)]
pub struct Row {
    /// What it is held against.
    pub kind: Kind,
    /// What should be so.
    pub name: &'static str,
    /// Why it is not so, if it is not.
    pub outcome: Result<(), String>,
}

/// Everything that was tried, in order.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The rows.
    pub rows: Vec<Row>,
}

impl Report {
    /// How many rows failed.
    #[must_use]
    pub fn failed(&self) -> usize {
        let failed = self.rows.iter().filter(|row| row.outcome.is_err());
        failed.count()
    }

    /// A line for each row, and one for all.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let line = |row: &Row| {
            let word = if row.outcome.is_ok() { "pass" } else { "FAIL" };
            let kind = match row.kind {
                Kind::Same => "      ",
                Kind::Better => "better",
            };
            let reason = row.outcome.as_ref().err();
            let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
            format!("{word}  {kind}  {}{reason}", row.name)
        };
        let mut lines: Vec<_> = self.rows.iter().map(line).collect();
        let (rows, failed) = (self.rows.len(), self.failed());
        lines.push(format!("{rows} rows, {failed} failed"));
        lines
    }

    /// What has started; where nothing has, there is one row that says why.
    fn started<T>(&mut self, name: &'static str, started: Result<T>) -> Option<T> {
        let failed = |error| Row {
            kind: Kind::Same,
            name,
            outcome: Err(format!("{error:#}")),
        };
        started.map_err(|error| self.rows.push(failed(error))).ok()
    }

    async fn same(&mut self, name: &'static str, check: impl Future<Output = Result<()>>) {
        self.row(Kind::Same, name, check).await;
    }

    async fn better(&mut self, name: &'static str, check: impl Future<Output = Result<()>>) {
        self.row(Kind::Better, name, check).await;
    }

    async fn row(
        &mut self,
        kind: Kind,
        name: &'static str,
        check: impl Future<Output = Result<()>>,
    ) {
        let ended = timeout(ROW_DEADLINE, Box::pin(check)).await;
        let outcome = ended.context("it took too long").flatten();
        self.rows.push(Row {
            kind,
            name,
            outcome: outcome.map_err(|error| format!("{error:#}")),
        });
    }
}

/// Tries everything on the router at `program`.
///
/// # Errors
/// This machine has no room for the servers behind it. What the router does wrong is in the report.
pub async fn run(program: &Path) -> Result<Report> {
    let mut report = Report::default();
    Box::pin(routing::rows(program, &mut report)).await?;
    Box::pin(wire::rows(program, &mut report)).await?;
    Box::pin(unrouted::rows(program, &mut report)).await?;
    Box::pin(rest::rows(program, &mut report)).await?;
    Box::pin(process::rows(program, &mut report)).await?;
    Ok(report)
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_row_that_fails_or_hangs_is_told_and_counted() {
        let mut report = Report::default();
        report.same("good", ready(Ok(()))).await;
        report
            .better("bad", ready(Err(anyhow::anyhow!("why"))))
            .await;
        report.same("silent", pending()).await;
        assert_eq!(report.started("up", Ok(1)), Some(1));
        let down: Option<()> = report.started("down", Err(anyhow::anyhow!("no")));
        assert_eq!(down, None);

        assert_eq!(
            report.lines(),
            [
                "pass          good",
                "FAIL  better  bad: why",
                "FAIL          silent: it took too long: deadline has elapsed",
                "FAIL          down: no",
                "4 rows, 3 failed",
            ]
        );
    }
}
