//! The database address: both of libpq's forms to one configuration, with libpq's meaning.
//!
//! The driver's own parser is not used: it misreads a raw `@` in a password, takes
//! `tcp_user_timeout` in seconds, and knows neither `verify-ca` nor `sslrootcert`. What cannot
//! be honoured is refused by name. No error shows a value, since any may be the password.
//! Reference: <https://www.postgresql.org/docs/current/libpq-connect.html>, 34.1.1 and 34.1.2.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::config::{ChannelBinding, LoadBalanceHosts, SslMode, TargetSessionAttrs};

use super::parameters::{self, Parameter};

/// Silence after which the first keepalive is sent, unless the DSN says otherwise. The driver's
/// default of two hours would let a dead peer look alive for as long.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
/// Time between keepalives.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);
/// Unanswered keepalives after which the connection is dead.
const KEEPALIVE_RETRIES: u32 = 3;
/// How long sent data may stay unacknowledged.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(10);

/// How much the connection trusts the network, in libpq's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// Never TLS.
    Disable,
    /// TLS if the server offers it; no certificate is checked.
    Prefer,
    /// Always TLS; no certificate is checked.
    Require,
    /// Always TLS, with a certificate that a trusted authority signed.
    VerifyCa,
    /// As [`TlsMode::VerifyCa`], and for the host that is connected to.
    VerifyFull,
}

/// A parsed database address.
#[derive(Clone)]
pub struct Dsn {
    config: tokio_postgres::Config,
    each: Vec<tokio_postgres::Config>,
    tls: TlsMode,
    root_cert: Option<PathBuf>,
}

/// Why a text is no usable database address. Never shows a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidDsn(pub(super) String);

impl InvalidDsn {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl Dsn {
    /// Parses `postgres://user:password@host:port/database?key=value` or `key=value key=value`.
    ///
    /// # Errors
    /// What is malformed, unknown, or cannot be honoured, by the name of the parameter.
    pub fn parse(text: &str) -> Result<Self, InvalidDsn> {
        let mut building = Building::new();
        for parameter in parameters::split(text)? {
            building.set(&parameter)?;
        }
        building.finish()
    }

    /// What to connect with, apart from TLS.
    #[must_use]
    pub fn config(&self) -> &tokio_postgres::Config {
        &self.config
    }

    /// The same for each host alone, in the order of the text; never empty.
    #[must_use]
    pub fn one_host_each(&self) -> &[tokio_postgres::Config] {
        &self.each
    }

    /// How much the network is trusted.
    #[must_use]
    pub fn tls(&self) -> TlsMode {
        self.tls
    }

    /// The file of trusted authorities, if one is named.
    #[must_use]
    pub fn root_cert(&self) -> Option<&std::path::Path> {
        self.root_cert.as_deref()
    }
}

/// Names host, port and database; never the password.
impl fmt::Display for Dsn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports = self.config.get_ports();
        for (index, host) in self.config.get_hosts().iter().enumerate() {
            let port = ports.get(index).or_else(|| ports.first()).unwrap_or(&5432);
            let comma = if index == 0 { "" } else { "," };
            match host {
                tokio_postgres::config::Host::Tcp(name) => {
                    write!(formatter, "{comma}{name}:{port}")
                }
                tokio_postgres::config::Host::Unix(path) => {
                    write!(formatter, "{comma}{}:{port}", path.display())
                }
            }?;
        }
        write!(
            formatter,
            "/{}",
            self.config.get_dbname().unwrap_or_default()
        )
    }
}

impl fmt::Debug for Dsn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Dsn({self})")
    }
}

/// What a DSN adds up to while its parameters come in.
struct Building {
    config: tokio_postgres::Config,
    tls: Option<TlsMode>,
    root_cert: Option<PathBuf>,
    /// `sslrootcert=system`.
    system_roots: bool,
    hosts: Vec<String>,
    addresses: Vec<String>,
    ports: Vec<u16>,
    options: Vec<String>,
}

impl Building {
    fn new() -> Self {
        let mut config = tokio_postgres::Config::new();
        config
            .application_name("automc-router")
            .keepalives(true)
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(KEEPALIVE_RETRIES)
            .tcp_user_timeout(UNACKNOWLEDGED_MAX);
        Self {
            config,
            tls: None,
            root_cert: None,
            system_roots: false,
            hosts: Vec::new(),
            addresses: Vec::new(),
            ports: Vec::new(),
            options: Vec::new(),
        }
    }

