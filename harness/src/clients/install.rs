//! Installs what the scripts need into the target directory: once, as the lock files say.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::binaries;
use crate::eventually::eventually;

/// Longest time one step of an installation may take.
const STEP_DEADLINE: Duration = Duration::from_secs(240);
/// Longest wait for another process that installs the same.
const LOCK_DEADLINE: Duration = Duration::from_secs(600);
/// The file that says what a complete installation was made of.
const STAMP: &str = "installed";

/// Installed at most once per process.
static NODE: OnceCell<Result<PathBuf, String>> = OnceCell::const_new();
static PYTHON: OnceCell<Result<PathBuf, String>> = OnceCell::const_new();

/// The folder with `node_modules`.
///
/// # Errors
/// Node.js or npm is missing, or it does not install.
pub(super) async fn node() -> Result<PathBuf> {
    let lists = ["package.json", "package-lock.json", ".npmrc"];
    let installed = NODE.get_or_init(|| once("node", &lists, npm));
    installed.await.clone().map_err(anyhow::Error::msg)
}

/// The folder of the virtual environment.
///
/// # Errors
/// Python or its venv is missing, or it does not install.
pub(super) async fn python() -> Result<PathBuf> {
    let installed = PYTHON.get_or_init(|| once("python3", &["requirements.txt"], pip));
    installed.await.clone().map_err(anyhow::Error::msg)
}

async fn npm(folder: PathBuf) -> Result<()> {
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
    work.await.map_err(|error| {
        format!(
            "tests with real Minecraft clients need Node.js 18 or newer, npm and Python with venv \
             (Debian: nodejs npm python3 python3-venv), and package registries: {error:#}"
        )
    })
}

async fn fill<F: Future<Output = Result<()>>>(
    target: &Path,
    program: &str,
    lists: &[&str],
    install: impl FnOnce(PathBuf) -> F,
) -> Result<PathBuf> {
    std::fs::create_dir_all(target)?;
    let _lock = lock(&target.join(format!("{program}.lock"))).await?;
    let folder = target.join(program);
    let stamp = folder.join(STAMP);
    let mut wanted = output(Command::new(program).arg("--version")).await?;
    for list in lists {
        wanted += &std::fs::read_to_string(super::folder().join(list)).context(list.to_string())?;
    }
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
