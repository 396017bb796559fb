//! The snapshot file: read at the start, before Postgres is asked, and kept up with every read that is applied.
//!
//! A thread of its own writes it. Nobody waits for that: what the disk does not take in time is written later, by
//! a read of the whole table. Trouble is logged once, told by `GET /sync` for as long as it lasts, and ends nothing.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::task::JoinHandle;
use tracing::{debug, info, warn};

use super::facts::ROWS_MAX;
use super::revision::Mark;
use super::snapshot::{self, LINE_BYTES_MAX};
use crate::disk::{self, Replacement};
use crate::host::Names;
use crate::routes::offer::{Offer, name};
use crate::routes::overrides::Policies;
use crate::routes::row::{self, Row};
use crate::shared_str::SharedStr;

/// Largest file that is read: a million rows of 1 KiB, and what is appended.
const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Bytes that are appended until the file is written anew.
const APPENDED_MAX: usize = 16 * 1024 * 1024;
/// Least time between two times that it is written anew.
const REWRITE_PAUSE: Duration = Duration::from_secs(30);
/// Least time between two times that is tried where the disk refuses, unless the table is read anyway.
const TROUBLE_PAUSE: Duration = Duration::from_secs(300);
/// Bytes that are handed to the thread at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// What may wait for the disk: 8 MiB of chunks.
const ORDERS_MAX: usize = 128;

/// What a snapshot holds.
pub(super) struct Loaded {
    /// The rows' routes, by their names.
    pub(super) offers: HashMap<SharedStr, Offer>,
    /// The state they are of.
    pub(super) mark: Option<Mark>,
    /// When it was written last.
    pub(super) written: SystemTime,
}

/// Reads the file at `path`, for as long as the disk takes. One that holds something else is set aside, since it would
/// be written over.
pub(super) fn load(path: &Path, policies: &mut Policies, names: Names) -> Option<Loaded> {
    let place = path.display();
    match read(path, policies, names) {
        Ok(Some(loaded)) => Some(loaded),
        Ok(None) => {
            let aside = disk::beside(path, "broken");
            let moved = fs::rename(path, &aside).is_ok();
            let now = if moved { "set aside" } else { "left" };
            warn!("{place}: {}; it is {now}", snapshot::NoSnapshot);
            None
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            debug!("{place}: not there yet");
            None
        }
        Err(error) => {
            warn!("{place}: {error}; no routes until Postgres can be asked");
            None
        }
    }
}

fn read(path: &Path, policies: &mut Policies, names: Names) -> io::Result<Option<Loaded>> {
    let file = disk::open(path)?;
    let about = file.metadata()?;
    let mut lines = BufReader::new(file.take(FILE_BYTES_MAX));
    let first = line(&mut lines)?;
    if snapshot::check(&first).is_err() {
        return Ok(None);
    }
    let mut loaded = Loaded {
        offers: HashMap::new(),
        mark: None,
        written: about.modified()?,
    };
    let mut number: u64 = 1;
    loop {
        let text = line(&mut lines)?;
        number += 1;
        if text.is_empty() {
            break;
        }
        let Some(content) = snapshot::read(&text) else {
            info!(
                "{}: it ends in line {number}, which is broken",
                path.display()
            );
            break;
        };
        for row in content.rows {
            let offer = row::offer(row, policies, names);
            loaded.offers.insert(name(&offer.outcome).clone(), offer);
        }
        for gone in content.gone {
            loaded.offers.remove(gone.as_str());
        }
        loaded.mark = content.mark.or(loaded.mark);
        if loaded.offers.len() > ROWS_MAX {
            return Err(io::Error::other(format!("it has over {ROWS_MAX} rows")));
        }
    }
    Ok(Some(loaded))
}

