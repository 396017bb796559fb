//! What the log says at the start: where routes come from, and whether what will be needed answers.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::config::{Config, WakerConfig};
use crate::routes::offer::Provider;
use crate::routes::registry::Registry;
use crate::wake::client::ManagerClient;

/// What may bring routes later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Later {
    /// The table.
    pub postgres: bool,
    /// Containers.
    pub docker: bool,
    /// The API.
    pub api: bool,
}

impl Later {
    /// What `config` has.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        #[cfg(feature = "docker")]
        let docker = config.docker.is_some();
        #[cfg(not(feature = "docker"))]
        let docker = false;
        Self {
            postgres: config.postgres.is_some(),
            docker,
            api: config.api_binding.is_some(),
        }
    }
}

/// Tells how many routes there are of each source so far, or that there are none.
pub fn tell_routes(registry: &Registry, later: Later) {
    let counts = Provider::ALL.map(|provider| {
        let counts = registry.read(|pool| pool.counts(provider));
        let name = match provider {
            Provider::Configuration => "fixed",
            other => other.name(),
        };
        (name, counts.active)
    });
    let is_empty = counts.iter().all(|(_, active)| *active == 0) && !has_default(registry);
    match (routes(&counts, later), nothing(later)) {
        (_, Some(what_to_set)) if is_empty => warn!("{what_to_set}"),
        (routes, _) => info!("{routes}"),
    }
}

/// Warns if there is no route at all, once `source` was asked; `what_to_do` about that.
pub fn tell_if_none(registry: &Registry, source: &str, what_to_do: &str) {
    if registry.table().is_empty() && !has_default(registry) {
        warn!("{source}: there are no routes, so nobody gets in: {what_to_do}");
    }
}

fn has_default(registry: &Registry) -> bool {
    registry.table().default_route().is_some()
}

/// `routes: 2 fixed, 14 file, postgres to come`.
fn routes(counts: &[(&'static str, usize)], later: Later) -> String {
    let comes = |name: &str| match name {
        "postgres" => later.postgres,
        "docker" => later.docker,
        _ => false,
    };
    let there = counts.iter().filter_map(|(name, active)| match active {
        0 if comes(name) => Some(format!("{name} to come")),
        0 => None,
        active => Some(format!("{active} {name}")),
    });
    let there: Vec<_> = there.collect();
    if there.is_empty() {
        "routes: only the default".to_owned()
    } else {
        format!("routes: {}", there.join(", "))
    }
}

/// What to set where there are no routes and none will come by themselves.
fn nothing(later: Later) -> Option<&'static str> {
    match later {
        Later { postgres: true, .. } | Later { docker: true, .. } => None,
        Later { api: true, .. } => Some(
            "routes: there are none, so nobody gets in until POST /routes; or set AUTOMC_DSN, MAPPING, \
             ROUTES_CONFIG or IN_DOCKER",
        ),
        Later { api: false, .. } => Some(
            "routes: there are none and none can come, so nobody gets in; set AUTOMC_DSN, MAPPING, \
             ROUTES_CONFIG, IN_DOCKER or DEFAULT",
        ),
    }
}

/// Has `tasks` try the server-manager, if there is one.
pub fn try_manager(config: Option<WakerConfig>, tasks: &TaskTracker, end: &CancellationToken) {
    if let Some(config) = config {
        let end = end.clone();
        tasks.spawn(async move { end.run_until_cancelled(ask_manager(config)).await });
    }
}

/// Asks the server-manager once for something harmless, and warns if it does not answer or refuses the
/// token.
async fn ask_manager(config: WakerConfig) {
    let Ok(client) = ManagerClient::new(&config) else {
        return;
    };
    let at = client.host();
    match client
        .answers()
        .await
        .as_ref()
        .map(hyper::StatusCode::as_u16)
    {
        Ok(status @ (401 | 403)) => warn!(
            "the server-manager at {at} refuses the token with status {status}: set AUTOMC_WAKER_TOKEN"
        ),
        Ok(status @ 500..) => warn!("the server-manager at {at} answers with status {status}"),
        Ok(_) => info!("the server-manager at {at} answers"),
        Err(problem) => warn!(
            "the server-manager at {at} cannot be asked, and starts no server until it can: {problem}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Later = Later {
        postgres: false,
        docker: false,
        api: false,
    };

    #[test]
    fn routes_are_told_by_source_and_what_is_to_come_too() {
        let counts = [("fixed", 2), ("file", 14), ("postgres", 0), ("docker", 0)];
        assert_eq!(routes(&counts, NONE), "routes: 2 fixed, 14 file");
        let later = Later {
            postgres: true,
            docker: true,
            ..NONE
        };
        let text = "routes: 2 fixed, 14 file, postgres to come, docker to come";
        assert_eq!(routes(&counts, later), text);
        assert_eq!(routes(&[("fixed", 0)], NONE), "routes: only the default");
    }

    #[test]
    fn whoever_has_no_routes_and_none_to_come_reads_what_to_set() {
        assert!(nothing(NONE).unwrap().contains("AUTOMC_DSN"));
        let api = Later { api: true, ..NONE };
        assert!(nothing(api).unwrap().contains("POST /routes"));
        for later in [
            Later {
                postgres: true,
                ..NONE
            },
            Later {
                docker: true,
                api: true,
                ..NONE
            },
        ] {
            assert_eq!(nothing(later), None, "{later:?}");
        }
    }
}
