//! The folder that cargo builds into, and cargo itself.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file of every folder that cargo has built into.
const MARK: &str = ".rustc_info.json";

/// What cargo tells the programs it runs. To build scripts it would look like a changed environment, and have their
/// packages built again.
const TOLD: [&str; 5] = [
    "CARGO_BIN_",
    "CARGO_CRATE_",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_PRIMARY_",
];

/// The cargo that runs this program, or the first on `PATH`, in the workspace's folder.
#[must_use]
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if TOLD.iter().any(|prefix| text.starts_with(prefix)) {
            cargo.env_remove(&name);
        }
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    cargo.current_dir(workspace.unwrap_or_else(|| Path::new(".")));
    cargo
}

/// The target folder that this program was built in.
///
/// # Errors
/// The program is in none: it was copied elsewhere.
pub fn target_folder() -> Result<PathBuf, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    of(&program).ok_or_else(|| format!("{} is in no target folder of cargo's", program.display()))
}

/// `target` of `target/debug/harness`, `target/debug/deps/it-0123` and `target/TRIPLE/debug/harness`.
fn of(program: &Path) -> Option<PathBuf> {
    let profile = program
        .ancestors()
        .skip(1)
        .find(|path| path.file_name().is_some_and(|name| name != "deps"))?;
    let above = profile.ancestors().skip(1).take(2);
    let mut marked = above.filter(|folder| folder.join(MARK).is_file());
    marked.next().map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_is_in_a_target_folder_and_a_copied_one_is_not() {
        let target = target_folder().unwrap();
        for place in [
            "debug/harness",
            "debug/deps/it-0123",
            "x86_64-linux/debug/harness",
        ] {
            assert_eq!(of(&target.join(place)), Some(target.clone()), "{place}");
        }
        assert_eq!(of(Path::new("/usr/local/bin/harness")), None);
        assert_eq!(of(Path::new("/harness")), None);
    }
}
