//! What is remembered of servers: bounds, merging by time, and JSON in and out. Pure.
//!
//! As JSON: `{"version":1,"servers":{"survival":{…}}}`, and a server `{"icon":{"at":…,"data":…},
//! "statuses":[{"protocol":…,"shown":…,"at":…,"status":"{…}"}],"starts":{"at":…,"millis":[…]}}`. Times are
//! seconds since 1970. A status is JSON within a text, because Forge's mod lists have the character
//! U+0000 in them, which `jsonb` refuses.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::seen::{Shown, Status};
use crate::ping::ANY_PROTOCOL;
use crate::routes::row::SERVER_NAME_BYTES_MAX;
use crate::servers::history::STARTS_KEPT;
use crate::shared_str::SharedStr;
use crate::status::answer::{Known, clean_icon};

/// The version of what is written.
pub const VERSION: u64 = 1;
/// Most servers; the one whose news are oldest goes first.
pub const SERVERS_MAX: usize = 10_000;
/// Most statuses of one server, one for each protocol number; the oldest goes first.
pub const STATUSES_MAX: usize = 4;
/// Most start durations of one server; the oldest goes first.
pub const STARTS_MAX: usize = STARTS_KEPT;
/// Most of it all, in bytes as JSON; the server whose news are oldest goes first.
pub const BYTES_MAX: usize = 32 * 1024 * 1024;
/// What one server takes besides its texts, at most.
const SERVER_BYTES: usize = 1024;

/// Why a text is nothing that was written here.
#[derive(Debug, thiserror::Error)]
pub enum NoMemory {
    /// It is no JSON.
    #[error("no JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// It has no version, or one that is not understood.
    #[error("not version {VERSION} of what is remembered")]
    Version,
}

/// Everything that is remembered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Model {
    servers: HashMap<SharedStr, Server>,
    bytes: usize,
    /// Whether the file has less than this.
    changed: bool,
}

/// What is remembered of one server.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Server {
    icon: (u64, Option<Arc<str>>),
    /// The latest first.
    statuses: Vec<Status>,
    starts: (u64, Vec<u32>),
    /// Whether the database has less than this.
    changed: bool,
}

impl Model {
    /// Takes note of a status; whether anything is new but the time.
    pub fn remember_status(
        &mut self,
        key: &SharedStr,
        protocol: i32,
        known: &Known,
        now: u64,
    ) -> bool {
        self.update(key, |server| {
            let same_icon = server.icon.1 == known.icon;
            server.icon = (now, known.icon.clone());
            let shown = known.protocol.map_or(Shown::None, Shown::This);
            server.see(Status::new(now, protocol, shown, &known.lasting)) || !same_icon
        })
    }

    /// Takes note of a start.
    pub fn remember_start(&mut self, key: &SharedStr, took: Duration, now: u64) {
        let millis = u32::try_from(took.as_millis()).unwrap_or(u32::MAX);
        self.update(key, |server| {
            let (at, starts) = &mut server.starts;
            *at = now;
            starts.push(millis);
            starts.drain(..starts.len().saturating_sub(STARTS_MAX));
            true
        });
    }

    /// The last status of a server, for this protocol number if there is one, and the number that the
    /// server would show to whoever asks with it. Negative numbers are nobody's.
    #[must_use]
    pub fn last_known(&self, key: &str, protocol: i32) -> Option<Known> {
        let server = self.servers.get(key)?;
        let mut statuses = server.statuses.iter();
        let own = statuses.find(|status| status.protocol == protocol);
        let status = own.or_else(|| server.statuses.first())?;
        let to_others = |status: &Status| match status.shown {
            Shown::None => None,
            Shown::This(number) => Some(number),
            Shown::Asked => Some(status.protocol),
        };
        let shown = match (protocol, status.shown) {
            (0.., Shown::Asked) => Some(protocol),
            // An echo of what is nobody's number says nothing to those who have one.
            (0.., Shown::This(..0)) if status.echoes() => None,
            (..0, Shown::This(..0)) => {
                let mut all = server.statuses.iter().filter_map(to_others);
                all.find(|number| *number >= 0)
                    .or_else(|| to_others(status))
            }
            _ => to_others(status),
        };
        Some(Known {
            icon: server.icon.1.clone(),
            protocol: shown,
            lasting: Arc::clone(&status.lasting),
        })
    }

    /// The protocol number that a server showed last, else one by which it was asked and answered.
    #[must_use]
    pub fn protocol(&self, key: &str) -> Option<i32> {
        let shown = self.last_known(key, ANY_PROTOCOL)?.protocol;
        let asked = self.servers.get(key)?.statuses.iter();
        let mut numbers = shown.into_iter().chain(asked.map(|status| status.protocol));
        numbers.find(|number| *number >= 0)
    }

    /// How long the last starts of a server took, the latest last.
    #[must_use]
    pub fn starts(&self, key: &str) -> Vec<Duration> {
        let server = self.servers.get(key);
        let millis = server.map(|server| &server.starts.1).into_iter().flatten();
        millis
            .map(|millis| Duration::from_millis(u64::from(*millis)))
            .collect()
    }

