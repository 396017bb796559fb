//! Files as a whole: read within bounds, and replaced so that whoever reads finds one or the other.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

/// The mode of a new file, less what the process's mask takes away.
const NEW_FILE_MODE: u32 = 0o644;

/// Reads the file at `path`, up to and including one byte more than `bytes_max`.
///
/// # Errors
/// The system's, and one of its own for what is no file: a pipe would be waited for, and a device
/// has no end.
pub(crate) fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?
        .take(bytes_max.saturating_add(1))
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens the file at `path` to be read.
///
/// # Errors
/// As for [`read`].
pub(crate) fn open(path: &Path) -> io::Result<File> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    File::open(path)
}

/// Puts a file with `bytes` into the place of the one at `path`, with its mode and, where that is
/// allowed, its owner. Where `path` is a link, it goes on to lead to the file.
///
/// # Errors
/// The system's; then everything is as it was.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut new = Replacement::of(path)?;
    new.write(bytes)?;
    new.finish().map(drop)
}

/// Whether a file could be put into the place of the one at `path`; changes nothing.
///
/// # Errors
/// The system's.
pub(crate) fn try_to_replace(path: &Path) -> io::Result<()> {
    Replacement::of(path).map(drop)
}

/// A file that is written beside the one whose place it takes in the end, or gone when it is dropped before.
#[derive(Debug)]
pub(crate) struct Replacement {
    file: Option<File>,
    new: PathBuf,
    path: PathBuf,
}

impl Replacement {
    /// An empty one for `path`, as [`replace`] has it.
    ///
    /// # Errors
    /// The system's; then everything is as it was.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        // Of two processes that were given one file, the last one to write wins; neither spoils it.
        let new = beside(&path, &format!("{}.new", std::process::id()));
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(NEW_FILE_MODE)
            .open(&new)?;
        let replacement = Self {
            file: Some(file),
            new,
            path,
        };
        replacement.take_after()?;
        Ok(replacement)
    }

    /// Has it look like the one whose place it takes.
    fn take_after(&self) -> io::Result<()> {
        if let (Some(file), Ok(old)) = (&self.file, fs::metadata(&self.path)) {
            drop(fchown(file, Some(old.uid()), Some(old.gid())));
            file.set_permissions(old.permissions())?;
        }
        Ok(())
    }

    /// Adds `bytes` to it.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.file {
            Some(file) => file.write_all(bytes),
            None => Ok(()),
        }
    }

    /// Puts it into its place, for good; it can be written on.
    ///
    /// # Errors
    /// The system's; then everything is as it was.
    pub(crate) fn finish(mut self) -> io::Result<Option<File>> {
        if let Some(file) = &self.file {
            file.sync_all()?;
        }
        fs::rename(&self.new, &self.path)?;
        // So that the new name is on the disk, too; some file systems cannot.
        let folder = self.path.parent();
        let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
        let folder = File::open(folder.unwrap_or_else(|| Path::new(".")));
        drop(folder.and_then(|folder| folder.sync_all()));
        Ok(self.file.take())
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if self.file.is_some() {
            drop(fs::remove_file(&self.new));
        }
    }
}

/// `path` with another ending appended.
#[must_use]
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_replaced_file_keeps_its_mode_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        replace(&path, b"new").unwrap();
        assert_eq!(mode(&path) & !0o644, 0);
        for kept in [0o600, 0o664] {
            fs::set_permissions(&path, fs::Permissions::from_mode(kept)).unwrap();
            replace(&path, b"newer").unwrap();
            assert_eq!(mode(&path), kept);
        }
        assert_eq!(read(&path, 100).unwrap(), b"newer");
        assert_eq!(read(&path, 3).unwrap(), b"newe");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_goes_on_to_lead_to_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        symlink(&file, &link).unwrap();

        replace(&link, b"new").unwrap();

        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"new");
    }

    #[test]
    fn what_cannot_be_replaced_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("folder");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), "").unwrap();

        assert!(replace(&path, b"new").is_err());

        assert!(path.join("inside").exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(read(&path, 10).is_err(), "a folder is no file");
        assert!(replace(&folder.path().join("none/file"), b"new").is_err());
    }
}
