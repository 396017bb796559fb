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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_postgres::config::LoadBalanceHosts;
use tokio_postgres::{AsyncMessage, Client, Config, Connection};

use super::attempt::connect_host;
use super::dsn::{Dsn, TlsMode};
use super::explain;
use crate::tls;

/// Longest time from the first packet to a usable connection, all hosts of the DSN together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Least time one host gets of it, however many there are. From the eleventh on, hosts are only
/// reached when those before them fail faster.
const HOST_TIMEOUT_MIN: Duration = Duration::from_secs(1);

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
    /// There is no way to the server, or it is not one that is wanted.
    #[error("error connecting to server: {0}")]
    NotReached(#[source] std::io::Error),
    /// The server said no, or the connection to it broke.
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
    pub(super) fn new<S, T>(mut connection: Connection<S, T>) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let poll = Box::new(move |context: &mut Context<'_>| connection.poll_message(context));
        Self { poll }
    }

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
/// of the time alone; the addresses of one host do not wait for each other.
///
/// # Errors
/// See [`ConnectError`]; with several hosts, that of the last one tried.
pub async fn connect(dsn: &Dsn) -> Result<(Client, Link), ConnectError> {
    let mut hosts: Vec<&Config> = dsn.one_host_each().iter().collect();
    if dsn.config().get_load_balance_hosts() == LoadBalanceHosts::Random {
        // Each of these states hashes differently.
        hosts.sort_by_cached_key(|_| RandomState::new().hash_one(0));
    }
    let share = host_share(hosts.len());
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    let mut last = Err(ConnectError::TimedOut(share));
    for host in hosts {
        let until = deadline.min(Instant::now() + share);
        let attempt = timeout_at(until, Box::pin(connect_host(dsn, host, share, until)));
        last = attempt.await.unwrap_or(Err(ConnectError::TimedOut(share)));
        if last.is_ok() || Instant::now() >= deadline {
            break;
        }
    }
    last
}

/// How long one of `hosts` hosts may take.
fn host_share(hosts: usize) -> Duration {
    let hosts = u32::try_from(hosts).unwrap_or(u32::MAX).max(1);
    (CONNECT_TIMEOUT / hosts).max(HOST_TIMEOUT_MIN)
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

pub(super) fn client_config(dsn: &Dsn) -> Result<ClientConfig, ConnectError> {
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
    fn hosts_share_the_time_and_none_gets_less_than_a_second() {
        for (hosts, seconds) in [(1, 10), (2, 5), (100, 1)] {
            assert_eq!(host_share(hosts), Duration::from_secs(seconds), "{hosts}");
        }
    }
}
