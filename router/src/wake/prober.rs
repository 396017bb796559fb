//! Asks addresses for their status while their servers wake, all wakes together within bounds.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::time::{sleep_until, timeout};

use super::probing::{ProbeReply, Slots};
use super::wanted::Wanted;
use crate::addr::BackendAddr;
use crate::dial::addresses;
use crate::ping::{ANY_PROTOCOL, Ping, PingError};

/// Most probes under way at once, each with a socket.
pub const PROBES_MAX: usize = 256;
/// Longest time to connect.
pub const PROBE_DIAL_TIMEOUT: Duration = Duration::from_millis(250);
/// Longest time for the whole of a probe.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a name that was looked up is taken for the same addresses.
pub const NAME_FRESH: Duration = Duration::from_secs(1);

/// What all probes share.
#[derive(Debug)]
pub struct Prober {
    places: Semaphore,
    slots: Mutex<Slots>,
}

impl Default for Prober {
    fn default() -> Self {
        Self {
            places: Semaphore::new(PROBES_MAX),
            slots: Mutex::default(),
        }
    }
}

/// What one wake knows of names.
#[derive(Debug, Default)]
pub struct Names(Mutex<Option<Known>>);

#[derive(Debug)]
struct Known {
    backend: BackendAddr,
    addresses: Arc<[SocketAddr]>,
    at: Instant,
}

impl Prober {
    /// Asks `backend` for its status, as that of the server that is `wanted`, once there is a place
    /// and a slot for that.
    pub async fn probe(&self, backend: BackendAddr, wanted: &Wanted, names: &Names) -> ProbeReply {
        let Ok(_place) = self.places.acquire().await else {
            return ProbeReply::Unknown;
        };
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.reserve(Instant::now())
        };
        sleep_until(slot.into()).await;
        let Some(addresses) = names.resolve(&backend).await else {
            return ProbeReply::Unknown;
        };
        let ping = Ping {
            backend,
            host: wanted.host.clone(),
            protocol: ANY_PROTOCOL,
            proxy: wanted.proxy,
        };
        match ping
            .send_to(&addresses, PROBE_DIAL_TIMEOUT, PROBE_TIMEOUT)
            .await
        {
            Ok(_) => ProbeReply::Answered,
            Err(PingError::Dial(error)) => ProbeReply::not_reached(&error),
            Err(PingError::Silent(error)) if error.kind() == io::ErrorKind::TimedOut => {
                ProbeReply::Mute
            }
            Err(PingError::Silent(_) | PingError::Decode(_)) => ProbeReply::Closed,
        }
    }
}

impl Names {
    async fn resolve(&self, backend: &BackendAddr) -> Option<Arc<[SocketAddr]>> {
        let now = Instant::now();
        {
            let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = known.as_ref()
                && known.backend == *backend
                && now.duration_since(known.at) < NAME_FRESH
            {
                return Some(Arc::clone(&known.addresses));
            }
        }
        let looked_up = timeout(PROBE_TIMEOUT, addresses(backend)).await;
        let addresses: Arc<[SocketAddr]> = looked_up.ok()?.ok()?.into();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Known {
            backend: backend.clone(),
            addresses: Arc::clone(&addresses),
            at: now,
        });
        Some(addresses)
    }
}
