//! Who gets in: by address, by how much an address asks for, and by name.
//!
//! What is decided is in [`address`], [`limits`] and [`players`]; here are the tables, the clock,
//! the file and the counts. A client is asked about twice: at the door ([`Admission::knock`],
//! before it has said a word) and when it has said what it wants ([`Admission::wish`]). Both take
//! nothing but an address, so that whoever learns a better one than the socket's, from a proxy's
//! header, can ask again with that.

pub mod address;
pub mod limits;
pub mod players;

use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

use crate::config::AdmitConfig;
use crate::counts::Counts;
use crate::error::ConnectionError;
use crate::host::Names;

use crate::wake::permit::{Claim, Refused};
use limits::{Knock, Tables, Wish};
use players::{FILE_BYTES_MAX, Players};

/// Least time between two warnings.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// Why a client did not get in, or a login not on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    /// Its address may not connect.
    Denied,
    /// Its address connects too often.
    Connects,
    /// Its address has too many connections.
    Connections,
    /// Its address logs in too often.
    Logins,
    /// Its address pings too often.
    Pings,
    /// Too many come, whoever they are.
    Rate,
    /// Too many are connected.
    Full,
    /// The player may not join.
    Player,
}

impl Turned {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::Denied,
        Self::Connects,
        Self::Connections,
        Self::Logins,
        Self::Pings,
        Self::Rate,
        Self::Full,
        Self::Player,
    ];

    /// The word for it, in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Connects => "connects",
            Self::Connections => "connections",
            Self::Logins => "logins",
            Self::Pings => "pings",
            Self::Rate => "rate",
            Self::Full => "full",
            Self::Player => "player",
        }
    }

    /// The setting that says so, for those the operator should know about.
    fn limit(self) -> Option<&'static str> {
        match self {
            Self::Connects => Some("automc_connects_per_address"),
            Self::Connections => Some("automc_connections_per_address"),
            Self::Logins => Some("automc_logins_per_address"),
            Self::Pings => Some("automc_pings_per_address"),
            Self::Rate => Some("connection_rate_limit"),
            Self::Denied | Self::Full | Self::Player => None,
        }
    }
}

/// What is to be done with a client at the door.
#[derive(Debug)]
pub enum Verdict {
    /// It is served, and has a place meanwhile.
    In(Place),
    /// It is told this, and has a place meanwhile.
    Told(Place, ConnectionError),
    /// It is closed without a word.
    Closed,
}

/// A connection among those of its address, until it is dropped; nothing where none are counted. It
/// lasts as long as a player, so it is small.
#[derive(Debug)]
pub struct Place(Option<Box<(Arc<Admission>, IpAddr)>>);

impl Place {
    /// For a client that is not counted yet.
    #[must_use]
    pub fn uncounted() -> Self {
        Self(None)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(counted) = self.0.take() {
            let (admission, address) = *counted;
            let tables = admission.tables.lock();
            tables.unwrap_or_else(PoisonError::into_inner).gone(address);
        }
    }
}

/// Who gets in.
#[derive(Debug)]
pub struct Admission {
    config: AdmitConfig,
    tables: Mutex<Tables>,
    players: ArcSwap<Players>,
    turned: Counts<Turned, 8>,
    warned: Mutex<Option<Instant>>,
}

impl Admission {
    /// Reads the players' file, if there is one.
    ///
    /// # Errors
    /// What is wrong with it, by name.
    pub fn new(config: &AdmitConfig) -> Result<Arc<Self>, String> {
        let players = config.players.as_deref();
        let players = players.map(|path| read(path, config.names)).transpose()?;
        Ok(Arc::new(Self {
            config: config.clone(),
            tables: Mutex::new(Tables::new(config.limits)),
            players: ArcSwap::from_pointee(players.unwrap_or_default()),
            turned: Counts::new(Turned::ALL),
            warned: Mutex::default(),
        }))
    }

    /// By which settings.
    #[must_use]
    pub fn config(&self) -> &AdmitConfig {
        &self.config
    }

    /// A client of `address` is at the door. Waits for nothing.
    #[must_use]
    pub fn knock(self: &Arc<Self>, address: IpAddr) -> Verdict {
        if !self.config.filter.lets(address) {
            let address = address.to_canonical();
            debug!(%address, "closed: clients may not connect from there");
            self.turned.count(Turned::Denied);
            return Verdict::Closed;
        }
        if !self.config.limits.at_the_door() {
            return Verdict::In(Place(None));
        }
        let knock = {
            let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
            tables.knock(address, Instant::now())
        };
        let place = || Place(Some(Box::new((Arc::clone(self), address))));
        let busy = ConnectionError::AddressBusy { retry_in: None };
        let (turned, verdict) = match knock {
            Knock::In => return Verdict::In(place()),
            Knock::Crowded => (Turned::Connections, Verdict::Told(place(), busy)),
            Knock::Busy => (Turned::Rate, Verdict::Told(place(), ConnectionError::Busy)),
            Knock::TooMany => (Turned::Connections, Verdict::Closed),
            Knock::TooOften => (Turned::Connects, Verdict::Closed),
        };
        self.turn(address, turned);
        verdict
    }

