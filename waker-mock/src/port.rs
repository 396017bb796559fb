//! Game ports: held while a server is at rest, so that nobody else takes them and connections
//! are refused; open while it runs.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::warn;

use crate::config::GamePorts;
use crate::faults::Manners;
use crate::game;

/// Players connected to all game ports at once; more are closed at once.
pub const PLAYERS_MAX: usize = 1_000;
/// Connections that wait to be accepted, per port.
const BACKLOG: u32 = 128;
/// Pause after an accept that failed for a reason on this side, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A port that belongs to one server.
#[derive(Debug)]
pub(crate) struct GamePort {
    address: SocketAddr,
    hold: Hold,
}

#[derive(Debug)]
enum Hold {
    /// Bound without listening: taken, and refusing connections.
    Held(TcpSocket),
    Open {
        /// The only strong reference, so that dropping it closes the port at once.
        _listener: Arc<TcpListener>,
        _stop: DropGuard,
    },
    Lost,
}

impl GamePort {
    /// Takes `wish`, or a free port of the range that is not in `taken`.
    pub(crate) fn hold(
        ports: &GamePorts,
        wish: Option<u16>,
        taken: &BTreeSet<u16>,
    ) -> io::Result<Self> {
        let at = |port| SocketAddr::new(ports.bind, port);
        let (socket, address) = match (wish, &ports.range) {
            (Some(port), _) if taken.contains(&port) => {
                return Err(io::Error::from(io::ErrorKind::AddrInUse));
            }
            (Some(port), _) => bind(at(port))?,
            (None, None) => bind(at(0))?,
            (None, Some(range)) => range
                .clone()
                .filter(|port| !taken.contains(port))
                .find_map(|port| bind(at(port)).ok())
                .ok_or_else(|| io::Error::other("no port of the range is free"))?,
        };
        let hold = Hold::Held(socket);
        Ok(Self { address, hold })
    }

    /// Its number.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Players can connect.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.hold, Hold::Open { .. })
    }

    /// Lets players in; changes nothing if it does already.
    pub(crate) fn open(
        &mut self,
        server: &Arc<str>,
        players: &Arc<Semaphore>,
        manners: &watch::Sender<Manners>,
    ) -> io::Result<()> {
        let socket = match std::mem::replace(&mut self.hold, Hold::Lost) {
            Hold::Held(socket) => socket,
            Hold::Lost => bind(self.address)?.0,
            open @ Hold::Open { .. } => {
                self.hold = open;
                return Ok(());
            }
        };
        let listener = Arc::new(socket.listen(BACKLOG)?);
        let stop = CancellationToken::new();
        let house = House {
            server: Arc::clone(server),
            players: Arc::clone(players),
            manners: manners.subscribe(),
            opened: Instant::now(),
            stop: stop.clone(),
        };
        tokio::spawn(accept(Arc::downgrade(&listener), house));
        self.hold = Hold::Open {
            _listener: listener,
            _stop: stop.drop_guard(),
        };
        Ok(())
    }

    /// Refuses players from now on and ends their connections, but keeps the port.
    pub(crate) fn close(&mut self) {
        if self.is_open() {
            self.hold = Hold::Lost;
            match bind(self.address) {
                Ok((socket, _)) => self.hold = Hold::Held(socket),
                Err(error) => warn!(address = %self.address, %error, "game port not kept"),
            }
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<(TcpSocket, SocketAddr)> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // Connections of an earlier run may linger.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

/// What an open port knows.
struct House {
    server: Arc<str>,
    players: Arc<Semaphore>,
    manners: watch::Receiver<Manners>,
    opened: Instant,
    stop: CancellationToken,
}

async fn accept(listener: Weak<TcpListener>, house: House) {
    let next = || {
        std::future::poll_fn(|context| match listener.upgrade() {
            Some(listener) => listener.poll_accept(context).map(Some),
            None => Poll::Ready(None),
        })
    };
    while let Some(Some(accepted)) = house.stop.run_until_cancelled(next()).await {
        match accepted {
            Ok((stream, _)) => house.welcome(stream),
            Err(error) => {
                warn!(server = %house.server, %error, "accept failed; pausing");
                let pause = tokio::time::sleep(ACCEPT_PAUSE);
                house.stop.run_until_cancelled(pause).await;
            }
        }
    }
}

impl House {
    fn welcome(&self, stream: TcpStream) {
        let Ok(permit) = Arc::clone(&self.players).try_acquire_owned() else {
            return;
        };
        let (server, stop) = (Arc::clone(&self.server), self.stop.clone());
        let manners = *self.manners.borrow();
        let opened = self.opened.elapsed();
        tokio::spawn(async move {
            let talk = game::talk(stream, &server, manners, opened);
            stop.run_until_cancelled(talk).await;
            drop(permit);
        });
    }
}
