//! How long from the commit of a row to its route.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hyper::Method;

use super::say;
use crate::http::Connection;
use crate::postgres::Postgres;
use crate::router::{RouterProcess, Settings};

/// Changes that are timed.
const CHANGES: usize = 1_000;
/// Longest wait for one route.
const DEADLINE: Duration = Duration::from_secs(20);
/// How many changes between two lines of progress.
const PROGRESS: usize = 250;

/// Inserts, updates and deletes one row over and over; each time from the answer to the
/// committed statement to the answer of `GET /routes` that shows it.
pub(super) async fn measure(program: &Path) -> Result<Vec<Duration>> {
    let database = Postgres::shared().await?.database().await?;
    let sql = database.client().await?;
    let router = RouterProcess::start_program(program, Settings::new().database(&database)).await?;
    router.at.ready(DEADLINE).await?;
    let mut api = Connection::open(&router.at.api.to_string()).await?;
    let mut samples = Vec::with_capacity(CHANGES);
    for change in 0..CHANGES {
        let backend = format!("h:{}", 1 + change);
        let (statement, wanted) = match change % 3 {
            0 => (
                format!(
                    "INSERT INTO servers (name, domain, address) VALUES ('s', 's.test', '{backend}')"
                ),
                true,
            ),
            1 => (format!("UPDATE servers SET address = '{backend}'"), true),
            _ => ("DELETE FROM servers".to_owned(), false),
        };
        sql.batch_execute(&statement).await?;
        let begin = Instant::now();
        loop {
            let answer = api.request(Method::GET, "/routes", &[], "").await?;
            let there = answer.body.contains(&format!("\"{backend}\""));
            if if wanted { there } else { answer.body == "{}" } {
                break;
            }
            ensure!(
                begin.elapsed() < DEADLINE,
                "{statement} is not live; routes: {}",
                answer.body
            );
        }
        samples.push(begin.elapsed());
        if (change + 1) % PROGRESS == 0 {
            say(&format!("  {} of {CHANGES}", change + 1));
        }
    }
    Ok(samples)
}
