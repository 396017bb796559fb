//! Whether somebody answers where a DSN points to: no more than a port that is open, before a build of minutes.

use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// For one address.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;
const PORT: &str = "5432";

/// Connects, and says nothing. The driver reads the DSN whole, later.
pub(super) fn answers(dsn: &str) -> Result<(), String> {
    let (host, port) = place(dsn).ok_or("it names no TCP host and port")?;
    let at = format!("{host}:{port}");
    let found = (host.as_str(), port).to_socket_addrs();
    let found = found.map_err(|error| format!("{host} is not known: {error}"))?;
    let mut last = "no address".to_owned();
    for address in found.take(ADDRESSES_MAX) {
        match TcpStream::connect_timeout(&address, CONNECT_DEADLINE) {
            Ok(_) => return Ok(()),
            Err(error) => last = error.to_string(),
        }
    }
    Err(format!("nobody answers at {at}: {last}"))
}

/// Host and port of the first server in a DSN of either form.
fn place(dsn: &str) -> Option<(String, u16)> {
    let dsn = dsn.trim();
    let rest = dsn
        .strip_prefix("postgres://")
        .or_else(|| dsn.strip_prefix("postgresql://"));
    let (host, port) = match rest {
        Some(rest) => {
            let server = rest.split(['/', '?']).next()?;
            let server = server.rsplit('@').next()?.split(',').next()?;
            match server.rsplit_once(':') {
                Some((host, port)) if !port.ends_with(']') => (host, port),
                _ => (server, PORT),
            }
        }
        None => {
            let value = |key: &str| {
                let mut pairs = dsn
                    .split_whitespace()
                    .filter_map(|pair| pair.split_once('='));
                let value = pairs.find(|(name, _)| *name == key)?.1.trim_matches('\'');
                value.split(',').next()
            };
            let host = value("hostaddr").or_else(|| value("host"))?;
            (host, value("port").unwrap_or(PORT))
        }
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let named = !host.is_empty() && !host.contains(['/', '%']);
    named.then_some(())?;
    Some((host.to_owned(), port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_first_server_of_a_dsn_is_read_in_either_form() {
        for (dsn, wanted) in [
            (
                "postgres://u:p%40w@db.example:6000/base?sslmode=disable",
                Some(("db.example", 6000)),
            ),
            ("postgresql://u@[::1]:6000/base", Some(("::1", 6000))),
            ("postgres://u@[::1]/base", Some(("::1", 5432))),
            ("postgres://db", Some(("db", 5432))),
            ("postgres://u@a:1,b:2/base", Some(("a", 1))),
            (
                "host=db port=6000 user=u password='a b'",
                Some(("db", 6000)),
            ),
            ("host=db user=u", Some(("db", 5432))),
            ("host=/run/postgresql user=u", None),
            ("postgres://u@%2Frun/base", None),
            ("user=u", None),
            ("postgres://u@db:port/base", None),
            ("nonsense", None),
        ] {
            let wanted = wanted.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(place(dsn), wanted, "{dsn}");
        }
    }

    #[test]
    fn a_server_that_is_not_there_is_told_before_anything_is_built_and_without_a_secret() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let dsn = format!(
            "postgres://u:secret@{}/base",
            listener.local_addr().unwrap()
        );
        assert_eq!(answers(&dsn), Ok(()));
        drop(listener);
        let error = answers(&dsn).unwrap_err();
        assert!(
            error.contains("127.0.0.1") && !error.contains("secret"),
            "{error}"
        );
    }
}
