//! Why a connection ended without a session, for the log and for the player.

use std::io;

use crate::addr::BackendAddr;
use crate::greet::GreetError;
use crate::wake::WakeError;

/// Why a login did not reach its server.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// There was no greeting to act on.
    #[error("{0}")]
    Greet(#[from] GreetError),
    /// No route for the host name and no default.
    #[error("no route for this host")]
    UnknownHost,
    /// The backend did not answer, and nothing can wake it.
    #[error("backend {backend} cannot be reached: {error}")]
    Unreachable {
        /// Where it should be.
        backend: BackendAddr,
        /// Why not.
        error: io::Error,
    },
    /// The server did not wake.
    #[error("{0}")]
    Wake(#[from] WakeError),
    /// The server is said to run, and its port does not open.
    #[error("backend {backend} is said to run, but cannot be reached: {error}")]
    NotReady {
        /// Where it should be.
        backend: BackendAddr,
        /// Why not.
        error: io::Error,
    },
    /// The backend took the connection and ended it without a byte, as a stopped container's
    /// published port does.
    #[error("the backend closed the connection without a word: {0}")]
    BackendClosed(#[source] io::Error),
    /// The client closed the connection while it waited.
    #[error("the client left while its server was starting")]
    ClientLeft,
    /// The router is stopping.
    #[error("the router is stopping")]
    Stopping,
    /// As many clients are connected as may be.
    #[error("as many clients are connected as may be (max_connections)")]
    Full,
    /// The connection to the client failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl ConnectionError {
    /// What the player may read: never an address, never the name of a machine. `None` when
    /// nobody is there to read it, or what was spoken is not Minecraft.
    #[must_use]
    pub fn player_message(&self) -> Option<&'static str> {
        match self {
            Self::Greet(_) | Self::ClientLeft | Self::Io(_) => None,
            Self::UnknownHost => {
                Some("There is no server of this name here.\nIs the name spelled right?")
            }
            Self::Unreachable { .. } => {
                Some("This server is not reachable at the moment.\nPlease try again later.")
            }
            Self::Wake(error) if matches!(error.cause(), WakeError::TimedOut { .. }) => {
                Some("This server takes longer than usual to start.\nPlease try again in a minute.")
            }
            Self::Wake(error) if matches!(error.cause(), WakeError::NotReady { .. }) => {
                Some("This server does not let anybody in yet.\nPlease try again in a moment.")
            }
            Self::NotReady { .. } | Self::BackendClosed(_) => {
                Some("This server does not let anybody in yet.\nPlease try again in a moment.")
            }
            Self::Wake(WakeError::Stopping) | Self::Stopping => {
                Some("The way to this server is being restarted.\nPlease join again in a moment.")
            }
            Self::Full => {
                Some("Too many players are connected here.\nPlease try again in a moment.")
            }
            Self::Wake(_) => Some("This server could not be started.\nPlease try again later."),
        }
    }

    /// A word for it, for logs that are searched.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Greet(GreetError::Silent) => "silent",
            Self::Greet(_) => "bad_greeting",
            Self::UnknownHost => "unknown_host",
            Self::Unreachable { .. } => "unreachable",
            Self::BackendClosed(_) => "backend_silent",
            Self::Wake(WakeError::TimedOut { .. }) => "wake_timed_out",
            Self::Wake(WakeError::NotReady { .. }) => "not_ready",
            Self::Wake(WakeError::Stopping) | Self::Stopping => "stopping",
            Self::Wake(_) => "wake_failed",
            Self::Full => "full",
            Self::NotReady { .. } => "not_ready",
            Self::ClientLeft => "client_left",
            Self::Io(_) => "client_io",
        }
    }
}
