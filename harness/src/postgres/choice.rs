//! Decides where a test's Postgres comes from; asks nothing itself.

use std::path::PathBuf;

use anyhow::{Result, bail};

/// An existing server, version 14 or newer, to use; its role needs CREATEDB.
pub(super) const DSN_VARIABLE: &str = "AUTOMC_TEST_DSN";
/// `container` or `local`: take that or fail.
pub(super) const FORCE_VARIABLE: &str = "AUTOMC_TEST_POSTGRES";

/// What the environment asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    /// The server behind this DSN.
    Existing(String),
    /// A container and nothing else.
    Container,
    /// Local server binaries and nothing else.
    Local,
    /// A container if possible, else local binaries.
    Any,
}

/// Where the server comes from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// The server behind this DSN.
    Existing(String),
    /// A container.
    Container,
    /// The binaries in this folder. `instead` says why it is not a container, if one was wanted.
    Local {
        binaries: PathBuf,
        instead: Option<String>,
    },
}

impl Wish {
    /// Reads the two variables; an empty one counts as unset, and a forced kind wins over a DSN.
    pub(super) fn read(dsn: Option<&str>, forced: Option<&str>) -> Result<Self> {
        let set = |value: &&str| !value.trim().is_empty();
        match (forced.filter(set), dsn.filter(set)) {
            (Some("container"), _) => Ok(Self::Container),
            (Some("local"), _) => Ok(Self::Local),
            (Some(other), _) => {
                bail!("{FORCE_VARIABLE} is `container` or `local`, not `{other}`")
            }
            (None, Some(dsn)) => Ok(Self::Existing(dsn.to_owned())),
            (None, None) => Ok(Self::Any),
        }
    }

    /// The same wish for a server that is stopped and killed: nobody else's server will do.
    pub(super) fn private(self) -> Self {
        match self {
            Self::Existing(_) => Self::Any,
            other => other,
        }
    }

    /// Whether it is worth asking for a Docker engine and the image.
    pub(super) fn wants_engine(&self) -> bool {
        matches!(self, Self::Container | Self::Any)
    }
}

/// Picks a server, given whether containers can be had and where local binaries are,
/// each with the reason if not.
pub(super) fn choose(
    wish: &Wish,
    engine: Result<(), String>,
    binaries: Result<PathBuf, String>,
) -> Result<Choice> {
    match (wish, engine, binaries) {
        (Wish::Existing(dsn), _, _) => Ok(Choice::Existing(dsn.clone())),
        (Wish::Container | Wish::Any, Ok(()), _) => Ok(Choice::Container),
        (Wish::Container, Err(reason), _) => {
            bail!("{FORCE_VARIABLE}=container, but no container can be had: {reason}")
        }
        (Wish::Local, _, Ok(binaries)) => Ok(Choice::Local {
            binaries,
            instead: None,
        }),
        (Wish::Any, Err(reason), Ok(binaries)) => Ok(Choice::Local {
            binaries,
            instead: Some(reason),
        }),
        (Wish::Local, _, Err(reason)) => {
            bail!("{FORCE_VARIABLE}=local, but there are no server binaries: {reason}")
        }
        (Wish::Any, Err(engine), Err(binaries)) => bail!(
            "no Postgres for the tests. Start a Docker engine (container: {engine}), \
             or install the server, `apt-get install postgresql` (binaries: {binaries}), \
             or set {DSN_VARIABLE} to a server whose role may create databases"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no<T>(reason: &str) -> Result<T, String> {
        Err(reason.to_owned())
    }

    fn binaries() -> Result<PathBuf, String> {
        Ok(PathBuf::from("/pg/bin"))
    }

    fn local(instead: Option<&str>) -> Choice {
        Choice::Local {
            binaries: PathBuf::from("/pg/bin"),
            instead: instead.map(str::to_owned),
        }
    }

    #[test]
    fn every_wish_with_every_finding_gives_one_choice() {
        let dsn = || Wish::Existing("host=db".to_owned());
        let existing = || Some(Choice::Existing("host=db".to_owned()));
        let table = [
            (dsn(), Ok(()), binaries(), existing()),
            (dsn(), no("e"), no("b"), existing()),
            (Wish::Any, Ok(()), binaries(), Some(Choice::Container)),
            (Wish::Any, Ok(()), no("b"), Some(Choice::Container)),
            (Wish::Any, no("e"), binaries(), Some(local(Some("e")))),
            (Wish::Any, no("e"), no("b"), None),
            (Wish::Container, Ok(()), binaries(), Some(Choice::Container)),
            (Wish::Container, no("e"), binaries(), None),
            (Wish::Local, Ok(()), binaries(), Some(local(None))),
            (Wish::Local, no("e"), binaries(), Some(local(None))),
            (Wish::Local, Ok(()), no("b"), None),
        ];
        for (wish, engine, binaries, wanted) in table {
            let case = format!("{wish:?} {engine:?} {binaries:?}");
            assert_eq!(choose(&wish, engine, binaries).ok(), wanted, "{case}");
        }
    }

    #[test]
    fn with_nothing_at_hand_the_error_says_what_to_install_and_why() {
        let error = choose(&Wish::Any, no("no socket"), no("no initdb"))
            .unwrap_err()
            .to_string();
        for word in ["no socket", "no initdb", "apt-get install", DSN_VARIABLE] {
            assert!(error.contains(word), "{word} is missing in: {error}");
        }
    }

    #[test]
    fn the_forced_kind_wins_over_a_dsn_and_a_misspelt_one_is_refused() {
        let read = |dsn, forced| Wish::read(dsn, forced).ok();
        assert_eq!(read(None, None), Some(Wish::Any));
        assert_eq!(read(Some(""), Some(" ")), Some(Wish::Any));
        assert_eq!(read(Some("d"), None), Some(Wish::Existing("d".to_owned())));
        assert_eq!(read(Some("d"), Some("local")), Some(Wish::Local));
        assert_eq!(read(None, Some("container")), Some(Wish::Container));
        assert_eq!(read(None, Some("docker")), None);
    }

    #[test]
    fn a_private_server_is_never_somebody_elses() {
        assert_eq!(Wish::Existing("d".to_owned()).private(), Wish::Any);
        assert_eq!(Wish::Local.private(), Wish::Local);
    }
}
