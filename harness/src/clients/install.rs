//! Installs what the scripts need into the target directory: once, as the lock files say.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use tokio::process::Command;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::binaries;
use crate::eventually::eventually;
use crate::skip;

/// Longest time one step of an installation may take.
const STEP_DEADLINE: Duration = Duration::from_secs(240);
/// Longest wait for another process that installs the same.
const LOCK_DEADLINE: Duration = Duration::from_secs(600);
/// The oldest Node.js that the clients run on.
const NODE_MIN: u32 = 18;
/// The package with the tables of versions.
const DATA: &str = "minecraft-data";
/// The file that says what a complete installation was made of.
const STAMP: &str = "installed";

/// Installed at most once per process.
static NODE: OnceCell<Result<PathBuf, String>> = OnceCell::const_new();
static PYTHON: OnceCell<Result<PathBuf, String>> = OnceCell::const_new();

/// Says that what came is not what the list of packages names: npm's word, and pip's.
const WRONG: [&str; 2] = ["EINTEGRITY", "DO NOT MATCH THE HASHES"];

/// Whether clients and servers in JavaScript can run here. If not, the test is noted as skipped.
///
/// # Errors
/// No test may be skipped, or what was downloaded is not what the lock file names.
pub async fn node_is_here() -> Result<bool> {
    is_here(node().await)
}

/// Whether clients in Python can run here. If not, the test is noted as skipped.
///
/// # Errors
/// No test may be skipped, or what was downloaded is not what the list names.
pub async fn python_is_here() -> Result<bool> {
    is_here(python().await)
}

fn is_here(installed: Result<PathBuf>) -> Result<bool> {
    match installed {
        Ok(_) => Ok(true),
        Err(error) if WRONG.iter().any(|word| error.to_string().contains(word)) => Err(error),
        Err(error) => skip(&error.to_string()).map(|()| false),
    }
}

/// The folder with `node_modules`.
///
/// # Errors
/// Node.js or npm is missing, or it does not install.
pub(super) async fn node() -> Result<PathBuf> {
    let lists = ["package.json", "package-lock.json", ".npmrc"];
    let installed = NODE.get_or_init(|| once("node", &lists, npm));
    let needs = "Node.js 18 or newer, and npm (Debian: apt-get install nodejs npm)";
    result(installed.await, needs)
}

/// The folder of the virtual environment.
///
/// # Errors
/// Python or its venv is missing, or it does not install.
pub(super) async fn python() -> Result<PathBuf> {
    let installed = PYTHON.get_or_init(|| once("python3", &["requirements.txt"], pip));
    let needs = "Python with venv (Debian: apt-get install python3 python3-venv)";
    result(installed.await, needs)
}

fn result(installed: &Result<PathBuf, String>, needs: &str) -> Result<PathBuf> {
    let refused =
        |error| anyhow!("no clients that others have written: {error}. They need {needs}");
    installed.clone().map_err(refused)
}

/// The newest edition of minecraft-data that is published, and its data folder. Where that is not to be had,
/// and where nobody but CI asks, the installed one: a release of Minecraft breaks nobody's build at home.
///
/// # Errors
/// As for [`node`].
pub(super) async fn newest_data() -> Result<(String, PathBuf)> {
    let installed = node().await?.join("node_modules").join(DATA);
    let about = std::fs::read(installed.join("package.json"))?;
    let about: serde_json::Value = serde_json::from_slice(&about)?;
    let pinned = about.get("version").and_then(serde_json::Value::as_str);
    let pinned = pinned.context("no version")?.to_owned();
    let pinned = (pinned, installed.join(DATA).join("data"));
    if std::env::var_os("CI").is_none() {
        return Ok(pinned);
    }
    let Ok(newest) = output(bounded_npm().args(["view", DATA, "version"])).await else {
        return Ok(pinned);
    };
    let newest = newest.trim().to_owned();
    if newest == pinned.0 {
        return Ok(pinned);
    }
    let target = binaries::target()?.join("clients");
    let unpack = |folder| unpacked(folder, newest.clone());
    let folder = kept(&target, DATA, newest.clone(), &[], unpack).await;
    Ok(folder.map_or(pinned, |folder| (newest, folder.join("data"))))
}

