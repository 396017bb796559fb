//! Signals: the first one begins an orderly stop, the second one ends it now; SIGHUP ends nothing.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{getpriority_process, setpriority_process};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::info;

/// How long what runs beside the main task may take to end after it.
const LEAVE_TIMEOUT: Duration = Duration::from_millis(100);

/// How much the threads of that runtime give way to those that serve players (`nice`): reading a table, checking
/// health, answering the API can wait for a moment where processors are short, players feel it.
const NICENESS: i32 = 5;

/// Runs `main` on a runtime of its own. When it ends, so does the process: a name look-up that
/// hangs in the system's resolver is left behind.
///
/// # Errors
/// The runtime cannot be built, or what `main` says.
pub fn run_to_its_end<T, E: From<io::Error>>(
    main: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let nice = getpriority_process(None).unwrap_or_default() + NICENESS;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // Without leave to do so nobody gives way, and that is all.
        .on_thread_start(move || setpriority_process(None, nice).unwrap_or_default())
        .build()?;
    let outcome = runtime.block_on(main);
    runtime.shutdown_timeout(LEAVE_TIMEOUT);
    outcome
}

/// The two signals that mean "stop".
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes the signals over from their default, which would end the process.
    ///
    /// # Errors
    /// The system refuses.
    pub fn new() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self {
            terminate,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Cancels `stop` at the first signal and `now` at the second.
    pub async fn watch(mut self, stop: CancellationToken, now: CancellationToken) {
        let signal = self.next().await;
        info!(signal, "stopping; once more to stop now");
        stop.cancel();
        let signal = self.next().await;
        info!(signal, "stopping now");
        now.cancel();
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// The signal that means "read again".
#[derive(Debug)]
pub struct Hangup(Signal);

impl Hangup {
    /// Takes the signal over from its default, which would end the process.
    ///
    /// # Errors
    /// The system refuses.
    pub fn new() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Notifies all of `reload` at every signal; of several that come before anybody looks, once.
    pub async fn watch(mut self, reload: Vec<Arc<Notify>>) {
        while self.0.recv().await.is_some() {
            reload.iter().for_each(|part| part.notify_one());
        }
    }
}
