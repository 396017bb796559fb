//! Settings from four layers (defaults < file < environment < flags) as texts with their origin.
//!
//! One table of [`Key`]s names every setting once: the key in the file, the flag and the
//! environment variable follow from it. Values stay texts here, so that an error can name the
//! variable or key a value came from and so that nothing guesses types (a token `12345` is a
//! text) or prints what may be a secret.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

/// Largest configuration file that is read.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// What the names of [`Kind::Default`] begin with, but for the file's table of them.
const DEFAULTS_PREFIX: &str = "automc_";
/// The file's table of [`Kind::Default`].
const DEFAULTS_TABLE: &str = "defaults";

/// What a key holds and how it is given on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One value.
    Text,
    /// One value that is never printed and has no flag, since flags show in process lists.
    Secret,
    /// A flag without a value; `true` or `false` elsewhere.
    Switch,
    /// A flag that may stand alone, which means `true`, or carry a text.
    SwitchOrText,
    /// Several values: a repeated flag, and texts split at commas and line ends. The command
    /// line adds to the environment, and that to the file, as in mc-router.
    List,
    /// One value that stands for every route that has none of its own: in the file also in the
    /// table `[defaults]`, without [`DEFAULTS_PREFIX`]. There, a list is its items with commas
    /// between, and a table is JSON.
    Default,
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name in the file; with dashes, its flag; in capitals after the prefix, its variable.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Its value when nothing gives one.
    pub default: Option<&'static str>,
    /// What it is for, in one line.
    pub help: &'static str,
}

/// The settings of one program.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// Every key there is.
    pub keys: &'static [Key],
    /// What its environment variables begin with; may be empty.
    pub env_prefix: &'static str,
}

/// Everything that is wrong with the settings, one sentence each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub Vec<String>);

/// One value and where it came from.
#[derive(Debug, Clone)]
struct Setting {
    text: String,
    origin: String,
}

/// The merged settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// One each, but for lists.
    values: BTreeMap<&'static str, Vec<Setting>>,
    problems: Vec<String>,
}

impl Spec {
    /// Adds one flag per key, and `--config`, to `command`.
    #[must_use]
    pub fn flags(&self, mut command: clap::Command) -> clap::Command {
        // Of a flag given twice the last counts, as with mc-router.
        command = command
            .args_override_self(true)
            .after_help(self.secrets())
            .arg(
                clap::Arg::new("config")
                    .long("config")
                    .value_name("FILE")
                    .value_parser(clap::value_parser!(PathBuf))
                    .help("Read settings from this TOML file"),
            );
        for key in self.keys.iter().filter(|key| key.kind != Kind::Secret) {
            let arg = clap::Arg::new(key.name)
                .long(key.name.replace('_', "-"))
                .value_name("VALUE")
                .help(self.help(key));
            command = command.arg(match key.kind {
                Kind::Switch => arg
                    .num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true"),
                Kind::SwitchOrText => arg.num_args(0..=1).default_missing_value("true"),
                Kind::List => arg.action(clap::ArgAction::Append),
                Kind::Text | Kind::Default | Kind::Secret => arg,
            });
        }
        command
    }

    /// The settings that have no flag, for the end of `--help`.
    fn secrets(&self) -> String {
        let secrets = self.keys.iter().filter(|key| key.kind == Kind::Secret);
        let lines = secrets.map(|key| format!("  {:<20} {}", self.variable(key), key.help));
        let lines: Vec<_> = lines.collect();
        format!(
            "Secrets, from the environment or the file only:\n{}",
            lines.join("\n")
        )
    }

    fn help(&self, key: &Key) -> String {
        let default = key
            .default
            .map(|text| format!(", default {text}"))
            .unwrap_or_default();
        format!("{} [env {}{default}]", key.help, self.variable(key))
    }

