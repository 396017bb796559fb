//! Opens a connection with libpq's meaning of `sslmode`.

use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio::time::{Instant, timeout_at};
use tokio_postgres::config::{Host, LoadBalanceHosts, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::dsn::{Dsn, TlsMode};
use super::explain;
use crate::tls;

/// Longest time from the first packet to a usable connection, all hosts of the DSN together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Least time one host gets of it, however many there are. From the eleventh on, hosts are only
/// reached when those before them fail faster.
const HOST_TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// What the driver calls a failed handshake; it does not tell the kind of an error otherwise.
const HANDSHAKE_FAILED: &str = "error performing TLS handshake";

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// `sslrootcert` names a file that cannot be read, or holds no certificate.
    #[error("sslrootcert {}: {reason}", .path.display())]
    RootCert {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// `verify-ca` or `verify-full` without any authority to trust.
    #[error("this machine has no trusted certificates; name a file with sslrootcert: {0}")]
    NoRoots(std::io::Error),
    /// TLS could not be set up.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// Nothing answered in time.
    #[error("no connection within {0:.1?}")]
    TimedOut(Duration),
    /// The server, or the way to it, said no.
    #[error("{}", explain(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// `prefer`: neither with TLS nor without.
    #[error("{}; without TLS: {}", explain(.tls), explain(.plain))]
    NeitherWay {
        /// Why not with TLS.
        tls: tokio_postgres::Error,
        /// Why not in plain text.
        plain: tokio_postgres::Error,
    },
}

/// What comes over a connection unasked.
type Message = Result<AsyncMessage, tokio_postgres::Error>;
/// Moves bytes until there is such a message, whatever the connection runs over.
type PollMessage = Box<dyn FnMut(&mut Context<'_>) -> Poll<Option<Message>> + Send>;

/// The half of a connection that moves bytes and yields what the server says unasked.
pub struct Link {
    poll: PollMessage,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Link")
    }
}

impl Link {
    /// The next notice or notification; `None` once the connection has ended. Nothing moves on
    /// the connection unless this is awaited.
    ///
    /// # Errors
    /// Whatever ended the connection.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Message> {
        poll_fn(|context| (self.poll)(context)).await
    }
}

/// Connects, and authenticates, within [`CONNECT_TIMEOUT`]: to the first host that lets us, in the
/// order of the DSN or, with `load_balance_hosts=random`, in any. A silent host uses up its share
/// of the time alone.
///
/// # Errors
/// See [`ConnectError`]; with several hosts, that of the last one tried.
pub async fn connect(dsn: &Dsn) -> Result<(Client, Link), ConnectError> {
    let mut hosts: Vec<&Config> = dsn.one_host_each().iter().collect();
    if dsn.config().get_load_balance_hosts() == LoadBalanceHosts::Random {
        // Each of these states hashes differently.
        hosts.sort_by_cached_key(|_| RandomState::new().hash_one(0));
    }
    let limit = host_timeout(hosts.len(), dsn.config().get_connect_timeout().copied());
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    let mut last = Err(ConnectError::TimedOut(limit));
    for host in hosts {
        let until = deadline.min(Instant::now() + limit);
        let attempt = timeout_at(until, connect_host(dsn, host));
        last = attempt.await.unwrap_or(Err(ConnectError::TimedOut(limit)));
        if last.is_ok() || Instant::now() >= deadline {
            break;
        }
    }
    last
}

/// How long one of `hosts` hosts may take; `asked` is the DSN's `connect_timeout`, which is libpq's
/// for one host, too.
fn host_timeout(hosts: usize, asked: Option<Duration>) -> Duration {
    let hosts = u32::try_from(hosts).unwrap_or(u32::MAX).max(1);
    let share = (CONNECT_TIMEOUT / hosts).max(HOST_TIMEOUT_MIN);
    asked.map_or(share, |asked| asked.min(share))
}

