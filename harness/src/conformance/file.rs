//! The routes file: loaded, read again, watched, and written by the API.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use hyper::Method;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::Report;
use super::process::said;
use super::subject::{DEADLINE, Subject};
use crate::backend::Backend;
use crate::eventually::eventually;
use crate::player::Player;

/// A folder with a routes file.
struct Folder(TempDir);

impl Folder {
    fn new(text: &str) -> Result<Self> {
        let folder = Self(tempfile::tempdir()?);
        folder.write(text)?;
        Ok(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("routes.json")
    }

    fn flag(&self) -> String {
        format!("-routes-config={}", self.path().display())
    }

    /// As `echo` saves: the file stays, with something else in it.
    fn write(&self, text: &str) -> Result<()> {
        Ok(std::fs::write(self.path(), text)?)
    }

    /// As editors and most tools save: another file takes its place.
    fn replace(&self, text: &str) -> Result<()> {
        let new = self.0.path().join(".routes.json.new");
        std::fs::write(&new, text)?;
        Ok(std::fs::rename(new, self.path())?)
    }

    /// What is mapped in it.
    fn mappings(&self) -> Result<Map<String, Value>> {
        let text = std::fs::read_to_string(self.path())?;
        let json: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
        let mappings = json.get("mappings").and_then(Value::as_object);
        Ok(mappings.with_context(|| text)?.clone())
    }
}

fn text(default: Option<&Backend>, mappings: &[(&str, &Backend)]) -> String {
    let address = |backend: &Backend| backend.addr().to_string();
    let pair = |(host, backend): &(&str, &Backend)| ((*host).to_owned(), address(backend).into());
    let mappings: Map<_, Value> = mappings.iter().map(pair).collect();
    json!({ "default-server": default.map(address), "mappings": mappings }).to_string()
}

pub(super) async fn rows(program: &Path, report: &mut Report) -> Result<()> {
    let (a, b) = (Backend::start("a").await?, Backend::start("b").await?);
    starts(program, report, [&a, &b]).await;
    hangups(program, report, [&a, &b]).await?;
    watched(program, report, [&a, &b]).await?;
    saved(program, report, [&a, &b]).await?;
    Ok(())
}

async fn starts(program: &Path, report: &mut Report, [a, b]: [&Backend; 2]) {
    report
        .same("a routes file is read at start, its default too", async {
            let folder = Folder::new(&text(Some(b), &[("A.example", a)]))?;
            let subject = Subject::start(program, &[&folder.flag()], &[]).await?;
            subject.leads(&Player::new("a.example"), a).await?;
            subject.leads(&Player::new("nowhere.example"), b).await
        })
        .await;
    report
        .same("a routes file that is not there keeps nobody out", async {
            let folder = Folder::new("")?;
            std::fs::remove_file(folder.path())?;
            let mapping = format!("-mapping=a.example={}", a.addr());
            let subject = Subject::start(program, &[&mapping, &folder.flag()], &[]).await?;
            subject.leads(&Player::new("a.example"), a).await
        })
        .await;
    report
        .same("a routes file that is no JSON is refused at start", async {
            let folder = Folder::new("{")?;
            let output = said(program, &["-port=0", &folder.flag()]).await?;
            ensure!(!output.status.success(), "{}", output.status);
            ensure!(!output.stderr.is_empty(), "it does not say why");
            Ok(())
        })
        .await;
}

/// Has the file read again, and waits until something is said about that.
async fn hang_up(subject: &Subject) -> Result<()> {
    let before = subject.process.log().len();
    subject.process.signal("HUP").await?;
    let said = async || subject.process.log().len() > before;
    eventually("a word about the file", DEADLINE, said).await
}

async fn hangups(program: &Path, report: &mut Report, [a, b]: [&Backend; 2]) -> Result<()> {
    let folder = Folder::new(&text(None, &[("a.example", a), ("old.example", a)]))?;
    let mapping = format!("-mapping=flag.example={}", a.addr());
    let started = Subject::start(program, &[&mapping, &folder.flag()], &[]).await;
    let Some(mut subject) = report.started("it starts with a routes file", started) else {
        return Ok(());
    };
    report
        .same("at SIGHUP the routes file is read again", async {
            folder.write(&text(None, &[("a.example", b), ("new.example", b)]))?;
            subject.process.signal("HUP").await?;
            subject.soon_leads("new.example", b).await?;
            subject.leads(&Player::new("a.example"), b).await?;
            subject.soon_leads_nowhere("old.example").await
        })
        .await;
    report
        .better("SIGHUP takes no route of the command line away", async {
            subject.leads(&Player::new("flag.example"), a).await
        })
        .await;
    report
        .same("a file that is no JSON at SIGHUP costs no route", async {
            folder.write("{\"mappings\": {")?;
            hang_up(&subject).await?;
            subject.leads(&Player::new("a.example"), b).await?;
            subject.leads(&Player::new("new.example"), b).await?;
            folder.write(&text(None, &[("a.example", a)]))?;
            subject.process.signal("HUP").await?;
            subject.soon_leads("a.example", a).await?;
            ensure!(subject.process.is_running()?, "it has ended");
            Ok(())
        })
        .await;
    report
        .better("SIGHUP without a routes file ends nothing", async {
            let default = format!("-default={}", a.addr());
            let mut subject = Subject::start(program, &[&default], &[]).await?;
            hang_up(&subject).await?;
            ensure!(subject.process.is_running()?, "it has ended");
            subject.leads(&Player::new("a.example"), a).await
        })
        .await;
    Ok(())
}

async fn watched(program: &Path, report: &mut Report, [a, b]: [&Backend; 2]) -> Result<()> {
    let folder = Folder::new(&text(None, &[("a.example", a), ("old.example", a)]))?;
    let flags = [&*folder.flag(), "-routes-config-watch"];
    let started = Subject::start(program, &flags, &[]).await;
    let Some(subject) = report.started("it starts with a file to watch", started) else {
        return Ok(());
    };
    report
        .same("an edit of a watched file adds and changes routes", async {
            folder.write(&text(None, &[("a.example", b), ("new.example", b)]))?;
            subject.soon_leads("new.example", b).await?;
            subject.leads(&Player::new("a.example"), b).await
        })
        .await;
    report
        .same("a watched file that is no JSON costs no route", async {
            let before = subject.process.log().len();
            folder.write("{")?;
            let said = async || subject.process.log().len() > before;
            eventually("a word about the file", DEADLINE, said).await?;
            subject.leads(&Player::new("a.example"), b).await?;
            folder.write(&text(None, &[("a.example", a), ("new.example", b)]))?;
            subject.soon_leads("a.example", a).await
        })
        .await;
    report
        .better("an edit of a watched file removes routes", async {
            subject.soon_leads_nowhere("old.example").await
        })
        .await;
    report
        .better(
            "a file that takes a watched one's place is noticed, and the next one too",
            async {
                for backend in [b, a, b] {
                    folder.replace(&text(None, &[("a.example", backend)]))?;
                    subject.soon_leads("a.example", backend).await?;
                }
                Ok(())
            },
        )
        .await;
    Ok(())
}

async fn saved(program: &Path, report: &mut Report, [a, b]: [&Backend; 2]) -> Result<()> {
    let folder = Folder::new(&text(None, &[("a.example", a), ("old.example", a)]))?;
    let mapping = format!("-mapping=flag.example={}", a.addr());
    let flags = [&*mapping, &*folder.flag()];
    let started = Subject::start(program, &flags, &[]).await;
    let Some(subject) = report.started("it starts with a file to write", started) else {
        return Ok(());
    };
    report
        .same(
            "what the API adds and deletes is saved in the file",
            async {
                let body =
                    json!({ "serverAddress": "new.example", "backend": b.addr().to_string() });
                let sent = body.to_string();
                let added = subject.api(Method::POST, "/routes", &sent).await?;
                ensure!(added.status == 201, "the route was not added");
                let gone = subject
                    .api(Method::DELETE, "/routes/old.example", "")
                    .await?;
                ensure!(gone.status == 200, "the route was not deleted");
                let saved = folder.mappings()?;
                ensure!(saved.get("new.example") == body.get("backend"), "{saved:?}");
                ensure!(saved.contains_key("a.example"), "{saved:?}");
                ensure!(!saved.contains_key("old.example"), "{saved:?}");
                Ok(())
            },
        )
        .await;
    report
        .better("the API saves no route of the command line", async {
            let saved = folder.mappings()?;
            ensure!(!saved.contains_key("flag.example"), "{saved:?}");
            subject.leads(&Player::new("flag.example"), a).await
        })
        .await;
    drop(subject);
    report
        .same("what the API has added is there after a restart", async {
            let subject = Subject::start(program, &flags, &[]).await?;
            subject.leads(&Player::new("new.example"), b).await
        })
        .await;
    Ok(())
}
