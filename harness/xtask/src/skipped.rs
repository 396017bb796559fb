//! Tests that cannot be tried here: noted one by one as they give up, told together when `cargo test` ends.
//!
//! A note is a file of the target folder, named after the `cargo` that runs the tests: all test programs of one
//! run have the same parent. The test harness itself knows no tests that find out late.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::target_folder;

/// Set by whoever sets `CI` and still has tests that cannot be tried.
pub const ALLOWED_VARIABLE: &str = "AUTOMC_TEST_SKIPS";
/// Notes of runs that did not come to their end are kept for so long.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest note that is read, in bytes.
const NOTE_MAX: u64 = 64 * 1024;

/// What the environment says of skipping: allowed, unless `ci` is set and `allowed` is not.
#[must_use]
pub fn may_skip(ci: Option<&str>, allowed: Option<&str>) -> bool {
    let set = |value: Option<&str>| value.is_some_and(|value| !value.is_empty());
    !set(ci) || set(allowed)
}

/// Notes that the test of this thread is skipped, and why.
///
/// # Errors
/// Skipping is not allowed here, or the note cannot be written.
pub fn note(reason: &str) -> Result<(), String> {
    let variable = |name| std::env::var(name).ok();
    let (ci, allowed) = (variable("CI"), variable(ALLOWED_VARIABLE));
    if !may_skip(ci.as_deref(), allowed.as_deref()) {
        return Err(format!(
            "this test cannot be skipped, for CI is set and {ALLOWED_VARIABLE} is not: {reason}"
        ));
    }
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let written = folder().and_then(|folder| write(&folder, parent_id(), test, reason));
    written.map_err(|error| format!("no note of a skipped test ({reason}): {error}"))
}

/// Takes the notes of this run, and those of runs long over; hands back what is to be told, if anything.
///
/// # Errors
/// The notes cannot be read.
pub fn take() -> io::Result<Option<String>> {
    let notes = read(&folder()?, parent_id())?;
    Ok(summary(&notes))
}

fn folder() -> io::Result<PathBuf> {
    let target = target_folder().map_err(io::Error::other)?;
    Ok(target.join("skipped"))
}

fn write(folder: &Path, run: u32, test: &str, reason: &str) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let name: String = test
        .chars()
        .map(|char| {
            if char.is_ascii_alphanumeric() {
                char
            } else {
                '-'
            }
        })
        .collect();
    let one_line = reason.replace('\n', " ");
    std::fs::write(
        folder.join(format!("{run}.{name}")),
        format!("{test}\n{one_line}"),
    )
}

/// Test and reason of every note of `run`; they are gone afterwards.
fn read(folder: &Path, run: u32) -> io::Result<Vec<(String, String)>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let (ours, now) = (format!("{run}."), SystemTime::now());
    let mut notes = Vec::new();
    for entry in entries {
        let entry = entry?;
        let facts = entry.metadata()?;
        if entry.file_name().to_string_lossy().starts_with(&ours) {
            let text = if facts.len() <= NOTE_MAX {
                std::fs::read_to_string(entry.path())?
            } else {
                String::new()
            };
            let (test, reason) = text.split_once('\n').unwrap_or((&text, ""));
            notes.push((test.to_owned(), reason.to_owned()));
        } else if now.duration_since(facts.modified()?).unwrap_or_default() < OLD {
            continue;
        }
        std::fs::remove_file(entry.path())?;
    }
    Ok(notes)
}

/// One paragraph for each reason, with its tests; nothing where nothing was skipped.
fn summary(notes: &[(String, String)]) -> Option<String> {
    let mut by_reason = BTreeMap::<&str, Vec<&str>>::new();
    for (test, reason) in notes {
        by_reason.entry(reason).or_default().push(test);
    }
    let tests = |count: usize| match count {
        1 => "1 test was skipped".to_owned(),
        count => format!("{count} tests were skipped"),
    };
    let mut text = match notes.len() {
        0 => return None,
        count => format!("{}:\n", tests(count)),
    };
    for (reason, mut tests) in by_reason {
        tests.sort_unstable();
        text += &format!("\n  {} × {reason}\n", tests.len());
        for test in tests {
            text += &format!("      {test}\n");
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of this test's own, gone with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("automc-skipped-{name}-{}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn ci_forbids_skips_unless_it_says_otherwise() {
        for (ci, allowed, wanted) in [
            (None, None, true),
            (Some(""), None, true),
            (Some("true"), None, false),
            (Some("true"), Some(""), false),
            (Some("true"), Some("1"), true),
        ] {
            assert_eq!(may_skip(ci, allowed), wanted, "{ci:?} {allowed:?}");
        }
    }

    #[test]
    fn notes_are_of_one_run_and_told_once() {
        let folder = Folder::new("once");
        write(&folder.0, 1, "it::one", "no engine\nat all").unwrap();
        write(&folder.0, 1, "it::one", "no engine\nat all").unwrap();
        write(&folder.0, 12, "it::other", "another run").unwrap();
        let wanted = [("it::one".to_owned(), "no engine at all".to_owned())];
        assert_eq!(read(&folder.0, 1).unwrap(), wanted);
        assert_eq!(read(&folder.0, 1).unwrap(), []);
        assert_eq!(read(&folder.0, 12).unwrap().len(), 1);
    }

    #[test]
    fn the_summary_tells_each_reason_once_with_its_tests() {
        let note = |test: &str, reason: &str| (test.to_owned(), reason.to_owned());
        assert_eq!(summary(&[]), None);
        let notes = [
            note("b", "no engine"),
            note("c", "no node"),
            note("a", "no engine"),
        ];
        let wanted = "3 tests were skipped:\n\n  2 × no engine\n      a\n      b\n\n  1 × no node\n      c\n";
        assert_eq!(summary(&notes).as_deref(), Some(wanted));
    }
}
