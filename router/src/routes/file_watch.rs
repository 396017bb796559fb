//! Has the routes file read again: at SIGHUP, and, where that is wanted, whenever it changes.
//!
//! Folders are watched, and not only the file: editors and Kubernetes put another file, or another
//! link, into its place. What happened is never asked, only that something did: then the file is
//! read, and the watch begun anew, since the folders may be others.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::file_keeper::FixedRoutes;
use crate::config::values::short;

/// From the first sign of a change to the read: several changes in this time are one.
pub const DEBOUNCE: Duration = Duration::from_millis(250);
/// Longest time without a read: not every file system tells of changes.
pub const LOOK_ANYWAY: Duration = Duration::from_secs(60);
/// Time to the next try, and the next read, while there is no watch.
pub const WATCH_RETRY: Duration = Duration::from_secs(5);

/// What may mean that the file is another one, or says something else. Not every write: of a file
/// that is being written, only the end is of interest.
const SIGNS: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF);

/// Reads the file of `routes` again whenever `asked` is notified, and, if `watched`, whenever it
/// has changed; until `stop` is cancelled.
pub async fn follow(
    routes: Arc<FixedRoutes>,
    watched: bool,
    asked: Arc<Notify>,
    stop: CancellationToken,
) {
    let path = routes.path().map(Path::to_owned);
    match path {
        Some(path) if watched => watch(&routes, &path, &asked, &stop).await,
        None if watched => {
            warn!("routes-config-watch is without effect: there is no routes file (routes-config)");
            when_asked(&routes, &asked, &stop).await;
        }
        _ => when_asked(&routes, &asked, &stop).await,
    }
}

async fn when_asked(routes: &Arc<FixedRoutes>, asked: &Notify, stop: &CancellationToken) {
    while stop.run_until_cancelled(asked.notified()).await.is_some() {
        routes.reload(true).await;
    }
}

async fn watch(routes: &Arc<FixedRoutes>, path: &Path, asked: &Notify, stop: &CancellationToken) {
    let (mut by_hand, mut told) = (false, false);
    loop {
        // Before the file is read, so that nothing falls between.
        let watch = begin(path.to_owned()).await;
        routes.reload(by_hand).await;
        match &watch {
            Err(error) if !told => {
                let (place, retry) = (path.display(), WATCH_RETRY);
                warn!(
                    "{place}: cannot be watched: {error}; read every {} until it can",
                    short(retry)
                );
            }
            Ok(_) if told => info!("{}: watched again", path.display()),
            _ => {}
        }
        told = watch.is_err();
        let sign = async {
            match &watch {
                Ok(watch) => drop(timeout(LOOK_ANYWAY, watch.readable()).await),
                Err(_) => sleep(WATCH_RETRY).await,
            }
            sleep(DEBOUNCE).await;
        };
        by_hand = tokio::select! {
            () = stop.cancelled() => return,
            () = asked.notified() => true,
            () = sign => false,
        };
    }
}

/// A watch over everything that may lead to another file at `path`.
async fn begin(path: PathBuf) -> io::Result<AsyncFd<OwnedFd>> {
    let watch = spawn_blocking(move || -> io::Result<OwnedFd> {
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let path = std::path::absolute(path)?;
        inotify::add_watch(&watch, folder(&path), SIGNS)?;
        for place in places_behind(&path) {
            match inotify::add_watch(&watch, place, SIGNS) {
                Ok(_) | Err(rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(watch)
    });
    #[expect(
        deprecated,
        reason = "unsound only for types that change their file; `OwnedFd` keeps it"
    )]
    AsyncFd::with_interest(watch.await??, Interest::READABLE)
}

/// What else to watch: the file, which may be written by another name (Docker mounts a file alone);
/// the folder of the one that `path` links to; and those of folders on the way that are links.
fn places_behind(path: &Path) -> BTreeSet<PathBuf> {
    let is_link = |path: &&Path| fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
    let links = path.ancestors().skip(1).filter(is_link);
    let target = fs::canonicalize(path).ok();
    let folders = links.chain(target.as_deref()).map(folder);
    folders.chain([path]).map(Path::to_owned).collect()
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}
