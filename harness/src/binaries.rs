//! Finds the binaries under test, building them once where that is needed.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Error, Result, bail, ensure};
use tokio::process::Command;
use tokio::sync::OnceCell;

/// Built at most once per process.
static BUILT: OnceCell<Result<PathBuf, String>> = OnceCell::const_new();

/// The path of the `automc-router` binary: `AUTOMC_ROUTER_BIN` if set, else this workspace's, or, of a copied harness,
/// the one beside it.
///
/// # Errors
/// It does not build, or is not there.
pub async fn router() -> Result<PathBuf> {
    match std::env::var_os("AUTOMC_ROUTER_BIN") {
        Some(path) => Ok(path.into()),
        None => binary("automc-router").await,
    }
}

/// The path of this workspace's `harness` binary.
///
/// # Errors
/// It does not build.
pub async fn harness() -> Result<PathBuf> {
    binary("harness").await
}

/// The path of this workspace's `waker-mock` binary.
///
/// # Errors
/// It does not build.
pub async fn waker_mock() -> Result<PathBuf> {
    binary("waker-mock").await
}

/// The path of this workspace's `xtask` binary, which `cargo demo` begins with.
///
/// # Errors
/// It does not build.
pub async fn xtask() -> Result<PathBuf> {
    binary("xtask").await
}

async fn binary(name: &str) -> Result<PathBuf> {
    // A copy of this program is nobody's build: it comes with what it needs.
    if target().is_err() {
        return beside(&directory()?, name);
    }
    let built = BUILT.get_or_init(|| async { build().await.map_err(|error| format!("{error:#}")) });
    match built.await {
        Ok(directory) => Ok(directory.join(name)),
        Err(error) => bail!("{error}"),
    }
}

/// The program of this name in a folder to which programs were copied.
fn beside(folder: &Path, name: &str) -> Result<PathBuf> {
    let program = folder.join(name);
    ensure!(
        program.is_file(),
        "there is no {name} beside this program, in {}: copy it there, or run `cargo demo` in the workspace",
        folder.display()
    );
    Ok(program)
}

/// The release build of the router, with its own features and nobody else's; `AUTOMC_ROUTER_BIN` if set.
///
/// # Errors
/// It does not build.
pub async fn release_router() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("AUTOMC_ROUTER_BIN") {
        return Ok(path.into());
    }
    let Ok(target) = target() else {
        return beside(&directory()?, "automc-router");
    };
    cargo_build(&target, &["--release", "-p", "automc-router"]).await?;
    Ok(target.join("release").join("automc-router"))
}

/// Builds what this very program was built with: same workspace, profile and target directory.
/// A cargo that built this program has built the rest of it too, so there is seldom much to do.
async fn build() -> Result<PathBuf> {
    let directory = directory()?;
    let release = directory.file_name().is_some_and(|name| name == "release");
    let profile = if release { &["--release"][..] } else { &[] };
    cargo_build(&target()?, &[&["--workspace", "--bins"], profile].concat()).await?;
    Ok(directory)
}

/// The target folder.
///
/// # Errors
/// This program is in none: it was copied elsewhere.
pub(crate) fn target() -> Result<PathBuf> {
    xtask::target_folder().map_err(Error::msg)
}

/// Where this program is: `target/debug` of `target/debug/harness` or `target/debug/deps/it-0123`.
fn directory() -> Result<PathBuf> {
    let program = std::env::current_exe().context("where this program is")?;
    let directory = program
        .ancestors()
        .skip(1)
        .find(|path| path.file_name().is_some_and(|name| name != "deps"))
        .context("this program is in no folder")?;
    Ok(directory.to_owned())
}

async fn cargo_build(target: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = Command::from(xtask::cargo());
    let output = command
        .args(["build", "--quiet", "--target-dir"])
        .arg(target)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .context("run cargo to build the binaries")?;
    if !output.status.success() {
        bail!(
            "the binaries do not build:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
