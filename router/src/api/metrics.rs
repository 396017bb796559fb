//! `GET /metrics`: what the relay moves, what became of connections, of wakes and of who waited for
//! them, and what sleeping saves, live, in Prometheus' text format. Names that begin with `mc_router_`
//! are mc-router's.

use axum::extract::State;
use axum::http::{StatusCode, header::CONTENT_TYPE};
use axum::response::IntoResponse;
use prometheus::proto::{Bucket, Histogram, Metric, MetricFamily, MetricType};
use prometheus::{
    IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TEXT_FORMAT, TextEncoder,
};

use super::{Api, Refusal, sync_metrics};
use crate::admit::Turned;
use crate::health::ladder::Status;
use crate::metrics::histogram::Spread;
use crate::metrics::{Reading, host_label, player_labels};
use crate::postgres::status::Snapshot;
use crate::relay::counters::Totals;
use crate::servers::counters;

pub(super) async fn show(State(api): State<Api>) -> Result<impl IntoResponse, Refusal> {
    let relayed = api.counters.totals();
    let reading = api.reading(&relayed);
    let turned = api.admission.turned_away();
    let table = api.registry.table();
    let health = api.health.counts(&table, &api.servers, api.starters);
    let servers = api.servers.totals();
    let sync = api.sync.as_ref().map(|sync| sync.snapshot());
    let text = encode(
        &relayed,
        &servers,
        &reading,
        &turned,
        &health,
        sync.as_ref(),
    );
    let text = text.map_err(|error| {
        Refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("metrics: {error}"),
        )
    })?;
    Ok(([(CONTENT_TYPE, TEXT_FORMAT)], text))
}

fn encode(
    relayed: &Totals,
    servers: &counters::Totals,
    reading: &Reading,
    turned: &[(Turned, u64)],
    health: &[(Status, u64)],
    sync: Option<&Snapshot>,
) -> prometheus::Result<String> {
    let registry = Registry::new();
    relay(&registry, relayed)?;
    waiting(&registry, servers)?;
    by_label(
        &registry,
        "automc_clients_turned_away_total",
        "Clients that did not get in, by reason",
        "reason",
        turned.iter().map(|(reason, count)| (reason.name(), *count)),
    )?;
    routes(&registry, health)?;
    connections(&registry, reading)?;
    by_name(&registry, reading)?;
    if let Some(sync) = sync {
        sync_metrics::add(&registry, sync)?;
    }
    let mut families = registry.gather();
    families.push(wake_seconds(servers));
    families.push(histogram(
        "automc_greeting_seconds",
        "Seconds from a client's connection to its complete greeting",
        &reading.greeting,
    ));
    families.push(histogram(
        "automc_dial_seconds",
        "Seconds until a backend took the connection for a login",
        &reading.dial,
    ));
    families.push(histogram(
        "automc_join_seconds",
        "Seconds from a player's connection to the backend that has its login, waits included",
        &reading.join,
    ));
    TextEncoder::new().encode_to_string(&families)
}

/// Workers count for themselves, so the sums are made when they are asked for.
fn relay(registry: &Registry, totals: &Totals) -> prometheus::Result<()> {
    let bytes = IntCounterVec::new(
        Opts::new(
            "automc_relay_bytes_total",
            "Bytes relayed; up is from the client to the backend, greetings not counted",
        ),
        &["direction"],
    )?;
    bytes.with_label_values(&["up"]).inc_by(totals.up_bytes);
    bytes.with_label_values(&["down"]).inc_by(totals.down_bytes);
    registry.register(Box::new(bytes))?;
    let counters = [
        (
            "automc_relay_spliced_bytes_total",
            "Those of the relayed bytes that were spliced, not copied",
            totals.spliced_bytes,
        ),
        (
            "automc_relay_splice_upgrades_total",
            "Times a busy direction went from copying to splicing",
            totals.splice_upgrades,
        ),
        (
            "automc_relay_splice_downgrades_total",
            "Times a direction cooled and went back to copying",
            totals.splice_downgrades,
        ),
        (
            "automc_relay_pipes_refused_total",
            "Times a busy direction went on copying because there was no pipe",
            totals.pipes_refused,
        ),
        (
            "automc_sessions_total",
            "Sessions begun, relayed pings included",
            totals.sessions,
        ),
    ];
    for (name, help, value) in counters {
        counter(registry, name, help, value)?;
    }
    gauge(
        registry,
        "automc_sessions_open",
        "Sessions going on, relayed pings included",
        totals.sessions_open,
    )
}

