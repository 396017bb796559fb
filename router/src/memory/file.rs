//! The snapshot file: read at start, written while there is news, and once more at the end.
//!
//! Written beside and renamed, so that whoever reads finds the whole of one or the other. Trouble is
//! told once and ends nothing.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::model::{Model, NoMemory};
use super::{Memory, now, tell_broken};

/// Largest file that is read: twice what is ever written.
pub const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Least time between two writes; only the one at the end does not wait for it.
pub const WRITE_PAUSE: Duration = Duration::from_secs(60);

/// Why there is nothing to be had from the file.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is no file")]
    NoFile,
    #[error("it is larger than {FILE_BYTES_MAX} bytes")]
    TooLarge,
    #[error("{0}")]
    Content(#[from] NoMemory),
}

impl Memory {
    /// Adds what the file at `path` has; without one there is nothing to add. A file that holds
    /// something else is set aside rather than written over. Reads as long as the disk takes.
    pub fn read_file(&self, path: &Path) {
        let mut broken = Vec::new();
        let place = path.display().to_string();
        match read(path, &mut broken) {
            Ok(model) => self.model().merge_file(model),
            Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                debug!("{place}: not there yet");
            }
            Err(error @ (ReadError::TooLarge | ReadError::Content(_))) => {
                let aside = beside(path, "broken");
                match fs::rename(path, &aside) {
                    Ok(()) => warn!(
                        "{place}: {error}; it is {} now, nothing is remembered",
                        aside.display()
                    ),
                    Err(_) => warn!("{place}: {error}; nothing is remembered"),
                }
            }
            Err(error) => warn!("{place}: {error}; nothing is remembered"),
        }
        tell_broken(&place, &broken);
    }
}

/// Writes `memory` to the file at `path` whenever there is news, [`WRITE_PAUSE`] apart, and once
/// more when `stop` is cancelled.
pub async fn keep(memory: Arc<Memory>, path: PathBuf, stop: CancellationToken) {
    let (mut changes, mut told) = (memory.changed.subscribe(), false);
    let mut stopping = false;
    // There may have been news before.
    changes.mark_changed();
    while !stopping {
        // The sender is in `memory`, so this ends with news or with the router.
        stopping = stop.run_until_cancelled(changes.changed()).await.is_none();
        let Some(model) = memory.model().take_unsaved() else {
            continue;
        };
        let to = path.clone();
        let written = tokio::task::spawn_blocking(move || write(&to, &model.to_json())).await;
        match written.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(()) => told = false,
            Err(error) => {
                memory.model().not_saved();
                if !told {
                    warn!(
                        "{}: {error}; what is remembered will not survive a restart",
                        path.display()
                    );
                }
                told = true;
                changes.mark_changed();
            }
        }
        stop.run_until_cancelled(tokio::time::sleep(WRITE_PAUSE))
            .await;
    }
}

fn read(path: &Path, broken: &mut Vec<String>) -> Result<Model, ReadError> {
    // A pipe would be waited for, and a device has no end.
    if !fs::metadata(path)?.is_file() {
        return Err(ReadError::NoFile);
    }
    let mut bytes = Vec::new();
    let length = File::open(path)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)?;
    if u64::try_from(length).is_ok_and(|length| length > FILE_BYTES_MAX) {
        return Err(ReadError::TooLarge);
    }
    Ok(Model::read(
        &String::from_utf8_lossy(&bytes),
        now(),
        broken,
    )?)
}

fn write(path: &Path, json: &str) -> io::Result<()> {
    // Of two routers that were given one file, the last one to write wins; neither spoils it.
    let new = beside(path, &format!("{}.new", std::process::id()));
    let written = File::create(&new)
        .and_then(|mut file| {
            file.write_all(json.as_bytes())
                .and_then(|()| file.sync_all())
        })
        .and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        drop(fs::remove_file(&new));
        return written;
    }
    // So that the new name is on the disk, too; some file systems cannot.
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    drop(File::open(folder.unwrap_or_else(|| Path::new("."))).and_then(|folder| folder.sync_all()));
    Ok(())
}

/// `path` with another ending appended.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