    fn set(&mut self, parameter: &Parameter) -> Result<(), InvalidDsn> {
        let Parameter { key, value, .. } = parameter;
        match key.as_str() {
            "host" => self.hosts = listed(value),
            "hostaddr" => self.addresses = listed(value),
            "port" => {
                let ports = listed(value)
                    .into_iter()
                    .map(|port| whole(key, &port, 1, u16::MAX));
                self.ports = ports.collect::<Result<_, _>>()?;
            }
            "user" => drop(self.config.user(value)),
            "password" => drop(self.config.password(value)),
            "dbname" => drop(self.config.dbname(value)),
            "application_name" => drop(self.config.application_name(value)),
            "options" => self.options.push(value.clone()),
            "search_path" => {
                self.options.push(format!(
                    "-csearch_path={}",
                    value.replace('\\', "\\\\").replace(' ', "\\ ")
                ));
            }
            "connect_timeout" => match whole(key, value, 0, 3600)? {
                0 => {}
                seconds => drop(self.config.connect_timeout(Duration::from_secs(seconds))),
            },
            "keepalives" => {
                self.config.keepalives(whole(key, value, 0_u8, 1)? == 1);
            }
            "keepalives_idle" => {
                self.config.keepalives_idle(seconds(key, value)?);
            }
            "keepalives_interval" => {
                self.config.keepalives_interval(seconds(key, value)?);
            }
            "keepalives_count" => {
                self.config.keepalives_retries(whole(key, value, 1, 100)?);
            }
            "tcp_user_timeout" => match whole(key, value, 0_u64, 86_400_000)? {
                0 => {}
                millis => drop(self.config.tcp_user_timeout(Duration::from_millis(millis))),
            },
            "sslmode" => self.tls = Some(tls_mode(value)?),
            "sslrootcert" => {
                self.system_roots = value == "system";
                self.root_cert = (!self.system_roots).then(|| PathBuf::from(value));
            }
            "target_session_attrs" => {
                self.config.target_session_attrs(session_attrs(value)?);
            }
            "channel_binding" => drop(self.config.channel_binding(channel_binding(value)?)),
            "load_balance_hosts" => drop(self.config.load_balance_hosts(match value.as_str() {
                "disable" => LoadBalanceHosts::Disable,
                "random" => LoadBalanceHosts::Random,
                _ => return Err(one_of(key, "disable or random")),
            })),
            _ => harmless(parameter)?,
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Dsn, InvalidDsn> {
        if self.hosts.is_empty() && self.addresses.is_empty() {
            return Err(InvalidDsn::new(
                "no host is named; write postgres://user:password@host:5432/database",
            ));
        }
        let count = self.hosts.len().max(self.addresses.len());
        if !self.hosts.is_empty()
            && !self.addresses.is_empty()
            && self.hosts.len() != self.addresses.len()
        {
            return Err(InvalidDsn::new(
                "host and hostaddr name different numbers of hosts",
            ));
        }
        if self.ports.len() > 1 && self.ports.len() != count {
            return Err(InvalidDsn::new(
                "there are neither one port nor as many ports as hosts",
            ));
        }
        // TLS goes by a name; where there is none, the address is it.
        if self.hosts.is_empty() {
            self.hosts.clone_from(&self.addresses);
        }
        let addresses = self.addresses.iter().map(|address| {
            let wrong = |_| InvalidDsn::new("hostaddr is not an IP address");
            address.parse().map_err(wrong)
        });
        let addresses: Vec<IpAddr> = addresses.collect::<Result<_, _>>()?;
        if !self.options.is_empty() {
            self.config.options(self.options.join(" "));
        }
        let tls = self.tls_mode()?;
        self.config.ssl_mode(match tls {
            TlsMode::Disable => SslMode::Disable,
            TlsMode::Prefer => SslMode::Prefer,
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => SslMode::Require,
        });
        let mut each = Vec::new();
        for (index, host) in self.hosts.iter().enumerate() {
            let mut one = self.config.clone();
            one.host(host);
            if let Some(address) = addresses.get(index) {
                one.hostaddr(*address);
            }
            if let Some(port) = self.ports.get(index).or_else(|| self.ports.first()) {
                one.port(*port);
            }
            each.push(one);
        }
        for host in &self.hosts {
            self.config.host(host);
        }
        for address in addresses {
            self.config.hostaddr(address);
        }
        for port in &self.ports {
            self.config.port(*port);
        }
        Ok(Dsn {
            config: self.config,
            each,
            tls,
            root_cert: self.root_cert,
        })
    }

    /// What `sslmode` means together with `sslrootcert`.
    fn tls_mode(&self) -> Result<TlsMode, InvalidDsn> {
        match self.tls {
            // Whoever names an authority that signs for everybody must check the name, too.
            None | Some(TlsMode::VerifyFull) if self.system_roots => Ok(TlsMode::VerifyFull),
            Some(_) if self.system_roots => Err(InvalidDsn::new(
                "sslrootcert=system goes with sslmode=verify-full only",
            )),
            // With a root certificate, libpq's `require` checks as `verify-ca` does.
            Some(TlsMode::Require) if self.root_cert.is_some() => Ok(TlsMode::VerifyCa),
            mode => Ok(mode.unwrap_or(TlsMode::Prefer)),
        }
    }
}

fn listed(value: &str) -> Vec<String> {
    value
        .split(',')
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect()
}

fn whole<T: std::str::FromStr + PartialOrd + Copy + fmt::Display>(
    key: &str,
    value: &str,
    min: T,
    max: T,
) -> Result<T, InvalidDsn> {
    match value.parse::<T>() {
        Ok(number) if number >= min && number <= max => Ok(number),
        _ => Err(InvalidDsn::new(format!(
            "{key} is not a number from {min} to {max}"
        ))),
    }
}

fn seconds(key: &str, value: &str) -> Result<Duration, InvalidDsn> {
    whole(key, value, 1, 86_400).map(Duration::from_secs)
}

fn one_of(key: &str, choices: &str) -> InvalidDsn {
    InvalidDsn::new(format!("{key} must be {choices}"))
}

fn tls_mode(value: &str) -> Result<TlsMode, InvalidDsn> {
    Ok(match value {
        "disable" => TlsMode::Disable,
        "prefer" => TlsMode::Prefer,
        "require" => TlsMode::Require,
        "verify-ca" => TlsMode::VerifyCa,
        "verify-full" => TlsMode::VerifyFull,
        "allow" => {
            return Err(InvalidDsn::new(
                "sslmode=allow (plain text first, TLS second) is not supported; write sslmode=prefer",
            ));
        }
        _ => {
            return Err(one_of(
                "sslmode",
                "disable, prefer, require, verify-ca or verify-full",
            ));
        }
    })
}

fn session_attrs(value: &str) -> Result<TargetSessionAttrs, InvalidDsn> {
    match value {
        "any" => Ok(TargetSessionAttrs::Any),
        // LISTEN needs a server that takes writes, so `primary` is what is meant by both.
        "read-write" | "primary" => Ok(TargetSessionAttrs::ReadWrite),
        "read-only" | "standby" | "prefer-standby" => Err(InvalidDsn::new(format!(
            "target_session_attrs={value} is not supported: LISTEN does not work on a standby"
        ))),
        _ => Err(one_of("target_session_attrs", "any, read-write or primary")),
    }
}

fn channel_binding(value: &str) -> Result<ChannelBinding, InvalidDsn> {
    match value {
        "disable" => Ok(ChannelBinding::Disable),
        "prefer" => Ok(ChannelBinding::Prefer),
        "require" => Ok(ChannelBinding::Require),
        _ => Err(one_of("channel_binding", "disable, prefer or require")),
    }
}

/// Parameters that ask for what happens anyway pass; the others are refused by name.
fn harmless(Parameter { key, value, label }: &Parameter) -> Result<(), InvalidDsn> {
    let refuse = |reason: &str| {
        Err(InvalidDsn::new(format!(
            "{label} is not supported: {reason}"
        )))
    };
    match (key.as_str(), value.as_str()) {
        ("gssencmode", "disable" | "prefer")
        | ("sslnegotiation", "postgres")
        | ("sslcompression", "0")
        | ("sslsni", "1")
        | ("client_encoding", "UTF8" | "utf8" | "UTF-8" | "utf-8" | "auto")
        | ("fallback_application_name", _) => Ok(()),
        ("gssencmode" | "krbsrvname" | "gsslib" | "gssdelegation", _) => {
            refuse("there is no Kerberos here")
        }
        ("sslcert" | "sslkey" | "sslpassword" | "sslcertmode", _) => {
            refuse("client certificates cannot be sent; use a password")
        }
        ("sslcrl" | "sslcrldir", _) => refuse("revocation lists are not read"),
        ("passfile" | "service" | "servicefile", _) => {
            refuse("write the settings into the DSN itself")
        }
        ("client_encoding", _) => refuse("the encoding is always UTF8"),
        (key, _) if key.starts_with("pool_") => {
            refuse("it belongs to a connection pool, and the router keeps one connection")
        }
        (
            "default_query_exec_mode" | "statement_cache_capacity" | "description_cache_capacity",
            _,
        ) => refuse("it belongs to another driver; leave it out"),
        (key, _) if key == label => refuse(
            "no such connection parameter is known; server settings go into options=-cname=value",
        ),
        _ => Err(InvalidDsn::new(format!(
            "{label} is not known; a password with spaces must be quoted, and in a URL ? is \
             written %3F and & %26; server settings go into options=-cname=value"
        ))),
    }
}

#[cfg(test)]
#[path = "dsn_tests.rs"]
mod tests;
