//! The command line, the environment, and signals.

use std::path::Path;
use std::process::{Output, Stdio};

use anyhow::{Context, Result, ensure};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Report;
use super::subject::{DEADLINE, Subject, free};
use crate::backend::Backend;
use crate::eventually::eventually;
use crate::player::Player;

/// Pings at once: at mc-router's one connection a second they take longer than a row may.
const AT_ONCE: usize = 40;

pub(super) async fn rows(program: &Path, report: &mut Report) -> Result<()> {
    let backend = Backend::start("server a").await?;
    arguments(program, report).await;
    environment(program, report, &backend).await;
    crowd(program, report, &backend).await;
    signals(program, report, &backend).await;
    Ok(())
}

/// What it says to these arguments, at which it has to end.
pub(super) async fn said(program: &Path, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().stdin(Stdio::null());
    let output = command.kill_on_drop(true).output();
    let ended = timeout(DEADLINE, output).await;
    Ok(ended.with_context(|| format!("it goes on with {arguments:?}"))??)
}

/// It ends with an error that names this.
pub(super) async fn refused(program: &Path, arguments: &[&str], named: &str) -> Result<()> {
    let output = said(program, arguments).await?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success(), "{arguments:?} were accepted");
    ensure!(error.contains(named), "it does not name {named}: {error}");
    Ok(())
}

async fn arguments(program: &Path, report: &mut Report) {
    report
        .same("-version says one and ends with 0", async {
            let output = said(program, &["-version"]).await?;
            ensure!(output.status.success(), "{}", output.status);
            let text = [output.stdout, output.stderr].concat();
            ensure!(!text.trim_ascii().is_empty(), "it says nothing");
            Ok(())
        })
        .await;
    report
        .same("an unknown flag is refused by its name", async {
            refused(program, &["-maping", "a.example=b:1"], "maping").await
        })
        .await;
    report
        .same(
            "a duration that is none is refused by its flag's name",
            async {
                refused(
                    program,
                    &["-backend-dial-timeout", "soon"],
                    "backend-dial-timeout",
                )
                .await
            },
        )
        .await;
    report
        .better("a mapping that leads nowhere is refused", async {
            refused(program, &["-mapping", "a.example"], "mapping").await?;
            refused(program, &["-mapping", "a.example=b:99999"], "mapping").await
        })
        .await;
}

async fn environment(program: &Path, report: &mut Report, backend: &Backend) {
    report
        .same("the environment alone is enough", async {
            let (players, api) = (free()?, free()?);
            let mapping = format!("a.example={}", backend.addr());
            let environment = [
                ("PORT", &*players.port().to_string()),
                ("API_BINDING", &api.to_string()),
                ("MAPPING", &mapping),
                ("CONNECTION_RATE_LIMIT", "1000"),
                ("BACKEND_DIAL_TIMEOUT", "1.5s"),
                ("DEBUG", "true"),
            ];
            let subject = Subject::listening(program, [], &environment, players, api).await?;
            subject.leads(&Player::new("a.example"), backend).await
        })
        .await;
    report
        .same("a flag comes before its variable", async {
            let default = format!("-default={}", backend.addr());
            let nobody = free()?.to_string();
            let environment = [("DEFAULT", &*nobody), ("PORT", "1")];
            let subject = Subject::start(program, &[&default], &environment).await?;
            subject.leads(&Player::new("a.example"), backend).await
        })
        .await;
    report
        .same("flags are read as Go reads them", async {
            let addr = backend.addr().to_string();
            let flags = [
                "-debug=false",
                "--default",
                &addr,
                "-backend-dial-timeout=0.5m",
                "-docker-refresh-interval",
                "15s",
            ];
            let subject = Subject::start(program, &flags, &[]).await?;
            subject.leads(&Player::new("a.example"), backend).await
        })
        .await;
}

async fn crowd(program: &Path, report: &mut Report, backend: &Backend) {
    report
        .better(
            "without a limit being set, nobody waits for the connections of others",
            async {
                let (players, api) = (free()?, free()?);
                let (port, api_flag) = (players.port().to_string(), format!("-api-binding={api}"));
                let default = format!("-default={}", backend.addr());
                let flags = ["-port", &port, &api_flag, &default];
                let _subject = Subject::listening(program, flags, &[], players, api).await?;
                let mut pings = JoinSet::new();
                for _ in 0..AT_ONCE {
                    pings.spawn(async move { Player::new("a.example").status(players).await });
                }
                while let Some(ping) = pings.join_next().await {
                    ping??;
                }
                Ok(())
            },
        )
        .await;
}

async fn signals(program: &Path, report: &mut Report, backend: &Backend) {
    let default = format!("-default={}", backend.addr());
    let start = async || Subject::start(program, &[&default], &[]).await;
    report
        .same("SIGINT ends it with 0", async {
            let mut subject = start().await?;
            subject.process.signal("INT").await?;
            let status = subject.process.exit(DEADLINE).await?;
            ensure!(status.success(), "{status}");
            Ok(())
        })
        .await;
    report
        .same("SIGTERM ends it", async {
            let mut subject = start().await?;
            subject.process.signal("TERM").await?;
            subject.process.exit(DEADLINE).await.map(drop)
        })
        .await;
    report
        .better(
            "SIGTERM lets players finish, lets nobody else in, and ends with 0",
            async {
                let mut subject = start().await?;
                let mut session = Player::new("a.example").enter(subject.players).await?;
                subject.process.signal("TERM").await?;
                eventually("its port to close", DEADLINE, async || {
                    TcpStream::connect(subject.players).await.is_err()
                })
                .await?;
                ensure!(session.echo(b"still here").await? == b"still here");
                drop(session);
                let status = subject.process.exit(DEADLINE).await?;
                ensure!(status.success(), "{status}");
                Ok(())
            },
        )
        .await;
}
