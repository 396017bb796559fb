//! What is in the file after whatever was read, and what becomes of files that are none.

use std::fs::OpenOptions;
use std::os::unix::fs::PermissionsExt;

use super::*;
use tempfile::TempDir;

fn row(name: &str, address: &str) -> Row {
    Row {
        name: Some(name.to_owned()),
        domain: Some(format!("{name}.example")),
        address: Some(address.to_owned()),
        ..Row::default()
    }
}

fn mark(revision: u64) -> Mark {
    Mark {
        epoch: "epoch".into(),
        revision,
    }
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("routes.jsonl");
    (folder, path)
}

fn policies() -> Policies {
    Policies::over(Arc::default())
}

/// `name address` of every route, in order, and the revision.
fn held(path: &Path) -> (Vec<String>, Option<u64>) {
    let loaded = load(path, &mut policies(), Names::default()).unwrap();
    let routes = loaded.offers.values().map(|offer| {
        let route = offer.outcome.as_ref().unwrap();
        format!("{} {}", route.name, route.backend)
    });
    let mut routes: Vec<_> = routes.collect();
    routes.sort();
    (routes, loaded.mark.map(|mark| mark.revision))
}

/// A read of the whole table that is applied.
fn whole(keeper: &mut Keeper, rows: &[Row], revision: u64, now: Instant) {
    keeper.begin(now);
    rows.iter().for_each(|row| keeper.row(row));
    keeper.whole(Some(&mark(revision)), true);
}

async fn end(keeper: Keeper, thread: JoinHandle<()>) {
    drop(keeper);
    thread.await.unwrap();
}

#[tokio::test]
async fn the_file_has_every_read_that_was_applied() {
    let (_folder, path) = folder();
    let (mut keeper, thread) = Keeper::start(path.clone());
    let now = Instant::now();
    whole(&mut keeper, &[row("a", "h:1"), row("b", "h:2")], 5, now);
    keeper.some(
        &[row("a", "h:3"), row("c", "h:4")],
        [SharedStr::from("b")].iter(),
        Some(&mark(7)),
    );
    keeper.begin(now);
    keeper.row(&row("held", "h:9"));
    keeper.abandon();
    assert_eq!(keeper.due(), None);
    end(keeper, thread).await;

    let routes = vec!["a h:3".to_owned(), "c h:4".to_owned()];
    assert_eq!(held(&path), (routes, Some(7)));
}

#[tokio::test]
async fn what_could_not_be_appended_is_written_anew_after_a_pause() {
    let (_folder, path) = folder();
    let (mut keeper, thread) = Keeper::start(path.clone());
    let now = Instant::now();
    whole(&mut keeper, &[row("a", "h:1")], 1, now);
    whole(&mut keeper, &[row("a", "h:2")], 2, now);
    assert_eq!(keeper.due(), Some(now + REWRITE_PAUSE));
    // What follows upon something that is not there is not appended.
    keeper.some(&[row("b", "h:1")], [].iter(), Some(&mark(3)));
    whole(&mut keeper, &[row("a", "h:4")], 4, now + REWRITE_PAUSE);
    assert_eq!(keeper.due(), None);

    let long = Row {
        state: Some("x".repeat(LINE_BYTES_MAX)),
        ..row("c", "h:1")
    };
    keeper.some(&[long], [].iter(), Some(&mark(5)));
    assert_eq!(keeper.due(), Some(now + REWRITE_PAUSE * 2));
    end(keeper, thread).await;
    assert_eq!(held(&path), (vec!["a h:4".to_owned()], Some(4)));
}

#[tokio::test]
async fn a_line_that_was_not_written_to_its_end_is_not_there() {
    let (_folder, path) = folder();
    let (mut keeper, thread) = Keeper::start(path.clone());
    whole(&mut keeper, &[row("a", "h:1")], 1, Instant::now());
    keeper.some(&[row("a", "h:2")], [].iter(), Some(&mark(2)));
    end(keeper, thread).await;
    let bytes = fs::read(&path).unwrap();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(bytes.len() as u64 - 1).unwrap();

    assert_eq!(held(&path), (vec!["a h:1".to_owned()], Some(1)));
}

#[test]
fn what_is_no_snapshot_is_set_aside_and_what_is_not_there_is_no_trouble() {
    let (folder, path) = folder();
    let load = || load(&path, &mut policies(), Names::default());
    assert!(load().is_none());
    for other in ["", "{}\n", "something else", "\u{0}"] {
        fs::write(&path, other).unwrap();
        assert!(load().is_none());
        assert!(!path.exists());
        let aside = folder.path().join("routes.jsonl.broken");
        assert_eq!(fs::read_to_string(aside).unwrap(), other);
    }
    fs::create_dir(&path).unwrap();
    assert!(load().is_none());
    assert!(path.exists());
}

/// Else the same would be logged again with every attempt.
#[test]
fn what_was_never_begun_is_no_end_of_the_trouble() {
    let (folder, path) = folder();
    let attempt = |path: &Path, trouble: &Trouble| {
        let (orders, inbox) = sync_channel(ORDERS_MAX);
        for order in [Order::Begin, Order::Bytes(snapshot::first()), Order::Finish] {
            orders.send(order).unwrap();
        }
        drop(orders);
        write(path, &inbox, trouble);
        trouble.lock().unwrap().clone()
    };
    let trouble = Trouble::default();
    let gone = folder.path().join("gone/routes.jsonl");
    assert!(attempt(&gone, &trouble).is_some());
    assert_eq!(attempt(&path, &trouble), None);
}

#[tokio::test]
async fn a_disk_that_refuses_leaves_the_file_as_it_was_and_is_tried_again() {
    let (folder, path) = folder();
    let gone = folder.path().join("gone/routes.jsonl");
    let (mut keeper, thread) = Keeper::start(gone.clone());
    let now = Instant::now();
    whole(&mut keeper, &[row("a", "h:1")], 1, now);
    while keeper.due().is_none() {
        tokio::task::yield_now().await;
    }
    // It is told as long as it lasts, and does not have the table read every half minute.
    let refused = keeper.trouble().unwrap();
    assert!(refused.contains("it keeps what it has"), "{refused}");
    assert_eq!(keeper.due(), Some(now + TROUBLE_PAUSE));
    fs::create_dir(folder.path().join("gone")).unwrap();
    whole(&mut keeper, &[row("a", "h:2")], 2, now + REWRITE_PAUSE);
    while keeper.trouble().is_some() {
        tokio::task::yield_now().await;
    }
    end(keeper, thread).await;
    assert_eq!(held(&gone), (vec!["a h:2".to_owned()], Some(2)));
    let mode = fs::metadata(&gone).unwrap().permissions().mode();
    assert_eq!(mode & 0o022, 0);
    assert!(!path.exists());
}
