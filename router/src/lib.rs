//! A lean Minecraft Java Edition router: host names to backends, routes live from Postgres,
//! sleeping servers woken through an HTTP server-manager when a player logs in.
//!
//! The way of a connection: [`listener`] → [`greet`] → [`routes`] → `login` ([`dial`], else [`wake`]
//! and [`hold`]) or `server_list` ([`status`]) → [`relay`], begun by [`connection`];
//! [`admit`] is asked at its door, and after the greeting. What is decided
//! without acting (bytes, tables, `now` in; values out) lives in [`protocol`], [`proxy_protocol`], [`host`],
//! [`addr`], [`networks`], [`rate`], [`admit::limits`], [`admit::players`], [`routes`], [`join`], [`explain`], [`journal::ring`], [`texts`], [`backoff`], [`hold::schedule`], [`hold::inbox`],
//! [`wake::machine`], [`wake::permit`], [`servers::state`], [`postgres::pace`], [`status::live`],
//! [`memory::model`], [`metrics::series`], [`health::ladder`], [`health::ring`] and [`health::schedule`].

pub mod addr;
pub mod admit;
pub mod answer;
pub mod api;
pub mod backoff;
pub mod balance;
mod beside;
mod causes;
pub mod check_db;
pub mod closing;
pub mod config;
pub mod connection;
mod counts;
pub mod dial;
mod disk;
#[cfg(feature = "docker")]
pub mod docker;
mod enter;
pub mod error;
pub mod explain;
pub mod files;
pub mod first_word;
pub mod fix_db;
pub mod flood;
mod forward;
pub mod greet;
pub mod health;
pub mod hold;
pub mod host;
pub mod http_client;
pub mod join;
pub mod journal;
pub mod listener;
pub mod log;
mod login;
pub mod memory;
pub mod metrics;
mod moment;
pub mod networks;
pub mod newer;
#[cfg(feature = "ngrok")]
pub mod ngrok;
pub mod ping;
pub mod postgres;
pub mod protocol;
pub mod proxy_protocol;
pub mod rate;
mod redirect;
pub mod relay;
mod round;
pub mod routes;
pub mod run;
mod server_list;
pub mod servers;
pub mod shared_str;
pub mod socket;
pub mod start;
pub mod status;
pub mod stop;
pub mod texts;
pub mod throttle;
mod tls;
mod transfer;
pub mod wake;
pub mod webhook;
pub mod workers;
