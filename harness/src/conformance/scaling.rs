//! Servers that a webhook starts and stops.

use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::Report;
use super::subject::{DEADLINE, Subject};
use crate::backend::{Asleep, Backend};
use crate::eventually::eventually;
use crate::manager::Reply;
use crate::player::{Joined, Player};
use crate::receiver::Receiver;

const HOST: &str = "play.example";
/// Players who come at once.
const AT_ONCE: usize = 4;

/// A webhook, a port that nobody listens on, and a router with a route to that.
struct World {
    hook: Receiver,
    asleep: Asleep,
    subject: Subject,
}

async fn world(program: &Path, flags: &[&str]) -> Result<World> {
    let (hook, asleep) = (Receiver::start().await?, Asleep::new()?);
    let url = format!("-auto-scale-webhook-url={}", hook.url());
    let mapping = format!("-mapping={HOST}={}", asleep.addr());
    let flags = [&[&*url, &*mapping], flags].concat();
    let subject = Subject::start(program, &flags, &[]).await?;
    Ok(World {
        hook,
        asleep,
        subject,
    })
}

fn at(backend: &Backend) -> Reply {
    Reply::json(&json!({ "backend": backend.addr().to_string() }))
}

/// What was asked so far.
fn asked(hook: &Receiver) -> Vec<Value> {
    let received = hook.received().into_iter();
    received.map(|one| one.json).collect()
}

/// How often that was asked.
fn count(hook: &Receiver, action: &str) -> usize {
    let asked = asked(hook);
    let these = asked
        .iter()
        .filter(|one| one.get("action") == Some(&json!(action)));
    these.count()
}

/// Waits until the webhook was asked for this.
async fn asks(hook: &Receiver, action: &str) -> Result<()> {
    let what = format!("the webhook to be asked: {action}");
    eventually(&what, DEADLINE, async || count(hook, action) > 0).await
}

pub(super) async fn rows(program: &Path, report: &mut Report) -> Result<()> {
    ups(program, report).await;
    waits(program, report).await;
    crowds(program, report).await;
    downs(program, report).await;
    Ok(())
}

async fn ups(program: &Path, report: &mut Report) {
    report
        .same(
            "who finds nobody there has the webhook asked, and goes where it says",
            async {
                let headers = "-auto-scale-webhook-headers=X-Key=s3cret=,X-Other=o";
                let world = world(program, &[headers]).await?;
                let backend = Backend::start("elsewhere").await?;
                world.hook.replies([at(&backend)]);
                world.subject.leads(&Player::new(HOST), &backend).await?;
                let backend = world.asleep.addr().to_string();
                let up = json!({ "action": "up", "serverAddress": HOST, "backend": backend });
                let received = world.hook.received();
                ensure!(received.iter().all(|one| one.json == up), "{received:?}");
                for (name, value) in [
                    ("content-type", "application/json"),
                    ("x-key", "s3cret="),
                    ("x-other", "o"),
                ] {
                    let header = (name.to_owned(), value.to_owned());
                    let all = received.iter().all(|one| one.headers.contains(&header));
                    ensure!(all, "no {name}: {received:?}");
                }
                Ok(())
            },
        )
        .await;
    report
        .same("the default is asked for by an empty name", async {
            let nobody = Asleep::new()?;
            let default = format!("-default={}", nobody.addr());
            let world = world(program, &[&default]).await?;
            let backend = Backend::start("elsewhere").await?;
            world.hook.replies([at(&backend)]);
            world
                .subject
                .leads(&Player::new("any.example"), &backend)
                .await?;
            let up = json!({
                "action": "up", "serverAddress": "", "backend": nobody.addr().to_string(),
            });
            let asked = asked(&world.hook);
            ensure!(asked.first() == Some(&up), "{asked:?}");
            Ok(())
        })
        .await;
    report
        .same("a ping asks for nothing", async {
            let world = world(program, &["-auto-scale-asleep-motd=asleep"]).await?;
            for _ in 0..3 {
                Player::new(HOST).status(world.subject.players).await?;
            }
            ensure!(count(&world.hook, "up") == 0, "it was asked");
            Ok(())
        })
        .await;
}

