//! Players through a tunnel of ngrok's instead of a port, in builds with the feature `ngrok`.
//!
//! What comes through it is handed on to a port of this machine, behind a PROXY header that says whose
//! connection it is, and goes the way of every other from there: admission, limits, the relay.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use ngrok::Session;
use ngrok::prelude::{ConnInfo, EndpointInfo, TunnelBuilder};
use ngrok::session::{ConnectError, Connector, IoStream, default_connect};
use ngrok::tunnel::AcceptError;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::backoff::Backoff;
use crate::config::values::short;
use crate::config::{NgrokConfig, Proxies};
use crate::networks::Networks;
use crate::proxy_protocol::{Ends, Version, header};

/// Longest time to reach the service, and to be given a tunnel.
pub const TUNNEL_TIMEOUT: Duration = Duration::from_secs(30);
/// Pauses before the next try.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// A tunnel to a port of this machine, which believes PROXY headers of this machine.
struct Tunnel {
    config: NgrokConfig,
    to: SocketAddr,
}

/// Reaches the service, and does not try again by itself once it is lost: the library's pauses grow to
/// hours.
async fn reach_once(
    host: String,
    port: u16,
    tls: Arc<rustls::ClientConfig>,
    lost: Option<AcceptError>,
) -> Result<Box<dyn IoStream>, ConnectError> {
    match lost {
        None => default_connect(host, port, tls, None).await,
        Some(_) => Err(ConnectError::Canceled),
    }
}

/// Who is believed: what comes through a tunnel comes from this machine.
#[must_use]
pub fn trusted() -> Proxies {
    Proxies::Trusted(Networks::new(&[IpAddr::from(Ipv4Addr::LOCALHOST).into()]))
}

/// Has `tasks` bring players to `to` until `end` is cancelled, if there is to be a tunnel.
pub fn start(
    config: Option<NgrokConfig>,
    to: SocketAddr,
    tasks: &TaskTracker,
    end: &CancellationToken,
) {
    if let Some(config) = config {
        let (tunnel, end) = (Tunnel { config, to }, end.clone());
        tasks.spawn(async move { end.run_until_cancelled(tunnel.run(reach_once)).await });
    }
}

impl Tunnel {
    /// Has players come for as long as this is polled; `reach` is how the service is reached.
    async fn run(self, reach: impl Connector + Clone) {
        let (min, max) = PAUSES;
        let mut backoff = Backoff::new(min, max, 0.0);
        loop {
            let problem = self.listen(reach.clone(), &mut backoff).await;
            let delay = backoff.next_delay(0.0);
            warn!("ngrok: {problem}; trying again in {}", short(delay));
            sleep(delay).await;
        }
    }

    /// Until the tunnel is lost; comes with why.
    async fn listen(&self, reach: impl Connector, backoff: &mut Backoff) -> String {
        let opened = async {
            let mut builder = Session::builder();
            builder
                .authtoken(self.config.token.expose())
                .connector(reach);
            let session = builder.connect().await.map_err(|error| self.told(&error))?;
            let mut endpoint = session.tcp_endpoint();
            if let Some(address) = &self.config.remote_addr {
                endpoint.remote_addr(address);
            }
            let tunnel = endpoint.listen().await;
            Ok((tunnel.map_err(|error| self.told(&error))?, session))
        };
        // The tunnel lasts as long as the session.
        let (mut tunnel, _session) = match timeout(TUNNEL_TIMEOUT, opened).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(problem)) => return problem,
            Err(_) => return format!("no tunnel within {}", short(TUNNEL_TIMEOUT)),
        };
        backoff.reset();
        info!(url = tunnel.url(), "ngrok: listening for players");
        loop {
            match std::future::poll_fn(|context| Pin::new(&mut tunnel).poll_next(context)).await {
                Some(Ok(player)) => {
                    let (client, to) = (player.remote_addr(), self.to);
                    tokio::spawn(async move {
                        if let Err(error) = hand_on(player, client, to).await {
                            debug!(%client, %error, "ngrok: a connection");
                        }
                    });
                }
                Some(Err(error)) => return self.told(&error),
                None => return "the tunnel was closed".to_owned(),
            }
        }
    }

    /// What is wrong, with its causes and without the token, which the service quotes.
    fn told(&self, error: &dyn std::error::Error) -> String {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text.replace(self.config.token.expose(), "…")
            .replace('\n', " ")
    }
}

/// Hands one connection on. There are as many as clients are served, since the others are turned away there.
async fn hand_on(
    mut player: impl AsyncRead + AsyncWrite + Unpin,
    client: SocketAddr,
    to: SocketAddr,
) -> io::Result<()> {
    let mut router = TcpStream::connect(to).await?;
    router.set_nodelay(true)?;
    let ends = Ends {
        source: client,
        destination: to,
    };
    router.write_all(&header(Version::V2, ends)?).await?;
    copy_bidirectional(&mut player, &mut router).await?;
    Ok(())
}

#[cfg(test)]
#[path = "ngrok_tests.rs"]
mod tests;