/// The next line with its end; without one if it is the last or too long, and empty behind that.
fn line(lines: &mut impl BufRead) -> io::Result<String> {
    let mut bytes = Vec::new();
    let max = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
    lines.by_ref().take(max).read_until(b'\n', &mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

enum Order {
    Begin,
    Bytes(Vec<u8>),
    Finish,
    Abandon,
    Append(Vec<u8>),
}

/// Why the file has less than it should have, if it has.
type Trouble = Arc<Mutex<Option<String>>>;

/// Hands what is read to the thread that writes it.
pub(super) struct Keeper {
    orders: SyncSender<Order>,
    trouble: Trouble,
    /// Whether the file is being written anew.
    begun: bool,
    /// Whether the file has less than what is applied.
    behind: bool,
    rewritten: Option<Instant>,
    appended: usize,
    chunk: Vec<u8>,
}

impl Keeper {
    /// Begins to keep the file at `path`; the thread ends with what comes back first.
    pub(super) fn start(path: PathBuf) -> (Self, JoinHandle<()>) {
        let (orders, inbox) = sync_channel(ORDERS_MAX);
        let trouble = Trouble::default();
        let told = Arc::clone(&trouble);
        let thread = tokio::task::spawn_blocking(move || write(&path, &inbox, &told));
        let keeper = Self {
            orders,
            trouble,
            begun: false,
            behind: true,
            rewritten: None,
            appended: 0,
            chunk: Vec::new(),
        };
        (keeper, thread)
    }

    /// When the whole table should be read for its sake, if it should.
    pub(super) fn due(&mut self) -> Option<Instant> {
        let pause = match self.trouble() {
            Some(_) => TROUBLE_PAUSE,
            None => REWRITE_PAUSE,
        };
        self.behind |= pause == TROUBLE_PAUSE;
        let rewritten = self.rewritten.filter(|_| self.behind)?;
        Some(rewritten + pause)
    }

    /// Why the file has less than what is applied, where that is the disk's fault.
    pub(super) fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock();
        trouble.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A read of the whole table begins at `now`.
    pub(super) fn begin(&mut self, now: Instant) {
        let rests = self.rewritten.is_some_and(|at| now < at + REWRITE_PAUSE);
        self.chunk.clear();
        self.begun = self.behind && !rests && self.send(Order::Begin);
        if self.begun {
            self.rewritten = Some(now);
            self.take(&snapshot::first());
        }
    }

    /// A row of that read.
    pub(super) fn row(&mut self, row: &Row) {
        if self.begun {
            self.take(&snapshot::row(row));
        }
    }

    /// That read is applied; whether it has `changed` anything.
    pub(super) fn whole(&mut self, mark: Option<&Mark>, changed: bool) {
        if std::mem::take(&mut self.begun) {
            if let Some(line) = snapshot::change(&[], [].iter(), mark) {
                self.chunk.extend_from_slice(&line);
            }
            let rest = std::mem::take(&mut self.chunk);
            self.behind = !(self.send(Order::Bytes(rest)) && self.send(Order::Finish));
            self.appended = 0;
        } else {
            self.behind |= changed;
        }
    }

    /// That read is not applied.
    pub(super) fn abandon(&mut self) {
        if std::mem::take(&mut self.begun) {
            self.send(Order::Abandon);
        }
    }

    /// Some rows were read and are applied; those of `gone` are no more.
    pub(super) fn some<'a>(
        &mut self,
        rows: &[Row],
        gone: impl Iterator<Item = &'a SharedStr>,
        mark: Option<&Mark>,
    ) {
        if self.behind {
            return;
        }
        let line = snapshot::change(rows, gone, mark);
        self.appended += line.as_ref().map_or(0, Vec::len);
        let sent = line.is_some_and(|line| self.send(Order::Append(line)));
        self.behind = !sent || self.appended > APPENDED_MAX;
    }

    fn take(&mut self, line: &[u8]) {
        self.chunk.extend_from_slice(line);
        if self.chunk.len() >= CHUNK_BYTES {
            let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK_BYTES));
            if !self.send(Order::Bytes(chunk)) {
                self.abandon();
            }
        }
    }

    /// Never waits for the disk.
    fn send(&self, order: Order) -> bool {
        self.orders.try_send(order).is_ok()
    }
}

/// Does what it is told until nobody is there to tell.
fn write(path: &Path, inbox: &Receiver<Order>, trouble: &Trouble) {
    let (mut new, mut kept) = (None, None);
    let tell = |told: Option<String>| {
        let mut trouble = trouble.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *trouble, told).is_some()
    };
    let refused = |error: io::Error| {
        let text = format!("{}: {error}; it keeps what it has", path.display());
        if !tell(Some(text.clone())) {
            warn!("{text}");
        }
    };
    // Who has to set it right is there at the start, and not when there is something to write.
    if let Err(error) = disk::try_to_replace(path) {
        refused(error);
    }
    while let Ok(order) = inbox.recv() {
        let finishes = new.is_some() && matches!(order, Order::Finish);
        match obey(path, order, &mut new, &mut kept) {
            Ok(()) if finishes => {
                if tell(None) {
                    info!("{}: it is written again", path.display());
                }
            }
            Ok(()) => {}
            Err(error) => {
                (new, kept) = (None, None);
                refused(error);
            }
        }
    }
}

fn obey(
    path: &Path,
    order: Order,
    new: &mut Option<Replacement>,
    kept: &mut Option<File>,
) -> io::Result<()> {
    match order {
        Order::Begin => *new = Some(Replacement::of(path)?),
        Order::Bytes(bytes) => {
            if let Some(new) = new {
                new.write(&bytes)?;
            }
        }
        Order::Finish => {
            if let Some(new) = new.take() {
                *kept = new.finish()?;
            }
        }
        Order::Abandon => *new = None,
        Order::Append(line) => {
            if let Some(kept) = kept {
                kept.write_all(&line)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "snapshot_file_tests.rs"]
mod tests;
