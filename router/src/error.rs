//! Why a connection ended without a session, for the log and for the player.

use std::io;
use std::time::Duration;

use crate::addr::BackendAddr;
use crate::config::values::short;
use crate::greet::GreetError;
use crate::texts::Text;
use crate::texts::template::Fields;
use crate::throttle::Kick;
use crate::wake::WakeError;
use crate::wake::permit::Refused;

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
    /// The player may not start it.
    #[error("{0}")]
    MayNotWake(#[from] Refused),
    /// It takes longer to start than anybody is held.
    #[error("it takes about {} to start, longer than anybody is held", short(*.0))]
    LongStart(Duration),
    /// It is starting, and the player cannot be held.
    #[error("it is starting; the player is to come back")]
    ComeBack,
    /// It was not ready when the longest hold was over.
    #[error("it was not ready within {}, the longest hold", short(*.0))]
    HeldTooLong(Duration),
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
    /// The backend throttles logins, and let the player in at no time that the hold left.
    #[error("backend {backend} throttles logins (connection-throttle)")]
    Throttled {
        /// Where it is.
        backend: BackendAddr,
        /// Its first kick, which is what the player is told.
        kick: Kick,
    },
    /// The client closed the connection while it waited.
    #[error("the client left while its server was starting")]
    ClientLeft,
    /// The player clicked to leave.
    #[error("the player left the waiting screen")]
    LeaveClicked,
    /// The router is stopping.
    #[error("the router is stopping")]
    Stopping,
    /// As many clients are connected as may be.
    #[error("as many clients are connected as may be (max_connections)")]
    Full,
    /// Too many connect at a time, whoever they are.
    #[error("more clients connect in a second than may (connection_rate_limit)")]
    Busy,
    /// Its address has too many connections, or logs in too often.
    #[error("its address has too many connections, or logs in too often")]
    AddressBusy {
        /// Until it may again, where that is known.
        retry_in: Option<Duration>,
    },
    /// Its address pings too often; nobody is told.
    #[error("its address pings too often")]
    TooManyPings,
    /// The address its proxy tells may not connect, or too often; nobody is told.
    #[error("turned away by its address")]
    TurnedAway,
    /// The lists of players keep it out.
    #[error("the player may not join (auto_scale_allow_deny)")]
    MayNotJoin,
    /// The player has been told already, in the configuration state.
    #[error("{0}")]
    Told(Box<Self>),
    /// The connection to the client failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl ConnectionError {
    /// What the player may read: never an address, never the name of a machine. `None` when
    /// nobody is there to read it, what was spoken is not Minecraft, or the backend has said it ([`Self::kick`]).
    #[must_use]
    pub fn text(&self) -> Option<Text> {
        Some(match self {
            Self::Greet(_)
            | Self::ClientLeft
            | Self::Told(_)
            | Self::Throttled { .. }
            | Self::TooManyPings
            | Self::TurnedAway
            | Self::Io(_) => return None,
            Self::UnknownHost => Text::KickUnknownHost,
            Self::Unreachable { .. } => Text::KickUnreachable,
            Self::Wake(error) => wake_text(error),
            Self::MayNotWake(Refused::Denied) => Text::KickWakeDenied,
            Self::MayNotWake(Refused::NotListed) => Text::KickWakeNotListed,
            Self::MayNotWake(Refused::Hours { .. }) => Text::KickWakeHours,
            Self::MayNotWake(Refused::TooOften { .. }) => Text::KickWakeTooOften,
            Self::LongStart(_) => Text::KickLongStart,
            Self::ComeBack | Self::HeldTooLong(_) => Text::KickStarting,
            Self::NotReady { .. } => Text::KickNotReady,
            Self::BackendClosed(_) => Text::KickBackendClosed,
            Self::LeaveClicked => Text::KickLeft,
            Self::Stopping => Text::KickRestarting,
            Self::Full | Self::Busy => Text::KickFull,
            Self::AddressBusy { .. } => Text::KickAddressBusy,
            Self::MayNotJoin => Text::KickMayNotJoin,
        })
    }

    /// A first packet of the backend's own, which the player is to have.
    #[must_use]
    pub fn kick(&self) -> Option<&Kick> {
        match self {
            Self::Throttled { kick, .. } => Some(kick),
            _ => None,
        }
    }

    /// Puts what this knows better into the fields of [`Self::text`].
    pub fn fill(&self, fields: &mut Fields<'_>) {
        match self {
            Self::Wake(WakeError::BackingOff {
                attempts, retry_in, ..
            }) => {
                fields.attempts = Some(*attempts);
                fields.retry = Some(*retry_in);
            }
            Self::MayNotWake(
                Refused::Hours { opens_in: wait } | Refused::TooOften { retry_in: wait },
            ) => fields.retry = Some(*wait),
            Self::AddressBusy { retry_in } => fields.retry = *retry_in,
            Self::LongStart(eta) => fields.eta = Some(*eta),
            _ => {}
        }
    }

    /// Whether a wait that ends so is ended here, and neither by the player nor with the router.
    #[must_use]
    pub fn is_kick(&self) -> bool {
        match self {
            Self::ClientLeft
            | Self::LeaveClicked
            | Self::Stopping
            | Self::Wake(WakeError::Stopping)
            | Self::Greet(_)
            | Self::Io(_) => false,
            Self::Told(error) => error.is_kick(),
            _ => true,
        }
    }

    /// Whether nothing more can be tried for the player.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Told(_)) || !self.is_kick()
    }

    /// Whether nothing was tried, since the last start failed a moment ago.
    #[must_use]
    pub fn is_backing_off(&self) -> bool {
        match self {
            Self::Told(error) => error.is_backing_off(),
            error => matches!(error, Self::Wake(WakeError::BackingOff { .. })),
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
            Self::Wake(WakeError::BackingOff { .. }) => "backing_off",
            Self::Wake(WakeError::Stopping) | Self::Stopping => "stopping",
            Self::NotReady { .. } | Self::Wake(WakeError::NotReady { .. }) => "not_ready",
            Self::Wake(_) => "wake_failed",
            Self::MayNotWake(_) => "may_not_wake",
            Self::LongStart(_) => "long_start",
            Self::ComeBack => "come_back",
            Self::HeldTooLong(_) => "held_too_long",
            Self::Throttled { .. } => "throttled",
            Self::Full => "full",
            Self::Busy => "busy",
            Self::AddressBusy { .. } => "address_busy",
            Self::TooManyPings => "too_many_pings",
            Self::TurnedAway => "turned_away",
            Self::MayNotJoin => "may_not_join",
            Self::ClientLeft | Self::LeaveClicked => "client_left",
            Self::Told(error) => error.kind(),
            Self::Io(_) => "client_io",
        }
    }
}

/// The backend throttles logins, and said so with `kick`.
pub(crate) fn throttled(backend: &BackendAddr, kick: Kick) -> ConnectionError {
    ConnectionError::Throttled {
        backend: backend.clone(),
        kick,
    }
}

/// The backend did not answer.
pub(crate) fn unreachable(backend: &BackendAddr, error: io::Error) -> ConnectionError {
    ConnectionError::Unreachable {
        backend: backend.clone(),
        error,
    }
}

fn wake_text(error: &WakeError) -> Text {
    match error {
        WakeError::Stopping => Text::KickRestarting,
        WakeError::TimedOut { .. } => Text::KickWakeTimedOut,
        WakeError::NotReady { .. } => Text::KickNotReady,
        WakeError::Denied(_) | WakeError::Broken(_) | WakeError::Failed(_) => Text::KickWakeFailed,
        // Once may be chance, and then the cause is of more use.
        WakeError::BackingOff {
            attempts: 0 | 1,
            last,
            ..
        } => wake_text(last),
        WakeError::BackingOff { .. } => Text::KickBackingOff,
    }
}
