//! How a server is reached: account, address now, connections.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::net::lookup_host;
use tokio::time::timeout;
use tokio_postgres::config::Host;
use tokio_postgres::{Client, NoTls};
use tracing::debug;

/// For one connection, with its authentication.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// An account on a server, and the address the server has now.
#[derive(Debug)]
pub(super) struct Access {
    user: String,
    password: String,
    maintenance: String,
    addr: Mutex<SocketAddr>,
}

impl Access {
    /// The superuser of a server of our own, with a password nobody knows and no address yet.
    pub(super) fn invented() -> Self {
        Self {
            user: "postgres".to_owned(),
            password: format!("{:016x}", random()),
            maintenance: "postgres".to_owned(),
            addr: Mutex::new((Ipv4Addr::LOCALHOST, 0).into()),
        }
    }

    /// The account in a DSN, in URL or key=value form.
    pub(super) async fn parse(dsn: &str) -> Result<Self> {
        // The parser's own errors may quote the DSN, and with it the password.
        let Ok(config) = dsn.parse::<tokio_postgres::Config>() else {
            bail!("it is not a Postgres DSN");
        };
        let Some(Host::Tcp(host)) = config.get_hosts().first() else {
            bail!("it names no TCP host");
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let user = config.get_user().context("it names no user")?.to_owned();
        let password = config.get_password().unwrap_or_default();
        let addr = resolve(host, port).await?;
        Ok(Self {
            password: String::from_utf8(password.to_owned()).context("the password is no text")?,
            maintenance: config.get_dbname().unwrap_or(&user).to_owned(),
            user,
            addr: Mutex::new(addr),
        })
    }

    pub(super) fn user(&self) -> &str {
        &self.user
    }

    pub(super) fn password(&self) -> &str {
        &self.password
    }

    /// The database from which others are made.
    pub(super) fn maintenance(&self) -> &str {
        &self.maintenance
    }

    pub(super) fn addr(&self) -> SocketAddr {
        *self.addr.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn move_to(&self, addr: SocketAddr) {
        *self.addr.lock().unwrap_or_else(PoisonError::into_inner) = addr;
    }

    pub(super) fn dsn(&self, addr: SocketAddr, database: &str) -> String {
        let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let (user, password) = (encode(&self.user), encode(&self.password));
        let database = encode(database);
        format!("postgres://{user}:{password}@{addr}/{database}?sslmode=disable")
    }

    /// A connection whose driver runs on the current runtime until the client is dropped.
    pub(super) async fn connect(&self, database: &str) -> Result<Client> {
        let dsn = self.dsn(self.addr(), database);
        let connect = tokio_postgres::connect(&dsn, NoTls);
        let (client, connection) = timeout(CONNECT_DEADLINE, connect)
            .await
            .with_context(|| format!("no connection within {CONNECT_DEADLINE:?}"))?
            .with_context(|| format!("connect to `{database}` on {}", self.addr()))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "a test's connection to Postgres ended");
            }
        });
        Ok(client)
    }
}

/// The first address of a host; IPv4 first, as engines may map different ports for the two.
pub(super) async fn resolve(host: &str, port: u16) -> Result<SocketAddr> {
    let found = lookup_host((host, port))
        .await
        .with_context(|| format!("look up {host}"))?;
    found
        .min_by_key(|addr| !addr.is_ipv4())
        .with_context(|| format!("{host} has no address"))
}

/// A number nobody else has, for names and passwords.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dsn_survives_being_taken_apart_and_put_together_again() {
        let given = "host=127.0.0.1 port=6000 user='a b' password='p@ss:/%' dbname=home";
        let access = Access::parse(given).await.unwrap();
        let again: tokio_postgres::Config = access
            .dsn(access.addr(), "new base")
            .parse()
            .expect("our own DSN");
        assert_eq!(access.maintenance(), "home");
        assert_eq!(again.get_user(), Some("a b"));
        assert_eq!(again.get_password(), Some(&b"p@ss:/%"[..]));
        assert_eq!(again.get_dbname(), Some("new base"));
        assert_eq!(again.get_hosts(), [Host::Tcp("127.0.0.1".to_owned())]);
        assert_eq!(again.get_ports(), [6000]);
    }

    #[tokio::test]
    async fn a_dsn_without_tcp_host_or_user_is_refused_without_its_password() {
        for dsn in [
            "host=/run/postgresql user=a password=secret",
            "host=127.0.0.1 password=secret",
            "postgres://a:secret@[broken/",
        ] {
            let error = format!("{:#}", Access::parse(dsn).await.unwrap_err());
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
