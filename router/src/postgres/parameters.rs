//! The two written forms of a database address, taken apart into names and values.

use percent_encoding::percent_decode_str;

use super::dsn::InvalidDsn;

/// Names that an error may show wherever they come from: libpq's, and some of other drivers'.
/// Any other name may be a piece of a password that was written without its quotes or escapes.
const KNOWN: &[&str] = &[
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "dbname",
    "default_query_exec_mode",
    "description_cache_capacity",
    "fallback_application_name",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "options",
    "passfile",
    "password",
    "pool_health_check_period",
    "pool_max_conn_idle_time",
    "pool_max_conn_lifetime",
    "pool_max_conn_lifetime_jitter",
    "pool_max_conns",
    "pool_min_conns",
    "pool_min_idle_conns",
    "port",
    "replication",
    "require_auth",
    "requirepeer",
    "search_path",
    "service",
    "servicefile",
    "ssl",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcertmode",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslpassword",
    "sslrootcert",
    "sslsni",
    "statement_cache_capacity",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];
/// Longest unknown name from a URL's query that an error shows.
const SHOWN_NAME_MAX: usize = 40;

/// One `name=value` of a database address.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Parameter {
    pub(super) key: String,
    pub(super) value: String,
    /// What an error may call it: its name, or only its number.
    pub(super) label: String,
}

fn parameter(key: &str, value: impl Into<String>) -> Parameter {
    Parameter {
        key: key.to_owned(),
        value: value.into(),
        label: key.to_owned(),
    }
}

fn known(key: &str) -> bool {
    KNOWN.contains(&key)
}

/// Whether `key` looks like the name of a parameter, known or not.
fn like_a_name(key: &str) -> bool {
    (1..=SHOWN_NAME_MAX).contains(&key.len())
        && key
            .bytes()
            .all(|byte| byte == b'_' || byte.is_ascii_lowercase())
}

fn label(key: &str, shown: bool, number: usize) -> String {
    if shown {
        key.to_owned()
    } else {
        format!("parameter {number}")
    }
}

/// Takes `text` apart, whichever form it has.
pub(super) fn split(text: &str) -> Result<Vec<Parameter>, InvalidDsn> {
    let text = text.trim();
    match text
        .strip_prefix("postgres://")
        .or_else(|| text.strip_prefix("postgresql://"))
    {
        Some(rest) => split_url(rest),
        None if text.contains("://") => Err(InvalidDsn::new(
            "the URL must begin with postgres:// or postgresql://",
        )),
        None => split_pairs(text),
    }
}

fn split_url(rest: &str) -> Result<Vec<Parameter>, InvalidDsn> {
    let (before_query, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = before_query.split_once('/').unwrap_or((before_query, ""));
    // Whether it divides or belongs to a value cannot be told, and a password may hang on it.
    if database.contains('@') || query.contains('@') {
        return Err(InvalidDsn::new(
            "an @ comes after the first / or ?; in a user, password, database or value write \
             @ as %40, / as %2F, ? as %3F",
        ));
    }
    let mut parameters = Vec::new();
    // A raw @ in the password is common; hosts have none, so the last one divides.
    let hosts = match authority.rsplit_once('@') {
        Some((user, hosts)) => {
            let (user, password) = user
                .split_once(':')
                .map_or((user, None), |(user, password)| (user, Some(password)));
            if !user.is_empty() {
                parameters.push(parameter("user", decoded(user, "the user")?));
            }
            if let Some(password) = password {
                parameters.push(parameter("password", decoded(password, "the password")?));
            }
            hosts
        }
        None => authority,
    };
    split_hosts(hosts, &mut parameters)?;
    if !database.is_empty() {
        parameters.push(parameter("dbname", decoded(database, "the database name")?));
    }
    split_query(query, &mut parameters)?;
    Ok(parameters)
}

fn split_query(query: &str, parameters: &mut Vec<Parameter>) -> Result<(), InvalidDsn> {
    let mut after_password = false;
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    for (index, pair) in pairs.enumerate() {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| InvalidDsn::new("a parameter after the ? has no ="))?;
        let key = decoded(key, "the name of a parameter")?;
        let shown = known(&key) || like_a_name(&key) && !after_password;
        let label = label(&key, shown, index + 1);
        let value = decoded(value, &label)?;
        after_password |= matches!(key.as_str(), "password" | "sslpassword");
        // JDBC's and pgx's spelling of the commonest ones.
        match (key.as_str(), value.as_str()) {
            ("ssl", "true") => parameters.push(parameter("sslmode", "require")),
            _ => parameters.push(Parameter { key, value, label }),
        }
    }
    Ok(())
}

