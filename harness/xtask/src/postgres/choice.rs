//! Decides where a Postgres comes from; asks nothing itself.

use super::Programs;

/// An existing server, version 14 or newer, to use; its role needs CREATEDB.
pub const DSN_VARIABLE: &str = "AUTOMC_TEST_DSN";
/// `container`, `local` or `fetched`: take that or fail.
pub const FORCE_VARIABLE: &str = "AUTOMC_TEST_POSTGRES";

/// What the environment asks for.
#[derive(Clone, PartialEq, Eq)]
pub enum Wish {
    /// The server behind this DSN.
    Existing(String),
    /// A container and nothing else.
    Container,
    /// Server programs of this machine and nothing else.
    Local,
    /// Server programs in the target folder and nothing else.
    Fetched,
    /// A container if possible, else this machine's programs, else fetched ones.
    Any,
}

impl std::fmt::Debug for Wish {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A DSN has a password.
        formatter.write_str(match self {
            Self::Existing(_) => DSN_VARIABLE,
            Self::Container => "container",
            Self::Local => "local",
            Self::Fetched => "fetched",
            Self::Any => "any",
        })
    }
}

/// Where the server comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum Found {
    /// The server behind this DSN.
    Existing(String),
    /// A container of this image.
    Container(String),
    /// Server programs. `instead` says why it is not a container, if one was wanted.
    Programs {
        /// The programs.
        programs: Programs,
        /// Why it is no container.
        instead: Option<String>,
    },
}

impl Found {
    /// What was chosen, for a reader.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Existing(_) => format!("the server of {DSN_VARIABLE}"),
            Self::Container(image) => format!("a container of {image}"),
            Self::Programs { programs, .. } => {
                let folder = programs.folder.display();
                match programs.fetched {
                    Some(_) => format!("a private server from the programs fetched to {folder}"),
                    None => format!("a private server from this machine's programs in {folder}"),
                }
            }
        }
    }

    /// The value of [`FORCE_VARIABLE`] that has others choose the same.
    #[must_use]
    pub fn forced(&self) -> Option<&'static str> {
        match self {
            Self::Existing(_) => None,
            Self::Container(_) => Some("container"),
            Self::Programs { programs, .. } if programs.fetched.is_some() => Some("fetched"),
            Self::Programs { .. } => Some("local"),
        }
    }
}

impl std::fmt::Debug for Found {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.describe())
    }
}

/// What is asked of a machine, one after the other and only where it matters; a reason each if not.
pub(super) trait Looks {
    /// Whether somebody answers behind a DSN.
    fn existing(&mut self, dsn: &str) -> Result<(), String>;
    /// The image that an engine has.
    fn engine(&mut self) -> Result<String, String>;
    /// This machine's programs.
    fn local(&mut self) -> Result<Programs, String>;
    /// Programs in the target folder, which may take a minute.
    fn fetched(&mut self) -> Result<Programs, String>;
    /// What to type on this machine, where nothing else is left.
    fn advice(&self) -> String;
}

impl Wish {
    /// Reads the two variables; an empty one counts as unset, and a forced kind wins over a DSN.
    pub(super) fn read(dsn: Option<&str>, forced: Option<&str>) -> Result<Self, String> {
        let set = |value: &&str| !value.trim().is_empty();
        match (forced.filter(set), dsn.filter(set)) {
            (Some("container"), _) => Ok(Self::Container),
            (Some("local"), _) => Ok(Self::Local),
            (Some("fetched"), _) => Ok(Self::Fetched),
            (Some(other), _) => Err(format!(
                "{FORCE_VARIABLE} is `container`, `local` or `fetched`, not `{other}`"
            )),
            (None, Some(dsn)) => Ok(Self::Existing(dsn.to_owned())),
            (None, None) => Ok(Self::Any),
        }
    }

    /// The same wish for a server that is stopped and killed: nobody else's server will do.
    #[must_use]
    pub fn private(self) -> Self {
        match self {
            Self::Existing(_) => Self::Any,
            other => other,
        }
    }
}

