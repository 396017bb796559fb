//! Asks the system's resolver (getaddrinfo(3): its files, services and search lists, and Docker's names), in threads of
//! their own: those of the runtimes are for files, and a look-up that hangs would keep one for half a minute.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;

use dns_lookup::{AddrInfoHints, LookupErrorKind, SockType, getaddrinfo};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::names::{Found, Look, Names, SLOW_AFTER, Turn};

/// How whoever waits for a name is told.
type Told = watch::Sender<Option<Found>>;

static NAMES: LazyLock<Mutex<Names<Told>>> = LazyLock::new(Mutex::default);

/// What there is for `host`, with the port 0. A look-up that nobody waits for any more goes on, and is
/// there for whoever asks next.
///
/// # Errors
/// The name is not there ([`io::ErrorKind::NotFound`]), cannot be looked up, or belongs to a zone whose
/// servers do not answer ([`io::ErrorKind::ResourceBusy`]).
///
/// # Cancel safety
/// Cancel safe.
pub(super) async fn resolve(host: &str) -> Found {
    let host = host.to_ascii_lowercase();
    let look = names().look(&host, now(), || watch::channel(None).0);
    let told = match look {
        Look::Known(found) => return found,
        Look::Stuck => return Err(stuck()),
        Look::Wait(told) => told,
        Look::Begin(told) => {
            begin(host.into());
            told
        }
    };
    let mut told = told.subscribe();
    loop {
        tokio::select! {
            found = told.wait_for(Option::is_some) => {
                let found = found.ok().and_then(|found| found.clone());
                return found.unwrap_or_else(|| Err(stuck()));
            }
            () = sleep(SLOW_AFTER) => {
                let turn = names().tick(now());
                take(turn);
            }
        }
    }
}

fn names() -> MutexGuard<'static, Names<Told>> {
    NAMES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

fn stuck() -> Arc<io::Error> {
    let text = "its name cannot be looked up now: too many like it are waited for";
    Arc::new(io::Error::new(io::ErrorKind::ResourceBusy, text))
}

/// Begins the look-ups whose turn it is, and tells who waits in vain.
fn take(turn: Turn<Told>) {
    for told in turn.stuck {
        told.send_replace(Some(Err(stuck())));
    }
    for name in turn.begin {
        begin(name);
    }
}

/// A look-up under way. However it ends, whoever waits is told.
struct Lookup {
    name: Box<str>,
    found: Option<Found>,
}

impl Drop for Lookup {
    fn drop(&mut self) {
        let lost = || {
            Err(Arc::new(io::Error::other(
                "the look-up of its name was lost",
            )))
        };
        let found = self.found.take().unwrap_or_else(lost);
        let told = names().ended(&self.name, found.clone(), std::time::Instant::now());
        if let Some(told) = told {
            told.send_replace(Some(found));
        }
        let turn = names().turn(std::time::Instant::now());
        take(turn);
    }
}

impl Lookup {
    fn run(mut self) {
        self.found = Some(system(&self.name).map_err(Arc::new));
    }
}

fn begin(name: Box<str>) {
    let lookup = Lookup { name, found: None };
    let thread = thread::Builder::new().name("look-up".to_owned());
    // Where the system has no thread to spare, what is dropped here tells so.
    drop(thread.spawn(move || lookup.run()));
}

/// What getaddrinfo(3) has for `host`, in its order.
fn system(host: &str) -> io::Result<Arc<[SocketAddr]>> {
    let hints = AddrInfoHints {
        socktype: SockType::Stream.into(),
        ..AddrInfoHints::default()
    };
    let found = getaddrinfo(Some(host), None, Some(hints)).map_err(|error| match error.kind() {
        LookupErrorKind::NoName | LookupErrorKind::NoData => {
            io::Error::new(io::ErrorKind::NotFound, io::Error::from(error))
        }
        _ => error.into(),
    })?;
    found.map(|found| Ok(found?.sockaddr)).collect()
}
