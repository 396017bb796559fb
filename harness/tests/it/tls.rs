//! Every `sslmode` against a real server with certificates, as libpq's documentation has it
//! (<https://www.postgresql.org/docs/current/libpq-ssl.html>, table 34.1).

use std::net::SocketAddr;

use automc_router::postgres::connect::{ConnectError, connect_and_drive};
use automc_router::postgres::dsn::Dsn;
use harness::eventually::eventually;
use harness::postgres::{Database, Postgres};
use harness::router::Settings;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use crate::check_db::check;
use crate::followed::{DEADLINE, Followed, Parts};

/// What the server calls itself.
const NAME: &str = "db.example";

/// A server that offers TLS, and a database on it.
struct Secure {
    // Before the server, which it needs to go.
    database: Database,
    server: Postgres,
}

impl Secure {
    /// `None` where servers are built without TLS.
    async fn start(certificate: &str, key: &KeyPair) -> Option<Self> {
        let server = Postgres::start().await.unwrap();
        if !server.has_tls().await.unwrap() {
            return None;
        }
        let database = server.database().await.unwrap();
        let secure = Self { database, server };
        secure.offer(certificate, key).await;
        Some(secure)
    }

    async fn offer(&self, certificate: &str, key: &KeyPair) {
        let key = key.serialize_pem();
        self.server.offer_tls(certificate, &key).await.unwrap();
    }

    /// A DSN by which the server is called `host`, whatever its address.
    fn dsn(&self, host: &str, rest: &str) -> String {
        called(&self.database, host, rest)
    }

    /// Whether the connection is encrypted, if there is one.
    async fn tls(&self, host: &str, rest: &str) -> Result<bool, String> {
        connected(&self.dsn(host, rest)).await
    }
}

fn called(database: &Database, host: &str, rest: &str) -> String {
    let pairs = Parts::of(&database.dsn());
    let address = pairs.host.clone();
    let host = host.to_owned();
    format!(
        "{} hostaddr={address} {rest}",
        Parts { host, ..pairs }.pairs()
    )
}

