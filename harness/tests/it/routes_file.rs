//! The routes file: every way of changing it, and what must survive. The facts are mc-router's.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::backend::Backend;
use harness::eventually::eventually;
use harness::http::Answer;
use harness::player::Player;
use harness::postgres::Postgres;
use harness::router::{Address, RouterProcess, Settings};
use hyper::Method;
use serde_json::json;
use tempfile::TempDir;

use crate::binary::ran;

const DEADLINE: Duration = Duration::from_secs(20);

fn routes(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |&(host, backend): &(&str, &str)| (host.to_owned(), backend.to_owned());
    pairs.iter().map(owned).collect()
}

fn text(pairs: &[(&str, &str)]) -> String {
    json!({ "default-server": null, "mappings": routes(pairs) }).to_string()
}

/// A folder with a routes file.
struct Folder(TempDir);

impl Folder {
    fn with(pairs: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        fs::write(folder.file(), text(pairs)).unwrap();
        folder
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("routes.json")
    }

    /// As editors and most tools save: a new file takes the old one's place.
    fn replace(&self, pairs: &[(&str, &str)]) {
        let new = self.0.path().join(".routes.json.swp");
        fs::write(&new, text(pairs)).unwrap();
        fs::rename(new, self.file()).unwrap();
    }

    fn settings(&self) -> Settings {
        Settings::new().flag(format!("--routes-config={}", self.file().display()))
    }

    async fn watched(&self) -> RouterProcess {
        let settings = self.settings().flag("--routes-config-watch");
        RouterProcess::start(settings).await.unwrap()
    }
}

async fn leads_to(router: &RouterProcess, pairs: &[(&str, &str)]) {
    let wanted = routes(pairs);
    eventually(&format!("{wanted:?}"), DEADLINE, async || {
        let found = router.at.routes().await?;
        anyhow::ensure!(found == wanted, "{found:?}");
        Ok(())
    })
    .await
    .unwrap();
}

async fn says(router: &RouterProcess, parts: &[&str]) -> String {
    router.says(parts).await.unwrap()
}

/// How many lines of the log have `part`.
fn told(router: &RouterProcess, part: &str) -> usize {
    let log = router.process.log();
    log.iter().filter(|line| line.contains(part)).count()
}

async fn post(at: &Address, host: &str, backend: &str) -> Answer {
    let body = json!({ "serverAddress": host, "backend": backend }).to_string();
    at.api(Method::POST, "/routes", &body).await.unwrap()
}

async fn delete(at: &Address, host: &str) -> Answer {
    let path = format!("/routes/{host}");
    at.api(Method::DELETE, &path, "").await.unwrap()
}

