//! The REST API: shapes and status codes.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use hyper::Method;
use serde_json::{Value, json};

use super::Report;
use super::subject::Subject;
use crate::backend::Backend;
use crate::player::{Joined, Player};

/// What nobody is to read.
const SECRET: &str = "s3cret";

pub(super) async fn rows(program: &Path, report: &mut Report) -> Result<()> {
    let a = Backend::start("server a").await?;
    let b = Backend::start("server b").await?;
    let mapping = format!("a.example={}", a.addr());
    let header = format!("-auto-scale-webhook-headers=Authorization=Bearer {SECRET}");
    let started = Subject::start(program, &["-mapping", &mapping, &header], &[]).await;
    let Some(subject) = report.started("it starts with an API", started) else {
        return Ok(());
    };
    reads(&subject, report, &a).await;
    changes(&subject, report, &b).await;
    defaults(&subject, report, &b).await;
    refusals(&subject, report).await;
    Ok(())
}

/// Sends a request whose answer has to have this status.
async fn answers(
    subject: &Subject,
    method: Method,
    path: &str,
    body: &str,
    status: u16,
) -> Result<String> {
    let what = format!("{method} {path} {body}");
    let answer = subject.api(method, path, body).await?;
    let got = answer.status;
    ensure!(got == status, "{what}: {got} instead of {status}");
    Ok(answer.body)
}

async fn routes(subject: &Subject) -> Result<Value> {
    let body = answers(subject, Method::GET, "/routes", "", 200).await?;
    serde_json::from_str(&body).with_context(|| body)
}

async fn reads(subject: &Subject, report: &mut Report, a: &Backend) {
    report
        .same(
            "GET /routes: 200, host to backend and scalingTarget",
            async {
                let routes = routes(subject).await?;
                let route = routes.get("a.example").context("no route a.example")?;
                let backend = route.get("backend");
                ensure!(backend == Some(&json!(a.addr().to_string())), "{route}");
                let target = route.get("scalingTarget");
                ensure!(target.is_some_and(Value::is_string), "{route}");
                Ok(())
            },
        )
        .await;
    report
        .same("GET /metrics: 200", async {
            answers(subject, Method::GET, "/metrics", "", 200)
                .await
                .map(drop)
        })
        .await;
    report
        .same(
            "GET /vars: 200, an object with cmdline and memstats",
            async {
                let body = answers(subject, Method::GET, "/vars", "", 200).await?;
                let vars: Value = serde_json::from_str(&body).with_context(|| body.clone())?;
                let told = vars.get("cmdline").is_some_and(Value::is_array)
                    && vars.get("memstats").is_some_and(Value::is_object);
                ensure!(told, "{body}");
                Ok(())
            },
        )
        .await;
    report
        .better("GET /vars has no value of the command line", async {
            let body = answers(subject, Method::GET, "/vars", "", 200).await?;
            ensure!(!body.contains(SECRET), "{body}");
            Ok(())
        })
        .await;
    report
        .same("anything else: 404, and 405 for another method", async {
            answers(subject, Method::GET, "/", "", 404).await?;
            answers(subject, Method::GET, "/nothing", "", 404).await?;
            answers(subject, Method::PUT, "/routes", "{}", 405)
                .await
                .map(drop)
        })
        .await;
    report
        .better("GET /healthz and /readyz: 200", async {
            answers(subject, Method::GET, "/healthz", "", 200).await?;
            answers(subject, Method::GET, "/readyz", "", 200)
                .await
                .map(drop)
        })
        .await;
}

async fn changes(subject: &Subject, report: &mut Report, b: &Backend) {
    let player = Player::new("new.example");
    let body = json!({"serverAddress": "New.example", "backend": b.addr().to_string()}).to_string();
    report
        .same(
            "POST /routes: 201 without a body, and players are led there",
            async {
                let said = answers(subject, Method::POST, "/routes", &body, 201).await?;
                ensure!(said.is_empty(), "{said:?}");
                let routes = routes(subject).await?;
                ensure!(routes.get("new.example").is_some(), "{routes}");
                subject.leads(&player, b).await
            },
        )
        .await;
    report
        .same(
            "DELETE /routes/{host}: 200 in any case, then 404, and nobody is led there",
            async {
                answers(subject, Method::DELETE, "/routes/NEW.example", "", 200).await?;
                answers(subject, Method::DELETE, "/routes/new.example", "", 404).await?;
                let joined = player.join(subject.players).await;
                ensure!(!matches!(joined, Ok(Joined::In(_))), "it led to a server");
                Ok(())
            },
        )
        .await;
}

async fn defaults(subject: &Subject, report: &mut Report, b: &Backend) {
    report
        .same(
            "POST /defaultRoute: 200, and unknown hosts are led there",
            async {
                let body = json!({"backend": b.addr().to_string()}).to_string();
                answers(subject, Method::POST, "/defaultRoute", &body, 200).await?;
                subject.leads(&Player::new("nowhere.example"), b).await
            },
        )
        .await;
}

async fn refusals(subject: &Subject, report: &mut Report) {
    report
        .same("what is no JSON: 400", async {
            answers(subject, Method::POST, "/routes", "{", 400).await?;
            answers(subject, Method::POST, "/defaultRoute", "no", 400)
                .await
                .map(drop)
        })
        .await;
    report
        .better(
            "what leads nowhere: 400, and the routes stay as they were",
            async {
                let before = routes(subject).await?;
                for body in [
                    json!({}),
                    json!({"serverAddress": "x.example"}),
                    json!({"serverAddress": "x.example", "backend": "nowhere:99999"}),
                    json!({"serverAddress": "", "backend": "127.0.0.1:1"}),
                ] {
                    answers(subject, Method::POST, "/routes", &body.to_string(), 400).await?;
                }
                answers(subject, Method::POST, "/defaultRoute", "{}", 400).await?;
                ensure!(routes(subject).await? == before, "they changed");
                Ok(())
            },
        )
        .await;
}
