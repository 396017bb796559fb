//! Server programs of this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Programs;
use crate::patience;

/// Where Debian keeps the server programs, by major version.
const DEBIAN_ROOT: &str = "/usr/lib/postgresql";
/// The oldest version that will do.
const VERSION_MIN: u32 = 14;
/// For a program to tell its version.
const VERSION_DEADLINE: Duration = Duration::from_secs(20);
/// What installs the server, by the program that is there.
const INSTALLERS: [(&str, &str); 5] = [
    ("apt-get", "apt-get install postgresql"),
    ("dnf", "dnf install postgresql-server"),
    ("zypper", "zypper install postgresql-server"),
    ("pacman", "pacman -S postgresql"),
    ("apk", "apk add postgresql"),
];

/// The first that work: those on `PATH`, then Debian's, the newest first.
pub(super) fn find() -> Result<Programs, String> {
    let mut reason = format!("no `initdb` on PATH or under {DEBIAN_ROOT}");
    for folder in on_path("initdb").chain(of_debian(Path::new(DEBIAN_ROOT))) {
        let programs = Programs {
            folder,
            libraries: Vec::new(),
            fetched: None,
        };
        match work(&programs) {
            Ok(()) => return Ok(programs),
            Err(why) => reason = format!("{}: {why}", programs.folder.display()),
        }
    }
    Err(reason)
}

/// Whether programs run and are new enough.
pub(super) fn work(programs: &Programs) -> Result<(), String> {
    for program in ["initdb", "postgres"] {
        let mut command = programs.command(program)?;
        let told = patience::output(command.arg("--version"), program, VERSION_DEADLINE, &|_| ())?;
        match version(&told) {
            Some(version) if version >= VERSION_MIN => {}
            Some(version) => return Err(format!("version {version} is too old")),
            None => return Err(format!("`{program} --version` says {}", told.trim())),
        }
    }
    Ok(())
}

/// 17 of `postgres (PostgreSQL) 17.6 (Debian 17.6-1)`.
fn version(told: &str) -> Option<u32> {
    let number = told.split("(PostgreSQL) ").nth(1)?;
    let digits = number.split(|char: char| !char.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// The folders on `PATH` with a program, links followed: a link leads to the folder where others are, too.
fn on_path(program: &str) -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    let found = folders.into_iter().filter_map(move |folder| {
        let program = fs::canonicalize(folder.join(program)).ok()?;
        let folder = program.is_file().then(|| program.parent())??;
        Some(folder.to_owned())
    });
    found.collect::<Vec<_>>().into_iter()
}

fn of_debian(root: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let folders = fs::read_dir(root).into_iter().flatten();
    let mut found: Vec<(u32, PathBuf)> = folders
        .filter_map(|folder| {
            let folder = folder.ok()?;
            let version = folder.file_name().to_str()?.parse().ok()?;
            let programs = folder.path().join("bin");
            programs
                .join("initdb")
                .is_file()
                .then_some((version, programs))
        })
        .collect();
    found.sort_unstable();
    found.into_iter().rev().map(|(_, programs)| programs)
}

/// Whether a program is on `PATH`.
pub(super) fn is_there(program: &str) -> bool {
    on_path(program).next().is_some()
}

/// Whether this process is root, by the owner of what it is.
pub(super) fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}

/// The one command that installs a server here.
pub(super) fn advice() -> String {
    let sudo = if is_root() { "" } else { "sudo " };
    let installer = INSTALLERS.iter().find(|(program, _)| is_there(program));
    match installer {
        Some((_, command)) => format!("{sudo}{command}"),
        None => "whatever installs PostgreSQL 14 or newer here, with `initdb` on PATH".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_of_every_form_that_is_told() {
        for (told, wanted) in [
            ("postgres (PostgreSQL) 17.6 (Debian 17.6-1)\n", Some(17)),
            ("initdb (PostgreSQL) 9.6.24", Some(9)),
            ("initdb (PostgreSQL) 18beta1", Some(18)),
            ("pyenv: initdb: command not found", None),
        ] {
            assert_eq!(version(told), wanted, "{told}");
        }
    }

    #[test]
    fn debians_newest_is_first_and_programs_that_do_not_run_are_passed_over() {
        let root = std::env::temp_dir().join(format!("automc-debian-{}", std::process::id()));
        // Written by another process: a file that some thread's child still has open for writing does not run.
        let make = "for v in 9.6 15 9 17; do
                mkdir -p $0/$v/bin
                for p in initdb postgres; do
                    printf '#!/bin/sh\n[ '$v' != 17 ] && echo \"x (PostgreSQL) '$v'.1\"' >$0/$v/bin/$p
                    chmod 755 $0/$v/bin/$p
                done
            done";
        let made = Command::new("sh").args(["-c", make]).arg(&root).status();
        assert!(made.unwrap().success());
        let folders: Vec<_> = of_debian(&root).collect();
        let wanted = ["17", "15", "9"].map(|version| root.join(version).join("bin"));
        assert_eq!(folders, wanted);
        let works = |folder: &PathBuf| {
            let folder = folder.clone();
            work(&Programs {
                folder,
                libraries: Vec::new(),
                fetched: None,
            })
            .is_ok()
        };
        let working: Vec<_> = folders.iter().filter(|folder| works(folder)).collect();
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(working, [&wanted[1]]);
    }
}