fn waiting(registry: &Registry, totals: &counters::Totals) -> prometheus::Result<()> {
    by_label(
        registry,
        "automc_wakes_total",
        "Wakes that ended, by how",
        "outcome",
        totals.wakes.iter().map(|(end, count)| (end.name(), *count)),
    )?;
    gauge(
        registry,
        "automc_held_players",
        "Players who wait for a server",
        totals.held_now,
    )?;
    by_label(
        registry,
        "automc_held_players_total",
        "Players who waited for a server, by how it ended",
        "outcome",
        totals.held.iter().map(|(end, count)| (end.name(), *count)),
    )?;
    by_label(
        registry,
        "automc_wake_refusals_total",
        "Logins that were not allowed to wake their server, by reason",
        "reason",
        totals
            .refusals
            .iter()
            .map(|(reason, count)| (reason.name(), *count)),
    )?;
    counter(
        registry,
        "automc_asleep_seconds_total",
        "Seconds that servers were asleep, all together",
        totals.spent.asleep.as_secs(),
    )?;
    by_label(
        registry,
        "automc_server_asleep_seconds_total",
        "Seconds that a server was asleep; of the first 1000 by name",
        "server",
        totals
            .asleep
            .iter()
            .map(|(server, asleep)| (&**server, asleep.as_secs())),
    )
}

pub(super) fn counter(
    registry: &Registry,
    name: &str,
    help: &str,
    value: u64,
) -> prometheus::Result<()> {
    let counter = IntCounter::new(name, help)?;
    counter.inc_by(value);
    registry.register(Box::new(counter))
}

pub(super) fn gauge(
    registry: &Registry,
    name: &str,
    help: &str,
    value: u64,
) -> prometheus::Result<()> {
    let gauge = IntGauge::new(name, help)?;
    gauge.set(whole(value));
    registry.register(Box::new(gauge))
}

pub(super) fn by_label<'a>(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
    values: impl Iterator<Item = (&'a str, u64)>,
) -> prometheus::Result<()> {
    let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
    for (case, value) in values {
        counters.with_label_values(&[case]).inc_by(value);
    }
    registry.register(Box::new(counters))
}

/// There are as many labels as statuses.
fn routes(registry: &Registry, health: &[(Status, u64)]) -> prometheus::Result<()> {
    let text = "Routes by how healthy they are, the default among them";
    let routes = IntGaugeVec::new(Opts::new("automc_routes_health", text), &["status"])?;
    for (status, count) in health {
        let gauge = routes.with_label_values(&[status.name()]);
        gauge.set(whole(*count));
    }
    registry.register(Box::new(routes))
}

/// What all connections came to, by mc-router's names.
fn connections(registry: &Registry, reading: &Reading) -> prometheus::Result<()> {
    by_label(
        registry,
        "mc_router_errors",
        "Connections that failed, by what of",
        "type",
        reading
            .failures
            .iter()
            .map(|(failure, count)| (failure.name(), *count)),
    )?;
    counter(
        registry,
        "mc_router_bytes",
        "Bytes relayed, both ways, greetings not counted",
        reading.bytes,
    )?;
    by_label(
        registry,
        "mc_router_frontend_connections",
        "Clients that connected",
        "side",
        [("frontend", reading.accepted)].into_iter(),
    )?;
    gauge(
        registry,
        "mc_router_active_connections",
        "Sessions going on, relayed pings included",
        reading.sessions_open,
    )?;
    if let Some(left) = reading.rate_left {
        let text = "Clients that may connect now before connection-rate-limit turns others away";
        gauge(registry, "mc_router_rate_limit_available", text, left)?;
    }
    counter(
        registry,
        "automc_probe_connections_total",
        "Connections that ended without a word, as checks of load balancers do; none of the clients",
        reading.probed,
    )?;
    counter(
        registry,
        "automc_webhook_events_lost_total",
        "Events that the webhook was not told of",
        reading.events_lost,
    )
}