    /// Adds what the file has: the newer of each part stays.
    pub fn merge_file(&mut self, file: Self) {
        let before = self.changed;
        for (key, server) in file.servers {
            self.update(&key, |own| own.merge(server));
        }
        self.changed = before;
    }

    /// Adds what the database has of one server: the newer of each part stays.
    pub fn merge_row(&mut self, key: &SharedStr, row: &Server) {
        self.update(key, |own| own.merge(row.clone()));
        if let Some(own) = self.servers.get_mut(key) {
            own.changed = !own.is_like(row);
        }
    }

    /// What to write to the file, if it has less than this. It counts as written; see
    /// [`Self::not_saved`].
    pub fn take_unsaved(&mut self) -> Option<Self> {
        std::mem::take(&mut self.changed).then(|| self.clone())
    }

    /// Takes note that the file was not written after all.
    pub fn not_saved(&mut self) {
        self.changed = true;
    }

    /// Servers of which the database has less, with their JSON: `max` of them and `bytes` of JSON at
    /// most, but one in any case. They count as written; see [`Self::not_written`].
    pub fn take_changed(&mut self, max: usize, bytes: usize) -> Vec<(SharedStr, String)> {
        let (mut taken, mut length) = (Vec::new(), 0);
        for (key, server) in self.servers.iter_mut().filter(|(_, server)| server.changed) {
            let json = server.to_json().to_string();
            length += json.len();
            if !taken.is_empty() && (taken.len() >= max || length > bytes) {
                break;
            }
            server.changed = false;
            taken.push((key.clone(), json));
        }
        taken
    }

    /// Takes note that this server was not written after all.
    pub fn not_written(&mut self, key: &str) {
        if let Some(server) = self.servers.get_mut(key) {
            server.changed = true;
        }
    }

    /// Whether there is anything the database has not.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.servers.values().any(|server| server.changed)
    }

    /// Everything as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let servers = self.servers.iter();
        let servers: Map<_, _> = servers
            .map(|(key, server)| (key.to_string(), server.to_json()))
            .collect();
        json!({ "version": VERSION, "servers": servers }).to_string()
    }

    /// Reads what [`Self::to_json`] has written. Broken entries are left out; what is wrong with
    /// them goes into `broken`. No time is later than `now`.
    ///
    /// # Errors
    /// See [`NoMemory`].
    pub fn read(json: &str, now: u64, broken: &mut Vec<String>) -> Result<Self, NoMemory> {
        let mut json: Value = serde_json::from_str(json)?;
        let version = json.get("version").and_then(Value::as_u64);
        let servers = json.get_mut("servers").map(Value::take);
        let (Some(VERSION), Some(Value::Object(servers))) = (version, servers) else {
            return Err(NoMemory::Version);
        };
        let mut model = Self::default();
        for (key, json) in servers {
            if let Some(server) = Server::read(&key, &json, now, broken) {
                model.update(&key.into(), |own| own.merge(server));
            }
        }
        Ok(model)
    }

    /// Changes a server within the bounds; `change` says whether there is something to write.
    fn update(&mut self, key: &SharedStr, change: impl FnOnce(&mut Server) -> bool) -> bool {
        let server = match self.servers.get_mut(key) {
            Some(server) => server,
            None => {
                self.bytes += key_bytes(key);
                self.servers.entry(key.clone()).or_default()
            }
        };
        let before = server.bytes();
        let changed = change(server);
        server.changed |= changed;
        self.bytes = self.bytes - before + server.bytes();
        self.changed |= changed;
        while self.servers.len() > SERVERS_MAX || self.bytes > BYTES_MAX {
            let oldest = self
                .servers
                .iter()
                .min_by_key(|(key, server)| (server.news(), *key));
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else {
                break;
            };
            let dropped = self.servers.remove(&oldest).unwrap_or_default();
            self.bytes -= dropped.bytes() + key_bytes(&oldest);
        }
        changed
    }
}

/// What a name takes as JSON, at most.
fn key_bytes(key: &str) -> usize {
    SERVER_BYTES + 6 * key.len()
}

impl Server {
    /// Whether there is a status that was not there before.
    fn see(&mut self, mut seen: Status) -> bool {
        let own = |status: &Status| status.protocol == seen.protocol;
        // Most servers show the same to everybody, which is kept once.
        let all = |status: &Status| status.says(&seen) || status.echoes_with(&seen);
        let place = self.statuses.iter().position(own);
        let place = place.or_else(|| self.statuses.iter().position(all));
        let known = place.map(|place| self.statuses.remove(place));
        let is_new = match known {
            Some(known) if known.says(&seen) => {
                // That it does not echo is worth more than that it may.
                let proves = known.echoes() && !seen.echoes() && seen.protocol >= 0;
                if !proves {
                    let at = seen.at;
                    seen = Status { at, ..known };
                }
                proves
            }
            Some(known) if known.echoes_with(&seen) => {
                seen.shown = Shown::Asked;
                true
            }
            _ => true,
        };
        self.statuses.insert(0, seen);
        self.statuses.truncate(STATUSES_MAX);
        is_new
    }

