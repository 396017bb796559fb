//! Settings from four layers (defaults < file < environment < flags) as texts with their origin.
//!
//! One table of [`Key`]s names every setting once: the key in the file, the flag and the
//! environment variable follow from it. Values stay texts here, so that an error can name the
//! variable or key a value came from and so that nothing guesses types (a token `12345` is a
//! text) or prints what may be a secret.

use std::collections::BTreeMap;
use std::path::PathBuf;

use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::compat::{self, Ignored};
use super::file;

/// What the names of [`Kind::Default`] begin with, but for the file's table of them.
pub(super) const DEFAULTS_PREFIX: &str = "automc_";

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
    /// Every key there is, by what they are about.
    pub groups: &'static [&'static [Key]],
    /// What its environment variables begin with; may be empty.
    pub env_prefix: &'static str,
    /// Flags that are accepted without a function.
    pub ignored: &'static [Ignored],
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
    notices: Vec<String>,
}

impl Spec {
    /// Every key there is.
    pub fn keys(&self) -> impl Iterator<Item = &'static Key> + use<> {
        self.groups.iter().copied().flatten()
    }

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
        command = compat::flags(self.ignored, command);
        for key in self.keys().filter(|key| key.kind != Kind::Secret) {
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

    /// Whether the flag of this name, without dashes before it, is always followed by a value.
    #[must_use]
    pub fn takes_value(&self, flag: &str) -> bool {
        let kind = |kind| matches!(kind, Kind::Text | Kind::Default | Kind::List);
        let mut keys = self.keys().filter(|key| kind(key.kind));
        let mut ignored = self.ignored.iter().filter(|ignored| ignored.takes_value);
        flag == "config"
            || keys.any(|key| key.name.replace('_', "-") == flag)
            || ignored.any(|ignored| ignored.name == flag)
    }

    /// The settings that have no flag, for the end of `--help`.
    fn secrets(&self) -> String {
        let secrets = self.keys().filter(|key| key.kind == Kind::Secret);
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
            for layer in file::layers(self, path)? {
                figment = figment.admerge(layer);
            }
        }
        // An empty variable is an unset one.
        let environment = environment.into_iter();
        let environment = environment.filter(|(_, text)| !text.is_empty()).collect();
        for layer in self.environment_layers(&environment) {
            figment = figment.admerge(layer);
        }
        for layer in self.flag_layers(flags) {
            figment = figment.admerge(layer);
        }
        let mut settings = self.collect(&figment)?;
        let given = compat::given(self.ignored, flags, &environment);
        settings.problems.extend(given.problems);
        settings.notices = given.notices;
        Ok(settings)
    }

    fn default_layer(&self) -> Layer {
        let pairs = self.keys().filter_map(|key| Some((key, key.default?)));
        let dict = pairs
            .map(|(key, text)| (key.name.to_owned(), Value::from(text)))
            .collect();
        Layer {
            origin: "the default".to_owned(),
            dict,
        }
    }

    fn environment_layers(&self, environment: &BTreeMap<String, String>) -> Vec<Layer> {
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
        self.keys().filter_map(layer).collect()
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
        self.keys().filter_map(layer).collect()
    }

    fn collect(&self, figment: &Figment) -> Result<Settings, ConfigError> {
        let merged: BTreeMap<String, Value> = figment
            .extract()
            .map_err(|error| ConfigError(vec![error.kind.to_string()]))?;
        let mut settings = Settings {
            values: BTreeMap::new(),
            problems: Vec::new(),
            notices: Vec::new(),
        };
        for key in self.keys() {
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
                let problem = format!("{origin}: {}", reason.to_string());
                // Some values are for more than one part.
                if !self.problems.contains(&problem) {
                    self.problems.push(problem);
                }
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

    /// Adds a sentence to warn of.
    pub(super) fn notice(&mut self, notice: impl Into<String>) {
        self.notices.push(notice.into());
    }

    /// What to warn of: what was given and has no effect, a sentence each.
    #[must_use]
    pub fn notices(&self) -> &[String] {
        &self.notices
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
pub(super) struct Layer {
    pub(super) origin: String,
    pub(super) dict: Dict,
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
pub(super) fn scalar(value: &Value, key: &Key) -> Result<String, String> {
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
