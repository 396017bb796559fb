use super::*;
use crate::protocol::status::frame;
use crate::status::answer;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

const DEADLINE: Duration = Duration::from_secs(20);

fn remember(memory: &Memory, version: &str) {
    let json = serde_json::json!({ "version": { "name": version } });
    let (_, known) = answer::read(frame(json.to_string().as_bytes())).unwrap();
    memory.remember_status(&"a".into(), 47, &known);
}

fn version(path: &Path) -> Option<String> {
    let memory = Memory::default();
    memory.read_file(path);
    let json = memory.last_known("a", 47)?.lasting.to_json();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    json["version"]["name"].as_str().map(str::to_owned)
}

struct Keeper {
    folder: tempfile::TempDir,
    path: PathBuf,
    memory: Arc<Memory>,
    stop: CancellationToken,
    keeping: AbortOnDropHandle<()>,
}

impl Keeper {
    fn start(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let (memory, stop) = (Arc::<Memory>::default(), CancellationToken::new());
        let keep = keep(Arc::clone(&memory), path.clone(), stop.clone());
        let keeping = AbortOnDropHandle::new(tokio::spawn(keep));
        Self {
            folder,
            path,
            memory,
            stop,
            keeping,
        }
    }

    /// Waits until the file has this version; the clock may be paused, the disk is not.
    async fn has(&self, expected: &str) {
        let begin = std::time::Instant::now();
        while version(&self.path).as_deref() != Some(expected) {
            assert!(begin.elapsed() < DEADLINE, "no {expected}");
            tokio::task::yield_now().await;
        }
    }

    async fn stop(self) -> tempfile::TempDir {
        self.stop.cancel();
        self.keeping.await.unwrap();
        self.folder
    }
}

#[tokio::test(start_paused = true)]
async fn news_are_written_soon_and_then_with_pauses() {
    let keeper = Keeper::start("state.json");
    tokio::task::yield_now().await;
    remember(&keeper.memory, "first");
    keeper.has("first").await;
    let begin = Instant::now();
    remember(&keeper.memory, "second");
    remember(&keeper.memory, "third");
    while version(&keeper.path).as_deref() == Some("first") {
        // The paused clock moves on while everybody waits.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(version(&keeper.path).as_deref(), Some("third"));
    assert!(
        begin.elapsed() >= WRITE_PAUSE - Duration::from_millis(100),
        "{:?}",
        begin.elapsed()
    );
    keeper.stop().await;
}

#[tokio::test]
async fn what_is_not_written_yet_is_written_at_the_end_and_nothing_else_is_left() {
    let keeper = Keeper::start("state.json");
    remember(&keeper.memory, "first");
    keeper.has("first").await;
    remember(&keeper.memory, "last");
    let path = keeper.path.clone();
    let folder = keeper.stop().await;
    assert_eq!(version(&path).as_deref(), Some("last"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_is_not_there_yet_ends_nothing_and_is_tried_again() {
    let keeper = Keeper::start("later/state.json");
    keeper.memory.read_file(&keeper.path);
    remember(&keeper.memory, "first");
    // The clock goes on when the disk has refused.
    tokio::time::sleep(WRITE_PAUSE / 2).await;
    assert!(keeper.memory.model().clone().take_unsaved().is_some());
    fs::create_dir(keeper.folder.path().join("later")).unwrap();
    tokio::time::sleep(WRITE_PAUSE).await;
    assert_eq!(version(&keeper.path).as_deref(), Some("first"));
    keeper.stop().await;
}

#[test]
fn a_file_that_holds_something_else_is_set_aside_and_one_that_is_none_is_let_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.json");
    for content in [
        &b"not json"[..],
        b"{\"version\":99,\"servers\":{}}",
        b"\xFF\x00",
        b"",
    ] {
        fs::write(&path, content).unwrap();
        assert_eq!(version(&path), None);
        assert_eq!(
            fs::read(folder.path().join("state.json.broken")).unwrap(),
            content
        );
        assert!(!path.exists());
    }
    assert_eq!(version(folder.path()), None);
    assert!(folder.path().is_dir());
    assert_eq!(version(Path::new("/dev/zero")), None);
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.json");
    fs::File::create(&path)
        .unwrap()
        .set_len(FILE_BYTES_MAX + 1)
        .unwrap();
    assert!(matches!(
        read(&path, &mut Vec::new()),
        Err(ReadError::TooLarge)
    ));
}
