//! What a DSN means, by example.

use tokio_postgres::config::Host;

use super::*;

fn dsn(text: &str) -> Dsn {
    Dsn::parse(text).unwrap()
}

fn refusal(text: &str) -> String {
    let error = Dsn::parse(text).unwrap_err().to_string();
    assert!(!error.contains("hunter2"), "a secret in {error:?}");
    error
}

#[test]
fn both_forms_mean_the_same() {
    for text in [
        "postgres://steve:hunter2@db.example:5433/automc?sslmode=disable",
        "postgresql://steve:hunter2@db.example:5433/automc?sslmode=disable",
        "host=db.example port=5433 user=steve password=hunter2 dbname=automc sslmode=disable",
        "host = db.example port = 5433 user='steve' password='hunter2' dbname=automc sslmode=disable",
    ] {
        let dsn = dsn(text);
        let config = dsn.config();
        assert_eq!(config.get_user(), Some("steve"), "{text}");
        assert_eq!(config.get_password(), Some(&b"hunter2"[..]), "{text}");
        assert_eq!(
            config.get_hosts(),
            [Host::Tcp("db.example".to_owned())],
            "{text}"
        );
        assert_eq!(config.get_ports(), [5433], "{text}");
        assert_eq!(config.get_dbname(), Some("automc"), "{text}");
        assert_eq!(dsn.tls(), TlsMode::Disable, "{text}");
        assert_eq!(
            format!("{dsn} {dsn:?}"),
            "db.example:5433/automc Dsn(db.example:5433/automc)"
        );
    }
}

#[test]
fn passwords_survive_their_awkward_characters() {
    for (text, password) in [
        ("postgres://u:p@ss@h/d", "p@ss"),
        ("postgres://u:p%40s%2Fs@h/d", "p@s/s"),
        ("postgres://u:a:b@h/d", "a:b"),
        ("host=h password='it\\'s \\\\ here' user=u", "it's \\ here"),
        ("host=h password=a\\ b", "a b"),
        ("host=h password=''", ""),
    ] {
        let dsn = dsn(text);
        assert_eq!(
            dsn.config().get_password(),
            Some(password.as_bytes()),
            "{text}"
        );
        assert_eq!(
            dsn.config().get_hosts(),
            [Host::Tcp("h".to_owned())],
            "{text}"
        );
    }
}

#[test]
fn several_hosts_sockets_and_ipv6_are_understood() {
    let several = dsn("postgres://u@h1:1,h2:2,h3/d");
    assert_eq!(several.config().get_ports(), [1, 2, 5432]);
    assert_eq!(several.config().get_hosts().len(), 3);
    assert_eq!(several.to_string(), "h1:1,h2:2,h3:5432/d");

    let ipv6 = dsn("postgres://u@[::1]:5433/d");
    assert_eq!(ipv6.config().get_hosts(), [Host::Tcp("::1".to_owned())]);

    let socket = dsn("postgres://u@%2Fvar%2Frun%2Fpostgresql/d");
    assert_eq!(
        socket.config().get_hosts(),
        [Host::Unix("/var/run/postgresql".into())]
    );
}

#[test]
fn sslmode_has_libpqs_meaning() {
    for (mode, tls, driver) in [
        ("disable", TlsMode::Disable, SslMode::Disable),
        ("prefer", TlsMode::Prefer, SslMode::Prefer),
        ("require", TlsMode::Require, SslMode::Require),
        ("verify-ca", TlsMode::VerifyCa, SslMode::Require),
        ("verify-full", TlsMode::VerifyFull, SslMode::Require),
    ] {
        let dsn = dsn(&format!("postgres://u@h/d?sslmode={mode}"));
        assert_eq!(
            (dsn.tls(), dsn.config().get_ssl_mode()),
            (tls, driver),
            "{mode}"
        );
    }
    assert_eq!(dsn("host=h").tls(), TlsMode::Prefer, "libpq's default");
    assert_eq!(
        dsn("host=h sslmode=require sslrootcert=/ca.pem").tls(),
        TlsMode::VerifyCa,
        "a root certificate makes require check it"
    );
}

#[test]
fn the_systems_authorities_are_only_trusted_with_the_name_checked() {
    for text in [
        "host=h sslrootcert=system",
        "host=h sslmode=verify-full sslrootcert=system",
    ] {
        assert_eq!(dsn(text).tls(), TlsMode::VerifyFull, "{text}");
        assert_eq!(dsn(text).root_cert(), None, "{text}");
    }
    for mode in ["disable", "prefer", "require", "verify-ca"] {
        let error = refusal(&format!("host=h sslmode={mode} sslrootcert=system"));
        assert!(error.contains("verify-full"), "{error}");
    }
}

#[test]
fn an_address_alone_is_the_name_too() {
    let dsn = dsn("hostaddr=127.0.0.1 dbname=d");
    assert_eq!(
        dsn.config().get_hosts(),
        [Host::Tcp("127.0.0.1".to_owned())]
    );
    assert_eq!(dsn.to_string(), "127.0.0.1:5432/d");
}

#[test]
fn units_are_libpqs() {
    let dsn = dsn("host=h tcp_user_timeout=5000 connect_timeout=3");
    assert_eq!(
        dsn.config().get_tcp_user_timeout(),
        Some(&Duration::from_secs(5))
    );
    assert_eq!(
        dsn.config().get_connect_timeout(),
        Some(&Duration::from_secs(3))
    );
}