/// Sessions by host and by player, of whom there are no more than their bounds.
fn by_name(registry: &Registry, reading: &Reading) -> prometheus::Result<()> {
    let text = "Sessions begun with a backend, by the route's host";
    let opts = Opts::new("mc_router_backend_connections", text);
    let begun = IntCounterVec::new(opts, &["side", "host"])?;
    let text = "Sessions going on, by the route's host";
    let opts = Opts::new("mc_router_server_active_connections", text);
    let open = IntGaugeVec::new(opts, &["server_address"])?;
    for counted in &reading.hosts {
        let host = host_label(counted);
        begun
            .with_label_values(&["backend", host])
            .inc_by(counted.begun);
        open.with_label_values(&[host]).add(whole(counted.open));
    }
    let labels = ["player_name", "player_uuid", "server_address"];
    let text = "Logins by the name that the client claims, with record-logins";
    let opts = Opts::new("mc_router_server_logins", text);
    let logins = IntCounterVec::new(opts, &labels)?;
    let text = "Sessions of a player going on, with record-logins";
    let opts = Opts::new("mc_router_server_active_player", text);
    let playing = IntGaugeVec::new(opts, &labels)?;
    for counted in &reading.players {
        let labels = player_labels(counted);
        let values = labels.each_ref().map(|(_, value)| value.as_str());
        logins.with_label_values(&values).inc_by(counted.begun);
        playing.with_label_values(&values).add(whole(counted.open));
    }
    registry.register(Box::new(begun))?;
    registry.register(Box::new(open))?;
    registry.register(Box::new(logins))?;
    registry.register(Box::new(playing))
}

fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn wake_seconds(totals: &counters::Totals) -> MetricFamily {
    let buckets = totals.wake_buckets.iter();
    let spread = Spread {
        buckets: buckets
            .map(|(bound, count)| (f64::from(*bound), *count))
            .collect(),
        count: totals.wake_count,
        sum: totals.wake_time,
    };
    let text = "Seconds from the begin of a wake until players got in";
    histogram("automc_wake_seconds", text, &spread)
}

/// A histogram that was counted elsewhere, which the library's own cannot take over.
fn histogram(name: &str, help: &str, spread: &Spread) -> MetricFamily {
    let buckets = spread.buckets.iter().map(|(bound, count)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(*count);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(spread.count);
    histogram.set_sample_sum(spread.sum.as_secs_f64());
    let mut metric = Metric::default();
    metric.set_histogram(histogram);
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(MetricType::HISTOGRAM);
    family.set_metric(vec![metric]);
    family
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::servers::counters::HeldEnd;
    use crate::servers::state::WakeEnd;
    use crate::servers::{Servers, Target};
    use std::time::Duration;

    #[test]
    fn before_anything_happened_there_are_figures_too() {
        let servers = Servers::new(Arc::default()).totals();
        let reading = Reading::default();
        let text = encode(&Totals::default(), &servers, &reading, &[], &[], None).unwrap();
        for line in ["automc_held_players 0", "automc_wake_seconds_count 0"] {
            assert!(text.lines().any(|own| own == line), "no {line} in\n{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn wakes_waits_and_what_sleeping_saves_are_told() {
        let servers = Servers::new(Arc::default());
        let target = Target {
            server: "a \"quoted\" one",
            hint: crate::routes::StateHint::Stopped,
            wakeable: true,
        };
        servers.table(&target);
        tokio::time::advance(Duration::from_secs(60)).await;
        let (waiter, _still) = (servers.wait(&target), servers.wait(&target));
        let wake = servers.wake(&target);
        tokio::time::advance(Duration::from_millis(12_500)).await;
        wake.end(WakeEnd::Ready);
        waiter.end(HeldEnd::LetIn);
        servers.refused(counters::Refusal::TooOften);

        let reading = Reading::default();
        let text = encode(
            &Totals::default(),
            &servers.totals(),
            &reading,
            &[(Turned::Denied, 3)],
            &[(Status::Asleep, 7)],
            None,
        )
        .unwrap();
        for line in [
            "automc_wakes_total{outcome=\"ready\"} 1",
            "automc_wakes_total{outcome=\"timed_out\"} 0",
            "# TYPE automc_wake_seconds histogram",
            "automc_wake_seconds_bucket{le=\"10\"} 0",
            "automc_wake_seconds_bucket{le=\"15\"} 1",
            "automc_wake_seconds_bucket{le=\"300\"} 1",
            "automc_wake_seconds_bucket{le=\"+Inf\"} 1",
            "automc_wake_seconds_sum 12.5",
            "automc_wake_seconds_count 1",
            "automc_held_players 1",
            "automc_held_players_total{outcome=\"let_in\"} 1",
            "automc_wake_refusals_total{reason=\"too_often\"} 1",
            "automc_asleep_seconds_total 60",
            "automc_server_asleep_seconds_total{server=\"a \\\"quoted\\\" one\"} 60",
            "automc_sessions_open 0",
            "automc_routes_health{status=\"asleep\"} 7",
            "automc_clients_turned_away_total{reason=\"denied\"} 3",
        ] {
            assert!(text.lines().any(|own| own == line), "no {line} in\n{text}");
        }
    }
}
