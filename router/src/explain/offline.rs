//! `explain` on the command line: the routes are read as a router would that starts now, from the configuration, the routes
//! file, the table and the containers, each once. What is known of servers is what those say of them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, timeout};
use tokio_postgres::Client;

use super::Explanation;
use super::found::Found;
use super::words::Known;
use crate::admit::Admission;
use crate::beside::starters;
use crate::config::Config;
#[cfg(feature = "docker")]
use crate::config::DockerConfig;
use crate::config::values::short;
use crate::health::schedule::Checks;
use crate::memory::Memory;
use crate::postgres::connect::{Link, connect};
use crate::postgres::dsn::Dsn;
use crate::postgres::explain;
use crate::postgres::schema::{self, Finding, ROWS_MAX, Severity};
use crate::routes::Route;
use crate::routes::file_keeper::FixedRoutes;
use crate::routes::offer::{Offer, Provider};
use crate::routes::registry::Registry;
use crate::routes::row;
use crate::servers::{Servers, Starters, Target};

/// How long the table, or the list of containers, may take to be read.
const READ_TIMEOUT: Duration = Duration::from_secs(15);

/// What `explain` prints.
#[derive(Debug)]
pub struct Report {
    /// Which sources were read, and what is wrong with the others.
    pub sources: Vec<Finding>,
    /// What they say of the host.
    pub explanation: Explanation,
}

/// Reads every source of `config` once, and explains what they make of `host`.
pub async fn report(config: &Config, host: &str) -> Report {
    let mut sources = Vec::new();
    let registry = fixed(config, &mut sources);
    if let Some(postgres) = &config.postgres {
        let read = timeout(READ_TIMEOUT, table(&postgres.dsn, &registry));
        let read = read.await.unwrap_or_else(|_| {
            let why = format!("table servers was not read within {}", short(READ_TIMEOUT));
            Err(Finding::error(why))
        });
        sources.push(read.unwrap_or_else(|failed| failed));
    }
    #[cfg(feature = "docker")]
    if let Some(docker) = &config.docker {
        sources.push(containers(docker, &registry).await);
    }
    // A router does not start without it.
    if let Err(error) = Admission::new(&config.admit) {
        sources.push(Finding::error(error));
    }
    let found = registry.read(|pool| Found::look(pool, host));
    let servers = Servers::new(Arc::<Memory>::default());
    let starters = starters(config);
    let mut explanation = Explanation::of(&found, &config.admit, |route| {
        known(&servers, starters, route)
    });
    if config.checks != Checks::Never {
        explanation.health_unknown();
    }
    Report {
        sources,
        explanation,
    }
}

/// What the containers ask for at this moment.
#[cfg(feature = "docker")]
async fn containers(docker: &DockerConfig, registry: &Registry) -> Finding {
    let place = &docker.socket;
    let read = timeout(READ_TIMEOUT, crate::docker::read_once(docker, registry));
    let failed = match read.await {
        Ok(Ok(())) => {
            let (active, others) = counted(registry, Provider::Docker);
            let text = format!("docker: {place}, {active} routes; {others} containers set aside");
            return Finding::good(text);
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("containers were not listed within {}", short(READ_TIMEOUT)),
    };
    Finding::error(format!("docker: {place}: {failed}"))
}

/// What is known of the server of `route` at this moment.
#[must_use]
pub fn known(servers: &Servers, starters: Starters, route: &Route) -> Known {
    let hours = route.policy.wake.hours.as_ref();
    Known {
        seen: servers.snapshot(&Target::of(route, starters)),
        health: None,
        starters,
        opens_in: hours.and_then(|hours| hours.opens_in(SystemTime::now())),
        now: Instant::now().into_std(),
    }
}

/// The configuration's routes, and those of the routes file.
fn fixed(config: &Config, sources: &mut Vec<Finding>) -> Arc<Registry> {
    let names = config.routes.names;
    let policy = &config.defaults;
    let (mapping, default) = (config.mapping.clone(), config.default.clone());
    let registry = Registry::new(mapping, default, Arc::clone(policy), names);
    let registry = registry.unwrap_or_else(|full| {
        sources.push(Finding::error(format!("mapping: {full}")));
        // Without its routes, as there is no room for them.
        Registry::with(Arc::clone(policy), names)
    });
    let registry = Arc::new(registry);
    let (count, _) = counted(&registry, Provider::Configuration);
    let text = format!("configuration: {count} routes");
    sources.push(Finding::good(text));
    if let Some(path) = config.routes.file.clone() {
        let place = path.display().to_string();
        sources.push(match FixedRoutes::open(Arc::clone(&registry), Some(path)) {
            Ok(_) if registry.heard(Provider::File).error.is_some() => {
                let text = format!("file: {place} is not there yet, so it has no routes");
                Finding::warning(text)
            }
            Ok(_) => {
                let (count, _) = counted(&registry, Provider::File);
                Finding::good(format!("file: {place}, {count} routes"))
            }
            Err(error) => Finding::error(format!("file: {error}")),
        });
    } else {
        let text =
            "file: ROUTES_CONFIG is unset, and what the API added to a running router is its own";
        sources.push(Finding::good(text));
    }
    registry
}

async fn table(dsn: &Dsn, registry: &Registry) -> Result<Finding, Finding> {
    let failed = |why: String| Finding::error(format!("postgres: {why}"));
    let (client, link) = connect(dsn)
        .await
        .map_err(|error| failed(format!("no connection to {dsn}: {error}")))?;
    let driver = tokio::spawn(drive(link));
    let offers = rows(&client, registry).await.map_err(failed);
    driver.abort();
    registry.replace(Provider::Postgres, offers?);
    let (active, others) = counted(registry, Provider::Postgres);
    let text = format!("postgres: {dsn}, {active} routes; {others} rows set aside");
    Ok(Finding::good(text))
}

/// How many routes a source has, and how many of its entries are none, or have lost all their hosts.
fn counted(registry: &Registry, provider: Provider) -> (usize, usize) {
    let counts = registry.read(|pool| pool.counts(provider));
    (counts.active, counts.shadowed + counts.excluded)
}

async fn rows(client: &Client, registry: &Registry) -> Result<Vec<Offer>, String> {
    let facts = schema::inspect(client).await.map_err(|e| explain(&e))?;
    let findings = facts.findings().into_iter();
    let mut errors = findings.filter(|finding| finding.severity == Severity::Error);
    if let Some(error) = errors.next() {
        return Err(error.text);
    }
    let rows = schema::rows(client, &facts).await;
    let rows = rows.map_err(|error| explain(&error))?;
    if rows.len() > ROWS_MAX {
        return Err(format!("table servers has over {ROWS_MAX} rows"));
    }
    Ok(row::offers(rows, registry.defaults(), registry.names()))
}

async fn drive(mut link: Link) {
    while let Some(Ok(_)) = link.next().await {}
}