fn saved(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Defect: its watch adds and changes, and never removes.
#[tokio::test]
async fn an_edit_in_place_adds_changes_and_removes() {
    let folder = Folder::with(&[("a.example", "h:1"), ("b.example", "h:2")]);
    let router = folder.watched().await;
    leads_to(&router, &[("a.example", "h:1"), ("b.example", "h:2")]).await;

    let after = [("b.example", "h:3"), ("c.example", "h:4")];
    fs::write(folder.file(), text(&after)).unwrap();

    leads_to(&router, &after).await;
    says(
        &router,
        &["read again", "added=1", "removed=1", "changed=1"],
    )
    .await;
}

/// Defect: whoever renames a new file over the old one is not noticed, and nothing is any more.
#[tokio::test]
async fn a_file_that_takes_its_place_is_read_however_often_one_does() {
    let folder = Folder::with(&[("a.example", "h:1")]);
    let router = folder.watched().await;
    for backend in ["h:2", "h:3", "h:4"] {
        folder.replace(&[("a.example", backend)]);
        leads_to(&router, &[("a.example", backend)]).await;
    }
    fs::write(folder.file(), text(&[("b.example", "h:1")])).unwrap();
    leads_to(&router, &[("b.example", "h:1")]).await;
}

/// Defect: the swap of a ConfigMap goes unnoticed. The file links to `..data/routes.json`, and
/// `..data`, a link itself, is replaced; then the folder it led to is removed.
#[tokio::test]
async fn the_swap_of_a_mounted_config_map_is_noticed_however_often() {
    let folder = Folder(tempfile::tempdir().unwrap());
    let swap = |name: &str, pairs: &[(&str, &str)]| {
        let at = |name: &str| folder.0.path().join(name);
        fs::create_dir(at(name)).unwrap();
        fs::write(at(name).join("routes.json"), text(pairs)).unwrap();
        let before = fs::read_link(at("..data"));
        symlink(name, at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        if let Ok(before) = before {
            fs::remove_dir_all(folder.0.path().join(before)).unwrap();
        }
    };
    swap("..1", &[("a.example", "h:1"), ("b.example", "h:1")]);
    symlink("..data/routes.json", folder.file()).unwrap();
    let router = folder.watched().await;

    for (name, backend) in [("..2", "h:2"), ("..3", "h:3"), ("..4", "h:4")] {
        swap(name, &[("a.example", backend)]);
        leads_to(&router, &[("a.example", backend)]).await;
    }
}

#[tokio::test]
async fn changes_behind_links_are_noticed() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), Folder::with(&[]));
    // A link to the file; and a folder that is a link, as where releases are switched.
    let (link, current) = (
        folder.path().join("link.json"),
        folder.path().join("current"),
    );
    symlink(elsewhere.file(), &link).unwrap();
    let settings = |path: &Path| {
        let flag = format!("--routes-config={}", path.display());
        Settings::new().flag(flag).flag("--routes-config-watch")
    };
    let router = RouterProcess::start(settings(&link)).await.unwrap();
    // The first change may be found by the first look; the others are told of.
    for backend in ["h:1", "h:2", "h:3"] {
        elsewhere.replace(&[("a.example", backend)]);
        leads_to(&router, &[("a.example", backend)]).await;
    }

    symlink(elsewhere.0.path(), &current).unwrap();
    let settings = settings(&current.join("routes.json"));
    let router = RouterProcess::start(settings).await.unwrap();
    for backend in ["h:4", "h:5", "h:6"] {
        let release = folder.path().join(backend);
        fs::create_dir(&release).unwrap();
        fs::write(release.join("routes.json"), text(&[("b.example", backend)])).unwrap();
        symlink(&release, folder.path().join("new")).unwrap();
        fs::rename(folder.path().join("new"), &current).unwrap();
        leads_to(&router, &[("b.example", backend)]).await;
    }
}

/// As with a file that is mounted alone: it is written by another name, in another folder.
#[tokio::test]
async fn a_change_by_another_name_is_noticed() {
    let (folder, elsewhere) = (Folder::with(&[]), tempfile::tempdir().unwrap());
    let other = elsewhere.path().join("other.json");
    fs::hard_link(folder.file(), &other).unwrap();
    let router = folder.watched().await;
    for backend in ["h:1", "h:2", "h:3"] {
        fs::write(&other, text(&[("a.example", backend)])).unwrap();
        leads_to(&router, &[("a.example", backend)]).await;
    }
}

/// Defects: SIGHUP forgets every route but the file's, and `-default` with them.
#[tokio::test]
async fn a_hangup_reads_the_file_again_and_touches_nothing_else() {
    let database = Postgres::shared().await.unwrap().database().await.unwrap();
    let sql = database.client().await.unwrap();
    let insert = "INSERT INTO servers (name, domain, address) VALUES ('pg', 'pg.example', 'h:1')";
    sql.batch_execute(insert).await.unwrap();
    let lobby = Backend::start("lobby").await.unwrap();
    let folder = Folder::with(&[("a.example", "h:1")]);
    let settings = folder
        .settings()
        .database(&database)
        .flag("--mapping=flag.example=h:1")
        .flag(format!("--default={}", lobby.addr()));
    let router = RouterProcess::start(settings).await.unwrap();
    assert_eq!(post(&router.at, "api.example", "h:1").await.status, 201);
    let others = [("flag.example", "h:1"), ("pg.example", "h:1")];
    let before = [("a.example", "h:1"), ("api.example", "h:1")];
    leads_to(&router, &[&before[..], &others].concat()).await;

    let after = [("api.example", "h:1"), ("b.example", "h:2")];
    folder.replace(&after);
    router.process.signal("HUP").await.unwrap();

    leads_to(&router, &[&after[..], &others].concat()).await;
    let player = Player::new("whatever.example");
    player.enter(router.at.players).await.unwrap();
    assert_eq!(told(&router, "read again"), 1);
}

/// Defect: SIGHUP without a routes file ends the process.
#[tokio::test]
async fn a_hangup_without_a_file_is_a_line_in_the_log() {
    let settings = Settings::new().flag("--mapping=a.example=h:1");
    let mut router = RouterProcess::start(settings).await.unwrap();
    router.process.signal("HUP").await.unwrap();
    says(&router, &["there is no routes file"]).await;
    assert!(router.process.is_running().unwrap());
    leads_to(&router, &[("a.example", "h:1")]).await;
    router.process.signal("TERM").await.unwrap();
    assert!(router.process.exit(DEADLINE).await.unwrap().success());
}