fn split_hosts(hosts: &str, parameters: &mut Vec<Parameter>) -> Result<(), InvalidDsn> {
    if hosts.is_empty() {
        return Ok(());
    }
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for host in hosts.split(',') {
        let bracketed = host.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let (name, port) = match bracketed {
            Some((name, rest)) => (name, rest.strip_prefix(':').unwrap_or(rest)),
            None => host.split_once(':').unwrap_or((host, "")),
        };
        names.push(decoded(name, "the host")?);
        ports.push(if port.is_empty() { "5432" } else { port });
    }
    parameters.push(parameter("host", names.join(",")));
    parameters.push(parameter("port", ports.join(",")));
    Ok(())
}

fn decoded(text: &str, what: &str) -> Result<String, InvalidDsn> {
    let bad_escape = text.split('%').skip(1).any(|rest| {
        !rest
            .as_bytes()
            .get(..2)
            .is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    });
    if bad_escape {
        return Err(InvalidDsn::new(format!(
            "{what} has a % that is no escape; write it as %25"
        )));
    }
    percent_decode_str(text)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| InvalidDsn::new(format!("{what} is not UTF-8 once its escapes are undone")))
}

fn split_pairs(text: &str) -> Result<Vec<Parameter>, InvalidDsn> {
    let mut parameters = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|char| char.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Ok(parameters);
        }
        let mut key = String::new();
        while let Some(char) = chars.next_if(|char| *char != '=' && !char.is_whitespace()) {
            key.push(char);
        }
        let label = label(&key, known(&key), parameters.len() + 1);
        let space_before = chars.peek().is_some_and(|char| char.is_whitespace());
        while chars.next_if(|char| char.is_whitespace()).is_some() {}
        if chars.next() != Some('=') {
            return Err(InvalidDsn::new(
                "expected name=value pairs or a postgres:// URL; a name is without its =",
            ));
        }
        let space_after = chars.peek().is_some_and(|char| char.is_whitespace());
        while chars.next_if(|char| char.is_whitespace()).is_some() {}
        let quoted = chars.peek() == Some(&'\'');
        let value = pair_value(&mut chars, &label)?;
        if space_after && !space_before && !quoted && value.contains('=') {
            // libpq would take `password= dbname=x` for the password `dbname=x`.
            return Err(InvalidDsn::new(format!(
                "{label}= is empty; write {label}=''"
            )));
        }
        parameters.push(Parameter { key, value, label });
    }
}

fn pair_value(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    label: &str,
) -> Result<String, InvalidDsn> {
    let quoted = chars.next_if_eq(&'\'').is_some();
    let mut value = String::new();
    loop {
        match chars.peek() {
            None if quoted => {
                return Err(InvalidDsn::new(format!(
                    "the value of {label} has no closing quote"
                )));
            }
            None => return Ok(value),
            Some('\'') if quoted => {
                chars.next();
                return Ok(value);
            }
            Some(char) if !quoted && char.is_whitespace() => return Ok(value),
            Some('\\') => {
                chars.next();
                value.extend(chars.next());
            }
            Some(_) => value.extend(chars.next()),
        }
    }
}
