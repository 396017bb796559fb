//! SIGHUP: whatever comes from a file is read again.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tracing::info;

/// SIGHUP, taken over from its default, which would end the process.
#[derive(Debug)]
pub struct Hangup(Signal);

impl Hangup {
    /// Takes it over.
    ///
    /// # Errors
    /// The system refuses.
    pub fn new() -> io::Result<Self> {
        Ok(Self(signal(SignalKind::hangup())?))
    }

    /// Tells `reload` of every one. Many that come at once are one.
    pub async fn watch(mut self, reload: watch::Sender<()>) {
        while self.0.recv().await.is_some() {
            info!("SIGHUP: reading files again");
            reload.send_replace(());
        }
    }
}
