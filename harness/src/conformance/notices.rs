//! What a webhook is told: who connects, who leaves, and which routes come and go.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use hyper::Method;
use serde_json::{Value, json};

use super::Report;
use super::subject::{DEADLINE, Subject, free};
use crate::backend::{Asleep, Backend};
use crate::eventually::eventually;
use crate::player::{Player, Session};
use crate::receiver::{self, Receiver};

const HOST: &str = "play.example";
/// Visits of one player after the other.
const VISITS: usize = 30;

/// What one event says of `field`.
fn says<'e>(event: &'e Value, field: &str) -> &'e str {
    let text = event.get(field).and_then(Value::as_str);
    text.unwrap_or_default()
}

/// The port of the client that an event is about.
fn port(event: &Value) -> Option<u64> {
    event.pointer("/client/port").and_then(Value::as_u64)
}

/// Waits for the first event that has all of these fields.
async fn told(hook: &Receiver, fields: &[(&str, &str)]) -> Result<Value> {
    let right = |event: &Value| {
        fields
            .iter()
            .all(|(field, text)| says(event, field) == *text)
    };
    eventually(&format!("an event with {fields:?}"), DEADLINE, async || {
        let all: Vec<_> = hook.received().into_iter().map(|one| one.json).collect();
        let found = all.iter().find(|event| right(event)).cloned();
        found.with_context(|| format!("{all:?}"))
    })
    .await
}

/// A client's own port, which events about it name.
fn own_port(session: &Session) -> Result<u64> {
    Ok(session.stream.local_addr()?.port().into())
}

/// A whole visit: its port.
async fn visit(subject: &Subject) -> Result<u64> {
    let session = Player::new(HOST).enter(subject.players).await?;
    own_port(&session)
}

/// Waits until the client with this port is told to have left: all events until then.
async fn until_left(hook: &Receiver, left: u64) -> Result<Vec<Value>> {
    eventually(&format!("port {left} to leave"), DEADLINE, async || {
        let all: Vec<_> = hook.received().into_iter().map(|one| one.json).collect();
        let gone =
            |event: &Value| says(event, "event") == "disconnect" && port(event) == Some(left);
        ensure!(all.iter().any(gone), "{all:?}");
        Ok(all)
    })
    .await
}

struct World {
    backend: Backend,
    hook: Receiver,
    subject: Subject,
}

async fn world(program: &Path, flags: &[&str]) -> Result<World> {
    let (backend, hook) = (Backend::start("up").await?, Receiver::start().await?);
    let mapping = format!("-mapping={HOST}={}", backend.addr());
    let url = format!("-webhook-url={}", hook.url());
    let flags = [&[&*mapping, &*url], flags].concat();
    let subject = Subject::start(program, &flags, &[]).await?;
    Ok(World {
        backend,
        hook,
        subject,
    })
}

pub(super) async fn rows(program: &Path, report: &mut Report) -> Result<()> {
    visits(program, report).await;
    failures(program, report).await;
    pings(program, report).await;
    routes(program, report).await;
    orders(program, report).await;
    Ok(())
}

async fn visits(program: &Path, report: &mut Report) {
    report
        .same(
            "who comes and who leaves is told, with everything known",
            async {
                let World {
                    backend,
                    hook,
                    subject,
                } = world(program, &[]).await?;
                let session = Player::new(HOST).enter(subject.players).await?;
                let own = own_port(&session)?;
                let came = told(&hook, &[("event", "connect")]).await?;
                drop(session);
                let left = told(&hook, &[("event", "disconnect")]).await?;
                let player =
                    json!({ "name": "Steve", "uuid": "11111111-1111-1111-1111-111111111111" });
                for event in [&came, &left] {
                    ensure!(says(event, "status") == "success", "{event}");
                    ensure!(says(event, "server") == HOST, "{event}");
                    ensure!(
                        says(event, "backend") == backend.addr().to_string(),
                        "{event}"
                    );
                    ensure!(says(event, "timestamp").contains('T'), "{event}");
                    ensure!(event.get("player") == Some(&player), "{event}");
                    ensure!(port(event) == Some(own), "{event}");
                    let host = event.pointer("/client/host");
                    ensure!(host == Some(&json!("127.0.0.1")), "{event}");
                    ensure!(event.get("error").is_none(), "{event}");
                }
                let received = hook.received();
                let kind = ("content-type".to_owned(), "application/json".to_owned());
                let typed = received.iter().all(|one| one.headers.contains(&kind));
                ensure!(typed, "{received:?}");
                Ok(())
            },
        )
        .await;
}