pub(super) fn choose(wish: &Wish, looks: &mut impl Looks) -> Result<Found, String> {
    let programs = |programs, instead| Found::Programs { programs, instead };
    match wish {
        Wish::Existing(dsn) => match looks.existing(dsn) {
            Ok(()) => Ok(Found::Existing(dsn.clone())),
            Err(reason) => Err(format!("{DSN_VARIABLE}: {reason}")),
        },
        Wish::Container => match looks.engine() {
            Ok(image) => Ok(Found::Container(image)),
            Err(reason) => Err(format!("{FORCE_VARIABLE}=container, but {reason}")),
        },
        Wish::Local => match looks.local() {
            Ok(found) => Ok(programs(found, None)),
            Err(reason) => Err(format!("{FORCE_VARIABLE}=local, but {reason}")),
        },
        Wish::Fetched => match looks.fetched() {
            Ok(found) => Ok(programs(found, None)),
            Err(reason) => Err(format!("{FORCE_VARIABLE}=fetched, but {reason}")),
        },
        Wish::Any => {
            let engine = match looks.engine() {
                Ok(image) => return Ok(Found::Container(image)),
                Err(reason) => reason,
            };
            let local = match looks.local() {
                Ok(found) => return Ok(programs(found, Some(engine))),
                Err(reason) => reason,
            };
            match looks.fetched() {
                Ok(found) => Ok(programs(found, Some(engine))),
                Err(fetched) => Err(format!(
                    "there is no Postgres here. Type: {}\n  \
                     (or start a Docker engine, or set {DSN_VARIABLE} to a server whose role may create databases)\n  \
                     engine: {engine}\n  programs: {local}\n  fetched: {fetched}",
                    looks.advice()
                )),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that has what is named, and counts what it is asked for.
    struct Machine<'a> {
        has: &'a [&'static str],
        asked: Vec<&'static str>,
    }

    impl Machine<'_> {
        fn ask<T>(&mut self, what: &'static str, value: T) -> Result<T, String> {
            self.asked.push(what);
            if self.has.contains(&what) {
                Ok(value)
            } else {
                Err(format!("no {what}"))
            }
        }
    }

    fn programs(fetched: bool) -> Programs {
        Programs {
            folder: "/pg/bin".into(),
            libraries: Vec::new(),
            fetched: fetched.then(|| "/pg".into()),
        }
    }

    impl Looks for Machine<'_> {
        fn existing(&mut self, _dsn: &str) -> Result<(), String> {
            self.ask("dsn", ())
        }

        fn engine(&mut self) -> Result<String, String> {
            self.ask("engine", "postgres:17".to_owned())
        }

        fn local(&mut self) -> Result<Programs, String> {
            self.ask("local", programs(false))
        }

        fn fetched(&mut self) -> Result<Programs, String> {
            self.ask("fetched", programs(true))
        }

        fn advice(&self) -> String {
            "apt-get install postgresql".to_owned()
        }
    }

    #[test]
    fn every_wish_with_every_finding_gives_one_choice_and_asks_no_more_than_it_needs() {
        let dsn = || Wish::Existing("host=db password=secret".to_owned());
        let all = &["dsn", "engine", "local", "fetched"][..];
        type Names<'a> = &'a [&'static str];
        let table: [(Wish, Names<'_>, Option<&str>, Names<'_>); 12] = [
            (dsn(), all, Some("dsn"), &["dsn"]),
            (dsn(), &all[1..], None, &["dsn"]),
            (Wish::Any, all, Some("container"), &["engine"]),
            (Wish::Any, &all[2..], Some("local"), &["engine", "local"]),
            (Wish::Any, &all[3..], Some("fetched"), &all[1..]),
            (Wish::Any, &[], None, &all[1..]),
            (Wish::Container, all, Some("container"), &["engine"]),
            (Wish::Container, &all[2..], None, &["engine"]),
            (Wish::Local, all, Some("local"), &["local"]),
            (Wish::Local, &all[3..], None, &["local"]),
            (Wish::Fetched, all, Some("fetched"), &["fetched"]),
            (Wish::Fetched, &all[..3], None, &["fetched"]),
        ];
        for (wish, has, wanted, asked) in table {
            let case = format!("{wish:?} {has:?}");
            assert!(!case.contains("secret"), "{case}");
            let mut machine = Machine {
                has,
                asked: Vec::new(),
            };
            let found = choose(&wish, &mut machine);
            assert!(!format!("{found:?}").contains("secret"), "{case}");
            let kind = found.ok().map(|found| found.forced().unwrap_or("dsn"));
            assert_eq!(kind, wanted, "{case}");
            assert_eq!(machine.asked, asked, "{case}");
        }
    }

    #[test]
    fn with_nothing_at_hand_the_error_says_what_to_type_and_why() {
        let mut machine = Machine {
            has: &[],
            asked: Vec::new(),
        };
        let error = choose(&Wish::Any, &mut machine).unwrap_err();
        let reasons = ["no engine", "no local", "no fetched"];
        for word in reasons
            .iter()
            .chain(&["Type: apt-get install postgresql", DSN_VARIABLE])
        {
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
        assert_eq!(read(None, Some("fetched")), Some(Wish::Fetched));
        assert_eq!(read(None, Some("docker")), None);
    }

    #[test]
    fn a_private_server_is_never_somebody_elses() {
        assert_eq!(Wish::Existing("d".to_owned()).private(), Wish::Any);
        assert_eq!(Wish::Local.private(), Wish::Local);
    }
}