/// Unpacks the protocols of that edition: the whole of it has half a gigabyte.
async fn unpacked(folder: PathBuf, edition: String) -> Result<()> {
    let mut pack = bounded_npm();
    pack.arg("pack").arg(format!("{DATA}@{edition}"));
    output(pack.current_dir(&folder)).await?;
    let archive = folder.join(format!("{DATA}-{edition}.tgz"));
    let mut tar = Command::new("tar");
    tar.arg("-xzf")
        .arg(&archive)
        .args(["--strip-components=2", "--wildcards"])
        .args([
            "package/minecraft-data/data/dataPaths.json",
            "package/minecraft-data/data/pc/common/protocolVersions.json",
            "package/minecraft-data/data/pc/*/protocol.json",
        ]);
    output(tar.current_dir(&folder)).await?;
    std::fs::remove_file(archive).context("the archive")
}

/// npm that gives up soon where there is no network.
fn bounded_npm() -> Command {
    let mut npm = Command::new("npm");
    npm.args([
        "--fetch-retries=1",
        "--fetch-timeout=60000",
        "--loglevel=error",
    ]);
    npm.arg("--no-update-notifier");
    npm
}

async fn npm(folder: PathBuf) -> Result<()> {
    let node = output(Command::new("node").arg("--version")).await?;
    let major = node.trim().trim_start_matches('v').split('.').next();
    let major: u32 = major
        .and_then(|major| major.parse().ok())
        .unwrap_or_default();
    ensure!(major >= NODE_MIN, "Node.js is {}", node.trim());
    let mut npm = Command::new("npm");
    // Nothing of it has to be compiled or fetched from elsewhere.
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .args(["--no-update-notifier", "--loglevel=error"]);
    output(npm.current_dir(folder)).await.map(drop)
}

async fn pip(folder: PathBuf) -> Result<()> {
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "."]);
    output(venv.current_dir(&folder)).await?;
    let mut pip = Command::new(folder.join("bin").join("pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check"])
        .args(["--require-hashes", "--only-binary=:all:"])
        .args(["--requirement", "requirements.txt"]);
    output(pip.current_dir(&folder)).await.map(drop)
}

/// Has `install` fill a folder for `program` that holds `lists`, unless that has been done with the
/// same lists and the same program.
async fn once<F: Future<Output = Result<()>>>(
    program: &str,
    lists: &[&str],
    install: impl FnOnce(PathBuf) -> F,
) -> Result<PathBuf, String> {
    let work = async {
        let target = binaries::target()?.join("clients");
        fill(&target, program, lists, install).await
    };
    work.await.map_err(|error| format!("{error:#}"))
}

async fn fill<F: Future<Output = Result<()>>>(
    target: &Path,
    program: &str,
    lists: &[&str],
    install: impl FnOnce(PathBuf) -> F,
) -> Result<PathBuf> {
    let mut wanted = output(Command::new(program).arg("--version")).await?;
    for list in lists {
        wanted += &std::fs::read_to_string(super::folder().join(list)).context(list.to_string())?;
    }
    kept(target, program, wanted, lists, install).await
}

/// The folder `name` in `target`, filled by `install` unless it holds what is `wanted` already.
async fn kept<F: Future<Output = Result<()>>>(
    target: &Path,
    name: &str,
    wanted: String,
    lists: &[&str],
    install: impl FnOnce(PathBuf) -> F,
) -> Result<PathBuf> {
    std::fs::create_dir_all(target)?;
    let _lock = lock(&target.join(format!("{name}.lock"))).await?;
    let folder = target.join(name);
    let stamp = folder.join(STAMP);
    if std::fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(folder);
    }
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    for list in lists {
        std::fs::copy(super::folder().join(list), folder.join(list))?;
    }
    install(folder.clone()).await?;
    std::fs::write(&stamp, wanted)?;
    Ok(folder)
}

/// Holds the file until it is dropped; no other process does so at the same time.
async fn lock(path: &Path) -> Result<File> {
    let file = File::create(path)?;
    eventually("another installation to end", LOCK_DEADLINE, async || {
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => "still going on".to_owned(),
            TryLockError::Error(error) => error.to_string(),
        })
    })
    .await?;
    Ok(file)
}

/// What it prints.
async fn output(command: &mut Command) -> Result<String> {
    let name = command.as_std().get_program().display().to_string();
    let run = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let Ok(output) = timeout(STEP_DEADLINE, run).await else {
        bail!("`{name}` did not end within {STEP_DEADLINE:?}");
    };
    let output = output.with_context(|| format!("run `{name}`"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "`{name}`: {}\n{error}",
        output.status
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
