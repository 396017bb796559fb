//! The settings of routes: their file, and how names are read.

use std::path::PathBuf;

use super::settings::{Key, Kind, Settings};
use super::text;
use super::values::switch;
use crate::host::Names;

pub(super) const KEYS: &[Key] = &[
    text(
        "routes_config",
        "",
        "JSON file of routes, read at start and at SIGHUP, written by the API",
    ),
    Key {
        name: "routes_config_watch",
        kind: Kind::Switch,
        default: None,
        help: "Read the routes file again whenever it changes",
    },
    Key {
        name: "simplify_srv",
        kind: Kind::Switch,
        default: None,
        help: "Drop everything up to a _tcp label from host names",
    },
];

/// What is set of routes in general.
#[derive(Debug, Clone, Default)]
pub struct RoutesConfig {
    /// The routes file, if there is to be one.
    pub file: Option<PathBuf>,
    /// Whether it is read again whenever it changes.
    pub watch: bool,
    /// How host names are read.
    pub names: Names,
}

pub(super) fn routes(settings: &mut Settings) -> RoutesConfig {
    let mut is_on = |key| settings.parse(key, switch).unwrap_or_default();
    let (watch, simplify_srv) = (is_on("routes_config_watch"), is_on("simplify_srv"));
    RoutesConfig {
        file: settings.parse("routes_config", str::parse),
        watch,
        names: Names { simplify_srv },
    }
}