#[tokio::test]
async fn a_bad_file_ends_the_start_by_name() {
    let folder = Folder::with(&[("a.example", "nowhere"), ("b c", "h:1")]);
    let flag = format!("--routes-config={}", folder.file().display());
    for (bad, named) in [(None, &["a.example", "b c"][..]), (Some("{"), &["JSON"])] {
        if let Some(bad) = bad {
            fs::write(folder.file(), bad).unwrap();
        }
        let output = ran(&["--port=0", &flag], &[]).await;
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        for named in named.iter().chain(&["routes.json"]) {
            assert!(error.contains(named), "{named} in {error}");
        }
    }
}

#[tokio::test]
async fn a_bad_file_later_keeps_the_routes_and_is_told_once() {
    let folder = Folder::with(&[("a.example", "h:1")]);
    let router = folder.watched().await;
    fs::write(folder.file(), "{\"mappings\":{\"a.example\":\"\"}}").unwrap();
    says(&router, &["routes.json", "a.example", "last good version"]).await;
    // Something else stirs in the folder, and is looked at; it is no news.
    fs::write(folder.0.path().join("other"), "").unwrap();
    router.process.signal("HUP").await.unwrap();
    eventually("the answer to whoever asked", DEADLINE, async || {
        told(&router, "last good version") == 2
    })
    .await
    .unwrap();
    leads_to(&router, &[("a.example", "h:1")]).await;

    folder.replace(&[("b.example", "h:1")]);
    leads_to(&router, &[("b.example", "h:1")]).await;
    assert_eq!(told(&router, "last good version"), 2);
}

#[tokio::test]
async fn a_file_that_is_not_there_is_told_and_read_once_it_is() {
    let folder = Folder(tempfile::tempdir().unwrap());
    let router = folder.watched().await;
    says(&router, &["routes.json", "there is no routes file yet"]).await;
    folder.replace(&[("a.example", "h:1")]);
    leads_to(&router, &[("a.example", "h:1")]).await;

    // One that goes takes no server down; an empty one would.
    fs::remove_file(folder.file()).unwrap();
    says(&router, &["routes.json", "last good version"]).await;
    leads_to(&router, &[("a.example", "h:1")]).await;
    folder.replace(&[]);
    leads_to(&router, &[]).await;
}

#[tokio::test]
async fn a_watch_that_fails_is_told_and_tried_again() {
    let above = tempfile::tempdir().unwrap();
    let folder = above.path().join("later");
    let file = folder.join("routes.json");
    let settings = Settings::new()
        .flag(format!("--routes-config={}", file.display()))
        .env("ROUTES_CONFIG_WATCH", "true");
    let router = RouterProcess::start(settings).await.unwrap();
    says(&router, &["routes.json", "cannot be watched"]).await;
    fs::create_dir(&folder).unwrap();
    says(&router, &["routes.json", "watched again"]).await;
    fs::write(&file, text(&[("a.example", "h:1")])).unwrap();
    leads_to(&router, &[("a.example", "h:1")]).await;
    assert_eq!(told(&router, "cannot be watched"), 1);
}

/// Defect: its file takes in the routes of flags and discovery, and is not written in one piece.
#[tokio::test]
async fn what_the_api_makes_is_there_after_a_restart_and_nothing_else_is_saved() {
    let database = Postgres::shared().await.unwrap().database().await.unwrap();
    let sql = database.client().await.unwrap();
    let insert = "INSERT INTO servers (name, domain, address) VALUES ('pg', 'pg.example', 'h:1')";
    sql.batch_execute(insert).await.unwrap();
    let lobby = Backend::start("lobby").await.unwrap();
    let folder = Folder::with(&[("a.example", "h:1"), ("b.example", "h:1")]);
    fs::set_permissions(folder.file(), fs::Permissions::from_mode(0o600)).unwrap();
    let settings = folder
        .settings()
        .database(&database)
        .flag("--mapping=flag.example=h:1");
    let router = RouterProcess::start(settings.clone()).await.unwrap();
    router.at.has("pg.example", DEADLINE).await.unwrap();

    assert_eq!(post(&router.at, "API.example.", "h:7").await.status, 201);
    assert_eq!(delete(&router.at, "B.example").await.status, 200);
    assert_eq!(delete(&router.at, "b.example").await.status, 404);
    assert_eq!(delete(&router.at, "pg.example").await.status, 409);
    let default = json!({ "backend": lobby.addr().to_string() }).to_string();
    let set = router.at.api(Method::POST, "/defaultRoute", &default).await;
    assert_eq!(set.unwrap().status, 200);

    let expected = json!({
        "default-server": lobby.addr().to_string(),
        "mappings": { "a.example": "h:1", "api.example": "h:7" },
    });
    assert_eq!(saved(&folder.file()), expected);
    let mode = fs::metadata(folder.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.0.path()).unwrap().count(), 1);

    drop(router);
    let router = RouterProcess::start(settings).await.unwrap();
    let after = [
        ("a.example", "h:1"),
        ("api.example", "h:7"),
        ("flag.example", "h:1"),
        ("pg.example", "h:1"),
    ];
    leads_to(&router, &after).await;
    let player = Player::new("whatever.example");
    player.enter(router.at.players).await.unwrap();
}

