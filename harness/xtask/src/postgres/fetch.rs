//! Server programs in the target folder: fetched once, whole or not at all, by one process at a time.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::park_timeout;
use std::time::{Duration, Instant};

use super::ways::{Fetch, WAYS};
use super::{Programs, local};
use crate::patience::{Lines, Say};

/// Longest wait for another process that fetches the same: all ways, each step of them late.
const LOCK_DEADLINE: Duration = Duration::from_secs(20 * 60);
/// How long to rest between two looks at the lock.
const LOOK: Duration = Duration::from_millis(50);
/// Says what is there, with sizes; written last. Its first line names what it was fetched by.
const LIST: &str = "list";
/// Longest such list, in bytes, and most files in it.
const LIST_MAX: u64 = 4 * 1024 * 1024;
const FILES_MAX: usize = 20_000;
/// Folders within folders, at most.
const DEPTH_MAX: usize = 16;

/// The programs in `folder`, which are fetched unless they are there.
pub(super) fn programs(folder: &Path, say: Say<'_>) -> Result<Programs, String> {
    programs_by(folder, &WAYS, say)
}

fn programs_by(folder: &Path, ways: &[&dyn Fetch], say: Say<'_>) -> Result<Programs, String> {
    let text = |error: io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(text)?;
    let _lock = lock(&folder.join("lock"), say)?;
    let (whole, draft) = (folder.join("whole"), folder.join("draft"));
    match kept(&whole, ways) {
        Ok(programs) => return Ok(programs),
        Err(_) if !whole.exists() => {}
        Err(reason) => say(&format!("  what was fetched before is of no use: {reason}")),
    }
    let mut reasons = Vec::new();
    for way in ways {
        if let Err(reason) = way.is_here() {
            reasons.push(reason);
            continue;
        }
        say(&format!(
            "  fetching server programs: {} (once, into {})",
            way.describe(),
            folder.display()
        ));
        clear(&draft).map_err(text)?;
        fs::create_dir_all(&draft).map_err(text)?;
        let fetched = way.fill(&draft, say).and_then(|()| found(&draft, *way));
        match fetched {
            Ok(()) => {
                clear(&whole).map_err(text)?;
                fs::rename(&draft, &whole).map_err(text)?;
                return kept(&whole, ways);
            }
            Err(reason) => {
                say(&format!("  that did not work: {reason}"));
                reasons.push(format!("{}: {reason}", way.describe()));
            }
        }
    }
    drop(clear(&draft));
    Err(reasons.join("; "))
}

fn clear(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        cleared => cleared,
    }
}

/// Holds the file until it is dropped, or this process ends; no other process does so at the same time.
fn lock(path: &Path, say: Say<'_>) -> Result<File, String> {
    let file = File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let (end, mut lines) = (Instant::now() + LOCK_DEADLINE, Lines::begin());
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < end => {}
            Err(error) => return Err(format!("{}: {error}", path.display())),
        }
        lines.tell("another process fetches the same", say);
        // Nobody wakes it earlier.
        park_timeout(LOOK);
    }
}

/// What says which programs these are.
fn name(way: &dyn Fetch) -> String {
    let mut hasher = DefaultHasher::new();
    way.pins().hash(&mut hasher);
    format!("{} {:016x}", way.describe(), hasher.finish())
}

/// Finds the programs in what was fetched, tries them, and writes the list.
fn found(draft: &Path, way: &dyn Fetch) -> Result<(), String> {
    let mut files = Vec::new();
    walk(draft, Path::new(""), DEPTH_MAX, &mut files).map_err(|error| error.to_string())?;
    let programs = programs_of(draft, files.iter().map(|(path, _)| path.as_path()))?;
    local::work(&programs)?;
    let mut list = name(way);
    for (path, size) in files {
        list += &format!("\n{size} {}", path.display());
    }
    fs::write(draft.join(LIST), list).map_err(|error| error.to_string())
}

/// All files, with sizes, by their paths within `top`.
fn walk(
    top: &Path,
    within: &Path,
    depth: usize,
    files: &mut Vec<(PathBuf, u64)>,
) -> io::Result<()> {
    for entry in fs::read_dir(top.join(within))? {
        let entry = entry?;
        let (path, kind) = (within.join(entry.file_name()), entry.file_type()?);
        if kind.is_dir() && depth > 0 {
            walk(top, &path, depth - 1, files)?;
        } else if let Ok(facts) = fs::metadata(entry.path())
            && facts.is_file()
        {
            files.push((path, facts.len()));
        }
        if files.len() > FILES_MAX {
            return Err(io::Error::other("more files than any server has"));
        }
    }
    Ok(())
}

/// The programs, of all files there are.
fn programs_of<'a>(top: &Path, files: impl Iterator<Item = &'a Path>) -> Result<Programs, String> {
    let (mut folder, mut libraries) = (None, BTreeSet::new());
    for file in files {
        let (Some(name), Some(parent)) = (file.file_name(), file.parent()) else {
            continue;
        };
        let name = name.to_string_lossy();
        if name == "initdb" && parent.ends_with("bin") {
            folder = Some(top.join(parent));
        } else if name.starts_with("lib") && name.contains(".so.") {
            libraries.insert(top.join(parent));
        }
    }
    Ok(Programs {
        folder: folder.ok_or("there is no `initdb` in what was fetched")?,
        libraries: libraries.into_iter().collect(),
        fetched: Some(top.to_owned()),
    })
}

