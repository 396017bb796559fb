//! What a wake has to know of the server it is for.

use std::time::{Duration, Instant};

use crate::addr::BackendAddr;
use crate::dial::READY_WINDOW;
use crate::host::Host;
use crate::proxy_protocol::Version;
use crate::routes::{Route, StateHint};
use crate::servers::Target;
use crate::shared_str::SharedStr;

/// A server to wake, as its route has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What the server-manager calls it.
    pub server: SharedStr,
    /// The host name of its route, which is looked up for news and named in status pings.
    pub host: SharedStr,
    /// Where its row says it listens.
    pub backend: BackendAddr,
    /// What its row says of it.
    pub state: StateHint,
    /// Pause between its first sign of readiness and the first player.
    pub settle: Duration,
    /// How long it may take to start, if its container says so.
    pub wait: Option<Duration>,
    /// What its address hears first.
    pub proxy: Option<Version>,
    /// How long it usually takes from the request to the answer of its port, if that is known.
    pub expected: Option<Duration>,
    /// Whether it is known to answer status pings when it runs: until it does, it is not ready.
    pub shows_status: bool,
    /// When its address refused a dial, if that was tried just before.
    pub shut: Option<Instant>,
    /// The protocol number by which it is asked for its status, if there is one that it may be expected to know.
    pub protocol: Option<i32>,
    /// How long it took to answer a status request, if it ever did.
    pub latency: Option<Duration>,
    /// How long the dial of a player who is let in may take.
    pub dial_limit: Duration,
}

/// How long at least a server that was seen to show its status is waited for to show it again.
pub const STATUS_WINDOW: Duration = Duration::from_secs(30);
/// The default of the setting.
const DIAL_LIMIT: Duration = Duration::from_secs(2);

impl Wanted {
    /// `server`, which is that of `route`. Nothing is expected of it yet.
    #[must_use]
    pub fn new(server: &SharedStr, route: &Route) -> Self {
        let host = route.host.as_ref().map_or("", Host::as_str);
        Self {
            server: server.clone(),
            host: host.into(),
            backend: route.backend.clone(),
            state: route.state,
            settle: route.policy.settle,
            wait: route.container().and_then(|container| container.wait),
            proxy: route.policy.proxy_protocol,
            expected: None,
            shows_status: false,
            shut: None,
            protocol: None,
            latency: None,
            dial_limit: DIAL_LIMIT,
        }
    }

    /// How long its port may be open before players try it though it has not shown a status: longer where it is known
    /// to show one, since published ports are open before anybody listens behind them.
    #[must_use]
    pub fn open_window(&self) -> Duration {
        if self.shows_status {
            STATUS_WINDOW.max(self.expected.unwrap_or_default() * 2)
        } else {
            READY_WINDOW
        }
    }

    /// The same server as everybody else knows it.
    #[must_use]
    pub fn target(&self) -> Target<'_> {
        Target {
            server: &self.server,
            hint: self.state,
            wakeable: true,
        }
    }
}
