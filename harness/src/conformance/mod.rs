//! `harness conformance`: what mc-router's users rely on, as a table of rows that pass or fail, over any
//! binary that takes its flags. Nothing is known of the binary but those, its sockets, its exit codes and
//! that it writes what is wrong to standard error.

mod asleep;
mod file;
mod filters;
mod notices;
mod process;
mod proxied;
mod rest;
mod routing;
mod scaling;
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

impl Row {
    /// The row as a line.
    #[must_use]
    pub fn line(&self) -> String {
        let word = if self.outcome.is_ok() { "pass" } else { "FAIL" };
        let kind = match self.kind {
            Kind::Same => "      ",
            Kind::Better => "better",
        };
        let reason = self.outcome.as_ref().err();
        let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        format!("{word}  {kind}  {}{reason}", self.name)
    }
}

/// Everything that was tried, in order.
#[derive(Debug, Clone)]
pub struct Report {
    /// The rows.
    pub rows: Vec<Row>,
    /// What is done with each as it ends.
    seen: fn(&Row),
}

impl Report {
    fn new(seen: fn(&Row)) -> Self {
        let rows = Vec::new();
        Self { rows, seen }
    }

    /// How many rows failed.
    #[must_use]
    pub fn failed(&self) -> usize {
        let failed = self.rows.iter().filter(|row| row.outcome.is_err());
        failed.count()
    }

    /// How it came out, as a line.
    #[must_use]
    pub fn sum(&self) -> String {
        let better = |row: &&Row| row.kind == Kind::Better;
        let (rows, failed) = (self.rows.len(), self.failed());
        let better = self.rows.iter().filter(better).count();
        format!("{rows} rows, {better} of them better, {failed} failed")
    }

    /// A line for each row, and one for all.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let rows = self.rows.iter().map(Row::line);
        rows.chain([self.sum()]).collect()
    }

    fn add(&mut self, row: Row) {
        (self.seen)(&row);
        self.rows.push(row);
    }

    /// What has started; where nothing has, there is one row that says why.
    fn started<T>(&mut self, name: &'static str, started: Result<T>) -> Option<T> {
        let failed = |error| Row {
            kind: Kind::Same,
            name,
            outcome: Err(format!("{error:#}")),
        };
        started.map_err(|error| self.add(failed(error))).ok()
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
        self.add(Row {
            kind,
            name,
            outcome: outcome.map_err(|error| format!("{error:#}")),
        });
    }
}

/// Tries everything on the router at `program`; `seen` gets every row as it ends.
///
/// # Errors
/// This machine has no room for the servers behind it. What the router does wrong is in the report.
pub async fn run(program: &Path, seen: fn(&Row)) -> Result<Report> {
    let mut report = Report::new(seen);
    Box::pin(routing::rows(program, &mut report)).await?;
    Box::pin(wire::rows(program, &mut report)).await?;
    Box::pin(unrouted::rows(program, &mut report)).await?;
    Box::pin(asleep::rows(program, &mut report)).await?;
    Box::pin(scaling::rows(program, &mut report)).await?;
    Box::pin(filters::rows(program, &mut report)).await?;
    Box::pin(proxied::rows(program, &mut report)).await?;
    Box::pin(notices::rows(program, &mut report)).await?;
    Box::pin(rest::rows(program, &mut report)).await?;
    Box::pin(file::rows(program, &mut report)).await?;
    Box::pin(process::rows(program, &mut report)).await?;
    Ok(report)
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_row_that_fails_or_hangs_is_told_and_counted() {
        let mut report = Report::new(|_| {});
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
                "4 rows, 1 of them better, 3 failed",
            ]
        );
    }
}
