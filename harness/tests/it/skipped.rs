//! What cannot be tried on a machine is skipped, and told.

use std::path::{Path, PathBuf};
use std::process::Output;

use tokio::process::Command;

/// Runs tests of this program, as `cargo test` does, on a machine without this and that.
async fn run(tests: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("--exact").args(tests);
    for variable in ["CI", "AUTOMC_TEST_SKIPS"] {
        command.env_remove(variable);
    }
    let environment = environment.iter().copied();
    command.envs(environment).output().await.unwrap()
}

/// The notes of the program that [`run`] has started: this process is what cargo is to others.
fn notes() -> Vec<String> {
    let program = std::env::current_exe().unwrap();
    let target = program.ancestors().nth(3).unwrap();
    let ours = format!("{}.", std::process::id());
    let entries = std::fs::read_dir(target.join("skipped")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with(&ours)
    };
    let taken = paths.filter(is_ours).map(|path| {
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        text
    });
    taken.collect()
}

#[tokio::test]
async fn tests_that_lack_something_are_skipped_with_the_reason_and_fail_only_in_ci() {
    const ENGINE: &str = "docker::a_login_lets_a_paused_container_go_on";
    const CLIENT: &str = "real_clients::mcstatus_reads_a_sleeping_server_a_running_one_and_none";
    let empty = tempfile::tempdir().unwrap();
    let path = empty.path().display().to_string();
    let lacking = |more: &[(&'static str, &'static str)]| {
        let mut all = vec![("DOCKER_HOST", "unix:///nowhere.sock"), ("PATH", &*path)];
        all.extend(more);
        all
    };

    let output = run(&[ENGINE, CLIENT], &lacking(&[])).await;
    assert!(output.status.success(), "{output:?}");
    let mut told = notes();
    told.sort();
    let [engine, client] = &told[..] else {
        panic!("{told:?}")
    };
    assert!(
        engine.starts_with(ENGINE) && engine.contains("no Docker engine"),
        "{engine}"
    );
    assert!(engine.contains("/nowhere.sock"), "{engine}");
    assert!(
        client.starts_with(CLIENT) && client.contains("apt-get install nodejs"),
        "{client}"
    );

    for test in [ENGINE, CLIENT] {
        let output = run(&[test], &lacking(&[("CI", "true")])).await;
        assert!(!output.status.success(), "{output:?}");
    }
    assert_eq!(notes(), Vec::<String>::new());

    let allowed = [("CI", "true"), ("AUTOMC_TEST_SKIPS", "1")];
    let output = run(&[ENGINE, CLIENT], &lacking(&allowed)).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(notes().len(), 2);
}

/// The last that runs of all tests is what tells: packages run in the order of their names.
#[test]
fn nothing_is_tested_after_the_summary_of_what_was_skipped() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let manifest = std::fs::read_to_string(workspace.join("Cargo.toml")).unwrap();
    let members = manifest.split("members = [").nth(1).unwrap();
    let members = members.split(']').next().unwrap();
    let folders = members.split('"').skip(1).step_by(2);
    let mut names = Vec::new();
    for folder in folders {
        let path = workspace.join(folder).join("Cargo.toml");
        let package = std::fs::read_to_string(&path).unwrap();
        let name = package.split("name = \"").nth(1).unwrap();
        names.push(name.split('"').next().unwrap().to_owned());
        let doctests = package.contains("[lib]\ndoctest = false\n");
        assert!(doctests, "{}: examples would run after it", path.display());
    }
    assert_eq!(names.iter().max().unwrap(), "xtask", "{names:?}");
}