/// The programs of a list, if they are all there and do run.
fn kept(whole: &Path, ways: &[&dyn Fetch]) -> Result<Programs, String> {
    let path = whole.join(LIST);
    let size = fs::metadata(&path).map_or(0, |facts| facts.len());
    if size == 0 || size > LIST_MAX {
        return Err("it is not whole".to_owned());
    }
    let list = fs::read_to_string(&path).map_err(|error| error.to_string())?;
    let mut lines = list.lines();
    let first = lines.next().unwrap_or_default();
    if !ways.iter().any(|way| name(*way) == first) {
        return Err("another version is wanted".to_owned());
    }
    let mut files = Vec::new();
    for line in lines {
        let (size, file) = line.split_once(' ').ok_or("its list is broken")?;
        let there = fs::metadata(whole.join(file)).map(|facts| facts.len());
        if there.ok() != size.parse().ok() {
            return Err(format!("{file} is not what it was"));
        }
        files.push(Path::new(file));
    }
    let programs = programs_of(whole, files.into_iter())?;
    local::work(&programs)?;
    Ok(programs)
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A client whose programs are scripts; `fails` so many times before it works.
    struct Client {
        pins: &'static str,
        fails: usize,
        asked: AtomicUsize,
    }

    impl Client {
        const fn new(pins: &'static str, fails: usize) -> Self {
            let asked = AtomicUsize::new(0);
            Self { pins, fails, asked }
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }
    }

    impl Fetch for Client {
        fn describe(&self) -> &'static str {
            "a test's client"
        }

        fn pins(&self) -> &'static str {
            self.pins
        }

        fn is_here(&self) -> Result<(), String> {
            Ok(())
        }

        fn fill(&self, folder: &Path, _say: Say<'_>) -> Result<(), String> {
            // Not by this process: a file that some thread's child still has open for writing does not run.
            let make = "mkdir -p $0/usr/bin $0/usr/lib && echo library >$0/usr/lib/libx.so.1 && cd $0/usr/bin &&
                for program in initdb postgres; do
                    printf '#!/bin/sh\\necho \"x (PostgreSQL) 17.1\"' >$program && chmod 755 $program
                done";
            let made = Command::new("sh").args(["-c", make]).arg(folder).status();
            assert!(made.unwrap().success());
            if self.asked.fetch_add(1, Ordering::SeqCst) < self.fails {
                return Err("no network".to_owned());
            }
            Ok(())
        }
    }

    /// A folder of one test, gone with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("automc-fetch-{name}-{}", std::process::id())))
        }

        fn get(&self, clients: &[&dyn Fetch]) -> Result<Programs, String> {
            programs_by(&self.0, clients, &|_| ())
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn programs_are_fetched_once_and_again_when_others_are_wanted() {
        let folder = Folder::new("once");
        let (first, second) = (Client::new("1", 0), Client::new("2", 0));
        let programs = folder.get(&[&first]).unwrap();
        assert!(programs.folder.ends_with("whole/usr/bin"), "{programs:?}");
        assert_eq!(programs.libraries, [folder.0.join("whole/usr/lib")]);
        assert_eq!(folder.get(&[&first]).unwrap(), programs);
        assert_eq!(first.asked(), 1);
        folder.get(&[&second]).unwrap();
        folder.get(&[&second]).unwrap();
        assert_eq!(second.asked(), 1);
    }

    #[test]
    fn a_download_that_broke_off_or_was_damaged_is_taken_anew() {
        let folder = Folder::new("broken");
        let client = Client::new("1", 1);
        assert!(folder.get(&[&client]).unwrap_err().contains("no network"));
        assert!(!folder.0.join("whole").exists());
        // What a killed process leaves behind.
        fs::create_dir_all(folder.0.join("draft/usr/bin")).unwrap();
        folder.get(&[&client]).unwrap();
        assert_eq!(client.asked(), 2);
        let whole = folder.0.join("whole");
        let damages: [&dyn Fn(); 4] = [
            &|| fs::write(whole.join("usr/lib/libx.so.1"), "").unwrap(),
            &|| fs::remove_file(whole.join("usr/bin/postgres")).unwrap(),
            &|| fs::write(whole.join(LIST), "").unwrap(),
            &|| fs::remove_file(whole.join(LIST)).unwrap(),
        ];
        for (before, damage) in damages.iter().enumerate() {
            damage();
            folder.get(&[&client]).unwrap();
            assert_eq!(client.asked(), before + 3);
        }
    }

    #[test]
    fn a_client_that_fails_is_followed_by_the_next_and_all_reasons_are_told() {
        let folder = Folder::new("next");
        let (never, works) = (Client::new("1", usize::MAX), Client::new("2", 0));
        folder.get(&[&never, &works]).unwrap();
        assert_eq!((never.asked(), works.asked()), (1, 1));
        let none = Folder::new("none");
        let error = none.get(&[&never, &never]).unwrap_err();
        assert_eq!(error.matches("no network").count(), 2, "{error}");
    }

    #[test]
    fn two_who_want_the_same_at_once_fetch_it_once() {
        let folder = Folder::new("two");
        let (client, both) = (Client::new("1", 0), Barrier::new(2));
        let get = || {
            both.wait();
            folder.get(&[&client]).unwrap()
        };
        std::thread::scope(|scope| {
            let first = scope.spawn(get);
            assert_eq!(get(), first.join().unwrap());
        });
        assert_eq!(client.asked(), 1);
    }
}