async fn connected(dsn: &str) -> Result<bool, String> {
    let dsn = Dsn::parse(dsn).map_err(|error| error.to_string())?;
    let client = connect_and_drive(&dsn)
        .await
        .map_err(|error: ConnectError| error.to_string())?;
    let query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    Ok(client.query_one(query, &[]).await.unwrap().get(0))
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server's certificate for [`NAME`] and 127.0.0.1.
fn leaf() -> CertificateParams {
    CertificateParams::new([NAME.to_owned(), "127.0.0.1".to_owned()]).unwrap()
}

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, pem: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// A server with a certificate of an authority, and the files that name authorities.
struct Signed {
    secure: Secure,
    ours: String,
    theirs: String,
    both: String,
    _files: Files,
}

impl Signed {
    async fn start() -> Option<Self> {
        let (ours, theirs) = (authority("ours"), authority("theirs"));
        let key = KeyPair::generate().unwrap();
        let certificate = leaf().signed_by(&key, &ours).unwrap();
        let secure = Secure::start(&certificate.pem(), &key).await?;
        let files = Files::new();
        let both = format!("{}{}", theirs.pem(), ours.pem());
        Some(Self {
            secure,
            ours: files.write("ours.pem", &ours.pem()),
            theirs: files.write("theirs.pem", &theirs.pem()),
            both: files.write("both.pem", &both),
            _files: files,
        })
    }
}

/// AMC-02.
#[tokio::test]
async fn a_certificate_of_an_authority_is_checked_as_far_as_sslmode_says() {
    let Some(signed) = Signed::start().await else {
        return;
    };
    let Signed {
        secure,
        ours,
        theirs,
        both,
        ..
    } = &signed;
    let rooted = |mode: &str, root: &str| format!("sslmode={mode} sslrootcert={root}");
    let other = "other.example";
    for (host, rest, encrypted) in [
        (NAME, "sslmode=disable".to_owned(), false),
        (NAME, String::new(), true),
        (NAME, "sslmode=prefer".to_owned(), true),
        (NAME, "sslmode=require".to_owned(), true),
        (NAME, rooted("verify-ca", ours), true),
        (other, rooted("verify-ca", ours), true),
        (NAME, rooted("verify-full", ours), true),
        (NAME, rooted("verify-full", both), true),
        ("127.0.0.1", rooted("verify-full", ours), true),
        (other, rooted("require", ours), true),
    ] {
        let found = secure.tls(host, &rest).await;
        assert_eq!(found, Ok(encrypted), "{host} {rest}");
    }
    for (host, rest, words) in [
        (NAME, rooted("verify-ca", theirs), "UnknownIssuer"),
        (NAME, rooted("verify-full", theirs), "UnknownIssuer"),
        // With an authority named, `require` checks it, too.
        (NAME, rooted("require", theirs), "UnknownIssuer"),
        // This machine's authorities know nothing of ours.
        (NAME, "sslmode=verify-ca".to_owned(), "certificate"),
        (NAME, "sslrootcert=system".to_owned(), "certificate"),
        (other, rooted("verify-full", ours), other),
        (NAME, rooted("verify-full", "/nowhere.pem"), "/nowhere.pem"),
    ] {
        let refusal = secure.tls(host, &rest).await.unwrap_err();
        assert!(refusal.contains(words), "{host} {rest}: {refusal}");
    }
}

/// AMC-02: the usual set-up of a small server, `openssl req -x509`.
#[tokio::test]
async fn a_self_signed_certificate_is_taken_unchecked_or_when_it_is_named_itself() {
    let key = KeyPair::generate().unwrap();
    let files = Files::new();
    let mut as_authority = leaf();
    as_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let as_authority = as_authority.self_signed(&key).unwrap().pem();
    let plain = leaf().self_signed(&key).unwrap().pem();
    let Some(secure) = Secure::start(&plain, &key).await else {
        return;
    };
    for certificate in [plain, as_authority] {
        secure.offer(&certificate, &key).await;
        let itself = files.write("itself.pem", &certificate);
        for mode in ["prefer", "require"] {
            let found = secure.tls(NAME, &format!("sslmode={mode}")).await;
            assert_eq!(found, Ok(true), "{mode}");
        }
        for mode in ["require", "verify-ca", "verify-full"] {
            let rest = format!("sslmode={mode} sslrootcert={itself}");
            assert_eq!(secure.tls(NAME, &rest).await, Ok(true), "{mode}");
            let elsewhere = secure.tls("other.example", &rest).await;
            assert_eq!(elsewhere.is_ok(), mode != "verify-full", "{elsewhere:?}");
        }
        let another = authority("another").pem();
        let another = files.write("another.pem", &another);
        let rest = format!("sslmode=verify-ca sslrootcert={another}");
        secure.tls(NAME, &rest).await.unwrap_err();
    }
}

/// AMC-02.
#[tokio::test]
async fn an_expired_certificate_is_refused_where_certificates_are_checked() {
    let ours = authority("ours");
    let key = KeyPair::generate().unwrap();
    let mut expired = leaf();
    expired.not_before = date_time_ymd(2001, 1, 1);
    expired.not_after = date_time_ymd(2002, 1, 1);
    let signed = expired.signed_by(&key, &ours).unwrap().pem();
    let itself = expired.self_signed(&key).unwrap().pem();
    let Some(secure) = Secure::start(&signed, &key).await else {
        return;
    };
    let files = Files::new();
    for (certificate, root) in [(&signed, &ours.pem()), (&itself, &itself)] {
        secure.offer(certificate, &key).await;
        let root = files.write("root.pem", root);
        assert_eq!(secure.tls(NAME, "sslmode=require").await, Ok(true));
        let rest = format!("sslmode=verify-ca sslrootcert={root}");
        let refusal = secure.tls(NAME, &rest).await.unwrap_err();
        assert!(refusal.contains("expired"), "{refusal}");
    }
}

/// AMC-02.
#[tokio::test]
async fn a_server_without_tls_is_taken_by_prefer_alone() {
    let database = Postgres::shared().await.unwrap().database().await.unwrap();
    for rest in ["sslmode=disable", "sslmode=prefer", ""] {
        let found = connected(&called(&database, NAME, rest)).await;
        assert_eq!(found, Ok(false), "{rest}");
    }
    for mode in ["require", "verify-ca", "verify-full"] {
        let dsn = called(&database, NAME, &format!("sslmode={mode}"));
        let refusal = connected(&dsn).await.unwrap_err();
        assert!(refusal.contains("TLS"), "{refusal}");
    }
}

/// AMC-02, AMC-09, AMC-31: the same through the binary, notifications and all.
#[tokio::test]
async fn routes_come_live_over_a_verified_connection_and_not_over_a_false_one() {
    let Some(Signed {
        secure,
        ours,
        theirs,
        _files,
        ..
    }) = Signed::start().await
    else {
        return;
    };
    let distrusting = secure.dsn(NAME, &format!("sslmode=verify-full sslrootcert={theirs}"));
    let (code, text) = check(Some(&distrusting)).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("UnknownIssuer"), "{text}");

    let dsn = secure.dsn(NAME, &format!("sslmode=verify-full sslrootcert={ours}"));
    let settings = Settings::new().env("AUTOMC_DSN", dsn);
    let followed = Followed::over(secure.database, settings).await;
    followed.router.at.ready(DEADLINE).await.unwrap();
    followed.insert("a", "a.example", "127.0.0.1:1").await;
    followed.routed("a.example", Some("127.0.0.1:1")).await;
    let query = "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE application_name = 'automc-router'";
    let encrypted: bool = followed.sql.query_one(query, &[]).await.unwrap().get(0);
    assert!(encrypted);
}

