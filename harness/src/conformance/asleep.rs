//! What the server list shows of servers that are not up, in the router's own words.

use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::Report;
use super::subject::{DEADLINE, Subject};
use super::wire::framed;
use crate::backend::{Asleep, Backend};
use crate::eventually::eventually;
use crate::manager::Reply;
use crate::player::{Player, Status, legacy_ping, ping_1_6};
use crate::receiver::Receiver;

const HOST: &str = "a.example";
const ASLEEP: &str = "zzz";
const LOADING: &str = "yawn";
/// An icon as statuses have one.
const ICON: &str = "data:image/png;base64,iVBORw0KGgo=";

/// Pings as a server list does, and has to see this text.
async fn shows(subject: &Subject, player: &Player, text: &str) -> Result<Status> {
    let status = player.status(subject.players).await?;
    ensure!(
        status.text() == text,
        "{:?} instead of {text:?}",
        status.text()
    );
    Ok(status)
}

pub(super) async fn rows(program: &Path, report: &mut Report) -> Result<()> {
    let (hook, nobody) = (Receiver::start().await?, Asleep::new()?);
    hook.replies([Reply::hang()]);
    let mapping = format!("-mapping={HOST}={}", nobody.addr());
    let url = format!("-auto-scale-webhook-url={}", hook.url());
    let asleep = format!("-auto-scale-asleep-motd={ASLEEP}");
    let loading = format!("-auto-scale-loading-motd={LOADING}");
    let flags = [&*mapping, &*url, &*asleep, &*loading];
    let started = Subject::start(program, &flags, &[]).await;
    let Some(subject) = report.started("it starts with texts of servers", started) else {
        return Ok(());
    };
    texts(&subject, report).await;
    report
        .same("a server that is being started shows its own text", async {
            let _waiting = Player::new(HOST).knock(subject.players).await?;
            let asked = async || !hook.received().is_empty();
            eventually("the webhook to be asked", DEADLINE, asked).await?;
            let shown = async || shows(&subject, &Player::new(HOST), LOADING).await;
            eventually("the text", DEADLINE, shown).await.map(drop)
        })
        .await;
    report
        .better("a sleeping server without a text is no silence", async {
            let subject = Subject::start(program, &[&mapping, &url], &[]).await?;
            let status = Player::new(HOST).status(subject.players).await?;
            ensure!(!status.text().trim().is_empty(), "{status:?}");
            Ok(())
        })
        .await;
    report
        .better("a server that fell asleep keeps its icon", async {
            let backend = Backend::start("up").await?;
            backend.shows(
                &json!({
                    "version": { "name": "1.21.4", "protocol": 769 },
                    "players": { "max": 20, "online": 0 },
                    "description": { "text": "up" },
                    "favicon": ICON,
                })
                .to_string(),
            );
            let mapping = format!("-mapping={HOST}={}", backend.addr());
            let subject = Subject::start(program, &[&mapping, &url, &asleep], &[]).await?;
            let player = Player::new(HOST);
            shows(&subject, &player, "up").await?;
            backend.stop();
            let shown = async || shows(&subject, &player, ASLEEP).await;
            let status = eventually("the text", DEADLINE, shown).await?;
            let icon = status.json.get("favicon");
            ensure!(icon == Some(&json!(ICON)), "{status:?}");
            Ok(())
        })
        .await;
    Ok(())
}

async fn texts(subject: &Subject, report: &mut Report) {
    report
        .same(
            "a sleeping server shows its text, for the client's own version",
            async {
                for protocol in [47, 769] {
                    let player = Player {
                        protocol,
                        ..Player::new(HOST)
                    };
                    let status = shows(subject, &player, ASLEEP).await?;
                    let number = status.json.pointer("/version/protocol");
                    ensure!(number == Some(&json!(protocol)), "{status:?}");
                    let online = status.json.pointer("/players/online");
                    ensure!(online == Some(&Value::from(0)), "{status:?}");
                }
                Ok(())
            },
        )
        .await;
    report
        .same("a ping of 1.6 is shown that text, too", async {
            let answer = legacy_ping(subject.players, [&ping_1_6(HOST)[..]]).await?;
            ensure!(
                answer.get(3).is_some_and(|text| text == ASLEEP),
                "{answer:?}"
            );
            Ok(())
        })
        .await;
    report
        .better(
            "so is a ping with a handshake of 128 bytes and more",
            async {
                for bytes in [136, 200, 4_000] {
                    shows(subject, &framed(bytes), ASLEEP).await?;
                }
                Ok(())
            },
        )
        .await;
    report
        .better("so is a ping with a trailing dot", async {
            shows(subject, &Player::new("A.example."), ASLEEP)
                .await
                .map(drop)
        })
        .await;
}