#[tokio::test]
async fn its_own_writing_is_no_news_to_the_router() {
    let folder = Folder::with(&[]);
    let router = folder.watched().await;
    for number in 0..5 {
        let host = format!("h{number}.example");
        assert_eq!(post(&router.at, &host, "h:1").await.status, 201);
    }
    // Somebody else's word is; by then its own has been looked at.
    folder.replace(&[("a.example", "h:1")]);
    leads_to(&router, &[("a.example", "h:1")]).await;
    says(&router, &["read again"]).await;
    assert_eq!(told(&router, "read again"), 1);
    assert_eq!(
        saved(&folder.file())["mappings"],
        json!({ "a.example": "h:1" })
    );
}

#[tokio::test]
async fn what_cannot_be_saved_is_refused_with_the_reason_and_loses_nothing() {
    let above = tempfile::tempdir().unwrap();
    let file = above.path().join("folder/routes.json");
    fs::create_dir(file.parent().unwrap()).unwrap();
    fs::write(&file, text(&[("a.example", "h:1")])).unwrap();
    let flag = format!("--routes-config={}", file.display());
    let router = RouterProcess::start(Settings::new().flag(flag))
        .await
        .unwrap();

    fs::write(&file, "{").unwrap();
    let broken = post(&router.at, "b.example", "h:1").await;
    assert_eq!(broken.status, 500, "{broken:?}");
    assert!(broken.body.contains("JSON"), "{broken:?}");
    assert_eq!(
        fs::read(&file).unwrap(),
        b"{",
        "somebody may be at work on it"
    );

    fs::remove_dir_all(file.parent().unwrap()).unwrap();
    for refused in [
        post(&router.at, "b.example", "h:1").await,
        delete(&router.at, "a.example").await,
    ] {
        assert_eq!(refused.status, 500, "{refused:?}");
        assert!(refused.body.contains("cannot be written"), "{refused:?}");
    }
    leads_to(&router, &[("a.example", "h:1")]).await;
    says(&router, &["routes.json", "cannot be written"]).await;

    fs::create_dir(file.parent().unwrap()).unwrap();
    assert_eq!(post(&router.at, "b.example", "h:1").await.status, 201);
    let both = [("a.example", "h:1"), ("b.example", "h:1")];
    assert_eq!(saved(&file)["mappings"], json!(routes(&both)));
}

/// Defect: it drops SRV labels from requests only, so that keys that have them are never found.
#[tokio::test]
async fn srv_labels_are_dropped_from_requests_and_keys_where_that_is_set() {
    let backend = Backend::start("lobby").await.unwrap();
    let address = backend.addr().to_string();
    let folder = Folder::with(&[("_minecraft._tcp.file.example", &address)]);
    let flag = format!("--mapping=_minecraft._tcp.flag.example={address}");
    let settings = folder.settings().flag(flag);
    let hosts = [
        "_minecraft._tcp.flag.example",
        "x._TCP.file.example.",
        "flag.example",
    ];
    let router = RouterProcess::start(settings.clone().flag("--simplify-srv"))
        .await
        .unwrap();
    for host in hosts {
        Player::new(host).enter(router.at.players).await.unwrap();
    }
    leads_to(
        &router,
        &[("file.example", &address), ("flag.example", &address)],
    )
    .await;
    assert_eq!(delete(&router.at, "a._tcp.file.example").await.status, 200);

    let router = RouterProcess::start(settings).await.unwrap();
    Player::new(hosts[0])
        .enter(router.at.players)
        .await
        .unwrap();
    Player::new(hosts[2])
        .refusal(router.at.players)
        .await
        .unwrap();
}