/// AMC-02: libpq takes an address alone for the name, too.
#[tokio::test]
async fn an_address_without_a_name_serves_for_tls() {
    let key = KeyPair::generate().unwrap();
    let certificate = leaf().self_signed(&key).unwrap().pem();
    let Some(secure) = Secure::start(&certificate, &key).await else {
        return;
    };
    let files = Files::new();
    let root = files.write("root.pem", &certificate);
    let named = secure.dsn(NAME, "");
    let nameless = named.replace(&format!("host={NAME} "), "");
    for rest in [
        "sslmode=prefer".to_owned(),
        "sslmode=require".to_owned(),
        format!("sslmode=verify-full sslrootcert={root}"),
    ] {
        let found = connected(&format!("{nameless} {rest}")).await;
        assert_eq!(found, Ok(true), "{rest}");
    }
}

/// Length and code of a request for TLS.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

async fn refuse_tls(mut client: TcpStream, upstream: SocketAddr) -> std::io::Result<()> {
    let mut first = [0; 8];
    client.read_exact(&mut first).await?;
    if first == SSL_REQUEST {
        client.write_all(b"S").await?;
        // The beginning of the handshake, so that closing sends no reset.
        let mut hello = [0; 16_384];
        let _ = client.read(&mut hello).await?;
        return Ok(());
    }
    let mut server = TcpStream::connect(upstream).await?;
    server.write_all(&first).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// A way to the server at `upstream` that offers TLS, and hangs up on whoever wants it.
async fn broken_tls(upstream: SocketAddr) -> (u16, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let accepting = tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            tokio::spawn(refuse_tls(client, upstream));
        }
    });
    (port, AbortOnDropHandle::new(accepting))
}

/// AMC-02.
#[tokio::test]
async fn a_failed_handshake_is_followed_by_plain_text_with_prefer_alone() {
    let server = Postgres::shared().await.unwrap();
    let database = server.database().await.unwrap();
    let (port, _relay) = broken_tls(server.addr()).await;
    let parts = Parts {
        port,
        host: "127.0.0.1".to_owned(),
        ..Parts::of(&database.dsn())
    };
    for rest in ["", "sslmode=prefer"] {
        let found = connected(&format!("{} {rest}", parts.pairs())).await;
        assert_eq!(found, Ok(false), "{rest}");
    }
    for mode in ["require", "verify-ca", "verify-full"] {
        let refusal = connected(&format!("{} sslmode={mode}", parts.pairs())).await;
        let refusal = refusal.unwrap_err();
        assert!(refusal.contains("TLS handshake"), "{mode}: {refusal}");
    }
    // Whoever is refused both ways is told both reasons.
    let refusal = connected(&parts.role("nobody_at_all").pairs()).await;
    let refusal = refusal.unwrap_err();
    assert!(refusal.contains("TLS handshake"), "{refusal}");
    assert!(refusal.contains("nobody_at_all"), "{refusal}");
}

/// AMC-02: `pg_hba.conf` may let people in without TLS only.
#[tokio::test]
async fn a_server_that_refuses_tls_sessions_is_taken_in_plain_text_with_prefer_alone() {
    let key = KeyPair::generate().unwrap();
    let certificate = leaf().self_signed(&key).unwrap().pem();
    let Some(secure) = Secure::start(&certificate, &key).await else {
        return;
    };
    assert_eq!(secure.tls(NAME, "sslmode=prefer").await, Ok(true));
    let sql = secure.database.client().await.unwrap();
    let file: String = sql.query_one("SHOW hba_file", &[]).await.unwrap().get(0);
    let only_plain = format!(
        "COPY (SELECT 'hostnossl all all all scram-sha-256') TO '{file}';
         SELECT pg_reload_conf()"
    );
    sql.batch_execute(&only_plain).await.unwrap();
    let refused = async || {
        let refusal = secure.tls(NAME, "sslmode=require").await;
        refusal.is_err_and(|refusal| refusal.contains("28000"))
    };
    eventually("TLS sessions to be refused", DEADLINE, refused)
        .await
        .unwrap();
    for rest in ["", "sslmode=prefer"] {
        assert_eq!(secure.tls(NAME, rest).await, Ok(false), "{rest}");
    }
}