async fn connect_host(dsn: &Dsn, host: &Config) -> Result<(Client, Link), ConnectError> {
    // An address wins over a socket's folder; sockets never have TLS.
    let over_socket =
        host.get_hostaddrs().is_empty() && matches!(host.get_hosts(), [Host::Unix(_), ..]);
    if dsn.tls() == TlsMode::Disable || over_socket {
        return Ok(connect_plain(host).await?);
    }
    let tls = MakeRustlsConnect::new(client_config(dsn)?);
    let tls = match host.connect(tls).await {
        Ok((client, mut connection)) => {
            let poll = Box::new(move |context: &mut Context<'_>| connection.poll_message(context));
            return Ok((client, Link { poll }));
        }
        Err(error) => error,
    };
    if dsn.tls() != TlsMode::Prefer || !plain_may_do(&tls) {
        return Err(tls.into());
    }
    connect_plain(host).await.map_err(|plain| {
        // It was without TLS the first time, too.
        if explain(&tls) == explain(&plain) {
            plain.into()
        } else {
            ConnectError::NeitherWay { tls, plain }
        }
    })
}

async fn connect_plain(host: &Config) -> Result<(Client, Link), tokio_postgres::Error> {
    let mut config = host.clone();
    config.ssl_mode(SslMode::Disable);
    let (client, mut connection) = config.connect(NoTls).await?;
    let poll = Box::new(move |context: &mut Context<'_>| connection.poll_message(context));
    Ok((client, Link { poll }))
}

/// Whether `prefer` tries again in plain text, as libpq does: the handshake failed, or the server
/// does not let us in over TLS (`hostnossl` in its `pg_hba.conf`).
fn plain_may_do(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
        || error.to_string() == HANDSHAKE_FAILED
}

/// Connects and drives the connection in a task of its own until the client is dropped;
/// for whoever wants queries and no notifications.
///
/// # Errors
/// See [`ConnectError`].
pub async fn connect_and_drive(dsn: &Dsn) -> Result<Client, ConnectError> {
    let (client, mut link) = connect(dsn).await?;
    tokio::spawn(async move { while let Some(Ok(_)) = link.next().await {} });
    Ok(client)
}

fn client_config(dsn: &Dsn) -> Result<ClientConfig, ConnectError> {
    let checked = matches!(dsn.tls(), TlsMode::VerifyCa | TlsMode::VerifyFull);
    let (inner, roots) = if checked {
        let (store, roots) = trusted(dsn)?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(store), tls::provider())
                .build()
                .map_err(|error| rustls::Error::General(error.to_string()))?;
        (Some(verifier), roots)
    } else {
        (None, Vec::new())
    };
    let verifier = LibpqVerifier {
        inner,
        roots,
        name_matters: dsn.tls() == TlsMode::VerifyFull,
    };
    Ok(tls::builder()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

/// The authorities of `sslrootcert`, or this machine's; those of the file also as they are.
fn trusted(dsn: &Dsn) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), ConnectError> {
    let Some(path) = dsn.root_cert() else {
        return Ok((
            tls::native_roots().map_err(ConnectError::NoRoots)?,
            Vec::new(),
        ));
    };
    let fail = |reason: String| ConnectError::RootCert {
        path: path.to_owned(),
        reason,
    };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| fail(error.to_string()))?;
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(certificates.iter().cloned());
    if added == 0 {
        return Err(fail("there is no certificate in it".to_owned()));
    }
    Ok((store, certificates))
}

/// Checks a server's certificate as far as `sslmode` asks.
#[derive(Debug)]
struct LibpqVerifier {
    /// `None` for `prefer` and `require`, which check nothing.
    inner: Option<Arc<WebPkiServerVerifier>>,
    /// A certificate that is itself trusted needs no authority (self-signed servers).
    roots: Vec<CertificateDer<'static>>,
    name_matters: bool,
}

impl ServerCertVerifier for LibpqVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(inner) = &self.inner else {
            return Ok(ServerCertVerified::assertion());
        };
        let outcome =
            inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match &outcome {
            // The name is checked last, so whoever gets this far has a good chain.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.name_matters => Ok(ServerCertVerified::assertion()),
            // Its dates are checked first, and count for a trusted certificate, too.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. },
            )) => outcome,
            // That it is an authority's certificate, or nobody's, is no matter then.
            Err(_) if self.roots.iter().any(|root| root == end_entity) => {
                if self.name_matters {
                    verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                }
                Ok(ServerCertVerified::assertion())
            }
            _ => outcome,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &tls::provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &tls::provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        tls::provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_share_the_time_and_none_gets_less_than_a_second_unless_it_is_asked_for() {
        let seconds = Duration::from_secs;
        for (hosts, asked, limit) in [
            (1, None, seconds(10)),
            (1, Some(seconds(30)), seconds(10)),
            (1, Some(seconds(3)), seconds(3)),
            (2, None, seconds(5)),
            (2, Some(seconds(3)), seconds(3)),
            (2, Some(seconds(7)), seconds(5)),
            (100, None, seconds(1)),
        ] {
            assert_eq!(host_timeout(hosts, asked), limit, "{hosts} {asked:?}");
        }
    }
}