    /// A client of `address` has said what it wants.
    ///
    /// # Errors
    /// It asks for that too often; a login is to be told so.
    pub fn wish(&self, address: IpAddr, wish: Wish) -> Result<(), ConnectionError> {
        let (limit, turned) = match wish {
            Wish::Login => (self.config.limits.logins, Turned::Logins),
            Wish::Ping => (self.config.limits.pings, Turned::Pings),
        };
        if limit.is_none() {
            return Ok(());
        }
        let outcome = {
            let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
            tables.wish(address, wish, Instant::now())
        };
        outcome.map_err(|wait| {
            self.turn(address, turned);
            match wish {
                Wish::Login => ConnectionError::AddressBusy {
                    retry_in: Some(wait),
                },
                Wish::Ping => ConnectionError::TooManyPings,
            }
        })
    }

    /// Whether the players' file lets this player wake the server of `host`.
    ///
    /// # Errors
    /// It does not.
    pub fn may_wake(&self, host: &str, claim: &Claim<'_>) -> Result<(), Refused> {
        self.players.load().permit(host, claim)
    }

    /// Whether it lets the player join there, if it is asked about that.
    ///
    /// # Errors
    /// [`ConnectionError::MayNotJoin`].
    pub fn may_join(&self, host: &str, claim: &Claim<'_>) -> Result<(), ConnectionError> {
        if !self.config.gate_join {
            return Ok(());
        }
        self.players.load().permit(host, claim).map_err(|_| {
            self.turned.count(Turned::Player);
            ConnectionError::MayNotJoin
        })
    }

    /// Logs a login that is tried, if that is wanted; nobody has checked who it is.
    pub fn record(&self, host: &str, claim: &Claim<'_>) {
        if self.config.record_logins {
            let (player, host) = (claim.name.escape_debug(), host.escape_debug());
            let uuid = claim.uuid.map(dashed).unwrap_or_default();
            let address = claim.address;
            info!(%player, uuid, %host, %address, "login attempt");
        }
    }

    /// Counts a client that was turned away for a reason of the listener's.
    pub fn count(&self, turned: Turned) {
        self.turned.count(turned);
    }

    /// How many were turned away, by reason.
    #[must_use]
    pub fn turned_away(&self) -> Vec<(Turned, u64)> {
        self.turned.totals()
    }

    /// How many clients may connect now before `connection_rate_limit` turns others away; `None`
    /// where that is not set.
    #[must_use]
    pub fn rate_left(&self) -> Option<u64> {
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let left = tables.left(Instant::now())?;
        u64::try_from(left).ok()
    }

    /// Has the players' file, if there is one, read again whenever what comes back is notified. A
    /// file that cannot be used changes nothing.
    pub fn keep(
        self: &Arc<Self>,
        path: Option<PathBuf>,
        background: &TaskTracker,
        end: &CancellationToken,
    ) -> Arc<Notify> {
        let reload = Arc::<Notify>::default();
        if let Some(path) = path {
            let follow = Arc::clone(self).follow(path, Arc::clone(&reload), end.clone());
            background.spawn(follow);
        }
        reload
    }

    async fn follow(self: Arc<Self>, path: PathBuf, reload: Arc<Notify>, end: CancellationToken) {
        while let Some(()) = end.run_until_cancelled(reload.notified()).await {
            let (from, names) = (path.clone(), self.config.names);
            let reading = tokio::task::spawn_blocking(move || read(&from, names));
            match reading.await {
                Ok(Ok(players)) => {
                    self.players.store(Arc::new(players));
                    info!(file = %path.display(), "players' file read again");
                }
                Ok(Err(error)) => error!("{error}; the lists stay as they were"),
                Err(error) => error!(%error, "reading the players' file"),
            }
        }
    }

    fn turn(&self, address: IpAddr, turned: Turned) {
        self.turned.count(turned);
        let (address, limit) = (address.to_canonical(), turned.limit().unwrap_or_default());
        debug!(%address, limit, "turned away");
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|at| at.elapsed() >= WARNING_INTERVAL) {
            *warned = Some(Instant::now());
            warn!("turning clients of {address} away, and maybe others: {limit}");
        }
    }
}

/// A UUID as it is mostly written.
fn dashed(uuid: u128) -> String {
    let hex = format!("{uuid:032x}");
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32];
    parts
        .map(|part| hex.get(part).unwrap_or_default())
        .join("-")
}

/// Reads the players' file.
fn read(path: &Path, names: Names) -> Result<Players, String> {
    let fail = |reason: String| format!("auto_scale_allow_deny: {}: {reason}", path.display());
    let open = || {
        // A pipe, say, might never end.
        if !std::fs::metadata(path)?.is_file() {
            return Err(std::io::Error::other("not a file"));
        }
        let mut text = Vec::new();
        let file = std::fs::File::open(path)?;
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
        Ok(text)
    };
    let text = open().map_err(|error| fail(error.to_string()))?;
    if u64::try_from(text.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
        return Err(fail(format!("over the limit of {FILE_BYTES_MAX} bytes")));
    }
    Players::parse(&text, names).map_err(fail)
}
