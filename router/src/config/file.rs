//! The configuration file, and its table of what stands for routes without settings of their own.

use std::path::Path;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Value};
use figment::{Profile, Provider};

use super::settings::{ConfigError, DEFAULTS_PREFIX, Key, Kind, Layer, Spec, scalar};

/// Largest configuration file that is read.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// The file's table of [`Kind::Default`].
const DEFAULTS_TABLE: &str = "defaults";

/// The file, and its table of defaults.
pub(super) fn layers(spec: &Spec, path: &Path) -> Result<[Layer; 2], ConfigError> {
    let origin = path.display().to_string();
    let fail = |reason: String| ConfigError(vec![format!("--config: {origin}: {reason}")]);
    let size = std::fs::metadata(path)
        .map_err(|error| fail(error.to_string()))?
        .len();
    if size > FILE_BYTES_MAX {
        return Err(fail(format!(
            "{size} bytes, over the limit of {FILE_BYTES_MAX}"
        )));
    }
    let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
    // Straight from the parser: extracted values would say that they are from nowhere.
    let mut dict = Toml::string(&text)
        .data()
        .map_err(|error| fail(without_quoted_lines(&error.to_string())))?
        .remove(&Profile::Default)
        .unwrap_or_default();
    let defaults = defaults_layer(spec, &mut dict, &origin).map_err(ConfigError)?;
    let unknown: Vec<String> = dict
        .keys()
        .filter(|name| !spec.keys().any(|key| key.name == name.as_str()))
        .map(|name| format!("{origin}: unknown key {name:?}{}", nearest(spec, name)))
        .collect();
    if !unknown.is_empty() {
        return Err(ConfigError(unknown));
    }
    for key in spec.keys().filter(|key| key.kind == Kind::List) {
        if let Some(value) = dict.get_mut(key.name) {
            *value = Value::from(listed(value, key).map_err(fail)?);
        }
    }
    Ok([Layer { origin, dict }, defaults])
}

/// Takes the table of defaults out of the file's dictionary, if this program has any.
fn defaults_layer(spec: &Spec, file: &mut Dict, path: &str) -> Result<Layer, Vec<String>> {
    let origin = format!("{path}, table [{DEFAULTS_TABLE}]");
    let mut dict = Dict::new();
    let mut keys = spec.keys().filter(|key| key.kind == Kind::Default);
    let is_table =
        keys.next().is_some() && matches!(file.get(DEFAULTS_TABLE), Some(Value::Dict(..)));
    let table = is_table.then(|| file.remove(DEFAULTS_TABLE)).flatten();
    let mut problems = Vec::new();
    for (name, value) in table
        .as_ref()
        .and_then(Value::as_dict)
        .into_iter()
        .flatten()
    {
        let full = format!("{DEFAULTS_PREFIX}{name}");
        let is_one = |key: &&Key| key.kind == Kind::Default && key.name == full;
        if !spec.keys().any(|key| is_one(&key)) {
            problems.push(format!("{origin}: unknown key {name:?}"));
        } else if file.contains_key(&full) {
            problems.push(format!("{origin}: {name} is also there as {full}"));
        } else {
            dict.insert(full, one_text(value));
        }
    }
    if problems.is_empty() {
        Ok(Layer { origin, dict })
    } else {
        Err(problems)
    }
}

/// ` (did you mean "x"?)` for a key that differs in a character or two, or in its dashes.
fn nearest(spec: &Spec, name: &str) -> String {
    let folded = name.replace('-', "_").to_ascii_lowercase();
    let close = |key: &&Key| {
        let prefix = key
            .name
            .bytes()
            .zip(folded.bytes())
            .take_while(|(a, b)| a == b)
            .count();
        let rest = key.name.bytes().rev().zip(folded.bytes().rev());
        let suffix = rest.take_while(|(a, b)| a == b).count();
        prefix + suffix + 2 >= key.name.len().max(folded.len())
    };
    let found = spec.keys().find(close);
    found
        .map(|key| format!(" (did you mean {:?}?)", key.name))
        .unwrap_or_default()
}

/// A list in a file may be a list of texts, one text, or a table of `host = "backend"`.
fn listed(value: &Value, key: &Key) -> Result<Vec<Value>, String> {
    match value {
        Value::Array(_, items) => Ok(items.clone()),
        Value::Dict(_, dict) => dict
            .iter()
            .map(|(name, value)| Ok(Value::from(format!("{name}={}", scalar(value, key)?))))
            .collect(),
        other => Ok(vec![other.clone()]),
    }
}

/// A list of texts as one with commas between, a table as JSON; all else as it is.
fn one_text(value: &Value) -> Value {
    let joined = match value {
        Value::Array(_, items) => {
            let texts: Option<Vec<_>> = items.iter().map(Value::as_str).collect();
            texts.map(|texts| texts.join(","))
        }
        Value::Dict(_, table) => serde_json::to_string(table).ok(),
        _ => None,
    };
    joined.map_or_else(|| value.clone(), Value::from)
}

/// A TOML error quotes the line it is about, which may hold a secret: keeps place and reason.
fn without_quoted_lines(error: &str) -> String {
    let quoted = |line: &&str| {
        line.trim_start_matches([' ', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'])
            .starts_with('|')
    };
    error
        .lines()
        .filter(|line| !quoted(line))
        .collect::<Vec<_>>()
        .join(": ")
}
