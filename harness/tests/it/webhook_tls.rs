//! Webhooks over TLS: who is believed to be the receiver, and what is said of who is not.

use std::sync::Arc;
use std::time::Duration;

use harness::backend::{Asleep, Backend};
use harness::player::Player;
use harness::receiver::Receiver;
use harness::router::{RouterProcess, Settings};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_util::task::AbortOnDropHandle;

const DEADLINE: Duration = Duration::from_secs(20);

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn leaf(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).unwrap()
}

/// A receiver behind TLS.
struct Secure {
    receiver: Receiver,
    port: u16,
    _serving: AbortOnDropHandle<()>,
}

impl Secure {
    /// With a certificate that `authority` has signed.
    async fn start(leaf: CertificateParams, authority: &CertifiedIssuer<'_, KeyPair>) -> Self {
        let receiver = Receiver::start().await.unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = leaf.signed_by(&key, authority).unwrap();
        let chain = vec![certificate.der().clone()];
        let key = key.serialize_der().try_into().unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, plain) = (listener.local_addr().unwrap().port(), receiver.addr());
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let mut client = acceptor.accept(stream).await?;
                    let mut server = TcpStream::connect(plain).await?;
                    copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
        Self {
            receiver,
            port,
            _serving: AbortOnDropHandle::new(serving),
        }
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}/hook/s3cret?key=s3cret", self.port)
    }
}

/// Settings of a router that trusts these authorities and nobody else.
fn trusting(authority: &CertifiedIssuer<'_, KeyPair>) -> (TempDir, Settings) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("authorities.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    let settings = Settings::new().env("SSL_CERT_FILE", file.to_str().unwrap());
    (folder, settings)
}

#[tokio::test]
async fn a_receiver_that_an_authority_vouches_for_is_told_and_asked_over_https() {
    let ours = authority("ours");
    let events = Secure::start(leaf("127.0.0.1"), &ours).await;
    let scaler = Secure::start(leaf("127.0.0.1"), &ours).await;
    let asleep = Asleep::new().unwrap();
    let (_folder, settings) = trusting(&ours);
    let settings = settings
        .flag(format!("--webhook-url={}", events.url()))
        .flag(format!("--auto-scale-webhook-url={}", scaler.url()))
        .flag(format!("--mapping=play.example={}", asleep.addr()));
    let router = RouterProcess::start(settings).await.unwrap();

    let player = Player::new("play.example");
    let waiting = player.knock(router.at.players).await.unwrap();
    let asked = scaler.receiver.bodies(1, DEADLINE).await.unwrap();
    assert_eq!(asked[0]["action"], "up");
    let _backend = asleep.wake("woken").unwrap();
    let _session = waiting.enter().await.unwrap();

    let told = events.receiver.bodies(1, DEADLINE).await.unwrap();
    assert_eq!(told[0]["status"], json!("success"));
}

#[tokio::test]
async fn a_receiver_that_nobody_vouches_for_is_told_nothing_and_the_log_says_why() {
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let mut old = leaf("127.0.0.1");
    old.not_before = date_time_ymd(2020, 1, 1);
    old.not_after = date_time_ymd(2021, 1, 1);
    let backend = Backend::start("up").await.unwrap();
    for (leaf, signer, reason) in [
        (leaf("127.0.0.1"), &theirs, "UnknownIssuer"),
        (leaf("other.example"), &ours, "not valid for name"),
        (old, &ours, "expired"),
    ] {
        let events = Secure::start(leaf, signer).await;
        let (_folder, settings) = trusting(&ours);
        let settings = settings
            .flag("--debug")
            .flag(format!("--webhook-url={}", events.url()))
            .flag(format!("--mapping=play.example={}", backend.addr()));
        let router = RouterProcess::start(settings).await.unwrap();

        let player = Player::new("play.example");
        let mut session = player.enter(router.at.players).await.unwrap();
        assert_eq!(session.echo(b"hello").await.unwrap(), b"hello");

        let line = ["webhook: an event could not be sent", "certificate", reason];
        router.process.line_with(&line, DEADLINE).await.unwrap();
        assert_eq!(events.receiver.received().len(), 0, "{reason}");
        let log = router.process.tail(usize::MAX);
        assert!(!log.contains("s3cret"), "{log}");
    }
}

#[tokio::test]
async fn without_any_authority_a_webhook_over_https_is_refused_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let none = folder.path().join("none.pem");
    std::fs::write(&none, "").unwrap();
    let environment = [
        ("SSL_CERT_FILE", none.to_str().unwrap()),
        ("PORT", "0"),
        ("WEBHOOK_URL", "https://127.0.0.1:1/s3cret"),
    ];
    let output = crate::binary::ran(&[], &environment).await;
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    let named = error.contains("ca-certificates") && error.contains("webhook");
    assert!(named && !error.contains("s3cret"), "{error}");
}
