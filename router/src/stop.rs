//! Signals: the first one begins an orderly stop, the second one ends it now; SIGHUP ends nothing.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::info;

/// How long what runs beside the main task may take to end after it.
const LEAVE_TIMEOUT: Duration = Duration::from_millis(100);

/// Runs `main` on a runtime of its own. When it ends, so does the process: a name look-up that
/// hangs in the system's resolver is left behind.
///
/// # Errors
/// The runtime cannot be built, or what `main` says.
pub fn run_to_its_end<T, E: From<io::Error>>(
    main: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(main);
    runtime.shutdown_timeout(LEAVE_TIMEOUT);
    outcome
}

/// The two signals that mean "stop", and the one that means "read again".
#[derive(Debug)]
pub struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes the signals over from their default, which would end the process.
    ///
    /// # Errors
    /// The system refuses.
    pub fn new() -> io::Result<Self> {
        let hangup = signal(SignalKind::hangup())?;
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self {
            hangup,
            terminate,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Cancels `stop` at the first signal and `now` at the second; SIGHUP goes to `reload`.
    pub async fn watch(
        mut self,
        stop: CancellationToken,
        now: CancellationToken,
        reload: Arc<Notify>,
    ) {
        let signal = self.next(&reload).await;
        info!(signal, "stopping; once more to stop now");
        stop.cancel();
        let signal = self.next(&reload).await;
        info!(signal, "stopping now");
        now.cancel();
    }

    async fn next(&mut self, reload: &Notify) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => reload.notify_one(),
            }
        }
    }
}
