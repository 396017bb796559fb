//! Changes of fixed routes, one at a time: by the REST API, which writes the routes file where there
//! is one, and by reading that file again.
//!
//! The API changes what the file says at that moment, so that nobody's edit is lost; a change that
//! cannot be written is not made.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tracing::{debug, info, warn};

use super::diff::Change;
use super::file::{BYTES_MAX, Edit, Problems, RoutesFile};
use super::offer::Provider;
use super::registry::{Full, Outcome, Registry};
use crate::disk;

/// The fixed routes, for whoever changes them.
#[derive(Debug)]
pub struct FixedRoutes {
    registry: Arc<Registry>,
    path: Option<PathBuf>,
    /// Whose turn it is, with what was told last of a file that could not be read.
    turn: Arc<Mutex<Option<String>>>,
}

/// Why there is nothing to be had from the file.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system's reason.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What it says.
    #[error("{0}")]
    Content(#[from] Problems),
}

/// A routes file at start that is there, but not of use.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", .path.display())]
pub struct Unusable {
    path: PathBuf,
    error: ReadError,
}

/// Why a change is not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// One route too many.
    #[error("{0}")]
    Full(#[from] Full),
    /// The file would be.
    #[error("the routes file would be larger than {BYTES_MAX} bytes; nothing was changed")]
    TooLarge,
    /// To write over it would lose what somebody wants to say with it.
    #[error("the routes file is not written over while it cannot be read: {0}")]
    Unreadable(ReadError),
    /// The disk, or its rights.
    #[error("the routes file cannot be written, so nothing was changed: {0}{hint}", hint = hint(.0))]
    NotWritten(io::Error),
}

impl FixedRoutes {
    /// Has `registry` begin with what the file at `path` says. One that is not there yet has
    /// nothing to say. Reads as long as the disk takes.
    ///
    /// # Errors
    /// [`Unusable`]: it cannot be read, or says something else.
    pub fn open(registry: Arc<Registry>, path: Option<PathBuf>) -> Result<Arc<Self>, Unusable> {
        let mut told = None;
        if let Some(path) = &path {
            let place = path.display();
            match read(path, &registry) {
                Ok(file) => {
                    tell_unknown(path, file.unknown());
                    let routes = file.mappings.len();
                    registry.replace_file(file);
                    info!(routes, "{place}: routes file read");
                }
                Err(error) if error.is_missing() => {
                    warn!("{place}: there is no routes file yet; starting without its routes");
                    registry.failed(Provider::File, error.to_string());
                    told = Some(error.to_string());
                }
                Err(error) => {
                    let path = path.clone();
                    return Err(Unusable { path, error });
                }
            }
        }
        Ok(Arc::new(Self {
            registry,
            path,
            turn: Arc::new(Mutex::new(told)),
        }))
    }

    /// Where the file is, if there is to be one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Makes a change, and writes the file if there is to be one. Once its turn has come, it is
    /// made even if nobody waits for it any more.
    ///
    /// # Errors
    /// [`ChangeError`]; then nothing has changed.
    pub async fn change(self: &Arc<Self>, edit: Edit) -> Result<Outcome, ChangeError> {
        let (turn, this) = (Arc::clone(&self.turn).lock_owned().await, Arc::clone(self));
        let made = spawn_blocking(move || {
            let _turn = turn;
            this.change_now(&edit)
        });
        let made = made
            .await
            .unwrap_or_else(|error| Err(ChangeError::NotWritten(io::Error::other(error))));
        if let (Err(error), Some(path)) = (&made, &self.path) {
            warn!("{}: {error}", path.display());
        }
        made
    }

    /// Reads the file again. What is wrong with it is told, once unless somebody `asked`, and then
    /// the routes stay.
    pub async fn reload(self: &Arc<Self>, asked: bool) {
        let Some(path) = self.path.clone() else {
            info!("there is no routes file (routes-config) that could be read again");
            return;
        };
        let (mut turn, this) = (Arc::clone(&self.turn).lock_owned().await, Arc::clone(self));
        let read = spawn_blocking(move || this.reload_now(&path, &mut turn, asked));
        if let Err(error) = read.await {
            warn!("the routes file was not read again: {error}");
        }
    }

    fn change_now(&self, edit: &Edit) -> Result<Outcome, ChangeError> {
        let (mut file, is_missing) = match &self.path {
            None => (self.registry.file(), false),
            Some(path) => match read(path, &self.registry) {
                Ok(file) => (file, false),
                Err(error) if error.is_missing() => (self.registry.file(), true),
                Err(error) => return Err(ChangeError::Unreadable(error)),
            },
        };
        let changed = file.apply(edit)?;
        // Not for the removal of what is not there.
        let first = is_missing && !matches!(edit, Edit::Remove(_) | Edit::Default(None));
        if let Some(path) = &self.path
            && (changed || first)
        {
            let json = file.to_json();
            if json.len() > BYTES_MAX {
                return Err(ChangeError::TooLarge);
            }
            disk::replace(path, json.as_bytes()).map_err(ChangeError::NotWritten)?;
            debug!("{}: routes file written", path.display());
        }
        let outcome = self.registry.edit(file, edit);
        // Also a route that somebody else had written, and that was not read yet.
        Ok(if changed { Outcome::Done } else { outcome })
    }

    fn reload_now(&self, path: &Path, told: &mut Option<String>, asked: bool) {
        let place = path.display();
        let file = match read(path, &self.registry) {
            Ok(file) => file,
            Err(error) => {
                let error = error.to_string();
                if asked || told.as_ref() != Some(&error) {
                    warn!("{place}: {error}; the routes of its last good version stay");
                }
                self.registry.failed(Provider::File, error.clone());
                *told = Some(error);
                return;
            }
        };
        let routes = file.mappings.len();
        let unknown = file.unknown();
        let changes = self.registry.replace_file(file);
        let default_changed = changes.default_changed();
        let recovered = told.take().is_some();
        if asked || recovered || !changes.is_empty() {
            let hosts = &changes.hosts;
            let count = |is: fn(&Change<_, _>) -> bool| hosts.iter().filter(|c| is(c)).count();
            let added = count(|change| matches!(change, Change::Add(..)));
            let removed = count(|change| matches!(change, Change::Remove(..)));
            let changed = hosts.len() - added - removed;
            info!(
                routes,
                added, removed, changed, default_changed, "{place}: routes file read again"
            );
            tell_unknown(path, unknown);
        }
    }
}

impl ReadError {
    fn is_missing(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

fn read(path: &Path, registry: &Registry) -> Result<RoutesFile, ReadError> {
    let bytes = disk::read(path, u64::try_from(BYTES_MAX).unwrap_or(u64::MAX))?;
    Ok(RoutesFile::parse(&bytes, registry.names())?)
}

fn tell_unknown(path: &Path, unknown: Option<String>) {
    if let Some(keys) = unknown {
        warn!("{}: {keys}: no key that is known here", path.display());
    }
}

/// What Docker answers for a file that was mounted alone: nothing can take its place.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ResourceBusy => " (mount its folder instead of the file alone)",
        _ => "",
    }
}

#[cfg(test)]
#[path = "file_keeper_tests.rs"]
mod tests;
