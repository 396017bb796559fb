//! Asks addresses for their status while their servers wake, all wakes together within bounds.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::time::{sleep_until, timeout};

use super::probing::{Probe, ProbeReply, Slots};
use super::wanted::Wanted;
use crate::addr::BackendAddr;
use crate::dial::{addresses, is_no_name};
use crate::ping::{Ping, PingError};

/// Most probes under way at once, each with a socket.
pub const PROBES_MAX: usize = 256;
/// Longest look-up of a name.
const NAME_TIMEOUT: Duration = Duration::from_secs(2);
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
    /// Carries out a probe of the server that is `wanted`, once there is a place and a slot for that.
    pub async fn probe(&self, probe: Probe, wanted: &Wanted, names: &Names) -> ProbeReply {
        let Ok(_place) = self.places.acquire().await else {
            return ProbeReply::Unknown;
        };
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.reserve(Instant::now())
        };
        sleep_until(slot.into()).await;
        let addresses = match names.resolve(&probe.address).await {
            Ok(addresses) => addresses,
            Err(reply) => return reply,
        };
        let Probe {
            address,
            protocol,
            dial_limit,
            answer_limit,
        } = probe;
        let ping = Ping {
            backend: address,
            host: wanted.host.clone(),
            protocol,
            proxy: wanted.proxy,
        };
        match ping
            .send_to(&addresses, dial_limit, dial_limit + answer_limit)
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
    async fn resolve(&self, backend: &BackendAddr) -> Result<Arc<[SocketAddr]>, ProbeReply> {
        let now = Instant::now();
        {
            let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = known.as_ref()
                && known.backend == *backend
                && now.duration_since(known.at) < NAME_FRESH
            {
                return Ok(Arc::clone(&known.addresses));
            }
        }
        let looked_up = timeout(NAME_TIMEOUT, addresses(backend)).await;
        let looked_up = looked_up.map_err(|_| ProbeReply::Unknown)?;
        // How the resolver is says nothing of the server.
        let addresses = looked_up.map_err(|error| {
            if is_no_name(&error) {
                ProbeReply::NoName
            } else {
                ProbeReply::Unknown
            }
        })?;
        let addresses: Arc<[SocketAddr]> = addresses.into();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Known {
            backend: backend.clone(),
            addresses: Arc::clone(&addresses),
            at: now,
        });
        Ok(addresses)
    }
}