async fn waits(program: &Path, report: &mut Report) {
    report
        .same(
            "without an address in the answer, the port is waited for",
            async {
                let World {
                    hook,
                    asleep,
                    subject,
                } = world(program, &[]).await?;
                let player = Player::new(HOST);
                let waiting = player.knock(subject.players).await?;
                asks(&hook, "up").await?;
                let backend = asleep.wake("woken")?;
                waiting.enter().await?;
                let logins = backend.logins();
                let whole = logins
                    .iter()
                    .all(|login| login.bytes == player.login_bytes());
                ensure!(logins.len() == 1 && whole, "{} logins", logins.len());
                Ok(())
            },
        )
        .await;
    report
        .same("an answer of 400 and more lets nobody in", async {
            let world = world(program, &[]).await?;
            world.hook.replies([Reply::status(404)]);
            let joined = Player::new(HOST).join(world.subject.players).await;
            ensure!(!matches!(joined, Ok(Joined::In(_))), "it led to a server");
            Ok(())
        })
        .await;
    report
        .better(
            "who is not let in for it reads why, and no address",
            async {
                let world = world(program, &[]).await?;
                world.hook.replies([Reply::status(404)]);
                let text = Player::new(HOST).refusal(world.subject.players).await?;
                ensure!(!text.trim().is_empty(), "an empty text");
                ensure!(!text.contains("127.0.0.1"), "{text:?}");
                Ok(())
            },
        )
        .await;
}

async fn crowds(program: &Path, report: &mut Report) {
    report
        .better(
            "all who wait go where the one answer says, and so does who comes later",
            async {
                let world = world(program, &[]).await?;
                let backend = Backend::start("elsewhere").await?;
                world.hook.replies([at(&backend)]);
                let mut players = JoinSet::new();
                for _ in 0..AT_ONCE {
                    let router = world.subject.players;
                    players.spawn(async move { Player::new(HOST).enter(router).await });
                }
                let mut inside = Vec::new();
                while let Some(player) = players.join_next().await {
                    inside.push(player??);
                }
                world.subject.leads(&Player::new(HOST), &backend).await?;
                let ups = count(&world.hook, "up");
                ensure!(ups == 1, "it was asked {ups} times");
                Ok(())
            },
        )
        .await;
    report
        .better("a server that is up is asked for by nobody", async {
            let World {
                hook,
                asleep,
                subject,
            } = world(program, &[]).await?;
            let backend = asleep.wake("up")?;
            subject.leads(&Player::new(HOST), &backend).await?;
            let ups = count(&hook, "up");
            ensure!(ups == 0, "it was asked {ups} times");
            Ok(())
        })
        .await;
}

/// Waits until the webhook was asked for one more stop than `before`, with `between` at every look.
async fn stops(
    hook: &Receiver,
    before: usize,
    between: impl AsyncFn() -> Result<()>,
) -> Result<()> {
    eventually("a stop", DEADLINE, async || {
        between().await?;
        let downs = count(hook, "down");
        ensure!(downs > before, "{downs}, as before");
        Ok(())
    })
    .await
}

async fn downs(program: &Path, report: &mut Report) {
    report
        .same(
            "a server is stopped when its last player has been gone for a while",
            async {
                let world = world(program, &["-auto-scale-down-after=1s"]).await?;
                let World {
                    hook,
                    asleep,
                    subject,
                } = world;
                let address = asleep.addr().to_string();
                let _backend = asleep.wake("up")?;
                let mut session = Player::new(HOST).enter(subject.players).await?;
                // It may have been stopped before anybody came.
                let before = count(&hook, "down");
                ensure!(session.echo(b"here").await? == b"here");
                drop(session);
                stops(&hook, before, async || Ok(())).await?;
                let down = json!({ "action": "down", "serverAddress": HOST, "backend": address });
                let asked = asked(&hook);
                ensure!(asked.contains(&down), "{asked:?}");
                Ok(())
            },
        )
        .await;
    report
        .better("pings keep no server up", async {
            let world = world(program, &["-auto-scale-down-after=1s"]).await?;
            let World {
                hook,
                asleep,
                subject,
            } = world;
            let _backend = asleep.wake("up")?;
            let session = Player::new(HOST).enter(subject.players).await?;
            let before = count(&hook, "down");
            drop(session);
            let ping = async || Player::new(HOST).status(subject.players).await.map(drop);
            stops(&hook, before, ping).await
        })
        .await;
}