async fn failures(program: &Path, report: &mut Report) {
    report
        .same("a host without a route is told as missing-backend", async {
            let World {
                hook,
                subject,
                backend: _backend,
            } = world(program, &[]).await?;
            drop(Player::new("unknown.example").join(subject.players).await);
            let event = told(&hook, &[("event", "connect")]).await?;
            ensure!(says(&event, "status") == "missing-backend", "{event}");
            ensure!(says(&event, "server") == "unknown.example", "{event}");
            ensure!(says(&event, "error") == "No backend found", "{event}");
            ensure!(event.get("backend").is_none(), "{event}");
            Ok(())
        })
        .await;
    report
        .same(
            "a server that refuses is told as failed-backend-connection",
            async {
                let nobody = Asleep::new()?;
                let refusing = format!("-mapping=refused.example={}", nobody.addr());
                let World {
                    hook,
                    subject,
                    backend: _backend,
                } = world(program, &[&refusing]).await?;
                drop(Player::new("refused.example").join(subject.players).await);
                let event = told(&hook, &[("event", "connect")]).await?;
                let status = says(&event, "status");
                ensure!(status == "failed-backend-connection", "{event}");
                ensure!(says(&event, "error").contains("refused"), "{event}");
                let backend = nobody.addr().to_string();
                ensure!(says(&event, "backend") == backend, "{event}");
                Ok(())
            },
        )
        .await;
    report
        .better("who never got in is not told to have left", async {
            let nobody = free()?;
            let refusing = format!("-mapping=refused.example={nobody}");
            let World {
                hook,
                subject,
                backend: _backend,
            } = world(program, &[&refusing]).await?;
            for host in ["unknown.example", "refused.example"] {
                drop(Player::new(host).join(subject.players).await);
            }
            let all = until_left(&hook, visit(&subject).await?).await?;
            let left = all
                .iter()
                .filter(|event| says(event, "event") == "disconnect");
            ensure!(left.count() == 1, "{all:?}");
            Ok(())
        })
        .await;
}

async fn pings(program: &Path, report: &mut Report) {
    report
        .same("pings are told as well", async {
            let World {
                hook,
                subject,
                backend: _backend,
            } = world(program, &[]).await?;
            Player::new(HOST).status(subject.players).await?;
            let event = told(&hook, &[("event", "connect")]).await?;
            ensure!(event.get("player").is_none(), "{event}");
            Ok(())
        })
        .await;
    report
        .same("with -webhook-require-user only players are", async {
            let World {
                hook,
                subject,
                backend: _backend,
            } = world(program, &["-webhook-require-user"]).await?;
            Player::new(HOST).status(subject.players).await?;
            let all = until_left(&hook, visit(&subject).await?).await?;
            let players = all.iter().all(|event| event.get("player").is_some());
            ensure!(players && all.len() == 2, "{all:?}");
            Ok(())
        })
        .await;
}

async fn routes(program: &Path, report: &mut Report) {
    report
        .same("routes are told as they are and as they change", async {
            let events = "-webhook-events=route-added,route-removed,default-route-set";
            let World {
                backend,
                hook,
                subject,
            } = world(program, &[events]).await?;
            let address = backend.addr().to_string();
            let added = |host| [("event", "route-added"), ("server", host)];
            let event = told(&hook, &added(HOST)).await?;
            ensure!(says(&event, "backend") == address, "{event}");
            let route = json!({ "serverAddress": "new.example", "backend": address }).to_string();
            subject.api(Method::POST, "/routes", &route).await?;
            told(&hook, &added("new.example")).await?;
            subject
                .api(Method::DELETE, "/routes/new.example", "")
                .await?;
            told(
                &hook,
                &[("event", "route-removed"), ("server", "new.example")],
            )
            .await?;
            let default = json!({ "backend": address }).to_string();
            subject.api(Method::POST, "/defaultRoute", &default).await?;
            let event = told(&hook, &[("event", "default-route-set")]).await?;
            ensure!(says(&event, "backend") == address, "{event}");
            // Nobody asked for those.
            drop(Player::new(HOST).enter(subject.players).await?);
            let received = hook.received();
            let of_clients = received.iter().any(|one| one.json.get("client").is_some());
            ensure!(!of_clients, "{received:?}");
            Ok(())
        })
        .await;
}

/// Whether every client of these events comes before it leaves, and does both once.
fn in_order(events: &[Value]) -> Result<()> {
    let mut inside = HashMap::new();
    for event in events {
        let comes = says(event, "event") == "connect";
        let before = inside.insert(port(event), comes);
        let right = if comes { None } else { Some(true) };
        ensure!(before == right, "{event} after {before:?}");
    }
    Ok(())
}

async fn orders(program: &Path, report: &mut Report) {
    report
        .better("quick visits are told in order, and all of them", async {
            let World {
                hook,
                subject,
                backend: _backend,
            } = world(program, &[]).await?;
            let mut last = 0;
            for _ in 0..VISITS {
                last = visit(&subject).await?;
            }
            let all = until_left(&hook, last).await?;
            in_order(&all)?;
            ensure!(all.len() == 2 * VISITS, "{} events", all.len());
            Ok(())
        })
        .await;
    report
        .better("what a receiver misses it is told when it comes", async {
            let (backend, late) = (Backend::start("up").await?, free()?);
            let mapping = format!("-mapping={HOST}={}", backend.addr());
            let url = format!("-webhook-url={}", receiver::url(late));
            let subject = Subject::start(program, &[&mapping, &url], &[]).await?;
            let last = visit(&subject).await?;
            // Nobody was there when it was told first.
            let tried = async || {
                let log = subject.process.log();
                log.iter()
                    .any(|line| line.to_lowercase().contains("webhook"))
            };
            eventually("a word about that", DEADLINE, tried).await?;
            let hook = Receiver::start_at(late).await?;
            let all = until_left(&hook, last).await?;
            in_order(&all)?;
            ensure!(all.len() == 2, "{all:?}");
            Ok(())
        })
        .await;
}