    /// The newer of each part; whether anything is new.
    fn merge(&mut self, other: Self) -> bool {
        let before = self.clone();
        if other.icon > self.icon {
            self.icon = other.icon;
        }
        if other.starts > self.starts {
            self.starts = other.starts;
        }
        for status in other.statuses {
            match self
                .statuses
                .iter_mut()
                .find(|own| own.protocol == status.protocol)
            {
                Some(own) if status.beats(own) => *own = status,
                Some(_) => {}
                None => self.statuses.push(status),
            }
        }
        self.statuses
            .sort_by_key(|status| std::cmp::Reverse((status.at, status.protocol)));
        self.statuses.truncate(STATUSES_MAX);
        !self.is_like(&before)
    }

    /// Whether both say the same, whenever they learnt it.
    fn is_like(&self, other: &Self) -> bool {
        let statuses = |server: &Self| {
            let mut statuses: Vec<_> = server
                .statuses
                .iter()
                .map(|status| (status.protocol, status.shown, Arc::clone(&status.lasting)))
                .collect();
            statuses.sort_by_key(|(protocol, ..)| *protocol);
            statuses
        };
        self.icon.1 == other.icon.1
            && self.starts.1 == other.starts.1
            && statuses(self) == statuses(other)
    }

    /// When there was news of it last.
    fn news(&self) -> u64 {
        let status = self.statuses.first().map(|status| status.at);
        status.unwrap_or_default().max(self.starts.0)
    }

    fn bytes(&self) -> usize {
        let statuses = self.statuses.iter().map(|status| status.bytes);
        statuses.sum::<usize>() + self.icon.1.as_ref().map_or(0, |icon| icon.len())
    }

    /// As the file and the database have it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let statuses = self.statuses.iter().map(|status| {
            let (protocol, shown, at) = (status.protocol, status.shown, status.at);
            let (shown, json) = (shown.to_json(), status.lasting.to_json());
            json!({ "protocol": protocol, "shown": shown, "at": at, "status": json })
        });
        json!({
            "icon": { "at": self.icon.0, "data": self.icon.1.as_deref() },
            "statuses": statuses.collect::<Vec<_>>(),
            "starts": { "at": self.starts.0, "millis": self.starts.1 },
        })
    }

    /// Reads what [`Self::to_json`] has made for the server `key`. What is broken is left out, and
    /// said in `broken`; `None` if nothing is left. No time is later than `now`.
    #[must_use]
    pub fn read(key: &str, json: &Value, now: u64, broken: &mut Vec<String>) -> Option<Self> {
        let shown: String = key.chars().take(SERVER_NAME_BYTES_MAX).collect();
        if key.is_empty() || key.len() > SERVER_NAME_BYTES_MAX || key.chars().any(char::is_control)
        {
            broken.push(format!("{shown:?} is nobody's name"));
            return None;
        }
        let at = |json: &Value| json.get("at").and_then(Value::as_u64).map(|at| at.min(now));
        let mut server = Self::default();
        if let Some(json) = json.get("icon") {
            match (at(json), json.get("data")) {
                (Some(at), None | Some(Value::Null)) => server.icon = (at, None),
                (Some(at), Some(Value::String(icon))) => match clean_icon(icon) {
                    Some(icon) => server.icon = (at, Some(icon.into())),
                    None => broken.push(format!("the icon of {shown:?} is broken")),
                },
                _ => broken.push(format!("the icon of {shown:?} is broken")),
            }
        }
        if let Some(json) = json.get("starts") {
            match (at(json), json.get("millis").and_then(millis)) {
                (Some(at), Some(millis)) => server.starts = (at, millis),
                _ => broken.push(format!("the starts of {shown:?} are broken")),
            }
        }
        let mut none_broken = true;
        for json in json
            .get("statuses")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let status = at(json).and_then(|at| Status::read(json, at));
            none_broken &= status.is_some();
            let (statuses, icon, starts) =
                (status.into_iter().collect(), (0, None), (0, Vec::new()));
            server.merge(Self {
                icon,
                statuses,
                starts,
                changed: false,
            });
        }
        if !none_broken {
            broken.push(format!("a status of {shown:?} is broken"));
        }
        let empty = server.is_like(&Self::default());
        if empty && !json.is_object() {
            broken.push(format!("what is said of {shown:?} is broken"));
        }
        (!empty).then_some(server)
    }
}

fn millis(json: &Value) -> Option<Vec<u32>> {
    let all = json.as_array()?;
    let last = all.iter().skip(all.len().saturating_sub(STARTS_MAX));
    last.map(|millis| u32::try_from(millis.as_u64()?).ok())
        .collect()
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
