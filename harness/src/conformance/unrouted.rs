//! Clients who cannot be led anywhere.

use std::path::Path;

use anyhow::{Result, bail, ensure};

use super::Report;
use super::subject::{Subject, free};
use crate::backend::Backend;
use crate::player::{Joined, Player};

pub(super) async fn rows(program: &Path, report: &mut Report) -> Result<()> {
    let backend = Backend::start("server a").await?;
    let nobody = free()?;
    let mapping = format!("a.example={},gone.example={nobody}", backend.addr());
    let started = Subject::start(program, &["-mapping", &mapping], &[]).await;
    let Some(subject) = report.started("it starts without a default", started) else {
        return Ok(());
    };
    let (unknown, gone) = (Player::new("nowhere.example"), Player::new("gone.example"));
    report
        .same("without a default, an unknown host leads nowhere", async {
            if let Ok(Joined::In(_)) = unknown.join(subject.players).await {
                bail!("it led to a server");
            }
            ensure!(backend.logins().is_empty(), "it led to another's server");
            Ok(())
        })
        .await;
    report
        .better("who asks for an unknown host reads why", async {
            let text = unknown.refusal(subject.players).await?;
            ensure!(!text.trim().is_empty(), "an empty text");
            Ok(())
        })
        .await;
    report
        .better("a ping of an unknown host is answered", async {
            let status = unknown.status(subject.players).await?;
            ensure!(!status.text().trim().is_empty(), "{status:?}");
            Ok(())
        })
        .await;
    report
        .better(
            "who asks for a server that does not answer reads why, and no address",
            async {
                let text = gone.refusal(subject.players).await?;
                ensure!(!text.trim().is_empty(), "an empty text");
                let port = nobody.port().to_string();
                ensure!(
                    !text.contains(&port) && !text.contains("127.0.0.1"),
                    "{text:?}"
                );
                Ok(())
            },
        )
        .await;
    report
        .same("others are led meanwhile", async {
            subject.leads(&Player::new("a.example"), &backend).await
        })
        .await;
    Ok(())
}
