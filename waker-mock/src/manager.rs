//! All servers: takes what is asked of them, lets time pass for them, and tells the table.
//!
//! Nothing here waits: every method takes the lock, does its work and lets go. The rules of a
//! life are in [`crate::server`], those of faults in [`crate::faults`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::entry::{Entry, Surroundings};
use crate::faults::{Faults, Struck, Verdict};
use crate::outbox::Outbox;
use crate::server::{Started, State};
use crate::spec::{ServerSpec, check_name};

/// Most servers there can be.
pub const SERVERS_MAX: usize = 1_000;

/// Why something asked of a server was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There is no such server.
    Unknown,
    /// It cannot be done in this state.
    Conflict(String),
    /// It can never be done.
    Invalid(String),
    /// There are as many servers, or as few ports, as there can be.
    Full(String),
}

/// What is told of one server.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) name: Arc<str>,
    pub(crate) spec: ServerSpec,
    pub(crate) state: State,
    pub(crate) address: Option<String>,
    pub(crate) row_address: String,
    pub(crate) percent: Option<u8>,
    pub(crate) faults: Faults,
}

#[derive(Debug)]
pub(crate) struct Manager {
    table: Mutex<Table>,
    around: Surroundings,
    /// Sockets need it, and callers from outside the runtime have none.
    runtime: Handle,
    /// Something may be due earlier than it was.
    nudge: Notify,
    changes: watch::Sender<()>,
    outbox: Option<Arc<Outbox>>,
}

#[derive(Debug, Default)]
struct Table {
    servers: BTreeMap<String, Entry>,
    faults: Faults,
}

impl Table {
    fn taken(&self) -> BTreeSet<u16> {
        self.servers.values().flat_map(Entry::taken).collect()
    }
}

fn now() -> Instant {
    // Tokio's clock, so that a paused one is obeyed.
    tokio::time::Instant::now().into_std()
}

impl Manager {
    /// Must be called within a runtime.
    pub(crate) fn new(around: Surroundings, outbox: Option<Arc<Outbox>>) -> Self {
        Self {
            table: Mutex::default(),
            around,
            runtime: Handle::current(),
            nudge: Notify::new(),
            changes: watch::Sender::new(()),
            outbox,
        }
    }