#[test]
fn server_settings_reach_the_server() {
    assert_eq!(
        dsn("postgres://h/d?search_path=automc&options=-cwork_mem%3D1MB")
            .config()
            .get_options(),
        Some("-csearch_path=automc -cwork_mem=1MB")
    );
}

#[test]
fn what_cannot_be_honoured_is_refused_by_name() {
    for (text, named) in [
        ("postgres://u:hunter2@h/d?sslmode=allow", "sslmode=allow"),
        ("postgres://u:hunter2@h/d?sslmode=", "sslmode"),
        ("postgres://u:hunter2@h/d?sslcert=/x", "sslcert"),
        ("postgres://u:hunter2@h/d?passfile=/x", "passfile"),
        ("postgres://u:hunter2@h/d?service=x", "service"),
        ("postgres://u:hunter2@h/d?gssencmode=require", "gssencmode"),
        (
            "postgres://u:hunter2@h/d?pool_max_conns=4",
            "pool_max_conns",
        ),
        (
            "postgres://u:hunter2@h/d?target_session_attrs=standby",
            "standby",
        ),
        ("postgres://u:hunter2@h/d?nonsense=1", "nonsense"),
        ("postgres://u:hunter2@h:port/d", "port"),
        ("postgres://u:hun/ter2@h/d", "%2F"),
        ("postgres://u:hunter2%@h/d", "%25"),
        ("mysql://u:hunter2@h/d", "postgres://"),
        ("host=h password= dbname=d", "password=''"),
        ("host=h password='hunter2", "closing quote"),
        ("hunter2", "name=value"),
        ("user=u password=hunter2", "host"),
        ("", "host"),
    ] {
        let error = refusal(text);
        assert!(error.contains(named), "{text:?}: {error}");
    }
}

#[test]
fn a_raw_at_sign_after_the_hosts_is_refused_with_how_to_write_it() {
    for text in [
        "postgres://u:p@ss/hunter2@h/d",
        "postgres://u:p@ss?hunter2=1@h/d",
        "postgres://u:hunter2@h/d@x",
        "postgres://u:hunter2@h/d?application_name=a@b",
        "postgres://u@h?password=hunter2@x",
    ] {
        let error = refusal(text);
        for escape in ["@ as %40", "/ as %2F", "? as %3F"] {
            assert!(error.contains(escape), "{text:?}: {error}");
        }
    }
    assert_eq!(
        dsn("postgres://u:p@h/d%40x").config().get_dbname(),
        Some("d@x")
    );
}

#[test]
fn what_may_be_a_piece_of_a_password_is_called_by_its_number() {
    for (text, number) in [
        ("host=h password=hun hunter2=x", "parameter 3"),
        ("host=h password=a pool_hunter2=x", "parameter 3"),
        ("password=hun hunter2='x", "parameter 2"),
        ("password=hun hunter2= a=b", "parameter 2"),
        ("postgres://u:1?hunter2=1", "parameter 1"),
        ("postgres://u@h/d?sslmode=prefer&hunter2=%", "parameter 2"),
        ("postgres://u@h/d?pool_hunter2=1", "parameter 1"),
    ] {
        let error = refusal(text);
        assert!(error.contains(number), "{text:?}: {error}");
    }
    // All letters: only the URL tells a name from a piece of a value, and not after a password.
    for text in [
        "host=h password=correct horse=x",
        "postgres://u@h/d?password=correct&horse=x",
    ] {
        let error = refusal(text);
        assert!(!error.contains("horse"), "{text:?}: {error}");
        assert!(error.contains("is not known"), "{text:?}: {error}");
    }
}

#[test]
fn spaces_around_the_equals_sign_leave_the_value_as_it_is() {
    for text in [
        "host=h password = a=b",
        "host=h password =a=b",
        "host=h password=a=b",
        "host=h password= 'a=b'",
    ] {
        let password = dsn(text).config().get_password().map(<[u8]>::to_vec);
        assert_eq!(password.as_deref(), Some(&b"a=b"[..]), "{text}");
    }
    let error = refusal("host=h password= dbname=d");
    assert!(error.contains("password=''"), "{error}");
}

#[test]
fn every_host_alone_has_its_own_address_and_port() {
    let several = dsn("host=a,b hostaddr=127.0.0.1,127.0.0.2 port=1,2 user=u");
    let found = several.one_host_each().iter().map(|config| {
        assert_eq!(config.get_user(), Some("u"));
        let (hosts, addresses) = (config.get_hosts(), config.get_hostaddrs());
        (
            hosts.to_vec(),
            addresses.to_vec(),
            config.get_ports().to_vec(),
        )
    });
    let wanted = [("a", [127, 0, 0, 1], 1), ("b", [127, 0, 0, 2], 2)].map(|(name, ip, port)| {
        (
            vec![Host::Tcp(name.to_owned())],
            vec![ip.into()],
            vec![port],
        )
    });
    assert_eq!(found.collect::<Vec<_>>(), wanted);

    let one_port = dsn("host=a,b port=7");
    for config in one_port.one_host_each() {
        assert_eq!(config.get_ports(), [7]);
    }
}

proptest::proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,60}") {
        let _ = Dsn::parse(&text);
        let _ = Dsn::parse(&format!("postgres://{text}"));
    }

    #[test]
    fn any_password_survives_quoting(password in "[^\0]{0,20}") {
        let quoted = password.replace('\\', "\\\\").replace('\'', "\\'");
        let parsed = dsn(&format!("host=h password='{quoted}'"));
        proptest::prop_assert_eq!(parsed.config().get_password(), Some(password.as_bytes()));
    }
}
