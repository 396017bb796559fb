//! The snapshot file: read at start, written while there is news, and once more at the end.
//!
//! Trouble is told once and ends nothing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::model::{Model, NoMemory};
use super::{Memory, now, tell_broken};
use crate::disk;

/// Largest file that is read: twice what is ever written.
pub const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Least time between two writes; only the one at the end does not wait for it.
pub const WRITE_PAUSE: Duration = Duration::from_secs(60);

/// Why there is nothing to be had from the file.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("{0}")]
    Io(#[from] io::Error),
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
                let aside = disk::beside(path, "broken");
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
    let mut changes = memory.changed.subscribe();
    // Who has to set it right is there at the start, and not when there is something to write.
    let to = path.clone();
    let tried = tokio::task::spawn_blocking(move || disk::try_to_replace(&to)).await;
    let mut told = false;
    if let Ok(Err(error)) = tried {
        tell_unwritten(&path, &error);
        told = true;
    }
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
        let written =
            tokio::task::spawn_blocking(move || disk::replace(&to, model.to_json().as_bytes()))
                .await;
        match written.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(()) => told = false,
            Err(error) => {
                memory.model().not_saved();
                if !told {
                    tell_unwritten(&path, &error);
                }
                told = true;
                changes.mark_changed();
            }
        }
        stop.run_until_cancelled(tokio::time::sleep(WRITE_PAUSE))
            .await;
    }
}

fn tell_unwritten(path: &Path, error: &io::Error) {
    let place = path.display();
    warn!("{place}: {error}; what is remembered will not survive a restart");
}

fn read(path: &Path, broken: &mut Vec<String>) -> Result<Model, ReadError> {
    let bytes = disk::read(path, FILE_BYTES_MAX)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
        return Err(ReadError::TooLarge);
    }
    Ok(Model::read(
        &String::from_utf8_lossy(&bytes),
        now(),
        broken,
    )?)
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