    /// Lets time pass until `stop`.
    pub(crate) async fn keep_time(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let due = self.pass();
            let sleep = async {
                match due {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.nudge.notified() => {}
                () = sleep => {}
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings every server up to now; tells when the next one is due.
    fn pass(&self) -> Option<Instant> {
        let mut table = self.table();
        let names: Vec<String> = table.servers.keys().cloned().collect();
        let due = names
            .iter()
            .filter_map(|name| self.settle(&mut table, name));
        due.min()
    }

    /// Brings one server up to now; tells when it is due next.
    fn settle(&self, table: &mut Table, name: &str) -> Option<Instant> {
        let _runtime = self.runtime.enter();
        // Looked up only for the few that take a port just now.
        let taken = if table.servers.get(name)?.takes_port() {
            table.taken()
        } else {
            BTreeSet::new()
        };
        let Table { servers, faults } = table;
        let entry = servers.get_mut(name)?;
        let plan = entry.plan(faults, &self.around);
        entry.mind(faults);
        if entry.settle(now(), &plan, &self.around, &taken) {
            self.tell(entry);
        }
        entry.due(&plan)
    }

    fn tell(&self, entry: &Entry) {
        if let Some(outbox) = &self.outbox {
            outbox.put(&entry.name, Some(entry.row(&self.around.ports)));
        }
        self.changes.send_replace(());
    }

    /// Adds a server, or gives one another shape; `true` if it is new.
    pub(crate) fn put(&self, name: &str, spec: ServerSpec) -> Result<bool, Refused> {
        check_name(name).map_err(Refused::Invalid)?;
        spec.check().map_err(Refused::Invalid)?;
        let _runtime = self.runtime.enter();
        let mut table = self.table();
        self.settle(&mut table, name);
        let full = table.servers.len() >= SERVERS_MAX;
        let mut taken = table.taken();
        let created = match table.servers.get_mut(name) {
            Some(entry) if entry.spec.same_place(&spec) => {
                entry.spec = spec;
                false
            }
            Some(entry) if !entry.life.state().at_rest() => {
                let reason = "port and address change only while it is stopped";
                return Err(Refused::Conflict(reason.to_owned()));
            }
            None if full => {
                let reason = format!("there are {SERVERS_MAX} servers, which is the limit");
                return Err(Refused::Full(reason));
            }
            old => {
                // It may keep the port it has.
                for port in old.iter().flat_map(|entry| entry.taken()) {
                    taken.remove(&port);
                }
                let mut entry = Entry::new(name, spec, now(), &self.around, &taken)
                    .map_err(|error| Refused::Full(format!("no game port: {error}")))?;
                entry.faults = old.as_ref().and_then(|entry| entry.faults.clone());
                let created = old.is_none();
                table.servers.insert(name.to_owned(), entry);
                created
            }
        };
        if let Some(entry) = table.servers.get(name) {
            self.tell(entry);
        }
        self.nudge.notify_one();
        Ok(created)
    }

    /// Takes a server away, running or not.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Refused> {
        let removed = self.table().servers.remove(name);
        let entry = removed.ok_or(Refused::Unknown)?;
        // A row that was only updated is not ours to delete.
        if let (Some(outbox), Some(_)) = (&self.outbox, &entry.spec.domain) {
            outbox.put(name, None);
        }
        self.changes.send_replace(());
        Ok(())
    }

    /// Asks a server to start, faults aside.
    pub(crate) fn start(&self, name: &str) -> Result<Started, Refused> {
        self.act(name, |entry, faults| {
            let plan = entry.plan(faults, &self.around);
            entry.life.start(now(), &plan)
        })
    }

    /// Asks a server to stop.
    pub(crate) fn stop(&self, name: &str) -> Result<(), Refused> {
        let stopped = self.act(name, |entry, faults| {
            let plan = entry.plan(faults, &self.around);
            entry.life.stop(now(), &plan)
        })?;
        if stopped {
            return Ok(());
        }
        Err(Refused::Conflict("it is not running".to_owned()))
    }

    /// Stops everything at once, as the end of this process will.
    pub(crate) fn stop_all(&self) {
        let mut table = self.table();
        let names: Vec<String> = table.servers.keys().cloned().collect();
        for name in names {
            if let Some(entry) = table.servers.get_mut(&name) {
                entry.spec.stop_delay = Some(Duration::ZERO);
                let plan = entry.plan(&Faults::default(), &self.around);
                // The second one takes back a start that waits for the stop.
                entry.life.stop(now(), &plan);
                entry.life.stop(now(), &plan);
            }
            self.settle(&mut table, &name);
        }
    }

    /// Forgets every server and closes its port; the table is not told.
    pub(crate) fn close(&self) {
        self.table().servers.clear();
        self.changes.send_replace(());
    }

    /// Sets the faults of one server; `None` leaves it to those of all.
    pub(crate) fn set_faults(&self, name: &str, faults: Option<Faults>) -> Result<(), Refused> {
        self.act(name, |entry, _| {
            entry.faults = faults;
            entry.struck = Struck::default();
        })
    }

    /// Sets the faults of every server that has none of its own.
    pub(crate) fn set_faults_of_all(&self, faults: Faults) {
        let mut table = self.table();
        table.faults = faults;
        for entry in table.servers.values_mut() {
            entry.struck = Struck::default();
        }
        drop(table);
        self.nudge.notify_one();
    }

    /// What the faults say to one `POST …/start`.
    pub(crate) fn on_start(&self, name: &str) -> Result<Verdict, Refused> {
        self.judge(name, Faults::on_start)
    }

    /// What the faults say to one poll.
    pub(crate) fn on_poll(&self, name: &str) -> Result<Verdict, Refused> {
        self.judge(name, Faults::on_poll)
    }

    fn judge(
        &self,
        name: &str,
        decide: fn(&Faults, &mut Struck) -> Verdict,
    ) -> Result<Verdict, Refused> {
        let mut table = self.table();
        let Table { servers, faults } = &mut *table;
        let entry = servers.get_mut(name).ok_or(Refused::Unknown)?;
        let mut struck = entry.struck;
        let verdict = decide(entry.faults(faults), &mut struck);
        entry.struck = struck;
        Ok(verdict)
    }

    /// Brings the server up to now, lets `act` change it, and settles what follows.
    fn act<T>(&self, name: &str, act: impl FnOnce(&mut Entry, &Faults) -> T) -> Result<T, Refused> {
        let mut table = self.table();
        self.settle(&mut table, name);
        let Table { servers, faults } = &mut *table;
        let entry = servers.get_mut(name).ok_or(Refused::Unknown)?;
        let outcome = act(entry, faults);
        self.settle(&mut table, name);
        self.nudge.notify_one();
        Ok(outcome)
    }

    /// One server as of now.
    pub(crate) fn seen(&self, name: &str) -> Option<Seen> {
        let mut table = self.table();
        self.settle(&mut table, name);
        let entry = table.servers.get(name)?;
        Some(self.see(entry, &table.faults))
    }

    /// One server once it neither starts nor stops any more, or changed from one to the other, or
    /// `wait` has passed.
    pub(crate) async fn seen_changed(&self, name: &str, wait: Duration) -> Option<Seen> {
        let mut changes = self.changes();
        let first = self.seen(name)?;
        let changing = matches!(first.state, State::Starting | State::Stopping);
        if !changing || first.faults.plain {
            return Some(first);
        }
        let changed = async {
            while changes.changed().await.is_ok() {
                if self.seen(name).is_none_or(|seen| seen.state != first.state) {
                    return;
                }
            }
        };
        // What it is then is told in any case.
        drop(timeout(wait, changed).await);
        self.seen(name)
    }

    /// Every server as of now, by name.
    pub(crate) fn all_seen(&self) -> Vec<Seen> {
        self.pass();
        let table = self.table();
        let servers = table.servers.values();
        servers
            .map(|entry| self.see(entry, &table.faults))
            .collect()
    }

    fn see(&self, entry: &Entry, of_all: &Faults) -> Seen {
        Seen {
            name: Arc::clone(&entry.name),
            spec: entry.spec.clone(),
            state: entry.life.state(),
            address: entry.address(&self.around.ports),
            row_address: entry.row_address(&self.around.ports),
            percent: entry.life.percent(now(), &entry.plan(of_all, &self.around)),
            faults: entry.faults(of_all).clone(),
        }
    }

    /// Gets word of every change of a state from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }
}
