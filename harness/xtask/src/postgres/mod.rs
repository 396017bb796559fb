//! Where a Postgres comes from, for tests and demo alike: `AUTOMC_TEST_DSN`; a Docker engine; server programs of this
//! machine; server programs fetched into the target folder.

mod choice;
mod dsn;
mod engine;
mod fetch;
mod local;
mod ways;

use std::path::{Path, PathBuf};
use std::process::Command;

pub use self::choice::{DSN_VARIABLE, FORCE_VARIABLE, Found, Wish};
use self::choice::{Looks, choose};
pub use self::engine::{engine_of_environment, image};
use crate::patience::Say;
use crate::target_folder;

/// Server programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// Where `initdb` and `postgres` are.
    pub folder: PathBuf,
    /// Where the libraries are that they bring.
    pub libraries: Vec<PathBuf>,
    /// The top folder of what was fetched; `None` of programs that are this machine's.
    pub fetched: Option<PathBuf>,
}

impl Programs {
    /// One of them, to be run.
    ///
    /// # Errors
    /// The folders cannot be told to the loader.
    pub fn command(&self, program: &str) -> Result<Command, String> {
        let mut command = Command::new(self.folder.join(program));
        command.env("LC_ALL", "C");
        if !self.libraries.is_empty() {
            let paths = std::env::join_paths(&self.libraries).map_err(|error| error.to_string())?;
            command.env("LD_LIBRARY_PATH", paths);
        }
        Ok(command)
    }

    /// The same programs, where their top folder was copied to.
    #[must_use]
    pub fn moved(&self, to: &Path) -> Self {
        let moved = |path: &PathBuf| match &self.fetched {
            Some(top) => path
                .strip_prefix(top)
                .map_or_else(|_| path.clone(), |rest| to.join(rest)),
            None => path.clone(),
        };
        Self {
            folder: moved(&self.folder),
            libraries: self.libraries.iter().map(moved).collect(),
            fetched: self.fetched.as_ref().map(|_| to.to_owned()),
        }
    }
}

/// What the environment asks for.
///
/// # Errors
/// `AUTOMC_TEST_POSTGRES` has a value that means nothing.
pub fn wish() -> Result<Wish, String> {
    let variable = |name| std::env::var(name).ok();
    let (dsn, forced) = (variable(DSN_VARIABLE), variable(FORCE_VARIABLE));
    Wish::read(dsn.as_deref(), forced.as_deref())
}

/// Finds what is wished for, or fetches it: a minute or two, told line by line to `say`. `no_container` says why an engine will not do.
///
/// # Errors
/// There is none; the sentence has the one command to type.
pub fn find(wish: &Wish, no_container: Option<&str>, say: Say<'_>) -> Result<Found, String> {
    let mut looks = Here { no_container, say };
    choose(wish, &mut looks)
}

/// This machine.
struct Here<'a> {
    no_container: Option<&'a str>,
    say: Say<'a>,
}

impl Looks for Here<'_> {
    fn existing(&mut self, dsn: &str) -> Result<(), String> {
        dsn::answers(dsn)
    }

    fn engine(&mut self) -> Result<String, String> {
        if let Some(reason) = self.no_container {
            return Err(reason.to_owned());
        }
        let image = image();
        engine::can_start(&image, self.say).map(|()| image)
    }

    fn local(&mut self) -> Result<Programs, String> {
        local::find()
    }

    fn fetched(&mut self) -> Result<Programs, String> {
        fetch::programs(&target_folder()?.join("postgres"), self.say)
    }

    fn advice(&self) -> String {
        local::advice()
    }
}