    /// The environment variable of `key`.
    #[must_use]
    pub fn variable(&self, key: &Key) -> String {
        format!("{}{}", self.env_prefix, key.name.to_ascii_uppercase())
    }

    /// Merges the layers. `flags` are matches of a command that went through [`Spec::flags`].
    ///
    /// # Errors
    /// A file that cannot be read or parsed, or that has a key that does not exist.
    pub fn load(
        &self,
        flags: &clap::ArgMatches,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Settings, ConfigError> {
        let mut figment = Figment::from(self.default_layer());
        if let Some(path) = flags.get_one::<PathBuf>("config") {
            for layer in self.file_layers(path)? {
                figment = figment.admerge(layer);
            }
        }
        for layer in self.environment_layers(environment) {
            figment = figment.admerge(layer);
        }
        for layer in self.flag_layers(flags) {
            figment = figment.admerge(layer);
        }
        self.collect(&figment)
    }

    fn default_layer(&self) -> Layer {
        let pairs = self.keys.iter().filter_map(|key| Some((key, key.default?)));
        let dict = pairs
            .map(|(key, text)| (key.name.to_owned(), Value::from(text)))
            .collect();
        Layer {
            origin: "the default".to_owned(),
            dict,
        }
    }

    fn environment_layers(
        &self,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Vec<Layer> {
        // An empty variable is an unset one.
        let environment: BTreeMap<String, String> = environment
            .into_iter()
            .filter(|(_, text)| !text.is_empty())
            .collect();
        let layer = |key: &Key| {
            let variable = self.variable(key);
            let value = match key.kind {
                Kind::List => Value::from(vec![environment.get(&variable)?.as_str()]),
                _ => Value::from(environment.get(&variable)?.as_str()),
            };
            let origin = format!("environment variable {variable}");
            Some(Layer {
                origin,
                dict: Dict::from([(key.name.to_owned(), value)]),
            })
        };
        self.keys.iter().filter_map(layer).collect()
    }

    fn flag_layers(&self, flags: &clap::ArgMatches) -> Vec<Layer> {
        let layer = |key: &Key| {
            if key.kind == Kind::Secret {
                return None;
            }
            let texts: Vec<&str> = flags
                .get_many::<String>(key.name)?
                .map(String::as_str)
                .collect();
            let value = match key.kind {
                Kind::List => Value::from(texts),
                _ => Value::from(*texts.last()?),
            };
            let origin = format!("--{}", key.name.replace('_', "-"));
            Some(Layer {
                origin,
                dict: Dict::from([(key.name.to_owned(), value)]),
            })
        };
        self.keys.iter().filter_map(layer).collect()
    }

    /// The file, and its table of defaults.
    fn file_layers(&self, path: &Path) -> Result<[Layer; 2], ConfigError> {
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
        let defaults = self
            .defaults_layer(&mut dict, &origin)
            .map_err(ConfigError)?;
        let unknown: Vec<String> = dict
            .keys()
            .filter(|name| !self.keys.iter().any(|key| key.name == name.as_str()))
            .map(|name| format!("{origin}: unknown key {name:?}{}", self.nearest(name)))
            .collect();
        if !unknown.is_empty() {
            return Err(ConfigError(unknown));
        }
        for key in self.keys.iter().filter(|key| key.kind == Kind::List) {
            if let Some(value) = dict.get_mut(key.name) {
                *value = Value::from(listed(value, key).map_err(fail)?);
            }
        }
        Ok([Layer { origin, dict }, defaults])
    }

    /// Takes the table of defaults out of the file's dictionary, if this program has any.
    fn defaults_layer(&self, file: &mut Dict, path: &str) -> Result<Layer, Vec<String>> {
        let origin = format!("{path}, table [{DEFAULTS_TABLE}]");
        let mut dict = Dict::new();
        let mut keys = self.keys.iter().filter(|key| key.kind == Kind::Default);
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
            if !self.keys.iter().any(|key| is_one(&key)) {
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
    fn nearest(&self, name: &str) -> String {
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
        let found = self.keys.iter().find(close);
        found
            .map(|key| format!(" (did you mean {:?}?)", key.name))
            .unwrap_or_default()
    }

    fn collect(&self, figment: &Figment) -> Result<Settings, ConfigError> {
        let merged: BTreeMap<String, Value> = figment
            .extract()
            .map_err(|error| ConfigError(vec![error.kind.to_string()]))?;
        let mut settings = Settings {
            values: BTreeMap::new(),
            problems: Vec::new(),
        };
        for key in self.keys {
            let Some(value) = merged.get(key.name) else {
                continue;
            };
            let items = match value {
                Value::Array(_, items) if key.kind == Kind::List => items.as_slice(),
                other => std::slice::from_ref(other),
            };
            for item in items {
                let origin = origin(figment, item, key);
                match scalar(item, key) {
                    // An empty text is no value, wherever it is written.
                    Ok(text) if text.is_empty() => {}
                    Ok(text) => {
                        settings
                            .values
                            .entry(key.name)
                            .or_default()
                            .push(Setting { text, origin });
                    }
                    Err(reason) => settings.problems.push(format!("{origin}: {reason}")),
                }
            }
        }
        Ok(settings)
    }
}

/// Where a value came from, as an error names it.
fn origin(figment: &Figment, value: &Value, key: &Key) -> String {
    let metadata = figment.get_metadata(value.tag());
    let name = metadata.map_or_else(String::new, |data| data.name.to_string());
    if name.starts_with("--") || name.starts_with("environment") {
        name
    } else if name.ends_with(']') {
        let key = key.name.trim_start_matches(DEFAULTS_PREFIX);
        format!("{name}, key {key}")
    } else {
        format!("{name}, key {}", key.name)
    }
}

impl Settings {
    /// Parses the value of `key`, if it has one. What is wrong is kept for [`Settings::finish`].
    pub fn parse<T, E: ToString>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let Setting { text, origin } = self.values.get(key)?.last()?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.problems
                    .push(format!("{origin}: {}", reason.to_string()));
                None
            }
        }
    }

    /// Parses every item of the list `key`: texts split at commas and line ends, blanks dropped.
    pub fn parse_list<T, E: ToString>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        let mut parsed = Vec::new();
        for Setting { text, origin } in self.values.get(key).into_iter().flatten() {
            let items = text.split([',', '\n']).map(str::trim);
            for item in items.filter(|item| !item.is_empty()) {
                match parse(item) {
                    Ok(value) => parsed.push(value),
                    Err(reason) => {
                        self.problems
                            .push(format!("{origin}: {}", reason.to_string()));
                    }
                }
            }
        }
        parsed
    }

    /// Adds a problem that concerns more than one key.
    pub fn problem(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }

    /// # Errors
    /// Every problem met so far.
    pub fn finish(self) -> Result<(), ConfigError> {
        if self.problems.is_empty() {
            Ok(())
        } else {
            Err(ConfigError(self.problems))
        }
    }
}

/// One layer of texts with the name of where they came from.
struct Layer {
    origin: String,
    dict: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.dict.clone())]))
    }
}

/// The text of one value; what is neither text, number nor truth value is refused unprinted.
fn scalar(value: &Value, key: &Key) -> Result<String, String> {
    match value {
        Value::String(_, text) => Ok(text.clone()),
        Value::Bool(_, truth) => Ok(truth.to_string()),
        Value::Num(_, number) => number
            .to_i128()
            .map(|whole| whole.to_string())
            .or_else(|| number.to_u128().map(|whole| whole.to_string()))
            .or_else(|| number.to_f64().map(|float| float.to_string()))
            .ok_or_else(|| format!("{} must be a text", key.name)),
        _ => Err(format!(
            "{} must be one value, not a list or a table",
            key.name
        )),
    }
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
