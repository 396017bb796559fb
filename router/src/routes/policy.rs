//! What a route does with players while its server is not ready.
//!
//! Every route has one: from its row where the columns exist, else the configuration's defaults.

use std::sync::Arc;
use std::time::Duration;

use crate::addr::BackendAddr;
use crate::balance::Balance;
use crate::hold::schedule::TICK;
use crate::proxy_protocol::Version;
use crate::texts::Texts;
use crate::wake::permit::WakeRules;

/// How long a player is held unless the route says otherwise: what a server may take to start.
pub const HOLD_MAX: Duration = Duration::from_secs(90);

/// How long nobody has played when a server is stopped unless the route says otherwise, as with mc-router.
pub const DOWN_AFTER: Duration = Duration::from_secs(10 * 60);

/// One way to treat a player whose server is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Join {
    /// Keep the connection alive in the login phase until the server is ready.
    Hold,
    /// Show progress in the configuration phase, then send the client here once more (1.20.5).
    Transfer,
    /// Relay to another server, such as a lobby.
    Forward,
    /// Tell the player when to come back.
    Kick,
}

/// What a route does with players while its server is not ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What is tried, in order; a kick comes after the last in any case.
    pub join: Vec<Join>,
    /// Longest hold.
    pub hold_max: Duration,
    /// From one sign of life to a held client to the next.
    pub tick: Duration,
    /// Pause between a server's first sign of readiness and the first player.
    pub settle: Duration,
    /// Where [`Join::Forward`] leads.
    pub forward_to: Option<BackendAddr>,
    /// Hold 1.8 to 1.12.2 with `Set Compression(-1)` instead of in silence.
    pub compression_hold: bool,
    /// Leave the intent of a player who comes back from a transfer as it is, for backends that
    /// accept transfers and want to know.
    pub keep_transfer_intent: bool,
    /// Who may start the server, and when.
    pub wake: WakeRules,
    /// How long the server should stay up from the moment it is ready.
    pub min_online: Duration,
    /// How long nobody has played when a webhook is told to stop the server; `None` is never.
    pub down_after: Option<Duration>,
    /// Which of several backends is tried first.
    pub balance: Balance,
    /// The PROXY header that every connection to its backend, or to where it forwards, begins with.
    pub proxy_protocol: Option<Version>,
    /// What players read; a row's own texts lie over those of the defaults.
    pub texts: Arc<Texts>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            join: vec![Join::Hold, Join::Kick],
            hold_max: HOLD_MAX,
            tick: TICK,
            settle: Duration::ZERO,
            forward_to: None,
            compression_hold: false,
            keep_transfer_intent: false,
            wake: WakeRules::default(),
            min_online: Duration::ZERO,
            down_after: Some(DOWN_AFTER),
            balance: Balance::Failover,
            proxy_protocol: None,
            texts: Arc::default(),
        }
    }
}
