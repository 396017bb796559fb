//! The routes file, which is mc-router's: `{"default-server": "h:p", "mappings": {"host": "h:p"}}`.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::registry::{Full, STATIC_ROUTES_MAX};
use crate::addr::BackendAddr;
use crate::host::{Host, Names};

/// Largest file that is read.
pub const BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most problems of one file that are named.
const PROBLEMS_MAX: usize = 20;
/// Most characters of the file that one problem quotes.
const QUOTED_MAX: usize = 100;

/// What a routes file says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RoutesFile {
    /// Where each host leads; [`STATIC_ROUTES_MAX`] at most.
    pub mappings: BTreeMap<Host, BackendAddr>,
    /// Where all others lead, if anywhere.
    pub default: Option<BackendAddr>,
    /// Keys that mean nothing here; they are kept when the file is written.
    pub others: Map<String, Value>,
}

/// One change that the REST API makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Adds or replaces a route.
    Set(Host, BackendAddr),
    /// Removes the route of a host, which is a [`Names::key`].
    Remove(String),
    /// Sets or removes the backend of hosts without a route.
    Default(Option<BackendAddr>),
}

/// Why a text is no routes file: everything that is wrong with it, by name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems {
    named: Vec<String>,
    more: usize,
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.named.join("; "))?;
        match self.more {
            0 => Ok(()),
            more => write!(formatter, "; and {more} more"),
        }
    }
}

impl Problems {
    fn add(&mut self, problem: impl FnOnce() -> String) {
        if self.named.len() < PROBLEMS_MAX {
            self.named.push(problem());
        } else {
            self.more += 1;
        }
    }
}

/// The file's JSON. A map would lose that a host is there twice.
#[derive(serde::Deserialize)]
struct Raw {
    #[serde(rename = "default-server", default)]
    default: Value,
    #[serde(default)]
    mappings: Option<Pairs>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Pairs;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of host names and backends")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

impl RoutesFile {
    /// Reads `json` of at most [`BYTES_MAX`]. An empty `default-server` is none; a host may be there
    /// twice with one backend.
    ///
    /// # Errors
    /// [`Problems`]: no JSON of this shape, or entries that no flag could set either.
    pub fn parse(json: &[u8], names: Names) -> Result<Self, Problems> {
        let mut problems = Problems {
            named: Vec::new(),
            more: 0,
        };
        if json.len() > BYTES_MAX {
            problems.add(|| format!("it is larger than {BYTES_MAX} bytes"));
            return Err(problems);
        }
        let raw: Raw = serde_json::from_slice(json).map_err(|error| Problems {
            named: vec![format!(
                "it is not the JSON due: {}",
                cut(&error.to_string())
            )],
            more: 0,
        })?;
        let mut file = Self {
            others: raw.others,
            ..Self::default()
        };
        match raw.default {
            Value::Null => {}
            Value::String(text) if text.is_empty() => {}
            other => match backend(&other) {
                Ok(backend) => file.default = Some(backend),
                Err(reason) => problems.add(|| format!("default-server: {reason}")),
            },
        }
        for (host, value) in raw.mappings.map(|Pairs(pairs)| pairs).unwrap_or_default() {
            if let Err(reason) = file.entry(&host, &value, names) {
                problems.add(|| format!("mappings: {:?}: {reason}", cut(&host)));
            }
        }
        if file.mappings.len() > STATIC_ROUTES_MAX {
            problems.add(|| Full.to_string());
        }
        if problems.named.is_empty() {
            Ok(file)
        } else {
            Err(problems)
        }
    }

    fn entry(&mut self, host: &str, value: &Value, names: Names) -> Result<(), String> {
        let host = names.parse(host).map_err(|error| error.to_string())?;
        let backend = backend(value)?;
        match self.mappings.get(&host) {
            Some(other) if *other != backend => Err(format!(
                "{host} is there twice, with {other} and with {backend}"
            )),
            _ => {
                self.mappings.insert(host, backend);
                Ok(())
            }
        }
    }

    /// The keys that mean nothing here, if there are such.
    #[must_use]
    pub fn unknown(&self) -> Option<String> {
        let keys: Vec<_> = self.others.keys().take(PROBLEMS_MAX).cloned().collect();
        (!keys.is_empty()).then(|| cut(&keys.join(", ")))
    }

    /// Its JSON, for people to read; [`Self::parse`] reads the same again.
    #[must_use]
    pub fn to_json(&self) -> String {
        let text = |backend: &BackendAddr| Value::from(backend.as_str());
        let mappings: Map<_, _> = self
            .mappings
            .iter()
            .map(|(host, backend)| (host.to_string(), text(backend)))
            .collect();
        let mut json = self.others.clone();
        let default = self.default.as_ref().map_or(Value::Null, text);
        json.insert("default-server".to_owned(), default);
        json.insert("mappings".to_owned(), Value::Object(mappings));
        format!("{:#}\n", Value::Object(json))
    }

    /// Makes the change `edit`; whether it is one.
    ///
    /// # Errors
    /// [`Full`] when it would be one route too many.
    pub fn apply(&mut self, edit: &Edit) -> Result<bool, Full> {
        match edit {
            Edit::Set(host, backend) => {
                if self.mappings.len() >= STATIC_ROUTES_MAX && !self.mappings.contains_key(host) {
                    return Err(Full);
                }
                let old = self.mappings.insert(host.clone(), backend.clone());
                Ok(old.as_ref() != Some(backend))
            }
            Edit::Remove(host) => Ok(self.mappings.remove(host.as_str()).is_some()),
            Edit::Default(default) => {
                let old = std::mem::replace(&mut self.default, default.clone());
                Ok(old != *default)
            }
        }
    }
}

fn backend(value: &Value) -> Result<BackendAddr, String> {
    let text = value.as_str().ok_or("the backend is not a text")?;
    BackendAddr::parse(text).map_err(|error| error.to_string())
}

/// The beginning of `text`, where it is long.
fn cut(text: &str) -> String {
    let mut cut: String = text.chars().take(QUOTED_MAX).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
