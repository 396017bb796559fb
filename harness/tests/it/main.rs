//! End-to-end tests.
// `cfg(test)` tells clippy that helper functions are test code, too.

#[cfg(test)]
mod admit;
mod aliases;
#[cfg(test)]
mod api;
#[cfg(test)]
mod api_document;
#[cfg(test)]
mod api_token;
#[cfg(test)]
mod balance;
#[cfg(test)]
mod bench;
#[cfg(test)]
mod binary;
#[cfg(test)]
mod chaos;
#[cfg(test)]
mod check_db;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod docker;
#[cfg(test)]
mod docker_trouble;
#[cfg(test)]
mod events;
#[cfg(test)]
mod explain;
#[cfg(test)]
mod fix_db;
#[cfg(test)]
mod flags;
#[cfg(test)]
mod followed;
#[cfg(test)]
mod fronts;
#[cfg(test)]
mod health;
#[cfg(test)]
mod hold;
#[cfg(test)]
mod hold_trouble;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod influxdb;
#[cfg(test)]
mod infra;
#[cfg(test)]
mod load;
#[cfg(test)]
mod log_lines;
#[cfg(test)]
mod login;
#[cfg(test)]
mod may_wake;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod misled;
#[cfg(test)]
mod model;
#[cfg(test)]
mod names;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod overrides;
#[cfg(test)]
mod players_file;
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod proxied;
#[cfg(test)]
mod real_clients;
#[cfg(test)]
mod registry_api;
#[cfg(test)]
mod relay;
#[cfg(test)]
mod relay_sockets;
#[cfg(test)]
mod routes;
#[cfg(test)]
mod routes_file;
#[cfg(test)]
mod scaler;
#[cfg(test)]
mod scaler_stops;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod schema_upgrade;
#[cfg(test)]
mod shapes;
#[cfg(test)]
mod skipped;
#[cfg(test)]
mod snapshot;
#[cfg(test)]
mod soak;
#[cfg(test)]
mod start_slow;
#[cfg(test)]
mod status;
#[cfg(test)]
mod status_kept;
#[cfg(test)]
mod status_odd;
#[cfg(test)]
mod sync;
#[cfg(test)]
mod table_trouble;
#[cfg(test)]
mod texts;
#[cfg(test)]
mod throttled;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod transfer;
#[cfg(test)]
mod transfer_ends;
#[cfg(test)]
mod versions;
#[cfg(test)]
mod wake;
#[cfg(test)]
mod wake_shared;
#[cfg(test)]
mod wake_signs;
#[cfg(test)]
mod wake_trouble;
#[cfg(test)]
mod waker_rows;
#[cfg(test)]
mod webhook;
#[cfg(test)]
mod webhook_tls;
#[cfg(test)]
mod world;
