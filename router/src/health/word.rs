//! What is heard of a backend, and what each word is worth.
//!
//! Pure.

use std::io;

use crate::dial::{is_no_name, is_out_of_files, is_stuck};
use crate::ping::PingError;

/// What came of asking a backend, or of dialling it for a player.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Word {
    /// Nothing yet.
    #[default]
    None,
    /// A status.
    Answered,
    /// The first word to a player who logs in.
    LetIn,
    /// Nobody listens there.
    Refused,
    /// Not even a refusal in time.
    Away,
    /// It took the connection and said nothing in time.
    Mute,
    /// It took the connection and ended it without a word.
    Closed,
    /// It answered, but no status.
    NoStatus,
    /// Its name is not known, or could not be looked up.
    NoName,
    /// It could not be asked from here.
    NoWay,
}

impl Word {
    /// Every word.
    pub const ALL: [Self; 10] = [
        Self::None,
        Self::Answered,
        Self::LetIn,
        Self::Refused,
        Self::Away,
        Self::Mute,
        Self::Closed,
        Self::NoStatus,
        Self::NoName,
        Self::NoWay,
    ];

    /// What came of a failed dial; `None` if that says nothing of the backend.
    #[must_use]
    pub fn of_dial(error: &io::Error) -> Option<Self> {
        if is_out_of_files(error) || is_stuck(error) {
            return None;
        }
        Some(match error.kind() {
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted => Self::Refused,
            io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable => Self::Away,
            _ if is_no_name(error) => Self::NoName,
            _ => Self::NoWay,
        })
    }

    /// What came of a failed ping; `None` if that says nothing of the backend.
    #[must_use]
    pub fn of_ping(error: &PingError) -> Option<Self> {
        match error {
            PingError::Dial(error) => Self::of_dial(error),
            PingError::Silent(error) if error.kind() == io::ErrorKind::TimedOut => Some(Self::Mute),
            PingError::Silent(_) => Some(Self::Closed),
            PingError::Decode(_) => Some(Self::NoStatus),
        }
    }

    /// Whether the backend does what it is there for.
    #[must_use]
    pub fn is_good(self) -> bool {
        matches!(self, Self::Answered | Self::LetIn)
    }

    /// Whether it could not be asked, or is no Minecraft server; else it is one that is not up.
    #[must_use]
    pub fn is_error(self) -> bool {
        matches!(self, Self::NoStatus | Self::NoName | Self::NoWay)
    }

    /// Whether its port is closed, as that of a server that sleeps.
    #[must_use]
    pub fn is_absence(self) -> bool {
        matches!(self, Self::Refused | Self::Away)
    }

    /// The same in words.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::None => "not heard of yet",
            Self::Answered => "it answers",
            Self::LetIn => "it lets players in",
            Self::Refused => "its port refuses connections",
            Self::Away => "there is no answer from its port",
            Self::Mute => "it takes connections and does not answer",
            Self::Closed => "it closes connections without a word",
            Self::NoStatus => "its answer is no status",
            Self::NoName => "its name cannot be looked up",
            Self::NoWay => "it cannot be reached from here",
        }
    }
}
